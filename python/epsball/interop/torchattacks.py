"""Drop-in for torchattacks: its names, signatures and defaults; tensors in, tensors out; the attacks are epsball's.

``import epsball.interop.torchattacks as torchattacks`` is the whole migration. What differs, and is meant to:

- An iterative attack returns the best iterate of each row (misclassified first, then the highest loss), not the last;
  the bound is exact, and a gradient of 1e-30 is a direction. Single steps (`FGSM`) give the same points.
- `PGDL2` starts uniformly in the ball; torchattacks draws the length uniformly, so that most of its starts are near x.
- Inputs outside [0, 1] are an error; torchattacks clips its results only.
- Minimum-norm attacks return the nearest misclassified point; a row that they do not break comes back as it was.
- Nothing is printed.
- Random draws come from epsball's counters, seeded from torch's global generator, so that ``torch.manual_seed`` makes
  them repeat, as there.

The model given is followed: its weights are those it has at each call, it is computed by the engine where
`epsball.from_torch` knows its layers, and ``attack.engine`` and the repr say so, or why not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch

from epsball import attacks
from epsball.arguments import flag, one_of, whole
from epsball.interop.following import Followed
from epsball.interop.torch_modules import StandardisedModule

NORMS = {"Linf": "linf", "L2": "l2", "L1": "l1"}
LOSSES = {"ce": "cross_entropy", "dlr": "dlr", "margin": "margin"}
ROUNDING = 1e-5  # what normalising and undoing it may move a pixel past 0 or 1


class Attack:
    """Base of the attacks: modes, normalisation and the call. A subclass is its options, and `translated`."""

    model: Any
    supported_mode: Sequence[str] = ("default", "targeted")

    def __post_init__(self) -> None:
        self.attack_mode, self.targeted = "default", False
        self.normalization_used: dict[str, Any] | None = None
        self._targets: Callable[[Any, Any], Any] | None = None
        self.set_model(self.model)

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return the epsball attack of these options; `seed` draws a number where the attack is random."""
        # Not abstract: VANILA and MultiAttack are attacks of that library, too, and translate to none of ours.
        raise NotImplementedError(f"{type(self).__name__} is no single attack of epsball's")

    @property
    def attack(self) -> str:
        """The attack's name."""
        return type(self).__name__

    @property
    def engine(self) -> str:
        """Who computes the model: epsball, or the module itself, and why."""
        return self._followed.engine

    def __repr__(self) -> str:
        options = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "model"}  # type: ignore[arg-type]
        options |= {"attack_mode": self.attack_mode, "targeted": self.targeted}
        options |= {"normalization_used": self.normalization_used is not None, "engine": self.engine}
        return f"{self.attack}({', '.join(f'{name}={value}' for name, value in options.items())})"

    # ---- modes

    def get_mode(self) -> str:
        """Return the mode's name."""
        return self.attack_mode

    def set_mode_default(self) -> None:
        """Attack away from the labels."""
        self.attack_mode, self.targeted, self._targets = "default", False, None

    def set_mode_targeted_by_function(
        self, target_map_function: Callable[[Any, Any], Any], quiet: bool = False
    ) -> None:
        """Attack towards ``target_map_function(inputs, labels)``."""
        self._target("targeted(custom)", target_map_function)

    def set_mode_targeted_random(self, quiet: bool = False) -> None:
        """Attack towards classes drawn at random among the others."""
        self._target("targeted(random)", self._random_targets)

    def set_mode_targeted_least_likely(self, kth_min: int = 1, quiet: bool = False) -> None:
        """Attack towards the other class with the k-th smallest logit."""
        k = whole("kth_min", kth_min, 1)
        self._target("targeted(least-likely)", lambda inputs, labels: self._least_likely(inputs, labels, k))

    def set_mode_targeted_by_label(self, quiet: bool = False) -> None:
        """Attack towards the labels, which are targets then."""
        self._target("targeted(label)", lambda _, labels: labels)

    def _target(self, mode: str, targets: Callable[[Any, Any], Any]) -> None:
        if "targeted" not in self.supported_mode:
            raise ValueError(f"{self.attack}: a targeted mode is not supported")
        self.attack_mode, self.targeted, self._targets = mode, True, targets

    def _logits(self, inputs: Any) -> Any:
        return self._followed.model(inputs)(inputs)

    def _least_likely(self, inputs: Any, labels: Any, k: int) -> Any:
        logits = self._logits(inputs)
        others = logits.scatter(1, labels[:, None], torch.inf)
        if k >= logits.shape[1]:
            raise ValueError(f"kth_min: wanted at most {logits.shape[1] - 1}, one per other class, got {k}")
        return others.kthvalue(k, dim=1).indices

    def _random_targets(self, inputs: Any, labels: Any) -> Any:
        drawn = torch.randint(self._logits(inputs[:1]).shape[1] - 1, labels.shape)
        return drawn + (drawn >= labels)

    # ---- the model

    def set_model(self, model: Any) -> None:
        """Attack this model from now on."""
        self.model = model
        self.model_name = type(model).__name__
        self._follow()

    def set_normalization_used(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Say that inputs come normalised as (image − mean) / std: ball and box are those of the images."""
        column = [torch.as_tensor(v, dtype=torch.float32).reshape(1, -1, 1, 1) for v in (mean, std)]
        self.normalization_used = {"mean": column[0], "std": column[1]}
        self._follow()

    def set_model_training_mode(
        self, model_training: bool = False, batchnorm_training: bool = False, dropout_training: bool = False
    ) -> None:
        """Attack in evaluation mode, the only one there is here; anything else is an error."""
        asked = {"model_training": model_training, "batchnorm_training": batchnorm_training,
                 "dropout_training": dropout_training}  # fmt: skip
        for name, value in asked.items():
            if flag(name, value):
                raise ValueError(f"{name}: wanted False, as epsball attacks models in evaluation mode only, got True")

    def _follow(self) -> None:
        used, module = self.normalization_used, self.model
        if used is not None:
            if not isinstance(module, torch.nn.Module):
                raise TypeError(
                    f"set_normalization_used: wanted a torch module as the model, got {type(module).__name__}; epsball "
                    f"models have epsball.Normalize"
                )
            module = StandardisedModule(module, used["mean"][0], used["std"][0])
        self._followed = Followed(module)

    # ---- the call

    def __call__(self, inputs: Any, labels: Any = None) -> Any:
        """Return the adversarial inputs, of the inputs' shape and dtype.

        Parameters
        ----------
        inputs
            (N, ...) floating-point tensor in [0, 1], or normalised as `set_normalization_used` says.
        labels
            (N,) int64 tensor: true classes, or targets in the mode "by label".

        Raises
        ------
        ValueError, TypeError
            A bad input or label, named; the options, under the names epsball has for them.
        """
        for name, value in (("inputs", inputs), ("labels", labels)):
            if not isinstance(value, torch.Tensor):
                raise TypeError(f"{name}: wanted a torch tensor, got {type(value).__name__}")
        used, inputs, labels = self.normalization_used, inputs.detach(), labels.detach()
        if used is None:
            return self.forward(inputs, labels)
        images = inputs * used["std"] + used["mean"]
        near = (images >= -ROUNDING) & (images <= 1 + ROUNDING)
        images = torch.where(near, images.clamp(0, 1), images)
        return (self.forward(images, labels) - used["mean"]) / used["std"]

    def forward(self, inputs: Any, labels: Any) -> Any:
        """Attack images in [0, 1]."""
        y = labels if self._targets is None else self._targets(inputs, labels)
        return self.translated(_draw_seed)(self._followed.model(inputs), inputs, y)


def _draw_seed() -> int:
    return int(torch.randint(2**63 - 1, ()).item())


@dataclass(eq=False, repr=False)
class VANILA(Attack):
    """No attack: a copy of the inputs."""

    model: Any

    supported_mode = ("default",)

    def forward(self, inputs: Any, labels: Any) -> Any:
        """Return the inputs."""
        return inputs.clone()


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
class MIFGSM(Attack):
    """Sign steps along an average of gradients (see `epsball.attacks.MomentumPGD`)."""

    model: Any
    eps: float = 8 / 255
    alpha: float = 2 / 255
    steps: int = 10
    decay: float = 1.0

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.MomentumPGD`."""
        options: dict[str, Any] = {"steps": self.steps, "step_size": self.alpha, "decay": self.decay}
        return attacks.MomentumPGD(self.eps, **options, targeted=self.targeted)


@dataclass(eq=False, repr=False)
class NIFGSM(Attack):
    """`MIFGSM` with gradients taken ahead of x, where those points are judged, too."""

    model: Any
    eps: float = 8 / 255
    alpha: float = 2 / 255
    steps: int = 10
    decay: float = 1.0

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.MomentumPGD`."""
        options: dict[str, Any] = {"steps": self.steps, "step_size": self.alpha, "decay": self.decay}
        return attacks.MomentumPGD(self.eps, nesterov=True, **options, targeted=self.targeted)


class _Seeded(Attack):
    """An attack with torchattacks' options `norm`, `seed`, `eot_iter` and `verbose`."""

    norm: str
    seed: int | None
    verbose: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("norm", self.norm, NORMS)
        if flag("verbose", self.verbose):
            raise ValueError("verbose: wanted False, as epsball prints nothing, got True")

    def _common(self, seed: Callable[[], int]) -> dict[str, Any]:
        return {"norm": NORMS[self.norm], "seed": seed() if self.seed is None else self.seed}


@dataclass(eq=False, repr=False)
class APGD(_Seeded):
    """Auto-PGD (see `epsball.attacks.APGD`); `rho` and `eot_iter` have one value only."""

    model: Any
    norm: str = "Linf"
    eps: float = 8 / 255
    steps: int = 10
    n_restarts: int = 1
    seed: int | None = 0
    loss: str = "ce"
    eot_iter: int = 1
    rho: float = 0.75
    verbose: bool = False

    supported_mode = ("default",)

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.APGD`."""
        _check_fixed(self.eot_iter, self.rho)
        loss = LOSSES[one_of("loss", self.loss, LOSSES)]
        return attacks.APGD(
            self.eps,
            steps=self.steps,
            restarts=self.n_restarts,
            loss=loss,
            **self._common(seed),
        )


@dataclass(eq=False, repr=False)
class APGDT(_Seeded):
    """Auto-PGD towards every other class with the targeted ratio; `rho` and `eot_iter` have one value only."""

    model: Any
    norm: str = "Linf"
    eps: float = 8 / 255
    steps: int = 10
    n_restarts: int = 1
    seed: int | None = 0
    eot_iter: int = 1
    rho: float = 0.75
    verbose: bool = False
    n_classes: int = 10

    supported_mode = ("default",)

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.APGD` with targets."""
        _check_fixed(self.eot_iter, self.rho)
        return attacks.APGD(
            self.eps,
            steps=self.steps,
            restarts=self.n_restarts,
            targets=whole("n_classes", self.n_classes, 2) - 1,
            loss="dlr",
            **self._common(seed),
        )


@dataclass(eq=False, repr=False)
class Square(_Seeded):
    """Random search by squares (see `epsball.attacks.Square`); `n_restarts` other than 1 is an error."""

    model: Any
    norm: str = "Linf"
    eps: float = 8 / 255
    n_queries: int = 5000
    n_restarts: int = 1
    p_init: float = 0.8
    loss: str = "margin"
    resc_schedule: bool = True
    seed: int | None = 0
    verbose: bool = False

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.Square`."""
        if self.n_restarts != 1:
            raise ValueError(f"n_restarts: wanted 1, as more queries do more, got {self.n_restarts}")
        return attacks.Square(
            self.eps,
            queries=self.n_queries,
            part=self.p_init,
            rescale=self.resc_schedule,
            targeted=self.targeted,
            loss=LOSSES[one_of("loss", self.loss, ("margin", "ce"))],
            **self._common(seed),
        )


@dataclass(eq=False, repr=False)
class CW(Attack):
    """Carlini and Wagner's L2 attack with one constant (see `epsball.attacks.CarliniWagner`).

    A row whose objective no longer falls stops by itself, where torchattacks stops the batch.
    """

    model: Any
    c: float = 1
    kappa: float = 0
    steps: int = 50
    lr: float = 0.01

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.CarliniWagner` of one search."""
        options: dict[str, Any] = {"initial_constant": self.c, "confidence": self.kappa, "step_size": self.lr}
        return attacks.CarliniWagner(self.steps, 1, **options, targeted=self.targeted)


@dataclass(eq=False, repr=False)
class DeepFool(Attack):
    """Steps to the nearest boundary, all classes being looked at (see `epsball.attacks.DeepFool`)."""

    model: Any
    steps: int = 50
    overshoot: float = 0.02

    supported_mode = ("default",)

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.DeepFool`."""
        return attacks.DeepFool(steps=self.steps, overshoot=self.overshoot, candidates=None)


@dataclass(eq=False, repr=False)
class FAB(_Seeded):
    """The fast adaptive boundary attack (see `epsball.attacks.FAB`); what lies beyond eps comes back as it was.

    With `multi_targeted` all other classes are aimed at, one after another. There is no targeted mode.
    """

    model: Any
    norm: str = "Linf"
    eps: float | None = 8 / 255
    steps: int = 10
    n_restarts: int = 1
    alpha_max: float = 0.1
    eta: float = 1.05
    beta: float = 0.9
    verbose: bool = False
    seed: int | None = 0
    multi_targeted: bool = False
    n_classes: int = 10

    supported_mode = ("default",)

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.FAB`."""
        targets = whole("n_classes", self.n_classes, 2) - 1 if flag("multi_targeted", self.multi_targeted) else 0
        options: dict[str, Any] = {"steps": self.steps, "restarts": self.n_restarts, "radius": self.eps}
        options |= {"targets": targets, "alpha": self.alpha_max, "eta": self.eta, "beta": self.beta}
        return attacks.FAB(**options, **self._common(seed))

    def forward(self, inputs: Any, labels: Any) -> Any:
        """Attack images in [0, 1]."""
        eps = {"Linf": 0.3, "L2": 1.0, "L1": 5.0}[self.norm] if self.eps is None else self.eps
        run = self.translated(_draw_seed).run(self._followed.model(inputs), inputs, labels)
        near = torch.from_numpy(run.distance <= eps).reshape(-1, *(1,) * (inputs.ndim - 1))
        return torch.where(near, run.x_adv, inputs)


@dataclass(eq=False, repr=False)
class EADL1(Attack):
    """The elastic-net attack, the nearest point in L1 counting (see `epsball.attacks.EAD`)."""

    model: Any
    kappa: float = 0
    lr: float = 0.01
    binary_search_steps: int = 9
    max_iterations: int = 100
    abort_early: bool = True
    initial_const: float = 0.001
    beta: float = 0.001

    chosen_by = "l1"

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.EAD`."""
        return attacks.EAD(
            self.chosen_by, self.beta, self.max_iterations, self.binary_search_steps, self.lr, self.initial_const,
            self.kappa, self.abort_early, self.targeted,
        )  # fmt: skip


@dataclass(eq=False, repr=False)
class EADEN(EADL1):
    """The elastic-net attack; the nearest point in L2 counts, which is nearly all of the elastic net's distance."""

    chosen_by = "l2"


@dataclass(eq=False, repr=False)
class JSMA(Attack):
    """The saliency map attack (see `epsball.attacks.JSMA`); a negative theta lowers pixels.

    As in torchattacks the default mode aims at the class (label + 1) % 10.
    """

    model: Any
    theta: float = 1.0
    gamma: float = 0.1

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.JSMA`."""
        return attacks.JSMA(abs(self.theta), self.gamma, increase=self.theta > 0, targeted=True)

    def forward(self, inputs: Any, labels: Any) -> Any:
        """Attack images in [0, 1]."""
        return super().forward(inputs, labels if self.targeted else (labels + 1) % 10)


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
        options: dict[str, Any] = {"steps": self.nb_iter, "step_size": self.lr, "probes": self.nb_sample}
        return attacks.SPSA(self.eps, **options, reach=self.delta, targeted=self.targeted, seed=seed())


@dataclass(eq=False, repr=False)
class AutoAttack(_Seeded):
    """AutoAttack with its authors' counts (see `epsball.attacks.AutoAttack`); torchattacks has 10 steps per member.

    The number of classes is the model's.
    """

    model: Any
    norm: str = "Linf"
    eps: float = 8 / 255
    version: str = "standard"
    n_classes: int = 10
    seed: int | None = None
    verbose: bool = False

    supported_mode = ("default",)

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.AutoAttack`."""
        return attacks.AutoAttack(self.eps, version=self.version, **self._common(seed))


def _check_fixed(eot_iter: int, rho: float) -> None:
    for name, value, only in (("eot_iter", eot_iter, 1), ("rho", rho, 0.75)):
        if value != only:
            raise ValueError(f"{name}: wanted {only}, the only value that epsball has, got {value}")


class MultiAttack:
    """Attacks one after another on the rows that are still right; each row returns its first success.

    Parameters
    ----------
    attacks
        At least two attacks of this module on one model.
    verbose
        False; epsball prints nothing.
    """

    def __init__(self, attacks: Sequence[Any], verbose: bool = False) -> None:
        if len(attacks) < 2:
            raise ValueError(f"attacks: wanted at least two, got {len(attacks)}")
        if len({id(attack.model) for attack in attacks}) != 1:
            raise ValueError("attacks: wanted attacks on one model, got several models")
        if flag("verbose", verbose):
            raise ValueError("verbose: wanted False, as epsball prints nothing, got True")
        self.attacks, self.verbose, self.model = list(attacks), verbose, attacks[0].model

    def __repr__(self) -> str:
        return f"MultiAttack({self.attacks})"

    def __call__(self, inputs: Any, labels: Any = None) -> Any:
        """Return the adversarial inputs."""
        found, left = inputs.detach().clone(), torch.arange(len(inputs))
        for attack in self.attacks:
            if len(left) == 0:
                break
            x_adv = attack(inputs[left], labels[left])
            wrong = attack._logits(x_adv).argmax(1) != labels[left]
            found[left[wrong]] = x_adv[wrong]
            left = left[~wrong]
        return found


def __getattr__(name: str) -> Any:
    raise AttributeError(f"epsball.interop.torchattacks has no {name!r} in this version")
