"""The command line: help, JSON on stdout alone, exit codes, files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import epsball as eb
from epsball import cli, datasets, demo, models, reports
from epsball.bench import run as benchmark
from epsball.bench import scaling
from epsball.cli import attacks as attack_options
from epsball.cli import options, output
from epsball.reports.tables import Table


@pytest.fixture
def run(capsys):
    """Run the command line; return (exit code, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return caught.value.code or 0, out, err

    return run


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    eb.models.mlp([784, 16, 10], seed=3).save(path)
    return path


# ---- manners ----


def test_help_lists_every_command(run):
    code, out, _ = run("--help")
    assert code == 0
    assert all(command in out for command in ("demo", "train", "attack", "evaluate", "bench", "info"))


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help_and_json(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert "--json" in out


def test_help_is_quick_because_nothing_heavy_is_imported():
    check = (
        "import sys, epsball.cli; print([m for m in ('numpy', 'matplotlib', 'epsball._native') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_data_option_knows_the_data_sets():
    assert set(get_args(get_args(options.Data)[0])) == set(datasets.NAMES)


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("train",),  # no --out
        ("train", "--out", "x.bin"),
        ("train", "--out", "x.safetensors", "--method", "fgsm", "--steps", "3"),
        ("train", "--out", "x.safetensors", "--method", "clp", "--steps", "3"),
        ("train", "--out", "x.safetensors", "--recipe", "mnist-fast", "--epochs", "3"),
        ("train", "--out", "x.safetensors", "--recipe", "mnist-fast", "--method", "pgd"),
        ("train", "--out", "x.safetensors", "--recipe", "slow"),
        ("train", "--out", "x.safetensors", "--model", "softmax", "--hidden", "32"),
        ("train", "--out", "x.safetensors", "--hidden", "32,no"),
        ("train", "--out", "x.safetensors", "--data", "cifar"),
        ("attack", "no-such-file.safetensors"),
        ("attack", "MODEL", "--attack", "fgsm", "--restarts", "3"),
        ("attack", "MODEL", "--eps", "nan"),
        ("attack", "MODEL", "--eps", "1/0"),
        ("attack", "MODEL", "--out", "examples.txt"),
        ("attack", "MODEL", "--out", "examples"),
        ("evaluate", "MODEL", "--attacks", ""),
        ("evaluate", "MODEL", "--attacks", "fgsm,,pgd"),
        ("evaluate", "MODEL", "--attacks", "fgsm,nonsense"),
        ("evaluate", "MODEL", "--rows", "0"),
        ("attack", "MODEL", "--eps", "-1"),
        ("attack", "MODEL", "--eps", "1e400"),
        ("attack", "MODEL", "--step-size", "-0.1"),
        ("attack", "MODEL", "--steps", "99999999999"),
        ("attack", "MODEL", "--restarts", "99999999999"),
        ("attack", "MODEL", "--attack", "rfgsm", "--norm", "l2"),
        ("evaluate", "MODEL", "--attacks", "fgsm,rfgsm", "--norm", "l2"),
        ("train", "--out", "x.safetensors", "--lr", "nan"),
        ("train", "--out", "x.safetensors", "--lr", "-1"),
        ("train", "--out", "x.safetensors", "--seed", "99999999999999999999"),
        ("train", "--out", "x.safetensors", "--hidden", "10000000000"),
        ("train", "--out", "x.safetensors", "--batch-size", "99999999999999999999"),
        ("train", "--out", "x.safetensors", "--method", "pgd", "--steps", "99999999999"),
        ("bench", "--threads", "9999"),
        ("bench", "--peers", "torch", "--no-peers"),
        ("bench", "--peers", ""),
        ("bench", "--peers", "nobody"),
        ("bench", "--rows", ""),
    ],
)
def test_wrong_usage_exits_with_2_and_prints_nothing_on_stdout(run, model_file, monkeypatch, tmp_path, arguments):
    monkeypatch.chdir(tmp_path)  # should one of them write its file after all
    monkeypatch.setattr(benchmark, "run", lambda *_, **__: pytest.fail("the benchmark started"))
    code, out, err = run(*(model_file if argument == "MODEL" else argument for argument in arguments))
    assert (code, out) == (2, "")
    assert err


def test_a_failure_at_run_time_exits_with_1_and_one_line(run, tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"no model")
    code, out, err = run("attack", tmp_path / "broken.safetensors", "--rows", 5, "--json")
    assert (code, out) == (1, "")
    assert err.startswith("epsball: error: ")
    assert "broken.safetensors" in err
    assert "Traceback" not in err


def test_training_that_diverges_exits_with_1_and_one_line(run, tmp_path):
    out = tmp_path / "model.safetensors"
    code, text, err = run("train", "--out", out, "--rows", 200, "--epochs", 2, "--lr", "1e30", "--json")
    assert (code, text) == (1, "")
    assert err.splitlines()[-1].startswith("epsball: error: epoch 1: ")
    assert not out.exists()


def test_a_model_too_large_for_memory_exits_with_1_and_one_line(run, monkeypatch, tmp_path):
    def too_large(*_: object, **__: object) -> None:
        raise MemoryError("std::bad_alloc")

    monkeypatch.setattr(models, "mlp", too_large)
    code, _, err = run("train", "--out", tmp_path / "model.safetensors")
    assert (code, err) == (1, "epsball: error: not enough memory for this model or data\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "--out", "FILE/x.safetensors"),
        ("train", "--out", "x.safetensors", "--checkpoint", "FILE/x.safetensors"),
        ("attack", "MODEL", "--out", "FILE/x.npz"),
        ("evaluate", "MODEL", "--report", "FILE/page"),
        ("demo", "--report", "FILE/page"),
        ("bench", "--plot", "FILE/x.png"),
        ("bench", "--plot", "x.nonsense"),
    ],
)
def test_a_result_that_cannot_be_written_fails_before_the_work(run, model_file, monkeypatch, tmp_path, arguments):
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("a file where a folder is wanted")
    for place, work in ((eb, "fit"), (eb, "evaluate"), (eb.attacks.PGD, "run"), (demo, "run"), (benchmark, "run")):
        monkeypatch.setattr(place, work, lambda *_, **__: pytest.fail("the work started"))
    code, out, err = run(*(model_file if argument == "MODEL" else argument for argument in arguments))
    assert (code, out) == (1, "")
    assert err.startswith("epsball: error: ")
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["FILE"]


def test_a_plot_that_fails_after_all_loses_no_figures(run, monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")

    def full(*_: object) -> None:
        raise OSError("no space left")

    found = benchmark.run([("softmax", 1)], [], seconds=0.001, repeats=1, threads=1)
    monkeypatch.setattr(benchmark, "run", lambda *_, **__: found)
    monkeypatch.setattr(scaling, "plot", full)
    code, out, err = run("bench", "--plot", tmp_path / "x.png", "--json")
    assert (code, err.strip()) == (1, "epsball: error: no space left")
    assert json.loads(out)["attack"]


def test_version_is_that_of_the_project(run):
    code, out, _ = run("--version")
    assert (code, out) == (0, f"epsball {eb.__version__}\n")
    project = (Path(__file__).parent.parent / "pyproject.toml").read_text()
    assert re.findall(r'^version = "(.*?)"', project, re.MULTILINE) == [eb.__version__]


def test_modules_found_on_first_use_are_public():
    assert set(eb._MODULES) <= set(eb.__all__)


def test_attack_names_are_listed_once(run, model_file):
    assert get_args(attack_options.Name) == tuple(attack_options.CLASSES)
    assert all(hasattr(eb.attacks, name) for name in attack_options.CLASSES.values())
    _, _, err = run("attack", model_file, "--attack", "nonsense")
    assert all(f"'{name}'" in err for name in attack_options.CLASSES)


def test_evaluate_goes_on_from_its_state(run, model_file, tmp_path, monkeypatch):
    shared = ("evaluate", model_file, "--attacks", "fgsm", "--rows", 50, "--state", tmp_path / "state.safetensors")
    first = json.loads(run(*shared, "--json")[1])
    monkeypatch.setattr(eb.attacks.FGSM, "run", None)  # a second attack would fail
    again = json.loads(run(*shared, "--json")[1])
    assert again["rows"] == first["rows"]
    code, _, err = run(*shared, "--eps", 0.123)
    assert code != 0
    assert "is of another evaluation: attacks" in err


@pytest.mark.parametrize("command", ["demo", "evaluate"])
def test_a_report_without_its_extra_fails_before_the_work(run, command, model_file, monkeypatch, tmp_path):
    def missing() -> None:
        raise ImportError('pip install "epsball[report]"')

    monkeypatch.setattr(reports, "require", missing)
    monkeypatch.setattr(datasets, "load", lambda *_: pytest.fail("the work started"))
    code, _, err = run(command, *([model_file] if command == "evaluate" else []), "--report", tmp_path / "page")
    assert code == 1
    assert "epsball[report]" in err
    assert not (tmp_path / "page").exists()


@pytest.mark.parametrize(("text", "value"), [("0.3", 0.3), ("8/255", 8 / 255), ("1e-6", 1e-6), ("0", 0.0)])
def test_budgets_may_be_written_as_fractions(text, value):
    assert options.number(text) == value


# ---- tables ----


@pytest.mark.parametrize("columns", [30, 60, 80, 100, 120])
def test_tables_fit_the_terminal_and_no_number_is_cut(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    header = ("attack", "accuracy", "confidence on mistakes", "median distance", "queries to success", "sample-steps/s")
    rows = (
        ("none (clean)", "98.5%", *"––––"),
        ("PGD-40×10 linf eps=0.3", "at most 45.0%", "55%", "0.1", "–", "1,234,567"),
    )
    output.table(Table(header, rows), title="what it is", caption="how it was found")
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= columns
    words = printed.split()
    assert all(word in words for cell in rows[1] if cell != "–" for word in cell.split())
    assert "success" not in printed  # nothing stands in that column
    assert "…" not in printed
    if columns >= 80:
        assert "PGD-40×10 linf eps=0.3  at most 45.0%" in printed  # names in one line
        assert "steps/s" in printed


def test_what_info_says_stands_in_two_columns_of_text(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    lines = run("info")[1].splitlines()
    starts = {len(line) - len(line.lstrip()) for line in lines if line.startswith(" ")}
    column = lines[0].index(eb.info()["version"])
    assert starts <= {column}  # what is broken goes on below its beginning
    assert max(map(len, lines)) <= 60


# ---- commands ----


def test_info_is_what_the_library_says(run):
    code, out, _ = run("info", "--json")
    assert (code, json.loads(out)) == (0, eb.info())
    assert eb.info()["version"] in run("info")[1]


@pytest.mark.parametrize("method", [("standard",), ("fgsm", "--eps", "8/255"), ("pgd", "--eps", "0.1", "--steps", "2")])
@pytest.mark.parametrize("model", ["softmax", "mlp", "cnn"])
def test_train_writes_a_model_that_loads(run, tmp_path, method, model):
    out = tmp_path / "model.safetensors"
    hidden = ["--hidden", "8,8"] if model == "mlp" else []
    shared = ["--rows", 50, "--epochs", 2, "--batch-size", 10, "--out", out]
    code, text, _ = run("train", "--model", model, *hidden, "--method", *method, *shared, "--json")
    assert code == 0
    assert [epoch["epoch"] for epoch in json.loads(text)["history"]["epochs"]] == [1, 2]
    x, _ = datasets.load("mnist-subset", "test")
    assert eb.load(out)(x[:3]).shape == (3, 10)


@pytest.mark.parametrize(("method", "eps", "measured"), [
    ("standard", None, eb.attacks.FGSM(options.EPS)),
    ("standard", 0.2, eb.attacks.FGSM(0.2)),
    ("label-smoothing", 0.2, eb.attacks.FGSM(0.2)),
    ("vat", 2.0, eb.attacks.FGSM(options.EPS)),  # whose eps is an L2 length
    ("pgd", 0.2, eb.attacks.PGD(0.2, steps=40)),
])  # fmt: skip
def test_train_measures_the_attack_of_the_budget_that_is_given(run, tmp_path, method, eps, measured):
    shared = ("--model", "softmax", "--rows", 20, "--epochs", 1, "--out", tmp_path / "model.safetensors")
    given = () if eps is None else ("--eps", eps)
    code, text, err = run("train", *shared, "--method", method, *given, "--json")
    assert code == 0, err
    assert eb.attacks.from_dict(json.loads(text)["history"]["attack"]) == measured


def test_every_training_method_has_a_command_line_name(run, tmp_path):
    from epsball.cli.train import _METHODS

    shared = ("--model", "softmax", "--rows", 40, "--epochs", 1, "--batch-size", 20)
    for method, (name, _) in _METHODS.items():
        out = tmp_path / f"{method}.safetensors"
        code, text, _ = run("train", *shared, "--method", method, "--out", out, "--json")
        assert code == 0
        assert json.loads(text)["method"].startswith(f"{name}(")


def test_recipe_settles_everything_but_data_rows_and_seed(run, tmp_path):
    out = tmp_path / "model.safetensors"
    code, text, _ = run(
        "train", "--recipe", "mnist-fast", "--data", "mnist-subset", "--rows", 200, "--out", out, "--json"
    )
    assert code == 0
    told = json.loads(text)
    assert "Conv2d" in told["model"]
    assert told["method"].startswith("PGDTraining(eps=0.3, steps=2, step_size=0.2")
    assert len(told["history"]["epochs"]) == 10


def test_train_takes_an_optimizer_a_rate_a_seed_and_a_checkpoint(run, tmp_path):
    def train(name: str, *more: object) -> dict[str, np.ndarray]:
        out = tmp_path / name
        code, *_ = run("train", "--model", "softmax", "--rows", 50, "--epochs", 2, "--out", out, *more)
        assert code == 0
        return eb.load(out).parameters()

    checkpoint = tmp_path / "checkpoint.safetensors"
    first = train(
        "a.safetensors",
        "--optimizer",
        "sgd",
        "--lr",
        "0.1",
        "--seed",
        5,
        "--checkpoint",
        checkpoint,
    )
    again = train("b.safetensors", "--optimizer", "sgd", "--lr", "0.1", "--seed", 5)
    other = train("c.safetensors", "--optimizer", "adam", "--seed", 5)
    assert checkpoint.exists()
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("attack", ["fgsm", "rfgsm", "bim", "ilcm", "pgd"])
def test_attack_keeps_examples_inside_the_ball_and_says_how_they_were_made(run, model_file, tmp_path, attack):
    out = tmp_path / "examples.npz"
    arguments = ("--attack", attack, "--eps", "0.1", "--rows", 20, "--split", "train")
    code, text, _ = run("attack", model_file, *arguments, "--out", out, "--json")
    assert code == 0
    x, y = (array[:20] for array in datasets.load("mnist-subset", "train"))
    with np.load(out) as saved:
        assert np.array_equal(saved["y"], y)
        assert np.abs(saved["x_adv"].astype(np.float64) - x).max() <= 0.1
        error = float((eb.load(model_file).predict(saved["x_adv"]) != y).mean())
        assert json.loads(str(saved["attack"])) == json.loads(text)["attack"]
    assert json.loads(text)["adversarial_error"] == error


@pytest.mark.parametrize("attack", list(attack_options.CLASSES))
def test_every_attack_is_built_without_options_and_takes_the_default_budget_if_it_has_one(attack):
    built = attack_options.build([attack])[0]
    assert getattr(built, "eps", options.EPS) == options.EPS


@pytest.mark.parametrize("attack", ["ddn", "jsma"])
def test_attacks_without_a_budget_run_alone(run, model_file, attack):
    code, text, err = run("attack", model_file, "--attack", attack, "--rows", 5, "--json")
    assert (code, json.loads(text)["rows"]) == (0, 5), err
    code, text, err = run("evaluate", model_file, "--attacks", attack, "--rows", 5, "--json")
    assert code == 0, err
    code, _, err = run("attack", model_file, "--attack", attack, "--eps", "0.1")
    assert code == 2
    assert "--eps means nothing" in err


def test_a_comma_behind_the_last_name_does_no_harm(run, model_file):
    code, text, err = run("evaluate", model_file, "--attacks", "fgsm, bim,", "--rows", 5, "--json")
    assert code == 0, err
    assert [attack["attack"] for attack in json.loads(text)["attacks"].values()] == ["FGSM", "BIM"]


def test_attack_passes_its_options_on(run, model_file):
    given = (
        "--norm",
        "l2",
        "--eps",
        "1.5",
        "--steps",
        3,
        "--step-size",
        "0.5",
        "--restarts",
        2,
        "--seed",
        4,
        "--no-clip",
    )
    code, text, _ = run("attack", model_file, "--rows", 5, *given, "--json")
    assert code == 0
    made = eb.attacks.PGD(norm="l2", eps=1.5, steps=3, step_size=0.5, restarts=2, seed=4, bounds=None)
    assert eb.attacks.from_dict(json.loads(text)["attack"]) == made


def test_evaluate_reports_each_attack_and_the_worst_case(run, model_file, tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    shared = (model_file, "--rows", 30, "--attacks", "fgsm,pgd", "--steps", 2)
    code, text, _ = run("evaluate", *shared, "--report", tmp_path / "page", "--json")
    assert code == 0
    document = json.loads(text)
    assert len(document["rows"]) == 2
    assert document["row_count"] == 30
    assert sorted(path.name for path in (tmp_path / "page").iterdir()) == [
        "evaluation.json",
        "index.html",
    ]
    assert "at most" in run("evaluate", *shared)[1]


def test_demo_prints_one_table_and_writes_one_page(run, monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    monkeypatch.setattr(demo, "EPOCHS", 1)
    code, text, err = run("demo", "--rows", 50, "--json", "--report", tmp_path / "page")
    assert code == 0
    assert len(json.loads(text)["lines"]) == 4
    assert "train softmax regression" in err
    assert sorted(path.name for path in (tmp_path / "page").iterdir()) == [
        "demo.json",
        "index.html",
    ]
    code, text, _ = run("demo", "--rows", 50)
    assert code == 0
    assert "PGD-trained" in text
