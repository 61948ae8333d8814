"""AutoAttack: an ensemble of attacks without parameters, each on the rows that those before it did not break."""

from __future__ import annotations

import math
import sys
import warnings
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any, ClassVar

import numpy as np

from epsball.arguments import class_indices, one_of
from epsball.arrays import Array, as_numpy
from epsball.attacks.apgd import APGD
from epsball.attacks.base import Attack, Bounds, Found, check_model, configured, device_of
from epsball.attacks.fab import FAB
from epsball.attacks.options import check_index
from epsball.attacks.square import Square
from epsball.classifier import Classifier

VERSIONS = ("standard", "plus", "rand")


class AutoAttackWarning(UserWarning):
    """What AutoAttack measures may say little about the model, for the reason given."""


@dataclass(frozen=True, eq=False)
class AutoAttack(Attack):
    """AutoAttack (Croce and Hein 2020, arXiv 2003.01690), with the members and counts of the authors' code.

    Rows that are misclassified as they are, and those a member has broken, leave at once. A row that no member breaks
    returns the point with the largest margin that any of them found.

    It warns (`AutoAttackWarning`) if the logits change from call to call (but for "rand"), look like probabilities, or
    have a zero gradient for at least a tenth of the rows; if Square breaks more than 0.2 % of the rows after the
    gradient attacks; and if there are fewer than four classes, when cross-entropy replaces the targeted ratio.

    Parameters
    ----------
    eps, norm, bounds, mask, seed
        As in `PGD`.
    version
        "standard": APGD with cross-entropy, APGD towards 9 classes with the targeted ratio, FAB-T towards 9 classes,
        100 steps each, Square with 5,000 queries; for L1 the first has 5 restarts and the second 5 classes. "plus":
        APGD with cross-entropy and with the ratio and FAB, 5 restarts each (FAB's lie within half of eps, or of its own
        radius where every row has an eps), Square, then APGD and FAB-T towards 9 classes. "rand", for models with
        random logits: APGD with cross-entropy and with the ratio, each with 20 draws of the model at every point.
    """

    reads_x: ClassVar[bool] = True

    eps: Any
    norm: str = "linf"
    version: str = "standard"
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("version", self.version, VERSIONS)

    @property
    def ends_at_success(self) -> bool:
        """True: a row that a member breaks leaves."""
        return True

    def members(self, classes: int) -> list[Attack]:
        """Return the attacks, in order, for a model of `classes` classes."""
        shared: dict[str, Any] = {"norm": self.norm, "bounds": self.bounds, "seed": self.seed, "early_stop": True}
        sparse = self.norm == "l1" and self.version == "standard"  # more starts, fewer targets
        targets = min(5 if sparse else 9, max(classes - 1, 1))
        ratio, ratio_aimed = ratios(classes)
        aimed = APGD(self.eps, targets=targets, loss=ratio_aimed, **shared)
        square = Square(self.eps, **shared)
        near = FAB(norm=self.norm, bounds=self.bounds, seed=self.seed)
        near_aimed = replace(near, targets=min(9, max(classes - 1, 1)))
        if self.version == "rand":
            draws = {"model_draws": 20, **shared}
            return [APGD(self.eps, **draws), APGD(self.eps, loss=ratio, **draws)]
        if self.version == "plus":
            restarts = {"restarts": 5, **shared}
            near = replace(near, restarts=5, radius=None if isinstance(self.eps, np.ndarray) else self.eps)
            free = [APGD(self.eps, **restarts), APGD(self.eps, loss=ratio, **restarts), near, square]
            return [*free, aimed, near_aimed]
        return [APGD(self.eps, restarts=5 if sparse else 1, **shared), aimed, near_aimed, square]

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        check_model(model)
        if trace:
            raise ValueError("trace: AutoAttack has none; its members have")
        classes = model._engine(x, True).classes
        given = model.predict(x) if y is None else as_numpy("y", y, device=device_of(model))
        labels = class_indices("y", given, len(x), max(classes, 2))
        run = _Run(model, x, labels, np.arange(len(x)) if index is None else check_index(index, len(x)))
        warn_of_model(model, x, labels, random=self.version == "rand")
        for attack in self.members(classes):
            before = run.success.sum()
            run.on_the_rest(attack, self)
            if isinstance(attack, Square):
                warn_of_square(int(run.success.sum() - before), len(x))
        return run.found(self.norm)


def ratios(classes: int) -> tuple[str, str]:
    """Return the losses that stand for the ratio of logits and for the targeted one, with so many classes."""
    return "dlr" if classes >= 3 else "margin", "dlr" if classes >= 4 else "cross_entropy"


class _Run:
    """The rows of one call: what is broken, and the best point of what is not."""

    def __init__(self, model: Classifier, x: Array, labels: Array, index: Array) -> None:
        self.model, self.x, self.labels, self.index = model, x, labels, index
        self.x_adv = np.array(x)
        self.success = np.asarray(model.predict(x)) != labels
        self.loss = np.array(model.loss(x, labels, loss="margin"), np.float32)
        self.queries = np.ones(len(x), np.int64)
        self.still = np.ones(len(x), bool)

    def on_the_rest(self, attack: Attack, whole: AutoAttack) -> None:
        """Run one member on the rows that are not broken yet."""
        rows = np.flatnonzero(~self.success)
        if len(rows) == 0:
            return
        options, eps = dict(attack.__dict__), _of_rows(whole.eps, rows)
        if "eps" in options:
            options["eps"] = eps
        if whole.mask is not None:
            options["mask"] = np.broadcast_to(as_numpy("mask", whole.mask), self.x.shape)[rows]
        found = type(attack)(**options).run(self.model, self.x[rows], self.labels[rows], index=self.index[rows])
        margin = np.asarray(self.model.loss(found.x_adv, self.labels[rows], loss="margin"))
        inside = found.distance <= eps  # a minimum-norm member may end beyond
        broken = found.success & inside
        better = broken | ((margin > self.loss[rows]) & inside)
        self.x_adv[rows[better]] = found.x_adv[better]
        self.loss[rows[better]] = margin[better]
        self.success[rows] = broken
        self.queries[rows] += found.queries
        self.still[rows] &= found.zero_gradient

    def found(self, norm: str) -> Found:
        """Return the fields of `AttackResult`."""
        d = np.abs(self.x_adv.astype(np.float64) - self.x.astype(np.float64))
        d = d.reshape(len(d), math.prod(d.shape[1:]))
        length = {"linf": d.max(axis=1, initial=0.0), "l2": np.sqrt((d**2).sum(axis=1)), "l1": d.sum(axis=1)}[norm]
        return self.x_adv, self.success, length, self.queries, self.loss, self.still & ~self.success, None


def _of_rows(value: Any, rows: Array) -> Any:
    return value[rows] if isinstance(value, np.ndarray) and value.ndim else value


# ---- warnings


def _warn(text: str) -> None:
    """Warn at the line outside epsball that led here."""
    frame: FrameType | None = sys._getframe()
    level = 1
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "epsball":
        frame, level = frame.f_back, level + 1
    warnings.warn(text, AutoAttackWarning, stacklevel=level)


def warn_of_model(model: Classifier, x: Array, labels: Array, *, random: bool) -> None:
    """Warn of models that AutoAttack measures badly; `random`: its version is that for random models."""
    if len(x) == 0:
        return
    few = slice(0, 100)
    logits = np.asarray(model(x[few]), np.float64)
    classes = logits.shape[1]
    if not random and (logits != np.asarray(model(x[few]))).any():
        _warn("the model's logits change from call to call: use version='rand'")
    if classes > 1 and (logits >= 0).all() and (np.abs(logits.sum(axis=1) - 1) < 1e-4).all():
        _warn("the model's logits look like probabilities: attack what goes into its softmax")
    if classes < 4:
        _warn(f"{max(classes, 2)} classes are too few for the targeted ratio, which needs 4")
    gradient = np.asarray(model.input_gradient(x[few], labels[few], loss="margin"))
    if (gradient == 0).reshape(len(gradient), -1).all(axis=1).mean() >= 0.1:
        _warn("a tenth of the rows or more have no gradient: robust accuracy may be overestimated")


def warn_of_square(broken: int, rows: int) -> None:
    """Warn where Square breaks many rows that the attacks before it left."""
    if broken > 0.002 * rows:
        _warn(f"Square broke {broken} rows that gradients did not: the model masks its gradients")


def autoattack(
    model: Classifier,
    x: Any,
    y: Any = None,
    eps: Any = 0.3,
    norm: str = "linf",
    version: str = "standard",
    bounds: Bounds = (0.0, 1.0),
    mask: Any = None,
    seed: int = 0,
    index: Any = None,
) -> Any:
    """AutoAttack in one call: ``attacks.AutoAttack(eps, ...)(model, x, y)`` (Croce and Hein 2020, arXiv 2003.01690).

    Parameters
    ----------
    model
        The model attacked: epsball's own or a gradient source.
    x
        (N, ...) float32, float64 or float16, within `bounds`: a NumPy array, a torch tensor or another array, in CPU
        memory or, for a model on it, on the CUDA device.
    y
        Class indices (N,). None: the model's own predictions.
    eps
        Radius of the ball: a number or one per row.
    norm, version, bounds, mask, seed
        As in `attacks.AutoAttack`.
    index
        (N,) integers that key each row's random numbers; None: 0 … N−1.

    Returns
    -------
    array
        The adversarial points, of x's kind, shape and dtype; ball and box hold exactly, measured in float64.

    Raises
    ------
    ValueError, TypeError
        A bad argument, named.
    """
    return configured(AutoAttack, eps, norm, version, bounds, mask, seed)(model, x, y, index)
