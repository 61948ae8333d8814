"""Attacks need memory for their results and for a slab of rows, however many rows there are."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("resource")

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
    code = MEASURE.format(attack=ATTACKS[name], rows=ROWS, features=FEATURES)
    grown = int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
    points = 4 * ROWS * FEATURES  # 63 MB; activations and gradients of all rows would be as much again
    assert grown < 1.4 * points, f"{grown / points:.2f} times the points"
