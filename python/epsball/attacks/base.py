"""What all attacks share: arguments, the call, the result, configurations as dictionaries."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, field, fields
from functools import lru_cache
from numbers import Real
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from epsball import _native
from epsball.arguments import FLOAT32, check_seed, flag, number, one_of, pair, require_targets, settle, whole
from epsball.arrays import Array, as_numpy, for_engine, like, room
from epsball.attacks.broken import BrokenRows, broken_rows
from epsball.classifier import Classifier, labels_for_engine
from epsball.model import Sequential
from epsball.reports.files import plain
from epsball.sources.base import LabelSource

Bounds: TypeAlias = tuple[Any, Any] | None
CONFIG_VERSION = 1
LOSSES = ("cross_entropy", "margin", "squared_error", "confidence", "hinge", "crammer_singer", "dlr")
Found: TypeAlias = tuple[Any, ...]  # the fields of AttackResult, in order
ATTACKS: dict[str, type[Attack]] = {}


@dataclass(frozen=True)
class AttackResult:
    """What an attack found, row by row.

    Only the points are of x's kind. What is said of them are NumPy arrays, whatever x was, and wherever: findings to be
    counted (``result.success.mean()``), not to be differentiated; ``torch.from_numpy(result.success)`` makes a tensor.

    Attributes
    ----------
    x_adv
        Adversarial points, of x's kind, shape and dtype; within ball and box exactly, measured in float64.
    success
        (N,) bool: what ``model.predict(x_adv)`` says. Untargeted: not the label; targeted: the target.
    distance
        (N,) float64: the attack's norm of x_adv − x.
    queries
        (N,) int64: forward passes spent on the row.
    loss
        (N,) float32: the attack's loss at x_adv.
    zero_gradient
        (N,) bool: every gradient the attack took for this row was exactly zero, so it had no direction to go.
    trace
        (N, restarts · (steps + 1)) float32 if asked for: the loss at every iterate, restart after restart; NaN after
        a row left early.
    reason
        (N,) str: why a row failed, "" where it did not; None for attacks that can only fail by not finding anything.
    perturbation
        Of one input's shape: what `Universal` added to every row; None for the others.
    """

    x_adv: Any
    success: npt.NDArray[np.bool_]
    distance: npt.NDArray[np.float64]
    queries: npt.NDArray[np.int64]
    loss: npt.NDArray[np.float32]
    zero_gradient: npt.NDArray[np.bool_]
    trace: npt.NDArray[np.float32] | None = None
    reason: npt.NDArray[np.str_] | None = None
    perturbation: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class Attack(ABC):
    """Base of all attacks: ``attack(model, x, y)`` returns the points, ``attack.run(...)`` everything."""

    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")
    reads_x: ClassVar[bool] = False  # looks at x in Python, so that an array on a device is copied to the host
    needs: ClassVar[str] = "gradients"  # or "labels": then the model may be a LabelSource, of which it uses `predict`

    def __init_subclass__(cls) -> None:
        ATTACKS[cls.__name__] = cls

    def __post_init__(self) -> None:
        """Check the options all attacks may have; own copies of arrays keep the attack as frozen as it says."""
        for option in fields(self):
            name, value = option.name, getattr(self, option.name)
            if name == "norm":
                one_of(name, value, self.norms)
            elif name in OPTIONS:
                settle(self, **{name: OPTIONS[name](name, value)})

    def __call__(self, model: Any, x: Any, y: Any = None, index: Any = None) -> Any:
        """Return the adversarial points for x, of its kind, shape and dtype.

        Parameters
        ----------
        model
            The model attacked: epsball's own or a gradient source.
        x
            (N, ...) float32, float64 or float16, within `bounds`.
        y
            Class indices (N,): true labels, or targets if `targeted`; or (N, K) probabilities for losses that take
            them. None: the model's own predictions.
        index
            (N,) integers that key each row's random numbers; None: 0 … N−1. Given its rows' indices in the whole
            batch, a shard draws the same numbers as the batch would.

        Returns
        -------
        array
            Within ball and box exactly, measured in float64.

        Raises
        ------
        ValueError, TypeError
            A bad argument, named with what was wanted and what was given.
        BrokenRows
            The model gave something that is not finite for some rows; a ValueError that carries the others' results.
        """
        return like(self._found(model, x, y, index, judged=False, trace=False)[0], x)

    def run(self, model: Any, x: Any, y: Any = None, index: Any = None, trace: bool = False) -> AttackResult:
        """Attack and report.

        Parameters
        ----------
        model, x, y, index
            As in a plain call.
        trace
            Record the loss at every iterate.

        Returns
        -------
        AttackResult
            Points, success, distances, queries, losses; the trace if asked for.

        Raises
        ------
        ValueError, TypeError
            A bad argument, named with what was wanted and what was given.
        BrokenRows
            As in a plain call.
        """
        x_adv, *rest = self._found(model, x, y, index, judged=True, trace=trace)
        return AttackResult(like(x_adv, x), *rest)

    def sweep(
        self, model: Any, x: Any, y: Any = None, *, eps: Iterable[float], index: Any = None
    ) -> list[AttackResult]:
        """Attack with several budgets.

        A row that a smaller ball's run breaks and a larger one's does not keeps the smaller one's point, which lies in
        both, so that success never falls as eps grows.

        Parameters
        ----------
        model, x, y, index
            As in a plain call.
        eps
            The radii, numbers.

        Returns
        -------
        list of AttackResult
            One for each of `eps`, in that order.

        Raises
        ------
        ValueError, TypeError
            A bad argument, no radius, or an attack that has no eps.
        """
        if not any(option.name == "eps" for option in fields(self)):
            raise TypeError(f"eps: {type(self).__name__} has none to sweep")
        require_targets(self, y)
        try:
            radii = list(eps)
        except TypeError:
            raise TypeError(f"eps: wanted radii, one number for each run, got {eps!r}") from None
        budgets = [number("eps", value, 0.0, float(FLOAT32.max)) for value in radii]
        if not budgets:
            raise ValueError("eps: wanted at least one radius, got none")
        labels = model.predict(x) if y is None else y
        options = {option.name: getattr(self, option.name) for option in fields(self)}
        found: dict[float, AttackResult] = {}
        before: AttackResult | None = None
        for budget in sorted(set(budgets)):
            result = type(self)(**{**options, "eps": budget}).run(model, x, labels, index)
            before = found[budget] = result if before is None else _inherited(result, before, x)
        return [found[budget] for budget in budgets]

    def _found(self, model: Any, x: Any, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        """Attack; where the model fails for some rows, finish the others before raising."""
        require_targets(self, y)
        rows = self._taken(model, x)
        try:
            return self._attack(model, rows, y, index, judged=judged, trace=trace)
        except _native.NotFinite as error:
            if not isinstance(rows, np.ndarray):  # on a device
                raise
            try:
                message, failed, (x_adv, *rest) = broken_rows(self, error, model, rows, y, index, trace)
            except Exception:  # a model that does not take a part of the rows
                raise error from None
            raise BrokenRows(message, failed, AttackResult(like(x_adv, x), *rest)) from error

    def _taken(self, model: Any, x: Any) -> Any:
        device = device_of(model)
        return as_numpy("x", x, device=device) if self.reads_x else for_engine("x", x, device)

    @abstractmethod
    def _attack(self, model: Any, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        """Return the fields of `AttackResult`, in order."""

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration, versioned and ready for JSON; `from_dict` reads it back."""
        values = {"variant" if f.name == "version" else f.name: getattr(self, f.name) for f in fields(self)}
        return {"attack": type(self).__name__, "version": CONFIG_VERSION, **plain(values)}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Attack) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(repr(self.to_dict()))


def has_options_per_row(attack: Attack) -> bool:
    """Whether an option is an array, which may have one value per row: such an attack takes all rows at once."""
    return any(isinstance(getattr(attack, option.name), np.ndarray) for option in fields(attack))


def _inherited(result: AttackResult, smaller: AttackResult, x: Any) -> AttackResult:
    """Return `result` with the points of a smaller ball where only they succeed."""
    rows = smaller.success & ~result.success
    if not rows.any():
        return result
    values = {f.name: getattr(result, f.name) for f in fields(result)}
    for name in ("success", "distance", "loss", "zero_gradient"):
        values[name] = np.where(rows, getattr(smaller, name), values[name])
    points = np.array(as_numpy("x", result.x_adv, device="cuda"))
    points[rows] = as_numpy("x", smaller.x_adv, device="cuda")[rows]
    return AttackResult(**{**values, "x_adv": like(points, x)})


@lru_cache(maxsize=256, typed=True)
def _remembered(make: Any, *options: Any) -> Any:
    if not _is_plain(options):  # what raises is not remembered, so that no array outlives the call
        raise TypeError("only plain options are remembered")
    return make(*options)


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_is_plain(v) for v in value)
    return value is None or isinstance(value, int | float | str | np.number | np.bool_)


def configured(kind: type[Attack], *options: Any) -> Attack:
    """Return ``kind(*options)``; the same options give the same frozen attack, made and checked only once."""
    try:
        make: Any = kind
        attack: Attack = _remembered(make, *options)
    except TypeError:  # arrays among the options are not remembered; a bad option raises again here
        attack = kind(*options)
    return attack


def from_dict(configuration: dict[str, Any]) -> Attack:
    """Return the attack that `Attack.to_dict` described.

    Parameters
    ----------
    configuration
        What `to_dict` returned, perhaps through JSON.

    Returns
    -------
    Attack
        Equal to the one described.

    Raises
    ------
    ValueError, TypeError
        An unknown attack, option or version.
    """
    if not isinstance(configuration, dict) or "attack" not in configuration:
        raise ValueError(f"configuration: wanted a dictionary with the key 'attack', got {configuration!r}")
    options = dict(configuration)
    name, version = options.pop("attack"), options.pop("version", CONFIG_VERSION)
    one_of("attack", name, sorted(ATTACKS))
    if version != CONFIG_VERSION:
        raise ValueError(
            f"version: this epsball reads attack configurations of version {CONFIG_VERSION}, got {version!r}"
        )
    if "variant" in options:  # AutoAttack's option, whose name the configuration's own version has
        options["version"] = options.pop("variant")
    if isinstance(options.get("bounds"), list):
        options["bounds"] = tuple(options["bounds"])
    _check_options(ATTACKS[name], options)
    return ATTACKS[name](**options)


def _check_options(kind: type[Attack], options: dict[str, Any]) -> None:
    """Raise for options that the attack does not have, and for those without a default that are missing."""
    known = {option.name: option for option in fields(kind)}
    for name in options:
        if name not in known:
            raise ValueError(f"configuration: {kind.__name__} has no option {name!r}, but {', '.join(known)}")
    for name, option in known.items():
        if option.default is MISSING and option.default_factory is MISSING and name not in options:
            raise ValueError(f"configuration: wanted a value of {name!r}, which {kind.__name__} needs, got none")


# ---- the native loops


@dataclass(slots=True)  # not frozen: that would cost microseconds of every call
class Loop:
    """What an attack asks of a native loop beyond the fields all of them have.

    Attributes
    ----------
    steps, step_size, restarts, early_stop, seed
        As in `PGD`; step_size is settled here.
    random_start, start
        "none", "ball", "signs", "sphere", "gaussian" or "salt_and_pepper", and the radius of it where that is not eps.
    keep_best
        Return a row's best iterate; False: the last.
    targets
        Classes attacked one after another, in order of the logits at x, the label left out; 0: the loss is the label's.
    direction, decay, decay_squares
        "gradient", "momentum", "nesterov" or "adam", with its averages' decay: of the gradient, and of its square.
    top
        SLIDE: features that move by step_size / top each; 0: those of largest gradient fill the box first.
    probes, noise, reach
        Pairs of points that estimate a gradient (0: the model's own), along "signs" or "normal" directions, at this
        distance.
    native
        The engine's loop.
    gradients
        False: the loop needs the model's logits only.
    more
        Options that this loop alone has.
    """

    steps: int = 0
    step_size: Any = 0.0
    restarts: int = 1
    random_start: str = "none"
    start: Any = None
    keep_best: bool = True
    early_stop: bool = False
    seed: int = 0
    targets: int = 0
    direction: str = "gradient"
    decay: float = 0.0
    decay_squares: float = 0.0
    top: int = 0
    probes: int = 0
    noise: str = "signs"
    reach: float = 0.01
    native: Any = _native.pgd
    gradients: bool = True
    more: dict[str, Any] = field(default_factory=dict)


def run_loop(
    attack: Any,
    loop: Loop,
    model: Classifier,
    x: Array,
    y: Any,
    index: Any,
    *,
    judged: bool,
    trace: bool,
    target: npt.NDArray[np.int64] | None = None,
) -> Found:
    """Run a native loop for an attack; with `target` it descends towards these labels while `y` judges."""
    check_model(model)
    engine = model._engine(x, loop.gradients)  # before anything that needs to know how many classes there are
    if loop.targets > max(engine.classes - 1, 1):
        raise ValueError(f"targets: wanted at most {max(engine.classes - 1, 1)}, the classes that are not the label, "
                         f"got {loop.targets}")  # fmt: skip
    labels = _labels(model, x, y)
    if target is not None:  # y judges beside it, on the host
        labels = as_numpy("y", labels, device=device_of(model))
    judge = _hard(labels, model) if target is not None or labels.dtype.kind == "f" else None
    options = {
        **common_options(attack, x, index, judged=judged, trace=trace),
        "judge": judge,
        "eps": attack.eps,
        "start": loop.start,
        "step_size": loop.step_size,
        "loss": attack.loss,
        "steps": loop.steps,
        "restarts": loop.restarts,
        "random_start": loop.random_start,
        "direction": loop.direction,
        "decay": loop.decay,
        "decay_squares": loop.decay_squares,
        "top": loop.top,
        "probes": loop.probes,
        "noise": loop.noise,
        "reach": loop.reach,
        "targets": loop.targets,
        "keep_best": loop.keep_best,
        "early_stop": loop.early_stop,
        "seed": loop.seed,
        **loop.more,
    }
    options["descend"] |= target is not None or (loop.targets > 0 and attack.loss != "dlr")
    found: Found = loop.native(engine, x, labels if target is None else target, options)
    return found


def common_options(attack: Any, x: Array, index: Any, *, judged: bool, trace: bool) -> dict[str, Any]:
    """Return what every native attack is told; a loop that has the option itself says it after this."""
    targeted = bool(getattr(attack, "targeted", False))
    return {
        "judge": None,
        "start": None,
        "step_size": 0.0,
        "norm": attack.norm,
        "descend": targeted,
        "targeted": targeted,
        "keep_best": True,
        "measured": judged,
        "early_stop": False,
        "targets": 0,
        "seed": getattr(attack, "seed", 0),
        "box": box_of(attack.bounds, x.shape[1:]),
        "mask": None if attack.mask is None else _mask(attack.mask, x.shape),
        "index": None if index is None else check_index(index, len(x)),
        "trace": trace,
        "out": room(x, x.shape, x.dtype),
    }


def default_step_size(eps: Any, steps: int) -> Any:
    """Return 2.5 eps / steps (Madry et al. 2018), per row where eps is, and no more than float32 holds."""
    if steps == 0:
        return 0.0
    most = float(FLOAT32.max)
    if isinstance(eps, int | float):
        return min(2.5 * eps / steps, most)
    return np.minimum(2.5 * np.asarray(eps, dtype=np.float64) / steps, most)


# ---- arguments; every error names the argument


def _labels(model: Classifier, x: Any, y: Any) -> Any:
    """Return y for the engine; None stands for the model's own predictions."""
    return labels_for_engine(x, model.predict(x) if y is None else y, device_of(model))


def device_of(model: object) -> str:
    """Return where the model computes, and so where arrays may be."""
    return model.device if type(model) is Sequential else "cpu"


def check_model(model: object) -> None:
    """Raise unless `model` has gradients: one of ours, or a gradient source."""
    if type(model) is Sequential:  # two abstract classes below would cost a microsecond
        return
    if isinstance(model, LabelSource):
        able = ", ".join(name for name, attack in ATTACKS.items() if attack.needs == "labels")
        raise TypeError(
            f"model: {type(model).__name__} gives labels only, and this attack follows gradients; attacks that need "
            f"labels only: {able or 'none in this version'}"
        )
    if not isinstance(model, Classifier):
        raise TypeError(
            f"model: wanted an epsball model or a gradient source such as epsball.TorchModel, "
            f"got {type(model).__name__}"
        )


def check_own_model(model: object, what: str) -> Sequential:
    """Return `model` if it is epsball's own; the error says what only those can do."""
    if isinstance(model, LabelSource | Classifier) and not isinstance(model, Sequential):
        raise TypeError(f"model: {what}, got {type(model).__name__}, whose weights are outside the engine")
    if not isinstance(model, Sequential):
        raise TypeError(f"model: wanted an epsball model, got {type(model).__name__}")
    return model


def _own(name: str, value: Any, kinds: str, wanted: str) -> Array:
    """Return a read-only copy, which no later write to the caller's array changes."""
    own = np.array(as_numpy(name, value, wanted))
    if own.dtype.kind not in kinds:
        raise TypeError(f"{name}: wanted {wanted}, got {own.dtype}")
    own.flags.writeable = False
    return own


def check_eps(value: Any, name: str = "eps") -> Any:
    """Return one finite non-negative number, or an array of one per row."""
    if isinstance(value, Real):
        return number(name, value, 0.0, float(FLOAT32.max))
    own = _own(name, value, "iuf", "a number or one per row")
    if not ((own >= 0) & (own <= float(FLOAT32.max))).all():
        raise ValueError(f"{name}: wanted numbers from 0 to {FLOAT32.max:g}, got {own}")
    return own


def check_step_size(value: Any, name: str = "step_size") -> Any:
    """Return None, or what eps may be."""
    return None if value is None else check_eps(value, name)


def _bounds(name: str, value: Any) -> Any:
    return None if value is None else tuple(_bound(name, side) for side in pair(name, value))


def _bound(name: str, side: Any) -> Any:
    return (
        number(name, side, -np.inf, np.inf) if isinstance(side, Real) else _own(name, side, "biuf", "numbers or arrays")
    )


OPTIONS: dict[str, Callable[[str, Any], Any]] = {
    "eps": lambda name, value: check_eps(value, name),
    "alpha": lambda name, value: check_step_size(value, name),
    "step_size": lambda name, value: check_step_size(value, name),
    "steps": lambda name, value: whole(name, value, 0),
    "restarts": lambda name, value: whole(name, value, 1),
    "targets": lambda name, value: whole(name, value, 0),
    "queries": lambda name, value: whole(name, value, 1),
    "samples": lambda name, value: whole(name, value, 1),
    "init_evals": lambda name, value: whole(name, value, 1),
    "delta": lambda name, value: number(name, value, 1e-9, float(FLOAT32.max)),
    "sigma": lambda name, value: number(name, value, 1e-9, float(FLOAT32.max)),
    "model_draws": lambda name, value: whole(name, value, 1),
    "draws": lambda name, value: whole(name, value, 1),
    "decay": lambda name, value: number(name, value, 0.0, 1e6),
    "random_start": flag,
    "targeted": flag,
    "early_stop": flag,
    "loss": lambda name, value: one_of(name, value, LOSSES),
    "bounds": _bounds,
    "mask": lambda name, value: None if value is None else _own(name, value, "biuf", "an array of 0 and 1"),
    "seed": lambda name, value: check_seed(value, name),
}


def box_of(bounds: Any, shape: tuple[int, ...]) -> _native.Box:
    """Return the box as the engine takes it; one of numbers is made once."""
    lower, upper = (None, None) if bounds is None else normal_bounds(bounds, shape)
    make = _native.Box if isinstance(lower, np.ndarray) or isinstance(upper, np.ndarray) else _plain_box
    return make(lower, upper, math.prod(shape))


@lru_cache(maxsize=16)
def _plain_box(lower: float | None, upper: float | None, features: int) -> _native.Box:
    return _native.Box(lower, upper, features)


def normal_bounds(bounds: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Return (lower, upper), each a float or a float64 array of one input, flattened."""
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        raise ValueError(f"bounds: wanted a pair (lower, upper) or None, got {bounds!r}")
    return _side(bounds[0], shape), _side(bounds[1], shape)


def _side(value: Any, shape: tuple[int, ...]) -> Any:
    if isinstance(value, float | int) and not isinstance(value, bool):
        return float(value)
    try:
        a = np.asarray(as_numpy("bounds", value), dtype=np.float64)
        return np.ascontiguousarray(np.broadcast_to(a, shape)).ravel()
    except (TypeError, ValueError):
        raise ValueError(f"bounds: wanted numbers or arrays that broadcast to one input of shape {shape}, "
                         f"got {value!r}") from None  # fmt: skip


def _mask(mask: Any, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    a = as_numpy("mask", mask)
    if not ((a == 0) | (a == 1)).all():
        raise ValueError("mask: wanted 0 (fixed) and 1 (may change) only")
    try:
        one = a.ndim < len(shape) or a.shape[0] == 1
        target = shape[1:] if one else shape
        flat = np.broadcast_to(a.reshape(a.shape[1:]) if one and a.ndim == len(shape) else a, target)
    except ValueError:
        raise ValueError(f"mask: wanted a shape that broadcasts to x {shape}, got {a.shape}") from None
    return np.ascontiguousarray(flat, dtype=np.uint8).reshape(-1)


def check_index(index: Any, rows: int) -> Array:
    """Return one integer in [0, 2**63) per row."""
    a = as_numpy("index", index)
    if a.dtype.kind not in "iu" or a.shape != (rows,):
        raise TypeError(f"index: wanted {rows} integers, one per row, got {a.dtype} of shape {a.shape}")
    if a.size and not 0 <= a.min() <= a.max() < 2**63:
        raise ValueError(f"index: wanted integers >= 0 and < 2**63, got {a.min()} to {a.max()}")
    return a


def _hard(labels: Array, model: Classifier) -> Array:
    """Return the class indices that judge success where the loss has soft targets."""
    if labels.dtype.kind != "f" or labels.ndim != 2:
        return labels
    return (labels[:, 0] > 0.5).astype(np.int64) if model.classes == 1 else labels.argmax(axis=1)
