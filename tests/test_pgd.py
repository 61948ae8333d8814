"""PGD: the oracle's iterates, the best point of a row, restarts, random starts, early stopping."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import epsball as eb
import oracle
from cases import LOSSES, batch, constant_model, labels, pair
from oracle import NORMS

EPS = {"linf": 0.1, "l2": 0.4, "l1": 1.0}
STEPS = 5
# One float32 step errs by a few 2^-24; the error of the L2 direction is about 1e-5, and five steps on
# these nets amplify it by less than ten. An iterate of another step would differ by 1e-2 or more.
CLOSE = 1e-4


def near_labels(net: oracle.Net, x: np.ndarray, seed: int = 0) -> np.ndarray:
    """The oracle's predictions, with a quarter of the rows mislabelled."""
    y = net.predict(x)
    other = labels(len(x), net.classes, seed)
    return np.where(np.arange(len(x)) % 4 == 0, other, y)


def assert_same_run(run: Any, wanted: oracle.PgdResult) -> None:
    """Trace, success and best point are the oracle's, on rows that float32 decides as float64 does."""
    ok = wanted.decided
    assert ok.mean() >= 0.5, "most rows were skipped"
    np.testing.assert_array_equal(np.asarray(run.success)[ok], wanted.success[ok])
    # A point that is off by CLOSE moves the loss by CLOSE times the gradient's L1 norm, below 10 here.
    for ours, theirs in ((run.trace, wanted.trace), (run.loss, wanted.loss)):
        scale = 1 + np.abs(theirs[ok])
        assert (np.abs(np.asarray(ours, np.float64)[ok] - theirs[ok]) <= 10 * CLOSE * scale).all()
    ok = ok & wanted.unique
    assert ok.mean() >= 0.2, "most rows were skipped"
    np.testing.assert_allclose(np.asarray(run.x_adv)[ok], wanted.x_adv[ok], rtol=0, atol=CLOSE)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("activation", ["tanh", "softplus", "relu"])
@pytest.mark.parametrize("sizes", [[9, 1], [17, 10], [17, 33, 10], [9, 16, 1]], ids=str)
def test_pgd_is_the_oracle_s_loop(table: str, sizes: list[int], activation: str, norm: str) -> None:
    model, net = pair(sizes, activation, scale=2.0)
    x = batch(40, sizes[0])
    y = near_labels(net, x)
    wanted = oracle.pgd(net, x, y, EPS[norm], norm, STEPS)
    attack = eb.attacks.PGD(eps=EPS[norm], norm=norm, steps=STEPS, random_start=False)
    assert_same_run(attack.run(model, x, y, trace=True), wanted)


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("norm", NORMS)
def test_every_loss_and_direction_agrees(table: str, norm: str, loss: str, targeted: bool) -> None:
    model, net = pair([9, 16, 5], "tanh", scale=2.0)
    x, y = batch(40, 9), labels(40, 5)
    wanted = oracle.pgd(net, x, y, EPS[norm], norm, STEPS, targeted=targeted, loss_name=loss)
    attack = eb.attacks.PGD(eps=EPS[norm], norm=norm, steps=STEPS, random_start=False, loss=loss, targeted=targeted)
    assert_same_run(attack.run(model, x, y, trace=True), wanted)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("bounds", [None, (0.0, 1.0), (np.full(9, -0.5), np.linspace(1.0, 2.0, 9))])
def test_masks_row_budgets_and_boxes_agree(table: str, norm: str, bounds: oracle.Bounds) -> None:
    model, net = pair([9, 16, 5], "tanh", scale=2.0)
    x = batch(40, 9)
    y = near_labels(net, x)
    mask = np.array([1, 1, 0, 1, 1, 1, 0, 1, 1])
    eps = EPS[norm] * np.linspace(0.5, 3.0, 40)
    wanted = oracle.pgd(net, x, y, eps, norm, STEPS, bounds=bounds, mask=mask)
    attack = eb.attacks.PGD(eps=eps, norm=norm, steps=STEPS, random_start=False, bounds=bounds, mask=mask)
    assert_same_run(attack.run(model, x, y, trace=True), wanted)


# ---- the best point of a row

# Seeds where, for some row, an iterate that is classified correctly has a higher loss than the best
# misclassified one: only there do the two rules differ.
RIVALS = [
    ([9, 16, 3], "tanh", 2, 0.1, 0.15),
    ([17, 33, 10], "tanh", 0, 0.1, 0.15),
    ([9, 16, 10], "relu", 0, 0.2, 0.4),
]


@pytest.mark.parametrize(("sizes", "activation", "seed", "eps", "step_size"), RIVALS)
def test_misclassified_points_come_before_higher_losses(
    table: str, sizes: list[int], activation: str, seed: int, eps: float, step_size: float
) -> None:
    model, net = pair(sizes, activation, seed, scale=3.0)
    x = np.random.default_rng(1).uniform(0, 1, (60, sizes[0])).astype(np.float32)
    y = net.predict(x)
    wanted = oracle.pgd(net, x, y, eps, "linf", steps=6, step_size=step_size)
    rows = wanted.success & wanted.decided & wanted.unique & (wanted.trace.max(axis=1) > wanted.loss + 1e-3)
    assert rows.any(), "no row tells the two rules apart"
    attack = eb.attacks.PGD(eps=eps, steps=6, step_size=step_size, random_start=False)
    run = attack.run(model, x, y)
    assert run.success[rows].all()
    np.testing.assert_allclose(np.asarray(run.x_adv)[rows], wanted.x_adv[rows], rtol=0, atol=CLOSE)


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_failed_rows_return_their_highest_loss_over_all_iterates(table: str, norm: str, targeted: bool) -> None:
    model, net = pair([17, 33, 10], "tanh")
    x = batch(60, 17)
    y = (net(x).argmin(axis=1) if targeted else net.predict(x)).astype(np.int64)
    attack = eb.attacks.PGD(
        eps=EPS[norm] / 20,
        norm=norm,
        steps=4,
        restarts=2,
        step_size=EPS[norm] / 8,
        targeted=targeted,
    )
    run = attack.run(model, x, y, trace=True)
    failed = ~np.asarray(run.success)
    assert failed.any()
    trace = np.asarray(run.trace)
    assert trace.shape == (60, 2 * (4 + 1))
    best = trace.min(axis=1) if targeted else trace.max(axis=1)
    np.testing.assert_array_equal(np.asarray(run.loss)[failed], best[failed])
    np.testing.assert_array_equal(run.loss, model.loss(run.x_adv, y))


def test_iterate_zero_counts(table: str) -> None:
    """A step so long that it leaves the misclassified region: the start is then the best point."""
    model = eb.Sequential([eb.Linear(1, 1), eb.Quadratic(), eb.Linear(1, 1)], input_shape=(1,))
    # z = 4 (x - 0.5)^2 - 0.1: class 1 far from the middle, class 0 within 0.158 of it.
    model.load_parameters(
        {
            "0.weight": np.array([[2.0]]),
            "0.bias": np.array([-1.0]),
            "2.weight": np.array([[1.0]]),
            "2.bias": np.array([-0.1]),
        }
    )
    x, y = np.array([[0.6]], np.float32), np.array([1])  # misclassified as it is
    attack = eb.attacks.PGD(eps=0.4, steps=1, step_size=0.4, random_start=False)
    run = attack.run(model, x, y, trace=True)
    assert run.success[0]
    np.testing.assert_array_equal(run.x_adv, x)
    assert run.trace[0, 0] == run.loss[0]
    assert run.trace[0, 1] < run.trace[0, 0]


def test_more_steps_never_lower_the_best_loss_of_failed_rows(table: str) -> None:
    model, net = pair([17, 33, 10], "relu")
    x = batch(60, 17)
    y = net.predict(x)

    def run(steps: int) -> eb.attacks.AttackResult:
        return eb.attacks.PGD(eps=0.02, steps=steps, step_size=0.005, seed=3).run(model, x, y)

    short, long = run(3), run(9)
    assert (long.success >= short.success).all()
    both = ~short.success & ~long.success
    assert both.any()
    assert (long.loss[both] >= short.loss[both]).all()


def test_loss_without_digits_left_still_ranks_points(table: str) -> None:
    """At a margin of 60 the loss is 1e-26: the attack must not come home with the clean point."""
    model = eb.models.linear(2, 2)
    model.load_parameters({"0.weight": np.array([[60.0, 0.0], [0.0, 0.0]]), "0.bias": np.zeros(2)})
    x, y = np.array([[1.0, 0.5]], np.float32), np.array([0])
    run = eb.attacks.PGD(eps=0.25, steps=4, random_start=False).run(model, x, y)
    assert run.x_adv[0, 0] == pytest.approx(0.75, abs=1e-6)


# ---- restarts, random starts, seeds


def test_more_restarts_never_make_a_row_worse_for_the_attacker(table: str) -> None:
    model, net = pair([17, 33, 10], "relu", scale=2.0)
    x = batch(80, 17)
    y = net.predict(x)
    runs = [eb.attacks.PGD(eps=0.05, steps=3, restarts=r, seed=1).run(model, x, y) for r in (1, 2, 5)]
    for fewer, more in pairwise(runs):
        assert (more.success >= fewer.success).all()
        same = more.success == fewer.success
        assert (more.loss[same] >= fewer.loss[same]).all()
    assert (runs[-1].loss > runs[0].loss).any()


def test_first_restart_of_many_is_the_only_one_of_one(table: str) -> None:
    model, net = pair([17, 33, 10], "relu")
    x = batch(9, 17)
    y = net.predict(x)
    one = eb.attacks.PGD(eps=0.05, steps=3, restarts=1, seed=1).run(model, x, y, trace=True)
    three = eb.attacks.PGD(eps=0.05, steps=3, restarts=3, seed=1).run(model, x, y, trace=True)
    np.testing.assert_array_equal(three.trace[:, :4], one.trace)
    assert (three.trace[:, 4] != one.trace[:, 0]).all()


def uniform_distance(values: np.ndarray) -> float:
    """Kolmogorov's sqrt(n) D of a sample against U(0, 1)."""
    ordered, n = np.sort(values), len(values)
    steps = np.arange(n + 1) / n
    return float(np.sqrt(n) * max((steps[1:] - ordered).max(), (ordered - steps[:-1]).max()))


KOLMOGOROV = 2.23  # exceeded with probability 1e-4 by a right generator; the seeds are fixed anyway


def random_starts(norm: str, rows: int, features: int, seed: int = 0) -> np.ndarray:
    """Perturbations of the random start alone: a model without gradient leaves it where it is."""
    x = np.zeros((rows, features), np.float32)
    attack = eb.attacks.PGD(eps=0.5, norm=norm, steps=1, bounds=None, seed=seed)
    run = attack.run(constant_model(features, 2), x, np.zeros(rows, int))
    assert run.zero_gradient.all()
    return np.asarray(run.x_adv, np.float64) / 0.5


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("features", [1, 2, 5, 17])
def test_random_start_is_uniform_in_the_ball(table: str, norm: str, features: int) -> None:
    d = random_starts(norm, 2000, features)
    radius = oracle.distance(d, np.zeros_like(d), norm)
    # The volume inside radius r of a ball of dimension n is r^n, for every norm.
    assert uniform_distance(radius**features) < KOLMOGOROV
    signs = (d > 0).mean(axis=0)
    assert (np.abs(signs - 0.5) < 5 * 0.5 / np.sqrt(2000)).all()  # five standard deviations
    wanted = {
        "linf": 1 / 3,  # E d_i^2 of a uniform coordinate
        "l2": 1 / (features + 2),
        "l1": 2 / ((features + 1) * (features + 2)),
    }[norm]
    spread = (d**2).std(axis=0) / np.sqrt(2000)
    assert (np.abs((d**2).mean(axis=0) - wanted) < 5 * spread).all()
    if features > 1:  # coordinates and neighbouring rows are uncorrelated
        for a, b in ((d[:, 0], d[:, 1]), (d[:-1, 0], d[1:, 0])):
            assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(len(a))


def test_random_start_in_linf_fills_each_coordinate(table: str) -> None:
    d = random_starts("linf", 500, 7)
    assert uniform_distance((d.ravel() + 1) / 2) < KOLMOGOROV


def test_same_seed_same_start_other_seed_another(table: str) -> None:
    for norm in NORMS:
        np.testing.assert_array_equal(random_starts(norm, 5, 9, seed=1), random_starts(norm, 5, 9, seed=1))
        assert (random_starts(norm, 5, 9, seed=1) != random_starts(norm, 5, 9, seed=2)).any()


def test_linf_starts_have_the_same_bits_on_every_table() -> None:
    starts = []
    for name in eb.backends():
        previous = eb._native.use_table(name)
        starts.append(random_starts("linf", 20, 33))
        eb._native.use_table(previous)
    for other in starts[1:]:
        np.testing.assert_array_equal(starts[0], other)


# ---- early stop, queries, trace


@pytest.mark.parametrize("restarts", [1, 3])
@pytest.mark.parametrize("norm", NORMS)
def test_early_stop_finds_the_same_rows_and_leaves_the_others_alone(table: str, norm: str, restarts: int) -> None:
    model, net = pair([17, 33, 10], "relu", scale=2.0)
    x = batch(120, 17)
    y = near_labels(net, x)
    options: dict[str, Any] = {"eps": EPS[norm] / 3, "norm": norm, "steps": 6, "restarts": restarts, "seed": 2}
    full = eb.attacks.PGD(**options).run(model, x, y)
    early = eb.attacks.PGD(**options, early_stop=True).run(model, x, y)
    assert 0 < full.success.sum() < 120
    np.testing.assert_array_equal(early.success, full.success)
    failed = ~np.asarray(full.success)
    np.testing.assert_array_equal(np.asarray(early.x_adv)[failed], np.asarray(full.x_adv)[failed])
    np.testing.assert_array_equal(np.asarray(early.loss)[failed], np.asarray(full.loss)[failed])
    np.testing.assert_array_equal(early.queries[failed], full.queries[failed])
    assert (early.queries <= full.queries).all()
    assert early.queries.sum() < full.queries.sum()
    np.testing.assert_array_equal(np.asarray(model.predict(early.x_adv)) != y, early.success)


def test_early_stop_returns_the_first_misclassified_iterate(table: str) -> None:
    model, net = pair([9, 16, 5], "tanh", scale=2.0)
    x = batch(60, 9)
    y = near_labels(net, x)
    wanted = oracle.pgd(net, x, y, 0.1, "linf", STEPS)
    run = eb.attacks.PGD(eps=0.1, steps=STEPS, random_start=False, early_stop=True).run(model, x, y)
    first = wanted.fooled.argmax(axis=1)
    ok = wanted.decided & wanted.success
    assert len(set(first[ok])) > 1
    loss = wanted.trace[np.arange(60), first]
    np.testing.assert_allclose(np.asarray(run.loss)[ok], loss[ok], rtol=0, atol=10 * CLOSE)
    clean = ok & (first == 0)
    np.testing.assert_array_equal(np.asarray(run.x_adv)[clean], x[clean])


def test_queries_count_every_look_at_the_model(table: str) -> None:
    model, _ = pair([9, 5])
    x, y = batch(7, 9), labels(7, 5)
    for steps, restarts in ((1, 1), (4, 1), (4, 3)):
        run = eb.attacks.PGD(eps=0.1, steps=steps, restarts=restarts).run(model, x, y)
        np.testing.assert_array_equal(run.queries, np.full(7, restarts * (steps + 1)))


def test_trace_starts_with_the_clean_loss_and_ends_with_the_last(table: str) -> None:
    model, _ = pair([17, 33, 10], "tanh")
    x, y = batch(20, 17), labels(20, 10)
    run = eb.attacks.PGD(eps=0.1, steps=STEPS, random_start=False).run(model, x, y, trace=True)
    assert run.trace.shape == (20, STEPS + 1)
    np.testing.assert_array_equal(run.trace[:, 0], model.loss(x, y))
    silent = eb.attacks.PGD(eps=0.1, steps=STEPS, random_start=False).run(model, x, y)
    assert silent.trace is None
    np.testing.assert_array_equal(silent.x_adv, run.x_adv)


def test_function_and_class_are_one_attack(table: str) -> None:
    model, _ = pair([17, 33, 10], "relu")
    x, y = batch(9, 17), labels(9, 10)
    options: dict[str, Any] = {"eps": 0.1, "steps": 3, "restarts": 2, "seed": 4}
    np.testing.assert_array_equal(eb.pgd(model, x, y, **options), eb.attacks.PGD(**options)(model, x, y))
    np.testing.assert_array_equal(
        eb.pgd(model, x, y, index=np.arange(9) + 5, **options),
        eb.attacks.PGD(**options)(model, x, y, index=np.arange(9) + 5),
    )


def test_targeted_success_is_reaching_the_target(table: str) -> None:
    model, net = pair([9, 16, 5], "tanh", scale=3.0)
    x = batch(60, 9)
    target = np.argsort(net(x), axis=1)[:, -2]  # the runner-up
    run = eb.attacks.PGD(eps=0.3, steps=10, targeted=True).run(model, x, target)
    np.testing.assert_array_equal(run.success, np.asarray(model.predict(run.x_adv)) == target)
    assert run.success.sum() > 0
    assert (np.asarray(model.loss(run.x_adv, target)) < np.asarray(model.loss(x, target))).mean() > 0.9


@pytest.mark.parametrize("norm", NORMS)
def test_zero_gradient_is_reported(table: str, norm: str) -> None:
    x, y = batch(5, 7), np.zeros(5, int)
    attack = eb.attacks.PGD(eps=0.3, norm=norm, steps=3, random_start=False)
    run = attack.run(constant_model(7, 3), x, y)
    assert run.zero_gradient.all()
    np.testing.assert_array_equal(run.x_adv, x)
    model, _ = pair([7, 3])
    assert not attack.run(model, x, y).zero_gradient.any()


def test_one_hot_labels_attack_as_hard_labels_do(table: str) -> None:
    model, net = pair([9, 16, 5], "tanh")
    x = batch(20, 9)
    y = near_labels(net, x)
    attack = eb.attacks.PGD(eps=0.1, steps=4, random_start=False)
    soft, hard = attack.run(model, x, np.eye(5, dtype=np.float32)[y]), attack.run(model, x, y)
    np.testing.assert_array_equal(soft.success, hard.success)
    np.testing.assert_array_equal(soft.success, np.asarray(model.predict(soft.x_adv)) != y)
    wanted = oracle.pgd(net, x, y, 0.1, steps=4)
    ok = wanted.decided & wanted.unique
    assert ok.mean() >= 0.5
    np.testing.assert_allclose(soft.x_adv[ok], hard.x_adv[ok], rtol=0, atol=CLOSE)
