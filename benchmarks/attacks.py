"""Write attacks.md: robust accuracy and time of the fixed-budget attacks beside the reference implementations.

Needs torch, torchattacks and pyautoattack (the authors' AutoAttack on PyPI).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchattacks
from pyautoattack import AutoAttack

import epsball as eb

HERE = Path(__file__).resolve().parent
NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}


@dataclass(frozen=True)
class Line:
    """One attack of ours and the reference that does the same."""

    name: str
    eps: float
    ours: eb.attacks.Attack
    theirs: Callable[[torch.nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]


def reference(member: str, norm: str, eps: float, **options: Any) -> Callable[..., torch.Tensor]:
    """Return a member of the authors' AutoAttack; `options` are set on it, as `square.n_queries`."""

    def attack(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        whole = AutoAttack(model, attacks=[member], norm=NORMS[norm], eps=eps, seed=0, version="custom")
        whole.apgd.n_restarts = 1
        whole.apgd.use_largereps = whole.apgd_targeted.use_largereps = norm == "l1"
        for path, value in options.items():
            part, name = path.split("__")
            setattr(getattr(whole, part), name, value)
        return whole.run_standard_evaluation(x, y, batch_size=len(x))[0]

    return attack


def lines(eps: dict[str, float], queries: int, targets: int) -> list[Line]:
    """Return what is compared: members of AutoAttack in the norms that it knows, and MI-FGSM."""
    compared = []
    for norm, e in eps.items():
        shared: dict[str, Any] = {"norm": norm, "early_stop": True}
        compared += [
            Line(f"APGD-CE, {norm}", e, eb.attacks.APGD(e, **shared), reference("apgd-ce", norm, e)),
            Line(f"APGD-DLR, {norm}", e, eb.attacks.APGD(e, loss="dlr", **shared), reference("apgd-dlr", norm, e)),
            Line(f"APGD-T, {targets} targets, {norm}", e,
                 eb.attacks.APGD(e, loss="dlr", targets=targets, **shared),
                 reference("apgd-t", norm, e, apgd_targeted__n_target_classes=targets)),
            Line(f"Square, {queries} queries, {norm}", e, eb.attacks.Square(e, queries=queries, **shared),
                 reference("square", norm, e, square__n_queries=queries)),
        ]  # fmt: skip
    e = eps["linf"]
    momentum = eb.attacks.MomentumPGD(e, steps=40, step_size=e / 10)
    return [
        *compared,
        Line("MI-FGSM, 40 steps, linf", e, momentum,
             lambda m, x, y: torchattacks.MIFGSM(m, eps=e, alpha=e / 10, steps=40)(x, y)),
    ]  # fmt: skip


def robust_model(rows: int, epochs: int) -> tuple[eb.Sequential, float]:
    """Return a CNN trained with PGD, and the seconds it took."""
    x, y = eb.datasets.load("mnist", split="train")
    model = eb.models.cnn((1, 28, 28), classes=10, seed=0)
    started = time.perf_counter()
    eb.fit(model, x[:rows], y[:rows], method=eb.training.PGDTraining(eps=0.2, steps=5), epochs=epochs)
    return model, time.perf_counter() - started


def timed(attack: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a call returns, and the seconds it took."""
    started = time.perf_counter()
    found = attack()
    return found, time.perf_counter() - started


def row(line: Line, model: eb.Sequential, module: torch.nn.Module, x: np.ndarray, y: np.ndarray) -> str:
    """Return a line of the table: both robust accuracies by epsball's predictions, both times."""
    ours, seconds = timed(lambda: line.ours(model, x, y))
    theirs, wanted = timed(lambda: line.theirs(module, torch.from_numpy(x), torch.from_numpy(y)))
    accuracy = [(np.asarray(model.predict(a)) == y).mean() for a in (ours, theirs.detach().numpy())]
    return (f"| {line.name} | {line.eps:g} | {accuracy[0]:.1%} | {accuracy[1]:.1%} | {accuracy[0] - accuracy[1]:+.1%} "
            f"| {seconds:.1f} | {wanted:.1f} | {wanted / seconds:.1f} × |")  # fmt: skip


def main() -> None:
    """Train, attack, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--targets", type=int, default=9)
    parser.add_argument("--training-rows", type=int, default=10000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--norms", default="linf,l2,l1")
    options = parser.parse_args()
    model, seconds = robust_model(options.training_rows, options.epochs)
    x, y = eb.datasets.load("mnist", split="test")
    x, y = np.ascontiguousarray(x[: options.rows]), y[: options.rows]
    eps = {norm: e for norm, e in {"linf": 0.2, "l2": 1.5, "l1": 8.0}.items() if norm in options.norms.split(",")}
    module = eb.to_torch(model).eval()
    clean = (np.asarray(model.predict(x)) == y).mean()
    text = [
        "# Fixed-budget attacks beside the reference implementations",
        "Written by `benchmarks/attacks.py`; not edited.",
        (
            f"CNN 16-32-100-10, PGD-trained at eps 0.2 on {options.training_rows:,} digits of MNIST for "
            f"{options.epochs} epochs ({seconds:.0f} s); {options.rows:,} test digits, {clean:.1%} of them classified. "
            f"torch {torch.__version__}, pyautoattack 0.2.0, torchattacks {torchattacks.__version__}. Rows that are "
            "solved leave in epsball; a reference runs as it is, on the rows that are classified correctly."
        ),
    ]
    table = ["| attack | eps | robust, epsball | robust, reference | difference | s, epsball | s, reference | ratio |",
             "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip
    for line in lines(eps, options.queries, options.targets):
        table.append(row(line, model, module, x, y))
        print(table[-1], flush=True)
        (HERE / "attacks.md").write_text("\n\n".join([*text, "\n".join(table)]) + "\n")


if __name__ == "__main__":
    main()
