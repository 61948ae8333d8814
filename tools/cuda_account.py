"""Writes benchmarks/gpu.md: what every kernel's launches move, compute and occupy, and how fast an H100 could be.

Neither a GPU nor nvcc is asked: shapes and tiles say what a launch does, cuda/registers.json and cuda/shared.json what
its blocks take, and a data sheet what a GPU has. tests/test_cuda_account.py compares the launches with the emulator's.

    python tools/cuda_account.py        compares; --write brings the page up to date
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "benchmarks/gpu.md"


@dataclass(frozen=True)
class Gpu:
    """Rates as NVIDIA's H100 data sheet has them (SXM; tensor cores without sparsity, half of what is printed there),
    and what a multiprocessor holds as the CUDA programming guide has it for compute capability 9.0."""

    name: str = "H100 SXM"
    architecture: str = "sm_90"
    float32: float = 67e12  # FLOP/s
    float64: float = 34e12
    tf32: float = 989e12 / 2
    bf16: float = 1979e12 / 2
    bandwidth: float = 3.35e12  # byte/s
    multiprocessors: int = 132
    registers: int = 65536  # the rest: of a multiprocessor
    threads: int = 2048
    blocks: int = 32
    shared: int = 228 * 1024
    shared_reserved: int = 1024  # of a block


@dataclass(frozen=True)
class Resources:
    """What one kernel takes: registers per thread, static shared memory in bytes per block."""

    registers: int
    shared: int


@dataclass(frozen=True)
class Launch:
    """One launch of a kernel: `flops` it does at least, `moved` bytes it reads and writes at least once."""

    kernel: str
    what: str
    blocks: int
    threads: int
    flops: float
    moved: float
    rate: str = "float32"  # of its arithmetic, a field of Gpu
    shared: int = 0  # bytes of a block that the launch asks for


# ---- what the shapes say; the tiles are those of cuda/tile.cuh and cuda/fragments.cuh

TILES = ((4, "Tile<4, 1, 4>", 256, 4), (16, "Tile<4, 2, 8>", 128, 16), (math.inf, "Tile<4, 4, 16>", 64, 64))
TENSOR = {"tf32": "Tf32", "bf16": "Bf16"}


def product(what: str, m: int, n: int, k: int, extra: float, precision: str, narrow: bool) -> Launch:
    """(m, k) times (k, n) with the output stored, and `extra` floats that an epilogue moves beside it."""
    flops, moved = 2.0 * m * n * k, 4.0 * (m * k + k * n + m * n + extra)
    if narrow:
        return Launch("gemm.cu dots_kernel", what, math.ceil(m / 8), 256, flops, moved)
    kernel = f"tensor_kernel<{TENSOR[precision]}>" if precision in TENSOR else "gemm_kernel<Tile<4, 4, 16> >"
    blocks = math.ceil(m / 64) * math.ceil(n / 64)
    return Launch(f"gemm.cu {kernel}", what, blocks, 256, flops, moved, precision)


def dense(rows: int, sizes: tuple[int, ...], precision: str = "float32") -> Iterator[Launch]:
    """A step of PGD (L-infinity) on an MLP: forward, loss, judgement, backward into the sign step."""
    for i, (k, n) in enumerate(pairwise(sizes)):
        yield product(f"layer {i + 1} forward, {k} to {n}", rows, n, k, n, precision, n <= 16)
    yield from judged(rows, sizes[-1])
    for i in range(len(sizes) - 1, 0, -1):
        k, n = sizes[i], sizes[i - 1]
        # the derivative reads the output below; the step reads x and two limits and writes x
        extra = 3 * rows * n if i == 1 else rows * n
        what = f"layer {i} backward, {k} to {n}" + (" and step" if i == 1 else "")
        yield product(what, rows, n, k, extra, precision, False)


def judged(rows: int, classes: int) -> Iterator[Launch]:
    """Cross-entropy with its gradient, an exponential counting as one operation; then the best point so far."""
    moved = 4.0 * rows * (2 * classes + 3)
    blocks = math.ceil(rows / 32)
    yield Launch("loss.cu loss_kernel", f"loss, {classes} classes", blocks, 32, 6.0 * rows * classes, moved)
    yield Launch("rows.cu track_best_kernel", "the best point so far", math.ceil(rows / 128), 128, 0.0, 40.0 * rows)


def taps_inside(size: int, kernel: int, stride: int, padding: int, out: int) -> int:
    """Pairs of an output and a tap that reads inside the image, along one axis."""
    return sum(0 <= o * stride + t - padding < size for o in range(out) for t in range(kernel))


def conv(
    what: str, outputs: int, lines: int, channels: int, flops: float, moved: float, precision: str = "float32"
) -> Launch:
    """A convolution of `outputs` outputs in each of `lines` lines, `channels` each."""
    _, tile, height, width = next(t for t in TILES if channels <= t[0])
    rounded = precision in TENSOR and channels > 16
    kernel = TENSOR[precision] if rounded else f"{tile} "
    blocks = math.ceil(outputs / height) * lines * math.ceil(channels / width)
    return Launch(
        f"conv.cu conv_kernel<{kernel}>", what, blocks, 256, flops, moved, precision if rounded else "float32"
    )


def strided(
    rows: int, channels: int, to: int, size: int, step: bool, precision: str = "float32"
) -> tuple[Launch, Launch]:
    """A convolution 4 x 4 with stride 2 and padding 1: forward, and backward to its input or into the step."""
    out = size // 2
    flops = 2.0 * rows * channels * to * taps_inside(size, 4, 2, 1, out) ** 2
    x, y, weights = rows * channels * size**2, rows * to * out**2, 16 * channels * to
    what = f"conv {channels} to {to}, {size} x {size}"
    forward = conv(f"{what}, forward", rows * out, out, to, flops, 4.0 * (x + y + weights), precision)
    moved = 4.0 * (y + weights + (x if step else 2 * x))  # reads the output below, too
    # columns two apart read the same taps
    return forward, conv(f"{what}, backward", rows * out, 2 * size, channels, flops, moved, precision)


def whole(rows: int, channels: int, to: int, size: int, precision: str) -> tuple[Launch, Launch]:
    """A dense layer on images: forward a product, backward a convolution whose kernel is the image."""
    flops, n = 2.0 * rows * channels * size**2 * to, channels * size**2
    what, moved = f"dense {n} to {to}", 4.0 * (rows * (n + to) + n * to)
    forward = product(f"{what}, forward", rows, to, n, to, precision, False)
    return forward, conv(f"{what}, backward", rows, size**2, channels, flops, moved + 4.0 * rows * n, precision)


def elementwise(kernel: str, what: str, rows: int, features: int, flops: float, moved: float) -> Launch:
    """`flops` and `moved` bytes per value."""
    blocks, values = math.ceil(features / 32) * math.ceil(rows / 8), rows * features
    return Launch(kernel, what, blocks, 256, flops * values, moved * values)


def cnn(rows: int, precision: str = "float32") -> Iterator[Launch]:
    """A step on models.cnn((1, 28, 28))."""
    images = strided(rows, 1, 16, 28, True, precision), strided(rows, 16, 32, 14, False, precision)
    dense = whole(rows, 32, 100, 7, precision), whole(rows, 100, 10, 1, precision)
    forward, backward = zip(*images, *dense, strict=True)
    arranged = [elementwise("conv.cu arrange_kernel", f"{n} features rearranged", rows, n, 0.0, 8.0) for n in (784, 10)]
    yield arranged[0]
    yield from forward
    yield arranged[1]
    yield from judged(rows, 10)
    yield elementwise("rows.cu copy_rows_kernel", "best points kept, at most", rows, 784, 0.0, 8.0)
    yield arranged[1]
    yield from reversed(backward)
    yield arranged[0]
    # reads the gradient, x and two limits, and writes x
    yield Launch("step.cu step_kernel", "step", rows, 128, 3.0 * rows * 784, 20.0 * rows * 784)


def apart(rows: int, features: int) -> Iterator[Launch]:
    """What an attack does outside of its steps, and a step that is not fused."""
    values = rows * features
    yield elementwise("rows.cu load_kernel<Single>", f"load, {features} features", rows, features, 0.0, 8.0)
    yield Launch("rows.cu store_kernel<Single>", f"store, {features} features", rows, 128, 0.0, 12.0 * values)
    yield elementwise("step.cu limits_kernel", f"limits, {features} features", rows, features, 4.0, 12.0)
    # l2 reads the gradient and the limits twice for its norm, once for the step, and projects in two more passes
    yield Launch("step.cu step_kernel", f"l2 step, {features} features", rows, 128, 12.0 * values, 24.0 * values)


def by_values(kernel: str, what: str, values: float, flops: float, moved: float, rate: str = "float32") -> Launch:
    """A thread for each of a plain array's values, `flops` and `moved` bytes of each."""
    return Launch(kernel, what, math.ceil(values / 128), 128, flops * values, moved * values, rate)


def by_rows(kernel: str, what: str, rows: int, n: int, flops: float, moved: float, rate: str = "float32") -> Launch:
    """A block for each row of n values."""
    return Launch(kernel, what, rows, 128, flops * rows * n, moved * rows * n, rate)


def by_columns(kernel: str, what: str, rows: int, n: int, flops: float, moved: float, rate: str = "float32") -> Launch:
    """A block for 32 columns, whose warps share the rows."""
    return Launch(kernel, what, math.ceil(n / 32), 1024, flops * rows * n, moved * rows * n, rate)


LOOKS = 31  # of a bisection over the bits of a float
PIXELS = 784


def other_layers(rows: int) -> Iterator[Launch]:
    """Layers and losses that the models above do not have, and what training adds, on a batch."""
    yield elementwise("activation.cu forward_kernel", "activation alone, 256 units", rows, 256, 1.0, 8.0)
    yield elementwise("activation.cu backward_kernel", "its derivative", rows, 256, 2.0, 12.0)
    yield elementwise("activation.cu dropout_kernel", "dropout, 256 units", rows, 256, 2.0, 8.0)
    yield elementwise("channels.cu scale_kernel", "batch norm, 16 x 14 x 14", rows, 3136, 2.0, 8.0)
    moments = ("mean and variance of 16 channels", 196 * rows, 16, 4.0, 4.0, "float64")
    yield by_columns("reduce.cu channel_moments_kernel", *moments)
    yield by_columns("reduce.cu channel_products_kernel", "their gradients", 196 * rows, 16, 4.0, 8.0, "float64")
    yield by_columns("reduce.cu channel_sums_kernel", "bias gradient of 16 channels", 196 * rows, 16, 1.0, 4.0)
    yield by_columns("reduce.cu column_sums_kernel", "bias gradient of 256 units", rows, 256, 1.0, 4.0)
    yield by_values("channels.cu batch_norm_kernel", "factors of 16 channels", 16, 12.0, 36.0)
    yield elementwise("channels.cu fold_kernel", "folded into 32 x 256 weights", 32, 256, 1.0, 8.0)
    yield elementwise("pool.cu forward_kernel", "maximum of 2 x 2 of 16 x 14 x 14", rows, 784, 4.0, 20.0)
    yield elementwise("pool.cu tiled_backward_kernel", "its gradient", rows, 784, 4.0, 40.0)
    yield elementwise("pool.cu backward_kernel", "where windows overlap", rows, 3136, 2.0, 10.0)
    yield elementwise("maxout.cu maxout_forward_kernel", "maxout, 80 units of 3 pieces", rows, 80, 2.0, 16.0)
    yield elementwise("maxout.cu maxout_backward_kernel", "its gradient", rows, 80, 3.0, 32.0)
    yield elementwise("one_vs_one.cu one_vs_one_forward_kernel", "votes of 45 pairs", rows, 10, 20.0, 22.0)
    votes = "one_vs_one.cu one_vs_one_backward_kernel"
    yield Launch(votes, "their gradient", rows, 32, 180.0 * rows, 400.0 * rows, shared=40)
    distances = 4.0 * (rows * PIXELS + PIXELS * 10 + rows * 10)
    tile = "rbf.cu forward_kernel<Tile<4, 2, 8>, false>"
    yield Launch(tile, "distances, 784 to 10", math.ceil(rows / 128), 256, 3.0 * rows * PIXELS * 10, distances)
    blocks, moved = math.ceil(rows / 64) * math.ceil(PIXELS / 64), distances + 4.0 * rows * PIXELS
    yield Launch("rbf.cu backward_kernel<false>", "their gradient", blocks, 256, 3.0 * rows * PIXELS * 10, moved)
    yield Launch("rbf.cu gradient_kernel", "of the centres", 10, 256, 6.0 * rows * PIXELS * 10, distances)
    weights = 4.0 * (rows * (3136 + 1568) + 16 * 16 * 32)
    flops = 2.0 * rows * 16 * 32 * taps_inside(14, 4, 2, 1, 7) ** 2
    yield Launch("conv.cu gradient_kernel", "weights of conv 16 to 32", 256, 1024, flops, weights)
    yield Launch("loss.cu pair_kernel", "KL of two passes", math.ceil(rows / 32), 32, 120.0 * rows, 244.0 * rows)
    yield Launch("loss.cu softmax_kernel", "softmax of 10", math.ceil(rows / 32), 32, 50.0 * rows, 80.0 * rows)
    count = sum(k * n for k, n in pairwise(MLP))
    yield by_values("optim.cu sgd_kernel", f"SGD with momentum, {count:,} weights", count, 4.0, 20.0)
    yield by_values("optim.cu adam_kernel", "Adam", count, 14.0, 28.0)
    yield by_values("optim.cu blend_kernel", "averaged weights", count, 3.0, 12.0)
    yield Launch("optim.cu sum_squares_kernel", "norm of a gradient", 1, 1024, 2.0 * count, 4.0 * count, "float64")
    yield by_values(
        "optim.cu limit_norms_kernel", "at most so long, 256 units", 256, 3.0 * PIXELS, 8.0 * PIXELS, "float64"
    )
    yield by_values("random.cu uniform_kernel", "first weights", count / 4, 8.0, 16.0)
    yield elementwise("gemm.cu pack_rows_kernel", "weights packed", 256, PIXELS, 0.0, 8.0)
    turned = ("weights turned and packed", math.ceil(PIXELS / 32) * 8, 256, 0.0, 8.0 * 256 * PIXELS)
    yield Launch("gemm.cu pack_columns_kernel", *turned)


def other_attacks(rows: int, n: int) -> Iterator[Launch]:
    """What attacks do beside the steps above, on rows of n features; bisections count each look at a feature."""
    yield by_rows("random.cu start_kernel", "random start, L-infinity", rows, n, 5.0, 16.0)
    yield by_rows("random.cu noise_kernel", "normal noise", rows, n, 10.0, 4.0)
    yield by_rows("project.cu project_kernel", "projection, L2", rows, n, 8.0, 20.0, "float64")
    yield by_rows("vectors.cu row_norms_kernel", "distance, L2", rows, n, 3.0, 8.0, "float64")
    yield by_rows("vectors.cu row_dots_kernel", "inner product", rows, n, 2.0, 8.0, "float64")
    yield elementwise("vectors.cu combine_kernel", "sum of two within limits", rows, n, 5.0, 20.0)
    yield elementwise("images.cu blur_kernel", "15 taps along an axis", rows, n, 30.0, 8.0)
    yield by_rows("images.cu resize_kernel", "images made smaller", rows, n, 6.0, 8.0)
    yield by_rows("hyperplane.cu farthest_corner_kernel", "farthest corner, L2", rows, n, 5.0, 12.0, "float64")
    yield by_rows(
        "hyperplane.cu hyperplane_kernel", "nearest point of a plane, L2", rows, n, 5.0 * LOOKS, 24.0, "float64"
    )
    looks = 10 * 62  # of nine rivals and then the worst of them, over the bits of a double
    yield by_rows(
        "linear_exact.cu linear_exact_kernel", "worst case of 10 classes, L2", rows, n, 5.0 * looks, 16.0, "float64"
    )
    yield by_rows("search.cu box_adam_kernel", "step of C&W", rows, n, 25.0, 48.0)
    yield by_rows("search.cu shrink_kernel", "step of EAD", rows, n, 8.0, 32.0)
    yield by_rows("search.cu freeze_kernel", "C&W L0 fixes features", rows, n, 6.0 * LOOKS, 20.0, "float64")
    yield by_rows("lbfgs.cu lbfgs_kernel", "step of L-BFGS, 4 pairs seen", rows, n, 65.0, 88.0, "float64")
    yield by_rows("saliency.cu saliency_kernel", "pair of JSMA, most passed over", rows, n, 10.0, 20.0)
    yield by_rows("flip.cu flip_kernel", "best feature to flip", rows, n, 3.0 * 11, 16.0)
    yield by_rows("square.cu square_linf_kernel", "Square, L-infinity", rows, n, 0.0, 8.0)
    yield elementwise("square.cu copy_kernel", "Square, L2: the best points", rows, n, 0.0, 8.0)
    yield by_values("square.cu square_move_kernel", "two windows of 12 x 12", rows, 20.0 * 288, 12.0 * 288, "float64")
    yield by_values("decide.cu decide_kernel<epsball::DdnRows>", "radius of DDN", rows, 2.0, 24.0)
    yield by_values("rows.cu apgd_kernel", "judgement of APGD", rows, 3.0, 30.0)
    yield by_values("rows.cu mix_kernel", "weights of a mixture", rows, 4.0, 24.0)
    stay, buffers = rows / 2, 8
    half = ("half of the rows leave 8 buffers", math.ceil(n / 32) * buffers, 256, 0.0, 8.0 * stay * n * buffers)
    yield Launch("rows.cu compact_kernel", *half)
    yield Launch("rows.cu count_kernel", "how many stay", 1, 256, 0.0, 1.0 * rows)
    yield Launch("rows.cu put_kernel", "numbers of a step", 1, 2, 0.0, 8.0)
    yield Launch("device.cu activate_kernel", "how many rows there are", 1, 1, 0.0, 4.0)


def callers(rows: int, n: int) -> Iterator[Launch]:
    """What is read of and written to arrays that lie on the device."""
    yield elementwise("caller.cu check_kernel<Single>", "finite and in the box", rows, n, 4.0, 4.0)
    yield by_values("caller.cu read_labels_kernel", "labels in", rows, 0.0, 12.0)
    yield by_values("caller.cu write_labels_kernel", "labels out", rows, 0.0, 12.0)
    yield by_values("caller.cu write_rows_kernel<Half>", "derivatives as float16", rows * n, 0.0, 6.0)
    blocks = min(1024, math.ceil(rows * n / 256))
    yield Launch("reduce.cu finite_kernel", "whether all are finite", blocks, 256, 2.0 * rows * n, 4.0 * rows * n)
    yield Launch("reduce.cu inside_kernel", "whether all are in the box", blocks, 256, 2.0 * rows * n, 4.0 * rows * n)


def run(rows: int, sizes: tuple[int, ...], steps: int) -> Launch:
    """A whole run of PGD (L-infinity) on an MLP, its last point judged: blocks of 8 rows keep all but the weights."""
    weights = sum(k * n for k, n in pairwise(sizes))
    flops = 2.0 * rows * weights * (2 * steps + 1)
    # weights both ways; x, two limits and the best point
    moved = 4.0 * (2 * weights + 4 * rows * sizes[0])
    values = sum(sizes) + 2 * max(sizes[1:])
    shared = 32 * values + 64 * sizes[-1]
    return Launch("pgd.cu pgd_kernel", f"{steps} steps", math.ceil(rows / 8), 256, flops, moved, shared=shared)


MLP = (784, 256, 256, 10)
SECTIONS = {
    "A PGD step on the MLP 784-256-256-10, 1,000 rows": list(dense(1000, MLP)),
    "The same, precision tf32": list(dense(1000, MLP, "tf32")),
    "The same, precision bf16": list(dense(1000, MLP, "bf16")),
    "PGD-40 on the same in float32, 128 rows": [run(128, MLP, 40)],
    "A PGD step on the CNN 16-32-100-10, 1,000 rows": list(cnn(1000)),
    "The same CNN, precision tf32": list(cnn(1000, "tf32")),
    "The same CNN, precision bf16": list(cnn(1000, "bf16")),
    "Outside of steps, 1,000 rows": list(apart(1000, PIXELS)),
    "Other layers, losses and updates, 1,000 rows": list(other_layers(1000)),
    "Other attacks, 1,000 rows of 784 features": list(other_attacks(1000, PIXELS)),
    "Arrays on the device, 1,000 rows of 784 features": list(callers(1000, PIXELS)),
}
WHOLE = ("A PGD step", "The same", "PGD-40")  # sections whose launches follow one another


def noted_resources(gpu: Gpu) -> dict[str, Resources]:
    """Registers and shared memory by "file kernel", as tools/check_cuda_registers.py has noted them."""
    registers, shared = (json.loads((ROOT / "cuda" / name).read_text()) for name in ("registers.json", "shared.json"))
    of = f"{gpu.architecture} "
    return {k.removeprefix(of): Resources(n, shared.get(k, 0)) for k, n in registers.items() if k.startswith(of)}


# ---- what follows

INTRODUCTION = """\
# The CUDA kernels by account

Written by `tools/cuda_account.py`; not edited. No GPU has run them yet: these are bounds, not measurements.

Registers and shared memory are what nvcc allocates for {gpu.architecture}; occupancy is what these leave room for on an
{gpu.name}. FLOPs are those of the task (a multiply-add is two, a look of a bisection what it asks of a feature); bytes
are what must be read and written once, however often it is read again from the L2 cache. At best: no less than the
bytes at {bandwidth:.2f} TB/s and the FLOPs at {float32:.0f} TFLOP/s (float32; {float64:.0f} where a row is summed in
float64, {tf32:.1f} for tf32 and {bf16:.1f} for bf16 on tensor cores), rates of NVIDIA's H100 data sheet, of which a
grid of fewer blocks than the {gpu.multiprocessors} multiprocessors has a part. A launch costs some microseconds beside
it, but for the steps of an attack, which a graph holds."""


def blocks_per_multiprocessor(gpu: Gpu, launch: Launch, takes: Resources) -> int:
    """How many blocks are there at once: registers come by warp in steps of 256 to each quarter of a multiprocessor."""
    warps = math.ceil(launch.threads / 32)
    of_warp = math.ceil(takes.registers * 32 / 256) * 256
    by_registers = 4 * (gpu.registers // 4 // of_warp) // warps
    by_shared = gpu.shared // (takes.shared + launch.shared + gpu.shared_reserved)
    return min(gpu.blocks, gpu.threads // 32 // warps, by_registers, by_shared)


def row_of(gpu: Gpu, launch: Launch, takes: Resources) -> tuple[list[str], float]:
    """A line of the table, and the seconds that the launch takes at least."""
    together = blocks_per_multiprocessor(gpu, launch, takes)
    busy = min(1.0, launch.blocks / gpu.multiprocessors)  # a block has one multiprocessor
    moving, computing = launch.moved / gpu.bandwidth, launch.flops / (getattr(gpu, launch.rate) * busy)
    seconds = max(moving, computing)
    return [
        launch.what, f"`{launch.kernel.split()[1].partition('<')[0]}`", f"{launch.blocks:,} x {launch.threads}",
        str(takes.registers), f"{(takes.shared + launch.shared) / 1024:.1f}",
        f"{together * launch.threads / gpu.threads:.0%}",
        f"{launch.flops / 1e6:,.1f}", f"{launch.moved / 1e6:,.2f}",
        f"{launch.flops / launch.moved:.1f}", "memory" if moving > computing else "arithmetic" if busy == 1 else
        f"arithmetic, {launch.blocks} of {gpu.multiprocessors} multiprocessors", f"{seconds * 1e6:.1f}",
    ], seconds  # fmt: skip


def page() -> str:
    """The whole page."""
    gpu = Gpu()
    resources = noted_resources(gpu)
    header = ("launch", "kernel", "blocks x threads", "registers", "shared KiB", "occupancy", "MFLOP", "MB moved",
              "FLOP/byte", "bound", "at best µs")  # fmt: skip
    rates = {name: getattr(gpu, name) / 1e12 for name in ("bandwidth", "float32", "float64", "tf32", "bf16")}
    parts = [INTRODUCTION.format(gpu=gpu, **rates)]
    for title, launches in SECTIONS.items():
        rows, total = [], 0.0
        for launch in launches:
            cells, seconds = row_of(gpu, launch, resources[launch.kernel])
            rows.append(cells)
            total += seconds
        lines = [header, ["---", "---", *["---:"] * 7, "---", "---:"], *rows]
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        flops = sum(launch.flops for launch in launches)
        caption = f"Together at best {total * 1e6:.1f} µs, {flops / total / 1e12:.1f} TFLOP/s."
        parts += [f"## {title}\n\n{table}", *([caption] if title.startswith(WHOLE) else [])]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write benchmarks/gpu.md")
    options = parser.parse_args()
    text = page()
    if options.write:
        PAGE.write_text(text)
    elif not PAGE.exists() or PAGE.read_text() != text:
        print(f"{PAGE.name} is not what the kernels are now; run: python tools/cuda_account.py --write")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
