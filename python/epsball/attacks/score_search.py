"""What attacks share that try points and look at logits: the rows' problem, and the best point of each so far."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from epsball.arguments import class_indices
from epsball.arrays import Array, as_numpy
from epsball.attacks.base import Found, check_model
from epsball.attacks.options import check_index, mask_of, normal_bounds
from epsball.classifier import Classifier

Doubles = npt.NDArray[np.float64]
BATCH = 2**24  # values of inputs that the model sees together


class ScoreSearch:
    """Rows under attack, x itself judged; a row is over when it succeeds, and without success it is x itself.

    Parameters
    ----------
    attack
        Its `bounds`, which must be finite, `mask` and `targeted`, if it has one.
    model, x, y, index
        As in a call of the attack.

    Attributes
    ----------
    x, labels, ids
        (N, ...), (N,) classes, (N,) integers that key random numbers.
    lower, upper
        Of one input's shape, float64.
    best, success, loss
        Points of x's dtype; whether they succeed; their cross-entropy.
    queries
        (N,) forward passes.
    """

    def __init__(self, attack: Any, model: Classifier, x: Array, y: Any, index: Any) -> None:
        check_model(model)
        if x.dtype.kind != "f":
            raise TypeError(f"x: wanted float32, float64 or float16, got {x.dtype}")
        self.model, self.x = model, x
        self.targeted = bool(getattr(attack, "targeted", False))
        self.ids = np.arange(len(x)) if index is None else check_index(index, len(x))
        self.queries = np.full(len(x), int(y is None), np.int64)
        self.labels = class_indices("y", model.predict(x) if y is None else y, len(x))
        self.lower, self.upper = self._box(attack.bounds)
        self._free = np.ones(x.shape, bool) if attack.mask is None else self._mask(attack.mask)
        self.best = np.array(x)
        self.success, loss = self.judge(np.arange(len(x)), x)
        self.loss = loss.astype(np.float32)

    def left(self) -> npt.NDArray[np.int64]:
        """Return the rows that have not succeeded."""
        return np.flatnonzero(~self.success)

    def judge(self, rows: npt.NDArray[np.int64], points: Array) -> tuple[npt.NDArray[np.bool_], Doubles]:
        """Return which points succeed, and their cross-entropy.

        Parameters
        ----------
        rows
            (n,) whose points these are.
        points
            (n, ...) of the inputs' shape, or (n, k, ...), k of each row: then results are (n, k), too.
        """
        many = points.shape[1] if points.ndim > self.x.ndim else 1
        flat = points.reshape(-1, *self.x.shape[1:])
        labels = np.repeat(self.labels[rows], many)
        at_once = max(BATCH // max(self.lower.size, 1), 1)
        parts = [as_numpy("logits", self.model(flat[i : i + at_once])) for i in range(0, len(flat), at_once)]
        logits = np.concatenate(parts) if parts else np.zeros((0, 2), np.float32)
        if logits.shape[1] == 1:  # a single logit speaks for label 1
            logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
        class_indices("y", labels, len(flat), logits.shape[1])
        self.queries[rows] += many
        won = (logits.argmax(axis=1) == labels) == self.targeted
        away = logits.astype(np.float64) - logits[np.arange(len(flat)), labels][:, None]
        top = away.max(axis=1, initial=0)
        loss = top + np.log(np.exp(away - top[:, None]).sum(axis=1))
        shape = (len(rows), many) if points.ndim > self.x.ndim else (len(rows),)
        return won.reshape(shape), loss.reshape(shape)

    def keep(self, rows: npt.NDArray[np.int64], points: Array, loss: Doubles) -> None:
        """Note points that succeed."""
        self.best[rows], self.loss[rows], self.success[rows] = points, loss, True

    def placed(self, rows: npt.NDArray[np.int64], points: Doubles) -> Array:
        """Return points (n, ...) or (n, k, ...) in the box, as the mask allows, in x's dtype."""
        between = (1,) * (points.ndim - self.x.ndim)
        x, free = (v[rows].reshape(len(rows), *between, *v.shape[1:]) for v in (self.x, self._free))
        inside = np.clip(points, self.lower, self.upper).astype(self.x.dtype)
        for side, wrong in ((-np.inf, np.greater), (np.inf, np.less)):  # where x's dtype has rounded out of the box
            bound = self.upper if side < 0 else self.lower
            inside = np.where(wrong(inside, bound), np.nextafter(inside, self.x.dtype.type(side)), inside)
        placed: Array = np.where(free, inside, x)
        return placed

    def free(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return where points of these rows may differ from x."""
        return self._free[rows]

    def found(self, norm: str, trace: list[Doubles] | None) -> Found:
        """Return the fields of an `AttackResult`."""
        d = (self.best.astype(np.float64) - self.x).reshape(len(self.x), self.lower.size)
        distance = np.linalg.norm(d, {"l0": 0, "l1": 1}[norm], axis=1)
        traced = None if trace is None else np.stack(trace, axis=1).astype(np.float32)
        return self.best, self.success, distance, self.queries, self.loss, np.zeros(len(self.x), bool), traced

    def _box(self, bounds: Any) -> tuple[Doubles, Doubles]:
        shape = self.x.shape[1:]
        if bounds is None:
            raise ValueError("bounds: wanted finite bounds, between which values are drawn, got None")
        lower, upper = (np.broadcast_to(side, np.prod(shape, dtype=int)).reshape(shape).astype(np.float64)
                        for side in normal_bounds(bounds, shape))  # fmt: skip
        if not (np.isfinite(lower).all() and np.isfinite(upper).all() and (lower <= upper).all()):
            raise ValueError(f"bounds: wanted finite bounds, the lower below the upper, got {bounds}")
        if not ((self.x >= lower) & (self.x <= upper)).all():
            raise ValueError("x: wanted values within bounds, got some outside, or NaN")
        return lower, upper

    def _mask(self, mask: Any) -> npt.NDArray[np.bool_]:
        flat = mask_of(mask, self.x.shape).astype(bool)
        return np.broadcast_to(flat.reshape(-1, *self.x.shape[1:]), self.x.shape)


def check_images(x: Array) -> tuple[int, int, int]:
    """Return (channels, height, width) of images."""
    if x.ndim not in (3, 4):
        raise ValueError(f"x: wanted images (N, channels, height, width) or (N, height, width), got shape {x.shape}")
    return (x.shape[1] if x.ndim == 4 else 1), x.shape[-2], x.shape[-1]


def streams(seed: int, ids: Array) -> list[np.random.Generator]:
    """Return a generator for every row, which depends on the seed and the row's index only."""
    return [np.random.default_rng([seed, int(i)]) for i in ids]
