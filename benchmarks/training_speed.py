"""An epoch of training beside the same loop in torch, by turns in one run; prints a Markdown table.

python benchmarks/training_speed.py [--rows 10000] [--rounds 5] [--only plain] [--data mnist]      (torch installed)
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np
import torch
from torch.nn import functional

import epsball as eb

T = eb.training
EPS, STEP, BATCH = 0.3, 0.01, 100


def mlp() -> eb.Sequential:
    return eb.models.mlp([784, 256, 256, 10])


def cnn() -> eb.Sequential:
    return eb.models.cnn((1, 28, 28), 10)


def pgd(module: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, steps: int) -> torch.Tensor:
    """PGD as torch users write it, without a gradient of the weights."""
    x_adv = (x + torch.empty_like(x).uniform_(-EPS, EPS)).clamp(0, 1)
    for _ in range(steps):
        x_adv.requires_grad_()
        gradient = torch.autograd.grad(functional.cross_entropy(module(x_adv), y), x_adv)[0]
        x_adv = (x + (x_adv.detach() + STEP * gradient.sign() - x).clamp(-EPS, EPS)).clamp(0, 1)
    return x_adv.detach()


def torch_epoch(module: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, steps: int) -> None:
    """One epoch; `steps` of 0 is plain training."""
    optimizer = torch.optim.Adam(module.parameters(), 1e-3)
    for rows in torch.randperm(len(x)).split(BATCH):
        points = pgd(module, x[rows], y[rows], steps) if steps else x[rows]
        optimizer.zero_grad()
        functional.cross_entropy(module(points), y[rows]).backward()
        optimizer.step()


def seconds(run: Callable[[], object]) -> float:
    start = perf_counter()
    run()
    return perf_counter() - start


def line(name: str, make: Callable[[], eb.Sequential], steps: int, data: str, rows: int, rounds: int) -> str:
    """One row of the table: medians over the rounds, in which both train once, and the ratio's range."""
    x, y = eb.datasets.load(data, "train")
    model = make()
    x, y = x[:rows].reshape(-1, *model.input_shape), y[:rows]
    module = eb.to_torch(model)
    tx, ty = torch.from_numpy(np.array(x)), torch.from_numpy(y)
    method = T.PGDTraining(EPS, steps=steps, step_size=STEP) if steps else T.Standard()
    ours, theirs = [], []
    for _ in range(rounds + 1):
        ours.append(seconds(lambda: eb.fit(model, x, y, method=method, epochs=1, batch_size=BATCH,
                                           monitor=eb.attacks.FGSM(EPS))))  # fmt: skip
        theirs.append(seconds(lambda: torch_epoch(module, tx, ty, steps)))
    ratios = sorted(t / o for o, t in zip(ours[1:], theirs[1:], strict=True))  # the first round warms up
    return (f"| {name} | {median(ours[1:]):.2f} | {median(theirs[1:]):.2f} | {median(ratios):.2f} "
            f"({ratios[0]:.2f} – {ratios[-1]:.2f}) |")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", default="mnist-subset", help="a data set of digits for datasets.load")
    parser.add_argument("--only", default="", help="lines whose name contains this")
    a = parser.parse_args()
    print(f"An epoch of {a.rows} digits in batches of {BATCH}, Adam, {torch.get_num_threads()} threads; epsball's time "
          "includes the errors of 1,000 digits that `fit` records after an epoch.\n")  # fmt: skip
    print("| | epsball s | torch s | ratio |\n|---|---:|---:|---:|")
    for name, make in (("MLP 784-256-256-10", mlp), ("CNN 16-32-100-10", cnn)):
        for kind, steps in (("plain", 0), ("PGD-40", 40)):
            if a.only.lower() in f"{name}, {kind}".lower():
                print(line(f"{name}, {kind}", make, steps, a.data, a.rows, a.rounds), flush=True)


if __name__ == "__main__":
    main()
