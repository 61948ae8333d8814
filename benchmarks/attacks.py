"""Write attacks.md: robust accuracy and time of the fixed-budget attacks beside the reference implementations.

Needs torch, torchattacks and pyautoattack (the authors' AutoAttack on PyPI). ``--only APGD`` runs the lines whose name
contains APGD and leaves the page's others as they are; ``--seeds 5`` gives means and standard deviations over five
seeds, of which a single one tells little: APGD's starts move robust accuracy by tenths of a percent.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchattacks
from numpy.typing import NDArray
from pyautoattack import AutoAttack
from threadpoolctl import threadpool_limits

import epsball as eb

HERE = Path(__file__).resolve().parent
NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}
Reference = Callable[[torch.nn.Module, torch.Tensor, torch.Tensor, int], torch.Tensor]


@dataclass(frozen=True)
class Line:
    """One attack of ours and the reference that does the same; both take a seed."""

    name: str
    eps: float
    ours: eb.attacks.Attack
    theirs: Reference


def reference(member: str, norm: str, eps: float, **options: Any) -> Reference:
    """Return a member of the authors' AutoAttack; `options` are set on it, as `square.n_queries`."""

    def attack(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, seed: int) -> torch.Tensor:
        whole = AutoAttack(model, attacks=[member], norm=NORMS[norm], eps=eps, seed=seed, version="custom")
        whole.apgd.n_restarts = 1
        whole.apgd.use_largereps = whole.apgd_targeted.use_largereps = norm == "l1"
        for path, value in options.items():
            part, name = path.split("__")
            setattr(getattr(whole, part), name, value)
        return whole.run_standard_evaluation(x, y, batch_size=len(x))[0]

    return attack


def standard(norm: str, eps: float) -> Reference:
    """Return the authors' AutoAttack, version standard, in batches of its default size."""
    return lambda model, x, y, seed: AutoAttack(model, norm=NORMS[norm], eps=eps, seed=seed).run_standard_evaluation(
        x, y
    )[0]


def momentum(eps: float) -> Reference:
    """Return torchattacks' MI-FGSM."""
    return lambda model, x, y, _: torchattacks.MIFGSM(model, eps=eps, alpha=eps / 10, steps=40)(x, y)


def lines(eps: dict[str, float], queries: int, targets: int) -> list[Line]:
    """Return what is compared: members of AutoAttack in the norms that it knows, MI-FGSM, and AutoAttack itself."""
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
            Line(f"AutoAttack standard, {norm}", e, eb.attacks.AutoAttack(e, norm=norm), standard(norm, e)),
        ]  # fmt: skip
    e = eps.get("linf", 0.2)
    ours = eb.attacks.MomentumPGD(e, steps=40, step_size=e / 10)
    return [*compared, Line("MI-FGSM, 40 steps, linf", e, ours, momentum(e))]


def robust_model(rows: int, epochs: int, file: Path | None) -> eb.Sequential:
    """Return a CNN trained with PGD; from `file` if it is there, else it is written."""
    if file is not None and file.exists():
        return eb.load(file)
    x, y = eb.datasets.load("mnist", split="train")
    model = eb.models.cnn((1, 28, 28), classes=10, seed=0)
    eb.fit(model, x[:rows], y[:rows], method=eb.training.PGDTraining(eps=0.2, steps=5), epochs=epochs)
    if file is not None:
        model.save(file)
    return model


def timed(attack: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a call returns, and the seconds of CPU time it took."""
    started = time.process_time()
    found = attack()
    return found, time.process_time() - started


def robust(model: eb.Sequential, x_adv: Any, y: NDArray[np.int64]) -> float:
    """Return robust accuracy by epsball's predictions."""
    return float((np.asarray(model.predict(np.asarray(x_adv))) == y).mean())


def share(values: list[float]) -> str:
    """Return the mean in percent, of several values with their standard deviation."""
    spread = f" ± {np.std(values, ddof=1):.1%}" if len(values) > 1 else ""
    return f"{np.mean(values):.1%}{spread}"


def row(
    line: Line, seeds: int, model: eb.Sequential, module: torch.nn.Module, x: NDArray[Any], y: NDArray[np.int64]
) -> str:
    """Return a line of the table: both robust accuracies over the seeds, and both times of a run."""
    tensors = torch.from_numpy(x), torch.from_numpy(y)
    ours: list[float] = []
    theirs: list[float] = []
    times = np.zeros(2)
    for seed in range(seeds):
        attack = replace(line.ours, seed=seed) if hasattr(line.ours, "seed") else line.ours  # type: ignore[call-arg]
        points, seconds = timed(lambda attack=attack: attack(model, x, y))
        reached, wanted = timed(lambda seed=seed: line.theirs(module, *tensors, seed).detach())
        ours.append(robust(model, points, y))
        theirs.append(robust(model, reached, y))
        times += np.array([seconds, wanted]) / seeds
    return (f"| {line.name} | {line.eps:g} | {len(x):,} | {share(ours)} | {share(theirs)} "
            f"| {np.mean(ours) - np.mean(theirs):+.1%} | {times[0]:.1f} | {times[1]:.1f} "
            f"| {times[1] / times[0]:.1f} × |")  # fmt: skip


def known_rows(page: Path) -> dict[str, str]:
    """Return the lines of a page's table by the name of the attack."""
    found = page.read_text().splitlines() if page.exists() else []
    return {part.split("|")[1].strip(): part for part in found if part.startswith("| ")}


def main() -> None:
    """Train, attack, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--targets", type=int, default=9)
    parser.add_argument("--training-rows", type=int, default=10000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--norms", default="linf,l2,l1")
    parser.add_argument("--only", nargs="+", default=[""], help="only lines whose name contains one of these")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each line, with seeds of their own")
    parser.add_argument("--model", type=Path, help="where the trained model is kept")
    options = parser.parse_args()
    model = robust_model(options.training_rows, options.epochs, options.model)
    x, y = eb.datasets.load("mnist", split="test")
    x, y = np.ascontiguousarray(x[: options.rows]), y[: options.rows]
    eps = {norm: e for norm, e in {"linf": 0.2, "l2": 1.5, "l1": 8.0}.items() if norm in options.norms.split(",")}
    module = eb.to_torch(model).eval()
    compared = lines(eps, options.queries, options.targets)
    chosen = [line for line in compared if any(part in line.name for part in options.only)]
    text = [
        "# Fixed-budget attacks beside the reference implementations",
        "Written by `benchmarks/attacks.py`; not edited.",
        (
            f"CNN 16-32-100-10, PGD-trained at eps 0.2 on {options.training_rows:,} digits of MNIST for "
            f"{options.epochs} epochs. "
            f"torch {torch.__version__}, pyautoattack 0.2.0, torchattacks {torchattacks.__version__}. Rows that are "
            "solved leave in epsball; a reference runs as it is, on the rows that are classified correctly. One thread "
            "each; seconds are of CPU time, which other work on the machine does not stretch. ± is the standard "
            "deviation over seeds."
        ),
        "Regenerated, line by line, with `benchmarks/attacks.py --queries 5000 --only NAME`, `--seeds` and `--rows`.",
    ]
    threadpool_limits(1)
    head = [("| attack | eps | digits | robust, epsball | robust, reference | difference "
            "| s, epsball | s, reference | ratio |"),
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip
    rows = known_rows(HERE / "attacks.md")
    for line in chosen:
        rows[line.name] = row(line, options.seeds, model, module, x, y)
        print(rows[line.name], flush=True)
        table = head + [rows[known.name] for known in compared if known.name in rows]
        (HERE / "attacks.md").write_text("\n\n".join([*text, "\n".join(table)]) + "\n")


if __name__ == "__main__":
    main()
