"""PGD that follows averages of gradients: over its steps, and over views of the point where it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from epsball import _native
from epsball.arguments import BELOW_ONE, FLOAT32, flag, number, settle, whole
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.loop import Loop, default_step_size, run_loop
from epsball.attacks.square import image_shape
from epsball.classifier import Classifier


@dataclass(frozen=True, eq=False)
class MomentumPGD(Attack):
    """MI-FGSM (Dong et al. 2018, arXiv 1710.06081) and what others have added to it for transfer, in any norm.

    A step follows m ← decay · m + g / |g|, with |g| the mean magnitude of g's features, as in the authors' code, or in
    L2 and L1 balls its norm. g is the gradient at x, or as one or several of these options say:

    - `nesterov`: taken ahead, at x + decay · step_size · m (NI-FGSM, Lin et al. 2020, arXiv 1908.06281).
    - `scales`: the mean over x, x / 2, x / 4, … (SI-NI-FGSM, the same paper).
    - `diversity`: with this probability x is made smaller first and put somewhere on black (DI-FGSM, Xie et al. 2019,
      arXiv 1803.06978).
    - `blur`: filtered (TI-FGSM, Dong et al. 2019, arXiv 1904.02884).
    - `neighbours`: corrected by how much the mean over random neighbours differed from g one step before (VMI- and
      VNI-FGSM, Wang and He 2021, arXiv 2103.15571).
    - `model_draws`: the mean over several evaluations of a model that is random itself (EOT, Athalye et al. 2018).

    Where gradients are taken may lie outside of ball and box; the points that are judged, and the result, never do.
    Gradients are averaged at their true sizes, however small those are.

    Parameters
    ----------
    decay
        Share of m that a step keeps; 0: plain PGD.
    nesterov
        Take gradients ahead of x.
    eps, norm, steps, step_size, restarts, random_start, targeted, loss, bounds, mask, early_stop, seed
        As in `PGD`. As in the papers it starts at x.
    scales
        Copies of x, each half of the one before, from 1 to 32.
    neighbours
        Points drawn at every step but the last, uniformly within ± reach · eps of x in every feature.
    reach
        How far they lie, in units of eps.
    diversity
        Probability with which x is resized for a gradient; x must be images.
    resize
        The least share of the width that is left of it, in (0, 1).
    blur
        Taps of a filter along both axes, the same for both; or their number, in which case they are a Gaussian's within
        three standard deviations, as in the paper; x must be images.
    model_draws
        Evaluations in the mean; each is resized anew.
    """

    eps: Any
    norm: str = "linf"
    steps: int = 10
    step_size: Any = None
    decay: float = 1.0
    nesterov: bool = False
    restarts: int = 1
    random_start: bool = False
    targeted: bool = False
    loss: str = "cross_entropy"
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    early_stop: bool = False
    seed: int = 0
    scales: int = 1
    neighbours: int = 0
    reach: float = 1.5
    diversity: float = 0.0
    resize: float = 0.9
    blur: int | Sequence[float] | None = None
    model_draws: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(
            self,
            nesterov=flag("nesterov", self.nesterov),
            scales=whole("scales", self.scales, 1, 32),
            neighbours=whole("neighbours", self.neighbours, 0),
            reach=number("reach", self.reach, 0.0, float(FLOAT32.max)),
            diversity=number("diversity", self.diversity, 0.0, 1.0),
            resize=number("resize", self.resize, 1e-9, BELOW_ONE),
            blur=_checked_blur(self.blur),
        )
        if self.restarts > 1 and not self.random_start:
            raise ValueError(f"restarts: wanted 1 without random_start, as every run is the same, got {self.restarts}")

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        views: dict[str, Any] = {
            "nesterov": self.nesterov, "copies": self.model_draws, "scales": self.scales, "neighbours": self.neighbours,
            "reach": self.reach,
        }  # fmt: skip
        if self.diversity > 0 or self.blur is not None:
            views |= _image_options(x.shape[1:])
        if self.diversity > 0:
            views |= {"chance": self.diversity, "least": max(int(views["width"] * self.resize), 1)}
        if self.blur is not None:
            views["taps"] = gaussian_taps(self.blur) if isinstance(self.blur, int) else self.blur
        loop = averaging_loop(self, **views)
        loop.restarts, loop.decay = self.restarts, self.decay
        loop.random_start = "ball" if self.random_start else "none"
        return run_loop(self, loop, model, x, y, index, judged=judged, trace=trace)


def averaging_loop(attack: Any, **views: Any) -> Loop:
    """Return the loop that follows averages of gradients; `views` are the options that differ from a plain gradient."""
    plain = {
        "nesterov": False, "copies": 1, "scales": 1, "noise": "normal", "sigma": 0.0, "mixture": False, "neighbours": 0,
        "reach": 0.0, "channels": 1, "height": 1, "width": 1, "least": 0, "chance": 0.0, "taps": [], "stretch": 10.0,
        "noise_size": 0.0,
    }  # fmt: skip
    size = attack.step_size
    return Loop(
        steps=attack.steps,
        step_size=default_step_size(attack.eps, attack.steps) if size is None else size,
        early_stop=getattr(attack, "early_stop", False),
        seed=attack.seed,
        native=_native.momentum_pgd,
        more={**plain, **views},
    )


def gaussian_taps(count: int) -> list[float]:
    """Return a Gaussian at `count` points from −3 to 3 standard deviations, of sum 1."""
    taps = np.exp(-0.5 * np.linspace(-3, 3, count) ** 2) if count > 1 else np.ones(1)
    return [float(tap) for tap in taps / taps.sum()]


def _checked_blur(blur: Any) -> Any:
    if blur is None:
        return None
    if isinstance(blur, list | tuple):
        taps = tuple(number("blur", tap, -float(FLOAT32.max), float(FLOAT32.max)) for tap in blur)
        if not taps:
            raise ValueError("blur: wanted at least one tap, got none")
        return taps
    return whole("blur", blur, 1)


def _image_options(shape: tuple[int, ...]) -> dict[str, int]:
    if len(shape) not in (2, 3):
        raise ValueError(f"x: wanted images, (N, height, width) or (N, channels, height, width), to resize or filter; "
                         f"got inputs of shape {shape}")  # fmt: skip
    return dict(zip(("channels", "height", "width"), image_shape(shape), strict=True))
