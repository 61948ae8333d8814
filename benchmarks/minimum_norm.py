"""Write minimum_norm.md: failures, median norms and times of the minimum-norm attacks beside their references.

Needs foolbox and torchattacks; settings are the same on both sides. ``--only DDN JSMA`` runs the lines whose name
contains DDN or JSMA, ``--models CNN`` the tables whose title contains CNN; the page's other lines stay as they are.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import epsball as eb

A = eb.attacks
ORDER = {"linf": np.inf, "l2": 2, "l1": 1, "l0": 0}
SEARCH = {"steps": 200, "search_steps": 9}
JSMA_ROWS = 200  # torchattacks takes a sixth of a second for each
HERE = Path(__file__).resolve().parent
ABOUT = (
    "Medians of the digits that are classified correctly, a failure counting as infinitely far; `ratio` is epsball's "
    "median over the reference's, `speed` the reference's seconds over epsball's. Each line is of one run, on one "
    "thread; seconds are of CPU time, which other work on the machine does not stretch. Regenerated, line by line, "
    "with `benchmarks/minimum_norm.py --models TITLE --only NAME --rows DIGITS`; settings are those of `PAIRS` there."
)
HEAD = (
    "| attack | norm | digits | median | reference | ratio | failed | reference | seconds | reference | speed |",
    "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
)


def models(x: NDArray, y: NDArray, parts: list[str]) -> Iterator[tuple[str, Any]]:
    """The nets attacked whose title contains one of the parts, trained here."""
    pgd = eb.training.PGDTraining(eps=0.1, steps=7)
    mlp, cnn = [784, 256, 256, 10], (1, 28, 28)
    recipes: list[tuple[str, Callable[[], Any], dict[str, Any]]] = [
        ("MLP 784-256-256-10", lambda: eb.models.mlp(mlp), {"epochs": 5}),
        ("MLP, PGD-trained at 0.1", lambda: eb.models.mlp(mlp), {"epochs": 5, "method": pgd}),
        ("CNN 16-32-100-10", lambda: eb.models.cnn(cnn, classes=10), {"epochs": 3}),
        ("CNN, PGD-trained at 0.1", lambda: eb.models.cnn(cnn, classes=10), {"epochs": 5, "method": pgd}),
    ]
    for title, make, recipe in recipes:
        if any(part in title for part in parts):
            model = make()
            eb.fit(model, x, y, progress=False, **recipe)
            yield title, model


def foolbox_attack(make: str, **options: Any) -> Callable[..., NDArray]:
    """A foolbox attack as a function of (module, x, y)."""

    def run(module: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> NDArray:
        import foolbox

        fmodel = foolbox.PyTorchModel(module, bounds=(0, 1))
        attack = getattr(foolbox.attacks, make)(**options)
        _, clipped, _ = attack(fmodel, x, y, epsilons=None)
        return clipped.detach().numpy()

    return run


def torchattacks_fab(norm: str, steps: int) -> Callable[..., NDArray]:
    """AutoAttack's FAB as torchattacks packs it, untargeted."""

    def run(module: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> NDArray:
        import torchattacks

        eps = {"Linf": 0.3, "L2": 1.0, "L1": 5.0}[norm]
        attack = torchattacks.FAB(module, norm=norm, eps=eps, steps=steps, n_restarts=1, n_classes=10)
        attack.normalization_used = None
        images = x.reshape(-1, 1, 28, 28)
        with torch.no_grad():
            correct = module(images).argmax(1) == y
        found = images.clone()
        found[correct] = attack.attack_single_run(images[correct], y[correct], use_rand_start=False)
        return found.detach().numpy().reshape(x.shape)

    return run


def torchattacks_jsma() -> Callable[..., NDArray]:
    """torchattacks' JSMA towards y, the next class: up to 40 pairs, as it rounds a tenth of 784 features up."""

    def run(module: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> NDArray:
        import torchattacks

        attack = torchattacks.JSMA(module, theta=1.0, gamma=0.1)
        attack.set_mode_targeted_by_label(quiet=True)
        return attack(x.reshape(-1, 1, 28, 28), y).detach().numpy().reshape(x.shape)

    return run


PAIRS: list[tuple[str, Any, Callable[..., NDArray]]] = [
    ("DeepFool L2", A.DeepFool("l2"), foolbox_attack("L2DeepFoolAttack", steps=50, loss="logits")),
    ("DeepFool Linf", A.DeepFool("linf"), foolbox_attack("LinfDeepFoolAttack", steps=50, loss="logits")),
    ("NewtonFool", A.NewtonFool(), foolbox_attack("NewtonFoolAttack")),
    ("DDN-300", A.DDN(steps=300), foolbox_attack("DDNAttack", steps=300)),
    ("FMN L2", A.FMN("l2"), foolbox_attack("L2FMNAttack", steps=100)),
    ("FMN Linf", A.FMN("linf"), foolbox_attack("LInfFMNAttack", steps=100)),
    ("FMN L1", A.FMN("l1"), foolbox_attack("L1FMNAttack", steps=100)),
    ("FMN L0", A.FMN("l0"), foolbox_attack("L0FMNAttack", steps=100)),
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
    """A line of a table; x has the model's shape."""
    targeted = name.startswith("JSMA")
    few = slice(JSMA_ROWS if targeted else None)
    images, goal = np.ascontiguousarray(x[few]), ((y + 1) % 10 if targeted else y)[few]
    tensors = torch.from_numpy(images), torch.from_numpy(goal)
    module = module_of(model)
    start = time.process_time()
    found = ours(model, images, goal)
    middle = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        reference = theirs(module, *tensors)
    end = time.process_time()
    (lost, d), (lost_there, d_there) = (judged(model, images, goal, a, ours.norm, targeted) for a in (found, reference))
    return (
        f"| {name} | {ours.norm} | {len(images):,} | {d:.4f} | {d_there:.4f} "
        f"| {d / d_there:.3f} | {lost:.3f} | {lost_there:.3f} | {middle - start:.2f} | {end - middle:.2f} "
        f"| {(end - middle) / (middle - start):.1f} |"
    )


def module_of(model: Any) -> torch.nn.Module:
    """The model as torch has it, without parameters' gradients."""
    module = eb.to_torch(model).eval()
    for p in module.parameters():
        p.requires_grad_(False)
    return torch.nn.Sequential(torch.nn.Flatten(), module).eval() if model.input_shape == (784,) else module


def known_rows(page: Path) -> dict[tuple[str, str], str]:
    """A page's lines by their table's title and the attack."""
    title, found = "", {}
    for part in page.read_text().splitlines() if page.exists() else []:
        if part.startswith("### "):
            title = part.removeprefix("### ")
        if part.startswith("| "):
            found[title, part.split("|")[1].strip()] = part
    return found


def page_of(rows: dict[tuple[str, str], str]) -> str:
    """The page, its tables and lines in the order that they have here."""
    parts = [
        "# Minimum-norm attacks beside their references",
        "Written by `benchmarks/minimum_norm.py`; not edited.",
        ABOUT,
    ]
    for title in dict.fromkeys(title for title, _ in rows):
        lines = [rows[title, name] for name, _, _ in PAIRS if (title, name) in rows]
        parts += [f"### {title}", "\n".join([*HEAD, *lines])]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Attack every model, and write the page after each line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--only", nargs="+", default=[""], help="only attacks whose name contains one of these")
    parser.add_argument("--models", nargs="+", default=[""], help="only models whose title contains one of these")
    options = parser.parse_args()
    train, test = eb.datasets.load("mnist-subset", split="train"), eb.datasets.load("mnist-subset", split="test")
    page = HERE / "minimum_norm.md"
    threadpool_limits(1)
    for title, model in models(*train, options.models):
        x, y = test[0][: options.rows].reshape(-1, *model.input_shape), test[1][: options.rows]
        for name, ours, theirs in PAIRS:
            if any(part in name for part in options.only):
                rows = known_rows(page)
                rows[title, name] = row(name, ours, theirs, model, x, y)
                print(f"{title}: {rows[title, name]}", flush=True)
                page.write_text(page_of(rows))


if __name__ == "__main__":
    main()
