"""The engine works in a forked worker after use in the parent, and beside torch in one process."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys

import numpy as np
import pytest

import epsball as eb
from cases import batch, labels, pair, use_threads

ATTACK = eb.attacks.PGD(eps=0.1, steps=5, restarts=2, seed=1)


def _attack(queue, model, x, y) -> None:
    queue.put(np.asarray(ATTACK(model, x, y)))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # of JAX, where another test has imported it
def test_forked_worker_computes_the_same_bits_after_use_in_the_parent() -> None:
    model, _ = pair([33, 65, 10], "relu")
    x, y = batch(64, 33), labels(64, 10)
    use_threads(2)
    wanted = np.asarray(ATTACK(model, x, y))  # the parent's thread pool exists now
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=_attack, args=(queue, model, x, y)) for _ in range(2)]
    for worker in workers:
        worker.start()
    try:
        for _ in workers:
            np.testing.assert_array_equal(queue.get(timeout=30), wanted)
        for worker in workers:
            worker.join(timeout=10)
            assert worker.exitcode == 0
    finally:
        for worker in workers:
            worker.kill()
    np.testing.assert_array_equal(ATTACK(model, x, y), wanted)  # and the parent goes on


def test_spawned_process_computes_the_same_bits() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from cases import batch, labels, pair\n"
        "import epsball as eb, numpy as np\n"
        "model, _ = pair([33, 65, 10], 'relu')\n"
        "a = eb.attacks.PGD(eps=0.1, steps=5, restarts=2, seed=1)\n"
        "sys.stdout.write(np.asarray(a(model, batch(8, 33), labels(8, 10))).tobytes().hex())\n"
    )
    folder = __file__.rpartition("/")[0] or "."
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, timeout=60, check=True)
    model, _ = pair([33, 65, 10], "relu")
    wanted = np.asarray(ATTACK(model, batch(8, 33), labels(8, 10)))
    assert bytes.fromhex(done.stdout) == wanted.tobytes()


@pytest.mark.parametrize("first", ["torch", "epsball"])
def test_torch_and_the_engine_share_a_process(first: str) -> None:
    """Two OpenMP runtimes, either loaded first, both doing parallel work in turns."""
    pytest.importorskip("torch")
    second = "epsball" if first == "torch" else "torch"
    code = (
        f"import {first}\nimport {second}\n"
        "import numpy as np, torch, epsball as eb\n"
        "model = eb.models.mlp([784, 256, 10])\n"
        "x = np.random.default_rng(0).random((256, 784), dtype=np.float32)\n"
        "y = np.zeros(256, int)\n"
        "wanted = None\n"
        "for _ in range(3):\n"
        "    a = torch.randn(512, 512); (a @ a).sum().item()\n"
        "    x_adv = eb.pgd(model, x, y, eps=0.1, steps=5)\n"
        "    t = eb.pgd(model, torch.from_numpy(x), torch.from_numpy(y), eps=0.1, steps=5)\n"
        "    assert isinstance(t, torch.Tensor) and (t.numpy() == x_adv).all()\n"
        "    assert wanted is None or (x_adv == wanted).all()\n"
        "    wanted = x_adv\n"
        "print('both work')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "both work", done.stderr
