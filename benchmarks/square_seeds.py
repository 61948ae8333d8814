"""Write square_seeds.md: Square beside ART's at a few queries, seed by seed, and ART's once rows do not share draws.

Needs adversarial-robustness-toolbox and torch. ART moves the same window of every row of a call, so that its accuracy
scatters from seed to seed as one draw does; called on a few rows at a time it is the same algorithm with more draws.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import epsball as eb
import epsball.interop.art as ours

HERE = Path(__file__).resolve().parent
QUERIES, EPS = 60, 0.12
ABOUT = (
    f"Robust accuracy at L∞ {EPS} after `max_iter={QUERIES}` of a CNN 16-32-100-10, the same seeds for all: mean, "
    "standard deviation over the seeds, and the standard error of the mean."
)
HEAD = "| attack | digits | digits in a call | seeds | mean | deviation | error |\n|---|---:|---:|---:|---:|---:|---:|"


def line(name: str, attack: Callable[[Any, Any], Any], model: Any, x: Any, y: Any, rows: int, seeds: int) -> str:
    """A line of the table: the attack on `rows` digits at a time."""
    found = []
    for seed in range(seeds):
        np.random.seed(seed)  # noqa: NPY002 - what both draw from
        parts = [attack(x[i : i + rows], y[i : i + rows]) for i in range(0, len(x), rows)]
        found.append(float((model.predict(np.concatenate(parts)) == y).mean()))
    scatter = np.std(found, ddof=1)
    return (
        f"| {name} | {len(x)} | {rows} | {seeds} | {np.mean(found):.4f} | {scatter:.4f} | {scatter / seeds**0.5:.4f} |"
    )


def main() -> None:
    """Train, attack and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # ART's, of libraries that it does not need here
    from art.attacks.evasion import SquareAttack
    from art.estimators.classification import PyTorchClassifier

    train, test = eb.datasets.load("mnist", split="train"), eb.datasets.load("mnist", split="test")
    model = eb.models.cnn((1, 28, 28), classes=10, seed=0)
    eb.fit(model, *train, epochs=1, seed=0, progress=False)
    x, y = test[0][: options.rows], test[1][: options.rows]
    module, how = eb.to_torch(model).eval(), {"eps": EPS, "max_iter": QUERIES, "verbose": False}
    estimator = PyTorchClassifier(module, torch.nn.CrossEntropyLoss(), (1, 28, 28), 10, clip_values=(0.0, 1.0))
    theirs, mine = SquareAttack(estimator, batch_size=options.rows, **how), ours.SquareAttack(estimator, **how)
    lines = [
        line("epsball", mine.generate, model, x, y, len(x), options.seeds),
        line("ART", theirs.generate, model, x, y, len(x), options.seeds),
        line("ART", theirs.generate, model, x, y, 20, options.seeds),
    ]
    parts = ["# Square at a few queries, seed by seed", "Written by `benchmarks/square_seeds.py`; not edited.", ABOUT]
    (HERE / "square_seeds.md").write_text("\n\n".join([*parts, "\n".join([HEAD, *lines])]) + "\n")


if __name__ == "__main__":
    main()
