"""Train the recipe mnist-fast with several seeds, attack the models at eps 0.3 on MNIST's test set with PGD-50 x 10
and, some of the rows, with AutoAttack; writes benchmarks/robust_training.md. A run that was stopped goes on from OUT.

EPSBALL_DATA=... python benchmarks/robust_training.py --out OUT [--seeds 0 1 2 3 4]
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time

import epsball as eb
from epsball.evaluation import EvaluationReport
from epsball.training.recipes import MNIST_FAST


@dataclass(frozen=True)
class Run:
    """One seed: the seconds of its training, and what is left of the test images."""

    seed: int
    seconds: float
    cpu_seconds: float
    pgd: EvaluationReport
    autoattack: EvaluationReport

    def line(self) -> str:
        clean, cells = self.pgd.clean_accuracy, (self.pgd.interval.accuracy, self.autoattack.interval.accuracy)
        return (f"| {self.seed} | {100 * clean:.2f} | " + " | ".join(f"{100 * c:.2f}" for c in cells)
                + f" | {self.seconds:.0f} | {self.cpu_seconds:.0f} |")  # fmt: skip


def trained(seed: int, out: Path) -> tuple[eb.Sequential, dict[str, float]]:
    """Return a model and what its training took, from files if they are there."""
    file, note = out / f"mnist-fast-{seed}.safetensors", out / f"mnist-fast-{seed}.json"
    if note.exists():  # written after the model
        return eb.load(file), json.loads(note.read_text())
    x, y = eb.datasets.load(MNIST_FAST.data, "train")
    model = MNIST_FAST.model(seed)
    wall, cpu = perf_counter(), process_time()
    eb.fit(model, x, y, method=MNIST_FAST.method, epochs=MNIST_FAST.epochs, batch_size=MNIST_FAST.batch_size,
           optimizer=MNIST_FAST.optimizer, seed=seed)  # fmt: skip
    took = {"seconds": perf_counter() - wall, "cpu_seconds": process_time() - cpu}
    model.save(file)
    note.write_text(json.dumps(took))
    return model, took


def run(seed: int, a: argparse.Namespace) -> Run:
    """Train and attack; what an earlier call of the same arguments did is read from its files."""
    model, took = trained(seed, a.out)
    x, y = eb.datasets.load(MNIST_FAST.data, "test")

    def left(name: str, attack: eb.attacks.Attack, rows: int) -> EvaluationReport:
        state = a.out / f"mnist-fast-{seed}-{name}-{rows}.state"
        return eb.evaluate(model, x[:rows], y[:rows], [attack], state=state)

    pgd = eb.attacks.PGD(eps=0.3, steps=50, step_size=0.02, restarts=a.restarts, early_stop=True, seed=7)
    every = eb.attacks.AutoAttack(eps=0.3, seed=7)
    return Run(seed, **took, pgd=left(f"pgd-{a.restarts}", pgd, a.rows), autoattack=left("autoattack", every, a.few))


def page(runs: list[Run], a: argparse.Namespace) -> str:
    """Return the table and epsball's words for each of its figures."""
    machine = eb.info()
    head = (
        f"Written by `robust_training.py`, epsball {eb.__version__}, {machine['cpu']}, {machine['threads']} threads; "
        f"not edited. {MNIST_FAST.method}, {MNIST_FAST.epochs} epochs, from nothing; seconds are those of training. "
        f"Attacked at eps 0.3: PGD-50 with {a.restarts} restarts on the first {a.rows:,} test images, AutoAttack on "
        f"the first {a.few:,}. Accuracies are upper bounds: other attacks may find more.\n"
    )
    words = [f"- seed {r.seed}: under PGD {r.pgd.interval}; under AutoAttack {r.autoattack.interval}" for r in runs]
    columns = f"| seed | clean % | PGD-50 x {a.restarts} % | AutoAttack % | seconds | CPU seconds |"
    rule = "|---:|---:|---:|---:|---:|---:|"
    title = "# The recipe mnist-fast, seed by seed\n"
    return "\n".join([title, head, columns, rule, *(r.line() for r in runs), "", *words, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for models and states")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--rows", type=int, default=10_000, help="test images under PGD")
    parser.add_argument("--restarts", type=int, default=10)
    parser.add_argument("--few", type=int, default=1_000, help="test images under AutoAttack")
    parser.add_argument("--page", type=Path, default=Path(__file__).with_suffix(".md"))
    a = parser.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    runs = []
    for seed in a.seeds:
        runs.append(run(seed, a))
        print(runs[-1].line(), flush=True)
        a.page.write_text(page(runs, a))


if __name__ == "__main__":
    main()
