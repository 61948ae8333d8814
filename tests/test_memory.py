"""How much memory calls take beyond what is there: results, a slab of rows or of images, new weights from torch."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import epsball as eb
from epsball.files import fingerprint

PROC = Path("/proc/self")
MIB = 1 << 20


def taken(call: Callable[[], object]) -> int:
    """Bytes by which the process's memory grew at most while `call` ran."""
    try:
        (PROC / "clear_refs").write_text("5")  # the high-water mark begins anew
    except OSError:
        pytest.skip("no Linux, or the high-water mark cannot be reset")
    before = resident("VmRSS:")
    call()
    return resident("VmHWM:") - before


def resident(field: str) -> int:
    lines = (PROC / "status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    "attack",
    [eb.attacks.FGSM(eps=0.1), eb.attacks.PGD(eps=0.1, steps=1, restarts=2, early_stop=True), eb.attacks.DDN(steps=1)],
    ids=lambda attack: type(attack).__name__,
)
def test_an_attack_takes_its_output_and_less_than_16_mib_per_thread(attack: eb.attacks.Attack, dtype: type) -> None:
    """31 MiB in float32: a copy of all rows would show."""
    model = eb.models.mlp([800, 16, 10])
    x = np.random.default_rng(0).random((10_000, 800), dtype=np.float32).astype(dtype)
    y = np.zeros(len(x), dtype=np.int64)
    eb._native.set_threads(1)
    attack.run(model, x[:10], y[:10])
    assert taken(lambda: attack.run(model, x, y)) - x.nbytes <= 16 * MIB


def test_an_attack_on_wide_images_takes_less_than_32_mib_per_thread() -> None:
    """1.6 MB of activations a row: three blocks of rows would be 80 MB."""
    layers: list[eb.layers.Layer] = []
    for channels in (3, 64, 64, 64):
        layers += [eb.Conv2d(channels, 64, 3, padding=1), eb.ReLU()]
    model = eb.Sequential([*layers, eb.MaxPool2d(32), eb.Flatten(), eb.Linear(64, 10)], input_shape=(3, 32, 32))
    x = np.random.default_rng(0).random((48, 3, 32, 32), dtype=np.float32)
    y = np.zeros(48, dtype=np.int64)
    eb._native.set_threads(1)
    model.input_gradient(x[:1], y[:1])  # weights are packed
    assert taken(lambda: eb.fgsm(model, x, y, eps=0.1)) - x.nbytes <= 32 * MIB


def test_a_sync_from_torch_allocates_nothing() -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Linear(1000, 8000), torch.nn.ReLU(), torch.nn.Linear(8000, 2))
    model = eb.from_torch(module, (1000,))
    x = np.ones((1, 1000), dtype=np.float32)

    model(x)
    with torch.no_grad():
        module[0].weight.mul_(0.5)
    eb.sync_from_torch(model, module)  # whatever a first call imports
    assert taken(lambda: eb.sync_from_torch(model, module)) < 2 * MIB
    assert taken(lambda: model(x)) < 2 * MIB  # packs the new weights in place
    np.testing.assert_allclose(model(x), module(torch.from_numpy(x)).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_telling_data_from_others_copies_no_more_than_a_block(tmp_path: Path) -> None:
    mapped = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (8, MIB, 2))
    mapped[...] = np.arange(2, dtype=np.float32)
    every_other = mapped[..., ::2]
    expected = fingerprint(np.ascontiguousarray(every_other))
    tracemalloc.start()
    assert fingerprint(every_other) == expected
    assert tracemalloc.get_traced_memory()[1] < 5 * MIB
    tracemalloc.stop()


# ---- attacks on many rows

ROWS, FEATURES = 20_000, 784
MEASURE = """
import resource
import sys
import numpy as np
import epsball as eb

A = eb.attacks
attack = {attack}
model = eb.models.mlp([{features}, 256, 256, 10])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
x = np.random.default_rng(0).random(({rows}, {features}), np.float32)
y = np.zeros({rows}, np.int64)
attack.run(model, x[:1000], y[:1000])  # what a slab needs is there from now on
before = peak()
attack.run(model, x, y)
print(peak() - before)
"""
ATTACKS = {
    "PGD": "A.PGD(0.1, steps=2)",
    "APGD": "A.APGD(0.1, steps=2)",
    "Square": "A.Square(0.1, queries=3)",
    "DDN": "A.DDN(steps=2)",
    "FAB": "A.FAB(steps=1)",
    "CarliniWagner": "A.CarliniWagner(steps=1, search_steps=1)",
    "LBFGS": "A.LBFGS(steps=1, search_steps=1)",
    "HopSkipJump": "A.HopSkipJump(steps=1, init_evals=2, starts=1)",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_memory_grows_with_the_results_only(name: str) -> None:
    pytest.importorskip("resource")
    code = MEASURE.format(attack=ATTACKS[name], rows=ROWS, features=FEATURES)
    grown = int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
    points = 4 * ROWS * FEATURES  # 63 MB; activations and gradients of all rows would be as much again
    assert grown < 1.4 * points, f"{grown / points:.2f} times the points"
