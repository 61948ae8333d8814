"""Training methods: the parameter gradient is that of the paper's formula, differentiated numerically in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch, engine, labels
from epsball.training.fit import _order
from oracle import Array, Net, random_net
from oracle_random import normals, uniforms

T = eb.training
ROWS, FEATURES, CLASSES = 12, 7, 3
# Parameters are near 1 and stored in float32, twice; the gradients themselves are sums of a few products.
CLOSE = 3e-6
EPS, SIZE = 0.125, 0.0625


def problem(classes: int = CLASSES) -> tuple[Net, Array, np.ndarray]:
    """A smooth net, rows far enough from the box, and labels."""
    x = batch(ROWS, FEATURES, low=0.3, high=0.7)
    return random_net([FEATURES, 5, classes], "tanh"), x.astype(np.float64), labels(ROWS, classes)


def gradient_taken(net: Net, x: Array, y: np.ndarray, method: Any, **options: Any) -> list[Array]:
    """The parameter gradient of a single step of gradient descent at rate 1."""
    model = engine(net)
    before = [p.astype(np.float64) for p in model.parameters().values()]
    options = {"batch_size": len(x), **options}
    eb.fit(model, x.astype(np.float32), y, method=method, epochs=1, optimizer=T.SGD(lr=1.0), **options)
    return [b - a.astype(np.float64) for b, a in zip(before, model.parameters().values(), strict=True)]


def numeric(net: Net, objective: Callable[[Net], float], h: float = 1e-5) -> list[Array]:
    """Central differences of the objective over all parameters."""
    net = copy.deepcopy(net)
    gradients = []
    for w, b in zip(net.weights, net.biases, strict=True):
        for p in (w, b):
            g = np.zeros_like(p)
            for i in np.ndindex(p.shape):
                kept = p[i]
                p[i] = kept + h
                up = objective(net)
                p[i] = kept - h
                g[i] = (up - objective(net)) / (2 * h)
                p[i] = kept
            gradients.append(g)
    return gradients


def descends(net: Net, x: Array, y: np.ndarray, method: Any, objective: Callable[[Net], float], **options: Any) -> None:
    atol = options.pop("atol", CLOSE)
    wanted = numeric(net, objective)
    assert max(np.abs(g).max() for g in wanted) > 1e-2
    for got, g in zip(gradient_taken(net, x, y, method, **options), wanted, strict=True):
        np.testing.assert_allclose(got, g, rtol=1e-5, atol=atol)


# ---- the papers' terms


def log_softmax(z: Array) -> Array:
    if z.shape[1] == 1:
        z = np.hstack([np.zeros_like(z), z])
    return z - np.logaddexp.reduce(z, axis=1, keepdims=True)


def softmax(z: Array) -> Array:
    return np.exp(log_softmax(z))


def kl(z: Array, other: Array) -> Array:
    """KL(p || q) of each row."""
    p, q = log_softmax(z), log_softmax(other)
    return (np.exp(p) * (p - q)).sum(axis=1)


def ce(z: Array, y: np.ndarray) -> Array:
    return -log_softmax(z)[np.arange(len(z)), y]


def square(z: Array) -> Array:
    return (z**2).sum(axis=1)


def signed_step(net: Net, start: Array, x: Array, g: Array, size: float = SIZE) -> Array:
    assert np.abs(g).min() > 1e-9, "an undecided sign: choose another seed"
    return np.clip(np.clip(start + size * np.sign(g), x - EPS, x + EPS), 0, 1)


def pgd_points(net: Net, x: Array, y: np.ndarray, start: Array | None = None, size: float = SIZE) -> Array:
    """One step on the cross-entropy, from x or elsewhere."""
    start = x if start is None else start
    return signed_step(net, start, x, net.input_gradient(start, y), size)


def towards(net: Net, z: Array, x: Array) -> Array:
    """The gradient at x of KL(p || p(x)), p the softmax of z held constant."""
    run = net.forward(x)
    g = softmax(run.logits) - softmax(z)
    return net.backward(run, g[:, 1:] if net.classes == 1 else g).inputs


INNER = {"eps": EPS, "steps": 1, "step_size": SIZE}


# ---- attacks inside


@pytest.mark.parametrize("classes", [1, 3])
def test_trades(table: str, classes: int) -> None:
    """J(x, y) + beta KL(p(x) || p(x_adv)), the attack ascending the divergence from x + 0.001 N (1901.08573)."""
    net, x, y = problem(classes)
    start = x + 0.001 * normals(ROWS, FEATURES)
    x_adv = signed_step(net, start, x, towards(net, net(x), start))
    descends(net, x, y, T.TRADES(**INNER, beta=4.0), lambda n: np.mean(ce(n(x), y) + 4.0 * kl(n(x), n(x_adv))))


@pytest.mark.parametrize("classes", [1, 3])
def test_mart(table: str, classes: int) -> None:
    """BCE(x_adv) + lam KL (1 - p_y(x)) (Wang et al. 2020, equations 8 to 11)."""
    net, x, y = problem(classes)
    x_adv, rows = pgd_points(net, x, y), np.arange(ROWS)

    def objective(n: Net) -> float:
        p, q = softmax(n(x)), softmax(n(x_adv))
        others = q.copy()
        others[rows, y] = -np.inf
        bce = -np.log(q[rows, y]) - np.log(1 - others.max(axis=1))
        return float(np.mean(bce + 3.0 * kl(n(x), n(x_adv)) * (1 - p[rows, y])))

    descends(net, x, y, T.MART(**INNER, random_start=False, lam=3.0), objective)


@pytest.mark.parametrize("classes", [1, 3])
def test_alp(table: str, classes: int) -> None:
    """The mixed loss plus lam ||z(x) - z(x_adv)||^2, the gradient through both (1803.06373)."""
    net, x, y = problem(classes)
    x_adv = pgd_points(net, x, y)

    def objective(n: Net) -> float:
        return float(np.mean(0.25 * ce(n(x), y) + 0.75 * ce(n(x_adv), y) + 0.7 * square(n(x) - n(x_adv))))

    descends(net, x, y, T.ALP(**INNER, random_start=False, clean_weight=0.25, lam=0.7), objective)


def test_fgsm_with_predicted_labels(table: str) -> None:
    net, x, _ = problem()
    predicted = net.predict(x)
    y = (predicted + 1) % CLASSES  # always others than predicted
    x_adv = pgd_points(net, x, predicted)
    method = T.FGSMTraining(eps=SIZE, alpha=0.25, labels="predicted")
    descends(net, x, y, method, lambda n: np.mean(0.25 * ce(n(x), y) + 0.75 * ce(n(x_adv), y)))


def test_rfgsm_training(table: str) -> None:
    """alpha along random signs, then eps - alpha along the gradient's (1705.07204)."""
    net, x, y = problem()
    start = x + np.where(uniforms(ROWS, FEATURES) < 0.5, -0.025, 0.025)
    x_adv = pgd_points(net, x, y, start, EPS - 0.025)
    method = T.RFGSMTraining(eps=EPS, alpha=0.025, clean_weight=0.5)
    descends(net, x, y, method, lambda n: np.mean(0.5 * ce(n(x), y) + 0.5 * ce(n(x_adv), y)))


def test_fast_training(table: str) -> None:
    """One step of 1.25 eps from a uniform start, back into the ball (2001.03994)."""
    net, x, y = problem()
    start = x + (2 * uniforms(ROWS, FEATURES) - 1) * EPS
    x_adv = pgd_points(net, x, y, start, 1.25 * EPS)
    descends(net, x, y, T.FastTraining(eps=EPS), lambda n: np.mean(ce(n(x_adv), y)))


def test_free_training(table: str) -> None:
    """Each batch is trained on m times, its perturbation moving by the same gradients and going on to the next."""
    net, x, y = problem()
    model = engine(net)
    method = T.FreeTraining(eps=0.0625, replays=2, bounds=(0.25, 0.75))
    eb.fit(model, x.astype(np.float32), y, method=method, epochs=1, batch_size=ROWS // 2, optimizer=T.SGD(lr=0.5))
    order, perturbation = _order(ROWS, 0), np.zeros((ROWS // 2, FEATURES))
    for ids in (order[: ROWS // 2], order[ROWS // 2 :]):
        for _ in range(2):
            back = net.gradient(np.clip(x[ids] + perturbation, 0.25, 0.75), y[ids])
            assert (np.abs(back.inputs) > back.input_errors).all(), "an undecided sign: choose another seed"
            perturbation = np.clip(perturbation + 0.0625 * np.sign(back.inputs), -0.0625, 0.0625)
            for p, (g, _) in zip(parameters(net), back.parameters(), strict=True):
                p -= 0.5 * g / len(ids)
    for got, wanted in zip(model.parameters().values(), parameters(net), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=CLOSE)


def parameters(net: Net) -> list[Array]:
    return [p for both in zip(net.weights, net.biases, strict=True) for p in both]


@pytest.mark.parametrize("clean_weight", [0.0, 0.5])
def test_pgd_training(table: str, clean_weight: float) -> None:
    """The last point of several steps from a uniform start (1706.06083); half clean, it is M-PGD (1803.06373)."""
    net, x, y = problem()
    x_adv = x + (2 * uniforms(ROWS, FEATURES) - 1) * EPS
    for _ in range(3):
        x_adv = pgd_points(net, x, y, x_adv)
    method = T.PGDTraining(eps=EPS, steps=3, step_size=SIZE, clean_weight=clean_weight)
    descends(net, x, y, method, lambda n: np.mean(clean_weight * ce(n(x), y) + (1 - clean_weight) * ce(n(x_adv), y)))


def test_l1_training(table: str) -> None:
    """The steepest step of an L1 ball goes along the largest derivative alone."""
    net, x, y = problem()
    g = net.input_gradient(x, y)
    order = np.sort(np.abs(g), axis=1)
    assert (order[:, -1] > order[:, -2] + 1e-6).all(), "two largest derivatives: choose another seed"
    x_adv = x + 0.2 * np.where(np.abs(g) == order[:, -1:], np.sign(g), 0)
    method = T.PGDTraining(eps=0.2, steps=1, step_size=0.2, norm="l1", random_start=False, bounds=None)
    descends(net, x, y, method, lambda n: np.mean(ce(n(x_adv), y)))


def test_l2_training(table: str) -> None:
    net, x, y = problem()
    g = net.input_gradient(x, y)
    x_adv = x + 0.2 * g / np.linalg.norm(g, axis=1, keepdims=True)
    method = T.PGDTraining(eps=0.2, steps=1, step_size=0.2, norm="l2", random_start=False, bounds=None)
    descends(net, x, y, method, lambda n: np.mean(ce(n(x_adv), y)))


def test_ensemble_training_attacks_each_model_by_turns(table: str) -> None:
    """Every batch is attacked on the model in training or on one of the static ones (1705.07204)."""
    net, x, y = problem()
    others = [random_net([FEATURES, 5, CLASSES], "tanh", seed=s) for s in (1, 2)]
    method = T.EnsembleTraining(eps=SIZE, models=tuple(engine(n) for n in others), clean_weight=0.5)
    wanted = []
    for attacked in (net, *others):
        x_adv = np.clip(x + SIZE * np.sign(attacked.input_gradient(x, y)), 0, 1)
        wanted.append(numeric(net, lambda n, z=x_adv: np.mean(0.5 * ce(n(x), y) + 0.5 * ce(n(z), y))))
    seen = set()
    for seed in range(20):
        got = gradient_taken(net, x, y, method, seed=seed)
        near = [max(np.abs(g - w).max() for g, w in zip(got, one, strict=True)) < CLOSE for one in wanted]
        assert near.count(True) == 1
        seen.add(near.index(True))
    assert seen == {0, 1, 2}


@pytest.mark.parametrize("classes", [1, 3])
def test_vat(table: str, classes: int) -> None:
    """J over labelled rows plus lam KL(p(x) || p(x + r)), p(x) constant, r by one power iteration (1704.03976)."""
    net, x, y = problem(classes)
    y = np.where(np.arange(ROWS) % 3 == 1, -1, y)
    d = normals(ROWS, FEATURES)
    xi = 0.1  # large enough that float32 has the direction to four digits
    g = towards(net, net(x), x + xi * d / np.linalg.norm(d, axis=1, keepdims=True))
    x_adv, p = x + 0.5 * g / np.linalg.norm(g, axis=1, keepdims=True), net(x)
    labelled = y >= 0

    def objective(n: Net) -> float:
        return float(np.mean(ce(n(x[labelled]), y[labelled])) + 0.8 * np.mean(kl(p, n(x_adv))))

    descends(net, x, y, T.VAT(eps=0.5, lam=0.8, xi=xi), objective, atol=2e-5)


def test_vat_finds_the_direction_at_its_default_xi(table: str) -> None:
    """For softmax regression the divergence's Hessian is W^T (diag p - p p^T) W; enough iterations find its top."""
    model = eb.models.linear(FEATURES, CLASSES, seed=1)
    net = random_net([FEATURES, CLASSES])
    model = engine(net)
    x, y = batch(ROWS, FEATURES, low=0.3, high=0.7), np.full(ROWS, -1)
    y[0] = 0
    p = softmax(net(x))
    gains = []
    for iterations in (1, 30):
        fitted = copy.deepcopy(model)
        history = eb.fit(fitted, x, y, method=T.VAT(eps=0.1, iterations=iterations, lam=100.0), epochs=1,
                         batch_size=ROWS, optimizer=T.SGD(lr=0.0))  # fmt: skip
        gains.append((history.epochs[0]["train_loss"] - ce(net(x[:1]), y[:1])[0]) / 100.0)
    best = []
    for row in range(ROWS):
        fisher = net.weights[0].T @ (np.diag(p[row]) - np.outer(p[row], p[row])) @ net.weights[0]
        top = np.linalg.eigh(fisher)[1][:, -1]
        best.append(max(kl(net(x[row : row + 1]), net(x[row : row + 1] + s * 0.1 * top))[0] for s in (-1, 1)))
    assert gains[0] < gains[1]
    assert gains[1] == pytest.approx(np.mean(best), rel=0.05)  # either end of the axis may be reached


# ---- noise, labels, logits


DRAWS = {
    "gaussian": lambda: 0.1 * normals(ROWS, FEATURES),
    "uniform": lambda: 0.1 * (2 * uniforms(ROWS, FEATURES) - 1),
    "signs": lambda: np.where(uniforms(ROWS, FEATURES) < 0.5, -0.1, 0.1),
}


@pytest.mark.parametrize("bounds", [None, (0.375, 0.625)])
@pytest.mark.parametrize("kind", DRAWS)
def test_noise_training(table: str, kind: str, bounds: Any) -> None:
    net, x, y = problem()
    if bounds:
        x = np.clip(x, *bounds)
    noisy = x + DRAWS[kind]()
    if bounds:
        assert ((noisy < bounds[0]) | (noisy > bounds[1])).any()
        noisy = np.clip(noisy, *bounds)
    method = T.NoiseTraining(sigma=0.1, kind=kind, clean_weight=0.25, bounds=bounds)
    descends(net, x, y, method, lambda n: np.mean(0.25 * ce(n(x), y) + 0.75 * ce(n(noisy), y)))


def test_smoothing_training_is_gaussian_noise_without_a_box(table: str) -> None:
    net, x, y = problem()
    noisy = x + 0.25 * normals(ROWS, FEATURES)
    descends(net, x, y, T.SmoothingTraining(sigma=0.25), lambda n: np.mean(ce(n(noisy), y)))


@pytest.mark.parametrize("classes", [1, 3])
def test_label_smoothing(table: str, classes: int) -> None:
    """Targets (1 - s) y + s / K (1512.00567)."""
    net, x, y = problem(classes)
    kinds = max(classes, 2)
    t = 0.8 * np.eye(kinds)[y] + 0.2 / kinds
    descends(net, x, y, T.LabelSmoothing(0.2), lambda n: -np.mean((t * log_softmax(n(x))).sum(axis=1)))


@pytest.mark.parametrize("classes", [1, 3])
def test_logit_squeezing(table: str, classes: int) -> None:
    net, x, y = problem(classes)
    noisy = x + 0.1 * normals(ROWS, FEATURES)
    method = T.LogitSqueezing(lam=0.6, sigma=0.1)
    descends(net, x, y, method, lambda n: np.mean(ce(n(noisy), y) + 0.6 * square(n(noisy))))


@pytest.mark.parametrize("rows", [ROWS, ROWS - 1])
def test_clp(table: str, rows: int) -> None:
    """The first half of the batch is paired with the second; an odd last row is left out (1803.06373)."""
    net, x, y = problem()
    noisy = (x + 0.1 * normals(ROWS, FEATURES))[:rows]
    order = _order(rows, 0)
    half = rows // 2
    a, b = order[:half], order[half : 2 * half]

    def objective(n: Net) -> float:
        losses = ce(n(noisy[a]), y[a]) + ce(n(noisy[b]), y[b])
        return float(np.mean(0.5 * losses + 0.6 * square(n(noisy[a]) - n(noisy[b]))))

    descends(net, x[:rows], y[:rows], T.CLP(lam=0.6, sigma=0.1), objective)


@pytest.mark.parametrize("classes", [1, 3])
def test_distillation(table: str, classes: int) -> None:
    """Cross-entropy at the temperature, to the labels or to the teacher's probabilities there (1511.04508)."""
    net, x, y = problem(classes)
    teacher = random_net([FEATURES, classes], seed=3, scale=8.0)
    descends(net, x, y, T.Distillation(0.5), lambda n: np.mean(ce(n(x) / 0.5, y)))
    t = softmax(teacher(x) / 5.0)
    method = T.Distillation(5.0, engine(teacher))
    descends(net, x, y, method, lambda n: -np.mean((t * log_softmax(n(x) / 5.0)).sum(axis=1)))


# ---- the input gradient


def test_double_backprop(table: str) -> None:
    """J + lam ||dJ/dx||^2 (Drucker and LeCun 1992), the penalty's gradient being a central difference."""
    net, x, y = problem()
    g = net.input_gradient(x, y)
    h, lam = 0.05, 2.0

    def difference(n: Net) -> float:
        return float(np.mean(ce(n(x), y) + lam / h * (ce(n(x + h * g), y) - ce(n(x - h * g), y))))

    def penalised(n: Net) -> float:
        return float(np.mean(ce(n(x), y) + lam * square(n.input_gradient(x, y))))

    method = T.DoubleBackprop(lam=lam, h=h)
    descends(net, x, y, method, difference, atol=2e-5)  # rounding is divided by h
    descends(net, x, y, method, penalised, atol=2e-4)  # and h^2 is cut off
    history = eb.fit(engine(net), x.astype(np.float32), y, method=method, epochs=1, batch_size=ROWS)
    assert history.epochs[0]["train_loss"] == pytest.approx(penalised(net), rel=1e-4)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_double_backprop_of_piecewise_linear_units_does_not_see_the_kinks_beside_a_row(
    table: str, activation: str
) -> None:
    """Units stay on the pieces that x is on, as in the exact second derivative, though x + h g is on others."""
    x, y = batch(ROWS, FEATURES, low=0.3, high=0.7).astype(np.float64), labels(ROWS, CLASSES)
    net = random_net([FEATURES, 24, 16, CLASSES], activation, seed=1, scale=1.5)
    h, lam = 0.05, 2.0
    hidden = [np.concatenate(net.forward(at).before[:-1], axis=1) for at in (x, x + h * net.input_gradient(x, y))]
    assert ((hidden[0] > 0) != (hidden[1] > 0)).any(), "no kink between the points: choose another seed"
    assert np.abs(hidden[0]).min() > 1e-4, "a kink within the numeric derivative: choose another seed"

    def penalised(n: Net) -> float:
        return float(np.mean(ce(n(x), y) + lam * square(n.input_gradient(x, y))))

    descends(net, x, y, T.DoubleBackprop(lam=lam, h=h), penalised, atol=5e-3)
    descends(net, x, y, T.DoubleBackprop(lam=lam, h=h / 10), penalised, atol=5e-4)


def test_double_backprop_of_a_cnn_is_that_of_torch_in_float64(table: str) -> None:
    torch = pytest.importorskip("torch")
    model = eb.Sequential(
        [eb.Conv2d(2, 5, 3, padding=1), eb.ReLU(), eb.Conv2d(5, 7, 3, stride=2), eb.ReLU(), eb.Flatten(),
         eb.Linear(63, 11), eb.ReLU(), eb.Linear(11, 3)], input_shape=(2, 8, 8), seed=3,
    )  # fmt: skip
    x, y = batch(20, 128).reshape(20, 2, 8, 8), labels(20, 3)
    net = eb.to_torch(model).double()
    inputs = torch.from_numpy(x.astype(np.float64)).requires_grad_()
    loss = torch.nn.functional.cross_entropy(net(inputs), torch.from_numpy(y), reduction="sum")
    (g,) = torch.autograd.grad(loss, inputs, create_graph=True)
    objective = (loss + 10.0 * (g**2).sum()) / len(x)
    wanted = [p.numpy() for p in torch.autograd.grad(objective, list(net.parameters()))]
    before = model.parameters()
    method = T.DoubleBackprop(lam=10.0)
    eb.fit(model, x, y, method=method, epochs=1, batch_size=len(x), optimizer=T.SGD(lr=1.0))
    got = [before[name] - after for name, after in model.parameters().items()]
    scale = max(np.abs(w).max() for w in wanted)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-3 * scale)


def test_fgsm_training_of_a_linear_model_is_the_closed_form(table: str) -> None:
    """E zeta(eps ||w||_1 - y (w x + b)), y = -1 or 1: the worst case in the ball, exactly (1412.6572, corrected)."""
    net = random_net([FEATURES, 1])
    x, y = batch(ROWS, FEATURES).astype(np.float64), labels(ROWS, 1)
    side = 2.0 * y - 1

    def objective(n: Net) -> float:
        w, b = n.weights[0][0], n.biases[0][0]
        return float(np.mean(np.logaddexp(0, EPS * np.abs(w).sum() - side * (x @ w + b))))

    descends(net, x, y, T.FGSMTraining(eps=EPS, alpha=0.0), objective)


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2), ("l1", np.inf)])
def test_linear_training_minimises_the_closed_form(table: str, norm: str, dual: float) -> None:
    """E zeta(eps ||w||_q - y (w x + b)) for the dual norm q; the loss that is reported is that value."""
    net = random_net([FEATURES, 1])
    x, y = batch(ROWS, FEATURES).astype(np.float64), labels(ROWS, 1)
    side = 2.0 * y - 1

    def objective(n: Net) -> float:
        w, b = n.weights[0][0], n.biases[0][0]
        return float(np.mean(np.logaddexp(0, EPS * np.linalg.norm(w, dual) - side * (x @ w + b))))

    method = T.LinearTraining(eps=EPS, norm=norm)
    descends(net, x, y, method, objective)
    history = eb.fit(engine(net), x.astype(np.float32), y, method=method, epochs=1, batch_size=ROWS)
    assert history.epochs[0]["train_loss"] == pytest.approx(objective(net), rel=1e-5)


def test_linear_training_is_interval_training_of_logistic_regression(table: str) -> None:
    net = random_net([FEATURES, 1])
    x, y = batch(ROWS, FEATURES), labels(ROWS, 1)
    intervals = T.IBPTraining(eps=EPS, kappa=0.0, bounds=None, warmup=0.0, ramp=0.0)
    ours = gradient_taken(net, x.astype(np.float64), y, T.LinearTraining(eps=EPS))
    for a, b in zip(ours, gradient_taken(net, x.astype(np.float64), y, intervals), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=CLOSE)


def test_adversarial_training_of_linear_models_stops_where_the_margin_is_large() -> None:
    """It looks like L1 decay, but on data that are far apart it lets the weights grow, which decay never does."""
    x = np.array([[0.0], [1.0]], np.float32)
    weights = []
    for eps, l1 in ((0.25, 0.0), (0.0, 0.25)):
        model = eb.models.linear(1, 1, seed=0)
        eb.fit(model, x, np.array([0, 1]), method=T.LinearTraining(eps=eps), epochs=3000, batch_size=2,
               optimizer=T.SGD(lr=0.5, l1=l1))  # fmt: skip
        weights.append(abs(float(next(iter(model.parameters().values()))[0, 0])))
    assert weights[0] > 10
    assert weights[1] < 2


def test_pgd_training_of_an_rbf_network(digits: dict[str, np.ndarray]) -> None:
    """Adversarial training runs on RBF networks, and lowers what attacks make of the loss."""
    x, y = digits["x"][:1000].reshape(1000, -1), digits["y"][:1000]
    xt, yt = digits["xt"][:300].reshape(300, -1), digits["yt"][:300]
    losses = []
    for method in (T.Standard(), T.PGDTraining(eps=0.2, steps=3)):
        model = eb.models.rbf(784, 10, data=(x, y))
        eb.fit(model, x, y, method=method, epochs=10, loss="confidence", optimizer=T.Adam(lr=1e-2))
        x_adv = eb.pgd(model, xt, yt, eps=0.2, steps=10, loss="confidence")
        losses.append(float(model.loss(x_adv, yt, loss="confidence").mean()))
    assert losses[1] < 0.9 * losses[0]


# ---- losses reported, stopping, refusals


def test_reported_losses_are_the_objectives(table: str) -> None:
    net, x, y = problem()
    x_adv = pgd_points(net, x, y)
    wanted = {
        T.ALP(**INNER, random_start=False, clean_weight=0.25, lam=0.7): np.mean(
            0.25 * ce(net(x), y) + 0.75 * ce(net(x_adv), y) + 0.7 * square(net(x) - net(x_adv))
        ),
        T.LogitSqueezing(lam=0.6, sigma=0.0): np.mean(ce(net(x), y) + 0.6 * square(net(x))),
        T.CLP(lam=0.0, sigma=0.0): np.mean(ce(net(x), y)),
    }
    for method, loss in wanted.items():
        history = eb.fit(engine(net), x.astype(np.float32), y, method=method, epochs=1, batch_size=ROWS)
        assert history.epochs[0]["train_loss"] == pytest.approx(loss, rel=1e-5)


def test_free_training_counts_its_replays() -> None:
    net, x, y = problem()
    for replays in (1, 3):
        history = eb.fit(engine(net), x.astype(np.float32), y, method=T.FreeTraining(replays=replays), epochs=1)
        assert history.epochs[0]["sample_steps"] == ROWS * replays


def test_fast_training_has_an_optimizer_of_its_own() -> None:
    net, x, y = problem()
    history = eb.fit(engine(net), x.astype(np.float32), y, method=T.FastTraining(eps=0.1), epochs=20, batch_size=ROWS)
    rates = history.columns("learning_rate")
    assert rates[0] == 0
    assert max(rates) == pytest.approx(5e-3)
    assert rates.index(max(rates)) == 8  # two fifths of the way
    assert rates[-1] == pytest.approx(5e-3 / 12)


def test_fast_training_stops_on_collapse_with_the_weights_before_it() -> None:
    def run(epochs: int, collapse: float | None) -> tuple[Any, Any]:
        model = eb.models.mlp([FEATURES, 17, CLASSES], seed=1)
        x, y = batch(60, FEATURES), labels(60, CLASSES)
        history = eb.fit(model, x, y, method=T.FastTraining(eps=0.05, collapse=collapse), epochs=epochs, batch_size=10,
                         optimizer=T.SGD(lr=1.0))  # fmt: skip
        return model, history

    errors = run(30, None)[1].columns("train_adversarial_error")
    rises = [i for i in range(1, 30) if errors[i] - errors[i - 1] > 0.05]
    assert rises, "the error was to jump: choose another rate"
    model, history = run(30, 0.05)
    assert len(history.epochs) == rises[0] + 1
    before = run(rises[0], None)[0]
    for p, q in zip(model.parameters().values(), before.parameters().values(), strict=True):
        np.testing.assert_array_equal(p, q)


def refused(match: str, method: Any, y: Any = None, model: Any = None, kind: Any = ValueError, **options: Any) -> None:
    net, x, own = problem()
    with pytest.raises(kind, match=match):
        eb.fit(model or engine(net), x.astype(np.float32), own if y is None else y, method=method, epochs=1, **options)


def test_what_a_method_cannot_train_on_is_refused() -> None:
    soft = np.full((ROWS, CLASSES), 1 / CLASSES, np.float32)
    for method in (T.MART(steps=1), T.LabelSmoothing(), T.VAT()):
        refused(r"y: .* class indices", method, soft)
    refused(r"batch_size: CLP", T.CLP(), batch_size=ROWS - 1)
    refused("y", T.Standard(), np.full(ROWS, -1))
    refused("y", T.VAT(), np.full(ROWS, -2))
    refused("y: VAT wants at least one row with a label", T.VAT(), np.full(ROWS, -1))
    dropped = eb.models.mlp([FEATURES, 5, CLASSES], dropout=0.5)
    refused("model: DoubleBackprop", T.DoubleBackprop(), model=dropped)
    refused("model: LinearTraining", T.LinearTraining())
    other = eb.models.linear(FEATURES, CLASSES)
    refused("models", T.EnsembleTraining(models=(other,)), model=other)
    refused("models", T.EnsembleTraining(models=(eb.models.linear(FEATURES, 2),)))
    refused("teacher", T.Distillation(5.0, eb.models.linear(FEATURES, 2)))
    refused("teacher", T.Distillation(5.0, other), model=other)
    with pytest.raises(ValueError, match="models"):
        T.EnsembleTraining()
    refused("loss: LabelSmoothing trains on one value per class", T.LabelSmoothing(), loss="margin")
    refused("loss: Distillation trains on one value per class", T.Distillation(5.0, other), loss="dlr")
