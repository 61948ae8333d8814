"""Write attacks.md: robust accuracy and time of the fixed-budget attacks beside the reference implementations.

Needs torch, torchattacks and pyautoattack (the authors' AutoAttack on PyPI). ``--only APGD`` runs the lines whose name
contains APGD, ``--models CNN`` the tables whose title contains CNN; the page's other lines stay as they are.
``--seeds 5`` gives means and standard deviations over five seeds, of which a single one tells little: APGD's starts
move robust accuracy by tenths of a percent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchattacks
from numpy.typing import NDArray
from pyautoattack import AutoAttack
from strength import NETS, Page, chosen, module_of, parser, timed
from threadpoolctl import threadpool_limits

import epsball as eb

NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}
BUDGETS = {
    "MLP 784-256-256-10": {"linf": 0.05, "l2": 0.8, "l1": 5.0},
    "CNN 16-32-100-10": {"linf": 0.08, "l2": 1.3, "l1": 8.0},
    "MLP, PGD-trained at 0.1": {"linf": 0.15, "l2": 1.5, "l1": 6.0},
    "CNN, PGD-trained at 0.2": {"linf": 0.2, "l2": 1.5, "l1": 8.0},
}  # by net, such that APGD leaves a third to two thirds of the digits
ABOUT = f"""# Fixed-budget attacks beside the reference implementations

Written by `benchmarks/attacks.py`; not edited.

torch {torch.__version__}, pyautoattack {version("pyautoattack")}, torchattacks {torchattacks.__version__}. Rows that \
are solved leave in epsball; a reference runs as it is, on the rows that are classified correctly. One thread each; \
seconds are of CPU time, which other work on the machine does not stretch. ± is the standard deviation over seeds. \
The nets and the digits that they are trained on and attacked on are those of `benchmarks/strength.py`.

Regenerated, line by line, with `benchmarks/attacks.py --models TITLE --only NAME`, `--seeds` and `--rows`."""
HEAD = """\
| attack | eps | digits | robust, epsball | robust, reference | difference | s, epsball | s, reference | ratio |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"""
Reference = Callable[[torch.nn.Module, torch.Tensor, torch.Tensor, int], torch.Tensor]


@dataclass(frozen=True)
class Line:
    """One attack of ours and the reference that does the same; both take a seed."""

    name: str
    eps: float
    ours: eb.attacks.Attack
    theirs: Reference


def reference(member: str, norm: str, eps: float) -> Reference:
    """Return a member of the authors' AutoAttack, with the settings that it has there."""

    def attack(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, seed: int) -> torch.Tensor:
        whole = AutoAttack(model, attacks=[member], norm=NORMS[norm], eps=eps, seed=seed, version="custom")
        whole.apgd.n_restarts = 1
        whole.apgd.use_largereps = whole.apgd_targeted.use_largereps = norm == "l1"
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


def lines(**eps: float) -> list[Line]:
    """Return what is compared: members of AutoAttack and AutoAttack itself by norm, and MI-FGSM."""
    compared = []
    for norm, e in eps.items():
        shared: dict[str, Any] = {"norm": norm, "early_stop": True}
        compared += [
            Line(f"APGD-CE, {norm}", e, eb.attacks.APGD(e, **shared), reference("apgd-ce", norm, e)),
            Line(f"APGD-DLR, {norm}", e, eb.attacks.APGD(e, loss="dlr", **shared), reference("apgd-dlr", norm, e)),
            Line(f"APGD-T, 9 targets, {norm}", e, eb.attacks.APGD(e, loss="dlr", targets=9, **shared),
                 reference("apgd-t", norm, e)),
            Line(f"Square, 5000 queries, {norm}", e, eb.attacks.Square(e, **shared), reference("square", norm, e)),
            Line(f"AutoAttack standard, {norm}", e, eb.attacks.AutoAttack(e, norm=norm), standard(norm, e)),
        ]  # fmt: skip
    e = eps["linf"]
    ours = eb.attacks.MomentumPGD(e, steps=40, step_size=e / 10)
    return [*compared, Line("MI-FGSM, 40 steps, linf", e, ours, momentum(e))]


def robust(model: eb.Sequential, x_adv: Any, y: NDArray[np.int64]) -> float:
    """Return robust accuracy by epsball's predictions."""
    return float((np.asarray(model.predict(np.asarray(x_adv))) == y).mean())


def share(values: list[float]) -> str:
    """Return the mean in percent, of several values with their standard deviation."""
    spread = f" ± {np.std(values, ddof=1):.1%}" if len(values) > 1 else ""
    return f"{np.mean(values):.1%}{spread}"


def row(line: Line, seeds: int, model: Any, x: NDArray[Any], y: NDArray[np.int64]) -> str:
    """Return a line of the table: both robust accuracies over the seeds, and both times of a run."""
    module, tensors = module_of(model), (torch.from_numpy(x), torch.from_numpy(y))
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


def main() -> None:
    """Attack every net, and write the page after each line."""
    arguments = parser(__doc__)
    arguments.add_argument("--seeds", type=int, default=1, help="runs of each line, with seeds of their own")
    options = arguments.parse_args()
    threadpool_limits(1)
    for title in chosen(BUDGETS, options.models):
        compared = {line.name: line for line in lines(**BUDGETS[title])}
        page = Page(Path(__file__).with_suffix(".md"), ABOUT, HEAD, list(compared))
        model, (x, y) = NETS[title].trained(), NETS[title].digits(options.rows)
        for name in chosen(compared, options.only):
            page.put(title, row(compared[name], options.seeds, model, x, y))


if __name__ == "__main__":
    main()
