"""What torchattacks' attacks share: modes, normalisation and the call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from time import perf_counter
from typing import Any

import torch

from epsball import attacks
from epsball.arguments import flag, one_of, whole
from epsball.interop.following import Followed
from epsball.interop.torch_modules import StandardisedModule
from epsball.sources.torch_model import evaluating

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
        self._kth_min = 1
        self.device = torch.device("cpu")
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
        self._target("targeted(random)", lambda images, labels: _random(self._logits(images), labels))

    def set_mode_targeted_least_likely(self, kth_min: int = 1, quiet: bool = False) -> None:
        """Attack towards the other class with the k-th smallest logit."""
        self._kth_min = k = whole("kth_min", kth_min, 1)
        self._target("targeted(least-likely)", lambda images, labels: _least_likely(self._logits(images), labels, k))

    def set_mode_targeted_by_label(self, quiet: bool = False) -> None:
        """Attack towards the labels, which are targets then."""
        self._target("targeted(label)", lambda _, labels: labels)

    def _target(self, mode: str, targets: Callable[[Any, Any], Any]) -> None:
        if "targeted" not in self.supported_mode:
            raise ValueError(f"{self.attack}: a targeted mode is not supported")
        self.attack_mode, self.targeted, self._targets = mode, True, targets

    def get_target_label(self, inputs: Any, labels: Any = None) -> Any:
        """Return the targets of the mode for inputs and labels."""
        if self._targets is None:
            raise ValueError(f"{self.attack}: there are no targets in the default mode")
        return self._targets(inputs, labels)

    def get_least_likely_label(self, inputs: Any, labels: Any = None) -> Any:
        """Return the class with the smallest logit but the label (None: the prediction), or the k-th of the mode."""
        return _least_likely(self.get_output_with_eval_nograd(inputs), labels, self._kth_min)

    def get_random_target_label(self, inputs: Any, labels: Any = None) -> Any:
        """Return a class but the label (None: the prediction) for every row, from torch's global generator."""
        return _random(self.get_output_with_eval_nograd(inputs), labels)

    def _logits(self, inputs: Any) -> Any:
        return self._followed.model(inputs)(inputs)

    # ---- the model

    def set_model(self, model: Any) -> None:
        """Attack this model from now on."""
        self.model = model
        self.model_name = type(model).__name__
        self._follow()

    def set_device(self, device: Any) -> None:
        """Take inputs from this device; the CPU is the only one that modules are computed on here."""
        if torch.device(device).type != "cpu":
            raise ValueError(f"device: wanted 'cpu', where torch modules are computed, got {device!r}")
        self.device = torch.device(device)

    def get_logits(self, inputs: Any, labels: Any = None) -> Any:
        """Return what the model says of inputs as it takes them; a torch module's output has its graph."""
        return self.model(inputs)

    def get_output_with_eval_nograd(self, inputs: Any) -> Any:
        """Return what the model says of inputs as it takes them, in evaluation mode and without a graph."""
        if not isinstance(self.model, torch.nn.Module):
            return self.model(inputs)
        with evaluating(self.model), torch.no_grad():
            return self.get_logits(inputs)

    def set_normalization_used(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Say that inputs come normalised as (image − mean) / std: ball and box are those of the images."""
        column = [torch.as_tensor(v, dtype=torch.float32).reshape(1, -1, 1, 1) for v in (mean, std)]
        self.normalization_used = {"mean": column[0], "std": column[1]}
        self._follow()

    def normalize(self, inputs: Any) -> Any:
        """Return images as the model takes them, after `set_normalization_used`."""
        used = self._normalization()
        return (inputs - used["mean"]) / used["std"]

    def inverse_normalize(self, inputs: Any) -> Any:
        """Return images from what the model takes, after `set_normalization_used`."""
        used = self._normalization()
        return inputs * used["std"] + used["mean"]

    def _normalization(self) -> dict[str, Any]:
        if self.normalization_used is None:
            raise ValueError(f"{self.attack}: set_normalization_used has not said what mean and std are")
        return self.normalization_used

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
        inputs, labels = inputs.detach(), labels.detach()
        if self.normalization_used is None:
            return self.forward(inputs, labels)
        images = self.inverse_normalize(inputs)
        near = (images >= -ROUNDING) & (images <= 1 + ROUNDING)
        images = torch.where(near, images.clamp(0, 1), images)
        return self.normalize(self.forward(images, labels))

    def forward(self, inputs: Any, labels: Any) -> Any:
        """Attack images in [0, 1]."""
        model = self._followed.model(inputs)
        return self.translated(draw_seed)(model, inputs, self._goals(inputs, labels))

    def _goals(self, images: Any, labels: Any) -> Any:
        """Return the labels to leave or, in a targeted mode, to reach."""
        return labels if self._targets is None else self._targets(images, labels)

    def _draws(self, count: int) -> int:
        """Return how many evaluations of the model a mean takes: of what the engine computes all are the same."""
        return 1 if self._followed.lowered else count

    # ---- files

    def save(
        self,
        data_loader: Iterable[tuple[Any, Any]],
        save_path: Any = None,
        verbose: bool = True,
        return_verbose: bool = False,
        save_predictions: bool = False,
        save_clean_inputs: bool = False,
        save_type: str = "float",
    ) -> tuple[float, float, float] | None:
        """Attack all batches and write torchattacks' file; nothing is printed, whatever `verbose` says.

        Parameters
        ----------
        data_loader
            Pairs of inputs and labels.
        save_path
            Where to; None: nowhere.
        return_verbose
            Return robust accuracy in percent, the mean L2 norm of what broke the model, and the last batch's seconds.
        save_predictions, save_clean_inputs
            Write the predictions "preds" and the inputs "clean_inputs", too.
        save_type
            "float", or "int" for bytes.
        """
        one_of("save_type", save_type, ("float", "int"))
        batches: dict[str, list[Any]] = {"adv_inputs": [], "labels": [], "preds": [], "clean_inputs": []}
        elapsed = 0.0
        for inputs, labels in data_loader:
            start = perf_counter()
            adv_inputs = self(inputs, labels)
            preds = self.get_output_with_eval_nograd(adv_inputs).argmax(1)
            elapsed = perf_counter() - start
            for name, batch in zip(batches, (adv_inputs, labels, preds, inputs), strict=True):
                batches[name].append(batch.detach().cpu())
        if not batches["labels"]:
            raise ValueError("data_loader: wanted at least one batch, got none")
        whole_set = {name: torch.cat(parts) for name, parts in batches.items()}
        right = whole_set["preds"] == whole_set["labels"]
        changes = (whole_set["adv_inputs"] - whole_set["clean_inputs"])[~right].flatten(1).norm(dim=1)
        if save_path is not None:
            written = {name: whole_set[name] for name in ("adv_inputs", "labels")}
            if save_predictions:
                written["preds"] = whole_set["preds"]
            if save_clean_inputs:
                written["clean_inputs"] = whole_set["clean_inputs"]
            for name in written.keys() & {"adv_inputs", "clean_inputs"}:
                images = written[name] if self.normalization_used is None else self.inverse_normalize(written[name])
                written[name] = self.to_type(images, save_type)
            torch.save({**written, "save_type": save_type}, save_path)
        if not return_verbose:
            return None
        return 100 * right.double().mean().item(), changes.mean().item(), elapsed

    @staticmethod
    def load(
        load_path: Any,
        batch_size: int = 128,
        shuffle: bool = False,
        normalize: dict[str, Sequence[float]] | None = None,
        load_predictions: bool = False,
        load_clean_inputs: bool = False,
    ) -> Any:
        """Return a ``DataLoader`` of what `save` wrote: adversarial inputs, labels, and what else is asked for.

        Parameters
        ----------
        load_path
            The file, of this class or of torchattacks.
        batch_size, shuffle
            Of the loader.
        normalize
            "mean" and "std" that inputs are normalised with.
        load_predictions, load_clean_inputs
            Predictions, then clean inputs, as further columns.
        """
        saved = torch.load(load_path, weights_only=True)
        images = ["adv_inputs", *(["clean_inputs"] if load_clean_inputs else [])]
        names = ["adv_inputs", "labels", *(["preds"] if load_predictions else []), *images[1:]]
        for name in names:
            if name not in saved:
                raise ValueError(f"load_path: wanted a file with {name!r}, got one with {', '.join(map(str, saved))}")
        for name in images:
            saved[name] = Attack.to_type(saved[name], "float")
            if normalize is not None:
                mean, std = (torch.as_tensor(normalize[k]).reshape(1, -1, 1, 1) for k in ("mean", "std"))
                saved[name] = (saved[name] - mean) / std
        data = torch.utils.data.TensorDataset(*(saved[name] for name in names))
        return torch.utils.data.DataLoader(data, batch_size=batch_size, shuffle=shuffle)

    @staticmethod
    def to_type(inputs: Any, type: str) -> Any:  # noqa: A002 - torchattacks' name
        """Return images in [0, 1] as bytes ("int"), or bytes as images ("float"); others as they are."""
        one_of("type", type, ("float", "int"))
        if type == "int" and inputs.dtype == torch.float32:
            return (inputs * 255).type(torch.uint8)
        return inputs.float() / 255 if type == "float" and inputs.dtype == torch.uint8 else inputs


def _least_likely(logits: Any, labels: Any, k: int) -> Any:
    labels = logits.argmax(1) if labels is None else labels
    others = logits.scatter(1, labels[:, None], torch.inf)
    if k >= logits.shape[1]:
        raise ValueError(f"kth_min: wanted at most {logits.shape[1] - 1}, one per other class, got {k}")
    return others.kthvalue(k, dim=1).indices


def _random(logits: Any, labels: Any) -> Any:
    labels = logits.argmax(1) if labels is None else labels
    drawn = torch.randint(logits.shape[1] - 1, labels.shape)
    return drawn + (drawn >= labels)


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
