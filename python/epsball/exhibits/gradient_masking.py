"""Gradient masking: a defence that leaves attacks without a direction, and the model as weak as before."""

from __future__ import annotations

import epsball as eb
from epsball.exhibits.base import OVERVIEW, Digits, Shown, error, trained
from epsball.reports.tables import Table, percent

EPS, BITS = 0.1, 4
EPOCHS, ROWS, STEPS = 5, 200, 20


def show(digits: Digits, seed: int) -> Shown:
    """Round the inputs of an MLP, and attack it with and without knowledge of that; then look for the signs."""
    model, stand_in = (
        trained(eb.models.mlp([784, 128, 128, 10], seed=s), digits.x, digits.y, EPOCHS, s) for s in (seed, seed + 1)
    )
    masked = eb.defences.BitDepth(model, BITS, backward="exact")
    x, y = digits.xt[:ROWS], digits.yt[:ROWS]
    pgd = eb.attacks.PGD(EPS, steps=STEPS, seed=seed)
    points = {
        "none": x,
        "PGD on its own gradient": pgd(masked, x, y),
        "PGD on another model, transferred": pgd(stand_in, x, y),
        "Square, which needs no gradient": eb.attacks.Square(EPS, queries=1000, seed=seed)(masked, x, y),
        "PGD, rounding taken for the identity (BPDA)": pgd(eb.defences.BitDepth(model, BITS), x, y),
    }
    errors = {name: error(masked, x_adv, y) for name, x_adv in points.items()}
    report = eb.evaluation.check_gradient_masking(
        masked, x, y, EPS, steps=STEPS, surrogate=stand_in, samples=20, seed=seed
    )
    own, aware = list(errors.values())[1], list(errors.values())[-1]
    return Shown(
        source=f"{OVERVIEW}, figure 17; Athalye et al. 2018, arXiv 1802.00420",
        lead=f"PGD along the defended model's own gradient brings the error to {percent(own)}, PGD that knows of the "
        f"rounding to {percent(aware)}. {len(report.failed)} checks for masked gradients fail.",
        table=Table(("attack", "error"), tuple((name, percent(e)) for name, e in errors.items())),
        caption=f"An MLP whose inputs are rounded to {2**BITS} levels; L∞, eps = {EPS}, box [0, 1], {len(x)} test "
        f"digits. Checks that fail: {', '.join(report.failed) or 'none'}.",
        findings={"errors": errors, "failed_checks": report.failed, "robust_accuracy_at_most": report.robust_accuracy},
    )
