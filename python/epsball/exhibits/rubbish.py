"""Rubbish: Gaussian noise that models take for a digit."""

from __future__ import annotations

import numpy as np

from epsball.exhibits.base import LECTURE, Digits, Shown
from epsball.exhibits.rbf import three_models
from epsball.reports.tables import Table, percent

ROWS = 10_000


def show(digits: Digits, seed: int) -> Shown:
    """Ask three models for the class of noise; one that is more than half sure of any errs."""
    noise = np.random.default_rng(seed).standard_normal((ROWS, 784), np.float32)
    findings = {}
    for name, (model, _loss) in three_models(digits, seed).items():
        confidence = model.probabilities(noise).max(axis=1)
        fooled = confidence > 0.5
        classes = np.bincount(model.predict(noise)[fooled], minlength=10)
        findings[name] = {
            "error": float(fooled.mean()),
            "confidence_on_mistakes": float(confidence[fooled].mean(dtype=np.float64)) if fooled.any() else None,
            "largest_class": int(classes.argmax()) if fooled.any() else None,
            "share_of_largest_class": float(classes.max() / fooled.sum()) if fooled.any() else None,
        }
    lines = tuple(
        (name, percent(f["error"]), percent(f["confidence_on_mistakes"]),
         "–" if f["largest_class"] is None else f"{f['largest_class']} ({percent(f['share_of_largest_class'])})")
        for name, f in findings.items()
    )  # fmt: skip
    return Shown(
        source=f"{LECTURE}: wrong almost everywhere; Goodfellow et al. 2015, arXiv 1412.6572, appendix A",
        lead=f"The MLP is more than half sure of a digit for {percent(findings['MLP 128-128']['error'])} of {ROWS:,} "
        f"pieces of noise, the RBFs for {percent(findings['RBF']['error'])}.",
        table=Table(("model", "error", "confidence on mistakes", "commonest digit"), lines),
        caption=f"{ROWS:,} inputs of independent standard normal numbers. The right answer is that no class has a "
        "confidence above one half.",
        findings=findings,
    )
