"""Accuracy over the share of inputs that are adversarial: a line for every model, and who is best where."""

from __future__ import annotations

from typing import Any

import numpy as np

import epsball as eb
from epsball.exhibits.base import OVERVIEW, Curves, Digits, Shown, trained
from epsball.reports.tables import percent

EPS = 0.15
EPOCHS, ROWS, POINTS = 8, 1000, 51


def show(digits: Digits, seed: int) -> Shown:
    """Train an MLP three ways, attack it, and draw the lines between its two accuracies."""
    methods: dict[str, Any] = {
        "clean": eb.training.Standard(),
        "half adversarial": eb.training.PGDTraining(EPS, steps=3, clean_weight=0.5),
        "adversarial": eb.training.PGDTraining(EPS, steps=3),
    }
    x, y = digits.xt[:ROWS], digits.yt[:ROWS]
    ends = {}
    for name, method in methods.items():
        model = trained(eb.models.mlp([784, 128, 128, 10], seed=seed), digits.x, digits.y, EPOCHS, seed, method)
        ends[name] = eb.evaluate(model, x, y, attacks=[eb.attacks.PGD(EPS, steps=20, seed=seed)])
    found = eb.analysis.trade_off(ends)
    shares = np.linspace(0, 1, POINTS)
    best = "; ".join(f"from {percent(first)} to {percent(last)} {name}" for first, last, name in found.envelope)
    return Shown(
        source=f"{OVERVIEW}, figure 16",
        lead=f"Best by the share of inputs that are adversarial: {best} training. Never best: "
        f"{', '.join(found.dominated) or 'none'}.",
        table=found.table(),
        caption=f"MLPs 784-128-128-10, {EPOCHS} epochs; PGD, L∞, eps = {EPS}, box [0, 1], of 3 steps in training and "
        f"20 on {len(x)} test digits.",
        findings={
            "clean": found.clean,
            "adversarial": found.adversarial,
            "envelope": found.envelope,
            "crossings": {f"{one}, {other}": p for (one, other), p in found.crossings.items()},
            "dominated": found.dominated,
        },
        curves=Curves(
            shares.tolist(),
            "share of adversarial inputs",
            "accuracy",
            {name: found.accuracy(name, shares).tolist() for name in methods},
            "Accuracy of each model where a share of the inputs is adversarial.",
        ),
    )
