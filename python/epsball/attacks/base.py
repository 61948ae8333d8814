"""What an attack and its result are: the call, configurations as dictionaries, which models it takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from epsball import _native
from epsball.arguments import one_of, radii, require_targets, settle
from epsball.arrays import Array, as_numpy, for_engine, is_on_cuda, like
from epsball.attacks.broken import BrokenRows, broken_rows, for_rows
from epsball.attacks.options import OPTIONS
from epsball.classifier import Classifier
from epsball.model import Sequential
from epsball.reports.files import plain
from epsball.sources.base import LabelSource

Bounds: TypeAlias = tuple[Any, Any] | None
CONFIG_VERSION = 1
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
    # What it sees of a model: "gradients"; "scores", its logits; "labels", what `predict` says, of a LabelSource too;
    # or "structure", read from the one kind of source that it is made for.
    needs: ClassVar[str] = "gradients"

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
        both, so that success never falls as eps grows. An attack in which rows end at their first success
        (`early_stop`, `AutoAttack`) is not run again on rows that a smaller ball's run has broken: they keep point,
        loss, distance and queries.

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
            raise TypeError(
                f"eps: {type(self).__name__} has none to sweep; the distances of one run tell what each radius holds"
            )
        require_targets(self, y)
        budgets = radii("eps", eps)
        labels = model.predict(x) if y is None else y
        options = {option.name: getattr(self, option.name) for option in fields(self)}
        found: dict[float, AttackResult] = {}
        before: AttackResult | None = None
        for budget in sorted(set(budgets)):
            attack = type(self)(**{**options, "eps": budget})
            if before is not None and self.ends_at_success:
                before = attack._run_on_the_rest(model, x, labels, index, before)
            else:
                result = attack.run(model, x, labels, index)
                before = result if before is None else _inherited(result, before, x)
            found[budget] = before
        return [found[budget] for budget in budgets]

    @property
    def ends_at_success(self) -> bool:
        """Whether a row is left alone once it is broken."""
        return bool(getattr(self, "early_stop", False))

    def _run_on_the_rest(self, model: Any, x: Any, labels: Any, index: Any, before: AttackResult) -> AttackResult:
        """Attack the rows that an earlier run has not broken; the others keep what it found."""
        rest = np.flatnonzero(~before.success)
        if len(rest) == 0:
            return before
        device = device_of(model)
        rows, y = as_numpy("x", x, device=device), as_numpy("y", labels, device=device)
        ids = np.arange(len(rows)) if index is None else as_numpy("index", index)
        try:
            run = for_rows(self, rows, rest).run(model, rows[rest], y[rest], ids[rest])
        except BrokenRows as error:
            message = f"eps {self.to_dict()['eps']:g}, {len(rest)} of {len(rows)} rows: {error}"
            raise BrokenRows(message, rest[error.rows], _with_rows(before, error.result, rest, x)) from error
        return _with_rows(before, run, rest, x)

    def _found(self, model: Any, x: Any, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        """Attack; where the model fails for some rows, finish the others before raising."""
        require_targets(self, y)
        rows = self._taken(model, x)
        if isinstance(rows, np.ndarray):
            y = on_host("y", y, model)
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


def _with_rows(result: AttackResult, run: AttackResult, rows: npt.NDArray[np.int64], x: Any) -> AttackResult:
    """Return `result` with what another run found for some of its rows."""
    names = ["success", "distance", "queries", "loss", "zero_gradient"]
    values = {name: np.array(getattr(result, name)) for name in names}
    for name in names:
        values[name][rows] = getattr(run, name)
    if run.reason is not None:
        values["reason"] = np.full(len(values["success"]), "", run.reason.dtype)
        values["reason"][rows] = run.reason
    points = np.array(as_numpy("x", result.x_adv, device="cuda"))
    points[rows] = as_numpy("x", run.x_adv)
    return AttackResult(like(points, x), **values)


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
    known = _registered()
    one_of("attack", name, sorted(known))
    if version != CONFIG_VERSION:
        raise ValueError(
            f"version: this epsball reads attack configurations of version {CONFIG_VERSION}, got {version!r}"
        )
    if "variant" in options:  # AutoAttack's option, whose name the configuration's own version has
        options["version"] = options.pop("variant")
    if isinstance(options.get("bounds"), list):
        options["bounds"] = tuple(options["bounds"])
    _check_options(known[name], options)
    return known[name](**options)


def _registered() -> dict[str, type[Attack]]:
    """Return all attacks by name; modules register theirs when they are imported."""
    from epsball import attacks

    for name in attacks.__all__:
        getattr(attacks, name)
    return ATTACKS


def _check_options(kind: type[Attack], options: dict[str, Any]) -> None:
    """Raise for options that the attack does not have, and for those without a default that are missing."""
    known = {option.name: option for option in fields(kind)}
    for name in options:
        if name not in known:
            raise ValueError(f"configuration: {kind.__name__} has no option {name!r}, but {', '.join(known)}")
    for name, option in known.items():
        if option.default is MISSING and option.default_factory is MISSING and name not in options:
            raise ValueError(f"configuration: wanted a value of {name!r}, which {kind.__name__} needs, got none")


# ---- the model attacked; every error names the argument


def device_of(model: object) -> str:
    """Return where the model computes, and so where arrays may be."""
    return model.device if type(model) is Sequential else "cpu"


def on_host(name: str, value: Any, *models: object) -> Any:
    """Return `value` for what is read on the host: a copy of an array that lies where one of the models computes."""
    if (
        value is None
        or type(value) is np.ndarray
        or not is_on_cuda(value)
        or all(device_of(model) != "cuda" for model in models)
    ):
        return value
    return as_numpy(name, value, device="cuda")


def check_model(model: object) -> None:
    """Raise unless `model` has gradients: one of ours, or a gradient source."""
    if type(model) is Sequential:  # two abstract classes below would cost a microsecond
        return
    if isinstance(model, LabelSource):
        able = ", ".join(name for name, attack in sorted(_registered().items()) if attack.needs == "labels")
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
