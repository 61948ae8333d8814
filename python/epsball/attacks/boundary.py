"""Boundary: a walk along the decision boundary that needs labels only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from epsball import _native
from epsball.arguments import number, settle, whole
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.decision import check_budget, check_start, run_decision


@dataclass(frozen=True, eq=False)
class Boundary(Attack):
    """Boundary attack: a random walk towards x that stays adversarial (Brendel et al. 2018, arXiv 1712.04248).

    It asks for labels and for nothing else, so that it runs on `LabelOracle`, `Trees` and `KNN` as on every model. A
    row begins at an adversarial point, is brought to the boundary by bisection, and then takes one step after another:
    sideways at the same distance from x, along a Gaussian direction, and from there towards x. What is adversarial and
    nearer is kept. Every tenth step asks about the sideways point as well. Of each 30 sideways points, more than half
    adversarial makes both steps grow by 1.5, less than a fifth shrink by it. Of each 30 new points, more than a quarter
    adversarial makes the step towards x grow by 1.5, less than a tenth shrink by it. (The authors' code looks at the
    last 100 sideways points.)

    A row without a starting point fails alone: x itself comes back, and ``result.reason`` says why. The trace is the
    smallest distance so far, at the start and after every step.

    Parameters
    ----------
    steps
        Of the walk.
    budget
        The most queries for a row, all of them counted; None: no limit but the number of steps.
    orthogonal, towards
        Initial step sideways and towards x, relative to the distance from x: > 0, `towards` at most 1.
    starts
        How many uniformly random points of the box are tried until one is adversarial.
    start
        Points to begin at instead, one for each row of x and of its shape, brought into box and mask: images of the
        target class, or of any other one.
    targeted
        y are the classes wanted, not the ones to leave; random points are seldom of a wanted class, so pass `start`.
    bounds, mask
        As in `PGD`; without bounds `start` is needed.
    seed
        Of the random points and directions, in [0, 2**64).
    norm
        "l2", which is what the attack minimises.
    """

    reads_x: ClassVar[bool] = True

    steps: int = 25000
    budget: int | None = None
    orthogonal: float = 0.01
    towards: float = 0.01
    starts: int = 100
    start: Any = None
    targeted: bool = False
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    seed: int = 0
    norm: str = "l2"

    norms: ClassVar[tuple[str, ...]] = ("l2",)
    needs: ClassVar[str] = "labels"

    def __post_init__(self) -> None:
        settle(self, budget=check_budget("budget", self.budget), start=check_start("start", self.start))
        super().__post_init__()
        settle(
            self,
            orthogonal=number("orthogonal", self.orthogonal, 1e-9, 1e3),
            towards=number("towards", self.towards, 1e-9, 1.0),
            starts=whole("starts", self.starts, 1, 2**24 - 1),
        )

    def _attack(self, model: Any, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        return run_decision(
            self, _native.boundary, model, x, y, index, judged=judged, trace=trace,
            orthogonal=self.orthogonal, towards=self.towards,
        )  # fmt: skip
