"""Radial basis functions: far from what they know they are unsure, where other models are sure."""

from __future__ import annotations

from typing import Any

import numpy as np

import epsball as eb
from epsball.exhibits.base import LECTURE, Digits, Shown, trained
from epsball.model import Sequential
from epsball.reports.tables import Table, percent

EPS = 0.25
EPOCHS = 10


def show(digits: Digits, seed: int) -> Shown:
    """Attack a softmax regression, an MLP and RBFs, and ask how sure they are of their mistakes."""
    findings = {}
    for name, (model, loss) in three_models(digits, seed).items():
        x_adv = eb.fgsm(model, digits.xt, digits.yt, eps=EPS, bounds=None, loss=loss)
        before, after = model.probabilities(digits.xt).max(axis=1), model.probabilities(x_adv).max(axis=1)
        right, wrong = model.predict(digits.xt) == digits.yt, model.predict(x_adv) != digits.yt
        findings[name] = {
            "clean_error": float(1 - right.mean()),
            "clean_confidence": float(before[right].mean(dtype=np.float64)),
            "error": float(wrong.mean()),
            "confidence_on_mistakes": float(after[wrong].mean(dtype=np.float64)) if wrong.any() else None,
        }
    header = ("model", "clean error", "confidence when right", "error under FGSM", "confidence on mistakes")
    lines = tuple((name, *map(percent, found.values())) for name, found in findings.items())
    least, most = findings["RBF"], findings["softmax regression"]
    return Shown(
        source=f"{LECTURE}: RBFs behave more intuitively; Goodfellow et al. 2015, arXiv 1412.6572, section 7",
        lead=f"RBFs err on {percent(least['error'])} of the adversarial digits and are sure of those mistakes with "
        f"{percent(least['confidence_on_mistakes'])}; softmax regression errs on {percent(most['error'])}, with "
        f"{percent(most['confidence_on_mistakes'])}.",
        table=Table(header, lines),
        caption=f"FGSM, L∞, eps = {EPS}, without a box, on {len(digits.xt)} test digits. An RBF's confidence in a "
        "class is by itself: they need not sum to 1.",
        findings=findings,
    )


def three_models(digits: Digits, seed: int) -> dict[str, tuple[Sequential, str]]:
    """Return trained models by name, each with the loss that it was trained by."""
    models: dict[str, tuple[Any, str]] = {
        "softmax regression": (eb.models.linear(784, 10, seed=seed), "cross_entropy"),
        "MLP 128-128": (eb.models.mlp([784, 128, 128, 10], seed=seed), "cross_entropy"),
        "RBF": (eb.models.rbf(784, 10, data=(digits.x, digits.y), seed=seed), "confidence"),
    }
    for model, loss in models.values():
        trained(model, digits.x, digits.y, EPOCHS, seed, loss=loss)
    return models
