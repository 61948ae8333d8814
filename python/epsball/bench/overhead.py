"""What calls, the import and new weights cost, and how much memory an attack takes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

import epsball as eb
from epsball.bench.attack import MODELS, digits, trained
from epsball.bench.timing import Probe, Sample, interleave, stopwatch

MANY = 41  # steps of the longer call, from which the cost of one more step follows
# Model, rows, and what an attack on it may take per thread beyond inputs, outputs, model and packings, in bytes.
MEMORY = (("mlp", 20_000, 16 << 20), ("cnn", 2_000, 32 << 20), ("large-cnn", 500, 32 << 20))
SYNCED = ("mlp", "cnn", "large-cnn")

_IMPORT = """
import time, numpy
start = time.perf_counter()
import epsball as eb
eb.pgd, eb.models, eb.Sequential  # the lazy names, and with them the engine
print(time.perf_counter() - start)
"""

# Linux's high-water mark VmHWM is this program's own; ru_maxrss starts at the parent's, whose memory
# a child shares until it starts the new program. The peak is read before the weights are copied out to be counted.
_MEMORY = """
import resource, sys
import numpy as np
import epsball as eb
from epsball.bench.attack import MODELS

def kibibytes(field):
    try:
        lines = open("/proc/self/status").read().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field))
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak // 1024 if sys.platform == "darwin" else peak

name, rows, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
eb.models, eb.pgd, eb.Sequential, np.random
eb._native.set_threads(threads)
before = kibibytes("VmRSS:")
model = MODELS[name]()
x = np.random.default_rng(0).random((rows, *model.input_shape), dtype=np.float32)
y = np.zeros(rows, dtype=np.int64)
out = eb.pgd(model, x, y, eps=0.3, steps=2, step_size=0.01)
peak = (kibibytes("VmHWM:") - before) * 1024
print(peak, x.nbytes + y.nbytes, out.nbytes, 3 * sum(p.nbytes for p in model.parameters().values()))
"""


@dataclass(frozen=True)
class Call:
    """A call on one image, on one thread; seconds.

    ``overhead`` is a one-step call less its arithmetic: a step, and the forward pass that judges the result, which is
    half a step's FLOPs. A second thread would take part in the longer call only, and make its steps too cheap.
    """

    model: str
    one_step: Sample
    per_step: float
    overhead: float


@dataclass(frozen=True)
class Memory:
    """Peak memory of an attack beyond the imported package, in bytes, and what was promised.

    ``weights`` counts the parameters and two packings of them, ``spare`` what is promised per thread.
    """

    model: str
    rows: int
    threads: int
    peak: int
    inputs: int
    outputs: int
    weights: int
    spare: int

    @property
    def promised(self) -> int:
        """The most the attack may take."""
        return self.inputs + self.outputs + self.weights + self.threads * self.spare


@dataclass(frozen=True)
class Sync:
    """`sync_from_torch` beside a plain copy of as many bytes; seconds.

    ``packed`` is a call on one image with weights just synced, which packs them, less a call on one image.
    """

    model: str
    bytes: int
    copy: Sample
    sync: Sample
    packed: float


@dataclass(frozen=True)
class Overhead:
    """Everything beyond arithmetic; ``import_seconds`` counts from after NumPy's import, ``syncs`` needs torch."""

    calls: tuple[Call, ...]
    import_seconds: Sample
    memory: tuple[Memory, ...]
    syncs: tuple[Sync, ...]


def measure(threads: int, seconds: float, repeats: int) -> Overhead:
    """Measure calls on one image and syncs on one thread, the import and the peak memory."""
    eb._native.set_threads(1)
    try:
        calls = tuple(_call(name, seconds / repeats, repeats) for name in ("softmax", "mlp"))
        syncs = tuple(_sync(name, seconds / repeats, repeats) for name in SYNCED) if find_spec("torch") else ()
    finally:
        eb._native.set_threads(threads)
    imports = interleave({"import": lambda: float(_python(_IMPORT)[0])}, repeats)["import"]
    return Overhead(calls, imports, tuple(memory(*case, threads) for case in MEMORY), syncs)


def _call(name: str, seconds: float, repeats: int) -> Call:
    model, (x, y) = trained(name), digits(1)

    def probe(steps: int) -> Probe:
        attack = eb.attacks.PGD(eps=0.3, steps=steps, step_size=0.01)
        return stopwatch(lambda: attack(model, x, y), seconds)

    samples = interleave({"one": probe(1), "many": probe(MANY)}, repeats)
    per_step = (samples["many"].median - samples["one"].median) / (MANY - 1)
    return Call(name, samples["one"], per_step, samples["one"].median - 1.5 * per_step)


def _sync(name: str, seconds: float, repeats: int) -> Sync:
    plain = MODELS[name]()
    module = eb.to_torch(plain)
    model = eb.from_torch(module, plain.input_shape)
    weights = list(model.parameters().values())
    copies = [np.empty_like(w) for w in weights]
    x = np.zeros((1, *plain.input_shape), dtype=np.float32)

    def copy() -> None:
        for to, given in zip(copies, weights, strict=True):
            np.copyto(to, given)

    def sync() -> None:
        eb.sync_from_torch(model, module)

    def sync_and_call() -> None:
        eb.sync_from_torch(model, module)
        model(x)

    calls = {"copy": copy, "sync": sync, "both": sync_and_call, "call": lambda: model(x)}
    found = interleave({key: stopwatch(call, seconds) for key, call in calls.items()}, repeats)
    packed = found["both"].median - found["call"].median
    return Sync(name, sum(w.nbytes for w in weights), found["copy"], found["sync"], packed)


def memory(name: str, rows: int, spare: int, threads: int) -> Memory:
    """Measure the peak memory of an attack on that many rows, in a fresh process."""
    peak, inputs, outputs, weights = map(int, _python(_MEMORY, name, str(rows), str(threads)))
    return Memory(name, rows, threads, peak, inputs, outputs, weights, spare)


def _python(program: str, *arguments: str) -> list[str]:
    """Run a program in a fresh interpreter and return the words it prints."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the measuring process failed: {done.stderr.strip()}")
    return done.stdout.split()
