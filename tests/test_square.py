"""Square: what its points look like, where its windows may lie, how queries are counted, models without gradients."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import epsball as eb
import oracle
from cases import batch, engine, image_model, pair
from oracle import Net

EPS = {"linf": 0.2, "l2": 0.6, "l1": 2.0}


def indifferent(features: int, classes: int = 3) -> Any:
    """A model that never changes its mind, so that every point is the first one with a window moved."""
    return engine(Net([np.zeros((classes, features))], [np.arange(classes)[::-1].astype(float)]))


def start(x: np.ndarray, norm: str, seed: int = 0) -> np.ndarray:
    y = np.zeros(len(x), np.int64)
    model = indifferent(x[0].size)
    return np.asarray(eb.attacks.Square(eps=EPS[norm], norm=norm, queries=1, seed=seed, bounds=None)(model, x, y))


def test_the_first_point_has_vertical_stripes(table: str) -> None:
    x = batch(20, 2 * 5 * 7).reshape(20, 2, 5, 7)
    d = start(x, "linf") - x
    np.testing.assert_allclose(np.abs(d), EPS["linf"], rtol=1e-5)
    signs = np.sign(d)
    np.testing.assert_array_equal(signs, np.broadcast_to(signs[:, :, :1], signs.shape))
    by_column = signs[:, :, 0].reshape(20, -1)
    assert 0.3 < (by_column > 0).mean() < 0.7
    assert len(np.unique(by_column, axis=0)) == 20


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("shape", [(1, 10, 10), (3, 7, 5), (1, 1, 17), (1, 2, 3)])
def test_the_first_point_spends_the_whole_budget(table: str, norm: str, shape: tuple[int, ...]) -> None:
    x = batch(10, int(np.prod(shape))).reshape(10, *shape)
    length = oracle.distance(start(x, norm), x, norm)
    assert (length <= EPS[norm]).all()
    assert (length >= 0.999 * EPS[norm]).all()


def authors_tile(norm: str) -> np.ndarray:
    """Two pyramids over the rows of a 5 x 5 window, by the authors' rule: rings of 1/r^2 (L1: 1/r^4), of one length."""
    power = {"l2": 2, "l1": 4}[norm]
    tile = np.zeros((5, 5))
    for part, centre in ((slice(0, 2), 1), (slice(2, 5), 3)):
        half = np.zeros((5, 5))
        for ring in (1, 2, 3):
            half[max(centre - ring + 1, 0) : centre + ring, max(3 - ring, 0) : 2 + ring] += ring**-power
        tile[part] = half[part] / oracle.distance(half[None, part], 0.0 * half[None, part], norm)
    return tile


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_tiles_are_the_authors_pyramids(table: str, norm: str) -> None:
    x = np.full((4, 1, 25, 25), 0.5, np.float32)
    d = np.abs(start(x, norm) - x).astype(np.float64)
    tile = authors_tile(norm)
    tile *= EPS[norm] / oracle.distance(np.tile(tile, (5, 5))[None], np.zeros((1, 25, 25)), norm)
    for row in d[:, 0]:
        for found in row.reshape(5, 5, 5, 5).swapaxes(1, 2).reshape(25, 5, 5):
            closest = min((found, found.T), key=lambda t: float(np.abs(t - tile).max()))
            np.testing.assert_allclose(closest, tile, rtol=1e-4, atol=1e-6)


class Recorder:
    """Logits that get better for every new point, so that each is kept: their differences are the windows."""

    def __init__(self) -> None:
        self.points: list[np.ndarray] = []

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self.points.append(x.copy())
        better = np.full(len(x), float(len(self.points)), np.float32)
        return np.stack([np.full(len(x), 1e6, np.float32), better], axis=1)


def recorded(norm: str, shape: tuple[int, ...], queries: int, rows: int = 40, **options: Any) -> list[np.ndarray]:
    return points_from(np.full((rows, *shape), 0.5, np.float32), norm, queries, **options)


def points_from(x: np.ndarray, norm: str, queries: int, **options: Any) -> list[np.ndarray]:
    rows = len(x)
    logits = Recorder()
    model = eb.CallableModel(logits, input_shape=x.shape[1:], classes=2)
    run = eb.attacks.Square(eps=EPS[norm], norm=norm, queries=queries, early_stop=False, **options).run(
        model, x, np.zeros(rows, int)
    )
    assert (run.queries == queries).all()
    assert not run.success.any()
    return logits.points[:queries]


@pytest.mark.parametrize(("norm", "mask"), [("l2", False), ("l1", False), ("l2", True)])
def test_nothing_of_eps_is_lost_to_the_box(table: str, norm: str, mask: bool) -> None:
    """Pixels at 0 and 1 can go one way only: what would go the other way goes to their neighbours."""
    x = (batch(40, 144).reshape(40, 1, 12, 12) > 0.5).astype(np.float32)
    free = np.arange(144).reshape(1, 12, 12) % 3 > 0
    for point in points_from(x, norm, 30, mask=free if mask else None):
        assert point.min() >= 0.0
        assert point.max() <= 1.0
        assert (oracle.distance(point, x, norm) >= 0.999 * EPS[norm]).all()


def test_a_linf_window_goes_to_a_corner_and_may_lie_at_every_edge(table: str) -> None:
    points = recorded("linf", (1, 6, 9), 60, p_init=0.1, rescale=False)
    corners = set()
    for before, after in pairwise(points):
        np.testing.assert_allclose(np.abs(after - 0.5), EPS["linf"], rtol=1e-5)
        changed = (before != after)[:, 0]
        for row in changed[changed.any(axis=(1, 2))]:
            i, j = np.nonzero(row)
            corners.update([("bottom", i.max() == 5), ("right", j.max() == 8), ("top", i.min() == 0)])
    assert {("bottom", True), ("right", True), ("top", True)} <= corners


def test_windows_shrink_by_the_published_schedule(table: str) -> None:
    points = recorded("linf", (1, 30, 30), 260, rows=30)
    sides = [[], [], [], []]
    for query in range(1, 260):
        changed = (points[query] != points[query - 1])[:, 0]
        stage = sum(query > limit for limit in (10, 50, 200))
        sides[stage] += [int(np.ptp(np.nonzero(c)[0])) + 1 for c in changed if c.any()]
    for stage, part in enumerate((0.8, 0.4, 0.2, 0.1)):
        assert max(sides[stage]) == round((part * 900) ** 0.5)


def test_rescaled_windows_shrink_sooner(table: str) -> None:
    points = recorded("linf", (1, 30, 30), 100, rows=30, rescale=True)
    last = (points[99] != points[98])[:, 0]
    # Query 99 of 100 counts as 9,900 of 10,000: the part has halved nine times, to less than two pixels.
    assert last.any()
    assert last.sum(axis=(1, 2)).max() == 1


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("shape", [(1, 12, 12), (3, 9, 7), (1, 1, 40)])
def test_moves_keep_the_whole_budget(table: str, norm: str, shape: tuple[int, ...]) -> None:
    """Mass goes from window to window: nothing is lost but what roundings and the box take."""
    points = recorded(norm, shape, 80, p_init=0.3, bounds=None)
    x = np.full((40, *shape), 0.5, np.float32)
    for before, after in pairwise(points):
        length = oracle.distance(after, x, norm)
        assert (length <= EPS[norm]).all()
        assert (length >= 0.99 * EPS[norm]).all()
        assert (before != after).any()


@pytest.mark.parametrize("norm", oracle.NORMS)
def test_it_breaks_what_pgd_breaks(norm: str) -> None:
    model, net = image_model([eb.Linear(100, 24), eb.ReLU(), eb.Linear(24, 4)], (1, 10, 10))
    x = batch(60, 100).reshape(60, 1, 10, 10)
    y = net.predict(x.reshape(60, -1))
    eps = {"linf": 0.06, "l2": 0.5, "l1": 3.0}[norm]
    pgd = eb.attacks.PGD(eps=eps, norm=norm, steps=50).run(model, x, y)
    square = eb.attacks.Square(eps=eps, norm=norm, queries=1500).run(model, x, y)
    assert pgd.success.mean() > 0.3
    assert square.success.mean() >= pgd.success.mean() - 0.15
    assert (square.queries[~square.success] == 1500).all()
    assert (square.queries[square.success] < 1500).all()


def test_the_loss_never_falls(table: str) -> None:
    model, net = pair([49, 16, 4], "tanh", scale=2.0)
    x = batch(30, 49).reshape(30, 1, 7, 7)
    y = net.predict(x.reshape(30, -1))
    losses = [eb.attacks.Square(eps=0.1, queries=q, early_stop=False).run(model, x, y).loss for q in (1, 5, 20, 80)]
    assert all((b >= a).all() for a, b in pairwise(losses))
    assert (losses[-1] > losses[0]).all()


def test_targets_are_reached(table: str) -> None:
    model, net = pair([49, 16, 4], "tanh", scale=3.0)
    x = batch(40, 49).reshape(40, 1, 7, 7)
    goal = (net.predict(x.reshape(40, -1)) + 1) % 4
    attack = eb.attacks.Square(eps=0.4, queries=400, targeted=True)
    assert attack.loss == "cross_entropy"
    run = attack.run(model, x, goal)
    assert run.success.mean() > 0.3
    np.testing.assert_array_equal(run.success, np.asarray(model.predict(run.x_adv)) == goal)


def test_a_model_that_gives_logits_only_is_the_model_itself(table: str) -> None:
    model, net = pair([49, 16, 4], "tanh", scale=2.0)
    x = batch(30, 49).reshape(30, 1, 7, 7)
    y = net.predict(x.reshape(30, -1))
    attack = eb.attacks.Square(eps=0.1, queries=50)
    only = eb.CallableModel(lambda z: model(z.reshape(-1, 49)), classes=4)
    ours, theirs = attack.run(model, x, y), attack.run(only, x, y)
    np.testing.assert_array_equal(ours.x_adv, theirs.x_adv)
    np.testing.assert_array_equal(ours.queries + 1, theirs.queries)  # and the closing pass of `run`
    with pytest.raises(TypeError, match="input_gradient"):
        eb.pgd(only, x, y)


@pytest.mark.parametrize(("name", "value"), [("queries", 0), ("queries", 1.5), ("p_init", 0.0), ("p_init", 1.0)])
def test_bad_options_are_named(name: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=f"^{name}:"):
        eb.attacks.Square(eps=0.1, **{name: value})


@pytest.mark.parametrize("shape", [(17,), (1, 17), (4, 5), (2, 3, 4)])
def test_every_shape_is_an_image(table: str, shape: tuple[int, ...]) -> None:
    features = int(np.prod(shape))
    model, net = pair([features, 9, 3], "tanh", scale=2.0)
    x = batch(12, features)
    y = net.predict(x)
    for norm in oracle.NORMS:
        run = eb.attacks.Square(eps=EPS[norm], norm=norm, queries=30).run(model, x.reshape(12, *shape), y)
        assert run.x_adv.shape == (12, *shape)
        assert (oracle.distance(run.x_adv.reshape(12, -1), x, norm) <= EPS[norm]).all()


@pytest.mark.parametrize("norm", oracle.NORMS)
def test_what_a_window_does_not_reach_keeps_its_bits(table: str, norm: str) -> None:
    """A convolutional model computes anew where windows reach only; asked from outside it computes everything."""
    layers = [
        eb.Conv2d(1, 6, 4, stride=2, padding=1), eb.ReLU(), eb.Conv2d(6, 19, 3, padding=1), eb.ReLU(), eb.Flatten(),
        eb.Linear(19 * 64, 5),
    ]  # fmt: skip
    model, _ = image_model(layers, (1, 16, 16))
    x = batch(20, 256).reshape(20, 1, 16, 16)
    y = np.asarray(model.predict(x))
    outside = eb.CallableModel(lambda points: np.asarray(model(points)), input_shape=(1, 16, 16), classes=5)
    attack = eb.attacks.Square(eps={"linf": 0.1, "l2": 1.0, "l1": 5.0}[norm], norm=norm, queries=300, p_init=0.1)
    inside, whole = attack.run(model, x, y), attack.run(outside, x, y)
    assert 0 < inside.success.sum() < 20
    np.testing.assert_array_equal(inside.x_adv, whole.x_adv)
    np.testing.assert_array_equal(inside.queries + 1, whole.queries)  # which is judged once more at the end
    np.testing.assert_array_equal(inside.loss, whole.loss)
