"""Rotations and translations of images: the worst of a grid, or of random ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from epsball.arguments import FLOAT32, class_indices, number, settle, whole
from epsball.arrays import Array, as_numpy
from epsball.attacks.base import Attack, AttackResult, Bounds, Found, check_model
from epsball.attacks.decision import stopped
from epsball.attacks.options import check_index, normal_bounds
from epsball.attacks.square import image_shape
from epsball.images import Doubles, Floats, transformed
from epsball.sources.base import LabelSource


@dataclass(frozen=True, eq=False)
class Spatial(Attack):
    """The worst rotation and translation (Engstrom et al. 2019, arXiv 1712.02779); no ball bounds it.

    Images are rotated about their centre, then shifted, with bilinear interpolation; what comes from outside is `fill`.
    Of a grid of transformations, or of random ones, each row keeps the first that succeeds, or, with ``early_stop``
    off, the one of the highest margin; x itself is tried first. It asks for logits or, of a label source, for labels,
    every one counted in ``result.queries``; without success a label source's row comes back as it is;
    where the source raises, `AttackStopped` carries what was found by then.

    Parameters
    ----------
    degrees
        The largest angle, to both sides.
    pixels
        The longest shift, in each of the four directions; fractions of a pixel are shifts too.
    grid
        How many angles, vertical and horizontal shifts are tried, evenly from end to end (the paper: 31, 5, 5).
    draws
        0: the grid. n > 0: n uniformly random transformations of each row instead ("worst of 10").
    targeted
        y are the classes wanted, not the ones to leave.
    early_stop
        A row ends at its first success.
    fill
        The value outside an image.
    bounds
        As in `PGD`; results are clipped to it.
    seed
        Of random transformations, in [0, 2**64); a row's depend on it and on the row's index only.
    norm
        Which distance is reported.

    Notes
    -----
    x must be images: (N, channels, height, width) or (N, height, width).
    """

    reads_x: ClassVar[bool] = True

    degrees: float = 30.0
    pixels: float = 3.0
    grid: tuple[int, int, int] = (31, 5, 5)
    draws: int = 0
    targeted: bool = False
    early_stop: bool = True
    fill: float = 0.0
    bounds: Bounds = (0.0, 1.0)
    seed: int = 0
    norm: str = "l2"

    needs: ClassVar[str] = "labels"

    def __post_init__(self) -> None:
        draws = whole("draws", self.draws, 0)  # 0 is a draw's number here alone
        settle(self, draws=max(draws, 1))
        super().__post_init__()
        try:
            angles, down, right = self.grid
        except (TypeError, ValueError):
            raise ValueError(f"grid: wanted three numbers (angles, down, right), got {self.grid!r}") from None
        settle(
            self,
            draws=draws,
            degrees=number("degrees", self.degrees, 0.0, 180.0),
            pixels=number("pixels", self.pixels, 0.0, 1e6),
            grid=tuple(whole("grid", n, 1) for n in (angles, down, right)),
            fill=number("fill", self.fill, -float(FLOAT32.max), float(FLOAT32.max)),
        )

    def _attack(self, model: Any, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        if x.ndim not in (3, 4):
            raise ValueError(
                f"x: wanted images (N, channels, height, width) or (N, height, width), got shape {x.shape}"
            )
        if x.dtype.kind != "f":
            raise TypeError(f"x: wanted float32, float64 or float16, got {x.dtype}")
        if not isinstance(model, LabelSource):
            check_model(model)
        ids = np.arange(len(x)) if index is None else check_index(index, len(x))
        queries = np.full(len(x), int(y is None), np.int64)
        labels = class_indices("y", model.predict(x) if y is None else y, len(x))
        best = np.array(x)
        success, loss = np.zeros(len(x), bool), np.full(len(x), -np.inf, np.float32)
        channels, height, width = image_shape(x.shape[1:])
        images = x.reshape(len(x), channels, height * width).astype(np.float32)
        column, columns = 0, self.draws or int(np.prod(self.grid))
        traced = np.full((len(x), columns + 1), np.nan, np.float32) if trace else None
        left, failure = np.arange(len(x)), None
        for column in range(columns + 1):
            if len(left) == 0:
                break
            moved = x[left] if column == 0 else self._moved(x, images, left, ids, column - 1, (height, width))
            try:
                won, margin = self._judged(model, moved, labels[left])
            except Exception as error:
                if not isinstance(model, LabelSource):
                    raise
                failure = error
                break
            queries[left] += 1
            if traced is not None:
                traced[left, column] = margin
            better = (won & ~success[left]) | ((won == success[left]) & (margin > loss[left]))
            rows = left[better]
            best[rows], success[rows], loss[rows] = moved[better], won[better], margin[better]
            if self.early_stop or isinstance(model, LabelSource):
                left = left[~success[left]]
        d = (best.astype(np.float64) - x).reshape(len(x), channels * height * width)
        distance = np.linalg.norm(d, {"linf": np.inf, "l2": 2, "l1": 1}[self.norm], axis=1)
        value = np.where(np.isfinite(loss), -loss if self.targeted else loss, 0).astype(np.float32)
        found = best, success, distance, queries, value, np.zeros(len(x), bool), traced
        if failure is not None:
            reason = np.where(success, "", "the label source failed").astype(np.str_)
            raise stopped(model, failure, AttackResult(*found, reason)) from failure
        return found

    def _judged(self, model: Any, x: Array, labels: Array) -> tuple[npt.NDArray[np.bool_], Floats]:
        """Return which rows succeed, and the margin: of label sources ±1, else what the attack raises."""
        if isinstance(model, LabelSource):
            won = (as_numpy("labels", model.predict(x)) == labels) == self.targeted
            return won, np.where(won, 1, -1).astype(np.float32)
        logits = as_numpy("logits", model(x))
        if logits.shape[1] == 1:  # a single logit speaks for label 1
            logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
        class_indices("y", labels, len(x), logits.shape[1])
        won = (logits.argmax(axis=1) == labels) == self.targeted
        own = np.arange(logits.shape[1]) == labels[:, None]
        margin = np.where(own, -np.inf, logits).max(axis=1).astype(np.float32) - logits[own]
        return won, -margin if self.targeted else margin

    def _moved(self, x: Array, images: Floats, rows: Array, ids: Array, number: int, size: tuple[int, int]) -> Array:
        """Return the rows under one transformation, in x's shape and dtype."""
        if self.draws > 0:
            turns = [np.random.default_rng([self.seed, int(ids[r]), number]).uniform(-1, 1, 3) for r in rows]
        else:
            turns = [self._of_grid(number)]
        turn = np.stack(turns) * (np.deg2rad(self.degrees), self.pixels, self.pixels)
        moved = transformed(images[rows], turn, size, self.fill).reshape(len(rows), *x.shape[1:])
        if self.bounds is not None:
            lo, hi = (
                np.broadcast_to(side, x[0].size).reshape(x.shape[1:])
                for side in normal_bounds(self.bounds, x.shape[1:])
            )
            moved = np.clip(moved, lo, hi)
        return moved.astype(x.dtype)

    def _of_grid(self, number: int) -> Doubles:
        """Return a transformation of the grid, each part in [-1, 1]."""
        at = np.unravel_index(number, self.grid)
        return np.array([2 * i / (n - 1) - 1 if n > 1 else 0.0 for i, n in zip(at, self.grid, strict=True)])
