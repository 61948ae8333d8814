"""Ctrl-C stops a long call within a second."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

SCRIPT = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
import numpy as np
import epsball as eb

model = eb.models.mlp([784, 256, 256, 10])
x = np.random.default_rng(0).random((ROWS, 784), dtype=np.float32)
y = np.zeros(ROWS, int)
print("ready", flush=True)
try:
    CALL
except KeyboardInterrupt:
    print(time.monotonic(), flush=True)
    eb.fgsm(model, x[:1], y[:1], eps=0.1)  # the engine still works
    sys.exit(7)
print("finished", flush=True)
"""
CALLS = {
    "pgd": (2000, "eb.pgd(model, x, y, eps=0.3, steps=1_000_000)"),
    "one image": (1, "eb.pgd(model, x, y, eps=0.3, steps=1_000_000_000)"),
    "restarts": (100, "eb.pgd(model, x, y, eps=0.3, steps=10, restarts=10_000_000)"),
    "fit": (2000, "eb.fit(model, x, y, epochs=1_000_000)"),
    "pgd training": (
        2000,
        "eb.fit(model, x, y, method=eb.training.PGDTraining(eps=0.3, steps=100_000), epochs=10)",
    ),
}


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for a child process")
@pytest.mark.parametrize("call", CALLS)
def test_ctrl_c_raises_keyboard_interrupt_within_a_second(call: str) -> None:
    rows, code = CALLS[call]
    script = SCRIPT.replace("ROWS", str(rows)).replace("CALL", code)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline().strip() == "ready"
            time.sleep(0.5)  # deep inside the call
            sent = time.monotonic()
            child.send_signal(signal.SIGINT)
            answer = child.stdout.readline().strip()
            assert child.wait(timeout=20) == 7
        finally:
            child.kill()
    assert float(answer) - sent < 1.0  # the promise; the monotonic clock is shared by processes
