"""The list of exhibits: one file, one test and one line for each; the command and its page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import epsball as eb
from epsball import cli, exhibits
from epsball.exhibits import base

NOT_EXHIBITS = {"__init__", "base", "page"}


def test_every_exhibit_has_a_file_a_test_and_a_line() -> None:
    files = {path.stem for path in Path(exhibits.__file__).parent.glob("*.py")} - NOT_EXHIBITS
    tests = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")} - {"registry"}
    assert files == tests == set(exhibits.EXHIBITS)


@pytest.mark.parametrize("name", ["nothing", "base", "", None])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^name: wanted one of linear_model, "):
        exhibits.run(name)


def test_the_same_seed_finds_the_same_and_another_something_else() -> None:
    first, again, other = (exhibits.run("linear_model", seed=seed) for seed in (0, 0, 1))
    assert first.shown.findings == again.shown.findings != other.shown.findings
    assert str(first).count("\n") > len(first.shown.findings["rows"])


def test_of_larger_data_sets_the_first_rows_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def large(_name: str, _split: str) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((20_000, 1, 1, 1), np.float32), np.zeros(20_000, np.int64)

    monkeypatch.setattr(eb.datasets, "load", large)
    digits = base.load("mnist")
    assert (len(digits.x), len(digits.yt)) == (10_000, 2_000)


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as end:
        cli.main(["exhibit", *arguments])
    return int(end.value.code or 0), capsys.readouterr().out


def test_the_list_says_what_each_shows(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = called(capsys, "--list")
    assert code == 0
    assert all(name in out for name in exhibits.EXHIBITS)
    code, out = called(capsys, "--list", "--json")
    assert (code, json.loads(out)) == (0, exhibits.EXHIBITS)


@pytest.mark.parametrize("arguments", [(), ("rbf", "--list"), ("nothing",)])
def test_wrong_usage_exits_with_2(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    assert called(capsys, *arguments) == (2, "")


def test_an_exhibit_is_a_table_a_document_and_a_page(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    code, out = called(capsys, "linear-model", "--report", str(tmp_path))
    assert code == 0
    assert "error under noise" in out
    assert "Source: " in out
    document = json.loads((tmp_path / "exhibit.json").read_text())
    assert document["exhibit"] == "linear_model"
    assert len(document["findings"]["rows"]) == 6
    page = (tmp_path / "index.html").read_text()
    assert page.count("<svg") == 1
    assert "random signs" in page
    code, out = called(capsys, "linear_model", "--json")
    assert json.loads(out)["findings"] == document["findings"]
