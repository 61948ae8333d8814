"""Every table beside the scalar one: the same random bits, gradients and steps to rounding, attacks as strong.

Signs of a gradient may differ where it is nothing but rounding; such places are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import sized

A = eb.attacks
ROWS = 48
EPS = {"linf": 0.06, "l2": 0.6, "l1": 3.0}
ROUNDING = 2.0**-18  # of a row's largest derivative: sums of up to 800 products


@contextmanager
def on(table: str) -> Iterator[None]:
    before = eb._native.use_table(table)
    yield
    eb._native.use_table(before)


MODELS: dict[str, Callable[[], Any]] = {
    "mlp": lambda: eb.models.mlp([784, 40, 10], seed=0),
    "cnn": lambda: eb.Sequential(
        [
            eb.Conv2d(1, 6, 4, stride=4, padding=2), eb.ReLU(), eb.BatchNorm2d(6), eb.MaxPool2d(2),
            eb.Flatten(), eb.Linear(96, 10),
        ],
        input_shape=(1, 28, 28),
        seed=0,
    ),
    "maxout": lambda: eb.Sequential([eb.Linear(784, 60), eb.Maxout(3), eb.Tanh(), eb.Linear(20, 10)], (784,), seed=0),
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(digits: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Parameters that know digits, by model."""
    found = {}
    with on("scalar"):
        for name, make in MODELS.items():
            model = make()
            x = digits["x"].reshape(-1, *model.input_shape)
            eb.fit(model, x, digits["y"], epochs=3, batch_size=50)
            found[name] = model.parameters()
    return found


@pytest.fixture
def problem(table: str, digits: dict[str, np.ndarray], trained: dict[str, dict[str, np.ndarray]]) -> Callable[..., Any]:
    """(model in memory of the table in force, digits, labels)."""
    rows = sized(ROWS, on_emulator=20)

    def made(name: str) -> tuple[Any, np.ndarray, np.ndarray]:
        model = MODELS[name]()
        model.load_parameters(trained[name])
        return model, digits["xt"][:rows].reshape(-1, *model.input_shape), digits["yt"][:rows]

    return made


def both(table: str, compute: Callable[[], Any]) -> tuple[Any, Any]:
    """What the scalar table finds, and what this one does."""
    with on("scalar"):
        here = compute()
    with on(table):
        return here, compute()


def rows_of(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float64).reshape(len(values), -1)


@pytest.mark.parametrize("norm", EPS)
def test_random_starts_have_the_same_bits_where_they_are_uniform(table: str, problem: Any, norm: str) -> None:
    def start() -> np.ndarray:
        model, x, y = problem("mlp")
        return A.PGD(eps=EPS[norm], norm=norm, steps=0, seed=3)(model, x, y)

    here, there = both(table, start)
    if norm == "linf":
        np.testing.assert_array_equal(there, here)
    np.testing.assert_allclose(there, here, rtol=0, atol=1e-6)


@pytest.mark.parametrize("loss", ["cross_entropy", "dlr"])
@pytest.mark.parametrize("name", MODELS)
def test_signs_of_a_gradient_differ_where_it_is_rounding_alone(table: str, problem: Any, name: str, loss: str) -> None:
    def gradient() -> np.ndarray:
        model, x, y = problem(name)
        return rows_of(model.input_gradient(x, y, loss=loss))

    here, there = both(table, gradient)
    level = ROUNDING * np.abs(here).max(axis=1, keepdims=True)
    assert (np.abs(here - there) <= level).all()
    flips = np.sign(here) != np.sign(there)
    assert (np.abs(here[flips]) <= np.broadcast_to(level, here.shape)[flips]).all()
    assert flips.mean() < 1e-3, f"{flips.sum()} signs differ"


@pytest.mark.parametrize("norm", EPS)
@pytest.mark.parametrize("name", MODELS)
def test_a_step_from_the_same_point_is_the_same(table: str, problem: Any, name: str, norm: str) -> None:
    def step() -> tuple[np.ndarray, np.ndarray]:
        model, x, y = problem(name)
        attack = A.FGSM(eps=EPS[norm], norm=norm)
        return rows_of(model.input_gradient(x, y)), rows_of(attack(model, x, y))

    (gradient, here), (_, there) = both(table, step)
    if norm == "linf":
        rounding = np.abs(gradient) <= ROUNDING * np.abs(gradient).max(axis=1, keepdims=True)
        np.testing.assert_array_equal(there[~rounding], here[~rounding])
        assert (there != here).mean() < 1e-3
    elif norm == "l2":
        np.testing.assert_allclose(there, here, rtol=0, atol=1e-5 * EPS[norm])
    else:  # derivatives of one size may be filled in another order
        assert (np.abs(there - here).max(axis=1) < 1e-5).mean() > 0.9


ATTACKS: dict[str, Any] = {
    **{f"pgd-{norm}": A.PGD(eps=eps, norm=norm, steps=8) for norm, eps in EPS.items()},
    "apgd": A.APGD(eps=EPS["linf"], steps=12),
    "apgd-dlr": A.APGD(eps=EPS["linf"], steps=12, loss="dlr"),
    "momentum": A.MomentumPGD(eps=EPS["linf"], steps=8),
    "square": A.Square(eps=EPS["linf"], queries=60),
    "adam": A.AdamPGD(eps=EPS["linf"], steps=8),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_whole_attacks_leave_the_same_robust_accuracy(table: str, problem: Any, name: str, attack: Any) -> None:
    def robust() -> np.ndarray:
        return ~attack.run(*problem(name)).success

    here, there = both(table, robust)
    assert 0 < here.mean() < 1, "too easy or too hard to tell anything"
    np.testing.assert_array_equal(there, here)


@pytest.mark.parametrize(
    "attack", [A.DDN(steps=15), A.FMN(steps=15), A.FAB(steps=8), A.DeepFool()], ids=["ddn", "fmn", "fab", "deepfool"]
)
def test_nearest_points_are_as_near(table: str, problem: Any, attack: Any) -> None:
    def distance() -> np.ndarray:
        result = attack.run(*problem("mlp"))
        assert result.success.mean() > 0.9
        return np.where(result.success, result.distance, np.inf)

    here, there = both(table, distance)
    np.testing.assert_allclose(there, here, rtol=1e-3)
