"""Evaluation: worst case per row, honest words, files written whole."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

import epsball as eb
from epsball.attacks.base import Attack
from epsball.evaluation import state
from epsball.reports import files

# One feature x in [0, 1]; the model says 1 where x > 0.5. Rows 0-2 are right, row 3 is wrong.
X = np.array([[0.1], [0.4], [0.9], [0.8]], np.float32)
Y = np.array([0, 0, 1, 0])


@pytest.fixture
def model():
    threshold = eb.models.linear(1, 2)
    weight, bias = threshold.parameters()
    threshold.load_parameters(
        {weight: np.array([[-10.0], [10.0]], np.float32), bias: np.array([5.0, -5.0], np.float32)}
    )
    return threshold


@dataclass(frozen=True)
class Answer(Attack):
    """An attack that returns what it was told."""

    x_adv: Any = None

    def _attack(self, model, x, y, index, *, judged, trace):
        x_adv = np.array(self.x_adv, np.float32)[:, None]
        rows = len(x)
        success = model.predict(x_adv) != y
        distance = np.abs(x_adv - x).max(axis=1).astype(np.float64)
        queries, loss, zero_gradient = np.ones(rows, np.int64), np.zeros(rows, np.float32), np.zeros(rows, bool)
        return x_adv, success, distance, queries, loss, zero_gradient, None

    def to_dict(self):
        return {"x_adv": self.x_adv}


def test_robust_accuracy_has_an_interval_and_says_at_most() -> None:
    robust = np.arange(100) < 70
    report = eb.evaluation.EvaluationReport(0.9, 0.7, {}, robust, {}, "model", {}, "now", None)
    assert "robust accuracy: at most 70.0% of 100 rows" in str(report)
    assert report.to_dict()["robust_accuracy_interval"] == pytest.approx([0.600185, 0.787585], abs=1e-5)


def test_a_row_is_robust_only_if_right_under_every_attack(model):
    turns_first, turns_third = Answer([0.6, 0.4, 0.9, 0.8]), Answer([0.1, 0.4, 0.2, 0.8])
    report = eb.evaluate(model, X, Y, attacks=[turns_first, turns_third])
    assert report.clean_accuracy == 0.75
    assert [row["accuracy"] for row in report.rows.values()] == [0.5, 0.5]
    assert np.array_equal(report.robust, [False, True, False, False])
    assert report.robust_accuracy == 0.25


def test_a_row_that_is_wrong_clean_is_not_robust_even_if_the_attack_repairs_it(model):
    report = eb.evaluate(model, X, Y, attacks=[Answer([0.1, 0.4, 0.9, 0.2])])
    assert next(iter(report.rows.values()))["accuracy"] == 1.0
    assert not report.robust[3]
    assert report.robust_accuracy == 0.75


def test_distance_is_the_median_over_turned_rows_and_confidence_over_all_mistakes(model):
    report = eb.evaluate(model, X, Y, attacks=[Answer([0.6, 0.6, 0.9, 0.8])])
    row = next(iter(report.rows.values()))
    assert row["median_distance"] == pytest.approx((0.5 + 0.2) / 2)
    wrong = model.probabilities(np.array([[0.6], [0.6], [0.8]], np.float32)).max(axis=1)
    assert row["confidence_on_mistakes"] == pytest.approx(wrong.mean())


def test_an_attack_without_mistakes_has_no_confidence_and_no_distance(model):
    report = eb.evaluate(model, X[:3], Y[:3], attacks=[Answer([0.1, 0.4, 0.9])])
    row = next(iter(report.rows.values()))
    assert row["confidence_on_mistakes"] is None
    assert row["median_distance"] is None
    assert "–" in str(report)


def test_logistic_models_are_as_sure_of_class_0_as_of_class_1():
    logistic = eb.models.linear(1, 1)
    weight, bias = logistic.parameters()
    logistic.load_parameters({weight: np.array([[20.0]], np.float32), bias: np.array([-10.0], np.float32)})
    report = eb.evaluate(logistic, X[:3], Y[:3], attacks=[Answer([0.9, 0.4, 0.1])])
    row = next(iter(report.rows.values()))
    assert row["confidence_on_mistakes"] == pytest.approx(1 / (1 + np.exp(-8)), abs=1e-5)


def test_the_table_says_at_most_for_every_accuracy_under_attack(model):
    lines = str(
        eb.evaluate(model, X, Y, attacks=[eb.attacks.FGSM(eps=0.2), eb.attacks.PGD(eps=0.2, steps=3)])
    ).splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["none", "FGSM", "PGD-3", "worst", "robust"]
    assert ["at most" in line for line in lines[2:]] == [False, True, True, True, True]


def test_attacks_that_look_alike_get_names_of_their_own(model):
    attacks = [eb.attacks.PGD(eps=0.2, steps=3, seed=seed) for seed in (0, 1)]
    assert list(eb.evaluate(model, X, Y, attacks=attacks).rows) == [
        "PGD-3 linf eps=0.2",
        "PGD-3 linf eps=0.2 (2)",
    ]


def test_progress_is_told_of_every_attack(model):
    told = []
    eb.evaluate(model, X, Y, attacks=[eb.attacks.FGSM(eps=0.2)], progress=lambda *stage: told.append(stage))
    assert told == [("FGSM linf eps=0.2", 0, 1), ("FGSM linf eps=0.2", 1, 1)]


def test_nothing_is_printed_unless_asked(model, capsys):
    eb.evaluate(model, X, Y, attacks=[eb.attacks.FGSM(eps=0.2)])
    assert capsys.readouterr() == ("", "")


def test_inputs_are_not_modified(model):
    x, y = X.copy(), Y.copy()
    eb.evaluate(model, x, y, attacks=[eb.attacks.PGD(eps=0.2, steps=3)])
    assert np.array_equal(x, X)
    assert np.array_equal(y, Y)


def test_examples_are_the_first_image_of_each_class_under_the_strongest_attack():
    model = eb.models.linear(784, 10, seed=1)
    x, y = eb.datasets.load("mnist-subset", "test")
    examples = eb.evaluate(model, x[:60], y[:60], attacks=[eb.attacks.FGSM(eps=0.0), eb.attacks.FGSM(eps=0.3)]).examples
    assert examples.attack == "FGSM linf eps=0.3"
    first = [int(np.flatnonzero(y == label)[0]) for label in range(10)]
    assert np.array_equal(examples.labels, np.arange(10))
    assert np.array_equal(examples.clean, x[first])
    assert np.array_equal(examples.predictions, model.predict(examples.adversarial))


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"attacks": []}, ValueError, "attacks: wanted at least one"),
        ({"attacks": ["fgsm"]}, TypeError, "attacks: .*got 'fgsm'"),
        (
            {"attacks": [eb.attacks.FGSM(eps=0.1, targeted=True)]},
            ValueError,
            "attacks: wanted untargeted",
        ),
        ({"y": Y[:3]}, ValueError, r"y: wanted 4 class indices, one per row of x, got shape \(3,\)"),
        ({"y": np.ones((4, 2), int)}, ValueError, r"y: .*got shape \(4, 2\)"),
        ({"x": X[:0], "y": Y[:0]}, ValueError, "x: .*at least one row"),
    ],
)
def test_bad_arguments_are_named(model, change, error, match):
    arguments = {"x": X, "y": Y, "attacks": [eb.attacks.FGSM(eps=0.1)], **change}
    with pytest.raises(error, match=match):
        eb.evaluate(model, **arguments)


def test_json_holds_the_results_and_how_they_were_made(model, tmp_path):
    report = eb.evaluate(model, X[:3], Y[:3], attacks=[Answer([0.1, 0.4, 0.9]), eb.attacks.FGSM(eps=0.3)])
    report.to_json(tmp_path / "report.json")
    read = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert read["robust_accuracy_at_most"] == report.robust_accuracy
    assert read["robust"] == report.robust.tolist()
    assert read["attacks"]["FGSM linf eps=0.3"] == json.loads(files.to_json(eb.attacks.FGSM(eps=0.3).to_dict()))
    assert read["environment"]["version"] == eb.info()["version"]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "kept.txt"
    files.write_text(path, "old")

    def fail_half_way() -> None:
        with files.replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert path.read_text() == "old"
    files.write_text(path, "new")
    assert path.read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept.txt"]


def test_a_file_is_on_the_disk_before_it_gets_its_name_and_the_name_after(tmp_path, monkeypatch):
    path, flushed = tmp_path / "kept.txt", []
    flush = os.fsync

    def record(descriptor: int) -> None:
        flushed.append((os.fstat(descriptor).st_ino, path.exists()))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    files.write_text(path, "new")
    assert flushed == [(path.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


def test_json_refuses_nan():
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.to_json({"loss": float("nan")})


@pytest.mark.parametrize(
    "bad", [Y + 0.5, Y.astype(str), None, [None] * len(Y)], ids=["halves", "text", "none", "nones"]
)
def test_labels_that_are_not_integers_are_an_error(model, bad: Any) -> None:
    with pytest.raises(TypeError, match=r"^y: "):
        eb.evaluate(model, X, bad, [eb.attacks.FGSM(0.1)])


@pytest.mark.parametrize("bad", [eb.attacks.FGSM(0.1), None])
def test_attacks_that_are_no_list_are_an_error(model, bad: Any) -> None:
    with pytest.raises(TypeError, match=r"^attacks: "):
        eb.evaluate(model, X, Y, bad)


def test_what_is_not_a_model_cannot_be_evaluated() -> None:
    with pytest.raises(TypeError, match=r"^model: "):
        eb.evaluate(None, X, Y, [eb.attacks.FGSM(0.1)])  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("attack", "steps"), [(eb.attacks.PGD(0.0, steps=5, restarts=2), 10), (eb.attacks.FGSM(0.0), 1)]
)
def test_steps_per_second_counts_steps_not_forward_passes(model, dtype: Any, attack: Any, steps: int) -> None:
    row = next(iter(eb.evaluate(model, X.astype(dtype), Y, [attack]).rows.values()))
    assert row["sample_steps_per_second"] * row["seconds"] == pytest.approx(steps * len(X))


# ---- state files


@dataclass(frozen=True)
class Counting(Attack):
    """FGSM that counts the rows it was asked about, in all instances together."""

    eps: float = 0.2
    asked: ClassVar[list[np.ndarray]] = []

    def _attack(self, model, x, y, index, *, judged, trace):
        Counting.asked.append(np.array(index))
        return eb.attacks.FGSM(self.eps)._attack(model, x, y, index, judged=judged, trace=trace)


@dataclass(frozen=True)
class Asking(Attack):
    """An attack that moves every row up and asks for its label, no more."""

    needs = "labels"

    def _attack(self, model, x, y, index, *, judged, trace):
        x_adv = np.minimum(x + np.float32(0.2), 1)
        rows, success = len(x), np.asarray(model.predict(x_adv)) != y
        zeros = np.zeros(rows, np.float32)
        return x_adv, success, np.full(rows, 0.2), np.ones(rows, np.int64), zeros, zeros > 0, None


@pytest.fixture
def counted(monkeypatch):
    Counting.asked.clear()
    monkeypatch.setattr(state, "CHUNK", 2)
    return Counting.asked


class KilledError(Exception):
    """A run that ends in the middle."""


def killed_after(stages: int) -> Any:
    told = []

    def progress(*stage):
        told.append(stage)
        if len(told) == stages:
            raise KilledError

    return progress


def test_a_killed_evaluation_resumes_with_nothing_attacked_twice(model, counted, tmp_path):
    attacks = [Counting(0.2), Counting(0.35)]
    whole = eb.evaluate(model, X, Y, attacks)
    assert [list(rows) for rows in counted] == [[0, 1], [2, 3]] * 2
    for stages in range(1, 7):
        counted.clear()
        path = tmp_path / f"{stages}.safetensors"
        with pytest.raises(KilledError):
            eb.evaluate(model, X, Y, attacks, state=path, progress=killed_after(stages))
        resumed = eb.evaluate(model, X, Y, attacks, state=path)
        assert [list(rows) for rows in counted] == [[0, 1], [2, 3]] * 2
        assert np.array_equal(resumed.robust, whole.robust)
        for name, row in whole.rows.items():
            for key in ("accuracy", "confidence_on_mistakes", "median_distance"):
                assert resumed.rows[name][key] == row[key]


def test_a_finished_evaluation_is_read_from_its_state_without_a_query(tmp_path):
    rows = np.concatenate([X] * 2)
    source = eb.LabelOracle(lambda x: (x[:, 0] > 0.5).astype(np.int64), classes=2)
    attacks = [Asking()]
    path = tmp_path / "state.safetensors"
    first = eb.evaluate(source, rows, np.tile(Y, 2), attacks, state=path)
    spent = source.queries
    again = eb.evaluate(source, rows, np.tile(Y, 2), attacks, state=path)
    assert source.queries == spent
    assert np.array_equal(again.robust, first.robust)
    assert again.rows == first.rows


def test_chunks_change_no_bit(monkeypatch):
    model = eb.models.linear(784, 10, seed=1)
    x, y = eb.datasets.load("mnist-subset", "test")
    attacks = [eb.attacks.PGD(eps=0.05, steps=3, restarts=2), eb.attacks.PGD(eps=np.linspace(0, 0.1, 50), steps=2)]
    whole = eb.evaluate(model, x[:50], y[:50], attacks)
    monkeypatch.setattr(state, "CHUNK", 7)
    pieces = eb.evaluate(model, x[:50], y[:50], attacks)
    assert np.array_equal(whole.robust, pieces.robust)
    for name, row in whole.rows.items():
        assert pieces.rows[name]["confidence_on_mistakes"] == row["confidence_on_mistakes"]
        assert pieces.rows[name]["median_distance"] == row["median_distance"]
    assert np.array_equal(whole.examples.adversarial, pieces.examples.adversarial)


def test_a_list_of_attacks_may_grow_and_change_its_order(model, counted, tmp_path):
    path = tmp_path / "state.safetensors"
    first = [Counting(0.2), Counting(0.45)]  # which turn one row and all rows
    eb.evaluate(model, X, Y, first, state=path)
    counted.clear()
    grown = [Counting(0.1), *reversed(first)]
    found = eb.evaluate(model, X, Y, grown, state=path)
    assert [list(rows) for rows in counted] == [[0, 1], [2, 3]]  # of the new one
    whole = eb.evaluate(model, X, Y, grown)
    assert list(found.rows) == list(whole.rows)
    assert [row["accuracy"] for row in found.rows.values()] == [row["accuracy"] for row in whole.rows.values()]
    assert [row["median_distance"] for row in found.rows.values()] == [
        row["median_distance"] for row in whole.rows.values()
    ]
    counted.clear()
    eb.evaluate(model, X, Y, grown, state=path)
    assert not counted


def test_a_state_of_another_evaluation_is_refused(model, tmp_path):
    path = tmp_path / "state.safetensors"
    fgsm = [eb.attacks.FGSM(eps=0.2)]
    eb.evaluate(model, X, Y, fgsm, state=path)
    another = r"^state: .* is of another evaluation: "
    gone = r"attacks had 'FGSM linf eps=0.2', now there are 'FGSM linf eps=0.3'; the list may only grow$"
    with pytest.raises(ValueError, match=another + gone):
        eb.evaluate(model, X, Y, [eb.attacks.FGSM(eps=0.3)], state=path)
    option = r"attacks\['FGSM linf eps=0.2'\]\['loss'\] was 'cross_entropy', now it is 'margin'$"
    with pytest.raises(ValueError, match=another + option):
        eb.evaluate(model, X, Y, [eb.attacks.FGSM(eps=0.2, loss="margin")], state=path)
    with pytest.raises(ValueError, match=another + r"data was '4 rows \(.*\)', now it is '4 rows \("):
        eb.evaluate(model, X[::-1].copy(), Y, fgsm, state=path)
    with pytest.raises(ValueError, match=another + r"data was '4 rows \(.*\)', now it is '3 rows \("):
        eb.evaluate(model, X[:3], Y[:3], fgsm, state=path)
    values = {name: p * 2 for name, p in model.parameters().items()}
    model.load_parameters(values)
    with pytest.raises(ValueError, match=r"^state: .* is of another evaluation: weights"):
        eb.evaluate(model, X, Y, fgsm, state=path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ValueError, match="its contents are not those that were written"):
        eb.evaluate(model, X, Y, fgsm, state=path)
    path.write_bytes(whole[:50])
    with pytest.raises(ValueError, match="not an intact safetensors file"):
        eb.evaluate(model, X, Y, fgsm, state=path)
    with pytest.raises(FileNotFoundError):
        eb.evaluate(model, X, Y, fgsm, state=tmp_path / "none" / "state.safetensors")


def test_a_state_in_a_read_only_folder_is_an_error_before_the_first_attack(model, counted, read_only_folder):
    with pytest.raises(PermissionError, match=r"can be written to.*run\.safetensors"):
        eb.evaluate(model, X, Y, [Counting(0.2)], state=read_only_folder / "run.safetensors")
    assert not counted


def test_a_disk_that_is_full_leaves_the_state_of_the_rows_before(model, counted, tmp_path, full_disk):
    path, attacks = tmp_path / "run.safetensors", [Counting(0.2)]
    with pytest.raises(OSError, match="File too large"):
        eb.evaluate(model, X, Y, attacks, state=path, progress=lambda _, done, __: full_disk(done == 1))
    full_disk(False)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name], "half a file was left"
    counted.clear()
    eb.evaluate(model, X, Y, attacks, state=path)
    assert [list(rows) for rows in counted] == [[2, 3]]


# ---- certificates beside attacks, queries to the first success


def test_certified_is_at_most_what_attacks_leave_and_says_at_least(model):
    certificates = [eb.evaluation.LinearCertificate(0.2), eb.evaluation.IBPCertificate(0.2)]
    report = eb.evaluate(model, X, Y, [eb.attacks.PGD(eps=0.2, steps=5)], certificates=certificates)
    assert list(report.certified) == ["exact linf eps=0.2", "IBP linf eps=0.2"]
    for rows in report.certified.values():
        assert np.array_equal(rows, [True, False, True, False])
        assert not (rows & ~report.robust).any()
    assert "certified: IBP linf eps=0.2" in str(report)
    assert "at least 50.0%" in str(report)
    document = json.loads(files.to_json(report.to_dict()))
    assert document["certified_accuracy_at_least"]["IBP linf eps=0.2"] == 0.5
    assert document["certificates"]["IBP linf eps=0.2"] == {
        "certificate": "IBPCertificate", "eps": 0.2, "bounds": [0.0, 1.0],
    }  # fmt: skip


@dataclass(frozen=True)
class Asked(eb.evaluation.Certificate):
    """A certificate that notes how many rows it was asked about, in all instances together."""

    eps: float = 0.2
    asked: ClassVar[list[int]] = []

    def certify(self, model: Any, x: Any, y: Any) -> Any:
        Asked.asked.append(len(x))
        return eb.evaluation.LinearCertificate(self.eps).certify(model, x, y)

    def describe(self) -> str:
        return f"asked eps={self.eps:g}"


def test_a_killed_evaluation_resumes_with_nothing_certified_twice(model, counted, tmp_path):
    Asked.asked.clear()
    fgsm, proofs = [Counting(0.2)], [Asked(0.2), Asked(0.35)]
    whole = eb.evaluate(model, X, Y, fgsm, certificates=proofs)
    assert Asked.asked == [2, 2] * 2
    for stages in range(1, 10):
        counted.clear()
        Asked.asked.clear()
        path = tmp_path / f"{stages}.safetensors"
        with pytest.raises(KilledError):
            eb.evaluate(model, X, Y, fgsm, certificates=proofs, state=path, progress=killed_after(stages))
        resumed = eb.evaluate(model, X, Y, fgsm, certificates=proofs, state=path)
        assert [list(rows) for rows in counted] == [[0, 1], [2, 3]]
        assert Asked.asked == [2, 2] * 2
        for name, rows in whole.certified.items():
            assert np.array_equal(resumed.certified[name], rows)
    Asked.asked.clear()
    grown = eb.evaluate(model, X, Y, fgsm, certificates=[Asked(0.1), *reversed(proofs)], state=path)
    assert Asked.asked == [2, 2]  # of the new one
    assert list(grown.certified) == ["asked eps=0.1", "asked eps=0.35", "asked eps=0.2"]
    assert np.array_equal(grown.certified["asked eps=0.2"], whole.certified["asked eps=0.2"])
    gone = r"certificates had 'asked eps=0.1', now there are none; the list may only grow$"
    with pytest.raises(ValueError, match=r"^state: .* is of another evaluation: " + gone):
        eb.evaluate(model, X, Y, fgsm, state=path)


@pytest.mark.parametrize("bad", [eb.attacks.FGSM(0.1), None, [eb.attacks.FGSM(0.1)]])
def test_what_is_no_certificate_is_an_error(model, bad):
    with pytest.raises(TypeError, match=r"^certificates: "):
        eb.evaluate(model, X, Y, [eb.attacks.FGSM(0.1)], certificates=bad)


def test_queries_to_success_are_told_of_attacks_that_stop_there(model):
    stops = eb.attacks.PGD(eps=0.2, steps=20, step_size=0.05, random_start=False, early_stop=True)
    goes_on = eb.attacks.PGD(eps=0.2, steps=20, step_size=0.05, random_start=False)
    rows = list(eb.evaluate(model, X, Y, [stops, goes_on]).rows.values())
    turned = stops.run(model, X[1:2], Y[1:2])
    assert turned.success.all()
    assert rows[0]["queries_to_success"] == turned.queries[0] < 20
    assert rows[1]["queries_to_success"] is None
