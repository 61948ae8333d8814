"""Spatial: what transformations look like, which are tried, whom they fool, and that queries are counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch, pair
from epsball.images import transformed

A = eb.attacks
ROWS, HEIGHT, WIDTH, CLASSES = 6, 5, 7, 3
X = batch(ROWS, 2 * HEIGHT * WIDTH).reshape(ROWS, 2, HEIGHT, WIDTH)


def model() -> Any:
    return pair([2 * HEIGHT * WIDTH, 12, CLASSES], "relu", seed=2, scale=2.0)[0]


def one(image: np.ndarray, degrees: float, down: float, right: float, fill: float = 0.0) -> np.ndarray:
    turn = np.array([[np.deg2rad(degrees), down, right]])
    return transformed(image[None, None].reshape(1, 1, -1), turn, image.shape, fill).reshape(image.shape)


def test_whole_shifts_and_quarter_turns_are_exact() -> None:
    image = batch(1, 25)[0].reshape(5, 5)
    np.testing.assert_array_equal(one(image, 0, 0, 0), image)
    shifted = np.full((5, 5), 0.5, np.float32)
    shifted[1:, 2:] = image[:-1, :-2]
    np.testing.assert_array_equal(one(image, 0, 1, 2, fill=0.5), shifted)
    for quarters in (1, 2, 3):
        np.testing.assert_allclose(one(image, 90 * quarters, 0, 0), np.rot90(image, quarters), atol=1e-6)


def test_half_a_pixel_is_the_mean_of_two() -> None:
    image = batch(1, 12)[0].reshape(3, 4)
    wanted = np.concatenate([image[:, :1] / 2, (image[:, :-1] + image[:, 1:]) / 2], axis=1)
    np.testing.assert_allclose(one(image, 0, 0, 0.5), wanted, rtol=1e-6)


def test_it_turns_first_and_shifts_then() -> None:
    image = np.zeros((9, 9), np.float32)
    image[4, 6] = 1
    moved = one(image, 90, 0, 2)
    assert np.unravel_index(moved.argmax(), moved.shape) == (2, 6)


def test_rows_are_those_of_scipy() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    image = batch(1, 11 * 8)[0].reshape(11, 8)
    for degrees in (-25.0, 10.0, 77.0):
        wanted = ndimage.rotate(image, degrees, reshape=False, order=1, mode="grid-constant", prefilter=False)
        np.testing.assert_allclose(one(image, degrees, 0, 0), wanted, atol=1e-5)


def test_the_grid_is_tried_from_end_to_end_after_x_itself() -> None:
    seen: list[np.ndarray] = []

    def predict(x: Any) -> Any:
        seen.append(np.array(x))
        return np.zeros(len(x), int)

    source = eb.LabelOracle(predict)
    attack = A.Spatial(degrees=20, pixels=1, grid=(3, 2, 1))
    result = attack.run(source, X, np.zeros(ROWS, int))
    assert len(seen) == 7
    assert not result.success.any()
    np.testing.assert_array_equal(result.x_adv, X)
    np.testing.assert_array_equal(result.queries, 7)
    assert source.queries == 7 * ROWS
    np.testing.assert_array_equal(seen[0], X)
    turns = [(a, d, 0.0) for a in (-20, 0, 20) for d in (-1, 1)]
    for points, (angle, down, right) in zip(seen[1:], turns, strict=True):
        np.testing.assert_allclose(points[2, 1], one(X[2, 1], angle, down, right), atol=1e-6)


@pytest.mark.parametrize("draws", [0, 20])
@pytest.mark.parametrize("early_stop", [True, False])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_success_is_what_predict_says_and_nothing_leaves_the_box(dtype: type, early_stop: bool, draws: int) -> None:
    x = X.astype(dtype)
    attack = A.Spatial(grid=(7, 3, 3), draws=draws, early_stop=early_stop, fill=9.0)
    result = attack.run(model(), x, trace=True)
    np.testing.assert_array_equal(result.success, model().predict(result.x_adv) != model().predict(x))
    assert result.success.any()
    assert result.x_adv.dtype == dtype
    assert (result.x_adv >= 0).all()
    assert (result.x_adv <= 1).all()
    np.testing.assert_allclose(
        result.distance, np.linalg.norm((result.x_adv.astype(float) - x).reshape(ROWS, -1), axis=1)
    )
    tried = (~np.isnan(result.trace)).sum(axis=1)
    np.testing.assert_array_equal(result.queries, tried + 1)
    if not early_stop:
        assert (tried == (draws or 63) + 1).all()
        np.testing.assert_allclose(result.loss, result.trace.max(axis=1))


@pytest.mark.parametrize("classes", [1, 2, 3])
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("early_stop", [False, True])
def test_every_row_of_every_forward_pass_of_a_model_is_counted(classes: int, targeted: bool, early_stop: bool) -> None:
    own = pair([2 * HEIGHT * WIDTH, 12, classes], "relu", seed=2, scale=2.0)[0]
    asked: list[int] = []

    def logits(x: Any) -> Any:
        asked.append(len(x))
        return own(x)

    source = eb.CallableModel(logits, lambda x, d: np.zeros_like(x), classes=classes)
    y = np.arange(ROWS) % max(classes, 2)
    attack = A.Spatial(grid=(3, 3, 3), targeted=targeted, early_stop=early_stop)
    result = attack.run(source, X, y)
    assert result.queries.sum() == sum(asked)
    wanted = attack.run(own, X, y)
    np.testing.assert_array_equal(result.x_adv, wanted.x_adv)
    np.testing.assert_array_equal(result.success, (own.predict(result.x_adv) == y) == targeted)
    np.testing.assert_array_equal(wanted.loss, own.loss(wanted.x_adv, y, loss="margin"))


@pytest.mark.parametrize("draws", [0, 15])
def test_a_row_depends_on_itself_its_index_and_the_seed(draws: int) -> None:
    attack = A.Spatial(grid=(5, 3, 3), draws=draws, seed=4)
    whole = attack(model(), X)
    order = np.array([4, 0, 5])
    np.testing.assert_array_equal(attack(model(), X[order], index=order), whole[order])


def test_targets() -> None:
    target = (model().predict(X) + 1) % CLASSES
    result = A.Spatial(degrees=180, pixels=2, targeted=True).run(model(), X, target)
    np.testing.assert_array_equal(result.success, model().predict(result.x_adv) == target)
    assert result.success.any()


def test_digits_that_resist_a_small_ball_do_not_resist_a_turn(digits: dict[str, np.ndarray]) -> None:
    """Engstrom et al.: the grid is worse than ten random transformations, which are worse than nothing."""
    net = eb.models.cnn((1, 28, 28), classes=10)
    eb.fit(net, digits["x"].reshape(-1, 1, 28, 28), digits["y"], epochs=3, seed=0)
    x, y = digits["xt"][:100].reshape(-1, 1, 28, 28), digits["yt"][:100]
    clean = (net.predict(x) != y).mean()
    ten = A.Spatial(degrees=15, pixels=1, draws=10).run(net, x, y).success.mean()
    grid = A.Spatial(degrees=15, pixels=1).run(net, x, y).success.mean()
    assert clean < ten < grid
    assert A.Spatial().run(net, x, y).success.mean() > 0.9


def test_bad_arguments_are_named() -> None:
    for options, name in (
        ({"degrees": -1.0}, "degrees"), ({"pixels": -1.0}, "pixels"), ({"grid": (0, 1, 1)}, "grid"),
        ({"grid": (3, 3)}, "grid: wanted three numbers"), ({"draws": -1}, "draws"), ({"fill": np.nan}, "fill"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=name):
            A.Spatial(**options)
    with pytest.raises(ValueError, match="x: wanted images"):
        A.Spatial()(model(), X.reshape(ROWS, -1))
    with pytest.raises(TypeError, match="x: wanted float32"):
        A.Spatial()(model(), (X > 0.5).astype(int))
    with pytest.raises(ValueError, match="y: wanted class indices from 0 to 2, got 0 to 3"):
        A.Spatial()(model(), X, np.array([0, 1, 2, 3, 0, 1]))
    with pytest.raises(ValueError, match="y: wanted 6 class indices"):
        A.Spatial()(model(), X, np.zeros(3, int))
    with pytest.raises(ValueError, match="y: a targeted attack"):
        A.Spatial(targeted=True)(model(), X)
    assert A.from_dict(A.Spatial(draws=3).to_dict()) == A.Spatial(draws=3)
