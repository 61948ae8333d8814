"""Training on clean or on adversarial digits, tested on either: four curves."""

from __future__ import annotations

from typing import Any

import epsball as eb
from epsball.exhibits.base import LECTURE, Curves, Digits, Shown
from epsball.reports.tables import Table, percent

EPS, EPOCHS, ROWS = 0.25, 20, 1000


def show(digits: Digits, seed: int) -> Shown:
    """Train two MLPs, watched by FGSM."""
    attack = eb.attacks.FGSM(EPS, bounds=None)
    methods: dict[str, Any] = {
        "clean": eb.training.Standard(),
        "adversarial": eb.training.FGSMTraining(EPS, bounds=None),
    }
    curves: dict[tuple[str, str], list[float]] = {}
    for name, method in methods.items():
        model = eb.models.mlp([784, 128, 128, 10], seed=seed)
        history = eb.fit(
            model, digits.x, digits.y, method=method, epochs=EPOCHS, seed=seed, monitor=attack,
            validation=(digits.xt[:ROWS], digits.yt[:ROWS]),
        )  # fmt: skip
        for test in methods:
            curves[name, test] = history.columns(f"test_{test}_error")
    ends = {key: curve[-1] for key, curve in curves.items()}
    lines = tuple((name, *(percent(ends[name, test]) for test in methods)) for name in methods)
    return Shown(
        source=f"{LECTURE}: training on adversarial examples; Goodfellow et al. 2015, arXiv 1412.6572, section 6",
        lead=f"FGSM errors are {percent(ends['clean', 'adversarial'])} after training on clean digits and "
        f"{percent(ends['adversarial', 'adversarial'])} after training on FGSM's; clean errors are "
        f"{percent(ends['clean', 'clean'])} and {percent(ends['adversarial', 'clean'])}.",
        table=Table(("trained on", "clean error", "adversarial error"), lines),
        caption=f"MLPs 784-128-128-10 after {EPOCHS} epochs on {len(digits.x):,} digits, tested on {ROWS:,}; half of "
        f"every adversarial batch stays clean. FGSM, L∞, eps = {EPS}, without a box. More steps than one break the "
        "second model, too: see `epsball demo`.",
        findings={f"train {train}, test {test}": curve for (train, test), curve in curves.items()},
        curves=Curves(
            range(1, EPOCHS + 1),
            "epoch",
            "error on test digits",
            {f"Train = {train}, Test = {test}": curve for (train, test), curve in curves.items()},
            "Errors after each epoch, on a logarithmic scale.",
            logarithmic=True,
        ),
    )
