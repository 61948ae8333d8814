"""Minimum-norm attacks: exact on linear models, what rows that fail or are misclassified return, options."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import epsball as eb
import oracle
from cases import batch, constant_model, labels, pair, sized

A = eb.attacks
ATTACKS: dict[str, Any] = {
    "ddn": A.DDN(steps=40),
    **{f"fmn-{norm}": A.FMN(norm, steps=40) for norm in ("l2", "linf", "l1", "l0")},
    **{f"deepfool-{norm}": A.DeepFool(norm) for norm in ("l2", "linf")},
    "newton-fool": A.NewtonFool(eta=0.05),
    **{f"fab-{norm}": A.FAB(norm, steps=10) for norm in ("l2", "linf", "l1")},
    "fab-t": A.FAB(steps=10, targets=2),
    "fab-restarts": A.FAB("linf", steps=8, restarts=3, radius=0.5),
    "cw": A.CarliniWagner(steps=60, search_steps=6, step_size=0.05),
    "cw-linf": A.CarliniWagner(norm="linf", steps=60, search_steps=12, step_size=0.05, initial_constant=1e-2),
    "cw-l0": A.CarliniWagner(norm="l0", steps=60, search_steps=12, step_size=0.05, initial_constant=1e-2),
    "ead": A.EAD(steps=60, search_steps=6, step_size=0.05),
    "jsma": A.JSMA(),
    "jsma-decrease": A.JSMA(increase=False),
}
TARGETED = ("ddn", "fmn-l2", "fmn-linf", "fmn-l1", "fmn-l0", "cw", "cw-linf", "cw-l0", "ead", "jsma")
FEATURES, CLASSES, ROWS = 17, 5, 40


def every(*, but: tuple[str, ...] = ()) -> Any:
    return pytest.mark.parametrize("name", [n for n in ATTACKS if n not in but])


def changed(name: str, **options: Any) -> Any:
    """The attack with other options."""
    configuration = ATTACKS[name].to_dict()
    configuration.update(options)
    return A.from_dict(configuration)


def problem(seed: int = 0) -> tuple[Any, NDArray, NDArray]:
    """A network, rows, and labels that are wrong for some."""
    model, net = pair([FEATURES, 16, CLASSES], "relu", seed, scale=2.0)
    rows = sized(ROWS, on_emulator=16)
    x = batch(rows, FEATURES, seed)
    return model, x, np.where(np.arange(rows) % 8 == 0, labels(rows, CLASSES), net.predict(x))


# ---- what a row returns


@every()
def test_success_and_distance_are_those_of_the_returned_point(table: str, name: str) -> None:
    model, x, y = problem()
    for dtype in (np.float32, np.float64, np.float16):
        rows = x.astype(dtype)
        run = ATTACKS[name].run(model, rows, y)
        x_adv = np.asarray(run.x_adv)
        assert x_adv.dtype == dtype
        assert ((x_adv >= 0) & (x_adv <= 1)).all()
        np.testing.assert_array_equal(run.success, model.predict(x_adv) != y)
        distance = oracle.distance(x_adv, rows, ATTACKS[name].norm)
        np.testing.assert_allclose(run.distance, distance, rtol=1e-12, atol=0)
        np.testing.assert_array_equal(x_adv[~run.success], rows[~run.success])
        np.testing.assert_array_equal(run.loss, model.loss(x_adv, y, loss=loss_of(name)))
        already = model.predict(rows) != y
        assert already.any()
        np.testing.assert_array_equal(x_adv[already], rows[already])
        assert run.success[already].all()


def loss_of(name: str) -> str:
    return "cross_entropy" if name in ("ddn", "newton-fool") else "margin"


@every()
def test_most_rows_of_a_small_network_fall(table: str, name: str) -> None:
    """JSMA moves a feature once, to the end of the box: of 17 features it often runs out."""
    model, x, y = problem()
    assert ATTACKS[name].run(model, x, y).success.mean() >= (0.5 if name.startswith("jsma") else 0.9)


@every()
def test_rows_that_fail_return_x_itself(table: str, name: str) -> None:
    model, x = constant_model(FEATURES, CLASSES), batch(sized(ROWS, on_emulator=16), FEATURES)
    y = model.predict(x)
    run = ATTACKS[name].run(model, x, y)
    assert not run.success.any()
    np.testing.assert_array_equal(run.x_adv, x)
    np.testing.assert_array_equal(run.distance, 0.0)
    assert run.zero_gradient.all()


@every()
def test_gradients_that_are_not_zero_are_not_called_so(table: str, name: str) -> None:
    model, x, y = problem()
    run = ATTACKS[name].run(model, x, y)
    started = model.predict(x) == y
    assert not run.zero_gradient[started & run.success].any()


@pytest.mark.parametrize("name", TARGETED)
def test_targeted_attacks_reach_their_class(table: str, name: str) -> None:
    model, x, _ = problem()
    target = (model.predict(x) + 1) % CLASSES
    run = changed(name, targeted=True).run(model, x, target)
    np.testing.assert_array_equal(run.success, model.predict(run.x_adv) == target)
    assert run.success.mean() >= (0.05 if name == "jsma" else 0.5)
    np.testing.assert_array_equal(np.asarray(run.x_adv)[~run.success], x[~run.success])


@every(but=("jsma", "jsma-decrease"))
def test_masked_features_stay_and_the_rest_suffices(table: str, name: str) -> None:
    model, x, y = problem()
    mask = np.arange(FEATURES) % 4 != 0
    run = changed(name, mask=mask.astype(np.float32)).run(model, x, y)
    np.testing.assert_array_equal(np.asarray(run.x_adv)[:, ~mask], x[:, ~mask])
    assert run.success.mean() >= 0.7


@every()
def test_no_box_and_other_boxes_hold(table: str, name: str) -> None:
    model, x, y = problem()
    lo, hi = np.linspace(-0.5, 0.0, FEATURES), np.linspace(1.0, 3.0, FEATURES)
    x_adv = np.asarray(changed(name, bounds=(lo, hi))(model, x, y))
    assert ((x_adv >= lo) & (x_adv <= hi)).all()
    run = changed(name, bounds=None).run(model, x, y)
    assert np.isfinite(run.x_adv).all()
    assert name.startswith("jsma") or run.success.mean() >= 0.9


@every()
def test_one_logit_models_are_attacked(table: str, name: str) -> None:
    model, net = pair([FEATURES, 16, 1], "relu", scale=2.0)
    x = batch(sized(ROWS, on_emulator=16), FEATURES)
    run = ATTACKS[name].run(model, x, net.predict(x))
    np.testing.assert_array_equal(run.success, model.predict(run.x_adv) != net.predict(x))
    assert run.success.mean() >= (0.05 if name.startswith("jsma") else 0.6)


# ---- linear models, whose minimum is known


def nearest(norm: str, w: NDArray, f: float, x: NDArray, bounds: tuple[float, float] | None) -> float:
    """Distance of x from {f + w d = 0} within the box, for f < 0, by bisection over the multiplier in float64."""
    room = np.full(w.shape, np.inf) if bounds is None else np.where(w > 0, bounds[1] - x, x - bounds[0])
    a = np.abs(w)
    room, a = room[a > 0], a[a > 0]
    if (a * room).sum() <= -f:
        return np.inf
    if norm == "l1":
        order = np.argsort(-a)
        gains = np.cumsum((a * room)[order]) if bounds is not None else np.full(len(a), np.inf)
        k = int(np.searchsorted(gains, -f))
        before = gains[k - 1] if k else 0.0
        return float(room[order][:k].sum() + (-f - before) / a[order][k])
    low, high = 0.0, 1.0
    length = (lambda t: np.minimum(t, room)) if norm == "linf" else (lambda t: np.minimum(t * a, room))
    while (a * length(high)).sum() < -f:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if (a * length(middle)).sum() >= -f else (middle, high)
    d = length(high)
    return float(d.max() if norm == "linf" else np.sqrt((d * d).sum()))


def exact_minimum(model: Any, norm: str, x: NDArray, y: NDArray, bounds: tuple[float, float] | None) -> NDArray:
    """The distance at which each row of a linear model turns, over all rivals; infinite where none can be reached."""
    weight, bias = (p.astype(np.float64) for p in model.parameters().values())
    z = x.astype(np.float64) @ weight.T + bias
    found = np.full(len(x), np.inf)
    for i, label in enumerate(y):
        for k in range(len(bias)):
            if k != label:
                plane = weight[k] - weight[label], z[i, k] - z[i, label]
                found[i] = min(found[i], nearest(norm, *plane, x[i].astype(np.float64), bounds))
    return found


EXACT: dict[str, Any] = {
    "ddn": A.DDN(steps=1000, gamma=0.05),
    "fmn-l2": A.FMN("l2", steps=1000),
    "fmn-linf": A.FMN("linf", steps=1000),
    "fmn-l1": A.FMN("l1", steps=1000, step_size=0.3),
    "fab-l2": A.FAB("l2", steps=100),
    "fab-linf": A.FAB("linf", steps=100),
    "fab-l1": A.FAB("l1", steps=100),
    "fab-t-l2": A.FAB("l2", steps=100, targets=9),
    # Some rows are 0.01 from the boundary: Adam's steps must be short beside that.
    "cw": A.CarliniWagner(steps=4000, search_steps=12, step_size=0.001, initial_constant=0.1),
}


def linear_problem(classes: int) -> tuple[Any, NDArray, NDArray]:
    model, net = pair([20, classes])
    x = np.random.default_rng(3).uniform(0.0, 1.0, (50, 20)).astype(np.float32)
    return model, x, net.predict(x)


def assert_near_minimum(distance: NDArray, success: NDArray, wanted: NDArray) -> None:
    """Every row that can be turned is, at most 1 % further than it must be; float32 is allowed to gain 1e-5."""
    ok = np.isfinite(wanted)
    assert ok.any()
    np.testing.assert_array_equal(success, ok)
    ratio = distance[ok] / wanted[ok]
    assert (ratio >= 1 - 1e-5).all()
    assert (ratio <= 1.01).all(), f"{ratio.max():.4f} times the minimum"


@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)])
@pytest.mark.parametrize("name", EXACT)
def test_two_classes_fall_within_one_percent_of_their_minimum(name: str, bounds: Any) -> None:
    model, x, y = linear_problem(2)
    run = A.from_dict({**EXACT[name].to_dict(), "bounds": bounds}).run(model, x, y)
    assert_near_minimum(run.distance, run.success, exact_minimum(model, EXACT[name].norm, x, y, bounds))


@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)])
@pytest.mark.parametrize("name", ["ddn", "fmn-l2", "fmn-linf", "fmn-l1", "cw"])
def test_the_nearest_target_is_within_one_percent_of_the_minimum(name: str, bounds: Any) -> None:
    """A descent towards the best rival may end at one that is not the nearest; over all targets it does not."""
    model, x, y = linear_problem(4)
    # The nearest is further away here; of several classes the cross-entropy's gradient points between the boundaries.
    longer = {"cw": {"step_size": 0.01, "steps": 1000}, "ddn": {"loss": "margin"}}.get(name, {})
    attack = A.from_dict({**EXACT[name].to_dict(), "bounds": bounds, "targeted": True, **longer})
    runs = [attack.run(model, x, (y + k) % 4) for k in range(1, 4)]
    distance = np.min([np.where(r.success, r.distance, np.inf) for r in runs], axis=0)
    wanted = exact_minimum(model, EXACT[name].norm, x, y, bounds)
    assert_near_minimum(distance, np.isfinite(distance), wanted)


@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)])
@pytest.mark.parametrize("norm", ["l2", "linf", "l1"])
def test_fab_t_is_within_one_percent_of_the_minimum_over_all_rivals(norm: str, bounds: Any) -> None:
    model, x, y = linear_problem(4)
    run = A.FAB(norm, steps=100, targets=9, bounds=bounds).run(model, x, y)
    assert_near_minimum(run.distance, run.success, exact_minimum(model, norm, x, y, bounds))


def test_fmn_l0_changes_as_few_features_as_can_turn_a_linear_model() -> None:
    """Each to an end of the box: those that gain most."""
    model, x, y = linear_problem(2)
    run = A.FMN("l0", steps=1000).run(model, x, y)
    weight, bias = (p.astype(np.float64) for p in model.parameters().values())
    wanted = []
    for row, label in zip(x.astype(np.float64), y, strict=True):
        w, f = weight[1 - label] - weight[label], bias[1 - label] - bias[label]
        gains = np.sort(np.maximum(w * (1 - row), -w * row))[::-1].cumsum() + w @ row + f
        wanted.append(np.argmax(gains > 0) + 1 if (gains > 0).any() else 0)
    np.testing.assert_array_equal(run.distance, wanted)
    assert (np.array(wanted) > 1).any()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_fmn_crosses_the_boundary_where_the_box_takes_a_part_of_every_step(norm: str) -> None:
    """A quarter of the features is where the gradient pushes it: a step lowers the margin by less than it says."""
    model, x, _ = linear_problem(2)
    weight, _ = model.parameters().values()
    rises = weight[1] > weight[0]
    x = np.where(rises, 0.4 * x, 1 - 0.4 * x).astype(np.float32)
    x[:, ::4] = rises[::4]
    x = x[model.predict(x) == 0]
    y = np.zeros(len(x), np.int64)
    assert len(x) > 10
    assert A.FMN(norm, steps=6, step_size=10.0).run(model, x, y).success.all()


@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)])
def test_ead_ends_at_the_minima_of_both_parts_of_its_objective(bounds: Any) -> None:
    """The threshold is β whatever the step is, so that β = 0 leaves the L2 distance alone, and steps that are short
    beside β the L1 distance.
    """
    model, x, y = linear_problem(2)
    search = {"steps": 4000, "search_steps": 12, "initial_constant": 0.1, "bounds": bounds}
    for norm, options in (("l2", {"beta": 0.0}), ("l1", {"beta": 0.1, "step_size": 0.001})):
        run = A.EAD(norm, **options, **search).run(model, x, y)
        assert_near_minimum(run.distance, run.success, exact_minimum(model, norm, x, y, bounds))


def test_ead_gives_up_a_constant_whose_first_gradient_passes_no_threshold() -> None:
    model, x, y = linear_problem(2)
    small = {"initial_constant": 1e-6, "search_steps": 2, "steps": 50}
    short, long = (A.EAD(**small, abort_early=early).run(model, x, y) for early in (True, False))
    # Two points in a step; the second constant goes on from the first one's last.
    np.testing.assert_array_equal(short.queries, 1 + 2 * (2 + 1))
    np.testing.assert_array_equal(long.queries, 1 + 2 * (51 + 50))
    np.testing.assert_array_equal(short.x_adv, long.x_adv)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_ead_gives_up_early_and_is_hardly_farther_for_it(norm: str) -> None:
    model, x, y = linear_problem(2)
    options = {"steps": 500, "search_steps": 6, "initial_constant": 0.1}
    early, full = (A.EAD(norm, **options, abort_early=early).run(model, x, y) for early in (True, False))
    np.testing.assert_array_equal(early.success, full.success)
    assert early.queries.mean() < 0.5 * full.queries.mean()
    assert np.median(early.distance[full.success]) <= 1.02 * np.median(full.distance[full.success])


@pytest.mark.parametrize("targets", [0, 2])
@pytest.mark.parametrize("norm", ["l2", "linf", "l1"])
def test_restarts_of_fab_only_bring_rows_nearer(norm: str, targets: int) -> None:
    model, x = pair([FEATURES, 40, CLASSES], "tanh", 1, scale=6.0)[0], batch(ROWS, FEATURES)
    y = model.predict(x)
    options = {"norm": norm, "steps": 10, "targets": targets}
    once, more = A.FAB(**options).run(model, x, y), A.FAB(**options, restarts=4).run(model, x, y, trace=True)
    np.testing.assert_array_equal(once.success <= more.success, True)
    found = once.success
    assert (more.distance[found] <= once.distance[found]).all()
    nearer = more.distance < once.distance
    assert nearer[found].any()
    kept = found & ~nearer
    np.testing.assert_array_equal(more.x_adv[kept], once.x_adv[kept])
    assert more.trace.shape == (ROWS, 1 + 10 * 4 * max(targets, 1))
    other = A.FAB(**options, restarts=4, seed=1).run(model, x, y)
    assert (other.x_adv != more.x_adv).any()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_restarts_of_fab_begin_half_as_far_as_the_best_point(norm: str) -> None:
    """A model that answers from what it is shown: the first point of the second run is the third it sees."""
    w = np.array([[1.0, -1.0]] * FEATURES, np.float32).T
    seen: list[NDArray] = []

    def logits(rows: NDArray) -> NDArray:
        seen.append(rows.copy())
        return (rows - np.float32(0.5)) @ w.T + np.array([1.0, 0.0], np.float32)

    model = eb.CallableModel(logits, lambda rows, d: d @ w, classes=2)
    x = np.full((6, FEATURES), 0.5, np.float32)
    for radius in (0.02, 10.0):
        seen.clear()
        run = A.FAB(norm, steps=1, restarts=2, radius=radius).run(model, x, np.zeros(6, np.int64))
        assert run.success.all()
        away = oracle.distance(seen[3], x, norm)
        assert (away <= 0.5 * min(radius, float(run.distance.max())) * (1 + 1e-5)).all()
        if radius < 1:
            assert (away >= 0.49 * radius).all()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_deepfool_overshoots_linear_models_by_what_it_says(norm: str) -> None:
    """One step on a plane: the minimum, the authors' 1e-4, and the overshoot."""
    model, x, y = linear_problem(4)
    run = A.DeepFool(norm, bounds=None).run(model, x, y)
    wanted = (exact_minimum(model, norm, x, y, None) + 1e-4) * 1.02
    assert run.success.all()
    np.testing.assert_allclose(run.distance, wanted, rtol=1e-4)
    np.testing.assert_array_equal(run.queries, 2)


@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)])
@pytest.mark.parametrize("norm", ["l2", "linf", "l1"])
def test_the_closed_form_is_the_minimum(table: str, norm: str, bounds: Any) -> None:
    """To the thousandth that it may go beyond the plane, and seldom more than float32 needs."""
    for classes in (2, 4):
        model, x, y = linear_problem(classes)
        run = A.LinearMinimum(norm, bounds).run(model, x, y)
        wanted = exact_minimum(model, norm, x, y, bounds)
        np.testing.assert_array_equal(run.success, np.isfinite(wanted))
        ratio = (run.distance / wanted)[np.isfinite(wanted)]
        assert (ratio >= 1 - 1e-5).all()
        assert (ratio <= 1 + 1.2e-3).all()
        assert np.median(ratio) <= 1 + 1e-5


def test_the_closed_form_is_for_linear_models_only() -> None:
    model, x, y = problem()
    with pytest.raises(ValueError, match="model: the closed form needs a linear model"):
        A.LinearMinimum()(model, x, y)
    with pytest.raises(ValueError, match="trace"):
        A.LinearMinimum().run(linear_problem(2)[0], linear_problem(2)[1], trace=True)


# ---- options


def test_more_confidence_costs_distance_and_is_reached() -> None:
    model, x, y = problem()
    plain = changed("cw").run(model, x, y)
    sure = changed("cw", confidence=0.5).run(model, x, y)
    both = plain.success & sure.success & (plain.distance > 0)
    assert both.any()
    assert (sure.distance[both] > plain.distance[both]).mean() > 0.9
    assert (model.loss(sure.x_adv, y, loss="margin")[both] >= 0.5).all()


def test_ead_changes_fewer_features_than_cw() -> None:
    model, x, y = problem()
    sparse, dense = changed("ead", beta=0.05).run(model, x, y), changed("cw").run(model, x, y)
    both = sparse.success & dense.success & (dense.distance > 0)
    count = [(np.asarray(r.x_adv) != x)[both].sum() for r in (sparse, dense)]
    assert count[0] < 0.7 * count[1]


def best_pairs(target: NDArray, others: NDArray, may: NDArray) -> tuple[float, set[tuple[int, int]]]:
    """JSMA's best score over all pairs, and the pairs that have it to rounding."""
    up, down = target[:, None] + target, others[:, None] + others
    score = np.where((up > 0) & (down < 0) & may[:, None] & may, -up * down, 0.0)
    score = np.triu(score, 1)
    top = float(score.max())
    return top, {(int(p), int(q)) for p, q in np.argwhere(score >= top * (1 - 1e-4))}


@pytest.mark.parametrize("increase", [True, False])
def test_jsma_takes_the_best_of_all_pairs(table: str, increase: bool) -> None:
    model, net = pair([33, 16, CLASSES], "tanh", scale=2.0)
    x = batch(30, 33)
    target = (net.predict(x) + 1) % CLASSES
    jacobian = np.asarray(model.jacobian(x), np.float64)
    attack = A.JSMA(theta=0.25, gamma=2 / 33, increase=increase, targeted=True)
    run = attack.run(model, x, target)
    compared = 0
    for i in np.flatnonzero(run.success & (run.distance > 0)):
        sign = 1.0 if increase else -1.0
        t, total = sign * jacobian[i, target[i]], sign * jacobian[i].sum(axis=0)
        may = (1 - x[i] if increase else x[i]) > 0.1 * attack.theta
        _, pairs = best_pairs(t, total - t, may)
        moved = tuple(int(j) for j in np.flatnonzero(np.asarray(run.x_adv)[i] != x[i]))
        assert moved in pairs
        compared += 1
    assert compared > 0


@pytest.mark.parametrize("increase", [True, False])
def test_jsma_does_not_spend_features_that_are_nearly_at_the_end_of_the_box(table: str, increase: bool) -> None:
    model, net = pair([33, 16, CLASSES], "tanh", scale=2.0)
    x = batch(30, 33)
    near = np.arange(33) % 4 == 0
    x[:, near] = 0.95 if increase else 0.05
    y = net.predict(x)
    for theta, spent in ((1.0, False), (7.0, False), (0.25, True)):
        moved = np.asarray(A.JSMA(theta, increase=increase).run(model, x, y).x_adv) != x
        assert moved[:, ~near].any()
        assert moved[:, near].any() == spent


@pytest.mark.parametrize("increase", [True, False])
def test_features_that_may_move_again_go_on_to_the_end_of_the_box(table: str, increase: bool) -> None:
    model, x, y = problem()
    once, again = (A.JSMA(0.1, increase=increase, repeat=a).run(model, x, y) for a in (False, True))
    away = np.abs(np.asarray(again.x_adv, np.float64) - x)
    assert np.abs(np.asarray(once.x_adv, np.float64) - x).max() <= 0.1 + 1e-6
    assert away.max() > 0.5
    assert again.success.sum() > once.success.sum()
    short = A.JSMA(0.1, gamma=0.1, increase=increase, repeat=True).run(model, x, y)
    assert (np.abs(np.asarray(short.x_adv, np.float64) - x).sum(axis=1) <= 0.1 * FEATURES + 1e-5).all()
    leaps = [A.JSMA(1.0, increase=increase, repeat=a).run(model, x, y) for a in (False, True)]
    np.testing.assert_array_equal(leaps[0].x_adv, leaps[1].x_adv)  # at the end of the box after one move


@every()
def test_trace_records_the_loss_of_every_iterate(name: str) -> None:
    model, x, y = problem()
    trace = np.asarray(ATTACKS[name].run(model, x, y, trace=True).trace)
    loss = model.loss(x, y, loss=loss_of(name))
    np.testing.assert_array_equal(trace[:, 0], loss)


@every()
def test_configurations_survive_a_round_trip(name: str) -> None:
    assert A.from_dict(ATTACKS[name].to_dict()) == ATTACKS[name]


BAD: list[tuple[str, str, Any]] = [
    *((n, "steps", v) for n in ("ddn", "fmn-l2", "deepfool-l2", "fab-l2", "cw", "ead") for v in (0, -1, 1.5, None)),
    *((n, "gamma", v) for n in ("ddn", "fmn-l2", "jsma") for v in (-0.1, 1.5, "a", None)),
    *((n, "norm", v) for n in ATTACKS for v in ("l7", 2, None)),
    *((n, "norm", "l1") for n in ("ddn", "deepfool-l2", "cw", "jsma")),
    *((n, "norm", "l0") for n in ("fab-l2", "ead", "deepfool-l2")),
    *((n, "targeted", "yes") for n in TARGETED),
    *(("ddn", "initial_radius", v) for v in (0.0, -1, float("inf"))),
    *((n, "step_size", v) for n in ("fmn-l2", "cw", "ead") for v in (0.0, None, np.ones(3), float("nan"))),
    *(("deepfool-l2", "overshoot", v) for v in (-0.1, float("inf"))),
    *(("deepfool-l2", "candidates", v) for v in (0, 1.5)),
    *(("fab-l2", "targets", v) for v in (-1, "all")),
    *(("fab-l2", "restarts", v) for v in (0, 1.5)),
    *(("fab-l2", "radius", v) for v in (-0.1, float("inf"))),
    *(("fab-l2", "alpha", v) for v in (-0.1, 1.1)),
    *(("fab-l2", "beta", v) for v in (-0.1, 1.1)),
    ("fab-l2", "eta", 0.9),
    *((n, "search_steps", v) for n in ("cw", "ead") for v in (0, 1.5)),
    *((n, "initial_constant", v) for n in ("cw", "ead") for v in (0, -1.0)),
    *((n, "confidence", v) for n in ("cw", "ead") for v in (-1.0, "much")),
    *((n, "abort_early", 1) for n in ("cw", "ead")),
    ("ead", "beta", -1.0),
    *(("jsma", "theta", v) for v in (0.0, -1.0)),
    ("jsma", "increase", "up"),
    ("jsma", "repeat", 1),
    ("jsma", "others", 1),
]


@pytest.mark.parametrize(("name", "argument", "value"), BAD, ids=lambda v: str(v)[:24])
def test_bad_options_are_named(name: str, argument: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=argument):
        changed(name, **{argument: value})


@every()
def test_probabilities_are_no_labels(name: str) -> None:
    model, x, y = problem()
    with pytest.raises((ValueError, TypeError), match="y"):
        ATTACKS[name](model, x, np.eye(CLASSES, dtype=np.float32)[y])


@pytest.mark.parametrize("name", TARGETED)
def test_targets_are_asked_for(name: str) -> None:
    model, x, _ = problem()
    with pytest.raises(ValueError, match="y: a targeted attack needs"):
        changed(name, targeted=True)(model, x)


@every()
def test_no_rows_give_no_rows(name: str) -> None:
    model, x, y = problem()
    run = ATTACKS[name].run(model, x[:0], y[:0])
    assert np.asarray(run.x_adv).shape == (0, FEATURES)
    assert run.success.shape == (0,)
