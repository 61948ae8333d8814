"""Write training_speed.md: an epoch of training beside the same loop in torch, by turns in one run.

EPSBALL_DATA=~/data python benchmarks/training_speed.py [--rows 60000] [--pgd-rows 6000] [--rounds 5]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from torch.nn import functional

import epsball as eb
from epsball.bench import machine

T = eb.training
PAGE = Path(__file__).resolve().parent / "training_speed.md"
EPS, STEP, BATCH, MONITORED = 0.3, 0.01, 100, 1000
HEAD = """\
| | digits | epsball s | torch s | ratio | epsball, of FMA peak | torch | at most |
|---|---:|---:|---:|---:|---:|---:|---:|"""


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


def multiply_adds(layers: list[int], steps: int) -> int:
    """Of a row in an epoch, by those of each layer's forward product: as many for a gradient of its inputs, which only
    an attack wants of the first layer, and of its weights; `steps` gradients, and a look at the last point."""
    plain = 3 * sum(layers) - layers[0]
    return plain + (2 * steps + 1) * sum(layers) if steps else plain


def line(name: str, make: Callable[[], eb.Sequential], layers: list[int], steps: int, rows: int, rounds: int) -> str:
    """One row of the table: medians over the rounds, in which both train once, and the ratio's range."""
    x, y = eb.datasets.load("mnist", "train")
    model = make()
    x, y = x[:rows].reshape(-1, *model.input_shape), y[:rows]
    module = eb.to_torch(model)
    tx, ty = torch.from_numpy(np.array(x)), torch.from_numpy(y)
    method = T.PGDTraining(EPS, steps=steps, step_size=STEP) if steps else T.Standard()
    probe = machine.fma_probe(torch.get_num_threads(), 1.0)
    ours, theirs, peaks = [], [], []
    for _ in range(rounds + 1):
        ours.append(seconds(lambda: eb.fit(model, x, y, method=method, epochs=1, batch_size=BATCH,
                                           monitor=eb.attacks.FGSM(EPS))))  # fmt: skip
        theirs.append(seconds(lambda: torch_epoch(module, tx, ty, steps)))
        peaks.append(probe())
    ratios = sorted(t / o for o, t in zip(ours[1:], theirs[1:], strict=True))  # the first round warms up
    o, t = median(ours[1:]), median(theirs[1:])
    work = 2e-9 * rows * multiply_adds(layers, steps) / median(peaks[1:])  # seconds at the peak
    return (f"| {name} | {rows:,} | {o:.2f} | {t:.2f} | {median(ratios):.2f} ({ratios[0]:.2f} – {ratios[-1]:.2f}) "
            f"| {work / o:.0%} | {work / t:.0%} | {t / work:.1f} |")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--pgd-rows", type=int, default=6_000)
    parser.add_argument("--rounds", type=int, default=5)
    a = parser.parse_args()
    found = eb.info()
    text = f"""\
# Training beside torch

Written by `training_speed.py`; not edited. An epoch of MNIST in batches of {BATCH}, Adam; {found["cpu"]},
{torch.get_num_threads()} threads, torch {torch.__version__}. epsball's time includes the errors of {MONITORED:,} digits
that `fit` records after an epoch. Shares of the FMA peak count the products with weights that training asks for;
*at most*: the ratio of an engine that computed them all at that peak. Rounds: {a.rounds}; medians, minimum and
maximum of the ratio.

{HEAD}
"""
    models = (
        ("MLP 784-256-256-10", mlp, [784 * 256, 256 * 256, 256 * 10]),
        ("CNN 16-32-100-10", cnn, [14 * 14 * 16 * 16, 7 * 7 * 32 * 256, 1568 * 100, 100 * 10]),
    )
    for name, make, layers in models:
        for kind, steps, rows in (("plain", 0, a.rows), ("PGD-40", 40, a.pgd_rows)):
            text += line(f"{name}, {kind}", make, layers, steps, rows, a.rounds) + "\n"
            print(text.splitlines()[-1], flush=True)
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
