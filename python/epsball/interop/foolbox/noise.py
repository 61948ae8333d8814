"""foolbox's random points of a ball."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from epsball import attacks as ours
from epsball.arguments import whole
from epsball.interop.ball import into_ball
from epsball.interop.foolbox.base import AnyAttack, Attack, adversarial, taken


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


class _ClippingAware(AnyAttack):
    """Noise whose length is eps once the box has cut it."""

    repeats: int = 1

    @staticmethod
    def _noise(x: Any) -> Any:
        return torch.randn_like(x)

    def attack(self, model: Any, inputs: Any, criterion: Any, epsilons: Any, times: int) -> Any:
        """Do what `__call__` says, the first of so many runs that is adversarial."""
        target, x, restore, labels, common = taken(model, inputs, criterion)
        budgets, several = self._budgets(epsilons)
        found, solved = [], []
        for eps in budgets:
            points, won = x, adversarial(target, x, labels, common["targeted"])
            for _ in range(times * whole("repeats", self.repeats, 1)):
                drawn = _as_long(x, self._noise(x), eps, model.bounds)
                points = torch.where(won.reshape(-1, *(1,) * (x.ndim - 1)), points, drawn)
                won = adversarial(target, points, labels, common["targeted"])
            found.append(restore(points))
            solved.append(won)
        if not several:
            return found[0], found[0], restore(solved[0])
        return found, list(found), restore(torch.stack(solved))


def _as_long(x: Any, noise: Any, eps: float, bounds: Any) -> Any:
    """Return x and so much of the noise that what the box leaves of it is eps long, or as long as it can be."""

    def cut(scale: Any) -> Any:
        return (x + scale.reshape(-1, *(1,) * (x.ndim - 1)) * noise).clamp(*bounds)

    low, high = torch.zeros(len(x)), torch.full((len(x),), 1e6)
    for _ in range(60):
        middle = (low + high) / 2
        longer = (cut(middle) - x).flatten(1).norm(dim=1) > eps
        low, high = torch.where(longer, low, middle), torch.where(longer, middle, high)
    return into_ball(cut(high), x, eps, "l2", bounds)


@dataclass(repr=False, eq=False)
class L2ClippingAwareAdditiveGaussianNoiseAttack(_ClippingAware):
    """Gaussian noise of length eps within the box (Rauber and Bethge 2020, arXiv 2007.07677)."""


@dataclass(repr=False, eq=False)
class L2ClippingAwareAdditiveUniformNoiseAttack(_ClippingAware):
    """Noise of length eps within the box, in the direction of a point of a cube."""

    @staticmethod
    def _noise(x: Any) -> Any:
        return 2 * torch.rand_like(x) - 1


@dataclass(kw_only=True, repr=False, eq=False)
class L2ClippingAwareRepeatedAdditiveGaussianNoiseAttack(L2ClippingAwareAdditiveGaussianNoiseAttack):
    """The first of several that is adversarial; x itself counts, so that `check_trivial` changes nothing."""

    repeats: int = 100
    check_trivial: bool = True


@dataclass(kw_only=True, repr=False, eq=False)
class L2ClippingAwareRepeatedAdditiveUniformNoiseAttack(L2ClippingAwareAdditiveUniformNoiseAttack):
    """See `L2ClippingAwareRepeatedAdditiveGaussianNoiseAttack`."""

    repeats: int = 100
    check_trivial: bool = True
