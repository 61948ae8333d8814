"""Pixels of an image that change places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from epsball.arguments import pair, settle, whole
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.score_search import Doubles, ScoreSearch, check_images, streams
from epsball.classifier import Classifier


@dataclass(frozen=True, eq=False)
class Pixle(Attack):
    """Random search over rearranged pixels (Pomponi et al. 2022, arXiv 2202.02236).

    A try copies a random rectangle of x, pixel by pixel, to random places of the best image so far; places may be drawn
    twice. Of each round of tries the one of the highest loss, if that is higher than before, is where the next round
    goes on. It asks for logits only. A row ends at its first success; without one it is x itself.

    Parameters
    ----------
    restarts
        Rounds.
    iterations
        Tries in a round.
    columns, rows
        (least, most) size of the rectangles: numbers of pixels, uniformly drawn, both ends included, and cut off at the
        image's border.
    targeted
        y are the classes wanted, not the ones to leave.
    bounds
        The box, which must be finite.
    mask
        As in `PGD`; pixels may be copied from everywhere.
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

    restarts: int = 20
    iterations: int = 10
    columns: tuple[int, int] = (2, 10)
    rows: tuple[int, int] = (2, 10)
    targeted: bool = False
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    seed: int = 0
    norm: str = "l0"

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, iterations=whole("iterations", self.iterations, 1),
               columns=_sizes("columns", self.columns), rows=_sizes("rows", self.rows))  # fmt: skip

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        image = check_images(x)
        search = ScoreSearch(self, model, x, y, index)
        rngs = streams(self.seed, search.ids)
        sign = -1 if self.targeted else 1
        base, base_value = x.astype(np.float64), sign * search.loss.astype(np.float64)
        traced: list[Doubles] | None = [] if trace else None
        for _ in range(self.restarts):
            best, value = base.copy(), base_value.copy()
            for _ in range(self.iterations):
                left = search.left()
                column = np.full(len(x), np.nan)
                if len(left):
                    points = np.stack([self._moved(x[r], base[r], image, rngs[r]) for r in left])
                    placed = search.placed(left, points)
                    won, loss = search.judge(left, placed)
                    search.keep(left[won], placed[won], loss[won])
                    column[left] = loss
                    better = sign * loss > value[left]
                    best[left[better]], value[left[better]] = placed[better], sign * loss[better]
                if traced is not None:
                    traced.append(column)
            base, base_value = best, value
        return search.found(self.norm, traced)

    def _moved(self, x: Array, base: Doubles, image: tuple[int, int, int], rng: np.random.Generator) -> Doubles:
        """Return a copy of `base` that a rectangle of x has been dealt out to."""
        channels, height, width = image
        top, left = int(rng.integers(height)), int(rng.integers(width))
        tall = min(int(rng.integers(self.rows[0], self.rows[1] + 1)), height - top)
        wide = min(int(rng.integers(self.columns[0], self.columns[1] + 1)), width - left)
        from_ = ((top + np.arange(tall)[:, None]) * width + left + np.arange(wide)).ravel()
        to, last = np.unique(rng.integers(height * width, size=tall * wide)[::-1], return_index=True)
        moved = base.reshape(channels, height * width).copy()
        moved[:, to] = x.reshape(channels, height * width)[:, from_[::-1][last]]
        return moved.reshape(base.shape)


def _sizes(name: str, value: Any) -> tuple[int, int]:
    least, most = pair(name, value)
    least = whole(name, least, 1)
    return least, whole(name, most, least)
