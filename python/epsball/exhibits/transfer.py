"""Digits made for one kind of model, tried on other kinds that learnt from other digits."""

from __future__ import annotations

from typing import Any

import numpy as np

import epsball as eb
from epsball.exhibits.base import LECTURE, OVERVIEW, Digits, Shown, trained
from epsball.reports.tables import Table, percent

EPS = 0.3
EPOCHS, ROWS = 20, 500


def show(digits: Digits, seed: int) -> Shown:
    """Train four kinds of models on four parts of the digits, attack each, and ask all about the results."""
    parts = [slice(k, None, 4) for k in range(4)]
    flat = digits.x.reshape(-1, 784)
    models: dict[str, Any] = {
        "DNN": eb.models.mlp([784, 128, 128, 10], seed=seed),
        "LR": eb.models.linear(784, 10, seed=seed),
        "SVM": eb.models.linear(784, 10, seed=seed),
    }
    for (name, model), part in zip(models.items(), parts, strict=False):
        loss = "crammer_singer" if name == "SVM" else "cross_entropy"
        trained(model, flat[part], digits.y[part], EPOCHS, seed, loss=loss)
    neighbours = flat[parts[3]], digits.y[parts[3]]
    sources = {**models, "kNN": eb.sources.SoftenedKNN(*neighbours)}
    targets = {**models, "kNN": eb.sources.KNN(*neighbours)}
    # The hinge of an SVM is flat where it is sure; its margin is not.
    attacks = {name: eb.attacks.FGSM(EPS, loss="margin" if name == "SVM" else "cross_entropy") for name in sources}
    x, y = digits.xt[:ROWS].reshape(-1, 784), digits.yt[:ROWS]
    found = eb.evaluation.transfer_matrix(sources, targets, attacks, x, y)
    errors = 1 - found.accuracy
    lines = [("none (clean)", *(percent(1 - right) for right in found.clean))]
    lines += [(name, *map(percent, row)) for name, row in zip(found.sources, errors, strict=True)]
    others = errors[~np.eye(len(errors), dtype=bool)]
    return Shown(
        source=f"{LECTURE}: cross-technique transfer; {OVERVIEW}, figure 11; Papernot et al. 2016, arXiv 1605.07277",
        lead=f"A model errs on {percent(float(others.mean()))} of the digits made for another kind of model that "
        f"learnt from other digits, and on {percent(float(1 - found.clean.mean()))} of clean ones.",
        table=Table(("made for", *(f"error of {name}" for name in found.targets)), tuple(lines)),
        caption=f"FGSM, L∞, eps = {EPS}, box [0, 1], on {len(x)} test digits. DNN: MLP 784-128-128-10; LR: softmax "
        "regression; SVM: a linear model with the Crammer-Singer loss; kNN: 5 neighbours, attacked through a smooth "
        "stand-in. Each learnt from a quarter of the training digits of its own.",
        findings={**found.to_dict(), "error": errors},
    )
