"""What all attacks share: arguments, the call, the result, configurations as dictionaries."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from epsball import _native
from epsball.arrays import Array, as_numpy, like
from epsball.model import Sequential

Bounds: TypeAlias = tuple[Any, Any] | None
CONFIG_VERSION = 1
Found: TypeAlias = tuple[Any, ...]  # the fields of AttackResult, in order
ATTACKS: dict[str, type[Attack]] = {}


@dataclass(frozen=True)
class AttackResult:
    """What an attack found, row by row.

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
    """

    x_adv: Any
    success: npt.NDArray[np.bool_]
    distance: npt.NDArray[np.float64]
    queries: npt.NDArray[np.int64]
    loss: npt.NDArray[np.float32]
    zero_gradient: npt.NDArray[np.bool_]
    trace: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class Attack:
    """Base of all attacks: ``attack(model, x, y)`` returns the points, ``attack.run(...)`` everything."""

    needs_labels: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        ATTACKS[cls.__name__] = cls

    def __call__(self, model: Sequential, x: Any, y: Any = None, index: Any = None) -> Any:
        """Return the adversarial points for x, of its kind, shape and dtype.

        Parameters
        ----------
        model
            The model attacked.
        x
            (N, ...) float32, float64 or float16, within `bounds`.
        y
            Class indices (N,): true labels, or targets if `targeted`; or (N, K) probabilities for losses that take
            them. None: the model's own predictions.
        index
            (N,) integers that key each row's random numbers; None: 0 … N−1. A shard with its rows' indices in the
            whole draws what the whole would.

        Returns
        -------
        array
            Within ball and box exactly, measured in float64.

        Raises
        ------
        ValueError, TypeError
            A bad argument, named with what was wanted and what was given.
        """
        return like(self._attack(model, as_numpy("x", x), y, index, judged=False, trace=False)[0], x)

    def run(self, model: Sequential, x: Any, y: Any = None, index: Any = None, trace: bool = False) -> AttackResult:
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
        """
        x_adv, *rest = self._attack(model, as_numpy("x", x), y, index, judged=True, trace=trace)
        return AttackResult(like(x_adv, x), *rest)

    def _attack(self, model: Sequential, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration, versioned and ready for JSON; `from_dict` reads it back."""
        values = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        return {"attack": type(self).__name__, "version": CONFIG_VERSION, **values}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Attack) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(repr(self.to_dict()))


@lru_cache(maxsize=256, typed=True)
def _remembered(make: Any, *options: Any) -> Any:
    return make(*options)


def configured(kind: type[Attack], *options: Any) -> Attack:
    """Return ``kind(*options)``; the same options give the same frozen attack, made and checked only once."""
    try:
        make: Any = kind
        attack: Attack = _remembered(make, *options)
    except TypeError:  # arrays among the options cannot be remembered; a bad option raises again here
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
    if name not in ATTACKS:
        raise ValueError(f"attack: wanted one of {', '.join(sorted(ATTACKS))}, got {name!r}")
    if version != CONFIG_VERSION:
        raise ValueError(
            f"version: this epsball reads attack configurations of version {CONFIG_VERSION}, got {version!r}"
        )
    if isinstance(options.get("bounds"), list):
        options["bounds"] = tuple(options["bounds"])
    return ATTACKS[name](**options)


# ---- the native loop behind FGSM, R+FGSM, BIM, ILCM and PGD


@dataclass(slots=True)  # not frozen: that would cost microseconds of every call
class Loop:
    """What an attack asks of the native loop beyond the fields all of them have."""

    steps: int
    step_size: Any
    restarts: int = 1
    random_start: str = "none"  # none, ball or signs
    start: Any = None  # radius of the random start where it is not eps
    keep_best: bool = True
    early_stop: bool = False
    seed: int = 0


def run_loop(
    attack: Any,
    loop: Loop,
    model: Sequential,
    x: Array,
    y: Any,
    index: Any,
    *,
    judged: bool,
    trace: bool,
    target: npt.NDArray[np.int64] | None = None,
) -> Found:
    """Run the native loop for an attack; with `target` it descends towards these labels while `y` judges."""
    check_model(model)
    targeted = bool(getattr(attack, "targeted", False))
    if y is None and targeted:
        raise ValueError("y: a targeted attack needs the target labels, got None")
    labels = model.predict(x) if y is None else as_numpy("y", y)
    judge = _hard(labels, model) if target is not None or labels.dtype.kind == "f" else None
    bounds = None if attack.bounds is None else normal_bounds(attack.bounds, x.shape[1:])
    options = {
        "judge": judge,
        "eps": attack.eps,
        "start": loop.start,
        "step_size": loop.step_size,
        "norm": _name("norm", attack.norm),
        "loss": _name("loss", attack.loss),
        "descend": targeted or target is not None,
        "targeted": targeted,
        "steps": loop.steps,
        "restarts": loop.restarts,
        "random_start": loop.random_start,
        "keep_best": loop.keep_best,
        "measured": judged,
        "early_stop": loop.early_stop,
        "seed": loop.seed % 2**64,
        "bounds": bounds,
        "mask": None if attack.mask is None else _mask(attack.mask, x.shape),
        "index": None if index is None else _index(index),
        "trace": trace,
    }
    return _native.pgd(model._native, x, labels if target is None else target, options)


def default_step_size(eps: Any, steps: int) -> Any:
    """Return 2.5 eps / steps (Madry et al. 2018), per row where eps is."""
    if steps == 0:
        return 0.0
    return 2.5 * eps / steps if isinstance(eps, int | float) else 2.5 * np.asarray(eps, dtype=np.float64) / steps


# ---- arguments; every error names the argument


def check_model(model: object) -> None:
    """Raise unless `model` is one of ours."""
    if not isinstance(model, Sequential):
        raise TypeError(f"model: wanted an epsball model, got {type(model).__name__}")


def check_eps(eps: Any) -> None:
    """Raise unless eps is a finite non-negative number or an array of them."""
    if isinstance(eps, float | int) and not isinstance(eps, bool):
        if not 0 <= eps < math.inf:
            raise ValueError(f"eps: wanted a finite number >= 0, got {eps}")
    elif not isinstance(eps, np.ndarray | np.generic | list | tuple) and not hasattr(eps, "__array__"):
        raise TypeError(f"eps: wanted a number or one per row, got {eps!r}")


def check_count(name: str, value: object, least: int) -> None:
    """Raise unless value is an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}: wanted an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{name}: wanted an integer >= {least}, got {value}")


def check_step_size(value: Any, name: str = "step_size") -> None:
    """Raise unless value is None, or non-negative as eps is."""
    if value is None:
        return
    try:
        check_eps(value)
    except (ValueError, TypeError) as error:
        raise type(error)(str(error).replace("eps", name, 1)) from None


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


def _index(index: Any) -> Array:
    a = as_numpy("index", index)
    if a.dtype.kind not in "iu" or a.ndim != 1:
        raise TypeError(f"index: wanted one integer per row, got {a.dtype} of shape {a.shape}")
    if a.size and a.min() < 0:
        raise ValueError(f"index: wanted integers >= 0, got {a.min()}")
    return a


def _hard(labels: Array, model: Sequential) -> Array:
    """Return the class indices that judge success where the loss has soft targets."""
    if labels.dtype.kind != "f" or labels.ndim != 2:
        return labels
    return (labels[:, 0] > 0.5).astype(np.int64) if model.classes == 1 else labels.argmax(axis=1)


def _name(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name}: wanted a name, got {value!r}")
    return value


def _plain(value: Any) -> Any:
    """Return a field as JSON has it."""
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray | np.generic) or hasattr(value, "__array__"):
        return np.asarray(value).tolist()
    return value
