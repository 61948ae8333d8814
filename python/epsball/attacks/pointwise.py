"""Pointwise: an adversarial point goes back to the input, one feature after another, by labels alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from epsball import _native
from epsball.arguments import flag, settle, whole
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.decision import check_budget, check_start, run_decision


@dataclass(frozen=True, eq=False)
class Pointwise(Attack):
    """Features of an adversarial point go back to x one by one (Schott et al. 2019, arXiv 1805.09190).

    It asks for labels and for nothing else. A row begins at an adversarial point. In a random order every feature that
    differs from x gets x's value, and keeps it where the point stays adversarial; passes follow until one changes
    nothing. With `refine` those features that remain then go as far towards x as they can, by a bisection of ten cuts
    each, in passes too. Every change brings the point nearer to x in all norms.

    A row without a starting point fails alone: x itself comes back, and ``result.reason`` says why. The trace is the
    distance at the start and at the end.

    Parameters
    ----------
    norm
        "l0", "l1", "l2" or "linf": of ``result.distance``; it changes nothing else.
    steps
        The most passes, of either kind.
    refine
        Whether features go a part of their way, too.
    budget
        The most queries for a row, all of them counted; None: no limit.
    starts
        How many uniformly random points of the box are tried until one is adversarial.
    start
        Points to begin at instead, one for each row of x and of its shape, brought into box and mask: the sparser they
        differ from x, the fewer the queries.
    targeted
        y are the classes wanted, not the ones to leave; random points are seldom of a wanted class, so pass `start`.
    bounds, mask
        As in `PGD`; without bounds `start` is needed.
    seed
        Of the random points and orders, in [0, 2**64).
    """

    reads_x: ClassVar[bool] = True

    norm: str = "l0"
    steps: int = 10
    refine: bool = True
    budget: int | None = None
    starts: int = 100
    start: Any = None
    targeted: bool = False
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    seed: int = 0

    norms: ClassVar[tuple[str, ...]] = ("l0", "l1", "l2", "linf")
    needs: ClassVar[str] = "labels"

    def __post_init__(self) -> None:
        settle(self, budget=check_budget("budget", self.budget), start=check_start("start", self.start))
        super().__post_init__()
        settle(
            self,
            steps=whole("steps", self.steps, 1),
            refine=flag("refine", self.refine),
            starts=whole("starts", self.starts, 1, 2**24 - 1),
        )

    def _attack(self, model: Any, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        return run_decision(self, _native.pointwise, model, x, y, index, judged=judged, trace=trace, refine=self.refine)
