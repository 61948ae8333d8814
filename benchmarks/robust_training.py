"""Train the recipe mnist-fast with several seeds and attack the models at eps 0.3 on MNIST's test set: PGD-50 with 10
restarts, and AutoAttack on some of the rows. Prints a Markdown table; --out keeps the models."""

from __future__ import annotations

import argparse
from pathlib import Path
from time import perf_counter, process_time

import epsball as eb
from epsball.training.recipes import MNIST_FAST


def measure(seed: int, rows: int, restarts: int, few: int, out: Path | None) -> str:
    """Return one row of the table."""
    x, y = eb.datasets.load(MNIST_FAST.data, "train")
    model = MNIST_FAST.model(seed)
    wall, cpu = perf_counter(), process_time()
    eb.fit(model, x, y, method=MNIST_FAST.method, epochs=MNIST_FAST.epochs, batch_size=MNIST_FAST.batch_size,
           optimizer=MNIST_FAST.optimizer, seed=seed)  # fmt: skip
    wall, cpu = perf_counter() - wall, process_time() - cpu
    if out is not None:
        model.save(out / f"mnist-fast-{seed}.safetensors")
    xt, yt = eb.datasets.load(MNIST_FAST.data, "test")
    clean = (model.predict(xt) == yt).mean()
    attack = eb.attacks.PGD(eps=0.3, steps=50, step_size=0.02, restarts=restarts, early_stop=True, seed=7)
    robust = 1 - attack.run(model, xt[:rows], yt[:rows]).success.mean()
    every = 1 - eb.attacks.AutoAttack(eps=0.3, seed=7).run(model, xt[:few], yt[:few]).success.mean()
    return f"| {seed} | {100 * clean:.2f} | {100 * robust:.2f} | {100 * every:.2f} | {wall:.0f} | {cpu:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--rows", type=int, default=10_000, help="test images attacked")
    parser.add_argument("--restarts", type=int, default=10)
    parser.add_argument("--few", type=int, default=1_000, help="test images under AutoAttack")
    parser.add_argument("--out", type=Path, help="folder for the models")
    a = parser.parse_args()
    print(f"| seed | clean % | PGD-50 x {a.restarts} on {a.rows:,} images % | AutoAttack on the first {a.few:,} % | "
          "seconds | CPU seconds |\n|---:|---:|---:|---:|---:|---:|")  # fmt: skip
    for seed in a.seeds:
        print(measure(seed, a.rows, a.restarts, a.few, a.out), flush=True)


if __name__ == "__main__":
    main()
