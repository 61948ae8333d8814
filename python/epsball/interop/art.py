"""Drop-in for ART's evasion attacks: its names, signatures and defaults; NumPy in and out; the attacks are epsball's.

``from epsball.interop.art import ProjectedGradientDescent`` is the whole migration; ART need not be installed. The
estimator is an ``art.estimators.classification.PyTorchClassifier`` with the cross-entropy loss, an `EpsballClassifier`,
a torch module or an epsball model. `EpsballClassifier` goes the other way: ART's attacks on epsball's models. What
differs, and is meant to:

- An iterative attack returns the best iterate of each row (misclassified first, then the highest loss), not the last;
  restarts are chosen per row; the bound is exact.
- The L1 step goes on to the next feature where the box stops the first, and the L1 projection is the nearest point.
- A mask counts as 1 wherever it is not 0; nothing outside of it changes.
- All rows are one call: `batch_size` is checked and changes nothing. Nothing is printed or shown: nor does `verbose`.
- Random draws come from epsball's counters, seeded from NumPy's global generator.

Modules are followed: their weights are those they have at each call, they are computed by the engine where
`epsball.from_torch` knows their layers, and ``attack.engine`` and the repr say so, or why not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any

import numpy as np

from epsball import attacks
from epsball.arguments import flag, whole
from epsball.arrays import Array
from epsball.classifier import Classifier
from epsball.interop.following import Followed
from epsball.sources.base import LabelSource

NORMS = {np.inf: "linf", "inf": "linf", 1: "l1", 2: "l2"}


class EvasionAttack(ABC):
    """Base of the attacks: the estimator and the call. A subclass is its options, and `translated`."""

    targeted: bool = False
    num_random_init: int = 0
    eps: Any

    def __post_init__(self) -> None:
        given = getattr(self, fields(self)[0].name)  # type: ignore[arg-type]
        self._followed, self._bounds = _of_estimator(given)
        self._check()

    @abstractmethod
    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return the epsball attack of these options; `common` goes to every attack."""

    @property
    def engine(self) -> str:
        """Who computes the model: epsball, or the module itself, and why."""
        return self._followed.engine

    def __repr__(self) -> str:
        options = ", ".join(f"{f.name}={getattr(self, f.name)}" for f in fields(self)[1:])  # type: ignore[arg-type]
        return f"{type(self).__name__}({options}, engine={self.engine})"

    def set_params(self, **kwargs: Any) -> None:
        """Set options by name."""
        known = [f.name for f in fields(self)[1:]]  # type: ignore[arg-type]
        for name, value in kwargs.items():
            if name not in known:
                raise ValueError(f"{name}: wanted one of {', '.join(known)}")
            setattr(self, name, value)
        self._check()

    def _check(self) -> None:
        """Refuse options that epsball does not have."""
        for name, least in (("batch_size", 1), ("num_random_init", 0)):
            whole(name, getattr(self, name, least), least)
        flag("targeted", self.targeted)
        for name in ("random_eps", "summary_writer"):
            if getattr(self, name, False):
                raise ValueError(f"{name}: wanted False, the only value that epsball has, got {getattr(self, name)!r}")

    def generate(self, x: Array, y: Array | None = None, mask: Array | None = None) -> Array:
        """Return the adversarial inputs.

        Parameters
        ----------
        x
            (N, ...) array within the estimator's ``clip_values``.
        y
            Class indices (N,) or (N, 1), or one-hot or probability rows (N, classes): true classes, or targets. None:
            the model's own predictions.
        mask
            0 where nothing may change; broadcasts to x.

        Returns
        -------
        array
            float32, as ART has it.

        Raises
        ------
        ValueError, TypeError
            A bad argument, named.
        """
        images = np.asarray(x, np.float32)
        return self._found(self._followed.model(images), images, _labels(y), self._common(mask))

    def _found(self, model: Any, x: Array, y: Any, common: dict[str, Any]) -> Array:
        found: Array = self.translated(_per_row(self.eps, "eps", x), common)(model, x, y)
        return found

    def _common(self, mask: Any) -> dict[str, Any]:
        where = None if mask is None else (np.asarray(mask) != 0).astype(np.uint8)
        return {"targeted": self.targeted, "bounds": self._bounds, "mask": where}

    def _random(self) -> dict[str, Any]:
        """Return ART's ``num_random_init`` in epsball's words."""
        if self.num_random_init == 0:
            return {"random_start": False}
        return {"random_start": True, "restarts": self.num_random_init, "seed": _draw_seed()}


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
        norm = _norm(self.norm)
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
        options = {"steps": self.max_iter, "step_size": _plain(self.eps_step), **self._random()}
        return attacks.PGD(eps, norm=_norm(self.norm), **options, **common)

    def _check(self) -> None:
        super()._check()
        if self.decay is not None:
            raise ValueError(f"decay: wanted None, got {self.decay}; MomentumIterativeMethod has momentum")


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
        return attacks.BIM(eps, steps=self.max_iter, step_size=_plain(self.eps_step), **common)


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
        options = {"steps": self.max_iter, "step_size": _plain(self.eps_step)}
        return attacks.MomentumPGD(eps, norm=_norm(self.norm), decay=self.decay, **options, **common)


@dataclass(eq=False, repr=False)
class AutoProjectedGradientDescent(EvasionAttack):
    """Auto-PGD (see `attacks.APGD`), which starts with steps of 2 eps: `eps_step` is checked and changes nothing.

    ``loss_type=None`` is the estimator's loss, which is the cross-entropy.
    """

    estimator: Any
    norm: Any = np.inf
    eps: Any = 0.3
    eps_step: Any = 0.1
    max_iter: int = 100
    targeted: bool = False
    nb_random_init: int = 5
    batch_size: int = 32
    loss_type: str | None = None
    verbose: bool = True

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.APGD`."""
        losses = {None: "cross_entropy", "cross_entropy": "cross_entropy", "difference_logits_ratio": "dlr"}
        if self.loss_type not in losses:
            raise ValueError(
                f"loss_type: wanted None, cross_entropy or difference_logits_ratio, got {self.loss_type!r}"
            )
        options: dict[str, Any] = {
            "steps": self.max_iter,
            "restarts": self.nb_random_init,
            "loss": losses[self.loss_type],
        }
        return attacks.APGD(eps, norm=_norm(self.norm), seed=_draw_seed(), **options, **common)


# ---- arguments in ART's words


def _draw_seed() -> int:
    # The generator that ART draws from, so that np.random.seed makes starts repeat as it does there.
    return int(np.random.randint(2**63 - 1))  # noqa: NPY002


def _norm(norm: Any) -> str:
    if norm not in NORMS:
        raise ValueError(f"norm: wanted np.inf, 'inf', 1 or 2, got {norm!r}")
    return NORMS[norm]


def _per_row(value: Any, name: str, x: Array) -> Any:
    """Return a number, or one per row, from a number or an array that broadcasts to x."""
    if np.ndim(value) == 0:
        return float(value)
    try:
        full = np.broadcast_to(value, x.shape).reshape(len(x), -1)
    except ValueError:
        raise ValueError(f"{name}: wanted a shape that broadcasts to x {x.shape}, got {np.shape(value)}") from None
    if (full != full[:, :1]).any():
        raise ValueError(f"{name}: wanted a number or one per row, got an array that differs within a row")
    return np.ascontiguousarray(full[:, 0], np.float64)


def _plain(value: Any) -> Any:
    """Return a step size as a number, or as one per row from ART's array of one per row."""
    a = np.asarray(value, np.float64)
    return float(a) if a.ndim == 0 else a.reshape(len(a), -1)[:, 0].copy()


def _labels(y: Any) -> Any:
    """Return class indices, or probability rows; one-hot rows are class indices."""
    if y is None:
        return None
    a = np.asarray(y)
    if a.ndim == 2 and a.shape[1] == 1:
        a = a[:, 0]
    if a.ndim == 2:
        hot = ((a == 0) | (a == 1)).all() and (a.sum(axis=1) == 1).all()
        return a.argmax(axis=1) if hot else a.astype(np.float32)
    return a.astype(np.int64) if a.dtype.kind == "f" and (a == np.rint(a)).all() else a


def _of_estimator(estimator: Any) -> tuple[Followed, Any]:
    """Return the model behind an estimator, and its bounds."""
    if isinstance(estimator, Classifier | LabelSource):
        return Followed(estimator), None
    torch = import_module("torch")
    if isinstance(estimator, torch.nn.Module):
        return Followed(estimator), None
    model = getattr(estimator, "model", None)
    clip = getattr(estimator, "clip_values", None)
    for name in ("preprocessing_defences", "postprocessing_defences"):
        if getattr(estimator, name, None):
            raise ValueError(f"estimator: wanted one without {name}, which epsball cannot follow")
    if isinstance(model, Classifier | LabelSource):
        return Followed(model), _bounds(clip)
    if not isinstance(model, torch.nn.Module):
        raise TypeError(
            f"estimator: wanted ART's PyTorchClassifier, an EpsballClassifier, a torch module or an epsball model, "
            f"got {type(estimator).__name__}"
        )
    loss = getattr(estimator, "loss", None)
    if loss is not None and type(loss) is not torch.nn.CrossEntropyLoss:
        raise ValueError(f"estimator: wanted CrossEntropyLoss, whose gradient epsball follows, got {loss}")
    return Followed(_standardised(model, getattr(estimator, "preprocessing", None))), _bounds(clip)


def _bounds(clip: Any) -> Any:
    return None if clip is None else tuple(float(side) if np.ndim(side) == 0 else np.asarray(side) for side in clip)


def _standardised(module: Any, preprocessing: Any) -> Any:
    """Return the module behind ART's (x − mean) / std."""
    if preprocessing is None:
        return module
    if not (hasattr(preprocessing, "mean") and hasattr(preprocessing, "std")):
        raise ValueError(f"estimator: wanted no preprocessing but (mean, std), got {type(preprocessing).__name__}")
    torch, modules = import_module("torch"), import_module("epsball.interop.torch_modules")
    mean, std = (torch.as_tensor(np.asarray(v, np.float32)) for v in (preprocessing.mean, preprocessing.std))
    if (mean == 0).all() and (std == 1).all():
        return module
    return modules.StandardisedModule(module, mean, std)


def __getattr__(name: str) -> Any:
    if name == "EpsballClassifier":  # its base classes are ART's
        return import_module("epsball.interop.art_classifier").EpsballClassifier
    raise AttributeError(f"epsball.interop.art has no {name!r} in this version")
