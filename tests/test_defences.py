"""Defences: their gradients are those of what they compute, and the attack that knows of each breaks it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch, labels

D = eb.defences
ROWS, SHAPE, CLASSES = 6, (1, 6, 6), 4


def small(seed: int = 0, outputs: int = CLASSES) -> Any:
    layers = [eb.Flatten(), eb.Linear(36, 9), eb.Tanh(), eb.Linear(9, outputs)]
    return eb.Sequential(layers, input_shape=SHAPE, seed=seed)


def words(classes: int, bits: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    while True:
        codes = rng.choice([-1.0, 1.0], (classes, bits))
        if len(np.unique(codes, axis=0)) == classes:
            return codes


class Frozen:
    """Draws that repeat themselves, so that a random defence has a derivative."""

    def next(self) -> np.random.Generator:
        return np.random.default_rng(0)


def frozen(defence: Any) -> Any:
    defence._draws = Frozen()
    return defence


# Defences whose gradient is exact; a random one with its dice held.
EXACT: dict[str, Callable[[], Any]] = {
    "noise": lambda: frozen(D.TestTimeNoise(small(), sigma=0.1, draws=3, eot=3)),
    "glimpses": lambda: frozen(D.Glimpses(small(), margin=1, draws=3, eot=3)),
    "front end": lambda: D.FrontEnd(small(), small(3, outputs=36)),
    "codes": lambda: D.OutputCodes(small(outputs=7), words(CLASSES, 7)),
    "around another": lambda: eb.Ensemble([D.FrontEnd(small(), small(3, outputs=36)), small(1)], "probabilities"),
}


COPIED: dict[str, Any] = {
    **{name: EXACT[name] for name in ("front end", "codes", "around another")},
    "noise": lambda: D.TestTimeNoise(small()),
    "glimpses": lambda: D.Glimpses(small(), margin=1),
    "squeezing": lambda: D.BitDepth(small()),
    "doubt": lambda: D.ConfidenceReducing(small()),
    "expectation": lambda: eb.sources.Expectation(small(), [eb.sources.GaussianNoise(0.1)]),
}


@pytest.mark.parametrize("name", COPIED)
def test_copies_and_pickles_answer_what_the_defence_would_answer_next(name: str) -> None:
    defence, x = COPIED[name](), batch(ROWS, 36, low=0.2, high=0.8).reshape(ROWS, *SHAPE)
    defence(x)
    again, read = copy.deepcopy(defence), pickle.loads(pickle.dumps(defence))
    for _ in range(2):
        answer = defence(x)
        np.testing.assert_array_equal(again(x), answer)
        np.testing.assert_array_equal(read(x), answer)


@pytest.mark.parametrize("name", EXACT)
def test_gradient_is_that_of_the_defended_loss(name: str) -> None:
    defence = EXACT[name]()
    x, y = batch(ROWS, 36, low=0.2, high=0.8).reshape(ROWS, *SHAPE), labels(ROWS, CLASSES)
    gradient = defence.input_gradient(x, y).reshape(ROWS, 36)
    rng, h = np.random.default_rng(0), 0.02
    for _ in range(5):
        d = rng.choice([-1.0, 1.0], x.shape).astype(np.float32)
        up, down = (np.asarray(defence.loss(x + s * h * d, y), np.float64) for s in (1, -1))
        along = (gradient * d.reshape(ROWS, 36)).sum(axis=1)
        np.testing.assert_allclose(along, (up - down) / (2 * h), rtol=0.03, atol=3e-3)
    assert np.abs(gradient).max() > 0.01


def test_answers_are_what_the_defences_say() -> None:
    x = batch(ROWS, 36).reshape(ROWS, *SHAPE)
    model = small()
    squeezed = np.round(x * 3) / 3
    np.testing.assert_allclose(D.BitDepth(model, bits=2)(x), model(squeezed.astype(np.float32)), rtol=1e-6)
    moved = eb.fgsm(model, x, model.predict(x), eps=0.05)
    np.testing.assert_allclose(D.ConfidenceReducing(model, 0.05)(x), model(moved), rtol=1e-3, atol=1e-4)
    front = small(3, outputs=36)
    np.testing.assert_allclose(D.FrontEnd(model, front)(x), model(front(x).reshape(x.shape)), rtol=1e-6)
    codes, bits = words(CLASSES, 7), small(outputs=7)
    distance = (np.sign(bits(x))[:, None] != codes[None]).sum(axis=2)
    answers = D.OutputCodes(bits, codes, hard=True)
    np.testing.assert_allclose(answers(x), 7 - 2 * distance, rtol=1e-6)
    np.testing.assert_array_equal(answers.predict(x), distance.argmin(axis=1))


def test_random_defences_draw_anew_and_repeat_from_their_seed() -> None:
    x = batch(ROWS, 36).reshape(ROWS, *SHAPE)
    for make in (lambda s: D.TestTimeNoise(small(), 0.3, seed=s), lambda s: D.Glimpses(small(), seed=s, draws=1)):
        defence, again, other = make(0), make(0), make(1)
        first, second = defence(x), defence(x)
        assert (first != second).any()
        np.testing.assert_array_equal(again(x), first)
        assert (other(x) != first).any()


# ---- each with the attack that breaks it, on real digits


@pytest.fixture(scope="module")
def data() -> dict[str, np.ndarray]:
    x, y = eb.datasets.load("mnist-subset", "train")
    xt, yt = eb.datasets.load("mnist-subset", "test")
    return {"x": x[:2000], "y": y[:2000], "xt": xt[:100], "yt": yt[:100]}


def trained(data: dict[str, np.ndarray], seed: int = 0) -> Any:
    model = eb.Sequential([eb.Flatten(), eb.Linear(784, 64), eb.ReLU(), eb.Linear(64, 10)], (1, 28, 28), seed=seed)
    eb.fit(model, data["x"], data["y"], epochs=6, seed=seed)
    return model


def coded(data: dict[str, np.ndarray]) -> Any:
    codes = words(10, 24)
    model = eb.Sequential([eb.Flatten(), eb.Linear(784, 64), eb.ReLU(), eb.Linear(64, 24)], (1, 28, 28))
    targets = codes[data["y"]].astype(np.float32)
    eb.fit(model, data["x"], targets, loss="squared_error", epochs=10)
    return D.OutputCodes(model, codes, hard=True)


def cleaned(data: dict[str, np.ndarray], backward: str = "end_to_end") -> Any:
    front = eb.Sequential([eb.Flatten(), eb.Linear(784, 96), eb.ReLU(), eb.Linear(96, 784)], (1, 28, 28))
    targets = data["x"].reshape(-1, 784)
    eb.fit(front, data["x"], targets, loss="squared_error", epochs=8,
           method=eb.training.NoiseTraining(sigma=0.1, bounds=(0, 1)))  # fmt: skip
    return D.FrontEnd(trained(data), front, backward)


DEFENCES: dict[str, Callable[[dict[str, np.ndarray]], Any]] = {
    "noise": lambda data: D.TestTimeNoise(trained(data), sigma=0.15, eot=8),
    "glimpses": lambda data: D.Glimpses(trained(data), margin=1, draws=4, eot=12),
    "ensemble": lambda data: eb.Ensemble([trained(data, s) for s in range(3)], "probabilities"),
    "bit depth": lambda data: D.BitDepth(trained(data), bits=3),
    "confidence": lambda data: D.ConfidenceReducing(trained(data), eps=0.02),
    "front end": cleaned,
    "codes": coded,
}


@pytest.mark.parametrize("name", DEFENCES)
def test_the_attack_that_knows_of_a_defence_breaks_it(name: str, data: dict[str, np.ndarray]) -> None:
    defence = DEFENCES[name](data)
    xt, yt = data["xt"], data["yt"]
    clean = (defence.predict(xt) == yt).mean()
    attack = eb.attacks.PGD(0.12, steps=20, loss="margin")
    # Of codes, a model without them; of an ensemble, one member.
    plain = trained(data) if name in ("codes", "ensemble") else defence.model
    unaware = attack(plain, xt, yt)
    aware = attack(defence, xt, yt)
    left, broken = ((defence.predict(points) == yt).mean() for points in (unaware, aware))
    assert clean > 0.7
    assert broken < 0.25
    assert broken <= left


def test_a_front_end_of_which_only_outputs_are_known_is_broken_too_in_a_larger_ball(
    data: dict[str, np.ndarray],
) -> None:
    """The identity in its place (BPDA) is a worse direction than its own derivative, and better than none."""
    xt, yt = data["xt"], data["yt"]
    known, outputs = cleaned(data), cleaned(data, "identity")
    attack = eb.attacks.PGD(0.2, steps=20, loss="margin")
    unaware, bpda, end_to_end = (
        (known.predict(attack(attacked, xt, yt)) == yt).mean() for attacked in (known.model, outputs, known)
    )
    assert bpda < 0.25
    assert end_to_end <= bpda <= unaware


def test_squeezing_hides_the_gradient_unless_the_way_back_skips_it(data: dict[str, np.ndarray]) -> None:
    model, xt, yt = trained(data), data["xt"], data["yt"]
    masked, seen = D.BitDepth(model, 3, backward="exact"), D.BitDepth(model, 3)
    attack = eb.attacks.PGD(0.12, steps=20, random_start=False)
    result = attack.run(masked, xt, yt)
    assert result.zero_gradient.all()
    assert (masked.predict(result.x_adv) == yt).mean() == (masked.predict(xt) == yt).mean()
    assert (seen.predict(attack(seen, xt, yt)) == yt).mean() < 0.25


# ---- refusals


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: D.BitDepth("model"), "model"),
        (lambda: D.BitDepth(small(), bits=0), "bits"),
        (lambda: D.BitDepth(small(), backward="none"), "backward"),
        (lambda: D.TestTimeNoise(small(), sigma=-1), "sigma"),
        (lambda: D.TestTimeNoise(small(), eot=0), "eot"),
        (lambda: D.TestTimeNoise(small(), seed=-1), "seed"),
        (lambda: D.Glimpses(eb.models.linear(36, 4)), "model"),
        (lambda: D.Glimpses(small(), margin=3), "margin"),
        (lambda: D.FrontEnd(small(), small()), "front"),
        (lambda: D.FrontEnd(small(), "front"), "front"),
        (lambda: D.FrontEnd(eb.CallableModel(small()), small(outputs=36)), "model"),
        (lambda: D.OutputCodes(eb.CallableModel(small()), np.ones((3, 4))), "model"),
        (lambda: D.ConfidenceReducing(small(), eps=-1), "eps"),
        (lambda: D.OutputCodes(small(), np.ones((3, 4))), "codes"),
        (lambda: D.OutputCodes(small(), np.zeros((3, 4))), "codes"),
        (lambda: D.OutputCodes(small(), np.ones((3, 5))), "codes"),
    ],
)
def test_bad_arguments_are_named(make: Callable[[], Any], name: str) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"^{name}: "):
        make()
