"""A linear model adds up a tiny change of every pixel: the logit moves by eps ‖w‖₁."""

from __future__ import annotations

import numpy as np

import epsball as eb
from epsball.exhibits.base import LECTURE, Curves, Digits, Floats, Labels, Shown, error, random_signs, trained
from epsball.reports.tables import Table, number, percent

BUDGETS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25)
EPOCHS = 70


def show(digits: Digits, seed: int) -> Shown:
    """Attack logistic regression on the digits 3 and 7, and move it by noise of the same size."""
    (x, y), (xt, yt) = _threes_and_sevens(digits.x, digits.y), _threes_and_sevens(digits.xt, digits.yt)
    model = trained(eb.models.linear(784, 1, seed=seed), x, y, EPOCHS, seed)
    signs = random_signs(xt.shape, seed)
    weights = float(np.abs(model.parameters()["0.weight"], dtype=np.float64).sum())
    side = 2 * yt - 1
    margin = np.mean(side * model(xt)[:, 0], dtype=np.float64)
    rows = []
    for eps in BUDGETS:
        x_adv = eb.fgsm(model, xt, yt, eps=eps, bounds=None)
        rows.append({
            "eps": eps,
            "error": error(model, x_adv, yt),
            "noise_error": error(model, xt + np.float32(eps) * signs, yt),
            "logit_moved": float(margin - np.mean(side * model(x_adv)[:, 0], dtype=np.float64)),
            "predicted_move": eps * weights,
        })  # fmt: skip
    header = ("eps", "error", "error under noise", "logit moved by", "eps ‖w‖₁")
    lines = tuple(
        (f"{r['eps']:g}", percent(r["error"]), percent(r["noise_error"]), number(r["logit_moved"], 2),
         number(r["predicted_move"], 2))
        for r in rows
    )  # fmt: skip
    last = rows[-1]
    return Shown(
        source=f"{LECTURE}: excessive linearity, attacking a linear model; Goodfellow et al. "
        "2015, arXiv 1412.6572, section 5",
        lead=f"At eps = {last['eps']} FGSM brings the error from {percent(rows[0]['error'])} to "
        f"{percent(last['error'])}, random signs of the same size to {percent(last['noise_error'])}.",
        table=Table(header, lines),
        caption=f"Logistic regression on {len(xt)} test digits 3 and 7, without a box. Noise is ±eps in every pixel.",
        findings={"weights": weights, "rows": rows},
        curves=Curves(
            BUDGETS,
            "eps",
            "error",
            {"FGSM": [r["error"] for r in rows], "random signs": [r["noise_error"] for r in rows]},
            "Error of logistic regression on 3 and 7 against the size of the change.",
        ),
    )


def _threes_and_sevens(x: Floats, y: Labels) -> tuple[Floats, Labels]:
    """Return the rows of the two classes; 7 is class 1."""
    chosen = (y == 3) | (y == 7)
    return x[chosen], (y[chosen] == 7).astype(np.int64)
