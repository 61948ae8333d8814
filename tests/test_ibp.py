"""Interval bounds: sound, as tight as the formula, trained on with exact gradients, below what attacks leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch, engine, image_model, labels
from oracle import Array, Net, activate, random_net
from test_training_methods import ce, descends, numeric

T = eb.training
EPS = 0.125
MONOTONE = ["relu", "leaky_relu", "elu", "sigmoid", "tanh", "softplus"]


def interval_logits(net: Net, low: Array, high: Array) -> tuple[Array, Array]:
    """Centre and radius of the logits (Gowal et al. 2018, equations 6 and 7), in float64."""
    for i, (w, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        centre, radius = (low + high) / 2 @ w.T + b, (high - low) / 2 @ np.abs(w).T
        low, high = centre - radius, centre + radius
        if i + 1 < len(net.weights):
            low, high = activate(net.activation, low), activate(net.activation, high)
    return (low + high) / 2, (high - low) / 2


def corners(x: Array, eps: float, bounds: tuple[float, float] | None) -> tuple[Array, Array]:
    low, high = x - eps, x + eps
    return (low, high) if bounds is None else (np.maximum(low, bounds[0]), np.minimum(high, bounds[1]))


# ---- bounds


@pytest.mark.parametrize("activation", MONOTONE)
@pytest.mark.parametrize("width", [1, 5, 17, 97])
def test_bounds_are_those_of_the_formula_and_outward(table: str, activation: str, width: int) -> None:
    net = random_net([width, 33, 4], activation)
    x = batch(19, width)
    low, high = (c.astype(np.float32) for c in corners(x.astype(np.float64), EPS, (0, 1)))
    lower, upper = engine(net).output_bounds(low, high)
    centre, radius = interval_logits(net, low.astype(np.float64), high.astype(np.float64))
    assert (lower <= centre - radius).all()
    assert (upper >= centre + radius).all()
    np.testing.assert_allclose(lower, centre - radius, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(upper, centre + radius, rtol=1e-3, atol=1e-3)


def test_bounds_hold_where_an_activation_is_the_first_layer(table: str) -> None:
    model = eb.Sequential([eb.ReLU()], input_shape=(97,))
    rng = np.random.default_rng(0)
    low = rng.uniform(-1, 0, (200, 97)).astype(np.float32)
    high = rng.uniform(0, 1e-3, (200, 97)).astype(np.float32)  # centre and radius round by more than high's last place
    lower, upper = model.output_bounds(low, high)
    assert (lower <= 0).all()
    assert (upper >= high).all()


def test_bounds_of_a_linear_model_are_reached_at_its_worst_corners(table: str) -> None:
    net = random_net([7, 3])
    x = batch(5, 7)
    lower, upper = engine(net).output_bounds(x - np.float32(EPS), x + np.float32(EPS))
    reach = EPS * np.abs(net.weights[0]).sum(axis=1)
    np.testing.assert_allclose(lower, net(x) - reach, rtol=0, atol=1e-4)
    np.testing.assert_allclose(upper, net(x) + reach, rtol=0, atol=1e-4)


IMAGE_LAYERS: dict[str, list[Any]] = {
    "convolution": [eb.Conv2d(2, 5, 3, stride=2, padding=1), eb.ReLU(), eb.Flatten(), eb.Linear(45, 3)],
    "maximum": [eb.Conv2d(2, 4, 3), eb.MaxPool2d(2), eb.Tanh(), eb.Flatten(), eb.Linear(16, 3)],
    "average": [eb.AvgPool2d(2, padding=1), eb.Conv2d(2, 4, 3, bias=False), eb.ReLU(), eb.Flatten(), eb.Linear(16, 3)],
    "scaled": [eb.Normalize([0.3, 0.6], [0.5, 0.2]), eb.Conv2d(2, 4, 3), eb.BatchNorm2d(4), eb.ReLU(), eb.Flatten(),
               eb.Linear(64, 3)],
    "dropped": [eb.Conv2d(2, 4, 3), eb.Dropout(0.5), eb.Flatten(), eb.Linear(64, 9), eb.Maxout(3)],
    "activation on top": [eb.MaxPool2d(2), eb.ReLU(), eb.Sigmoid(), eb.Flatten(), eb.Linear(18, 3), eb.Softplus()],
}  # fmt: skip


def dense(layer: Any, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """The matrix and the offset of an affine layer, from what it gives for 0 and for unit vectors."""
    model = eb.Sequential([layer[0], eb.Flatten()], input_shape=shape)
    model.load_parameters(layer[1])
    features = int(np.prod(shape))
    offset = model(np.zeros((1, *shape), np.float32)).astype(np.float64)[0]
    units = np.eye(features, dtype=np.float32).reshape(features, *shape)
    return model(units).astype(np.float64) - offset, offset


def reference_bounds(model: Any, low: Array, high: Array) -> tuple[Array, Array]:
    """Interval bounds, layer by layer: matrices where one is affine, else both ends through a model of that layer."""
    shape, values = model.input_shape, model.parameters()
    for i, layer in enumerate(model.layers):
        out = layer.output_shape(shape)
        own = {f"0.{n.split('.')[1]}": p for n, p in values.items() if n.startswith(f"{i}.")}
        if own or isinstance(layer, eb.AvgPool2d | eb.Normalize):
            w, b = dense((layer, own), shape)
            c, r = (low + high) / 2 @ w + b, (high - low) / 2 @ np.abs(w)
            low, high = c - r, c + r
        elif not isinstance(layer, eb.Flatten | eb.Dropout):
            one = eb.Sequential([layer], input_shape=shape)
            low, high = (
                one(end.astype(np.float32).reshape(len(end), *shape)).astype(np.float64).reshape(len(end), -1)
                for end in (low, high)
            )
        shape = out
    return low, high


@pytest.mark.parametrize("layers", IMAGE_LAYERS.values(), ids=IMAGE_LAYERS)
def test_bounds_of_models_of_images(table: str, layers: list[Any]) -> None:
    model, _ = image_model(layers, (2, 6, 6)) if "Dropout" not in repr(layers) and "Maxout" not in repr(layers) else (
        eb.Sequential(layers, input_shape=(2, 6, 6)), None)  # fmt: skip
    x = batch(9, 72).reshape(9, 2, 6, 6)
    low, high = x - np.float32(EPS), x + np.float32(EPS)
    lower, upper = model.output_bounds(low, high)
    wanted = reference_bounds(model, low.reshape(9, -1).astype(np.float64), high.reshape(9, -1).astype(np.float64))
    slack = 1e-6 * np.maximum(np.abs(wanted[0]), np.abs(wanted[1])) + 1e-6  # the reference's own rounding
    assert (lower <= wanted[0] + slack).all()
    assert (upper >= wanted[1] - slack).all()
    np.testing.assert_allclose(lower, wanted[0], rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(upper, wanted[1], rtol=2e-3, atol=2e-3)
    rng = np.random.default_rng(0)
    for _ in range(20):  # corners of the boxes, where extremes lie
        z = model(np.where(rng.random(x.shape) < 0.5, low, high))
        assert ((lower <= z) & (z <= upper)).all()


def test_bounds_of_a_row_do_not_depend_on_the_others(table: str) -> None:
    model = eb.models.cnn((1, 8, 8), 3)
    x = batch(33, 64).reshape(33, 1, 8, 8)
    lower, upper = model.output_bounds(x, x + np.float32(0.1))
    for rows in (slice(0, 1), slice(4, 20), slice(32, 33)):
        one = model.output_bounds(x[rows], x[rows] + np.float32(0.1))
        np.testing.assert_array_equal(one[0], lower[rows])
        np.testing.assert_array_equal(one[1], upper[rows])


def test_bounds_follow_new_weights(table: str) -> None:
    model, other = eb.models.mlp([7, 5, 3], seed=0), eb.models.mlp([7, 5, 3], seed=1)
    x = batch(3, 7)
    model.output_bounds(x, x)
    model.load_parameters(other.parameters())
    np.testing.assert_array_equal(model.output_bounds(x, x + 1)[1], other.output_bounds(x, x + 1)[1])


# ---- training


@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)])
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_gradient_of_training(table: str, activation: str, classes: int, bounds: Any) -> None:
    """kappa J(z(x)) + (1 - kappa) J(worst logits) (1810.12715, equation 10), intervals cut to the box."""
    net = random_net([7, 5, 4, classes], activation)
    x, y = batch(12, 7).astype(np.float64), labels(12, classes)
    low, high = corners(x, EPS, bounds)
    signs = worst_signs(y, classes)

    def objective(n: Net) -> float:
        centre, radius = interval_logits(n, low, high)
        return float(np.mean(0.75 * ce(n(x), y) + 0.25 * ce(centre + signs * radius, y)))

    method = T.IBPTraining(eps=EPS, kappa=0.75, bounds=bounds, warmup=0.0, ramp=0.0)
    descends(net, x, y, method, objective, atol=2e-5)
    history = eb.fit(engine(net), x.astype(np.float32), y, method=method, epochs=1, batch_size=12)
    assert history.epochs[0]["train_loss"] == pytest.approx(objective(net), rel=1e-5)


def worst_signs(y: np.ndarray, classes: int) -> Array:
    """Which end of each logit is the worst: -1 the lower one, the label's."""
    if classes == 1:
        return np.where(y == 1, -1.0, 1.0)[:, None]
    return np.where(np.arange(classes) == y[:, None], -1.0, 1.0)


def convolved(x: Array, w: Array, b: Array, stride: int, padding: int) -> Array:
    """Convolution of images (N, C, H, W) by its definition."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    return np.einsum("nchwij,ocij->nohw", windows, w) + b[:, None, None]


def test_gradient_of_training_through_convolutions_and_pools(table: str) -> None:
    layers = [eb.Conv2d(1, 3, 3, stride=1, padding=1), eb.Tanh(), eb.MaxPool2d(2), eb.Conv2d(3, 2, 2), eb.Softplus(),
              eb.AvgPool2d(2), eb.Flatten(), eb.Linear(2, 3)]  # fmt: skip
    model = eb.Sequential(layers, input_shape=(1, 6, 6), seed=3)
    x, y = batch(8, 36).astype(np.float64).reshape(8, 1, 6, 6), labels(8, 3)
    low, high = corners(x, EPS, (0, 1))
    before = {n: p.astype(np.float64) for n, p in model.parameters().items()}
    signs = worst_signs(y, 3)

    def pool(z: Array, reduce: Callable[..., Array]) -> Array:
        n, c, h, w = z.shape
        return reduce(z[:, :, : h // 2 * 2, : w // 2 * 2].reshape(n, c, h // 2, 2, w // 2, 2), axis=(3, 5))

    def box(layer: Callable[[Array, Array, Array], Array], p: str, values: Any, low: Array, high: Array) -> Any:
        w, b = values[f"{p}.weight"], values[f"{p}.bias"]
        c, r = layer((low + high) / 2, w, b), layer((high - low) / 2, np.abs(w), 0 * b)
        return c - r, c + r

    def logits(values: Any, low: Array, high: Array) -> tuple[Array, Array]:
        low, high = box(lambda x, w, b: convolved(x, w, b, 1, 1), "0", values, low, high)
        low, high = (pool(np.tanh(end), np.max) for end in (low, high))
        low, high = box(lambda x, w, b: convolved(x, w, b, 1, 0), "3", values, low, high)
        low, high = (pool(np.logaddexp(0, end), np.mean).reshape(len(x), -1) for end in (low, high))
        return box(lambda x, w, b: x @ w.T + b, "7", values, low, high)

    def objective(values: Any) -> float:
        z, (lower, upper) = logits(values, x, x)[0], logits(values, low, high)
        worst = np.where(signs < 0, lower, upper)
        return float(np.mean(0.5 * ce(z, y) + 0.5 * ce(worst, y)))

    method = T.IBPTraining(eps=EPS, warmup=0.0, ramp=0.0)
    eb.fit(model, x.astype(np.float32), y, method=method, epochs=1, batch_size=8, optimizer=T.SGD(lr=1.0))
    for name, after in model.parameters().items():
        got = before[name] - after
        for i in np.ndindex(got.shape):
            slopes = []
            for h in (1e-5, -1e-5):
                values = {n: p.copy() for n, p in before.items()}
                values[name][i] += h
                slopes.append(objective(values))
            assert got[i] == pytest.approx((slopes[0] - slopes[1]) / 2e-5, rel=1e-4, abs=1e-5), (name, i)


def test_eps_and_the_weight_of_the_worst_case_grow_together() -> None:
    method = T.IBPTraining(warmup=0.1, ramp=0.4)
    assert [method.budget(e, 10) for e in (0.0, 0.9, 3.0, 5.0, 9.0)] == pytest.approx([0, 0, 0.5, 1, 1])
    net = random_net([7, 5, 3], "tanh")
    x, y = batch(12, 7), labels(12, 3)
    warm = T.IBPTraining(eps=EPS, warmup=1.0)
    losses = [
        eb.fit(engine(net), x, y, method=m, epochs=1, batch_size=12).epochs[0]["train_loss"]
        for m in (warm, T.Standard())
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.parametrize(
    ("layers", "word"),
    [
        ([eb.Linear(7, 4), eb.GELU(), eb.Linear(4, 3)], r"layer 1 \(GELU"),
        ([eb.Linear(7, 4), eb.Quadratic(), eb.Linear(4, 3)], r"layer 1 \(Quadratic"),
        ([eb.RBF(7, 3)], r"layer 0 \(RBF"),
    ],
)
def test_layers_that_carry_no_intervals_are_refused(layers: list[Any], word: str) -> None:
    model = eb.Sequential(layers, input_shape=(7,))
    x, y = batch(4, 7), labels(4, 3)
    for call in (
        lambda: model.output_bounds(x, x),
        lambda: eb.fit(model, x, y, method=T.IBPTraining(), epochs=1),
        lambda: eb.evaluation.IBPCertificate(0.1).certify(model, x, y),
    ):
        with pytest.raises(ValueError, match=rf"^model: wanted layers that carry intervals.*{word}"):
            call()


def test_what_interval_calls_cannot_take_is_refused() -> None:
    model, x, y = eb.models.mlp([7, 5, 3]), batch(4, 7), labels(4, 3)
    with pytest.raises(ValueError, match=r"^high: "):
        model.output_bounds(x, x[:2])
    with pytest.raises(ValueError, match=r"^high: .*not below"):
        model.output_bounds(x + 1, x)
    dropped = eb.models.mlp([7, 5, 3], dropout=0.5)
    with pytest.raises(ValueError, match=r"^model: IBPTraining wants no dropout"):
        eb.fit(dropped, x, y, method=T.IBPTraining(), epochs=1)
    with pytest.raises(ValueError, match="class indices"):
        eb.fit(model, x, np.full((4, 3), 1 / 3, np.float32), method=T.IBPTraining(), epochs=1)
    certificate = eb.evaluation.IBPCertificate(0.1)
    with pytest.raises(ValueError, match=r"^y: wanted \d+ class indices, one per row of x, got shape \(2,\)"):
        certificate.certify(model, x, y[:2])
    with pytest.raises(ValueError, match=r"^y: wanted class indices from 0 to 2"):
        certificate.certify(model, x, y + 7)
    with pytest.raises(ValueError, match=r"^x: .*within the bounds"):
        certificate.certify(model, x + 5, y)
    with pytest.raises(ValueError, match=r"^eps"):
        eb.evaluation.IBPCertificate(-1.0)


# ---- certificates


@pytest.fixture(scope="module")
def robust() -> Any:
    """A small net that was trained for certificates on real digits."""
    x, y = (a[:3000] for a in eb.datasets.load("mnist-subset", "train"))
    model = eb.models.mlp([784, 50, 10], seed=0)
    eb.fit(model, x, y, method=T.IBPTraining(eps=0.06, warmup=0.1, ramp=0.4), epochs=20, batch_size=50)
    return model


def test_certified_rows_are_right_and_no_attack_turns_them(robust: Any) -> None:
    x, y = (a[:500] for a in eb.datasets.load("mnist-subset", "test"))
    certified = eb.evaluation.IBPCertificate(0.05).certify(robust, x, y)
    standard = eb.models.mlp([784, 100, 10], seed=0)
    eb.fit(standard, *(a[:3000] for a in eb.datasets.load("mnist-subset", "train")), epochs=5)
    assert certified.mean() > 0.5
    assert eb.evaluation.IBPCertificate(0.05).certify(standard, x, y).mean() < certified.mean() - 0.3
    assert (robust.predict(x) == y)[certified].all()
    x_adv = eb.pgd(robust, x, y, eps=0.05, steps=20, restarts=2)
    attacked = robust.predict(x_adv) == y
    assert attacked[certified].all()
    assert certified.mean() <= attacked.mean()


def test_eliding_the_last_layer_certifies_no_less(robust: Any) -> None:
    x, y = eb.datasets.load("mnist-subset", "test")
    low, high = np.clip(x - 0.05, 0, 1), np.clip(x + 0.05, 0, 1)
    lower, upper = robust.output_bounds(low.astype(np.float32), high.astype(np.float32))
    rows = np.arange(len(x))
    upper[rows, y] = -np.inf
    through_logits = lower[rows, y] > upper.max(axis=1)
    elided = eb.evaluation.IBPCertificate(0.05).certify(robust, x, y)
    assert through_logits.mean() > 0.2
    assert elided[through_logits].all()


@pytest.mark.parametrize("classes", [1, 3])
def test_intervals_of_a_linear_model_certify_what_is_exactly_robust(table: str, classes: int) -> None:
    """With the last layer elided there is nothing left to lose; only rows at the very edge may differ."""
    model = engine(random_net([17, classes], scale=0.5))
    x = batch(200, 17)
    y = model.predict(x)
    exact = eb.evaluation.LinearCertificate(0.1).certify(model, x, y)
    ours = eb.evaluation.IBPCertificate(0.1).certify(model, x, y)
    assert 0.2 < exact.mean() < 0.98
    assert exact[ours].all()
    assert (exact != ours).sum() <= 1
    assert eb.exact_robust_accuracy(model, x, y, eps=0.1) == exact.mean()


def test_a_margin_that_float32_logits_lose_is_not_certified(table: str) -> None:
    """Logits 10,000 x + 1e-5 and 10,000 x are apart, but as float32 they are equal, and the first class wins."""
    model = eb.Sequential([eb.Linear(1, 1), eb.ReLU(), eb.Linear(1, 2)], input_shape=(1,))
    weights = {"0.weight": [[1.0]], "0.bias": [0.0], "2.weight": [[1e4], [1e4]], "2.bias": [0.0, 1e-5]}
    model.load_parameters({name: np.array(value) for name, value in weights.items()})
    x, y = np.array([[0.5]], np.float32), np.array([1])
    assert model.predict(x) == 0
    assert not eb.evaluation.IBPCertificate(0.1).certify(model, x, y).any()
    model.load_parameters({**model.parameters(), "2.bias": np.array([0.0, 0.1])})
    assert eb.evaluation.IBPCertificate(0.1).certify(model, x, y).all()


def test_numeric_differences_see_the_radius() -> None:
    """The oracle of the gradient is not flat in eps: a gradient that forgot the radius would fail above."""
    net = random_net([7, 5, 3], "tanh")
    x, y = batch(12, 7).astype(np.float64), labels(12, 3)

    def objective(n: Net, eps: float) -> float:
        centre, radius = interval_logits(n, x - eps, x + eps)
        return float(np.mean(ce(centre + worst_signs(y, 3) * radius, y)))

    with_radius, without = (numeric(net, lambda n, e=e: objective(n, e)) for e in (EPS, 0.0))
    assert max(np.abs(a - b).max() for a, b in zip(with_radius, without, strict=True)) > 0.05
