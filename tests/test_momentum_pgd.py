"""PGD with momentum, looking ahead, and with Adam: the loops of the papers step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb
import oracle
import oracle_random
from cases import batch, constant_model, engine, pair

EPS, SIZE, STEPS = 0.1, 0.02, 6
# As in test_pgd.py: an iterate of another loop would differ by 1e-2 or more.
CLOSE = 1e-4
VARIANTS = [(a, n) for a in (eb.attacks.MomentumPGD, eb.attacks.AdamPGD) for n in a.norms]


def gradient(net: oracle.Net, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """With the logits' gradient scaled to a largest magnitude of 1, which no direction depends on but Adam's."""
    d = oracle.loss_gradient("cross_entropy", net(x), y)
    scale = np.abs(d).max(axis=1, keepdims=True)
    return net.gradient(x, y, "cross_entropy").inputs / scale


def inside(x: np.ndarray, x0: np.ndarray) -> np.ndarray:
    return np.clip(np.clip(x, x0 - EPS, x0 + EPS), 0, 1)


def resizing(seed: int, row: int, draw: int, shape: tuple[int, int], least: int) -> np.ndarray:
    """The matrix (to, from) over an image's pixels that makes it smaller and puts it somewhere on black."""
    height, width = shape
    words = oracle_random.block(seed, row, 5 << 24 | draw)
    below = lambda word, count: word * count >> 32  # noqa: E731 - a formula
    wide = least + below(words[0], width - least)
    tall = max((2 * height * wide + width) // (2 * width), 1)
    top, left = below(words[1], max(height - tall, 1)), below(words[2], max(width - wide, 1))

    def axis(few: int, many: int, first: int) -> np.ndarray:
        matrix = np.zeros((many, many))
        for to in range(few):
            at = (to + 0.5) * many / few - 0.5
            near = np.maximum(1 - np.abs(at - np.arange(many)), 0)
            matrix[first + to] = near
        return matrix

    return np.kron(axis(tall, height, top), axis(wide, width, left))


def true_gradient(net: oracle.Net, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return net.gradient(x, y, "cross_entropy").inputs


def mean_gradient(
    net: oracle.Net, at: np.ndarray, y: np.ndarray, scales: int, resized: list[np.ndarray] | None
) -> np.ndarray:
    """The mean of the gradients at at, at / 2, ..., each through its own matrices (rows, to, from)."""
    total = np.zeros_like(at)
    for scale in range(scales):
        matrix = np.eye(at.shape[1])[None] if resized is None else resized[scale]
        view = np.einsum("rtf,rf->rt", np.broadcast_to(matrix, (len(at), *matrix.shape[1:])), at / 2**scale)
        back = true_gradient(net, view, y)
        total += np.einsum("rtf,rt->rf", np.broadcast_to(matrix, (len(at), *matrix.shape[1:])), back) / 2**scale
    return total / scales


def momentum(
    net: oracle.Net,
    x0: np.ndarray,
    y: np.ndarray,
    decay: float,
    nesterov: bool = False,
    scales: int = 1,
    neighbours: int = 0,
    reach: float = 1.5,
    shape: tuple[int, int] | None = None,
    least: int = 0,
    blur: np.ndarray | None = None,
) -> np.ndarray:
    """The losses at x, step after step, of MI-FGSM with what later papers have added."""
    rows, x, m, variance, trace = len(x0), x0.copy(), np.zeros_like(x0), np.zeros_like(x0), []
    for step in range(STEPS + 1):
        trace.append(oracle.loss("cross_entropy", net(x), y))
        draw = step * scales * (1 + neighbours)

        def resized(view: int) -> list[np.ndarray] | None:
            if shape is None:
                return None
            return [np.stack([resizing(7, r, view + s, shape, least) for r in range(rows)]) for s in range(scales)]

        ahead = x + decay * SIZE * m if nesterov else x
        g = mean_gradient(net, ahead, y, scales, resized(draw))
        tuned = g + variance
        if blur is not None:
            tuned = tuned @ blur
        m = decay * m + tuned / np.abs(tuned).mean(axis=1, keepdims=True)
        variance = -g
        for i in range(neighbours):
            view = draw + scales * (1 + i)
            u = 2 * oracle_random.uniforms(rows, x.shape[1], 7, oracle_random.noise_salt(view)) - 1
            variance = variance + mean_gradient(net, x + reach * EPS * u, y, scales, resized(view)) / neighbours
        if neighbours == 0:
            variance = np.zeros_like(x)
        x = inside(x + SIZE * np.sign(m), x0)
    return np.array(trace).T


def adam(net: oracle.Net, x0: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, m, v, trace = x0.copy(), np.zeros_like(x0), np.zeros_like(x0), []
    for step in range(1, STEPS + 2):
        trace.append(oracle.loss("cross_entropy", net(x), y))
        g = gradient(net, x, y)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        x = inside(x + SIZE * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8), x0)
    return np.array(trace).T


def assert_same_losses(trace: np.ndarray, wanted: np.ndarray) -> None:
    near = (np.abs(trace - wanted) <= 10 * CLOSE * (1 + np.abs(wanted))).all(axis=1)
    assert near.mean() >= 0.95  # a sign that float32 decides otherwise takes a row elsewhere


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay", [0.5, 1.0])
def test_momentum_is_the_paper_s_loop(table: str, decay: float, nesterov: bool) -> None:
    model, net = pair([9, 16, 5], "tanh", scale=2.0)
    x = batch(60, 9)
    y = net.predict(x)
    attack = eb.attacks.MomentumPGD(eps=EPS, steps=STEPS, step_size=SIZE, decay=decay, nesterov=nesterov)
    run = attack.run(model, x, y, trace=True)
    assert_same_losses(run.trace, momentum(net, x.astype(np.float64), y, decay, nesterov))


def filters(taps: list[float], shape: tuple[int, int]) -> np.ndarray:
    """The matrix (from, to) over an image's pixels that filters both axes, with zeros outside."""
    middle = (len(taps) - 1) // 2

    def axis(size: int) -> np.ndarray:
        return sum(tap * np.eye(size, k=middle - t) for t, tap in enumerate(taps))

    return np.kron(axis(shape[0]), axis(shape[1]))


SHAPE = (5, 6)
ADDED = {
    "scales": {"scales": 3},
    "scales-ahead": {"scales": 4, "nesterov": True},
    "variance": {"neighbours": 3, "reach": 0.7},
    "variance-ahead": {"neighbours": 2, "nesterov": True},
    "diverse": {"diversity": 1.0, "resize": 0.5},
    "diverse-scales-variance": {"diversity": 1.0, "resize": 0.7, "scales": 2, "neighbours": 2},
    "blur": {"blur": 3},
    "blur-of-its-own": {"blur": [0.2, 0.5, -0.1, 0.3], "neighbours": 2},
}


@pytest.mark.parametrize("options", ADDED.values(), ids=ADDED)
def test_what_papers_have_added_is_their_loop(table: str, options: dict[str, Any]) -> None:
    model, net = pair([30, 16, 5], "tanh", scale=1.5)
    x = batch(40, 30)
    y = net.predict(x)
    attack = eb.attacks.MomentumPGD(EPS, steps=STEPS, step_size=SIZE, seed=7, **options)
    run = attack.run(model, x.reshape(40, 1, *SHAPE), y, trace=True)
    wanted = {k: v for k, v in options.items() if k in ("scales", "neighbours", "reach", "nesterov")}
    if "diversity" in options:
        wanted |= {"shape": SHAPE, "least": int(SHAPE[1] * options["resize"])}
    if "blur" in options:
        taps = options["blur"] if isinstance(options["blur"], list) else gaussian(options["blur"])
        wanted["blur"] = filters(taps, SHAPE)
    assert_same_losses(run.trace, momentum(net, x.astype(np.float64), y, 1.0, **wanted))


def gaussian(count: int) -> list[float]:
    taps = np.exp(-(np.linspace(-3, 3, count) ** 2) / 2)
    return list(taps / taps.sum())


def test_channels_are_resized_and_filtered_alike(table: str) -> None:
    """A model that is the sum of one for every channel moves each channel as its own model would move it."""
    one, _ = pair([30, 3])
    both = eb.models.linear(60, 3)
    w, b = one.parameters().values()
    both.load_parameters(dict(zip(both.parameters(), (np.concatenate([w, w], axis=1), 2 * b), strict=True)))
    x = batch(20, 30).reshape(20, 1, *SHAPE)
    y = np.asarray(one.predict(x))
    attack = eb.attacks.MomentumPGD(0.1, steps=1, diversity=1.0, resize=0.6, blur=5, loss="margin")
    twice = attack(both, np.concatenate([x, x], axis=1), y)
    np.testing.assert_array_equal(twice[:, 0], twice[:, 1])
    np.testing.assert_array_equal(twice[:, :1], attack(one, x, y))


@pytest.mark.parametrize("chance", [0.0, 0.3, 1.0])
def test_as_many_rows_are_resized_as_asked_for(table: str, chance: float) -> None:
    """The gradient of a linear model shows where its image went: outside of it is nothing."""
    model = engine(oracle.Net([np.stack([np.ones(30), -np.ones(30)])], [np.zeros(2)]))
    x = np.full((1000, 1, *SHAPE), 0.5, np.float32)
    attack = eb.attacks.MomentumPGD(0.1, norm="l2", steps=1, diversity=chance, resize=0.5, step_size=0.1)
    moved = np.asarray(attack(model, x, np.ones(1000, np.int64)) - x).reshape(1000, -1)
    even = np.ptp(moved, axis=1) < 1e-4  # a small image takes more from some pixels than from others
    assert abs((~even).mean() - chance) < 0.05


def test_several_draws_of_a_model_that_is_not_random_change_nothing(table: str) -> None:
    model, net = pair([9, 16, 5], "tanh", scale=2.0)
    x = batch(20, 9)
    y = net.predict(x)
    one, two = (eb.attacks.MomentumPGD(0.1, model_draws=n).run(model, x, y) for n in (1, 2))
    np.testing.assert_array_equal(one.x_adv, two.x_adv)
    assert (two.queries == one.queries + 10).all()


def test_draws_average_the_gradients_of_a_model_that_is_random(table: str) -> None:
    """Noise in the gradient that hides its signs is gone from the mean of many draws."""
    model, net = pair([9, 4], scale=2.0)
    x = batch(40, 9, low=0.3, high=0.7)
    y = net.predict(x)
    rng = np.random.default_rng(0)

    def noisy(points: np.ndarray, dlogits: np.ndarray) -> np.ndarray:
        w = np.asarray(next(iter(model.parameters().values())))
        return (dlogits @ (w + rng.normal(0, 3 * np.abs(w).max(), w.shape))).astype(np.float32)

    source = eb.CallableModel(lambda points: np.asarray(model(points)), noisy, classes=4)
    signs = np.sign(np.asarray(model.input_gradient(x, y)))
    agreed = []
    for draws in (1, 400):
        attack = eb.attacks.MomentumPGD(0.05, steps=1, step_size=0.05, model_draws=draws)
        agreed.append((np.sign(attack(source, x, y) - x) == signs).mean())
    assert agreed[0] < 0.75
    assert agreed[1] > 0.85


def test_every_pass_is_counted(table: str) -> None:
    model, net = pair([30, 4])
    x = batch(10, 30)
    y = net.predict(x)
    wanted = [({}, 5), ({"nesterov": True}, 9), ({"scales": 3}, 13), ({"neighbours": 2}, 5 + 2 * 3),
              ({"scales": 3, "neighbours": 2}, 13 + 6 * 3),
              ({"nesterov": True, "scales": 2, "neighbours": 1}, 5 + 8 + 6),
              ({"diversity": 0.5, "model_draws": 2}, 5 + 8)]  # fmt: skip
    for options, passes in wanted:
        run = eb.attacks.MomentumPGD(1e-4, steps=4, **options).run(model, x.reshape(10, 1, *SHAPE), y)
        assert (run.queries == passes).all(), options


@pytest.mark.parametrize("options", [{"scales": 3}, {"neighbours": 3}, {"model_draws": 3}], ids=str)
def test_gradients_too_small_for_floats_are_averaged(table: str, options: dict[str, Any]) -> None:
    """Behind margins of hundreds cross-entropy's derivative is 1e-150, and that of a neighbour another power of ten."""
    model, net = pair([9, 4], scale=1.0)
    x = batch(20, 9, low=0.3, high=0.7)
    y = net.predict(x)
    w, b = model.parameters().values()
    model.load_parameters(dict(zip(model.parameters(), (400 * w, 400 * b), strict=True)))
    sure = np.asarray(model.loss(x, y)) == 0
    budget = {"eps": 0.3, "steps": 20}
    run = eb.attacks.MomentumPGD(**budget, **options).run(model, x, y)
    plain = eb.attacks.PGD(**budget, random_start=False).run(model, x, y)
    assert not run.zero_gradient.any()
    assert (sure & plain.success).sum() > 3
    assert run.success[sure].sum() >= plain.success[sure].sum() - 1


def test_images_are_asked_for_where_they_are_needed() -> None:
    model, net = pair([9, 4])
    x = batch(4, 9)
    for options in ({"diversity": 0.5}, {"blur": 3}):
        with pytest.raises(ValueError, match=r"^x: wanted images"):
            eb.attacks.MomentumPGD(0.1, **options)(model, x, net.predict(x))


def test_looking_ahead_makes_a_difference(table: str) -> None:
    model, net = pair([9, 16, 5], "tanh", scale=2.0)
    x = batch(60, 9)
    options = {"eps": EPS, "steps": STEPS, "step_size": SIZE}
    runs = [
        eb.attacks.MomentumPGD(**options, nesterov=n).run(model, x, net.predict(x), trace=True) for n in (False, True)
    ]
    np.testing.assert_array_equal(runs[0].trace[:, :2], runs[1].trace[:, :2])  # nothing lies behind the first step
    assert (runs[0].trace[:, 2] != runs[1].trace[:, 2]).any()


def test_without_memory_it_is_pgd(table: str) -> None:
    model, net = pair([9, 16, 5], "relu", scale=2.0)
    x = batch(60, 9)
    y = net.predict(x)
    for norm, eps in (("linf", 0.1), ("l1", 1.0)):
        ours = eb.attacks.MomentumPGD(eps=eps, norm=norm, steps=5, decay=0.0).run(model, x, y)
        plain = eb.attacks.PGD(eps=eps, norm=norm, steps=5, random_start=False).run(model, x, y)
        np.testing.assert_allclose(ours.x_adv, plain.x_adv, atol=1e-6)


def test_adam_is_the_published_loop(table: str) -> None:
    model, net = pair([9, 16, 5], "tanh", scale=2.0)
    x = batch(60, 9)
    y = net.predict(x)
    run = eb.attacks.AdamPGD(eps=EPS, steps=STEPS, step_size=SIZE, random_start=False).run(model, x, y, trace=True)
    assert_same_losses(run.trace, adam(net, x.astype(np.float64), y))


@pytest.mark.parametrize(("attack", "norm"), VARIANTS)
def test_zero_gradients_are_reported_and_others_are_not(table: str, attack: type, norm: str) -> None:
    x, y = batch(5, 9), np.zeros(5, np.int64)
    assert attack(eps=0.1, norm=norm, steps=3).run(constant_model(9, 4), x, y).zero_gradient.all()
    model, _ = pair([9, 4])
    assert not attack(eps=0.1, norm=norm, steps=3).run(model, x, y).zero_gradient.any()


@pytest.mark.parametrize(("attack", "norm"), VARIANTS)
def test_they_raise_the_loss_about_as_far_as_pgd(attack: type, norm: str) -> None:
    model, net = pair([33, 64, 10], "relu", scale=2.0)
    x = batch(200, 33)
    y = net.predict(x)
    eps = {"linf": 0.05, "l2": 0.3, "l1": 0.8}[norm]
    ours = attack(eps=eps, norm=norm, steps=40).run(model, x, y).success.mean()
    plain = eb.attacks.PGD(eps=eps, norm=norm, steps=40).run(model, x, y).success.mean()
    assert 0.1 < plain < 0.95
    assert ours >= plain - 0.08


@pytest.mark.parametrize("attack", [eb.attacks.MomentumPGD, eb.attacks.AdamPGD, eb.attacks.SLIDE])
def test_restarts_that_would_all_be_the_same_are_refused(attack: type) -> None:
    with pytest.raises(ValueError, match=r"^restarts:"):
        attack(eps=0.1, restarts=2, random_start=False)


@pytest.mark.parametrize(
    ("attack", "name", "value"),
    [
        (eb.attacks.MomentumPGD, "decay", -0.1),
        (eb.attacks.MomentumPGD, "nesterov", 1),
        (eb.attacks.MomentumPGD, "scales", 0),
        (eb.attacks.MomentumPGD, "scales", 33),
        (eb.attacks.MomentumPGD, "neighbours", -1),
        (eb.attacks.MomentumPGD, "reach", -0.1),
        (eb.attacks.MomentumPGD, "diversity", 1.5),
        (eb.attacks.MomentumPGD, "resize", 1.0),
        (eb.attacks.MomentumPGD, "blur", 0),
        (eb.attacks.MomentumPGD, "blur", ()),
        (eb.attacks.MomentumPGD, "blur", (0.5, "a")),
        (eb.attacks.MomentumPGD, "model_draws", 0),
        (eb.attacks.AdamPGD, "beta1", 1.0),
        (eb.attacks.AdamPGD, "beta2", -0.1),
        (eb.attacks.SLIDE, "fraction", 0.0),
        (eb.attacks.SLIDE, "norm", "l2"),
    ],
)
def test_bad_options_are_named(attack: type, name: str, value: object) -> None:
    with pytest.raises((ValueError, TypeError), match=f"^{name}:"):
        attack(eps=0.1, **{name: value})
