"""What torchattacks' attacks share: modes, normalisation and the call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
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
        return self.translated(draw_seed)(self._followed.model(inputs), inputs, y)


def draw_seed() -> int:
    return int(torch.randint(2**63 - 1, ()).item())


class Seeded(Attack):
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


def check_only(**options: tuple[Any, Any]) -> None:
    """Refuse options that have another value than the only one that epsball has."""
    for name, (value, only) in options.items():
        if value != only:
            raise ValueError(f"{name}: wanted {only}, the only value that epsball has, got {value}")
