"""Drop-in for ART's evasion attacks: its names, signatures and defaults; NumPy in and out; the attacks are epsball's.

``from epsball.interop.art import ProjectedGradientDescent`` is the whole migration; ART need not be installed. The
estimator is an ``art.estimators.classification.PyTorchClassifier`` with the cross-entropy loss, an `EpsballClassifier`,
a torch module or an epsball model. `EpsballClassifier` goes the other way: ART's attacks on epsball's models. What
differs, and is meant to:

- An iterative attack returns the best iterate of each row (misclassified first, then the highest loss), not the last;
  restarts are chosen per row; the bound is exact.
- The L1 step goes on to the next feature where the box stops the first, and the L1 projection is the nearest point.
- Minimum-norm attacks return rows that they do not break as they were.
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
from epsball.arguments import flag, one_of, whole
from epsball.arrays import Array
from epsball.classifier import Classifier
from epsball.interop.following import Followed
from epsball.sources.base import LabelSource

NORMS = {np.inf: "linf", "inf": "linf", 1: "l1", 2: "l2"}
ORDERS = {"linf": np.inf, "l1": 1, "l2": 2}


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


@dataclass(eq=False, repr=False)
class SquareAttack(EvasionAttack):
    """Random search by squares (see `attacks.Square`), the margin being the loss; L1 is no error here.

    `adv_criterion` and `loss` are None. Every restart takes the rows that are left.
    """

    estimator: Any
    norm: Any = np.inf
    adv_criterion: Any = None
    loss: Any = None
    max_iter: int = 100
    eps: Any = 0.3
    p_init: float = 0.8
    nb_restarts: int = 1
    batch_size: int = 128
    verbose: bool = True

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.Square`."""
        options: dict[str, Any] = {"queries": self.max_iter + 1, "part": self.p_init, "rescale": True}
        return attacks.Square(eps, norm=_norm(self.norm), **options, seed=_draw_seed(), **common)

    def _found(self, model: Any, x: Array, y: Any, common: dict[str, Any]) -> Array:
        labels = _own_or_given(model, x, y)
        found, eps = x.copy(), np.broadcast_to(_per_row(self.eps, "eps", x), len(x))
        left = np.arange(len(x))
        for _ in range(whole("nb_restarts", self.nb_restarts, 1)):
            run = self.translated(eps[left].copy(), _for_rows(common, x, left)).run(model, x[left], labels[left])
            found[left] = run.x_adv
            left = left[~run.success]
            if len(left) == 0:
                break
        return found

    def _check(self) -> None:
        super()._check()
        _check_only(adv_criterion=(self.adv_criterion, None), loss=(self.loss, None))


class _MinimumNorm(EvasionAttack):
    """Attacks without a budget."""

    def _found(self, model: Any, x: Array, y: Any, common: dict[str, Any]) -> Array:
        found: Array = self.translated(None, common)(model, x, y)
        return found


@dataclass(eq=False, repr=False)
class CarliniL2Method(_MinimumNorm):
    """Carlini and Wagner's L2 attack (see `attacks.CarliniWagner`).

    ART searches the length of every step; here Adam takes as many steps as ART may try lengths,
    ``max_iter · (max_halving + max_doubling)`` in each search.
    """

    classifier: Any
    confidence: float = 0.0
    targeted: bool = False
    learning_rate: float = 0.01
    binary_search_steps: int = 10
    max_iter: int = 10
    initial_const: float = 0.01
    max_halving: int = 5
    max_doubling: int = 5
    batch_size: int = 1
    verbose: bool = True

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.CarliniWagner`."""
        lengths = whole("max_halving", self.max_halving, 1) + whole("max_doubling", self.max_doubling, 1)
        return attacks.CarliniWagner(
            self.max_iter * lengths, self.binary_search_steps, self.learning_rate, self.initial_const,
            self.confidence, **common,
        )  # fmt: skip


@dataclass(eq=False, repr=False)
class ElasticNet(_MinimumNorm):
    """The elastic-net attack (see `attacks.EAD`); "EN" chooses by L2, nearly all of the elastic net's distance."""

    classifier: Any
    confidence: float = 0.0
    targeted: bool = False
    learning_rate: float = 0.01
    binary_search_steps: int = 9
    max_iter: int = 100
    beta: float = 1e-3
    initial_const: float = 1e-3
    batch_size: int = 1
    decision_rule: str = "EN"
    verbose: bool = True

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.EAD`."""
        norm = "l1" if one_of("decision_rule", self.decision_rule, ("EN", "L1", "L2")) == "L1" else "l2"
        return attacks.EAD(
            norm, self.beta, self.max_iter, self.binary_search_steps, self.learning_rate, self.initial_const,
            self.confidence, **common,
        )  # fmt: skip


@dataclass(eq=False, repr=False)
class DeepFool(_MinimumNorm):
    """Steps to the nearest boundary (see `attacks.DeepFool`); as in ART rows leave their predictions, whatever y is."""

    classifier: Any
    max_iter: int = 100
    epsilon: float = 1e-6
    nb_grads: int = 10
    batch_size: int = 1
    verbose: bool = True

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.DeepFool`."""
        rivals = max(whole("nb_grads", self.nb_grads, 1) - 1, 1)  # ART counts the label among them
        return attacks.DeepFool("l2", self.max_iter, self.epsilon, rivals, common["bounds"], common["mask"])

    def _found(self, model: Any, x: Array, y: Any, common: dict[str, Any]) -> Array:
        return super()._found(model, x, None, common)


@dataclass(eq=False, repr=False)
class SaliencyMapMethod(_MinimumNorm):
    """Two features at a time (see `attacks.JSMA`, with ``again``) towards y, or towards random classes.

    A negative theta lowers features. A row ends when no pair of features serves the target, where ART goes on with the
    two that look best, and so reaches more targets. `gamma` bounds how far features move in total, not how many do.
    """

    classifier: Any
    theta: float = 0.1
    gamma: float = 1.0
    batch_size: int = 1
    verbose: bool = True

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.JSMA`."""
        options = common | {"targeted": True, "again": True}
        return attacks.JSMA(abs(self.theta), self.gamma, self.theta > 0, **options)

    def _found(self, model: Any, x: Array, y: Any, common: dict[str, Any]) -> Array:
        aims = attacks.target_labels(model, x, None, "random", seed=_draw_seed()) if y is None else y
        return super()._found(model, x, aims, common)


class _Decision(_MinimumNorm):
    """Attacks on labels alone, which begin at an adversarial point."""

    def generate(
        self, x: Array, y: Array | None = None, mask: Array | None = None, x_adv_init: Array | None = None
    ) -> Array:
        """Return the adversarial inputs, as `EvasionAttack.generate`; `x_adv_init` are points to begin at."""
        self._start = None if x_adv_init is None else np.asarray(x_adv_init, np.float32)
        return super().generate(x, y, mask)

    def _common(self, mask: Any) -> dict[str, Any]:
        return super()._common(mask) | {"start": self._start, "seed": _draw_seed()}


@dataclass(eq=False, repr=False)
class BoundaryAttack(_Decision):
    """A walk along the boundary (see `attacks.Boundary`), targeted unless told otherwise, as in ART.

    ART asks about `sample_size` points at every step; here the walk takes ``max_iter · sample_size`` steps of its own.
    `num_trial` changes nothing; `step_adapt` and `min_epsilon` have one value only.
    """

    estimator: Any
    batch_size: int = 64
    targeted: bool = True
    delta: float = 0.01
    epsilon: float = 0.01
    step_adapt: float = 0.667
    max_iter: int = 5000
    num_trial: int = 25
    sample_size: int = 20
    init_size: int = 100
    min_epsilon: float = 0.0
    verbose: bool = True

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.Boundary`."""
        steps = whole("max_iter", self.max_iter, 1) * whole("sample_size", self.sample_size, 1)
        return attacks.Boundary(steps, orthogonal=self.delta, towards=self.epsilon, starts=self.init_size, **common)

    def _check(self) -> None:
        super()._check()
        whole("num_trial", self.num_trial, 1)
        _check_only(step_adapt=(self.step_adapt, 0.667), min_epsilon=(self.min_epsilon, 0.0))


@dataclass(eq=False, repr=False)
class HopSkipJump(_Decision):
    """The boundary from labels (see `attacks.HopSkipJump`)."""

    classifier: Any
    batch_size: int = 64
    targeted: bool = False
    norm: Any = 2
    max_iter: int = 50
    max_eval: int = 10000
    init_eval: int = 100
    init_size: int = 100
    verbose: bool = True

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.HopSkipJump`."""
        options: dict[str, Any] = {"probes": self.init_eval, "most_probes": self.max_eval, "starts": self.init_size}
        return attacks.HopSkipJump(_norm(self.norm), self.max_iter, **options, **common)


@dataclass(eq=False, repr=False)
class SpatialTransformation(_MinimumNorm):
    """The worst rotation and shift of every image (see `attacks.Spatial`), where ART has one for all of them.

    `max_translation` is in percent of the image, which is a square; ``num_… = 1`` means none, in ART the largest.
    """

    classifier: Any
    max_translation: float = 0.0
    num_translations: int = 1
    max_rotation: float = 0.0
    num_rotations: int = 1
    verbose: bool = True

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.Spatial`, with the shift in parts of an image's side."""
        grid = (self.num_rotations, self.num_translations, self.num_translations)
        return attacks.Spatial(self.max_rotation, eps * self.max_translation / 100, grid, bounds=common["bounds"])

    def _found(self, model: Any, x: Array, y: Any, common: dict[str, Any]) -> Array:
        if common["mask"] is not None:
            raise ValueError("mask: wanted None, as all of an image moves")
        if x.ndim != 4 or x.shape[2] != x.shape[3]:
            raise ValueError(f"x: wanted square images (N, channels, side, side), got shape {x.shape}")
        run = self.translated(x.shape[2], common).run(model, x, y)
        found: Array = np.where(run.success[:, None, None, None], run.x_adv, x)
        return found


@dataclass(eq=False, repr=False)
class AutoAttack(EvasionAttack):
    """ART's AutoAttack: APGD with both losses and 5 restarts, DeepFool, Square; or the `attacks` given, of this module.

    Each takes the rows that are left, and counts where it stays within eps. `targeted` is False, `estimator_orig` None
    or the estimator; `parallel_pool_size` changes nothing. The authors' AutoAttack is `epsball.attacks.AutoAttack`.
    """

    estimator: Any
    norm: Any = np.inf
    eps: float = 0.3
    eps_step: float = 0.1
    attacks: Any = None
    batch_size: int = 32
    estimator_orig: Any = None
    targeted: bool = False
    parallel_pool_size: int = 0

    def members(self) -> list[EvasionAttack]:
        """Return the attacks, in order."""
        if self.attacks:
            return list(self.attacks)
        ball = {"norm": self.norm, "eps": self.eps}
        given = self.estimator
        return [
            AutoProjectedGradientDescent(given, eps_step=self.eps_step, **ball),
            AutoProjectedGradientDescent(given, eps_step=self.eps_step, loss_type="difference_logits_ratio", **ball),
            DeepFool(given, epsilon=1e-3),
            SquareAttack(given, max_iter=5000, nb_restarts=5, **ball),
        ]

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Raise, as this is several attacks."""
        # The base class asks every attack for its translation, which its `_found` runs; here `_found` runs the members.
        raise NotImplementedError("AutoAttack is no single attack of epsball's; see members")

    def _found(self, model: Any, x: Array, y: Any, common: dict[str, Any]) -> Array:
        labels = _own_or_given(model, x, y)
        found, left = x.copy(), np.flatnonzero(model.predict(x) == labels)
        for attack in self.members():
            if len(left) == 0:
                break
            x_adv = attack._found(model, x[left], labels[left], _for_rows(common, x, left))
            away = (x_adv.astype(np.float64) - x[left]).reshape(len(left), -1)
            within = np.linalg.norm(away, ORDERS[_norm(self.norm)], axis=1) <= self.eps
            won = within & (model.predict(x_adv) != labels[left])
            found[left[won]] = x_adv[won]
            left = left[~won]
        return found

    def _check(self) -> None:
        super()._check()
        whole("parallel_pool_size", self.parallel_pool_size, 0)
        _check_only(targeted=(self.targeted, False))
        if self.estimator_orig not in (None, self.estimator):
            raise ValueError("estimator_orig: wanted None or the estimator, got another one")
        if self.attacks is not None and not all(isinstance(a, EvasionAttack) for a in self.attacks):
            raise TypeError("attacks: wanted attacks of epsball.interop.art")


# ---- arguments in ART's words


def _check_only(**options: tuple[Any, Any]) -> None:
    for name, (value, only) in options.items():
        if value != only:
            raise ValueError(f"{name}: wanted {only!r}, the only value that epsball has, got {value!r}")


def _for_rows(common: dict[str, Any], x: Array, rows: Array) -> dict[str, Any]:
    """Return the common options for some of the rows: a mask may differ from row to row."""
    mask = common["mask"]
    return common if mask is None else common | {"mask": np.broadcast_to(mask, x.shape)[rows]}


def _own_or_given(model: Any, x: Array, y: Any) -> Array:
    """Return the labels, or the model's own predictions."""
    labels: Array = np.asarray(model.predict(x)) if y is None else y
    return labels.argmax(axis=1) if labels.ndim == 2 else labels


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
