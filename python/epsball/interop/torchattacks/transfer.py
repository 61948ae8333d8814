"""torchattacks' attacks that are meant to transfer: MomentumPGD with what papers have added to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from epsball import attacks
from epsball.arguments import one_of, whole
from epsball.interop.torchattacks.base import Attack


@dataclass(eq=False, repr=False)
class MIFGSM(Attack):
    """Sign steps along an average of gradients (see `epsball.attacks.MomentumPGD`)."""

    model: Any
    eps: float = 8 / 255
    alpha: float = 2 / 255
    steps: int = 10
    decay: float = 1.0

    nesterov = False

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.MomentumPGD`."""
        return self._momentum()

    def _momentum(self, **more: Any) -> attacks.Attack:
        options: dict[str, Any] = {"steps": self.steps, "step_size": self.alpha, "decay": self.decay}
        return attacks.MomentumPGD(self.eps, **options, nesterov=self.nesterov, targeted=self.targeted, **more)


@dataclass(eq=False, repr=False)
class NIFGSM(MIFGSM):
    """`MIFGSM` with gradients taken ahead of x."""

    nesterov = True


@dataclass(eq=False, repr=False)
class SINIFGSM(NIFGSM):
    """`NIFGSM` with the mean gradient over x, x / 2, x / 4 and so on."""

    m: int = 5

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.MomentumPGD`."""
        return self._momentum(scales=self.m)


@dataclass(eq=False, repr=False)
class VMIFGSM(MIFGSM):
    """`MIFGSM` with gradients corrected by those of random neighbours."""

    N: int = 5
    beta: float = 3 / 2

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.MomentumPGD`."""
        return self._momentum(neighbours=self.N, reach=self.beta, seed=seed())


@dataclass(eq=False, repr=False)
class VNIFGSM(VMIFGSM):
    """`VMIFGSM` with gradients taken ahead of x."""

    nesterov = True


class _Diverse(MIFGSM):
    """What `DIFGSM` and `TIFGSM` share."""

    resize_rate: float
    diversity_prob: float
    random_start: bool

    def _diverse(self, seed: Callable[[], int], **more: Any) -> attacks.Attack:
        more |= {"diversity": self.diversity_prob, "resize": self.resize_rate}
        return self._momentum(random_start=self.random_start, seed=seed(), **more)


@dataclass(eq=False, repr=False)
class DIFGSM(_Diverse):
    """`MIFGSM` through images that are resized at random, each row by itself; `resize_rate` must be below 1."""

    decay: float = 0.0
    resize_rate: float = 0.9
    diversity_prob: float = 0.5
    random_start: bool = False

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.MomentumPGD`."""
        return self._diverse(seed)


@dataclass(eq=False, repr=False)
class TIFGSM(_Diverse):
    """`DIFGSM` with filtered gradients, of images of any number of channels."""

    decay: float = 0.0
    kernel_name: str = "gaussian"
    len_kernel: int = 15
    nsig: float = 3
    resize_rate: float = 0.9
    diversity_prob: float = 0.5
    random_start: bool = False

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.MomentumPGD`."""
        count = whole("len_kernel", self.len_kernel, 1)
        one_of("kernel_name", self.kernel_name, ("gaussian", "linear", "uniform"))
        taps = np.ones(count)
        if self.kernel_name == "gaussian":
            taps = np.exp(-0.5 * np.linspace(-self.nsig, self.nsig, count) ** 2)
        if self.kernel_name == "linear":
            taps = 1 - np.abs(np.linspace((1 - count) / 2, (count - 1) / 2, count)) / (count + 1) * 2
        return self._diverse(seed, blur=[float(tap) for tap in taps / taps.sum()])
