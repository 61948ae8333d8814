"""Gradient sources: models outside the engine give what the engine's own would, and only the model is called."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import LOSSES, batch, constant_model, labels, soft_labels
from epsball.sources import GradientSource
from oracle import random_net

FEATURES, CLASSES, ROWS = 20, 5, 60
A = eb.attacks
ATTACKS: dict[str, Any] = {
    "fgsm": A.FGSM(eps=0.1),
    "fgm-l2": A.FGSM(eps=0.4, norm="l2"),
    "rfgsm": A.RFGSM(eps=0.1, seed=1),
    "bim": A.BIM(eps=0.1, steps=3),
    "ilcm": A.ILCM(eps=0.1, steps=3),
    "pgd": A.PGD(eps=0.1, steps=6, seed=2),
    "restarts": A.PGD(eps=0.05, steps=4, restarts=3, seed=3),
    "early": A.PGD(eps=0.05, steps=4, restarts=3, early_stop=True, seed=3),
    "targeted": A.PGD(eps=0.1, steps=6, targeted=True),
    "l2": A.PGD(eps=0.4, norm="l2", steps=6),
    "l1": A.PGD(eps=1.0, norm="l1", steps=6),
    "margin": A.PGD(eps=0.1, steps=6, loss="margin"),
    "squared": A.PGD(eps=0.1, steps=6, loss="squared_error"),
    "mask": A.PGD(eps=0.2, steps=6, mask=np.arange(FEATURES) % 2),
    "virtual adversarial": A.VirtualAdversarial(eps=0.4, xi=1.0, seed=2),  # so long that rounding does not turn it
    "per row": A.PGD(eps=np.linspace(0.0, 0.2, ROWS), steps=6),
    "box per feature": A.PGD(eps=0.1, steps=6, bounds=(np.full(FEATURES, -0.5), np.linspace(1.0, 1.2, FEATURES))),
}


class Network:
    """A small network in NumPy, which counts the rows of its calls; weights of a seeded oracle net."""

    def __init__(self, features: int = FEATURES, classes: int = CLASSES) -> None:
        net = random_net([features, 32, classes], "relu", 0, 2.0)
        self.weights = [np.asarray(w, np.float32) for w in net.weights]
        self.biases = [np.asarray(b, np.float32) for b in net.biases]
        self.rows: list[int] = []
        self.gradient_rows: list[int] = []

    def own(self) -> Any:
        (first, second), (a, b) = self.weights, self.biases
        model = eb.Sequential([eb.Linear(*first.T.shape), eb.ReLU(), eb.Linear(*second.T.shape)], (first.shape[1],))
        model.load_parameters({"0.weight": first, "0.bias": a, "2.weight": second, "2.bias": b})
        return model

    def logits(self, x: Any) -> Any:
        self.rows.append(len(x))
        hidden = np.maximum(x.reshape(len(x), -1) @ self.weights[0].T + self.biases[0], 0)
        return hidden @ self.weights[1].T + self.biases[1]

    def input_gradient(self, x: Any, dlogits: Any) -> Any:
        self.gradient_rows.append(len(x))
        on = x.reshape(len(x), -1) @ self.weights[0].T + self.biases[0] > 0
        return ((dlogits @ self.weights[1]) * on @ self.weights[0]).reshape(x.shape)

    def source(self, **options: Any) -> eb.CallableModel:
        return eb.CallableModel(self.logits, self.input_gradient, classes=len(self.biases[1]), **options)


def torch_source(network: Network, **options: Any) -> Any:
    torch = pytest.importorskip("torch")
    first, second = (torch.nn.Linear(*w.T.shape) for w in network.weights)
    with torch.no_grad():
        for layer, w, b in zip((first, second), network.weights, network.biases, strict=True):
            layer.weight.copy_(torch.from_numpy(w))
            layer.bias.copy_(torch.from_numpy(b))
    return eb.TorchModel(torch.nn.Sequential(torch.nn.Flatten(), first, torch.nn.ReLU(), second), **options)


def jax_source(network: Network, **options: Any) -> Any:
    jax = pytest.importorskip("jax")

    def apply(params: Any, x: Any) -> Any:
        (first, second), (a, b) = params
        return jax.numpy.maximum(x.reshape(len(x), -1) @ first.T + a, 0) @ second.T + b

    return eb.JaxModel(apply, (network.weights, network.biases), **options)


SOURCES: dict[str, Callable[..., Any]] = {
    "callable": lambda network, **options: network.source(**options),
    "torch": torch_source,
    "jax": jax_source,
}


@pytest.fixture(params=SOURCES, scope="module")  # JAX compiles once per source
def source(request: pytest.FixtureRequest) -> Any:
    return SOURCES[request.param](Network())


@pytest.fixture
def own() -> Any:
    return Network().own()


def problem(own: Any) -> tuple[np.ndarray, np.ndarray]:
    """Rows and labels, of which the model gets three in four right."""
    x = batch(ROWS, FEATURES)
    return x, np.where(np.arange(ROWS) % 4 == 0, labels(ROWS, CLASSES), own.predict(x))


def close(actual: Any, wanted: Any) -> None:
    np.testing.assert_allclose(np.asarray(actual), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


# ---- what a source computes


def test_logits_labels_and_probabilities_are_those_of_the_lowered_model(own, source) -> None:
    x, _ = problem(own)
    close(source(x), own(x))
    close(source.probabilities(x), own.probabilities(x))
    np.testing.assert_array_equal(source.predict(x), own.predict(x))
    assert source(x).dtype == np.float32
    assert source.predict(x).dtype == np.int64
    assert source.classes == CLASSES


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_and_input_gradients_are_those_of_the_lowered_model(own, source, loss) -> None:
    x, y = problem(own)
    close(source.loss(x, y, loss=loss), own.loss(x, y, loss=loss))
    close(source.input_gradient(x, y, loss=loss), own.input_gradient(x, y, loss=loss))


def test_soft_labels_and_jacobians_too(own, source) -> None:
    x, p = batch(ROWS, FEATURES), soft_labels(ROWS, CLASSES)
    close(source.input_gradient(x, p), own.input_gradient(x, p))
    close(source.jacobian(x), own.jacobian(x))


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_every_attack_finds_what_it_finds_on_the_lowered_model(own, source, attack) -> None:
    x, y = problem(own)
    wanted, found = attack.run(own, x, y), attack.run(source, x, y)
    np.testing.assert_array_equal(found.success, wanted.success)
    np.testing.assert_array_equal(found.zero_gradient, wanted.zero_gradient)
    np.testing.assert_allclose(found.loss, wanted.loss, rtol=1e-4, atol=1e-5)
    # A sign may turn where a gradient is nearly zero; nowhere here.
    np.testing.assert_allclose(found.x_adv, wanted.x_adv, rtol=0, atol=1e-4)
    assert wanted.success.any()


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_success_is_what_predict_says_of_the_points_and_the_bound_is_hard(own, source, attack) -> None:
    x, y = problem(own)
    for dtype in (np.float32, np.float64, np.float16):
        given = x.astype(dtype)
        result = attack.run(source, given, y)
        assert result.x_adv.dtype == dtype
        right = np.asarray(source.predict(result.x_adv)) == y
        np.testing.assert_array_equal(result.success, right if getattr(attack, "targeted", False) else ~right)
        moved = result.x_adv.astype(np.float64) - given.astype(np.float64)
        norm = {"linf": np.inf, "l2": 2, "l1": 1}[getattr(attack, "norm", "linf")]
        slack = 0.0 if norm == np.inf else 1e-12
        assert (np.linalg.norm(moved, norm, axis=1) <= np.asarray(attack.eps) * (1 + slack)).all()
        lo, hi = attack.bounds
        assert (result.x_adv >= lo).all()
        assert (result.x_adv.astype(np.float64) <= hi).all()


def test_the_models_own_predictions_are_the_labels_where_there_are_none(own, source) -> None:
    x, _ = problem(own)
    np.testing.assert_allclose(eb.pgd(source, x, eps=0.1, steps=3), eb.pgd(own, x, eps=0.1, steps=3), atol=1e-4)


def test_images_reach_the_model_in_its_input_shape_and_come_back_in_the_callers() -> None:
    network, shapes = Network(), []

    def logits(x: Any) -> Any:
        shapes.append(x.shape)
        return network.logits(x)

    x = batch(6, FEATURES)
    as_given = eb.CallableModel(logits, network.input_gradient)
    reshaped = eb.CallableModel(logits, network.input_gradient, input_shape=(1, 4, 5))
    wanted = eb.pgd(network.own(), x, eps=0.1, steps=2)
    assert eb.pgd(as_given, x.reshape(6, 5, 4), eps=0.1, steps=2).shape == (6, 5, 4)
    assert {shape[1:] for shape in shapes} == {(5, 4)}
    shapes.clear()
    found = eb.pgd(reshaped, x, eps=0.1, steps=2)
    assert {shape[1:] for shape in shapes} == {(1, 4, 5)}
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert reshaped.input_gradient(x, None).shape == x.shape


def test_one_logit_is_a_logistic_model() -> None:
    network = Network(classes=1)
    x, y = batch(ROWS, FEATURES), labels(ROWS, 1)
    own, source = network.own(), network.source()
    np.testing.assert_array_equal(source.predict(x), own.predict(x))
    for attack in (A.PGD(eps=0.1, steps=4), A.ILCM(eps=0.1, steps=3)):
        np.testing.assert_allclose(attack(source, x, y), attack(own, x, y), atol=1e-4)


@pytest.mark.parametrize("features", [1, 2, 3, 15, 16, 17, 33])
def test_odd_sizes_stay_within_their_buffers(table, features) -> None:
    eb._native.check_guards(True)
    network = Network(features, 3)
    x, y = batch(7, features), labels(7, 3)
    for attack in (A.PGD(eps=0.1, steps=3, restarts=2, early_stop=True), A.PGD(eps=0.3, norm="l1", steps=3)):
        np.testing.assert_allclose(attack(network.source(), x, y), attack(network.own(), x, y), atol=1e-4)
    close(network.source().jacobian(x), network.own().jacobian(x))


def test_no_rows_are_no_call() -> None:
    network = Network()
    assert eb.pgd(network.source(), np.zeros((0, FEATURES), np.float32), np.zeros(0, int), eps=0.1).shape == (0, 20)
    assert network.source().predict(np.zeros((0, FEATURES))).shape == (0,)
    assert network.rows == []


# ---- what the model is called with


def test_the_whole_batch_is_one_call_unless_a_batch_size_is_given(own) -> None:
    x, y = problem(own)
    whole, parts = Network(), Network()
    a = A.PGD(eps=0.1, steps=3).run(whole.source(), x, y)
    b = A.PGD(eps=0.1, steps=3).run(parts.source(batch_size=25), x, y)
    assert whole.rows == [ROWS] * 4
    assert whole.gradient_rows == [ROWS] * 3
    assert parts.rows == [25] * 8 + [10] * 4
    np.testing.assert_allclose(a.x_adv, b.x_adv, atol=1e-5)
    np.testing.assert_array_equal(a.success, b.success)


def test_solved_rows_are_not_sent_to_the_model_again(own) -> None:
    network = Network()
    x, y = problem(own)
    attack = A.PGD(eps=0.05, steps=4, restarts=3, early_stop=True)
    attack(network.source(), x, y)
    assert network.rows == sorted(network.rows, reverse=True)
    assert network.rows[0] == ROWS
    assert network.rows[1] < ROWS  # one label in four was wrong at the start
    unsolved = (~attack.run(own, x, y).success).sum()
    assert network.rows[-1] == unsolved > 0
    assert sum(network.gradient_rows) <= sum(network.rows)


def test_queries_count_the_rows_sent(own) -> None:
    x, y = problem(own)
    for attack in ATTACKS.values():
        network = Network()
        result = attack.run(network.source(), x, y)
        extra = ROWS if isinstance(attack, A.ILCM) else 0  # its look for the least likely class
        assert result.queries.sum() + extra == sum(network.rows), attack


def test_what_the_model_is_given_is_its_own_to_keep_and_to_change(own) -> None:
    network, kept = Network(), []

    def logits(x: Any) -> Any:
        z = network.logits(x)
        kept.append((x, x.copy()))
        return z

    def scribbling(x: Any) -> Any:
        z = network.logits(x)
        x[:] = np.nan
        return z

    x, y = problem(own)
    before = x.copy(), y.copy()
    wanted = eb.pgd(own, x, y, eps=0.1, steps=3)
    for function in (logits, scribbling):
        found = eb.pgd(eb.CallableModel(function, network.input_gradient), x, y, eps=0.1, steps=3)
        np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert all(np.array_equal(now, then) for now, then in kept)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


def test_the_number_of_classes_is_asked_once_with_one_row() -> None:
    network = Network()
    source = eb.CallableModel(network.logits, network.input_gradient)
    assert source.classes is None
    source.predict(batch(4, FEATURES))
    source.predict(batch(4, FEATURES))
    assert network.rows == [1, 4, 4]
    with pytest.raises(ValueError, match="classes="):
        eb.CallableModel(network.logits, network.input_gradient).predict(np.zeros((0, FEATURES), np.float32))


def test_two_threads_may_attack_one_source(own, source) -> None:
    x, y = problem(own)
    attack = A.PGD(eps=0.1, steps=10, restarts=2, early_stop=True, seed=5)
    wanted = attack.run(source, x, y)
    with ThreadPoolExecutor(2) as pool:
        for result in pool.map(lambda _: attack.run(source, x, y), range(6)):
            np.testing.assert_array_equal(result.x_adv, wanted.x_adv)
            np.testing.assert_array_equal(result.success, wanted.success)


def test_seeds_and_row_indices_key_the_random_start(own, source) -> None:
    x, y = problem(own)
    attack = A.PGD(eps=0.1, steps=0, seed=1)
    np.testing.assert_array_equal(attack(source, x, y), attack(own, x, y))
    assert (A.PGD(eps=0.1, steps=0, seed=2)(source, x, y) != attack(source, x, y)).any()
    part = attack(source, x[30:], y[30:], index=np.arange(30, ROWS))
    np.testing.assert_array_equal(part, attack(source, x, y)[30:])


def test_evaluate_reports_a_source_as_it_reports_a_model(own, source) -> None:
    x, y = problem(own)
    attacks = [A.FGSM(eps=0.1), A.PGD(eps=0.1, steps=4, early_stop=True)]
    wanted, found = eb.evaluate(own, x, y, attacks), eb.evaluate(source, x, y, attacks)
    assert found.clean_accuracy == wanted.clean_accuracy
    np.testing.assert_array_equal(found.robust, wanted.robust)
    assert type(source).__name__ in found.model
    for name, row in found.rows.items():
        steps = [row["sample_steps_per_second"] * row["seconds"] for row in (row, wanted.rows[name])]
        assert steps[0] == pytest.approx(steps[1])


def test_a_zero_gradient_is_reported() -> None:
    flat = eb.CallableModel(lambda x: np.zeros((len(x), 3)), lambda x, dlogits: np.zeros_like(x))
    x = batch(5, FEATURES)
    result = A.PGD(eps=0.1, steps=2).run(flat, x, np.zeros(5, int))
    own = A.PGD(eps=0.1, steps=2).run(constant_model(FEATURES, 3), x, np.zeros(5, int))
    assert result.zero_gradient.all()
    np.testing.assert_array_equal(result.x_adv, own.x_adv)


# ---- errors


class BrokenError(Exception):
    pass


def test_what_the_model_raises_comes_through_unchanged(own) -> None:
    network, error = Network(), BrokenError("the server is down", 503)

    def fail(*_: Any) -> Any:
        raise error

    x, y = problem(own)
    for source in (
        eb.CallableModel(fail, network.input_gradient, classes=CLASSES),
        eb.CallableModel(network.logits, fail, classes=CLASSES),
    ):
        with pytest.raises(BrokenError) as caught:
            eb.pgd(source, x, y, eps=0.1)
        assert caught.value is error
        assert caught.traceback[-1].name == "fail"
    np.testing.assert_allclose(eb.pgd(network.source(), x, y, eps=0.1, steps=2), eb.pgd(own, x, y, eps=0.1, steps=2),
                               atol=1e-4)  # fmt: skip


BAD_LOGITS: dict[str, tuple[Any, type[Exception], str]] = {
    "one column too many": (lambda z: np.c_[z, z[:, 0]], ValueError, r"shape \(6, 5\), got shape \(6, 6\)"),
    "one row": (lambda z: z[:1], ValueError, r"shape \(6, 5\), got shape \(1, 5\)"),
    "flat": (lambda z: z.ravel(), ValueError, r"shape \(6, 5\), got shape \(30,\)"),
    "integers": (lambda z: z.astype(int), TypeError, r"floating-point.*int64 of shape \(6, 5\)"),
    "strings": (lambda z: z.astype(str), TypeError, r"floating-point"),
    "nan": (lambda z: np.where(np.arange(6)[:, None] == 3, np.nan, z), ValueError, r"nan in row 3 of shape \(6, 5\)"),
    "infinite": (lambda z: z + np.inf, ValueError, r"inf in row 0"),
    "beyond float32": (lambda z: z.astype(np.float64) + 1e39, ValueError, r"float32.*1e\+39 in row 0"),
    "nothing": (lambda z: None, TypeError, r"logits"),
    "an object": (lambda z: object(), TypeError, r"logits"),
}


@pytest.mark.parametrize("case", BAD_LOGITS)
def test_bad_logits_are_errors_that_name_source_and_shape(case: str) -> None:
    spoil, kind, message = BAD_LOGITS[case]
    network = Network()
    source = eb.CallableModel(lambda x: spoil(network.logits(x)), network.input_gradient, classes=CLASSES)
    x, y = batch(6, FEATURES), labels(6, CLASSES)
    for call in (lambda: source(x), lambda: source.predict(x), lambda: eb.pgd(source, x, y, eps=0.1)):
        with pytest.raises(kind, match=f"CallableModel.*{message}"):
            call()


@pytest.mark.parametrize(
    ("spoil", "kind", "message"),
    [
        (lambda g: g[:, 1:], ValueError, r"gradient of shape \(6, 20\), got shape \(6, 19\)"),
        (lambda g: g.reshape(6, 4, 5), ValueError, r"gradient of shape \(6, 20\), got shape \(6, 4, 5\)"),
        (lambda g: g * np.nan, ValueError, r"gradient.*nan in row 0"),
        (lambda g: g.astype(int), TypeError, "gradient.*floating-point"),
        (lambda g: None, TypeError, "gradient"),
    ],
)
def test_bad_gradients_are_errors_that_name_source_and_shape(spoil, kind, message) -> None:
    network = Network()
    source = eb.CallableModel(network.logits, lambda x, d: spoil(network.input_gradient(x, d)), classes=CLASSES)
    with pytest.raises(kind, match=f"CallableModel.*{message}"):
        eb.fgsm(source, batch(6, FEATURES), labels(6, CLASSES), eps=0.1)


def test_bad_arguments_are_named() -> None:
    network = Network()
    x, y = batch(6, FEATURES), labels(6, CLASSES)
    source = network.source(input_shape=(FEATURES,))
    with pytest.raises(ValueError, match=r"x: .*\(20,\).*\(6, 19\)"):
        source.predict(x[:, 1:])
    with pytest.raises(ValueError, match=r"y: .*0 to 4"):
        eb.pgd(source, x, y + CLASSES, eps=0.1)
    with pytest.raises(ValueError, match=r"x: .*row 2"):
        eb.pgd(source, np.where(np.arange(6)[:, None] == 2, np.nan, x), y, eps=0.1)
    with pytest.raises(ValueError, match=r"x: .*bounds"):
        eb.pgd(source, x + 1, y, eps=0.1)
    with pytest.raises(TypeError, match=r"x: .*float32"):
        source.predict((x > 0.5).astype(int))
    with pytest.raises(TypeError, match="logits: wanted a function"):
        eb.CallableModel(3, network.input_gradient)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="input_gradient: wanted a function"):
        eb.CallableModel(network.logits, 3)  # type: ignore[arg-type]
    for name, value in (("input_shape", (0, 3)), ("input_shape", 20), ("classes", 0), ("batch_size", 0)):
        with pytest.raises(ValueError, match=name):
            eb.CallableModel(network.logits, network.input_gradient, **{name: value})


def test_only_own_models_are_trained_or_solved_in_closed_form() -> None:
    x, y = batch(6, FEATURES), labels(6, CLASSES)
    with pytest.raises(TypeError, match="fit trains epsball models, got CallableModel"):
        eb.fit(Network().source(), x, y, epochs=1)
    with pytest.raises(TypeError, match="linear epsball models, got CallableModel"):
        eb.linear_exact(Network().source(), x, y, eps=0.1)
    with pytest.raises(TypeError, match=r"model: wanted an epsball model or a gradient source .*, got function"):
        eb.pgd(lambda x: x, x, y, eps=0.1)


def test_a_source_of_ones_own_is_a_subclass() -> None:
    network = Network()

    class Mine(GradientSource):
        def logits(self, x: Any) -> Any:
            return network.logits(x).tolist()

        def vjp(self, x: Any) -> Any:
            return network.logits(x), lambda dlogits: network.input_gradient(x, dlogits).astype(np.float64)

    x, y = batch(6, FEATURES), labels(6, CLASSES)
    np.testing.assert_allclose(eb.pgd(Mine(), x, y, eps=0.1), eb.pgd(network.own(), x, y, eps=0.1), atol=1e-4)


SCRIPT = """
import signal, sys, time
import numpy as np
import epsball as eb

signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it

W = np.random.default_rng(0).standard_normal((10, 784)).astype(np.float32)
model = eb.CallableModel(lambda x: SLEEP or x @ W.T, lambda x, d: d @ W, classes=10)
x = np.random.default_rng(0).random((50, 784), dtype=np.float32)
print("ready", flush=True)
try:
    eb.pgd(model, x, np.zeros(50, int), eps=0.3, steps=10_000_000)
except KeyboardInterrupt:
    print(time.monotonic(), flush=True)
    sys.exit(7)
"""


@pytest.mark.parametrize("sleep", ["None", "time.sleep(60)"])
def test_ctrl_c_reaches_the_loop_and_the_model(sleep: str) -> None:
    code = SCRIPT.replace("SLEEP", sleep)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline().strip() == "ready"
            time.sleep(0.5)
            sent = time.monotonic()
            child.send_signal(signal.SIGINT)
            answer = child.stdout.readline().strip()
            assert child.wait(timeout=20) == 7
        finally:
            child.kill()
    assert float(answer) - sent < 1.0


# ---- torch


def test_a_torch_module_is_left_as_it_was() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Linear(FEATURES, 16), torch.nn.BatchNorm1d(16), torch.nn.Dropout(0.5), torch.nn.Linear(16, CLASSES)
    )
    module[0].eval()  # frozen by its owner
    module[0].weight.grad = torch.ones_like(module[0].weight)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    random = torch.get_rng_state()
    source = eb.TorchModel(module)
    x, y = batch(ROWS, FEATURES), labels(ROWS, CLASSES)
    with torch.no_grad():
        found = A.PGD(eps=0.1, steps=3).run(source, x, y)
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        inferred = A.PGD(eps=0.1, steps=3).run(source, torch.from_numpy(x), torch.from_numpy(y))
        assert torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()
    np.testing.assert_array_equal(found.x_adv, inferred.x_adv)
    assert [part.training for part in module] == [False, True, True, True]
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(module[0].weight.grad, torch.ones_like(module[0].weight))
    assert all(p.grad is None for p in list(module.parameters())[1:])
    # It was called in evaluation mode: dropout off, batch norm by its running statistics.
    np.testing.assert_allclose(source(x), module.eval()(torch.from_numpy(x)).detach().numpy(), rtol=1e-6)


def test_a_torch_module_that_fails_is_left_as_it_was() -> None:
    torch = pytest.importorskip("torch")

    class Failing(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            assert not self.training
            raise BrokenError

    module = Failing()
    with pytest.raises(BrokenError):
        eb.fgsm(eb.TorchModel(module, classes=3), batch(2, 4), labels(2, 3), eps=0.1)
    assert module.training


def test_overlapping_attacks_on_a_torch_module_keep_it_in_evaluation_mode() -> None:
    torch = pytest.importorskip("torch")
    seen = []

    class Watch(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            time.sleep(0.001)
            seen.append(self.training)
            return x

    module = torch.nn.Sequential(Watch(), torch.nn.Linear(FEATURES, CLASSES))
    x, y = batch(5, FEATURES), labels(5, CLASSES)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: eb.pgd(eb.TorchModel(module), x, y, eps=0.1, steps=20), range(4)))
    assert not any(seen)
    assert module.training
    assert module[0].training


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_a_torch_module_is_called_in_its_own_dtype(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    source = torch_source(Network())
    source.module.to(getattr(torch, dtype))
    x, y = problem(Network().own())
    rounding = 1e-5 if dtype == "float64" else 2.0**-5
    np.testing.assert_allclose(source(x), Network().own()(x), atol=rounding * np.abs(source(x)).max())
    result = A.PGD(eps=0.1, steps=4).run(source, x, y)
    np.testing.assert_array_equal(result.success, source.predict(result.x_adv) != y)


def test_torch_tensors_of_every_sort_come_back_in_kind() -> None:
    torch = pytest.importorskip("torch")
    source = torch_source(Network())
    x, y = batch(6, FEATURES), torch.from_numpy(labels(6, CLASSES))
    tensor = torch.from_numpy(x.reshape(5, 6, 4)).transpose(0, 1).requires_grad_()
    for dtype in (torch.float32, torch.float64, torch.float16):
        given = tensor.to(dtype)
        found = eb.pgd(source, given, y, eps=0.1, steps=2)
        assert (found.shape, found.dtype, found.requires_grad, found.grad_fn) == (given.shape, dtype, False, None)
        assert source(given).dtype == torch.float32
        assert not source(given).requires_grad
    assert tensor.grad is None


def test_a_torch_module_without_a_gradient_is_an_error_that_says_so() -> None:
    torch = pytest.importorskip("torch")

    class Detached(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x.detach()[:, :3] * 2

    class Trained(torch.nn.Linear):
        def forward(self, x: Any) -> Any:
            return super().forward(x.detach())

    class Pair(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x, x

    x, y = batch(4, 5), labels(4, 3)
    with pytest.raises(ValueError, match="TorchModel: the logits carry no gradient"):
        eb.pgd(eb.TorchModel(Trained(5, 3)), x, y, eps=0.1)
    with pytest.raises(ValueError, match="TorchModel: the logits carry no gradient"):
        eb.fgsm(eb.TorchModel(Detached()), x, y, eps=0.1)
    with pytest.raises(TypeError, match="TorchModel: wanted logits as one tensor from the module, got tuple"):
        eb.TorchModel(Pair())(x)
    with pytest.raises(TypeError, match=r"module: wanted a torch nn\.Module, got function"):
        eb.TorchModel(lambda x: x)


# ---- JAX


def test_a_jax_function_is_compiled_a_few_times_only() -> None:
    pytest.importorskip("jax")
    network, traces = Network(), []

    def apply(params: Any, x: Any) -> Any:
        traces.append(len(x))
        return jax_source(network).apply(params, x)

    source = eb.JaxModel(apply, (network.weights, network.biases))
    x, y = problem(network.own())
    attack = A.PGD(eps=0.05, steps=10, restarts=3, early_stop=True)
    for _ in range(3):
        attack(source, x, y)
    assert max(np.unique(traces, return_counts=True)[1]) <= 2  # for its shape alone, and for its derivative
    assert set(traces) <= {1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64}


def test_jax_arrays_come_back_as_jax_arrays() -> None:
    jnp = pytest.importorskip("jax.numpy")
    source, own = jax_source(Network(), jit=False), Network().own()
    x, y = problem(own)
    for model in (source, own):
        found = eb.pgd(model, jnp.asarray(x), jnp.asarray(y), eps=0.1, steps=3)
        assert isinstance(found, jnp.ndarray)
        np.testing.assert_array_equal(found, eb.pgd(model, x, y, eps=0.1, steps=3))
