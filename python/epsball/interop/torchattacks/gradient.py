"""torchattacks' gradient attacks in a ball."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from epsball import attacks
from epsball.arguments import one_of, whole
from epsball.interop.torchattacks.base import LOSSES, Attack, draw_seed

NOISES = {"guassian": "normal", "uniform": "uniform"}  # as it is spelt there


@dataclass(eq=False, repr=False)
class FGSM(Attack):
    """One sign step (see `epsball.attacks.FGSM`)."""

    model: Any
    eps: float = 8 / 255

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.FGSM`."""
        return attacks.FGSM(self.eps, targeted=self.targeted)


@dataclass(eq=False, repr=False)
class FFGSM(Attack):
    """A uniform start and one sign step of alpha: `epsball.attacks.PGD` of one step, which may return the start."""

    model: Any
    eps: float = 8 / 255
    alpha: float = 10 / 255

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.PGD` of one step."""
        return attacks.PGD(self.eps, steps=1, step_size=self.alpha, targeted=self.targeted, seed=seed())


@dataclass(eq=False, repr=False)
class RFGSM(Attack):
    """A random sign step of alpha and then `steps` sign steps of alpha (see `epsball.attacks.RFGSM`)."""

    model: Any
    eps: float = 8 / 255
    alpha: float = 2 / 255
    steps: int = 10

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.RFGSM`."""
        return attacks.RFGSM(
            self.eps, self.alpha, steps=self.steps, step_size=self.alpha, targeted=self.targeted, seed=seed()
        )


@dataclass(eq=False, repr=False)
class BIM(Attack):
    """Sign steps from x (see `epsball.attacks.BIM`); 0 steps: as in the paper, min(255 eps + 4, 1.25 · 255 eps)."""

    model: Any
    eps: float = 8 / 255
    alpha: float = 2 / 255
    steps: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps == 0:
            self.steps = int(min(self.eps * 255 + 4, 1.25 * self.eps * 255))

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.BIM`."""
        return attacks.BIM(self.eps, steps=self.steps, step_size=self.alpha, targeted=self.targeted)


@dataclass(eq=False, repr=False)
class PGD(Attack):
    """Projected gradient descent in the L∞ ball (see `epsball.attacks.PGD`)."""

    model: Any
    eps: float = 8 / 255
    alpha: float = 2 / 255
    steps: int = 10
    random_start: bool = True

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.PGD`."""
        return attacks.PGD(
            self.eps,
            steps=self.steps,
            step_size=self.alpha,
            random_start=self.random_start,
            targeted=self.targeted,
            seed=seed(),
        )


@dataclass(eq=False, repr=False)
class PGDL2(Attack):
    """Projected gradient descent in the L2 ball; `eps_for_division` is not needed, as no gradient is too small."""

    model: Any
    eps: float = 1.0
    alpha: float = 0.2
    steps: int = 10
    random_start: bool = True
    eps_for_division: float = 1e-10

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.PGD` with ``norm="l2"``."""
        return attacks.PGD(
            self.eps,
            norm="l2",
            steps=self.steps,
            step_size=self.alpha,
            random_start=self.random_start,
            targeted=self.targeted,
            seed=seed(),
        )


@dataclass(eq=False, repr=False)
class EOTPGD(Attack):
    """`PGD` along the mean of `eot_iter` gradients at each point, for models that are random themselves."""

    model: Any
    eps: float = 8 / 255
    alpha: float = 2 / 255
    steps: int = 10
    eot_iter: int = 2
    random_start: bool = True

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.PGD`, or `attacks.MomentumPGD` without memory where gradients may differ."""
        options: dict[str, Any] = {"steps": self.steps, "step_size": self.alpha, "random_start": self.random_start}
        options |= {"targeted": self.targeted, "seed": seed()}
        draws = self._draws(whole("eot_iter", self.eot_iter, 1))
        if draws == 1:
            return attacks.PGD(self.eps, **options)
        return attacks.MomentumPGD(self.eps, decay=0.0, model_draws=draws, **options)


@dataclass(eq=False, repr=False)
class UPGD(Attack):
    """Sign steps along an average of gradients, of one of three losses."""

    model: Any
    eps: float = 8 / 255
    alpha: float = 2 / 255
    steps: int = 10
    random_start: bool = False
    loss: str = "ce"
    decay: float = 1.0
    eot_iter: int = 1

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.MomentumPGD`."""
        options: dict[str, Any] = {"steps": self.steps, "step_size": self.alpha, "decay": self.decay}
        options["model_draws"] = self._draws(whole("eot_iter", self.eot_iter, 1))
        options |= {"random_start": self.random_start, "loss": LOSSES[one_of("loss", self.loss, LOSSES)]}
        return attacks.MomentumPGD(self.eps, **options, targeted=self.targeted, seed=seed())


@dataclass(eq=False, repr=False)
class TPGD(Attack):
    """Sign steps away from the probabilities at x, as TRADES has them, whatever the labels (see `epsball.attacks.PGD`).

    It starts uniformly in the ball, where torchattacks starts at Gaussian noise of 0.001.
    """

    model: Any
    eps: float = 8 / 255
    alpha: float = 2 / 255
    steps: int = 10

    supported_mode = ("default",)

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.PGD`."""
        return attacks.PGD(self.eps, steps=self.steps, step_size=self.alpha, seed=seed())

    def forward(self, inputs: Any, labels: Any) -> Any:
        """Attack images in [0, 1]."""
        model = self._followed.model(inputs)
        return self.translated(draw_seed)(model, inputs, model.probabilities(inputs))


@dataclass(eq=False, repr=False)
class SPSA(Attack):
    """Adam on gradients estimated from logits (see `epsball.attacks.SPSA`); `max_batch_size` changes nothing."""

    model: Any
    eps: float = 0.3
    delta: float = 0.01
    lr: float = 0.01
    nb_iter: int = 1
    nb_sample: int = 128
    max_batch_size: int = 64

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.SPSA`."""
        whole("max_batch_size", self.max_batch_size, 1)
        options: dict[str, Any] = {"steps": self.nb_iter, "step_size": self.lr, "samples": self.nb_sample}
        return attacks.SPSA(self.eps, **options, delta=self.delta, targeted=self.targeted, seed=seed())


@dataclass(eq=False, repr=False)
class Jitter(Attack):
    """PGD on probabilities of rescaled logits, with noise (see `epsball.attacks.Jitter`)."""

    model: Any
    eps: float = 8 / 255
    alpha: float = 2 / 255
    steps: int = 10
    scale: float = 10
    std: float = 0.1
    random_start: bool = True

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.Jitter`."""
        options: dict[str, Any] = {"steps": self.steps, "step_size": self.alpha, "random_start": self.random_start}
        return attacks.Jitter(
            self.eps, scale=self.scale, noise=self.std, **options, targeted=self.targeted, seed=seed()
        )


@dataclass(eq=False, repr=False)
class PGDRS(Attack):
    """PGD against a smoothed classifier (see `epsball.attacks.SmoothPGD`); `batch_max` changes nothing.

    x itself stays in the box, where torchattacks clips what the model sees of it.
    """

    model: Any
    eps: float = 8 / 255
    alpha: float = 2 / 255
    steps: int = 10
    noise_type: str = "guassian"
    noise_sd: float = 0.5
    noise_batch_size: int = 5
    batch_max: int = 2048

    norm = "linf"

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.SmoothPGD`."""
        noise = NOISES[one_of("noise_type", self.noise_type, NOISES)]
        options: dict[str, Any] = {"steps": self.steps, "step_size": self.alpha, "norm": self.norm, "noise": noise}
        options |= {"sigma": self.noise_sd, "samples": self.noise_batch_size}
        return attacks.SmoothPGD(self.eps, **options, targeted=self.targeted, seed=seed())


@dataclass(eq=False, repr=False)
class PGDRSL2(PGDRS):
    """`PGDRS` in the L2 ball; `eps_for_division` is not needed, as no gradient is too small."""

    eps: float = 1.0
    alpha: float = 0.2
    eps_for_division: float = 1e-10

    norm = "l2"
