"""Label sources: labels in any form, one query a row, and a budget that is never overspent."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch, labels, pair, threshold
from epsball.attacks.base import Attack
from epsball.sources import LabelSource

FEATURES, CLASSES, ROWS = 6, 4, 30
X = batch(ROWS, FEATURES)


def model() -> Any:
    return pair([FEATURES, 8, CLASSES], "relu", scale=3.0)[0]


KINDS = {
    "numpy": lambda y: y,
    "int32": lambda y: y.astype(np.int32),
    "uint8": lambda y: y.astype(np.uint8),
    "list": lambda y: y.tolist(),
    "tuple of numbers": tuple,
    "read-only": lambda y: np.broadcast_to(y, y.shape),
}


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_every_kind_are_int64_in_the_callers_kind(kind: str) -> None:
    wanted = model().predict(X)
    oracle = eb.LabelOracle(lambda x: KINDS[kind](model().predict(x)))
    found = oracle.predict(X)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, wanted)


def test_torch_labels_and_torch_inputs() -> None:
    torch = pytest.importorskip("torch")
    own = model()
    oracle = eb.LabelOracle(lambda x: torch.from_numpy(own.predict(x)))
    np.testing.assert_array_equal(oracle.predict(X), own.predict(X))
    found = oracle.predict(torch.from_numpy(X))
    assert isinstance(found, torch.Tensor)
    assert found.dtype == torch.int64


def test_any_model_can_be_wrapped() -> None:
    own = model()
    source = eb.CallableModel(own, lambda x, d: np.zeros_like(x))
    for predict in (own.predict, source.predict, eb.LabelOracle(own.predict).predict):
        np.testing.assert_array_equal(eb.LabelOracle(predict).predict(X), own.predict(X))


def test_every_row_is_a_query() -> None:
    oracle = eb.LabelOracle(threshold)
    assert oracle.queries == 0
    for rows, total in ((30, 30), (1, 31), (0, 31)):
        oracle.predict(X[:rows])
        assert oracle.queries == total


def test_the_budget_is_never_exceeded() -> None:
    seen: list[int] = []

    def predict(x: Any) -> Any:
        seen.append(len(x))
        return threshold(x)

    oracle = eb.LabelOracle(predict, budget=40)
    oracle.predict(X)
    with pytest.raises(eb.QueryBudgetExceeded, match="budget 40, spent 30, asked for 11 more") as caught:
        oracle.predict(X[:11])
    assert isinstance(caught.value, RuntimeError)
    assert (caught.value.budget, caught.value.spent, caught.value.asked) == (40, 30, 11)
    assert oracle.queries == 30
    oracle.predict(X[:10])
    assert oracle.queries == 40
    with pytest.raises(eb.QueryBudgetExceeded):
        oracle.predict(X[:1])
    assert seen == [30, 10]
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.asked) == (str(caught.value), 11)


def sources() -> dict[str, LabelSource]:
    """A source of every class, of which queries have been spent."""
    rng = np.random.default_rng(3)
    nodes = [[rng.integers(FEATURES), -1, -1] for _ in range(5)]
    stumps = [
        eb.sources.Tree(np.array(feature), rng.uniform(size=3), np.array([1, 0, 0]), np.array([2, 0, 0]), value)
        for feature, value in zip(nodes, rng.normal(size=(5, 3, CLASSES)), strict=True)
    ]
    made: dict[str, LabelSource] = {
        "LabelOracle": eb.LabelOracle(threshold, budget=200, input_shape=(FEATURES,)),
        "Trees": eb.sources.Trees(stumps, FEATURES, np.zeros(CLASSES), scale=0.3, mean=True, rounds_inputs=False),
        "KNN": eb.sources.KNN(batch(20, FEATURES, 1), labels(20, CLASSES), k=3, weights="distance"),
    }
    for source in made.values():
        source.predict(X[:7])
    return made


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda source: pickle.loads(pickle.dumps(source))])
@pytest.mark.parametrize("name", ["LabelOracle", "Trees", "KNN"])
def test_copies_and_pickles_predict_the_same_and_count_for_themselves_from_there_on(name: str, copied: Any) -> None:
    source = sources()[name]
    other = copied(source)
    assert other.queries == source.queries == 7
    np.testing.assert_array_equal(other.predict(X), source.predict(X))
    other.predict(X[:3])
    assert (other.queries, source.queries) == (ROWS + 10, ROWS + 7)
    assert (other.budget, other.classes, other.input_shape) == (source.budget, source.classes, source.input_shape)


def test_sources_go_to_another_process() -> None:
    attack, images, y = eb.attacks.Spatial(draws=2), X[:, None], threshold(X)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for source in sources().values():
            found = pool.apply(attack, (source, images, y))
            np.testing.assert_array_equal(found, attack(source, images, y))


def test_a_budget_of_nothing_allows_nothing() -> None:
    with pytest.raises(eb.QueryBudgetExceeded, match="budget 0, spent 0, asked for 30 more"):
        eb.LabelOracle(threshold, budget=0).predict(X)


def test_threads_share_one_budget() -> None:
    oracle = eb.LabelOracle(threshold, budget=1000)

    def ask(_: int) -> int:
        try:
            return len(oracle.predict(X[:7]))
        except eb.QueryBudgetExceeded:
            return 0

    with ThreadPoolExecutor(4) as pool:
        given = sum(pool.map(ask, range(300)))
    assert given == oracle.queries == 1000 // 7 * 7


def test_what_predict_is_given_has_the_callers_dtype_and_the_models_shape_and_is_its_own() -> None:
    seen: list[Any] = []

    def predict(x: Any) -> Any:
        seen.append((x.shape, x.dtype))
        x[:] = 7.0
        return np.zeros(len(x), int)

    before = X.copy()
    eb.LabelOracle(predict, input_shape=(1, 2, 3)).predict(X.astype(np.float64))
    eb.LabelOracle(predict).predict(X)
    assert seen == [((ROWS, 1, 2, 3), np.float64), ((ROWS, FEATURES), np.float32)]
    np.testing.assert_array_equal(X, before)


def test_what_predict_raises_comes_through_and_counts() -> None:
    error = ConnectionError("no answer")

    def fail(x: Any) -> Any:
        raise error

    oracle = eb.LabelOracle(fail, budget=100)
    with pytest.raises(ConnectionError) as caught:
        oracle.predict(X)
    assert caught.value is error
    assert oracle.queries == ROWS  # the service may have counted them


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (lambda x: threshold(x)[1:], ValueError, r"labels of shape \(30,\), got shape \(29,\)"),
        (lambda x: threshold(x)[:, None], ValueError, r"labels of shape \(30,\), got shape \(30, 1\)"),
        (lambda x: threshold(x) * 1.0, TypeError, "integer labels, got float64"),
        (lambda x: threshold(x).astype(str), TypeError, "integer labels, got <U"),
        (lambda x: threshold(x) - 1, ValueError, "labels from 0 to 3, got -1 to 0"),
        (lambda x: threshold(x) + CLASSES, ValueError, "labels from 0 to 3, got 4 to 5"),
        (lambda x: None, TypeError, "labels: wanted a NumPy array or a torch CPU tensor, got None"),
    ],
)
def test_bad_labels_are_errors_that_name_the_source(answer, kind, message) -> None:
    with pytest.raises(kind, match=f"LabelOracle.*{message}"):
        eb.LabelOracle(answer, classes=CLASSES).predict(X)


def test_bad_arguments_are_named() -> None:
    oracle = eb.LabelOracle(threshold, input_shape=(FEATURES,))
    for x, kind, message in (
        (X[:, 1:], ValueError, r"x: .*\(6,\).*\(30, 5\)"),
        (np.float32(1.0), ValueError, "x: wanted a batch"),
        (X.astype(int), TypeError, "x: .*int64"),
        (np.where(X > 0.9, np.nan, X), ValueError, "x: wanted finite"),
        (None, TypeError, "x: .*None"),
    ):
        with pytest.raises(kind, match=message):
            oracle.predict(x)
    assert oracle.queries == 0
    with pytest.raises(TypeError, match="predict: wanted a function"):
        eb.LabelOracle([0, 1])  # type: ignore[arg-type]
    for options in ({"budget": -1}, {"classes": 0}, {"input_shape": (0,)}):
        with pytest.raises(ValueError, match=next(iter(options))):
            eb.LabelOracle(threshold, **options)  # type: ignore[arg-type]


GRADIENT_ATTACKS = [eb.attacks.FGSM(0.1), eb.attacks.RFGSM(0.1), eb.attacks.BIM(0.1), eb.attacks.ILCM(0.1),
                    eb.attacks.PGD(0.1), eb.attacks.LinearExact(0.1)]  # fmt: skip


@pytest.mark.parametrize("attack", GRADIENT_ATTACKS, ids=lambda attack: type(attack).__name__)
def test_attacks_that_follow_gradients_refuse_a_label_source_without_a_query(attack: Any) -> None:
    oracle = eb.LabelOracle(threshold)
    for call in (
        lambda: attack(oracle, X),
        lambda: attack.run(oracle, X, labels(ROWS, 2)),
        lambda: eb.evaluate(oracle, X, labels(ROWS, 2), attacks=[attack]),
    ):
        with pytest.raises(TypeError, match=r"model: .*LabelOracle"):
            call()
    assert oracle.queries == 0


def test_the_refusal_says_what_can_be_used_and_training_refuses_too() -> None:
    oracle = eb.LabelOracle(threshold)
    with pytest.raises(TypeError, match="LabelOracle gives labels only, and this attack follows gradients; attacks "):
        eb.pgd(oracle, X, eps=0.1)
    with pytest.raises(TypeError, match="fit trains epsball models, got LabelOracle"):
        eb.fit(oracle, X, labels(ROWS, 2))  # type: ignore[arg-type]


def test_evaluate_gives_a_label_sources_clean_accuracy() -> None:
    oracle = eb.LabelOracle(threshold, budget=ROWS)
    y = threshold(X)
    y[:3] = 1 - y[:3]
    report = eb.evaluate(oracle, X, y, attacks=[])
    assert report.clean_accuracy == report.robust_accuracy == pytest.approx((ROWS - 3) / ROWS)
    np.testing.assert_array_equal(report.robust, threshold(X) == y)
    assert oracle.queries == ROWS
    assert "LabelOracle" in str(report)
    assert report.to_dict()["rows"] == {}
    with pytest.raises(ValueError, match="attacks"):
        eb.evaluate(model(), X, y, attacks=[])


def test_an_attack_that_needs_labels_only_is_evaluated_on_a_label_source(monkeypatch) -> None:
    from epsball.attacks import base

    monkeypatch.setattr(base, "ATTACKS", dict(base.ATTACKS))  # the class below is this test's own

    class Nudge(Attack):
        needs = "labels"

        def _attack(self, model, x, y, index, *, judged, trace):
            x_adv = np.clip(x + np.float32(0.25), 0, 1)
            rows = len(x)
            success = model.predict(x_adv) != y
            distance = np.abs(x_adv - x).max(axis=1).astype(np.float64)
            return x_adv, success, distance, np.ones(rows, int), np.zeros(rows, np.float32), np.zeros(rows, bool), None

    oracle = eb.LabelOracle(threshold)
    report = eb.evaluate(oracle, X.reshape(ROWS, 1, 2, 3)[:, 0, 0], threshold(X), attacks=[Nudge()])
    turned = (X[:, 0] <= 0.5) & (X[:, 0] > 0.25)
    assert turned.any()
    np.testing.assert_array_equal(report.robust, ~turned)
    (row,) = report.rows.values()
    assert row["confidence_on_mistakes"] is None
    assert oracle.queries == 3 * ROWS
    with pytest.raises(TypeError, match=r"attacks that need labels only: .*Boundary, HopSkipJump, .*Nudge"):
        eb.pgd(oracle, X, eps=0.1)


def test_a_label_source_of_ones_own_is_a_subclass() -> None:
    class Stump(LabelSource):
        def labels(self, x: Any) -> Any:
            return threshold(x)

    stump = Stump(budget=ROWS, classes=2)
    np.testing.assert_array_equal(stump.predict(X), threshold(X))
    with pytest.raises(eb.QueryBudgetExceeded):
        stump.predict(X)
