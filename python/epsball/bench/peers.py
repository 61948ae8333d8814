"""Other libraries' PGD on the same weights and inputs, one small adapter per peer, imported lazily."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball.interop.torch import to_torch
from epsball.layers import Conv2d, Flatten, Linear, MaxPool2d
from epsball.layers.base import two
from epsball.model import Sequential
from epsball.models import linear
from epsball.reports.progress import Progress, silent

Array = npt.NDArray[np.float32]
#: Runs the whole attack once and returns the adversarial examples, in the peer's own kind of array.
Attack = Callable[[], Any]
PATIENCE = 20.0  # seconds that one call of a compiled loop may take


@dataclass(frozen=True)
class Task:
    """The attack every contender runs: PGD in the L∞ ball from a random start.

    Attributes
    ----------
    model
        Whose layers and weights every contender takes over: Linear, Conv2d, MaxPool2d, Flatten and ReLU.
    x, y
        Inputs (N, *input_shape) in [0, 1] and labels (N,).
    """

    model: Sequential
    x: Array
    y: npt.NDArray[np.int64]
    threads: int
    eps: float = 0.3
    step_size: float = 0.01
    steps: int = 40

    @property
    def sample_steps(self) -> int:
        """Rows times steps: the unit of work."""
        return len(self.x) * self.steps

    @property
    def flops(self) -> int:
        """FLOPs per sample-step: two per multiply-add, forward and backward."""
        shape, total = self.model.input_shape, 0
        for layer in self.model.layers:
            shape = layer.output_shape(shape)
            if isinstance(layer, Linear):
                total += layer.in_features * layer.out_features
            elif isinstance(layer, Conv2d):
                total += layer.in_channels * math.prod(two("kernel_size", layer.kernel_size, 1)) * math.prod(shape)
        return 4 * total

    def error(self, x: Any) -> float:
        """Return the fraction of rows misclassified at `x`, by epsball's prediction."""
        return float(np.mean(self.model.predict(to_numpy(x)) != self.y))

    def outside(self, x: Any) -> float:
        """Return the fraction of pixels farther than eps from the input or outside [0, 1]."""
        moved = to_numpy(x).astype(np.float64)
        far = np.abs(moved - self.x.astype(np.float64)) > self.eps
        return float(np.mean(far | (moved < 0) | (moved > 1)))


def to_numpy(x: Any) -> Array:
    """Return any contender's result as a NumPy array (cleverhans leaves its graph attached)."""
    return np.asarray(x.detach() if hasattr(x, "detach") else x, dtype=np.float32)


@dataclass(frozen=True)
class Peer:
    """A library to compare with: `prepare` imports it and returns the attack, ready to be timed."""

    name: str
    package: str
    prepare: Callable[[Task], Attack]

    @property
    def version(self) -> str:
        """The installed version of its package."""
        return version(self.package)


@dataclass(frozen=True)
class Absent:
    """A peer that cannot run here."""

    name: str
    reason: str


def find(names: Sequence[str] | None = None, progress: Progress = silent) -> tuple[list[Peer], list[Absent]]:
    """Try every named peer (None: the default ones) on two tiny rows; say why those absent are."""
    wanted = list(DEFAULT) if names is None else list(names)
    if unknown := [name for name in wanted if name not in PEERS]:
        raise ValueError(f"peers: no peer {unknown[0]!r}, expected some of {', '.join(PEERS)}")
    present, absent = [], []
    for done, name in enumerate(wanted):
        progress("peers", done + 1, len(wanted))
        if why := _why_absent(PEERS[name]):
            absent.append(Absent(name, why))
        else:
            present.append(PEERS[name])
    return present, absent


def _why_absent(peer: Peer) -> str | None:
    tiny = Task(
        model=linear(4, 3),
        x=np.full((2, 4), 0.5, np.float32),
        y=np.zeros(2, np.int64),
        threads=1,
        steps=2,
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            peer.prepare(tiny)()
            _ = peer.version
    except Exception as error:  # a peer may break in any way of its own; the run goes on without it
        return reason(error)
    return None


def reason(error: Exception) -> str:
    """Say in one line why a peer is absent."""
    if isinstance(error, PackageNotFoundError):
        return f"{error.name} is not installed"
    if isinstance(error, ModuleNotFoundError):
        return f"not installed (no module {error.name})"
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


# ---- the adapters ----


def torch_module(task: Task) -> tuple[Any, Any, Any]:
    """Return the model as an ``nn.Sequential`` with frozen weights, and the inputs and labels as tensors."""
    torch = import_module("torch")
    torch.set_num_threads(task.threads)
    model = to_torch(task.model).requires_grad_(False)
    return model, torch.tensor(task.x), torch.tensor(task.y)


def torch_loop(task: Task) -> Attack:
    """The loop people write by hand, without waste."""
    torch = import_module("torch")
    model, x, y = torch_module(task)
    lower, upper = (x - task.eps).clamp_(0, 1), (x + task.eps).clamp_(0, 1)

    def attack() -> Any:
        moved = torch.empty_like(x).uniform_(-task.eps, task.eps).add_(x).clamp_(0, 1)
        for _ in range(task.steps):
            moved.requires_grad_(True)
            loss = torch.nn.functional.cross_entropy(model(moved), y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, moved)
            stepped = moved.detach().add_(gradient.sign_(), alpha=task.step_size)
            moved = torch.minimum(torch.maximum(stepped, lower), upper)
        return moved

    return attack


def torch_compile(task: Task, unrolled: bool = False) -> Attack:
    """The same loop with one whole step compiled as a single graph, or with all steps in one graph."""
    torch = import_module("torch")
    model, x, y = torch_module(task)
    steps_per_graph = task.steps if unrolled else 1

    def loss(moved: Any) -> Any:
        return torch.nn.functional.cross_entropy(model(moved), y, reduction="sum")

    gradient = torch.func.grad(loss)

    def several_steps(moved: Any) -> Any:
        for _ in range(steps_per_graph):
            moved = moved + task.step_size * gradient(moved).sign()
            moved = (x + (moved - x).clamp(-task.eps, task.eps)).clamp(0, 1)
        return moved

    torch.compiler.reset()  # else the compiler counts models and gives up specialising after eight
    compiled = torch.compile(several_steps, fullgraph=True, dynamic=False)

    def attack() -> Any:
        moved = torch.empty_like(x).uniform_(-task.eps, task.eps).add_(x).clamp_(0, 1)
        with torch.no_grad():
            for _ in range(task.steps // steps_per_graph):
                moved = compiled(moved)
        return moved

    return attack


def torch_compile_unrolled(task: Task) -> Attack:
    """All steps in one compiled graph: faster on one image, but a minute of compilation per shape."""
    return torch_compile(task, unrolled=True)


def torchattacks(task: Task) -> Attack:
    """torchattacks.PGD."""
    library = import_module("torchattacks")
    model, x, y = torch_module(task)
    pgd = library.PGD(model, eps=task.eps, alpha=task.step_size, steps=task.steps, random_start=True)
    return lambda: pgd(x, y)


def foolbox(task: Task) -> Attack:
    """foolbox.attacks.LinfPGD."""
    library = import_module("foolbox")
    model, x, y = torch_module(task)
    wrapped = library.PyTorchModel(model, bounds=(0, 1))
    pgd = library.attacks.LinfPGD(abs_stepsize=task.step_size, steps=task.steps, random_start=True)
    return lambda: pgd(wrapped, x, y, epsilons=task.eps)[1]  # raw, clipped, success


def cleverhans(task: Task) -> Attack:
    """Run cleverhans' projected_gradient_descent for torch, without its sanity checks."""
    library = import_module("cleverhans.torch.attacks.projected_gradient_descent")
    model, x, y = torch_module(task)
    pgd, eps, step_size = library.projected_gradient_descent, task.eps, task.step_size
    keywords = {"clip_min": 0.0, "clip_max": 1.0, "y": y, "sanity_checks": False}
    return lambda: pgd(model, x, eps, step_size, task.steps, np.inf, **keywords)


def art(task: Task) -> Attack:
    """ART's ProjectedGradientDescent, the whole input as one batch; NumPy in, NumPy out."""
    evasion = import_module("art.attacks.evasion")
    estimators = import_module("art.estimators.classification")
    torch = import_module("torch")
    model, _, _ = torch_module(task)
    classifier = estimators.PyTorchClassifier(
        model,
        loss=torch.nn.CrossEntropyLoss(),
        input_shape=task.x.shape[1:],
        nb_classes=task.model.classes,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    pgd = evasion.ProjectedGradientDescent(
        classifier,
        norm=np.inf,
        eps=task.eps,
        eps_step=task.step_size,
        max_iter=task.steps,
        num_random_init=1,
        batch_size=len(task.x),
        verbose=False,
    )
    return lambda: pgd.generate(task.x, task.y)


def jax_loop(task: Task) -> Attack:
    """The whole loop under one jax.jit, with the weights as constants or arguments: the faster wins.

    XLA multiplies by constants quicker for one image and by arguments quicker for a batch.
    """
    os.environ["NPROC"] = str(task.threads)  # sizes XLA's thread pool; read when JAX makes its client
    jax = import_module("jax")
    with jax.default_device(jax.devices("cpu")[0]):
        x, y, weights = jax.numpy.asarray(task.x), jax.numpy.asarray(task.y), _jax_weights(task)
        key = jax.random.key(0)
        one_step = jax.jit(lambda key, x, y: _jax_attack(replace(task, steps=1), key, x, y, weights))
        _check_patience(lambda: one_step(key, x, y).block_until_ready(), task.steps)
        constants = jax.jit(lambda key, x, y: _jax_attack(task, key, x, y, weights))
        arguments = jax.jit(lambda *given: _jax_attack(task, *given))
        candidates: list[Attack] = [
            lambda: constants(key, x, y).block_until_ready(),
            lambda: arguments(key, x, y, weights).block_until_ready(),
        ]
        return min(candidates, key=_quick_time)


def _check_patience(one_step: Attack, steps: int) -> None:
    """Raise if the steps would take longer than `PATIENCE`: XLA is slow at some convolutions on CPUs."""
    one_step()
    start = perf_counter()
    one_step()
    seconds = (perf_counter() - start) * steps
    if seconds > PATIENCE:
        raise TimeoutError(f"a call would take {seconds:.0f} s")


def _jax_weights(task: Task) -> Any:
    asarray = import_module("jax.numpy").asarray
    return {name: asarray(value) for name, value in task.model.parameters().items()}


def _jax_logits(task: Task, x: Any, weights: Any) -> Any:
    jax = import_module("jax")
    for i, layer in enumerate(task.model.layers):
        if isinstance(layer, Linear):
            x = x @ weights[f"{i}.weight"].T + weights[f"{i}.bias"]
        elif isinstance(layer, Conv2d):
            padding = [(p, p) for p in two("padding", layer.padding, 0)]
            stride = two("stride", layer.stride, 1)
            x = jax.lax.conv_general_dilated(x, weights[f"{i}.weight"], stride, padding)
            x = x + weights[f"{i}.bias"][:, None, None]
        elif isinstance(layer, MaxPool2d):
            window, strides = ((1, 1, *two("", n, 1)) for n in (layer.kernel_size, layer.stride))
            x = jax.lax.reduce_window(x, -np.inf, jax.lax.max, window, strides, "VALID")
        else:
            x = x.reshape(len(x), -1) if isinstance(layer, Flatten) else jax.nn.relu(x)
    return x


def _jax_attack(task: Task, key: Any, x: Any, y: Any, weights: Any) -> Any:
    jax = import_module("jax")
    numpy = jax.numpy

    def loss(moved: Any) -> Any:
        hidden = _jax_logits(task, moved, weights)
        return -(jax.nn.log_softmax(hidden) * jax.nn.one_hot(y, hidden.shape[1])).sum()

    def step(_: Any, moved: Any) -> Any:
        moved = moved + task.step_size * numpy.sign(jax.grad(loss)(moved))
        return numpy.clip(numpy.clip(moved, x - task.eps, x + task.eps), 0, 1)

    noise = jax.random.uniform(key, x.shape, minval=-task.eps, maxval=task.eps)
    return jax.lax.fori_loop(0, task.steps, step, numpy.clip(x + noise, 0, 1))


def _quick_time(attack: Attack) -> float:
    attack()
    times = []
    for _ in range(5):
        start = perf_counter()
        attack()
        times.append(perf_counter() - start)
    return min(times)


PEERS = {
    peer.name: peer
    for peer in (
        Peer("torch", "torch", torch_loop),
        Peer("torch-compile", "torch", torch_compile),
        Peer("torch-compile-unrolled", "torch", torch_compile_unrolled),
        Peer("torchattacks", "torchattacks", torchattacks),
        Peer("foolbox", "foolbox", foolbox),
        Peer("cleverhans", "cleverhans", cleverhans),
        Peer("art", "adversarial-robustness-toolbox", art),
        Peer("jax", "jax", jax_loop),
    )
}
#: The unrolled graph takes a minute of compilation per row of the table, so it is measured on request.
DEFAULT = tuple(name for name in PEERS if name != "torch-compile-unrolled")
