"""Which class a targeted attack aims at: policies, and the best of all classes."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball.arguments import check_seed, class_indices, one_of
from epsball.arrays import as_numpy, like
from epsball.attacks.base import Attack, AttackResult
from epsball.attacks.options import check_index
from epsball.classifier import Classifier

POLICIES = ("random", "least_likely", "likeliest", "next")


def target_labels(
    model: Classifier, x: Any, y: Any, policy: str = "random", *, seed: int = 0, index: Any = None
) -> Any:
    """Return a class to aim at for every row, never its label y.

    Parameters
    ----------
    model
        Asked for logits where the policy looks at them; of two classes or more.
    x
        (N, ...) inputs.
    y
        (N,) labels to leave; None: the model's own predictions.
    policy
        "random": uniform among the other classes, drawn from seed and index. "least_likely": the lowest logit (Kurakin
        et al. 2017, arXiv 1607.02533). "likeliest": the highest but the label's, and so the prediction of a row that is
        misclassified. "next": y + 1, and 0 after the last
        (Carlini and Wagner 2017, arXiv 1608.04644). Of
        equal logits the first counts.
    seed
        Of random targets, in [0, 2**64).
    index
        (N,) integers that key each row's draw; None: 0 … N−1.

    Returns
    -------
    array
        (N,) int64, of x's kind.

    Raises
    ------
    ValueError, TypeError
        A bad argument, named with what was wanted and what was given.

    Examples
    --------
    >>> import epsball as eb, numpy as np
    >>> model = eb.models.linear(4, 3)
    >>> eb.attacks.target_labels(model, np.zeros((2, 4), np.float32), np.array([1, 2]), "next")
    array([2, 0])
    """
    one_of("policy", policy, POLICIES)
    if not isinstance(model, Classifier):
        raise TypeError(f"model: wanted a model with logits, got {type(model).__name__}")
    rows = as_numpy("x", x, device=model.device)
    logits = as_numpy("logits", model(rows))
    classes = max(logits.shape[1], 2)
    if logits.shape[1] == 1:  # a single logit speaks for label 1
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    given = logits.argmax(axis=1) if y is None else as_numpy("y", y, device=model.device)
    labels = class_indices("y", given, len(rows), classes)
    if policy == "next":
        return like((labels + 1) % classes, x)
    if policy == "random":
        ids = np.arange(len(rows)) if index is None else check_index(index, len(rows))
        drawn = _draws(check_seed(seed), ids) % np.uint64(classes - 1)
        return like((labels + 1 + drawn.astype(np.int64)) % classes, x)
    sign = -1.0 if policy == "least_likely" else 1.0
    other = np.where(np.arange(classes) == labels[:, None], -np.inf, sign * logits.astype(np.float64))
    return like(other.argmax(axis=1), x)


def best_of_targets(attack: Attack, model: Any, x: Any, y: Any = None, index: Any = None) -> AttackResult:
    """Aim an attack at every class but the label, one after another, and keep each row's best point.

    The best is one that reached its class: the nearest of them, or for attacks with an eps the one of the smallest
    loss towards it.

    Parameters
    ----------
    attack
        Any that can be targeted, whether or not it is.
    model, x, index
        As in a plain call.
    y
        (N,) labels to leave; None: the model's own predictions.

    Returns
    -------
    AttackResult
        ``success``: the label is left. ``loss`` is towards the class of the point kept, ``queries`` are those of all
        runs, ``zero_gradient`` is true where none had a gradient, and there is no trace.

    Raises
    ------
    ValueError, TypeError
        A bad argument, named.

    Examples
    --------
    >>> import epsball as eb, numpy as np
    >>> model = eb.models.linear(4, 3)
    >>> x = np.full((2, 4), 0.5, np.float32)
    >>> eb.attacks.best_of_targets(eb.attacks.DDN(), model, x).success
    array([ True,  True])
    """
    if not isinstance(attack, Attack) or "targeted" not in {option.name for option in fields(attack)}:
        raise TypeError(f"attack: wanted one that can be targeted, got {type(attack).__name__}")
    options = {option.name: getattr(attack, option.name) for option in fields(attack)}
    aimed = type(attack)(**{**options, "targeted": True})
    first = target_labels(model, x, y, "next")  # which checks the arguments
    classes = max(model.classes, 2)
    rows = as_numpy("y", first, device=model.device)
    best: dict[str, Any] = {}
    for shift in range(classes - 1):
        run = aimed.run(model, x, (rows + shift) % classes, index)
        found = {option.name: getattr(run, option.name) for option in fields(run)}
        found["x_adv"] = as_numpy("x", run.x_adv, device=model.device)
        best = _better(best, found, "loss" if "eps" in options else "distance") if best else found
    return AttackResult(**{**best, "x_adv": like(best["x_adv"], x)})


def _better(best: dict[str, Any], found: dict[str, Any], measure: str) -> dict[str, Any]:
    """Return, row by row, what succeeded with the smaller measure."""
    nearer = (found["success"] == best["success"]) & (found[measure] < best[measure])
    rows = (found["success"] & ~best["success"]) | nearer
    kept = dict(best)
    for name in ("x_adv", "success", "distance", "loss"):
        mine = rows.reshape(-1, *[1] * (best[name].ndim - 1))
        kept[name] = np.where(mine, found[name], best[name])
    kept["queries"] = best["queries"] + found["queries"]
    kept["zero_gradient"] = best["zero_gradient"] & found["zero_gradient"]
    return kept


def _draws(seed: int, ids: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    """Return 64 bits for every id, those of SplitMix64 (Steele et al. 2014) started at seed and id."""
    with np.errstate(over="ignore"):
        z = (ids.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(seed)
        for factor, shift in ((0xBF58476D1CE4E5B9, 30), (0x94D049BB133111EB, 27)):
            z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
        bits: npt.NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return bits >> np.uint64(8)
