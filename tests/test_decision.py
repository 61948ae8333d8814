"""Boundary, HopSkipJump and Pointwise: labels alone, every question counted, rows that fail alone."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import epsball as eb
import oracle
from cases import batch, constant_model, labels, pair

A = eb.attacks
ROWS, FEATURES, CLASSES = 12, 8, 4
X = batch(ROWS, FEATURES)
ATTACKS: dict[str, Any] = {
    "boundary": lambda **k: A.Boundary(**{"steps": 60, **k}),
    "hsj-l2": lambda **k: A.HopSkipJump(**{"steps": 3, "init_evals": 10, **k}),
    "hsj-linf": lambda **k: A.HopSkipJump("linf", **{"steps": 3, "init_evals": 10, **k}),
    "pointwise": lambda **k: A.Pointwise("l2", **{"steps": 5, **k}),
}
EACH = pytest.mark.parametrize("name", ATTACKS)


def network(seed: int = 0) -> Any:
    return pair([FEATURES, 9, CLASSES], "relu", seed, scale=3.0)[0]


class Meter:
    """A model's labels, and how many rows each call asked for."""

    def __init__(self, model: Any) -> None:
        self.model, self.rows = model, []

    def __call__(self, x: Any) -> Any:
        self.rows.append(len(x))
        return self.model.predict(x)


@EACH
def test_labels_are_all_they_learn(table: str, name: str) -> None:
    model = network()
    y = model.predict(X)
    by_model = ATTACKS[name]().run(model, X, y)
    by_labels = ATTACKS[name]().run(eb.LabelOracle(model.predict), X, y)
    same_table = "cuda" not in table  # a label source is attacked on the host, to other bits
    for field in ("x_adv", "success", "distance", "queries", "reason") if same_table else ("success", "reason"):
        np.testing.assert_array_equal(getattr(by_labels, field), getattr(by_model, field))
    assert by_model.success.all()
    assert (by_model.distance > 0).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("given", [True, False])
@EACH
def test_every_question_is_counted_and_success_is_what_the_source_says(name: str, given: bool, dtype: type) -> None:
    model, x = network(), X.astype(dtype)
    meter = Meter(model)
    source = eb.LabelOracle(meter)
    y = model.predict(x) if given else None
    result = ATTACKS[name]().run(source, x, y)
    assert result.queries.sum() == source.queries == sum(meter.rows)
    assert result.x_adv.dtype == dtype
    np.testing.assert_array_equal(result.success, model.predict(result.x_adv) != model.predict(x))
    np.testing.assert_allclose(result.distance, oracle.distance(result.x_adv, x, ATTACKS[name]().norm), rtol=1e-12)
    assert result.success.all()
    np.testing.assert_array_equal(result.loss, 1)
    assert (result.reason == "").all()


@pytest.mark.parametrize("budget", [3, 7, 20, 61])
@EACH
def test_no_row_costs_more_than_the_budget(name: str, budget: int) -> None:
    model = network()
    source = eb.LabelOracle(model.predict)
    result = ATTACKS[name](budget=budget, steps=1000).run(source, X.astype(np.float64))
    assert (result.queries <= budget).all()
    assert result.queries.sum() == source.queries
    assert result.success.any() == (budget > 3)  # of 3, the label, x itself and the closing question leave nothing


@EACH
def test_more_queries_bring_the_point_nearer(name: str) -> None:
    model = network()
    y = model.predict(X)
    found = [ATTACKS[name](budget=n, steps=10**4).run(model, X, y) for n in (15, 100, 1000)]
    nearer = [r.distance for r in found]
    assert (nearer[1] <= nearer[0]).all()
    assert (nearer[2] <= nearer[1]).all()
    assert nearer[2].mean() < 0.9 * nearer[0].mean()


@pytest.mark.parametrize("name", ["boundary", "hsj-l2", "hsj-linf"])
def test_no_point_is_nearer_than_the_optimum_of_a_linear_model_and_many_queries_come_near_it(name: str) -> None:
    model = pair([FEATURES, CLASSES], scale=3.0)[0]
    y = model.predict(X)
    attack = ATTACKS[name](bounds=(-20.0, 21.0), steps=2000 if name == "boundary" else 25, **(
        {} if name == "boundary" else {"init_evals": 100}))  # fmt: skip
    result = attack.run(model, X, y)
    best = A.LinearMinimum(norm=attack.norm, bounds=(-20.0, 21.0)).run(model, X, y).distance
    assert result.success.all()
    assert (result.distance >= best * (1 - 1e-5)).all()
    assert np.median(result.distance / best) < 1.05


@EACH
def test_misclassified_rows_cost_one_query_and_stay(name: str) -> None:
    model = network()
    y = (model.predict(X) + 1) % CLASSES
    result = ATTACKS[name]().run(model, X, y)
    np.testing.assert_array_equal(result.x_adv, X)
    np.testing.assert_array_equal(result.queries, 1)
    assert result.success.all()
    np.testing.assert_array_equal(result.distance, 0)


@EACH
def test_a_row_without_a_starting_point_fails_alone_and_says_why(name: str) -> None:
    model = network()
    mask = np.ones((ROWS, FEATURES))
    mask[[2, 5]] = 0  # nothing of these rows may change
    y = model.predict(X)
    result = ATTACKS[name](mask=mask, starts=20).run(model, X, y)
    np.testing.assert_array_equal(result.success, mask[:, 0] == 1)
    for row in range(ROWS):
        reason = "no starting point: none of 20 random points of the box is misclassified" if row in (2, 5) else ""
        assert result.reason[row] == reason
    np.testing.assert_array_equal(result.x_adv[[2, 5]], X[[2, 5]])
    np.testing.assert_array_equal(result.queries[[2, 5]], 21)
    alone = ATTACKS[name](starts=20).run(model, X, y)
    others = mask[:, 0] == 1
    np.testing.assert_array_equal(result.x_adv[others], alone.x_adv[others])
    few = ATTACKS[name](mask=mask, starts=20, budget=9).run(model, X, y)
    assert few.reason[2] == "no starting point within 9 queries"


@EACH
def test_it_begins_where_it_is_told(name: str) -> None:
    model = network()
    y = model.predict(X)
    far = ATTACKS[name]().run(model, X, y)
    start = np.asarray(far.x_adv, np.float64)
    start[3] = X[3]
    result = ATTACKS[name](start=start, bounds=None).run(eb.LabelOracle(model.predict), X, y)
    assert (result.distance[result.success] <= far.distance[result.success]).all()
    np.testing.assert_array_equal(result.success, np.arange(ROWS) != 3)
    assert result.reason[3] == "no starting point: the one given is not misclassified"
    assert result.queries[3] == 2


@EACH
def test_towards_a_target(name: str) -> None:
    model = network()
    first = model.predict(X)
    other = np.array([np.flatnonzero(first != c)[0] for c in first])
    target = first[other]
    result = ATTACKS[name](targeted=True, start=X[other]).run(eb.LabelOracle(model.predict), X, target)
    assert result.success.all()
    np.testing.assert_array_equal(model.predict(result.x_adv), target)
    np.testing.assert_array_equal(result.loss, -1)
    assert (result.distance <= oracle.distance(X[other], X, ATTACKS[name]().norm)).all()
    with pytest.raises(ValueError, match="y: a targeted attack"):
        ATTACKS[name](targeted=True)(model, X)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (np.full(FEATURES, -0.1), np.linspace(1.0, 2.0, FEATURES))])
@EACH
def test_box_and_mask_hold_exactly(table: str, name: str, bounds: Any) -> None:
    model = network()
    mask = np.arange(FEATURES) % 3 != 0
    for dtype in (np.float16, np.float32, np.float64):
        x = X.astype(dtype)
        result = ATTACKS[name](bounds=bounds, mask=mask).run(model, x)
        d = result.x_adv.astype(np.float64)
        assert (d >= np.asarray(bounds[0])).all()
        assert (d <= np.asarray(bounds[1])).all()
        np.testing.assert_array_equal(result.x_adv[:, ~mask], x[:, ~mask])
        assert (result.distance[result.success] > 0).any()
        np.testing.assert_array_equal(result.success, model.predict(result.x_adv) != model.predict(x))


@EACH
def test_the_trace_is_the_smallest_distance_so_far(name: str) -> None:
    model = network()
    attack = ATTACKS[name]()
    result = attack.run(model, X, trace=True)
    assert result.trace.shape == (ROWS, 2 if name == "pointwise" else attack.steps + 1)
    assert (np.diff(result.trace, axis=1) <= 0).all()
    np.testing.assert_allclose(result.trace[:, -1], result.distance, rtol=1e-6)


@EACH
def test_trees_and_neighbours_are_attacked(name: str) -> None:
    rng = np.random.default_rng(0)
    knn = eb.sources.KNN(rng.random((60, FEATURES)), rng.integers(0, CLASSES, 60), k=3)
    leaf = eb.sources.Tree(
        np.array([0, -1, -1]), np.array([0.5, 0.0, 0.0]), np.array([1, 0, 0]), np.array([2, 0, 0]),
        np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]),
    )  # fmt: skip
    for source in (knn, eb.sources.Trees([leaf], FEATURES, np.zeros(2))):
        before = source.predict(X.astype(np.float64))
        result = ATTACKS[name]().run(source, X.astype(np.float64))
        assert result.success.all()
        np.testing.assert_array_equal(source.predict(result.x_adv) != before, result.success)
    if name.startswith("hsj"):  # the stump's boundary is at 0.5 of the first feature
        nearest = np.abs(X[:, 0].astype(np.float64) - 0.5)
        assert np.median(result.distance / np.maximum(nearest, 1e-3)) < 1.5


@pytest.mark.parametrize("after", [0, 1, 4, 20])
@EACH
def test_a_source_that_raises_midway_leaves_what_was_found(name: str, after: int) -> None:
    model = network()
    calls = 0

    def predict(x: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > after:
            raise ConnectionError("the line is dead")
        return model.predict(x)

    y = model.predict(X)
    with pytest.raises(A.AttackStopped, match="LabelOracle raised ConnectionError: the line is dead") as caught:
        ATTACKS[name]().run(eb.LabelOracle(predict), X, y)
    assert isinstance(caught.value.__cause__, ConnectionError)
    result = caught.value.result
    np.testing.assert_array_equal(result.success, model.predict(result.x_adv) != y)
    np.testing.assert_allclose(result.distance, oracle.distance(result.x_adv, X, ATTACKS[name]().norm), rtol=1e-12)
    np.testing.assert_array_equal(result.x_adv[~result.success], X[~result.success])
    assert set(result.reason[~result.success]) <= {"the label source failed before there was an adversarial point"}
    assert result.success.any() == (after > 4)
    copy = pickle.loads(pickle.dumps(caught.value))
    np.testing.assert_array_equal(copy.result.x_adv, result.x_adv)


def test_an_exhausted_source_stops_the_attack_within_its_budget() -> None:
    model = network()
    source = eb.LabelOracle(model.predict, budget=300)
    with pytest.raises(A.AttackStopped, match="query budget exceeded") as caught:
        A.HopSkipJump(steps=50)(source, X)
    assert isinstance(caught.value.__cause__, eb.QueryBudgetExceeded)
    assert caught.value.result.success.any()
    assert source.queries <= 300


def test_ctrl_c_is_no_answer() -> None:
    def predict(x: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        A.HopSkipJump()(eb.LabelOracle(predict), X, labels(ROWS, 2))


@EACH
def test_labels_may_be_any_integers(name: str) -> None:
    model = network()
    result = ATTACKS[name]().run(eb.LabelOracle(lambda x: 10**9 * model.predict(x)), X)
    wanted = ATTACKS[name]().run(model, X)
    np.testing.assert_array_equal(result.x_adv, wanted.x_adv)


@EACH
def test_empty_batches_and_models_that_never_change_their_mind(name: str) -> None:
    oracle_ = eb.LabelOracle(lambda x: np.zeros(len(x), int))
    assert ATTACKS[name]()(oracle_, X[:0]).shape == (0, FEATURES)
    result = ATTACKS[name](starts=5).run(constant_model(FEATURES, 3), X)
    assert not result.success.any()
    np.testing.assert_array_equal(result.x_adv, X)


@EACH
def test_bad_arguments_are_named(name: str) -> None:
    make, model = ATTACKS[name], network()
    source = eb.LabelOracle(model.predict)
    for options in (
        {"budget": 0}, {"steps": -1}, {"starts": 0}, {"seed": -1},
        {"boundary": {"towards": 0.0}, "pointwise": {"steps": 0}}.get(name, {"init_evals": 0}),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(options))):
            make(**options)
    with pytest.raises(TypeError, match="start: wanted float32"):
        make(start=np.zeros((ROWS, FEATURES), int))
    with pytest.raises(ValueError, match=r"start: wanted one point for each row of x \(12, 8\), got shape \(3, 8\)"):
        make(start=X[:3])(source, X)
    with pytest.raises(ValueError, match="start: random starting points need a box"):
        make(bounds=None)(source, X)
    with pytest.raises(ValueError, match="budget: wanted at least 3 per row for this x, y and model, got 2"):
        make(budget=2)(source, X.astype(np.float64))
    with pytest.raises(TypeError, match="y: wanted 12 class indices"):
        make()(source, X, np.zeros(ROWS, np.float32))
    with pytest.raises(ValueError, match="bounds"):
        make()(source, X + 1)
    with pytest.raises(ValueError, match="x: wanted finite"):
        make()(source, np.full_like(X, np.nan))


@EACH
def test_configurations_survive_a_dictionary(name: str) -> None:
    attack = ATTACKS[name](start=X, budget=50)
    again = eb.attacks.from_dict(attack.to_dict())
    assert again == attack
    model = network()
    np.testing.assert_array_equal(again(model, X), attack(model, X))


def test_hop_skip_jump_beats_boundary_in_as_many_queries(digits: dict[str, np.ndarray]) -> None:
    model = eb.models.mlp([784, 64, 10], seed=0)
    eb.fit(model, digits["x"], digits["y"], epochs=3, seed=0)
    x, y = digits["xt"][:20], model.predict(digits["xt"][:20])
    hop = A.HopSkipJump(budget=2000).run(model, x, y)
    walk = A.Boundary(budget=2000).run(model, x, y)
    assert np.median(hop.distance) < 0.7 * np.median(walk.distance)
    best = A.DDN(steps=300).run(model, x, y)
    assert np.median(hop.distance) < 2.5 * np.median(best.distance)
