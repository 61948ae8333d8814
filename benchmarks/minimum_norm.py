"""Write minimum_norm.md: failures, median norms and times of the minimum-norm attacks beside their references.

Needs foolbox, torchattacks and adv-lib; settings are the same on both sides. ``--only DDN JSMA`` runs the lines whose
name contains DDN or JSMA, ``--models CNN`` the tables whose title contains CNN; the page's other lines stay as they
are.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from numpy.typing import NDArray
from strength import NETS, Page, chosen, module_of, parser, timed
from threadpoolctl import threadpool_limits

import epsball as eb

A = eb.attacks
ORDER = {"linf": np.inf, "l2": 2, "l1": 1, "l0": 0}
SEARCH = {"steps": 200, "search_steps": 9}
MODELS = [title for title in NETS if "at 0.2" not in title]
ABOUT = """# Minimum-norm attacks beside their references

Written by `benchmarks/minimum_norm.py`; not edited.

Medians of the digits that are classified correctly, a failure counting as infinitely far; `ratio` is epsball's median \
over the reference's, `speed` the reference's seconds over epsball's. Each line is of one run, on one thread; seconds \
are of CPU time, which other work on the machine does not stretch. Regenerated, line by line, with \
`benchmarks/minimum_norm.py --models TITLE --only NAME --rows DIGITS`; settings are those of `PAIRS` there."""
HEAD = """\
| attack | norm | digits | median | reference | ratio | failed | reference | seconds | reference | speed |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"""


def foolbox_attack(make: str, **options: Any) -> Callable[..., NDArray]:
    """A foolbox attack as a function of (module, x, y)."""

    def run(module: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> NDArray:
        import foolbox

        fmodel = foolbox.PyTorchModel(module, bounds=(0, 1))
        attack = getattr(foolbox.attacks, make)(**options)
        _, clipped, _ = attack(fmodel, x, y, epsilons=None)
        return clipped.detach().numpy()

    return run


def adv_lib_attack(make: str, **options: Any) -> Callable[..., NDArray]:
    """An attack of adv-lib, which imports torchvision and visdom for distances and plots that are not used here."""

    def run(module: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> NDArray:
        for unused in ("torchvision", "visdom"):
            if unused not in sys.modules and importlib.util.find_spec(unused) is None:
                sys.modules[unused] = MagicMock()
        import adv_lib.attacks

        return getattr(adv_lib.attacks, make)(module, x, y, **options).detach().numpy()

    return run


def torchattacks_fab(norm: str, steps: int) -> Callable[..., NDArray]:
    """AutoAttack's FAB as torchattacks packs it, untargeted."""

    def run(module: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> NDArray:
        import torchattacks

        eps = {"Linf": 0.3, "L2": 1.0, "L1": 5.0}[norm]
        attack = torchattacks.FAB(module, norm=norm, eps=eps, steps=steps, n_restarts=1, n_classes=10)
        attack.normalization_used = None
        with torch.no_grad():
            correct = module(x).argmax(1) == y
        found = x.clone()
        found[correct] = attack.attack_single_run(x[correct], y[correct], use_rand_start=False)
        return found.detach().numpy()

    return run


def torchattacks_jsma() -> Callable[..., NDArray]:
    """torchattacks' JSMA towards y, the next class: up to 40 pairs, as it rounds a tenth of 784 features up."""

    def run(module: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> NDArray:
        import torchattacks

        attack = torchattacks.JSMA(module, theta=1.0, gamma=0.1)
        attack.set_mode_targeted_by_label(quiet=True)
        return attack(x, y).detach().numpy()

    return run


PAIRS: list[tuple[str, Any, Callable[..., NDArray]]] = [
    ("DeepFool L2", A.DeepFool("l2"), foolbox_attack("L2DeepFoolAttack", steps=50, loss="logits")),
    ("DeepFool Linf", A.DeepFool("linf"), foolbox_attack("LinfDeepFoolAttack", steps=50, loss="logits")),
    ("NewtonFool", A.NewtonFool(), foolbox_attack("NewtonFoolAttack")),
    ("DDN-300", A.DDN(steps=300), foolbox_attack("DDNAttack", steps=300)),
    ("DDN-300, adv-lib", A.DDN(steps=300), adv_lib_attack("ddn", steps=300, levels=None)),
    ("FMN L2", A.FMN("l2"), foolbox_attack("L2FMNAttack", steps=100)),
    ("FMN Linf", A.FMN("linf"), foolbox_attack("LInfFMNAttack", steps=100)),
    ("FMN L1", A.FMN("l1"), foolbox_attack("L1FMNAttack", steps=100)),
    ("FMN L0", A.FMN("l0"), foolbox_attack("L0FMNAttack", steps=100)),
    *((f"FMN {norm.capitalize()}, adv-lib", A.FMN(norm), adv_lib_attack("fmn", norm=ORDER[norm], steps=100))
      for norm in ("l2", "linf", "l1", "l0")),
    ("FAB Linf", A.FAB("linf", steps=30), torchattacks_fab("Linf", 30)),
    ("FAB L2", A.FAB("l2", steps=30), torchattacks_fab("L2", 30)),
    ("C&W L2 9 x 200", A.CarliniWagner(**SEARCH), foolbox_attack(
        "L2CarliniWagnerAttack", binary_search_steps=9, steps=200, stepsize=0.01, initial_const=1e-3)),
    ("C&W L2 9 x 1,000", A.CarliniWagner(steps=1000, search_steps=9), foolbox_attack(
        "L2CarliniWagnerAttack", binary_search_steps=9, steps=1000, stepsize=0.01, initial_const=1e-3)),
    ("EAD 9 x 200", A.EAD(**SEARCH), foolbox_attack(
        "EADAttack", binary_search_steps=9, steps=200, initial_stepsize=0.01, regularization=1e-3,
        initial_const=1e-3, decision_rule="L1")),
    ("HopSkipJump L2, 10 steps", A.HopSkipJump(steps=10), foolbox_attack("HopSkipJumpAttack", steps=10)),
    ("HopSkipJump Linf, 10 steps", A.HopSkipJump("linf", steps=10),
     foolbox_attack("HopSkipJumpAttack", steps=10, constraint="linf")),
    ("Boundary, 2,000 steps", A.Boundary(steps=2000), foolbox_attack("BoundaryAttack", steps=2000)),
    ("JSMA towards the next class", A.JSMA(gamma=80 / 784 + 1e-6, targeted=True), torchattacks_jsma()),
]  # fmt: skip


def judged(model: Any, x: NDArray, y: NDArray, x_adv: NDArray, norm: str, targeted: bool) -> tuple[float, float]:
    """(share of the unsolved rows that failed, their median distance, a failure counting as infinitely far)."""
    flat = np.clip(x_adv, 0, 1).reshape(len(x), -1).astype(np.float32)
    flat = np.where(np.isfinite(flat).all(axis=1, keepdims=True), flat, x.reshape(flat.shape))  # NaN is a failure
    correct = (model.predict(x) == y) != targeted
    fooled = (model.predict(flat.reshape(x.shape)) == y) == targeted
    d = np.linalg.norm(flat.astype(np.float64) - x.reshape(len(x), -1), ord=ORDER[norm], axis=1)
    return float(1 - fooled[correct].mean()), float(np.median(np.where(fooled, d, np.inf)[correct]))


def row(name: str, ours: Any, theirs: Callable[..., NDArray], model: Any, x: NDArray, y: NDArray) -> str:
    """A line of a table; x are images."""
    targeted = name.startswith("JSMA")
    goal = (y + 1) % 10 if targeted else y
    module, tensors = module_of(model), (torch.from_numpy(x), torch.from_numpy(goal))
    found, seconds = timed(lambda: ours(model, x, goal))
    with contextlib.redirect_stdout(io.StringIO()):
        reference, wanted = timed(lambda: theirs(module, *tensors))
    (lost, d), (lost_there, d_there) = (judged(model, x, goal, a, ours.norm, targeted) for a in (found, reference))
    return (
        f"| {name} | {ours.norm} | {len(x):,} | {d:.4f} | {d_there:.4f} | {d / d_there:.3f} "
        f"| {lost:.3f} | {lost_there:.3f} | {seconds:.2f} | {wanted:.2f} | {wanted / seconds:.1f} |"
    )


def main() -> None:
    """Attack every net, and write the page after each line."""
    options = parser(__doc__).parse_args()
    threadpool_limits(1)
    compared = {name: pair for name, *pair in PAIRS}
    page = Page(Path(__file__).with_suffix(".md"), ABOUT, HEAD, list(compared))
    for title in chosen(MODELS, options.models):
        model, (x, y) = NETS[title].trained(), NETS[title].digits(options.rows)
        for name in chosen(compared, options.only):
            page.put(title, row(name, *compared[name], model, x, y))


if __name__ == "__main__":
    main()
