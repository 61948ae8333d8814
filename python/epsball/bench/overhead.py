"""What a call costs beyond its arithmetic, what the import costs, and how much memory an attack takes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import epsball as eb
from epsball.bench.attack import digits, trained
from epsball.bench.timing import Probe, Sample, interleave, stopwatch

MANY = 41  # steps of the longer call, from which the cost of one more step follows
MEMORY_ROWS = 20_000
SPARE = 16 << 20  # bytes allowed per thread

_IMPORT = """
import time, numpy
start = time.perf_counter()
import epsball as eb
eb.pgd, eb.models, eb.Sequential  # the lazy names, and with them the engine
print(time.perf_counter() - start)
"""

# Linux's high-water mark VmHWM is this program's own; ru_maxrss starts at the parent's, whose memory
# a child shares until it starts the new program.
_MEMORY = """
import resource, sys
import numpy as np
import epsball as eb

def kibibytes(field):
    try:
        lines = open("/proc/self/status").read().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field))
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak // 1024 if sys.platform == "darwin" else peak

rows = int(sys.argv[1])
eb.models, eb.pgd, eb.Sequential
eb._native.set_threads(int(sys.argv[2]))
before = kibibytes("VmRSS:")
model = eb.models.mlp([784, 256, 256, 10])
x = np.random.default_rng(0).random((rows, 784), dtype=np.float32)
y = np.zeros(rows, dtype=np.int64)
out = eb.pgd(model, x, y, eps=0.3, steps=2, step_size=0.01)
weights = sum(p.nbytes for p in model.parameters().values())
print((kibibytes("VmHWM:") - before) * 1024, x.nbytes + y.nbytes, out.nbytes, 3 * weights)
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

    ``model`` counts the parameters and two packings of them, ``spare`` 16 MiB per thread.
    """

    rows: int
    peak: int
    inputs: int
    outputs: int
    model: int
    spare: int

    @property
    def promised(self) -> int:
        """The most the attack may take."""
        return self.inputs + self.outputs + self.model + self.spare


@dataclass(frozen=True)
class Overhead:
    """Everything beyond arithmetic; ``import_seconds`` counts from after NumPy's import."""

    calls: tuple[Call, ...]
    import_seconds: Sample
    memory: Memory


def measure(threads: int, seconds: float, repeats: int, rows: int = MEMORY_ROWS) -> Overhead:
    """Measure calls on one image, the import and the peak memory."""
    eb._native.set_threads(1)
    try:
        calls = tuple(_call(name, seconds / repeats, repeats) for name in ("softmax", "mlp"))
    finally:
        eb._native.set_threads(threads)
    imports = interleave({"import": lambda: float(_python(_IMPORT)[0])}, repeats)["import"]
    return Overhead(calls, imports, memory(rows, threads))


def _call(name: str, seconds: float, repeats: int) -> Call:
    model, (x, y) = trained(name), digits(1)

    def probe(steps: int) -> Probe:
        attack = eb.attacks.PGD(eps=0.3, steps=steps, step_size=0.01)
        return stopwatch(lambda: attack(model, x, y), seconds)

    samples = interleave({"one": probe(1), "many": probe(MANY)}, repeats)
    per_step = (samples["many"].median - samples["one"].median) / (MANY - 1)
    return Call(name, samples["one"], per_step, samples["one"].median - 1.5 * per_step)


def memory(rows: int, threads: int) -> Memory:
    """Measure the peak memory of an attack on that many rows, in a fresh process."""
    peak, inputs, outputs, model = map(int, _python(_MEMORY, str(rows), str(threads)))
    return Memory(rows, peak, inputs, outputs, model, threads * SPARE)


def _python(program: str, *arguments: str) -> list[str]:
    """Run a program in a fresh interpreter and return the words it prints."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the measuring process failed: {done.stderr.strip()}")
    return done.stdout.split()
