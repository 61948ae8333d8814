"""The table of attack throughput: models and batches, epsball beside its peers and the FMA peak."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

import epsball as eb
from epsball.bench.machine import fma_probe
from epsball.bench.peers import Absent, Attack, Peer, Task, reason
from epsball.bench.timing import Probe, Sample, interleave, rate

if TYPE_CHECKING:
    from epsball.model import Sequential


def large_cnn() -> Sequential:
    """Return the network that Madry et al. 2018 train on MNIST: 13.9 million multiply-adds."""
    layers = [
        eb.Conv2d(1, 32, 5, padding=2), eb.ReLU(), eb.MaxPool2d(2), eb.Conv2d(32, 64, 5, padding=2), eb.ReLU(),
        eb.MaxPool2d(2), eb.Flatten(), eb.Linear(3136, 1024), eb.ReLU(), eb.Linear(1024, 10),
    ]  # fmt: skip
    return eb.Sequential(layers, input_shape=(1, 28, 28))


MODELS: dict[str, Callable[[], Sequential]] = {
    "softmax": lambda: eb.models.linear(784, 10),
    "mlp": lambda: eb.models.mlp([784, 256, 256, 10]),
    "cnn": eb.models.cnn,
    "large-cnn": large_cnn,
}
CELLS = (*((model, batch) for model in ("softmax", "mlp", "cnn") for batch in (1, 128, 1000)), ("large-cnn", 128))
OURS = "epsball"


@dataclass(frozen=True)
class Line:
    """One contender on one model and batch.

    Attributes
    ----------
    rate
        Sample-steps per second.
    gflops
        Of that rate, at 4 FLOPs per multiply-add of a forward pass and sample-step.
    peak_fraction
        `gflops` over the FMA peak measured between this row's contenders.
    best_peer_ratio
        `rate` over that of the fastest peer of this row; None without peers.
    error, outside
        Of its result: the fraction of rows misclassified, and of pixels beyond eps or the box, in float64.
    """

    model: str
    batch: int
    contender: str
    version: str
    rate: Sample
    gflops: float
    peak_fraction: float
    best_peer_ratio: float | None
    error: float
    outside: float


def digits(rows: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return that many test digits and labels; the 2,000 that ship are repeated if need be."""
    x, y = eb.datasets.load("mnist-subset", split="test")
    keep = np.arange(rows) % len(x)
    return x[keep], y[keep]


def trained(name: str) -> Sequential:
    """Return the model of that name after one epoch, so that an attack has something to break."""
    model = MODELS[name]()
    x, y = eb.datasets.load("mnist-subset", split="train")
    eb.fit(model, x, y, epochs=1)
    return model


def task(model: Sequential, rows: int, threads: int) -> Task:
    """Return the attack on the first `rows` digits with the model's own weights, for every contender."""
    x, y = digits(rows)
    return Task(model, x.reshape(len(x), *model.input_shape), y, threads)


def ours(work: Task) -> Attack:
    """Return epsball's attack."""
    attack = eb.attacks.PGD(eps=work.eps, steps=work.steps, step_size=work.step_size)
    return lambda: attack(work.model, work.x, work.y)


def measure_cell(
    name: str, model: Sequential, batch: int, peers: Sequence[Peer], threads: int, seconds: float, repeats: int
) -> tuple[list[Line], list[Absent]]:
    """Measure one row of the table; a peer that fails on it is named with the reason."""
    work = task(model, batch, threads)
    tried = {peer: _prepare(peer, work) for peer in peers}
    attacks = {peer.name: attack for peer, attack in tried.items() if not isinstance(attack, str)}
    attacks = {OURS: ours(work), **attacks}
    failed = {peer.name: why for peer, why in tried.items() if isinstance(why, str)}
    absent = [Absent(f"{peer} ({name}, batch {batch})", why) for peer, why in failed.items()]
    results = {contender: attack() for contender, attack in attacks.items()}
    each = seconds / repeats
    probes: dict[str, Probe] = {c: rate(attack, work.sample_steps, each) for c, attack in attacks.items()}
    samples = interleave({"peak": fma_probe(threads, each), **probes}, repeats)
    peak = samples.pop("peak").median
    versions = {OURS: eb.__version__} | {peer.name: peer.version for peer in peers}
    best = max((sample.median for c, sample in samples.items() if c != OURS), default=None)
    lines = [
        Line(
            model=name,
            batch=batch,
            contender=contender,
            version=versions[contender],
            rate=sample,
            gflops=sample.median * work.flops / 1e9,
            peak_fraction=sample.median * work.flops / 1e9 / peak,
            best_peer_ratio=None if best is None else sample.median / best,
            error=work.error(results[contender]),
            outside=work.outside(results[contender]),
        )
        for contender, sample in samples.items()
    ]
    return lines, absent


def _prepare(peer: Peer, work: Task) -> Attack | str:
    """Return the peer's attack after one run, or why it cannot do this one."""
    try:
        attack = peer.prepare(work)
        attack()
    except Exception as error:  # a peer may break in any way of its own; the run goes on without it
        return reason(error)
    return attack
