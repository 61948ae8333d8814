"""Modern networks are piecewise linear, and along the gradient's sign close to one straight line."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import epsball as eb
from epsball.exhibits.base import LECTURE, Curves, Digits, Floats, Shown, trained
from epsball.reports.tables import Table, number

ACTIVATIONS = ("relu", "maxout", "sigmoid")
EPS, INTERVALS = 0.25, 100
EPOCHS, ROWS, COUNTED = 5, 100, 10  # rows whose lines are fitted, and of those whose pieces are counted


def show(digits: Digits, seed: int) -> Shown:
    """Follow x + t sign(g) for t from −eps to eps, g being the gradient of the loss at x."""
    x, y = digits.xt[:ROWS].reshape(-1, 784), digits.yt[:ROWS]
    steps = np.linspace(-EPS, EPS, INTERVALS + 1).astype(np.float32)
    findings: dict[str, Any] = {}
    paths: Floats | None = None
    for activation in ACTIVATIONS:
        model = trained(eb.models.mlp([784, 64, 64, 10], activation, seed=seed), digits.x, digits.y, EPOCHS, seed)
        signs = np.sign(model.input_gradient(x, y))
        rays = x[:, None] + steps[:, None] * signs[:, None]
        logits = np.asarray(model(rays.reshape(-1, 784)), np.float64).reshape(len(x), len(steps), 10)
        paths = logits[0].astype(np.float32) if paths is None else paths
        findings[activation] = {
            "straightness": float(np.median(_straightness(steps, logits))),
            "slopes": float(np.mean([_slopes(model, *row) for row in zip(rays[:COUNTED], signs, strict=False)])),
        }
    assert paths is not None
    lines = tuple((name, number(f["straightness"], 3), number(f["slopes"], 1)) for name, f in findings.items())
    return Shown(
        source=f"{LECTURE}: modern networks are piecewise linear, nearly linear responses in practice; Goodfellow "
        "et al. 2015, arXiv 1412.6572, figure 4",
        lead=f"A straight line explains {number(findings['relu']['straightness'], 3)} of a logit's variance along the "
        f"ray (the median, ReLU), which has {number(findings['relu']['slopes'], 0)} different slopes in {INTERVALS} "
        f"places; of sigmoids every place has its own ({number(findings['sigmoid']['slopes'], 0)}).",
        table=Table(("hidden units", "R² of one line", f"slopes in {INTERVALS} places"), lines),
        caption=f"MLPs 784-64-64-10 along x + t sign(g), |t| up to {EPS}: R² is the median over {ROWS} digits and 10 "
        f"logits; slopes are means over {COUNTED} digits.",
        findings=findings,
        curves=Curves(
            steps.tolist(),
            "t",
            "logit",
            {str(k): paths[:, k].tolist() for k in range(10)},
            f"The ten logits of the first test digit, a {y[0]}, along the ray; ReLU units.",
        ),
    )


def _straightness(steps: Floats, logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the R² of a straight line through every logit (rows, 10) of `logits` (rows, steps, 10)."""
    t = (steps - steps.mean()) / steps.std()
    centred = logits - logits.mean(axis=1, keepdims=True)
    slope = np.einsum("t,ntk->nk", t, centred) / len(t)
    return np.asarray(slope**2 / np.maximum(centred.var(axis=1), 1e-30))


def _slopes(model: Any, ray: Floats, sign: Floats) -> int:
    """Count the slopes of the logits along one ray, neighbours that differ by more than rounding."""
    slopes = np.einsum("tkd,d->tk", model.jacobian(ray), sign)[:-1]
    changes = np.abs(np.diff(slopes, axis=0)) > 1e-4 * np.abs(slopes).max()
    return 1 + int(changes.any(axis=1).sum())
