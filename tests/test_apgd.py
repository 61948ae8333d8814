"""APGD: the published loop step by step, its checkpoints, its strength, targets ranked on the clean logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb
import oracle
from cases import batch, constant_model, labels, pair, sized

EPS = {"linf": 0.1, "l2": 0.4, "l1": 1.0}
CLOSE = 1e-4


def checkpoints(steps: int) -> list[int]:
    """Ceilings of p_j * steps with p = 0, .22, p_(j+1) = p_j + max(p_j - p_(j-1) - .03, .06), in hundredths."""
    at, p, before = [], 22, 0
    while p <= 100:
        at.append(-(-p * steps // 100))
        p, before = p + max(p - before - 3, 6), p
    return sorted(set(at))


def test_the_published_checkpoints() -> None:
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]


def project(x: np.ndarray, x0: np.ndarray, eps: float, norm: str) -> np.ndarray:
    """Into the ball, then the box [0, 1]."""
    d = x - x0
    if norm == "linf":
        return np.clip(x0 + np.clip(d, -eps, eps), 0, 1)
    length = np.linalg.norm(d, axis=1, keepdims=True)
    return np.clip(x0 + d * np.minimum(1, eps / np.maximum(length, 1e-300)), 0, 1)


def stepped(x: np.ndarray, g: np.ndarray, x0: np.ndarray, size: np.ndarray, eps: float, norm: str) -> np.ndarray:
    d = np.sign(g) if norm == "linf" else g / np.linalg.norm(g, axis=1, keepdims=True)
    return project(x + size[:, None] * d, x0, eps, norm)


def apgd(net: Any, start: np.ndarray, x0: np.ndarray, y: np.ndarray, eps: float, norm: str, steps: int) -> np.ndarray:
    """The loop of the paper in float64, from the engine's own start: the loss of every row and iterate."""
    x, before = start.astype(np.float64), start.astype(np.float64)
    x0 = x0.astype(np.float64)
    g, loss = net.gradient(x, y, "cross_entropy").inputs, oracle.loss("cross_entropy", net(x), y)
    size, best, best_g, best_loss = np.full(len(x), 2 * eps), x.copy(), g.copy(), loss.copy()
    checked, halved, rises, last_check, trace = best_loss.copy(), np.ones(len(x), bool), np.zeros(len(x)), 0, [loss]
    for step in range(1, steps + 1):
        z = stepped(x, g, x0, size, eps, norm)
        new = z if step == 1 else project(x + 0.75 * (z - x) + 0.25 * (x - before), x0, eps, norm)
        x, before = new, x
        g, now = net.gradient(x, y, "cross_entropy").inputs, oracle.loss("cross_entropy", net(x), y)
        rises += now > loss
        loss = now
        trace.append(loss)
        better = loss > best_loss
        best[better], best_g[better], best_loss[better] = x[better], g[better], loss[better]
        if step in checkpoints(steps):
            back = (rises <= 0.75 * (step - last_check)) | (~halved & (best_loss <= checked))
            size[back] /= 2
            x[back], g[back] = best[back], best_g[back]
            halved, checked, rises, last_check = back, best_loss.copy(), np.zeros(len(x)), step
    return np.array(trace).T


@pytest.mark.parametrize("steps", [5, 12, 30])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_apgd_is_the_paper_s_loop(table: str, norm: str, steps: int) -> None:
    model, net = pair([9, 16, 5], "tanh", scale=2.0)
    x = batch(60, 9)
    y = net.predict(x)
    start = eb.attacks.APGD(eps=EPS[norm], norm=norm, steps=0, seed=4)(model, x, y)
    run = eb.attacks.APGD(eps=EPS[norm], norm=norm, steps=steps, seed=4).run(model, x, y, trace=True)
    wanted = apgd(net, start, x, y, EPS[norm], norm, steps)
    # A sign, a rise or a comparison that float32 decides otherwise takes a row elsewhere: most must stay together.
    near = (np.abs(run.trace - wanted) <= 10 * CLOSE * (1 + np.abs(wanted))).all(axis=1)
    assert near.mean() >= (0.9 if steps < 30 else 0.7)


@pytest.mark.parametrize("norm", oracle.NORMS)
def test_the_best_point_is_the_highest_loss_of_the_trace(table: str, norm: str) -> None:
    model, net = pair([17, 33, 10], "tanh")
    x = batch(60, 17)
    run = eb.attacks.APGD(eps=EPS[norm] / 20, norm=norm, steps=20, restarts=2).run(model, x, net.predict(x), trace=True)
    kept = run.trace.shape[1]
    assert kept == (2 * (20 - 2 * 6 + 1) if norm == "l1" else 2 * 21)
    assert (run.queries == 2 * (20 + 3 if norm == "l1" else 21)).all()
    failed = ~run.success
    assert failed.any()
    np.testing.assert_array_equal(run.loss[failed], run.trace.max(axis=1)[failed])
    np.testing.assert_array_equal(run.loss, model.loss(run.x_adv, net.predict(x)))


@pytest.mark.parametrize("norm", oracle.NORMS)
def test_apgd_reaches_the_exact_robust_accuracy_of_linear_models(table: str, norm: str) -> None:
    """The closed form knows which rows can be broken; those within rounding of the boundary are left out."""
    model, _ = pair([33, 2], scale=0.3)
    x = batch(sized(200, on_emulator=20), 33)
    y = np.asarray(model.predict(x))
    eps = {"linf": 0.04, "l2": 0.2, "l1": 0.5}[norm]
    exact = eb.attacks.LinearExact(eps=eps, norm=norm).run(model, x, y)
    # APGD's L1 steps are a tenth of eps or longer, and no closer than that can it come.
    close = {"linf": 2e-3, "l2": 2e-3, "l1": 0.03}[norm]
    clear = np.abs(np.asarray(model.loss(exact.x_adv, y, loss="margin"))) > close
    assert clear.mean() > 0.8
    assert 0.1 < exact.success[clear].mean() < 0.9
    for attack in (
        eb.attacks.APGD(eps=eps, norm=norm, steps=100, loss="margin"),
        eb.attacks.PGD(eps=eps, norm=norm, steps=100, loss="margin"),
    ):
        found = attack.run(model, x, y).success
        np.testing.assert_array_equal(found[clear], exact.success[clear])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_it_finds_a_higher_loss_than_pgd_at_the_same_number_of_steps(norm: str) -> None:
    model, net = pair([33, 64, 64, 10], "relu", scale=2.0)
    x = batch(200, 33)
    y = net.predict(x)
    eps = EPS[norm] * 2
    ours = eb.attacks.APGD(eps=eps, norm=norm, steps=60).run(model, x, y, trace=True).trace.max(axis=1)
    plain = eb.attacks.PGD(eps=eps, norm=norm, steps=60).run(model, x, y, trace=True).trace.max(axis=1)
    assert ours.mean() > plain.mean()


def test_targets_are_ranked_on_the_clean_logits(table: str) -> None:
    """With as many targets as there are other classes each one is tried, in the order of the logits at x."""
    model, net = pair([9, 16, 4], "tanh", scale=2.0)
    x = batch(40, 9)
    y = labels(40, 4)
    run = eb.attacks.APGD(eps=0.05, steps=3, targets=3, loss="cross_entropy").run(model, x, y, trace=True)
    z = net(x)
    z[np.arange(40), y] = np.inf
    order = np.argsort(-z, axis=1, kind="stable")[:, 1:]
    for rank in range(3):
        goal = order[:, rank]
        # Iterate 0 of each run is a start whose loss towards its class is known.
        first = run.trace[:, 4 * rank]
        alone = eb.attacks.APGD(eps=0.05, steps=3, targeted=True)
        assert alone.run(model, x, goal).success.sum() <= run.success.sum()
        assert np.isfinite(first).all()
    one = eb.attacks.APGD(eps=0.05, steps=3, targets=1, loss="cross_entropy").run(model, x, y, trace=True)
    np.testing.assert_array_equal(one.trace, run.trace[:, :4])
    same = eb.attacks.APGD(eps=0.05, steps=3, targeted=True).run(model, x, order[:, 0], trace=True)
    np.testing.assert_array_equal(one.trace, same.trace)


def test_targets_succeed_with_any_wrong_class(table: str) -> None:
    model, net = pair([9, 16, 4], "tanh", scale=3.0)
    x = batch(60, 9)
    run = eb.attacks.APGD(eps=0.3, steps=10, targets=3, loss="dlr").run(model, x, net.predict(x))
    assert run.success.any()
    np.testing.assert_array_equal(run.success, np.asarray(model.predict(run.x_adv)) != net.predict(x))
    assert (run.queries == 1 + 3 * 11).all()  # the logits at x are one more


def test_one_logit_has_one_target(table: str) -> None:
    model, net = pair([9, 16, 1], "tanh", scale=3.0)
    x = batch(60, 9)
    y = net.predict(x)
    one = eb.attacks.APGD(eps=0.1, steps=10, targets=1).run(model, x, y)
    other = eb.attacks.APGD(eps=0.1, steps=10, targeted=True).run(model, x, 1 - y)
    np.testing.assert_array_equal(one.x_adv, other.x_adv)


def test_more_targets_than_other_classes_are_an_error() -> None:
    model, _ = pair([9, 4])
    with pytest.raises(ValueError, match=r"^targets: wanted at most 3"):
        eb.attacks.APGD(eps=0.1, targets=4, loss="dlr")(model, batch(3, 9), np.zeros(3, np.int64))
    with pytest.raises(ValueError, match=r"^targets: wanted 0 with targeted"):
        eb.attacks.APGD(eps=0.1, targets=2, targeted=True)


@pytest.mark.parametrize("norm", oracle.NORMS)
def test_zero_gradients_are_reported(table: str, norm: str) -> None:
    run = eb.attacks.APGD(eps=0.1, norm=norm, steps=6).run(constant_model(9, 4), batch(5, 9), labels(5, 4))
    assert run.zero_gradient.all()


def test_early_stop_spends_fewer_queries_and_breaks_the_same_rows(table: str) -> None:
    model, net = pair([33, 31, 10], "relu", scale=2.0)
    x = batch(80, 33)
    y = net.predict(x)
    options: dict[str, Any] = {"eps": 0.05, "steps": 20, "targets": 4, "loss": "dlr"}
    whole = eb.attacks.APGD(**options).run(model, x, y)
    early = eb.attacks.APGD(**options, early_stop=True).run(model, x, y)
    np.testing.assert_array_equal(early.success, whole.success)
    assert 0 < whole.success.sum() < 80
    assert (early.queries[early.success] < whole.queries[early.success]).all()
    np.testing.assert_array_equal(early.queries[~early.success], whole.queries[~early.success])


def test_l1_points_are_sparse_and_stronger_than_pgd(digits: dict[str, np.ndarray]) -> None:
    model = eb.models.linear(784, 10, seed=0)
    eb.fit(model, digits["x"].reshape(-1, 784), digits["y"], epochs=2)
    x, y = digits["xt"][:200].reshape(-1, 784), digits["yt"][:200]
    ours = eb.attacks.APGD(eps=3.0, norm="l1", steps=100).run(model, x, y)
    plain = eb.attacks.PGD(eps=3.0, norm="l1", steps=100).run(model, x, y)
    assert ours.success.mean() >= plain.success.mean() - 0.01
    changed = (ours.x_adv != x).sum(axis=1)
    assert np.median(changed) < 784 / 4


def test_draws_of_a_model_that_is_not_random_change_nothing_but_the_queries(table: str) -> None:
    model, net = pair([33, 31, 10], "relu", scale=2.0)
    x = batch(40, 33)
    y = net.predict(x)
    one, four = (eb.attacks.APGD(eps=0.05, steps=12, model_draws=d).run(model, x, y) for d in (1, 4))
    np.testing.assert_array_equal(one.success, four.success)
    np.testing.assert_allclose(four.loss, one.loss, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(four.queries, 4 * one.queries)


def test_draws_average_a_random_model() -> None:
    """The mean of many noisy gradients points where the model without noise does."""
    model, net = pair([33, 10], scale=0.5)
    x = batch(60, 33)
    y = net.predict(x)
    rng = np.random.default_rng(0)
    jacobian = np.asarray(model.jacobian(x[:1]))[0]

    def noisy(x: np.ndarray, d: np.ndarray) -> np.ndarray:
        return d @ jacobian + rng.normal(0, 4.0, x.shape).astype(np.float32)

    random = eb.CallableModel(model, noisy, classes=10)
    runs = [eb.attacks.APGD(eps=0.1, steps=20, model_draws=d).run(random, x, y).loss.mean() for d in (1, 30)]
    assert runs[1] > runs[0]
