"""PGD on a CUDA device: time, GB/s and TFLOP/s beside what the device copies and multiplies at most, and beside torch.

Needs a GPU, a build with EPSBALL_CUDA=ON and torch; without them it says what is missing and exits with 1. It ends in
one table, which `--write` also puts into gpu_results.md.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import epsball as eb
from epsball.device import cuda_problem

HERE = Path(__file__).resolve().parent
STEPS, EPS, STEP_SIZE = 40, 0.3, 0.01
ROWS = (1, 128, 1000, 10000)
MODELS: dict[str, Callable[[], eb.Sequential]] = {
    "softmax": lambda: eb.models.linear(784, 10, seed=0),
    "mlp": lambda: eb.models.mlp([784, 256, 256, 10], seed=0),
    "cnn": lambda: eb.models.cnn((1, 28, 28), classes=10, seed=0),
}
CONTENDERS = ("torch eager", "CUDA graph", "torch.compile")
HEADER = ("model", "rows", "precision", "ms", "sample-steps/s", "GB/s", "of copy", "TFLOP/s", "of matmul", *CONTENDERS)


@dataclass(frozen=True)
class Work:
    """What a whole attack does at least: FLOPs, and bytes of weights, activations, x and its limits."""

    flops: float
    moved: float


def work_of(layers: list[tuple[int, int, int]], rows: int) -> Work:
    """Return it, each layer being (inputs, outputs, multiply-adds); see benchmarks/gpu.md for what is counted."""
    flops = 4.0 * rows * sum(macs for _, _, macs in layers)
    values = 2 * rows * sum(n + m for n, m, _ in layers) + 3 * rows * layers[0][0]  # both ways; the step's limits
    weights = 2 * sum(min(n * m, macs) for n, m, macs in layers)
    return Work(STEPS * flops, STEPS * 4.0 * (values + weights))


def layers_of(model: eb.Sequential) -> list[tuple[int, int, int]]:
    """Return inputs, outputs and multiply-adds of one row, layer by layer."""
    found, shape = [], model.input_shape
    for layer in model.layers:
        after = layer.output_shape(shape)
        inputs, outputs = _product(shape), _product(after)
        if isinstance(layer, eb.Linear):
            found.append((inputs, outputs, inputs * outputs))
        elif isinstance(layer, eb.Conv2d):
            kernel = layer.kernel_size if isinstance(layer.kernel_size, tuple) else (layer.kernel_size,) * 2
            found.append((inputs, outputs, outputs * shape[0] * _product(kernel)))
        shape = after
    return found


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for n in shape:
        total *= n
    return total


# ---- torch's PGD: the same steps from x, in place


def step(module: Any, x: Any, x_adv: Any, lo: Any, hi: Any, y: Any) -> Any:
    """Return the next iterate: one signed step up the loss, back into the ball and the box."""
    import torch

    at = x_adv.detach().requires_grad_(True)
    loss = torch.nn.functional.cross_entropy(module(at), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, at)
    return torch.clamp(x_adv + STEP_SIZE * gradient.sign(), lo, hi)


def limits(x: Any) -> tuple[Any, Any]:
    """Return the corners of the ball within the box."""
    return (x - EPS).clamp(0, 1), (x + EPS).clamp(0, 1)


def eager(module: Any, x: Any, y: Any, take: Callable[..., Any] = step) -> Callable[[], Any]:
    """Return an attack that asks `take` for every step."""
    lo, hi = limits(x)

    def attack() -> Any:
        x_adv = x.clone()
        for _ in range(STEPS):
            x_adv = take(module, x, x_adv, lo, hi, y)
        return x_adv

    return attack


def graphed(module: Any, x: Any, y: Any) -> Callable[[], Any]:
    """Return an attack whose step is a CUDA graph."""
    import torch

    lo, hi = limits(x)
    x_adv = x.clone()
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):  # as torch asks before a capture
        for _ in range(3):
            step(module, x, x_adv, lo, hi, y)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        x_adv.copy_(step(module, x, x_adv, lo, hi, y))

    def attack() -> Any:
        x_adv.copy_(x)
        for _ in range(STEPS):
            graph.replay()
        return x_adv

    return attack


def compiled(module: Any, x: Any, y: Any) -> Callable[[], Any]:
    """Return an attack whose step torch.compile has compiled."""
    import torch

    return eager(module, x, y, torch.compile(step, mode="max-autotune-no-cudagraphs"))


# ---- measuring


def seconds(call: Callable[[], Any], rounds: int) -> float:
    """Return the median time of a call by the device's clock."""
    import torch

    for _ in range(2):
        call()
    times = []
    for _ in range(rounds):
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        call()
        after.record()
        torch.cuda.synchronize()
        times.append(before.elapsed_time(after) / 1e3)
    return statistics.median(times)


@dataclass(frozen=True)
class Ceilings:
    """What the device reaches at most: bytes/s of a copy, FLOP/s of a large product at each precision."""

    copy: float
    matmul: dict[str, float]


def measured_ceilings(rounds: int) -> Ceilings:
    """Return them as torch reaches them."""
    import torch

    a = torch.empty(1 << 28, dtype=torch.uint8, device="cuda")
    b = torch.empty_like(a)
    copy = 2 * a.numel() / seconds(lambda: b.copy_(a), rounds)
    n, matmul = 8192, {}
    for precision, dtype in (("float32", torch.float32), ("tf32", torch.float32), ("bf16", torch.bfloat16)):
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        m = torch.randn(n, n, device="cuda").to(dtype)
        matmul[precision] = 2 * n**3 / seconds(lambda m=m: m @ m, rounds)
    torch.backends.cuda.matmul.allow_tf32 = False
    return Ceilings(copy, matmul)


def lines(name: str, rows: int, ceilings: Ceilings, rounds: int) -> list[tuple[str, ...]]:
    """Return the table's lines of a model and a batch, one for each precision."""
    import torch

    model = MODELS[name]()
    module = eb.to_torch(model).eval().to("cuda")
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    x = torch.rand(rows, *model.input_shape, device="cuda")
    y = torch.randint(10, (rows,), device="cuda")
    work, attack = work_of(layers_of(model), rows), eb.attacks.PGD(EPS, steps=STEPS, step_size=STEP_SIZE)
    theirs = [seconds(make(module, x, y), rounds) for make in (eager, graphed, compiled)]
    found = []
    for precision, peak in ceilings.matmul.items():
        model.to("cuda", precision=precision)
        ours = seconds(lambda: attack(model, x, y), rounds)
        found.append(
            (
                name, f"{rows:,}", precision, f"{ours * 1e3:.2f}", f"{rows * STEPS / ours:,.0f}",
                f"{work.moved / ours / 1e9:,.0f}", f"{work.moved / ours / ceilings.copy:.0%}",
                f"{work.flops / ours / 1e12:.2f}", f"{work.flops / ours / peak:.1%}",
                *(f"{t / ours:.1f} ×" for t in theirs),
            )
        )  # fmt: skip
        print(" | ".join(found[-1]), flush=True)
    return found


def main() -> None:
    """Measure, print, and write if told to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--rows", default=",".join(map(str, ROWS)))
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--write", action="store_true", help="write gpu_results.md")
    options = parser.parse_args()
    problem = cuda_problem()
    if problem:
        sys.exit(f"gpu.py: no GPU to measure: {problem}")
    import torch

    ceilings = measured_ceilings(options.rounds)
    peaks = ", ".join(f"{name} {flops / 1e12:.0f} TFLOP/s" for name, flops in ceilings.matmul.items())
    versions = f"{torch.cuda.get_device_name()}, torch {torch.__version__}, epsball {eb.__version__}"
    said = (
        f"PGD, L∞, {STEPS} steps on {versions}. Ceilings as torch reaches them: copy {ceilings.copy / 1e9:,.0f} GB/s, "
        f"products: {peaks}. Ratios: the time of torch's float32 attack over ours."
    )
    print(said)
    table = [HEADER, ("---",) * len(HEADER)]
    for name in options.models.split(","):
        for rows in map(int, options.rows.split(",")):
            table += lines(name, rows, ceilings, options.rounds)
    text = "\n".join(f"| {' | '.join(line)} |" for line in table)
    print(text)
    if options.write:
        (HERE / "gpu_results.md").write_text(f"# On a GPU\n\nWritten by `benchmarks/gpu.py`.\n\n{said}\n\n{text}\n")


if __name__ == "__main__":
    main()
