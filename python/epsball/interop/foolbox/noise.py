"""foolbox's random points of a ball."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from epsball import attacks as ours
from epsball.interop.foolbox.base import Attack


class _Noise(Attack):
    norm: ClassVar[str]
    noise: ClassVar[str]
    repeats: int = 1

    def translated(self, eps: Any, common: dict[str, Any], seed: int) -> ours.Attack:
        """Return `attacks.RandomSearch`."""
        return ours.RandomSearch(eps, self.norm, self.noise, draws=self.repeats, seed=seed, **common)


@dataclass(repr=False, eq=False)
class L2AdditiveGaussianNoiseAttack(_Noise):
    """See `epsball.attacks.RandomSearch`: of length eps on average, where foolbox has eps before the box."""

    norm, noise = "l2", "gaussian"


@dataclass(repr=False, eq=False)
class L2AdditiveUniformNoiseAttack(_Noise):
    """See `epsball.attacks.RandomSearch`: uniform in the ball, where foolbox puts points of a cube on its surface."""

    norm, noise = "l2", "uniform"


@dataclass(repr=False, eq=False)
class LinfAdditiveUniformNoiseAttack(_Noise):
    """See `epsball.attacks.RandomSearch`."""

    norm, noise = "linf", "uniform"


@dataclass(kw_only=True, repr=False, eq=False)
class L2RepeatedAdditiveGaussianNoiseAttack(L2AdditiveGaussianNoiseAttack):
    """The best of several; x itself is not among them, so that `check_trivial` changes nothing."""

    repeats: int = 100
    check_trivial: bool = True


@dataclass(kw_only=True, repr=False, eq=False)
class L2RepeatedAdditiveUniformNoiseAttack(L2RepeatedAdditiveGaussianNoiseAttack):
    """See `L2RepeatedAdditiveGaussianNoiseAttack` and `L2AdditiveUniformNoiseAttack`."""

    noise = "uniform"


@dataclass(kw_only=True, repr=False, eq=False)
class LinfRepeatedAdditiveUniformNoiseAttack(L2RepeatedAdditiveUniformNoiseAttack):
    """See `L2RepeatedAdditiveGaussianNoiseAttack` and `LinfAdditiveUniformNoiseAttack`."""

    norm = "linf"
