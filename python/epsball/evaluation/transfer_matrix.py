"""Which models are fooled by inputs made for which others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball.arguments import class_indices, count_rows, require_untargeted
from epsball.arrays import Array, as_numpy
from epsball.attacks.base import Attack, on_host
from epsball.evaluation.any_model import any_model
from epsball.evaluation.state import Right, State, chunk_of, identity
from epsball.files import fingerprint_of_rows
from epsball.machine import info
from epsball.reports.files import plain
from epsball.reports.progress import Progress, check_progress, reporter, silent
from epsball.reports.tables import Table, percent

Names = tuple[str, ...]


@dataclass(frozen=True)
class TransferMatrix:
    """What `transfer_matrix` found; rows are sources, columns are targets.

    Attributes
    ----------
    sources, targets
        Names.
    accuracy : ndarray, shape (sources, targets)
        Fraction of rows that the target gets right on the source's adversarial inputs; 1 − it is the
        misclassification rate of Papernot et al. (2016, arXiv 1605.07277).
    transfer : ndarray, shape (sources, targets)
        Of the rows that the target got right clean, the fraction that it gets wrong then; NaN where it got none right.
    clean : ndarray, shape (targets,)
        Each target's accuracy on x.
    attacks
        For each source, the configuration of its attack.
    """

    sources: Names
    targets: Names
    accuracy: npt.NDArray[np.float64]
    transfer: npt.NDArray[np.float64]
    clean: npt.NDArray[np.float64]
    attacks: dict[str, dict[str, Any]]

    def table(self) -> Table:
        """Return accuracies as they are shown: a line per source, the clean ones first."""
        lines = [("none (clean)", *map(percent, self.clean))]
        lines += [(name, *map(percent, row)) for name, row in zip(self.sources, self.accuracy, strict=True)]
        return Table(("made for", *self.targets), tuple(lines))

    def __str__(self) -> str:
        """Return a plain table of accuracies."""
        return str(self.table())

    def to_dict(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        return {
            "sources": list(self.sources),
            "targets": list(self.targets),
            "accuracy": self.accuracy.tolist(),
            "transfer": [[None if np.isnan(v) else v for v in row] for row in self.transfer.tolist()],
            "clean": self.clean.tolist(),
            "attacks": self.attacks,
        }


def transfer_matrix(
    sources: Any,
    targets: Any,
    attack: Any,
    x: Any,
    y: Any,
    *,
    state: str | PathLike[str] | None = None,
    progress: bool | Progress = False,
) -> TransferMatrix:
    """Attack each source and ask every target about the results.

    Parameters
    ----------
    sources, targets
        Models by name, or a list of them: epsball's, gradient and label sources, torch modules, scikit-learn
        classifiers, in any mix. None as `targets`: the sources.
    attack
        An untargeted attack, or one for each source by name; a label source needs one that asks for labels only. It is
        run on 1,000 rows at a time, which have the same random numbers against every source.
    x
        (N, ...) inputs.
    y
        (N,) true classes, as indices.
    state
        A file from which a run that was killed goes on, as in `evaluate`; there may be more sources since.
    progress
        True shows bars on stderr; a function is called with (name of the source, thousands of rows done, of how many).

    Returns
    -------
    TransferMatrix
        Each target sees x once and each source's points once: (sources + 1) · N queries.

    Raises
    ------
    ValueError, TypeError
        A bad argument, named; an attack that a source cannot take; a state that is damaged or of another run.
    """
    check_progress(progress)
    made_for = _named("sources", sources)
    asked = made_for if targets is None else _named("targets", targets)
    x, y = (on_host(name, value, *made_for.values(), *asked.values()) for name, value in (("x", x), ("y", y)))
    rows = count_rows(x)
    labels = class_indices("y", y, rows)
    attacks = _attacks(attack, list(made_for))
    data = as_numpy("x", x)
    victims = {name: any_model(model, data, f"targets: {name!r}") for name, model in asked.items()}
    attacked = {name: any_model(model, data, f"sources: {name!r}") for name, model in made_for.items()}
    clean = {name: Right(np.zeros(rows, bool)) for name in victims}
    after = {name: Right(np.zeros((len(victims), rows), bool)) for name in attacked}
    run: dict[str, Any] = {}
    if state is not None:
        run = {
            "sources": {
                name: {**identity(model), "attack": plain(attacks[name].to_dict())} for name, model in attacked.items()
            },
            "targets": {name: identity(model) for name, model in victims.items()},
            "data": fingerprint_of_rows(data, labels),
            "table": info()["chosen"],
        }
    kept = State(state, "epsball-transfer-matrix", run, {"targets": clean, "sources": after}, may_grow=("sources",))
    for name, found in clean.items():
        for part in kept.parts(name, found, rows, silent):
            found.right[part] = _right(victims[name], x[part], labels[part])
    with reporter(progress) as report:
        for name, found in after.items():
            for part in kept.parts(name, found, rows, report, chunk_of(attacks[name], rows)):
                x_adv = attacks[name](attacked[name], x[part], labels[part], index=np.arange(part.start, part.stop))
                found.right[:, part] = [_right(victim, x_adv, labels[part]) for victim in victims.values()]
    right: Array = np.stack([found.right for found in after.values()])  # (sources, targets, N)
    before: Array = np.stack([found.right for found in clean.values()])
    counted = before.sum(axis=1)
    turned = (before & ~right).sum(axis=2)
    return TransferMatrix(
        sources=tuple(made_for),
        targets=tuple(victims),
        accuracy=right.mean(axis=2),
        transfer=np.where(counted > 0, turned / np.maximum(counted, 1), np.nan),
        clean=before.mean(axis=1),
        attacks={name: chosen.to_dict() for name, chosen in attacks.items()},
    )


def _right(model: Any, x: Any, labels: Array) -> Array:
    return np.asarray(as_numpy("predictions", model.predict(x)) == labels)


def _named(what: str, models: Any) -> dict[str, Any]:
    """Return models by name; those of a list are called by their class, with a number from the second on."""
    if isinstance(models, Mapping):
        named = dict(models)
    elif isinstance(models, Sequence):
        named = {}
        for model in models:
            name, count = type(model).__name__, 2
            while name in named:
                name, count = f"{type(model).__name__} ({count})", count + 1
            named[name] = model
    else:
        raise TypeError(f"{what}: wanted models by name or a list of them, got {type(models).__name__}")
    if not named:
        raise ValueError(f"{what}: wanted at least one model, got none")
    return named


def _attacks(attack: Any, names: list[str]) -> dict[str, Attack]:
    chosen = dict(attack) if isinstance(attack, Mapping) else dict.fromkeys(names, attack)
    if missing := [name for name in names if name not in chosen]:
        raise ValueError(f"attack: wanted one for every source, got none for {missing[0]!r}")
    for each in chosen.values():
        if not isinstance(each, Attack):
            raise TypeError(f"attack: wanted an attack such as epsball.attacks.PGD(eps=0.3), got {each!r}")
        require_untargeted(each)
    return {name: chosen[name] for name in names}
