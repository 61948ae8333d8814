"""Substitute: a model of one's own learns what a black box answers, and what fools it is tried on the black box."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from epsball import ops
from epsball.arguments import number, settle, whole
from epsball.arrays import Array, as_numpy
from epsball.attacks.base import Attack, AttackResult, Bounds, Found, check_model, from_dict
from epsball.attacks.decision import AttackStopped, check_budget
from epsball.attacks.fgsm import FGSM
from epsball.model import Sequential
from epsball.sources.base import LabelSource

BATCH = 512  # rows whose Jacobians are held at once


@dataclass(frozen=True, eq=False)
class Substitute(Attack):
    """Transfer from a substitute trained on a black box's labels (Papernot et al. 2017, arXiv 1602.02697).

    The substitute learns the labels of `seeds`. Then, round after round, every point x known so far gets a companion
    x + λ sign(∂z_k/∂x), with z_k the substitute's logit of the label that the black box gave x; the black box labels
    the companions, and the substitute is trained on. λ changes its sign every three rounds (Papernot et al. 2016,
    arXiv 1605.07277). What `inner` finds on the substitute is the result, and success what the black box says of it:
    one question per row, counted in ``result.queries``. Training asks for `seeds` and companions on top, as the
    source's own meter tells; what the source raises then comes through as it is, for nothing has been found yet.

    Parameters
    ----------
    seeds
        (M, ...) float points of the kind of input, not those under attack.
    inner
        The attack on the substitute.
    rounds
        Of training; the points double after each but the last.
    budget
        The most labels that training may cost; where it does not suffice for all companions a random part of the
        points gets one. None: seeds · 2^(rounds − 1).
    augment
        λ.
    epochs
        Of training, in every round.
    hidden
        Widths of the substitute's hidden layers, ReLU.
    classes
        Of the substitute; None: what the black box says it has.
    bounds
        The box that companions are clipped to.
    seed
        Of initial weights, order and random parts, in [0, 2**64).

    Examples
    --------
    >>> import epsball as eb
    >>> attack = eb.attacks.Substitute(seeds, inner=eb.attacks.FGSM(eps=0.3))  # doctest: +SKIP
    >>> result = attack.run(eb.LabelOracle(service, classes=10), x, y)  # doctest: +SKIP
    >>> substitute = attack.train(eb.LabelOracle(service, classes=10))  # doctest: +SKIP
    """

    reads_x: ClassVar[bool] = True

    seeds: Any
    inner: Any = field(default_factory=lambda: FGSM(eps=0.3))
    rounds: int = 6
    budget: int | None = None
    augment: float = 0.1
    epochs: int = 10
    hidden: tuple[int, ...] = (200, 200)
    classes: int | None = None
    bounds: Bounds = (0.0, 1.0)
    seed: int = 0

    needs: ClassVar[str] = "labels"

    def __post_init__(self) -> None:
        super().__post_init__()
        inner = from_dict(self.inner) if isinstance(self.inner, dict) else self.inner
        if not isinstance(inner, Attack) or inner.needs not in ("gradients", "scores"):
            raise TypeError(f"inner: wanted an attack that follows gradients, got {inner!r}")
        own = np.array(as_numpy("seeds", self.seeds), np.float32)
        if own.ndim < 2 or len(own) == 0 or not np.isfinite(own).all():
            raise ValueError(f"seeds: wanted finite points (M, ...), at least one, got shape {own.shape}")
        own.flags.writeable = False
        settle(
            self,
            seeds=own,
            inner=inner,
            rounds=whole("rounds", self.rounds, 1, 30),
            budget=check_budget("budget", self.budget),
            augment=number("augment", self.augment, 0.0, 1e30),
            epochs=whole("epochs", self.epochs, 1),
            hidden=tuple(whole("hidden", width, 1) for width in self.hidden),
            classes=None if self.classes is None else whole("classes", self.classes, 2),
        )
        if self.budget is not None and self.budget < len(own):
            raise ValueError(f"budget: wanted at least one label for each of {len(own)} seeds, got {self.budget}")

    @property
    def targeted(self) -> bool:
        """Whether y are the classes wanted: as for the attack on the substitute."""
        return bool(getattr(self.inner, "targeted", False))

    def train(self, model: Any) -> Sequential:
        """Return a substitute trained on the labels of `model`.

        Parameters
        ----------
        model
            The black box: a label source, or any model, of which only ``predict`` is used.

        Raises
        ------
        ValueError
            The number of classes is not known, or a label is none of them.
        """
        from epsball.training.fit import fit

        classes = self._classes(model)
        points, labels = self.seeds, self._ask(model, self.seeds, classes)
        shape = points.shape[1:]
        substitute = _network(shape, self.hidden, classes, self.seed)
        for turn in range(self.rounds):
            fit(substitute, points, labels, epochs=self.epochs, batch_size=min(128, len(points)), seed=self.seed)
            if turn == self.rounds - 1:
                break
            rows = self._chosen(len(points), turn)
            new = self._companions(substitute, points[rows], labels[rows], turn)
            if len(new) == 0:
                break
            points = np.concatenate([points, new])
            labels = np.concatenate([labels, self._ask(model, new, classes)])
        return substitute

    def _attack(self, model: Any, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        black_box = isinstance(model, LabelSource)
        if not black_box:
            check_model(model)
        targeted = self.targeted
        labels = as_numpy("y", model.predict(x) if y is None else y)
        found = self.inner.run(self.train(model), x, labels, index, trace=trace)
        queries = np.full(len(x), 1 + (y is None), np.int64)

        def judged_as(success: Array, reason: str) -> tuple[Any, ...]:
            loss = np.where(success, 1, -1).astype(np.float32) * (-1 if targeted else 1)
            why = np.where(success, "", reason).astype(np.str_)
            return found.x_adv, success, found.distance, queries, loss, found.zero_gradient, found.trace, why

        try:
            given = as_numpy("labels", model.predict(found.x_adv))
        except Exception as error:
            if not black_box:
                raise
            nothing = judged_as(np.zeros(len(x), bool), "the label source failed before it judged the point")
            message = f"{type(model).__name__} raised {type(error).__name__}: {error}; the points are in .result"
            raise AttackStopped(message, AttackResult(*nothing)) from error
        return judged_as((given == labels) == targeted, "the substitute's point does not transfer")

    def _classes(self, model: Any) -> int:
        given = self.classes if self.classes is not None else model.classes
        if given is None:
            raise ValueError("classes: the black box does not say how many it has; wanted their number")
        return max(int(given), 2)

    def _ask(self, model: Any, points: Array, classes: int) -> npt.NDArray[np.int64]:
        labels: npt.NDArray[np.int64] = as_numpy("labels", model.predict(points))
        if labels.max() >= classes:
            raise ValueError(f"classes: wanted labels from 0 to {classes - 1}, got {labels.max()}")
        return labels

    def _chosen(self, known: int, turn: int) -> npt.NDArray[np.int64]:
        """Return which points get a companion: all of them, or a random part where the budget ends."""
        left = known if self.budget is None else min(self.budget - known, known)
        return np.sort(np.random.default_rng([self.seed, turn]).permutation(known)[:left])

    def _companions(self, substitute: Sequential, points: Array, labels: Array, turn: int) -> Array:
        if len(points) == 0:
            return points
        direction = np.float32(1 if turn // 3 % 2 == 0 else -1)
        moved = points.copy()
        for first in range(0, len(points), BATCH):
            x, y = points[first : first + BATCH], labels[first : first + BATCH]
            slope = substitute.jacobian(x)[np.arange(len(x)), y] * direction
            ops.sign_step_(moved[first : first + BATCH], slope, x, step_size=self.augment, eps=self.augment,
                       bounds=self.bounds)  # fmt: skip
        return moved


def _network(shape: tuple[int, ...], hidden: tuple[int, ...], classes: int, seed: int) -> Sequential:
    from epsball.layers import Flatten, Linear, ReLU

    widths = [int(np.prod(shape)), *hidden]
    layers: list[Any] = [] if len(shape) == 1 else [Flatten()]
    for inputs, outputs in pairwise(widths):
        layers += [Linear(inputs, outputs), ReLU()]
    return Sequential([*layers, Linear(widths[-1], classes)], input_shape=shape, seed=seed)
