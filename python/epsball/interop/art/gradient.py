"""ART's gradient attacks in a ball."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from epsball import attacks
from epsball.arguments import flag, number
from epsball.arrays import Array
from epsball.interop.art.arguments import draw_seed, norm_of, plain
from epsball.interop.art.base import EvasionAttack


@dataclass(eq=False, repr=False)
class FastGradientMethod(EvasionAttack):
    """One gradient step of eps, or with `minimal` the first multiple of `eps_step` that suffices (`attacks.FGSM`)."""

    estimator: Any
    norm: Any = np.inf
    eps: Any = 0.3
    eps_step: Any = 0.1
    targeted: bool = False
    num_random_init: int = 0
    batch_size: int = 32
    minimal: bool = False
    summary_writer: Any = False

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.FGSM`, or `attacks.PGD` of one step with a random start."""
        norm = norm_of(self.norm)
        if self.num_random_init == 0 or self.minimal:
            return attacks.FGSM(eps, norm=norm, **common)
        return attacks.PGD(eps, norm=norm, steps=1, step_size=eps, **self._random(), **common)

    def _found(self, model: Any, x: Array, y: Any, common: dict[str, Any]) -> Array:
        if not flag("minimal", self.minimal):
            return super()._found(model, x, y, common)
        if np.ndim(self.eps) or np.ndim(self.eps_step):
            raise ValueError("minimal: wanted numbers for eps and eps_step, got arrays")
        y = model.predict(x) if y is None else y
        found, left = x.copy(), np.arange(len(x))
        for k in range(1, int(self.eps / self.eps_step + 1e-9) + 1):
            result = self.translated(k * self.eps_step, common).run(model, x[left], y[left])
            found[left] = result.x_adv
            left = left[~result.success]
            if len(left) == 0:
                break
        return found


@dataclass(eq=False, repr=False)
class ProjectedGradientDescent(EvasionAttack):
    """Projected gradient descent (see `attacks.PGD`): 100 steps of 0.1 from x itself unless told otherwise."""

    estimator: Any
    norm: Any = np.inf
    eps: Any = 0.3
    eps_step: Any = 0.1
    decay: float | None = None
    max_iter: int = 100
    targeted: bool = False
    num_random_init: int = 0
    batch_size: int = 32
    random_eps: bool = False
    summary_writer: Any = False
    verbose: bool = True

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.PGD`."""
        options = {"steps": self.max_iter, "step_size": plain(self.eps_step), **self._random()}
        return attacks.PGD(eps, norm=norm_of(self.norm), **options, **common)

    def _check(self) -> None:
        super()._check()
        if self.decay is not None:
            raise ValueError(f"decay: wanted None, got {self.decay}; MomentumIterativeMethod has momentum")


ProjectedGradientDescentNumpy = ProjectedGradientDescent
ProjectedGradientDescentPyTorch = ProjectedGradientDescent


@dataclass(eq=False, repr=False)
class BasicIterativeMethod(EvasionAttack):
    """Sign steps from x (see `attacks.BIM`)."""

    estimator: Any
    eps: Any = 0.3
    eps_step: Any = 0.1
    max_iter: int = 100
    targeted: bool = False
    batch_size: int = 32
    verbose: bool = True

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.BIM`."""
        return attacks.BIM(eps, steps=self.max_iter, step_size=plain(self.eps_step), **common)


@dataclass(eq=False, repr=False)
class MomentumIterativeMethod(EvasionAttack):
    """Steps along an average of gradients (see `attacks.MomentumPGD`)."""

    estimator: Any
    norm: Any = np.inf
    eps: Any = 0.3
    eps_step: Any = 0.1
    decay: float = 1.0
    max_iter: int = 100
    targeted: bool = False
    batch_size: int = 32
    verbose: bool = True

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.MomentumPGD`."""
        options = {"steps": self.max_iter, "step_size": plain(self.eps_step)}
        return attacks.MomentumPGD(eps, norm=norm_of(self.norm), decay=self.decay, **options, **common)


@dataclass(eq=False, repr=False)
class VirtualAdversarialMethod(EvasionAttack):
    """A step to where the prediction changes fastest (see `attacks.VirtualAdversarial`), whatever y is.

    The model's logits are taken, where ART wants probabilities. As in ART the divergence's gradient is looked at 1 away
    from x; it is exact, so that `finite_diff` changes nothing.
    """

    classifier: Any
    max_iter: int = 10
    finite_diff: float = 1e-6
    eps: float = 0.1
    batch_size: int = 1
    verbose: bool = True

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.VirtualAdversarial`."""
        options: dict[str, Any] = {"bounds": common["bounds"], "mask": common["mask"], "seed": draw_seed()}
        return attacks.VirtualAdversarial(eps, steps=self.max_iter, xi=1.0, **options)

    def _check(self) -> None:
        super()._check()
        number("finite_diff", self.finite_diff, 0.0, np.inf)
