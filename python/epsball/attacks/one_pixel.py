"""One pixel, or a few, found by differential evolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from epsball.arguments import settle, whole
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.score_search import BATCH, Doubles, ScoreSearch, check_images, streams
from epsball.classifier import Classifier


@dataclass(frozen=True, eq=False)
class OnePixel(Attack):
    """A few pixels of any value, found by differential evolution (Su et al. 2019, arXiv 1710.08864).

    A candidate is, for each pixel, its row, its column and a value for every channel. Candidates start uniformly at
    random; in every generation each is challenged by best + F · (a − b), with a and b two others and F uniform in
    [0.5, 1), coordinates that leave their range being drawn anew, and the better of the two stays. It asks for logits
    only. A row ends with the generation in which a candidate succeeds; without success it is x itself.

    Parameters
    ----------
    pixels
        The most pixels that change, in all of their channels.
    steps
        Generations after the first.
    population
        Candidates, at least 4; as many queries are asked in every generation.
    targeted
        y are the classes wanted, not the ones to leave.
    bounds
        The box, which must be finite.
    mask
        As in `PGD`.
    seed
        In [0, 2**64); a row's draws depend on it and on the row's index only.
    norm
        Which distance is reported: "l0", of features.

    Notes
    -----
    x must be images: (N, channels, height, width) or (N, height, width).
    """

    norms: ClassVar[tuple[str, ...]] = ("l0",)
    reads_x: ClassVar[bool] = True
    needs: ClassVar[str] = "scores"

    pixels: int = 1
    steps: int = 100
    population: int = 400
    targeted: bool = False
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    seed: int = 0
    norm: str = "l0"

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, pixels=whole("pixels", self.pixels, 1), population=whole("population", self.population, 4))

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        image = check_images(x)
        search = ScoreSearch(self, model, x, y, index)
        traced = [np.full(len(x), np.nan) for _ in range(self.steps + 1)] if trace else None
        left = search.left()
        at_once = max(BATCH // (self.population * max(search.lower.size, 1)), 1)
        for first in range(0, len(left), at_once):
            self._evolve(search, left[first : first + at_once], image, traced)
        return search.found(self.norm, traced)

    def _evolve(
        self,
        search: ScoreSearch,
        rows: npt.NDArray[np.int64],
        image: tuple[int, int, int],
        traced: list[Doubles] | None,
    ) -> None:
        """Breed candidates for some rows until they succeed, or for all generations."""
        rngs = streams(self.seed, search.ids[rows])
        size = self.population, self.pixels, 2 + image[0]
        people = np.stack([rng.random(size) for rng in rngs])
        fitness = np.full(people.shape[:2], -np.inf)
        for step in range(self.steps + 1):
            each = zip(people, fitness, rngs, strict=True)
            trials = people if step == 0 else np.stack([_trials(*of_row) for of_row in each])
            points = self._points(search, rows, trials, image)
            won, loss = search.judge(rows, points)
            value = np.where(won, np.inf, -loss if self.targeted else loss)
            better = value > fitness
            people, fitness = np.where(better[..., None, None], trials, people), np.where(better, value, fitness)
            best = value.argmax(axis=1)
            over = np.any(won, axis=1)
            every = np.arange(len(rows))
            if traced is not None:
                traced[step][rows] = loss[every, best]
            search.keep(rows[over], points[every, best][over], loss[every, best][over])
            rows, people, fitness = rows[~over], people[~over], fitness[~over]
            rngs = [rngs[row] for row in np.flatnonzero(~over)]
            if len(rows) == 0:
                return

    def _points(
        self, search: ScoreSearch, rows: npt.NDArray[np.int64], people: Doubles, image: tuple[int, int, int]
    ) -> Array:
        """Return the inputs that candidates (n, population, pixels, 2 + channels) in [0, 1) stand for."""
        channels, height, width = image
        n, many = people.shape[:2]
        points = np.repeat(search.x[rows].astype(np.float64)[:, None], many, axis=1).reshape(n, many, channels, -1)
        lower, upper = (side.reshape(channels, height * width) for side in (search.lower, search.upper))
        each, one = np.arange(n)[:, None], np.arange(many)[None]
        for pixel in range(self.pixels):
            at = people[:, :, pixel]
            place = (at[..., 0] * height).astype(int) * width + (at[..., 1] * width).astype(int)
            for channel in range(channels):
                lo, hi = lower[channel][place], upper[channel][place]
                points[each, one, channel, place] = lo + at[..., 2 + channel] * (hi - lo)
        return search.placed(rows, points.reshape(n, many, *search.x.shape[1:]))


def _trials(people: Doubles, fitness: Doubles, rng: np.random.Generator) -> Doubles:
    """Return a challenger for every candidate (population, ...) of one row."""
    count = len(people)
    own = np.arange(count)
    a = rng.integers(count - 1, size=count)
    a += a >= own
    b = rng.integers(count - 2, size=count)
    low, high = np.minimum(own, a), np.maximum(own, a)
    b += b >= low
    b += b >= high
    trials: Doubles = people[fitness.argmax()] + rng.uniform(0.5, 1) * (people[a] - people[b])
    outside = (trials < 0) | (trials >= 1)
    trials[outside] = rng.random(trials.shape)[outside]
    return trials
