"""Minimum-norm attacks beside their references at the same settings: failures, median norms, seconds; one run.

python benchmarks/minimum_norm.py --rows 1000 > benchmarks/minimum_norm.md   (foolbox and torchattacks installed)
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import epsball as eb

A = eb.attacks
ORDER = {"linf": np.inf, "l2": 2, "l1": 1, "l0": 0}
SEARCH = {"steps": 200, "search_steps": 9}
JSMA_ROWS = 50  # torchattacks takes seconds for each


def models(x: NDArray, y: NDArray) -> Iterator[tuple[str, Any]]:
    """The nets attacked, trained here."""
    mlp = eb.models.mlp([784, 256, 256, 10])
    eb.fit(mlp, x, y, epochs=5, progress=False)
    yield "MLP 784-256-256-10", mlp
    robust = eb.models.mlp([784, 256, 256, 10])
    eb.fit(robust, x, y, method=eb.training.PGDTraining(eps=0.1, steps=7), epochs=5, progress=False)
    yield "the same, PGD-trained at 0.1", robust
    cnn = eb.models.cnn((1, 28, 28), classes=10)
    eb.fit(cnn, x, y, epochs=3, progress=False)
    yield "CNN 16-32-100-10", cnn


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
    """torchattacks' JSMA towards y, the next class."""

    def run(module: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> NDArray:
        import torchattacks

        attack = torchattacks.JSMA(module, theta=1.0, gamma=0.1)
        attack.set_mode_targeted_by_label(quiet=True)
        return attack(x.reshape(-1, 1, 28, 28), y).detach().numpy().reshape(x.shape)

    return run


PAIRS: list[tuple[str, Any, Callable[..., NDArray]]] = [
    ("DeepFool L2", A.DeepFool("l2"), foolbox_attack("L2DeepFoolAttack", steps=50, loss="logits")),
    ("DeepFool Linf", A.DeepFool("linf"), foolbox_attack("LinfDeepFoolAttack", steps=50, loss="logits")),
    ("DDN-300", A.DDN(steps=300), foolbox_attack("DDNAttack", steps=300)),
    ("FMN L2", A.FMN("l2"), foolbox_attack("L2FMNAttack", steps=100)),
    ("FMN Linf", A.FMN("linf"), foolbox_attack("LInfFMNAttack", steps=100)),
    ("FMN L1", A.FMN("l1"), foolbox_attack("L1FMNAttack", steps=100)),
    ("FMN L0", A.FMN("l0"), foolbox_attack("L0FMNAttack", steps=100)),
    ("FAB Linf", A.FAB("linf", steps=30), torchattacks_fab("Linf", 30)),
    ("FAB L2", A.FAB("l2", steps=30), torchattacks_fab("L2", 30)),
    ("C&W L2 9 x 200", A.CarliniWagner(**SEARCH), foolbox_attack(
        "L2CarliniWagnerAttack", binary_search_steps=9, steps=200, stepsize=0.01, initial_const=1e-3)),
    ("EAD 9 x 200", A.EAD(**SEARCH), foolbox_attack(
        "EADAttack", binary_search_steps=9, steps=200, initial_stepsize=0.01, regularization=1e-3,
        initial_const=1e-3, decision_rule="L1")),
    ("HopSkipJump L2, 10 steps", A.HopSkipJump(steps=10), foolbox_attack("HopSkipJumpAttack", steps=10)),
    ("HopSkipJump Linf, 10 steps", A.HopSkipJump("linf", steps=10),
     foolbox_attack("HopSkipJumpAttack", steps=10, constraint="linf")),
    ("Boundary, 2,000 steps", A.Boundary(steps=2000), foolbox_attack("BoundaryAttack", steps=2000)),
    ("JSMA towards the next class", A.JSMA(gamma=0.1, targeted=True), torchattacks_jsma()),
]  # fmt: skip


def judged(model: Any, x: NDArray, y: NDArray, x_adv: NDArray, norm: str, targeted: bool) -> tuple[float, float]:
    """(share of the unsolved rows that failed, their median distance, a failure counting as infinitely far)."""
    flat = np.clip(x_adv, 0, 1).reshape(len(x), -1).astype(np.float32)
    correct = (model.predict(x) == y) != targeted
    fooled = (model.predict(flat.reshape(x.shape)) == y) == targeted
    d = np.linalg.norm(flat.astype(np.float64) - x.reshape(len(x), -1), ord=ORDER[norm], axis=1)
    return float(1 - fooled[correct].mean()), float(np.median(np.where(fooled, d, np.inf)[correct]))


def main() -> None:
    """Print a table for every model."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--only", default="", help="only attacks whose name contains one of these, by commas")
    options = parser.parse_args()
    chosen = [p for p in PAIRS if any(part in p[0] for part in options.only.split(","))]
    train, test = eb.datasets.load("mnist-subset", split="train"), eb.datasets.load("mnist-subset", split="test")
    print(f"{options.rows} digits, {torch.get_num_threads()} threads; medians of correctly classified rows, failures")
    print("counting as infinitely far; `ratio` is ours over theirs, `speed` their seconds over ours.")
    for title, model in models(*train):
        shape = model.input_shape
        x, y = test[0][: options.rows].reshape(-1, *shape), test[1][: options.rows]
        module = eb.to_torch(model).eval()
        for p in module.parameters():
            p.requires_grad_(False)
        if shape == (784,):
            module = torch.nn.Sequential(torch.nn.Flatten(), module).eval()
        print(f"\n### {title}\n")
        print("| attack | norm | median | reference | ratio | failed | reference | seconds | reference | speed |")
        print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|", flush=True)
        for name, ours, theirs in chosen:
            targeted = name.startswith("JSMA")
            few = slice(JSMA_ROWS if targeted else None)
            images, goal = np.ascontiguousarray(x[few]), ((y + 1) % 10 if targeted else y)[few]
            tensors = torch.from_numpy(images), torch.from_numpy(goal)
            start = time.perf_counter()
            found = ours(model, images, goal)
            middle = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()):
                reference = theirs(module, *tensors)
            end = time.perf_counter()
            (lost, d), (lost_there, d_there) = (
                judged(model, images, goal, a, ours.norm, targeted) for a in (found, reference)
            )
            print(
                f"| {name} | {ours.norm} | {d:.4f} | {d_there:.4f} | {d / d_there:.3f} | {lost:.3f} | {lost_there:.3f} "
                f"| {middle - start:.2f} | {end - middle:.2f} | {(end - middle) / (middle - start):.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
