"""Cross-sections of the input space: along one axis the class ends, along random ones it goes on."""

from __future__ import annotations

from typing import Any

import numpy as np

import epsball as eb
from epsball.exhibits.base import LECTURE, Curves, Digits, Floats, Shown, random_signs, trained
from epsball.reports.tables import Table, percent

EPS, POINTS = 0.25, 31
EPOCHS, ROWS = 10, 100


def show(digits: Digits, seed: int) -> Shown:
    """Ask for the class on squares x + s d + t r around digits; d is FGSM's direction or random, r is random."""
    model = trained(eb.models.mlp([784, 128, 128, 10], seed=seed), digits.x, digits.y, EPOCHS, seed)
    right = np.flatnonzero(model.predict(digits.xt) == digits.yt)[:ROWS]
    x, y = digits.xt[right].reshape(-1, 784), digits.yt[right]
    other = random_signs(x.shape, seed + 1)
    axes = {"FGSM": np.sign(model.input_gradient(x, y)), "random": random_signs(x.shape, seed)}
    steps = np.linspace(-EPS, EPS, POINTS).astype(np.float32)
    kept = {name: _kept(model, x, y, direction, other, steps) for name, direction in axes.items()}
    findings = {
        name: {
            "square": float(share.mean()),
            "end_of_axis": float(share[-1].mean()),
            "along_other": float(share[POINTS // 2].mean()),
        }
        for name, share in kept.items()
    }
    lines = tuple((f"{name}, random", *map(percent, found.values())) for name, found in findings.items())
    return Shown(
        source=f"{LECTURE}: maps of adversarial and of random cross-sections (with D. Warde-Farley and N. Papernot)",
        lead=f"{percent(findings['random']['square'])} of a square around a digit along two random directions belong "
        f"to its class, of one along FGSM's and a random direction {percent(findings['FGSM']['square'])}.",
        table=Table(("axes", "of the square", "at the first axis's end", "along the second axis"), lines),
        caption=f"Share of points that an MLP takes for the digit's class, over {len(x)} test digits that it knows; "
        f"both axes are sign vectors, from −{EPS} to {EPS} in {POINTS} steps, without a box.",
        findings=findings,
        curves=Curves(
            steps.tolist(),
            "step along the first axis",
            "share in the digit's class",
            {f"{name} direction": share.mean(axis=1).tolist() for name, share in kept.items()},
            "How much of a line across the square, at each place of the first axis, belongs to the digit's class.",
        ),
    )


def _kept(model: Any, x: Floats, y: Any, axis: Floats, other: Floats, steps: Floats) -> Any:
    """Return the share of rows that keep their class, for every step along `axis` (down) and along `other` (across)."""
    share = np.empty((len(steps), len(steps)))
    for i, s in enumerate(steps):
        line = x[:, None] + s * axis[:, None] + steps[:, None] * other[:, None]
        share[i] = (model.predict(line.reshape(-1, 784)).reshape(len(x), -1) == y[:, None]).mean(axis=0)
    return share
