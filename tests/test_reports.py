"""HTML pages: self-contained, complete, readable by machines that read pages aloud."""

from __future__ import annotations

import base64
import importlib.util
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest

import epsball as eb
from epsball import demo, reports
from epsball.reports.tables import Table, number, percent

pytest.importorskip("jinja2")
mpl = pytest.importorskip("matplotlib")

from epsball.demo_page import demo_page  # noqa: E402
from epsball.evaluation.report import evaluation_page  # noqa: E402
from epsball.reports import figures, page  # noqa: E402


class Outline(HTMLParser):
    """Collect the tags with their attributes, the text, and whether every tag is closed."""

    VOID = frozenset({"meta", "img", "link", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def evaluation():
    model = eb.models.linear(784, 10, seed=1)
    x, y = eb.datasets.load("mnist-subset", "test")
    return eb.evaluate(model, x[:40], y[:40], attacks=[eb.attacks.FGSM(eps=0.1), eb.attacks.PGD(eps=0.1, steps=2)])


@pytest.fixture(scope="module")
def demonstration(monkeypatch_module):
    monkeypatch_module.setattr(demo, "EPOCHS", 2)
    return demo.run(rows=100)


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def pages(evaluation, demonstration):
    return {"evaluation": evaluation_page(evaluation), "demo": demo_page(demonstration)}


@pytest.mark.parametrize("name", ["evaluation", "demo"])
def test_pages_need_nothing_from_outside(pages, name):
    outline = Outline(pages[name])
    for tag, attributes in outline.tags:
        assert tag not in ("script", "link", "iframe", "object")
        for attribute in ("src", "href", "xlink:href"):
            assert (attributes.get(attribute) or "#").startswith(("data:", "#"))
    assert not re.findall(r"url\((?!#)", pages[name])
    assert "@import" not in pages[name]


@pytest.mark.parametrize("name", ["evaluation", "demo"])
def test_pages_are_well_formed_and_described(pages, name):
    outline = Outline(pages[name])
    assert outline.open == []
    images = [attributes for tag, attributes in outline.tags if tag == "img"]
    assert len(images) >= 30
    assert all(attributes["alt"] for attributes in images)
    assert ("html", {"lang": "en"}) in outline.tags
    assert any(attributes.get("name") == "viewport" for _, attributes in outline.tags)


@pytest.mark.parametrize("name", ["evaluation", "demo"])
def test_pages_say_how_they_were_made(pages, name, evaluation):
    text = Outline(pages[name]).text
    info = eb.info()
    for part in (info["version"], info["cpu"], f"{info['threads']} threads", evaluation.date[:10]):
        assert part in text


def test_evaluation_page_shows_the_table_and_calls_accuracy_a_bound(pages, evaluation):
    text = Outline(pages["evaluation"]).text
    for row in evaluation.table().rows:
        assert all(cell in text for cell in row)
    assert "upper bound" in text
    assert f"at most {percent(evaluation.robust_accuracy)}" in text


def test_evaluation_page_draws_upper_bounds_and_what_is_proved():
    model = eb.models.linear(784, 10, seed=1)
    x, y = eb.datasets.load("mnist-subset", "test")
    report = eb.evaluate(model, x[:40].reshape(40, 784), y[:40], [eb.attacks.FGSM(eps=0.01)],
                         certificates=[eb.evaluation.LinearCertificate(0.01)])  # fmt: skip
    tags = Outline(evaluation_page(report)).tags
    (label,) = [attributes["aria-label"] for _, attributes in tags if attributes.get("role") == "img"]
    attacked, proved = (
        f"{percent(share)}" for share in (report.robust_accuracy, *map(np.mean, report.certified.values()))
    )
    assert label == (
        f"none (clean): {percent(report.clean_accuracy)}; FGSM linf eps=0.01: at most {attacked}; "
        f"worst case per row: at most {attacked}; exact linf eps=0.01: at least {proved}."
    )
    assert "svg" in {tag for tag, _ in tags}


def test_demo_page_shows_table_curves_and_digits(pages, demonstration):
    outline = Outline(pages["demo"])
    for row in demonstration.table().rows:
        assert all(cell in outline.text for cell in row)
    label = next(attributes["aria-label"] for tag, attributes in outline.tags if attributes.get("role") == "img")
    for train in ("clean", "adv"):
        for test in ("clean", "adv"):
            assert f"Train = {train}, Test = {test}: " in label
    for part in ("eps=0.1", "seed 0", "CC BY-SA 3.0"):
        assert part in outline.text


def test_demo_trains_four_models_and_watches_them_under_one_attack(demonstration):
    assert [(line.model, line.training) for line in demonstration.lines] == [
        ("softmax regression", "clean"),
        ("MLP 256-256", "clean"),
        ("MLP 256-256", "FGSM-trained"),
        ("MLP 256-256", "PGD-trained"),
    ]
    attacks = [history.attack for history in demonstration.histories.values()]
    assert all(attack == attacks[0] for attack in attacks)
    assert all(len(history.epochs) == 2 for history in demonstration.histories.values())


def test_demo_repeats_itself_to_the_bit(demonstration, monkeypatch):
    monkeypatch.setattr(demo, "EPOCHS", 2)
    again = demo.run(rows=100)
    for one, other in zip(demonstration.lines, again.lines, strict=True):
        assert (one.clean_error, one.fgsm_error, one.pgd_error) == (
            other.clean_error,
            other.fgsm_error,
            other.pgd_error,
        )
    assert demo.run(rows=100, seed=1).lines[1].confidence_on_mistakes != again.lines[1].confidence_on_mistakes


def test_demo_rejects_a_row_count_of_zero():
    with pytest.raises(ValueError, match="rows: 0 given"):
        demo.run(rows=0)


def test_html_is_written_to_a_file(evaluation, tmp_path):
    evaluation.to_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_markup_in_names_is_escaped(evaluation):
    content = page.Page("<b>", "<i>", Table(("a", "b"), (("<u>", "1"),)), "", (), (), {"x": "<script>"})
    tags = {tag for tag, _ in Outline(page.render(content)).tags}
    assert not tags & {"b", "i", "u", "script"}


def test_a_missing_extra_is_named_before_the_work_starts(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'jinja2 and matplotlib: pip install "epsball\[report\]"'):
        reports.require()


def decode(uri: str) -> np.ndarray:
    header, data = uri.split(",")
    assert header == "data:image/png;base64"
    return mpl.image.imread(io.BytesIO(base64.b64decode(data)))


def test_images_keep_their_pixels():
    pixels = np.linspace(0, 1, 28 * 28, dtype=np.float32).reshape(1, 28, 28)
    shown = decode(figures.image(pixels))
    assert shown.shape[:2] == (28, 28)
    assert np.abs(shown[..., 0] - pixels[0]).max() <= 1 / 255
    assert np.array_equal(shown[..., 0], shown[..., 2])


def test_images_of_other_channels_are_shown_in_the_grey_of_their_mean(tmp_path):
    x = np.random.default_rng(0).uniform(size=(3, 2, 4, 4)).astype(np.float32)
    shown = decode(figures.image(x[0]))
    assert np.abs(shown[..., 0] - x[0].mean(axis=0)).max() <= 1 / 255
    assert np.array_equal(shown[..., 0], shown[..., 2])
    report = eb.evaluate(eb.models.cnn((2, 4, 4), 2), x, [0, 1, 0], [eb.attacks.FGSM(eps=0.1)])
    report.to_html(tmp_path / "report.html")


def test_perturbations_are_blue_below_white_at_and_red_above_zero():
    red, green, blue = decode(figures.perturbation(np.array([[[-0.3, 0.0, 0.3]]]), limit=0.3))[0, :, :3].T
    assert blue[0] > red[0]
    assert min(red[1], green[1], blue[1]) > 0.95
    assert red[2] > blue[2]


def test_curves_survive_errors_of_zero_and_take_the_ink_of_the_page():
    svg = figures.error_curves([figures.Curve("a", [0.5, 0.0], "#4393c3", dashed=False)], floor=1e-3)
    assert svg.startswith("<svg")
    assert "currentColor" in svg
    assert "nan" not in svg


def test_figures_leave_the_global_settings_of_matplotlib_alone():
    before = dict(mpl.rcParams)
    figures.error_curves([figures.Curve("a", [0.5, 0.1], "#4393c3", dashed=True)], floor=1e-3)
    assert dict(mpl.rcParams) == before


def test_tables_align_labels_left_and_numbers_right():
    table = Table(("model", "error"), (("linear", percent(0.5)), ("mlp", percent(None))))
    assert str(table) == "model   error\nlinear  50.0%\nmlp         –"
    assert number(212345.6) == "212,346"
