"""The bound is hard: ball and box hold exactly, in float64, against the caller's own x and Python floats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import epsball as eb
import oracle
from cases import batch, image_model, labels, pair, sized

EPS = (0.0, 1e-6, 8 / 255, 0.031, 0.1, 0.3, 1.0)
DTYPES = (np.float16, np.float32, np.float64)
NORMS = oracle.NORMS
ROWS, FEATURES, CLASSES = 6, 17, 4

Make = Callable[..., Any]
ATTACKS: dict[str, Make] = {
    "fgsm": lambda eps, norm, **k: eb.attacks.FGSM(eps=eps, norm=norm, **k),
    "rfgsm": lambda eps, norm, **k: eb.attacks.RFGSM(eps=eps, norm=norm, **k),
    "bim": lambda eps, norm, **k: eb.attacks.BIM(eps=eps, norm=norm, steps=3, **k),
    "ilcm": lambda eps, norm, **k: eb.attacks.ILCM(eps=eps, norm=norm, steps=3, **k),
    "pgd": lambda eps, norm, **k: eb.attacks.PGD(eps=eps, norm=norm, steps=3, restarts=2, **k),
    "momentum": lambda eps, norm, **k: eb.attacks.MomentumPGD(eps=eps, norm=norm, steps=3, **k),
    "nesterov": lambda eps, norm, **k: eb.attacks.MomentumPGD(eps=eps, norm=norm, steps=3, nesterov=True, **k),
    "variance": lambda eps, norm, **k: eb.attacks.MomentumPGD(
        eps=eps, norm=norm, steps=3, scales=2, neighbours=2, nesterov=True, **k
    ),
    "smooth": lambda eps, norm, **k: eb.attacks.SmoothPGD(eps=eps, norm=norm, steps=3, samples=2, **k),
    "jitter": lambda eps, norm, **k: eb.attacks.Jitter(eps=eps, norm=norm, steps=3, **k),
    "adam": lambda eps, norm, **k: eb.attacks.AdamPGD(eps=eps, norm=norm, steps=3, **k),
    "apgd": lambda eps, norm, **k: eb.attacks.APGD(eps=eps, norm=norm, steps=7, **k),
    "apgd-targets": lambda eps, norm, **k: eb.attacks.APGD(eps=eps, norm=norm, steps=4, targets=2, loss="dlr", **k),
    "max_confidence": lambda eps, norm, **k: eb.attacks.MaxConfidence(eps=eps, norm=norm, steps=2, **k),
    "slide": lambda eps, norm, **k: eb.attacks.SLIDE(eps=eps, norm=norm, steps=3, fraction=0.2, **k),
    "square": lambda eps, norm, **k: eb.attacks.Square(eps=eps, norm=norm, queries=6, **k),
    "uniform": lambda eps, norm, **k: eb.attacks.RandomSearch(eps=eps, norm=norm, draws=3, **k),
    "gaussian": lambda eps, norm, **k: eb.attacks.RandomSearch(eps=eps, norm=norm, noise="gaussian", draws=3, **k),
    "salt": lambda eps, norm, **k: eb.attacks.RandomSearch(eps=eps, norm=norm, noise="salt_and_pepper", draws=3, **k),
    "corners": lambda eps, norm, **k: eb.attacks.RandomSearch(eps=eps, norm=norm, noise="corners", draws=3, **k),
    "spsa": lambda eps, norm, **k: eb.attacks.SPSA(eps=eps, norm=norm, steps=3, samples=2, **k),
    "nes": lambda eps, norm, **k: eb.attacks.NES(eps=eps, norm=norm, steps=3, samples=2, **k),
    "autoattack": lambda eps, norm, **k: eb.attacks.AutoAttack(eps=eps, norm=norm, version="rand", **k),
    "virtual_adversarial": lambda eps, norm, **k: eb.attacks.VirtualAdversarial(eps=eps, norm=norm, **k),
    "universal": lambda eps, norm, **k: eb.attacks.Universal(eps=eps, norm=norm, epochs=2, batch_size=4, **k),
    "linear_exact": lambda eps, norm, **k: eb.attacks.LinearExact(eps=eps, norm=norm, **k),
}
KNOWN = {
    "rfgsm": ("linf",),
    "slide": ("l1",),
    "adam": ("linf", "l2"),
    "spsa": ("linf", "l2"),
    "virtual_adversarial": ("l2",),
}  # the others know all norms
CASES = [(a, n) for a in ATTACKS for n in KNOWN.get(a, NORMS)]
STAYING = ("autoattack", "spsa", "nes")  # leave rows alone that are wrong as they are
SHARED = ("universal",)  # have one eps and one mask for all rows
MOVING = [c for c in CASES if c[0] not in STAYING + SHARED]


def model_for(attack: str) -> Any:
    sizes = [FEATURES, CLASSES] if attack == "linear_exact" else [FEATURES, 9, CLASSES]
    return pair(sizes, "relu", scale=3.0)[0]


def inputs(dtype: type, bounds: Any, seed: int = 0) -> np.ndarray:
    """Rows inside the bounds that need every digit of their dtype; a tenth lie on each bound."""
    rng = np.random.default_rng(seed)
    lo, hi = (0.0, 1.0) if bounds is None else bounds
    lo = np.broadcast_to(np.asarray(lo, np.float64), FEATURES)
    hi = np.broadcast_to(np.asarray(hi, np.float64), FEATURES)
    x = rng.uniform(lo, hi, (ROWS, FEATURES))
    edge = rng.random(x.shape)
    x = np.where(edge < 0.1, lo, np.where(edge > 0.9, hi, x)).astype(dtype)
    # Rounding to the dtype may have left the box: go back to the neighbour inside.
    x = np.where(x.astype(np.float64) < lo, np.nextafter(x, dtype(np.inf)), x)
    x = np.where(x.astype(np.float64) > hi, np.nextafter(x, dtype(-np.inf)), x)
    assert x.dtype == dtype
    return x


def per_feature_bounds() -> tuple[np.ndarray, np.ndarray]:
    """Bounds that no float32 represents, one pair per feature."""
    rng = np.random.default_rng(7)
    lo = rng.uniform(0.0, 0.4, FEATURES)
    return lo, lo + rng.uniform(0.05, 0.6, FEATURES)


BOUNDS: dict[str, Any] = {
    "none": None,
    "unit": (0.0, 1.0),
    "inexact": (0.1, 0.9),
    "per_feature": per_feature_bounds(),
}


def assert_inside(x_adv: Any, x: np.ndarray, eps: Any, norm: str, bounds: Any) -> None:
    """Every promise about where x_adv may lie, without any tolerance."""
    x_adv = np.asarray(x_adv)
    assert x_adv.shape == x.shape
    assert x_adv.dtype == x.dtype
    assert np.isfinite(x_adv).all()
    assert (oracle.distance(x_adv, x, norm) <= np.asarray(eps, np.float64)).all()
    d = x_adv.astype(np.float64) - x.astype(np.float64)
    if norm == "l2":  # another order of summation
        assert (np.linalg.norm(d.reshape(len(d), -1)[:, ::-1], axis=1) <= np.asarray(eps)).all()
    if norm == "l1":
        assert (np.abs(d.reshape(len(d), -1))[:, ::-1].sum(axis=1) <= np.asarray(eps)).all()
    if bounds is not None:
        lo, hi = (np.asarray(b, np.float64) for b in bounds)
        assert (x_adv.astype(np.float64) >= lo).all()
        assert (x_adv.astype(np.float64) <= hi).all()


@pytest.mark.parametrize("box", BOUNDS)
@pytest.mark.parametrize(("attack", "norm"), CASES)
def test_ball_and_box_hold_exactly(table: str, attack: str, norm: str, box: str) -> None:
    model, bounds = model_for(attack), BOUNDS[box]
    y = labels(ROWS, CLASSES)
    for dtype in DTYPES:
        x = inputs(dtype, bounds)
        for eps in sized(EPS, on_emulator=EPS[::3]):
            result = ATTACKS[attack](eps, norm, bounds=bounds).run(model, x, y)
            assert_inside(result.x_adv, x, eps, norm, bounds)
            np.testing.assert_allclose(result.distance, oracle.distance(result.x_adv, x, norm), rtol=1e-12, atol=0)
            # Success is judged on the array that is returned.
            np.testing.assert_array_equal(result.success, np.asarray(model.predict(result.x_adv)) != y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("attack", "norm"), CASES)
def test_eps_zero_returns_the_input_itself(table: str, attack: str, norm: str, dtype: type) -> None:
    x = inputs(dtype, (0.0, 1.0))
    x_adv = ATTACKS[attack](0.0, norm)(model_for(attack), x, labels(ROWS, CLASSES))
    np.testing.assert_array_equal(x_adv, x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("attack", "norm"), MOVING)
def test_each_row_keeps_its_own_eps(table: str, attack: str, norm: str, dtype: type) -> None:
    x = inputs(dtype, (0.0, 1.0))
    eps = np.array(EPS[:ROWS])
    result = ATTACKS[attack](eps, norm).run(model_for(attack), x, labels(ROWS, CLASSES))
    assert_inside(result.x_adv, x, eps, norm, (0.0, 1.0))
    assert result.distance[-1] > EPS[0]


@pytest.mark.parametrize("shape", ["per_feature", "per_row"])
@pytest.mark.parametrize(("attack", "norm"), [c for c in MOVING if c[0] != "linear_exact"])
def test_masked_features_do_not_change(table: str, attack: str, norm: str, shape: str) -> None:
    rng = np.random.default_rng(0)
    mask = rng.random(FEATURES if shape == "per_feature" else (ROWS, FEATURES)) < 0.5
    model, y = model_for(attack), labels(ROWS, CLASSES)
    for dtype in DTYPES:
        x = inputs(dtype, (0.0, 1.0))
        for kind in (bool, np.float32, np.int64):
            x_adv = ATTACKS[attack](0.3, norm, mask=mask.astype(kind))(model, x, y)
            frozen = np.broadcast_to(~mask, x.shape)
            np.testing.assert_array_equal(np.asarray(x_adv)[frozen], x[frozen])
            assert (np.asarray(x_adv) != x).any()
            assert_inside(x_adv, x, 0.3, norm, (0.0, 1.0))


@pytest.mark.parametrize("norm", NORMS)
def test_mask_of_zeros_leaves_everything(table: str, norm: str) -> None:
    x = inputs(np.float32, (0.0, 1.0))
    result = ATTACKS["pgd"](0.3, norm, mask=np.zeros(FEATURES)).run(model_for("pgd"), x, labels(ROWS, CLASSES))
    np.testing.assert_array_equal(result.x_adv, x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("norm", NORMS)
def test_the_bound_is_reached_not_only_respected(table: str, norm: str, dtype: type) -> None:
    """Hardness costs roundings of the coordinates, no more."""
    x = inputs(dtype, None)
    model = model_for("fgsm")
    x_adv = ATTACKS["fgsm"](0.25, norm, bounds=None)(model, x, labels(ROWS, CLASSES))
    ulp = max(float(np.finfo(dtype).eps), 2.0**-23)
    lost = {"linf": 2 * ulp, "l2": 2 * ulp * FEATURES**0.5, "l1": 2 * ulp * FEATURES}[norm]
    assert (oracle.distance(x_adv, x, norm) >= 0.25 - lost).all()


@pytest.mark.parametrize("norm", NORMS)
def test_wide_inputs_keep_the_bound(table: str, norm: str) -> None:
    """Coordinates far larger than eps, where one float32 ulp of x is a sizeable part of the ball."""
    model, _ = pair([FEATURES, 9, CLASSES], "tanh")
    x = batch(ROWS, FEATURES, low=-3000.0, high=3000.0)
    for eps in (1e-6, 1e-4, 0.03, 3.0):
        x_adv = ATTACKS["pgd"](eps, norm, bounds=(-3000.0, 3000.0))(model, x, labels(ROWS, CLASSES))
        assert_inside(x_adv, x, eps, norm, (-3000.0, 3000.0))


@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_images_keep_the_bound_and_their_shape(table: str, attack: str, digits: dict[str, np.ndarray]) -> None:
    model, _ = pair([784, 33, 10], "relu")
    x, y = digits["xt"][:20], digits["yt"][:20]
    for norm, eps in (("linf", 0.3), ("l2", 2.0), ("l1", 10.0)):
        x_adv = ATTACKS[attack](eps, norm)(model, x, y)
        assert_inside(x_adv, x, eps, norm, (0.0, 1.0))


@pytest.mark.parametrize(("attack", "norm"), [c for c in MOVING if c[0] != "linear_exact"])
def test_convolutional_networks_keep_the_bound(table: str, attack: str, norm: str) -> None:
    layers = [eb.Normalize(0.5, 0.1), eb.Conv2d(1, 5, 2), eb.ReLU(), eb.MaxPool2d(2, stride=1), eb.Linear(140, CLASSES)]
    model, _ = image_model(layers, (1, 4, 16))
    rng = np.random.default_rng(0)
    for rows in (3, 17):
        for dtype in DTYPES:
            x = rng.uniform(0.0, 1.0, (rows, 1, 4, 16)).astype(dtype)
            for eps in (1e-6, 8 / 255, 0.3):
                x_adv = ATTACKS[attack](eps, norm)(model, x, labels(rows, CLASSES))
                assert_inside(x_adv, x, eps, norm, (0.0, 1.0))
        assert (np.asarray(x_adv) != x).any()
