"""One perturbation for all inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from epsball import ops
from epsball.arguments import FLOAT32, class_indices, number, require_targets, settle, whole
from epsball.arrays import Array, as_numpy, like, moved_by
from epsball.attacks.base import Attack, Bounds, Found, check_model, device_of
from epsball.attacks.loop import default_step_size
from epsball.attacks.options import mask_of, normal_bounds
from epsball.classifier import Classifier

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
_JUDGED = 2  # forward passes that tell success and loss


@dataclass(frozen=True, eq=False)
class Universal(Attack):
    """One perturbation v that fools a model on most inputs (Moosavi-Dezfooli et al. 2017, arXiv 1610.08401).

    v ascends the mean gradient of the loss, batch after batch, and is projected onto the ball after every step (Shafahi
    et al. 2020, arXiv 1811.11304); the original runs DeepFool on one input after another. A row with a loss above
    `ceiling` contributes no gradient: otherwise the few rows that are fooled already would dominate the mean. v is
    measured on all rows before the first and after every epoch; the one that fools the most rows is returned, among
    equals the one of highest mean loss.

    ``attack.run(model, x, y)`` fits v to x and applies it to x; ``result.perturbation`` is v. `fit` and `apply` do
    either, for other inputs than those it was found on. A row's result depends on the whole of x, by nature.

    Parameters
    ----------
    eps
        Radius of the ball around 0 that v lies in, a number.
    norm
        "linf", "l2" or "l1".
    epochs
        Passes over x.
    batch_size
        Rows per step.
    step_size
        Length of a step in `norm`; None: 2.5 · eps / (epochs · batches).
    ceiling
        None: 2 ln K of K classes for the cross-entropy, where the label has a probability of 1/K², and no ceiling for
        other losses, or if `targeted`.
    targeted
        y are the classes wanted, not the ones to leave.
    loss, bounds
        As in `PGD`.
    mask
        As in `PGD`, of one input.
    seed
        Of the order of rows.
    """

    eps: float
    norm: str = "linf"
    epochs: int = 10
    batch_size: int = 128
    step_size: float | None = None
    ceiling: float | None = None
    targeted: bool = False
    loss: str = "cross_entropy"
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    seed: int = 0

    reads_x: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        most = float(FLOAT32.max)
        settle(
            self,
            eps=number("eps", self.eps, 0.0, most),
            epochs=whole("epochs", self.epochs, 1),
            batch_size=whole("batch_size", self.batch_size, 1),
            step_size=None if self.step_size is None else number("step_size", self.step_size, 0.0, most),
            ceiling=None if self.ceiling is None else number("ceiling", self.ceiling, -most, most),
        )

    def fit(self, model: Classifier, x: Any, y: Any = None) -> Floats:
        """Return the perturbation, of one input's shape.

        Parameters
        ----------
        model, x, y
            As in a plain call; y class indices.

        Returns
        -------
        array
            float32, within the ball exactly.

        Raises
        ------
        ValueError, TypeError
            A bad argument, named.
        """
        require_targets(self, y)
        rows = as_numpy("x", x, device=device_of(model))
        fitted, _, _ = self._fit(model, rows, self._labels(model, rows, y))
        return fitted.reshape(rows.shape[1:])

    def apply(self, perturbation: Any, x: Any) -> Any:
        """Return x + perturbation within the box, of x's kind, shape and dtype.

        Parameters
        ----------
        perturbation
            What `fit` returned.
        x
            (N, ...) float32, float64 or float16, within `bounds`.

        Returns
        -------
        array
            No value further from x than the perturbation's.

        Raises
        ------
        ValueError, TypeError
            A bad argument, named.
        """
        rows, v = as_numpy("x", x, device="cuda"), as_numpy("perturbation", perturbation, device="cuda")
        if rows.dtype.kind != "f":
            raise TypeError(f"x: wanted float32, float64 or float16, got {rows.dtype}")
        if v.shape != rows.shape[1:]:
            raise ValueError(f"perturbation: wanted one input's shape {rows.shape[1:]}, got {v.shape}")
        self._check_inside(rows)
        return like(self._moved(rows, v.astype(np.float64).ravel()), x)

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        if trace:
            raise ValueError("trace: Universal moves all rows at once, so that none has iterates of its own")
        labels = self._labels(model, x, y)
        v, queries, still = self._fit(model, x, labels)
        x_adv = self._moved(x, v.astype(np.float64))
        d = x_adv.astype(np.float64).reshape(len(x), v.size) - x.reshape(len(x), v.size)
        distance = np.linalg.norm(d, {"linf": np.inf, "l2": 2, "l1": 1}[self.norm], axis=1)
        success, loss = self._judged(model, x_adv, labels)
        counts = np.full(len(x), 1 + queries + _JUDGED, np.int64)
        return x_adv, success, distance, counts, loss, still, None, None, v.reshape(x.shape[1:])

    def _labels(self, model: Classifier, x: Array, y: Any) -> Array:
        check_model(model)
        predicted = model.predict(x)  # which checks x
        given = as_numpy("y", predicted if y is None else y, device=device_of(model))
        labels = class_indices("y", given, len(x))
        self._check_inside(x)
        return labels

    def _fit(self, model: Classifier, x: Array, labels: Array) -> tuple[Floats, int, npt.NDArray[np.bool_]]:
        """Return the flat perturbation, the forward passes a row cost, and the rows that never had a gradient."""
        features = math.prod(x.shape[1:])
        free = np.ones(features, np.uint8) if self.mask is None else mask_of(self.mask, x.shape)
        if free.size != features:
            raise ValueError(f"mask: wanted that of one input, {x.shape[1:]}, as all share the perturbation")
        batches = -(-len(x) // self.batch_size)
        size = default_step_size(self.eps, self.epochs * batches) if self.step_size is None else self.step_size
        ceiling = self._ceiling(model, x)
        v, still = np.zeros(features, np.float32), np.ones(len(x), bool)
        best, best_score = v, self._score(model, x, labels, v, ceiling)
        for epoch in range(self.epochs):
            order = np.random.default_rng([self.seed, epoch]).permutation(len(x))
            for start in range(0, len(x), self.batch_size):
                rows = order[start : start + self.batch_size]
                gradient = self._gradient(model, x[rows], labels[rows], v, ceiling)
                still[rows] &= ~gradient.any(axis=1)
                mean = gradient.mean(axis=0, dtype=np.float64) * free
                v = self._stepped(v, -mean if self.targeted else mean, size)
            score = self._score(model, x, labels, v, ceiling)
            if score > best_score:
                best, best_score = v, score
        gradients = 1 if ceiling == math.inf else 2
        return best, _JUDGED + self.epochs * (gradients + _JUDGED), still

    def _ceiling(self, model: Classifier, x: Array) -> float:
        if self.targeted:
            return math.inf
        if self.ceiling is None:
            return 2 * math.log(max(model._engine(x, True).classes, 2)) if self.loss == "cross_entropy" else math.inf
        return self.ceiling

    def _gradient(self, model: Classifier, x: Array, labels: Array, v: Floats, ceiling: float) -> Floats:
        """Return each row's derivative by v, which is 0 where the box holds the row's feature or its loss is enough."""
        x_adv = self._moved(x, v.astype(np.float64))
        g = as_numpy("gradient", model.input_gradient(x_adv, labels, loss=self.loss)).reshape(len(x), v.size)
        lo, hi = self._box(x)
        reached = x.reshape(len(x), v.size) + v.astype(np.float64)
        live = (reached >= lo) & (reached <= hi)
        if ceiling < math.inf:
            live &= (as_numpy("loss", model.loss(x_adv, labels, loss=self.loss)) < ceiling)[:, None]
        return np.where(live, g, np.float32(0)).astype(np.float32)

    def _stepped(self, v: Floats, mean: Doubles, size: float) -> Floats:
        top = np.abs(mean).max(initial=0.0)
        if top == 0:
            return v
        g = mean / top
        if self.norm == "linf":
            d = np.sign(g)
        elif self.norm == "l2":
            d = g / np.linalg.norm(g)
        else:
            d = np.where(np.arange(g.size) == np.abs(g).argmax(), np.sign(g), 0.0)
        moved = (v + size * d).astype(np.float32)[None]
        return np.asarray(ops.project_(moved, np.zeros_like(moved), self.eps, self.norm, bounds=None)[0])

    def _score(self, model: Classifier, x: Array, labels: Array, v: Floats, ceiling: float) -> tuple[float, float]:
        """Return how many rows v fools, and how well."""
        if len(x) == 0:
            return 0.0, 0.0
        success, loss = self._judged(model, self._moved(x, v.astype(np.float64)), labels)
        mean = float(np.minimum(loss, ceiling).mean(dtype=np.float64))
        return float(success.mean()), -mean if self.targeted else mean

    def _judged(self, model: Classifier, x_adv: Array, labels: Array) -> tuple[npt.NDArray[np.bool_], Floats]:
        success = (as_numpy("labels", model.predict(x_adv)) == labels) == self.targeted
        return success, as_numpy("loss", model.loss(x_adv, labels, loss=self.loss))

    def _box(self, x: Array) -> tuple[Any, Any]:
        return (-np.inf, np.inf) if self.bounds is None else normal_bounds(self.bounds, x.shape[1:])

    def _check_inside(self, x: Array) -> None:
        lo, hi = self._box(x)
        rows = x.reshape(len(x), math.prod(x.shape[1:])).astype(np.float64)
        outside = (rows < lo) | (rows > hi)
        if outside.any():
            row, feature = np.argwhere(outside)[0]
            raise ValueError(f"x: wanted values within bounds, got {rows[row, feature]:g} in row {row}")

    def _moved(self, x: Array, v: Doubles) -> Array:
        """Return x + v within the box in x's dtype, rounded towards x, so that no feature moves further than v says."""
        rows = x.reshape(len(x), math.prod(x.shape[1:]))
        return moved_by(rows, v, *self._box(x)).reshape(x.shape)
