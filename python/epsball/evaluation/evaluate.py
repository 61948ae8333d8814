"""One model against a list of attacks: accuracy clean, under each, and in the worst case per row; what is proved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from os import PathLike
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball.arguments import class_indices, count_rows
from epsball.arrays import as_numpy
from epsball.attacks.base import Attack, check_model, on_host
from epsball.classifier import Classifier
from epsball.evaluation.certificate import Certificate
from epsball.evaluation.report import AttackRow, Bools, EvaluationReport
from epsball.evaluation.state import Found, Predicted, Right, State, chunk_of, identity
from epsball.files import fingerprint_of_rows
from epsball.machine import info
from epsball.reports import files
from epsball.reports.examples import Examples
from epsball.reports.progress import Progress, check_progress, reporter, silent
from epsball.sources.base import GradientSource, LabelSource

_EXAMPLES = 10


@dataclass
class Attacked(Found):
    """What one attack did so far.

    Attributes
    ----------
    predictions, confidences, distance, queries
        (N,) of the rows attacked, 0 for those still to come; confidences are NaN where the model has none.
    points
        (E, ...) the adversarial points of the rows that a report shows.
    seconds, steps
        Spent on them.
    """

    predictions: npt.NDArray[np.int64]
    confidences: npt.NDArray[np.float32]
    distance: npt.NDArray[np.float64]
    queries: npt.NDArray[np.int64]
    points: npt.NDArray[np.float32]
    seconds: float = 0.0
    steps: int = 0

    @staticmethod
    def nothing(rows: int, shown: int, shape: tuple[int, ...]) -> Attacked:
        """Return the start of an attack on `rows` rows, of which a report shows `shown`."""
        return Attacked(
            np.zeros(rows, np.int64), np.zeros(rows, np.float32), np.zeros(rows), np.zeros(rows, np.int64),
            np.zeros((shown, *shape), np.float32),
        )  # fmt: skip


def evaluate(
    model: Classifier | LabelSource,
    x: npt.NDArray[Any],
    y: npt.ArrayLike,
    attacks: Sequence[Attack],
    *,
    certificates: Sequence[Certificate] = (),
    state: str | PathLike[str] | None = None,
    progress: bool | Progress = False,
) -> EvaluationReport:
    """Measure accuracy on clean inputs, under each attack, and in the worst case per row.

    Parameters
    ----------
    model
        The model to attack: epsball's own, a gradient source, or a label source, whose every answer counts as a query.
    x : array, shape (N, ...)
        Inputs.
    y : array of int, shape (N,)
        True classes.
    attacks
        Untargeted attacks; each is run on every row, 1,000 rows at a time. For a label source there may be none.
    certificates
        Such as `evaluation.IBPCertificate`: what they prove is reported beside what the attacks leave.
    state
        A file written after every 1,000 rows of an attack or certificate (temporary name, then rename). If it exists
        the evaluation goes on from there, and nothing that it holds is computed again: `attacks` and `certificates` may
        have grown since. A file of another evaluation is an error. Of models outside the engine their `repr` and the
        arrays that they hold are compared, which tells no function from another of the same name.
    progress
        True shows bars on stderr; a function is called with (name of the attack or certificate, thousands of rows done,
        of how many).

    Returns
    -------
    EvaluationReport
        A row counts as robust if the model gets it right clean and under every attack.

    Raises
    ------
    TypeError
        An element of `attacks` is not an attack, or one of `certificates` no certificate.
    ValueError
        `attacks` is empty or holds a targeted attack, `y` does not hold one class per row of `x`, or `state` is
        damaged or of another evaluation.
    """
    check_progress(progress)
    x = on_host("x", x, model)
    labels = _check(model, x, on_host("y", y, model), attacks)
    proofs = _named_certificates(certificates)
    named = _named(attacks)
    shown = np.unique(labels, return_index=True)[1][:_EXAMPLES]
    rows = len(labels)
    clean = Predicted(np.zeros(rows, np.int64))
    found = {name: Attacked.nothing(rows, len(shown), np.shape(x)[1:]) for name in named}
    proved = {name: Right(np.zeros(rows, bool)) for name in proofs}
    kept = State(
        state,
        "epsball-evaluation",
        {} if state is None else _identity(model, x, labels, named, proofs),
        {"clean": {"predictions": clean}, "attacks": found, "certificates": proved},
        may_grow=("attacks", "certificates"),
    )
    for part in kept.parts("clean", clean, rows, silent):
        clean.predictions[part] = as_numpy("predictions", model.predict(x[part]))
    with reporter(progress) as report:
        for name, attack in named.items():
            _run(name, attack, model, x, labels, shown, found[name], kept, report)
        for name, proof in proofs.items():
            for part in kept.parts(name, proved[name], rows, report):
                proved[name].right[part] = proof.certify(model, x[part], labels[part])
    outcomes = {
        name: _outcome(name, attack, x, labels, clean.predictions, shown, found[name]) for name, attack in named.items()
    }
    certified = {name: rows_proved.right for name, rows_proved in proved.items()}
    return _report(model, labels, clean.predictions, named, outcomes, proofs, certified)


def _report(
    model: Classifier | LabelSource,
    labels: npt.NDArray[np.int64],
    clean: npt.NDArray[np.int64],
    attacks: dict[str, Attack],
    outcomes: dict[str, _Outcome],
    certificates: dict[str, Certificate],
    certified: dict[str, Bools],
) -> EvaluationReport:
    """Put together what was found; `clean` are the predictions on the clean rows."""
    robust = np.logical_and.reduce([clean == labels, *(outcome.right for outcome in outcomes.values())])
    # Of equals the later one: lists of attacks usually end with the strongest.
    strongest = min(reversed(outcomes.values()), key=lambda outcome: int(outcome.right.sum()), default=None)
    return EvaluationReport(
        clean_accuracy=float(np.mean(clean == labels)),
        robust_accuracy=float(robust.mean()),
        rows={name: outcome.row for name, outcome in outcomes.items()},
        robust=robust,
        attacks={name: attack.to_dict() for name, attack in attacks.items()},
        model=repr(model),
        environment=info(),
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        examples=strongest.examples if strongest else None,
        certified=certified,
        certificates={name: certificate.to_dict() for name, certificate in certificates.items()},
    )


def _identity(
    model: Any,
    x: npt.NDArray[Any],
    labels: npt.NDArray[np.int64],
    attacks: dict[str, Attack],
    certificates: dict[str, Certificate],
) -> dict[str, Any]:
    """Return what tells one evaluation from another, ready for JSON."""
    return {
        **identity(model),
        "data": fingerprint_of_rows(as_numpy("x", x), labels),
        "attacks": files.plain({name: attack.to_dict() for name, attack in attacks.items()}),
        "certificates": {name: certificate.to_dict() for name, certificate in certificates.items()},
        "table": info()["chosen"],
    }


def _run(
    name: str,
    attack: Attack,
    model: Classifier | LabelSource,
    x: npt.NDArray[Any],
    labels: npt.NDArray[np.int64],
    shown: npt.NDArray[np.int64],
    found: Attacked,
    kept: State,
    report: Progress,
) -> None:
    """Run one attack on the rows that it has not seen, a chunk at a time."""
    for part in kept.parts(name, found, len(labels), report, chunk_of(attack, len(labels))):
        start = perf_counter()
        result = attack.run(model, x[part], labels[part], index=np.arange(part.start, part.stop))
        found.seconds += perf_counter() - start
        found.steps += _sample_steps(attack, model, x, result.queries)
        points = as_numpy("x_adv", result.x_adv)
        found.predictions[part], confidences = _answers(model, result.x_adv)
        found.confidences[part] = np.nan if confidences is None else confidences
        found.distance[part], found.queries[part] = result.distance, result.queries
        mine = (shown >= part.start) & (shown < part.stop)
        found.points[mine] = points[shown[mine] - part.start]


@dataclass(frozen=True)
class _Outcome:
    """What one attack did: its line of the table, the rows still right, the images to show."""

    row: AttackRow
    right: Bools
    examples: Examples | None


def _outcome(
    name: str,
    attack: Attack,
    x: npt.NDArray[Any],
    labels: npt.NDArray[np.int64],
    clean: npt.NDArray[np.int64],
    shown: npt.NDArray[np.int64],
    found: Attacked,
) -> _Outcome:
    """Sum up what an attack found; `clean` are the predictions on the clean rows."""
    right = found.predictions == labels
    turned = (clean == labels) & ~right
    confidences = None if np.isnan(found.confidences).any() else found.confidences
    stops = getattr(attack, "early_stop", False)
    row: AttackRow = {
        "accuracy": float(right.mean()),
        "confidence_on_mistakes": _confidence(confidences, ~right),
        "median_distance": _median(found.distance[turned]),
        "queries_to_success": _median(found.queries[turned]) if stops else None,
        "seconds": found.seconds,
        "sample_steps_per_second": found.steps / found.seconds,
    }
    examples = None
    if np.ndim(x) == 4 and confidences is not None:
        before = np.asarray(x[shown], np.float32)
        examples = Examples(
            name, before, found.points, labels[shown], clean[shown], found.predictions[shown], confidences[shown]
        )
    return _Outcome(row, right, examples)


def _median(values: npt.NDArray[Any]) -> float | None:
    return float(np.median(values)) if values.size else None


def _named_certificates(certificates: Sequence[Certificate]) -> dict[str, Certificate]:
    """Name certificates by what they say of themselves."""
    if not isinstance(certificates, Sequence):
        raise TypeError(f"certificates: wanted a list of certificates, got {certificates!r}")
    for certificate in certificates:
        if not isinstance(certificate, Certificate):
            raise TypeError(
                f"certificates: wanted certificates such as epsball.evaluation.IBPCertificate(0.1), got {certificate!r}"
            )
    return {certificate.describe(): certificate for certificate in certificates}


def _check(
    model: Classifier | LabelSource, x: npt.NDArray[Any], y: npt.ArrayLike, attacks: Sequence[Attack]
) -> npt.NDArray[np.int64]:
    """Return the labels; the error names the argument. A label source is asked nothing before all is checked."""
    if not isinstance(model, LabelSource):
        check_model(model)
    labels = class_indices("y", y, count_rows(x))
    if not isinstance(attacks, Sequence):
        raise TypeError(f"attacks: wanted a list of attacks, got {attacks!r}")
    if not attacks and not isinstance(model, LabelSource):
        raise ValueError("attacks: wanted at least one attack, got none")
    for attack in attacks:
        if not isinstance(attack, Attack):
            raise TypeError(f"attacks: wanted attacks such as epsball.attacks.PGD(eps=0.3), got {attack!r}")
        if attack.needs in ("gradients", "scores"):
            check_model(model)
        if getattr(attack, "targeted", False):
            raise ValueError(f"attacks: wanted untargeted attacks (y holds the true classes), got {attack!r}")
    return labels


def _named(attacks: Sequence[Attack]) -> dict[str, Attack]:
    """Name attacks by class, steps and budget; a number tells those apart that differ in other ways."""
    named: dict[str, Attack] = {}
    for attack in attacks:
        name = base = describe(attack)
        count = 1
        while name in named:
            count += 1
            name = f"{base} ({count})"
        named[name] = attack
    return named


def describe(attack: Attack) -> str:
    """Write an attack in a few words: ``PGD-40×10 linf eps=0.3``."""
    steps, restarts = getattr(attack, "steps", 1), getattr(attack, "restarts", 1)
    name = type(attack).__name__ + (f"-{steps}" if steps > 1 else "") + (f"×{restarts}" if restarts > 1 else "")
    eps = getattr(attack, "eps", None)
    budget = "" if eps is None else f" eps={eps:g}" if np.ndim(eps) == 0 else " eps per row"
    return f"{name} {getattr(attack, 'norm', 'linf')}{budget}"


def _answers(
    model: Classifier | LabelSource, x: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32] | None]:
    """Return the predicted class of each row and, where the model has it, its probability."""
    if isinstance(model, LabelSource):
        return np.asarray(model.predict(x)), None
    probabilities = np.asarray(model.probabilities(x))
    if probabilities.shape[1] == 1:  # a logistic model gives the probability of class 1 only
        probabilities = np.concatenate([1 - probabilities, probabilities], axis=1)
    return np.asarray(model.predict(x)), probabilities.max(axis=1)


def _confidence(confidences: npt.NDArray[np.float32] | None, wrong: Bools) -> float | None:
    """Return the mean probability of the predicted class over the wrong rows, if there is any."""
    return None if confidences is None or not wrong.any() else float(confidences[wrong].mean(dtype=np.float64))


def _sample_steps(
    attack: Attack, model: Classifier | LabelSource, x: npt.NDArray[Any], queries: npt.NDArray[np.int64]
) -> int:
    """Count the steps done: a run of k forward passes made k - 1; single-step attacks make one."""
    steps = getattr(attack, "steps", None)
    if steps is None:
        return len(queries)
    # One pass is the final judgement: for dtypes other than float32, and for gradient sources with early_stop.
    again = as_numpy("x", x).dtype != np.float32
    again |= isinstance(model, GradientSource) and getattr(attack, "early_stop", False)
    passes = queries - again
    return int((passes - np.ceil(passes / (steps + 1))).sum())
