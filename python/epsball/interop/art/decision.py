"""ART's attacks on labels alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from epsball import attacks
from epsball.arguments import whole
from epsball.arrays import Array
from epsball.interop.art.arguments import check_only, draw_seed, norm_of
from epsball.interop.art.base import MinimumNorm


class _Decision(MinimumNorm):
    """Attacks on labels alone, which begin at an adversarial point.

    Without ``clip_values`` the box is the range of x, as in ART.
    """

    def generate(
        self, x: Array, y: Array | None = None, mask: Array | None = None, x_adv_init: Array | None = None
    ) -> Array:
        """Return the adversarial inputs, as `EvasionAttack.generate`; `x_adv_init` are points to begin at."""
        self._start = None if x_adv_init is None else np.asarray(x_adv_init, np.float32)
        values = np.asarray(x, np.float32)
        self._range = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
        return super().generate(x, y, mask)

    def _common(self, mask: Any) -> dict[str, Any]:
        common = super()._common(mask) | {"start": self._start, "seed": draw_seed()}
        return common | {"bounds": self._range} if common["bounds"] is None else common


@dataclass(eq=False, repr=False)
class BoundaryAttack(_Decision):
    """A walk along the boundary (see `attacks.Boundary`), targeted unless told otherwise, as in ART.

    ART asks about `sample_size` points at every step; here the walk takes ``max_iter · sample_size`` steps of its own.
    `num_trial` changes nothing; `step_adapt` and `min_epsilon` have one value only.
    """

    estimator: Any
    batch_size: int = 64
    targeted: bool = True
    delta: float = 0.01
    epsilon: float = 0.01
    step_adapt: float = 0.667
    max_iter: int = 5000
    num_trial: int = 25
    sample_size: int = 20
    init_size: int = 100
    min_epsilon: float = 0.0
    verbose: bool = True

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.Boundary`."""
        steps = whole("max_iter", self.max_iter, 1) * whole("sample_size", self.sample_size, 1)
        return attacks.Boundary(steps, orthogonal=self.delta, towards=self.epsilon, starts=self.init_size, **common)

    def _check(self) -> None:
        super()._check()
        whole("num_trial", self.num_trial, 1)
        check_only(step_adapt=(self.step_adapt, 0.667), min_epsilon=(self.min_epsilon, 0.0))


@dataclass(eq=False, repr=False)
class HopSkipJump(_Decision):
    """The boundary from labels (see `attacks.HopSkipJump`)."""

    classifier: Any
    batch_size: int = 64
    targeted: bool = False
    norm: Any = 2
    max_iter: int = 50
    max_eval: int = 10000
    init_eval: int = 100
    init_size: int = 100
    verbose: bool = True

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.HopSkipJump`."""
        options: dict[str, Any] = {"init_evals": self.init_eval, "max_evals": self.max_eval, "starts": self.init_size}
        return attacks.HopSkipJump(norm_of(self.norm), self.max_iter, **options, **common)
