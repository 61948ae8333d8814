"""HopSkipJump: the boundary's direction from labels of random samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from epsball import _native
from epsball.arguments import settle, whole
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.decision import check_budget, check_start, run_decision, widest


@dataclass(frozen=True, eq=False)
class HopSkipJump(Attack):
    """HopSkipJump: gradient estimates at the boundary from labels (Chen et al. 2020, arXiv 1904.02144).

    It asks for labels and for nothing else, so that it runs on `LabelOracle`, `Trees` and `KNN` as on every model. A
    row begins at an adversarial point, and bisection takes it to the boundary. In step t, the labels (±1, less their
    mean) of random samples around the point estimate the boundary's normal; the row moves along it by distance / √t,
    a length that is halved until the new point is adversarial; bisection takes it back to the boundary. Step t uses √t
    times the samples of the first. Of d features, bisection ends at d^(−3/2) of the segment (L∞: d^−2), but after 10
    halvings at least, as that is coarse for small d, and 24 at most. Probes lie on a sphere around the point, of a
    tenth of the box's longest side in the first step, later of 1/d of the distance before the bisection.

    Every row keeps its nearest adversarial point. One without a starting point fails alone: x itself comes back, and
    ``result.reason`` says why. The trace is the smallest distance so far, at the start and after every step.

    Parameters
    ----------
    norm
        "l2" or "linf", which the attack minimises.
    steps
        Moves along the estimated normal.
    budget
        The most queries for a row, all of them counted; None: no limit but the number of steps.
    init_evals, max_evals
        Probes of the first step, and the most of any step.
    starts, start, targeted
        As in `Boundary`.
    bounds, mask
        As in `PGD`; without bounds `start` is needed.
    seed
        Of the random points and samples, in [0, 2**64).
    """

    reads_x: ClassVar[bool] = True

    norm: str = "l2"
    steps: int = 64
    budget: int | None = None
    init_evals: int = 100
    max_evals: int = 10000
    starts: int = 100
    start: Any = None
    targeted: bool = False
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    seed: int = 0

    norms: ClassVar[tuple[str, ...]] = ("l2", "linf")
    needs: ClassVar[str] = "labels"

    def __post_init__(self) -> None:
        settle(self, budget=check_budget("budget", self.budget), start=check_start("start", self.start))
        super().__post_init__()
        settle(
            self,
            max_evals=whole("max_evals", self.max_evals, 1),
            starts=whole("starts", self.starts, 1, 2**24 - 1),
        )

    def _attack(self, model: Any, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        side = widest(self.bounds)
        return run_decision(
            self, _native.hop_skip_jump, model, x, y, index, judged=judged, trace=trace,
            init_evals=self.init_evals, max_evals=self.max_evals, first_delta=0.1 * side if side < 1e37 else 0.0,
        )  # fmt: skip
