# What the native module offers, written by tools/check_stubs.py --write.
"""The engine of epsball; its functions check their arguments, release the GIL and call src/."""

from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import typing
import typing_extensions

class DeviceArray:
    """An array on a device: where it lies, not what it holds."""
    def __init__(
        self,
        owner: typing.Any,
        table: str,
        address: int,
        dtype: numpy.dtype[typing.Any],
        shape: collections.abc.Sequence[int],
        stream: int,
        writable: bool,
        lend: typing.Any,
        lease: typing.Any = None,
    ) -> None: ...
    def __len__(self) -> int: ...
    @property
    def address(self) -> int: ...
    @property
    def dtype(self) -> numpy.dtype[typing.Any]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def owner(self) -> typing.Any:
        """Whose memory it is."""
    @property
    def shape(self) -> tuple[typing.Any, ...]: ...
    @property
    def stream(self) -> int:
        """By which the values are there; 0: the default one."""

class NotFinite(ValueError):
    """A logit or a derivative that is not finite, for some rows."""

class Model:
    """A model's layers, parameters and plans."""
    def __init__(
        self, layers: collections.abc.Sequence[tuple[str, collections.abc.Sequence[int], tuple[typing.Any, ...]]]
    ) -> None: ...
    def admit(self, on: bool) -> None:
        """Lets this thread's calls through a closed model, or no longer."""
    def bounds(
        self, low: numpy.typing.NDArray[typing.Any], high: numpy.typing.NDArray[typing.Any]
    ) -> tuple[typing.Any, ...]:
        """Bounds (N, K) of the logits over boxes."""
    def close(self) -> None:
        """Refuses all calls but admitted ones, while the model is trained."""
    def interval_misfit(self) -> int:
        """The first layer that intervals do not pass, or -1."""
    def jacobian(self, x: numpy.typing.NDArray[typing.Any] | DeviceArray, out: typing.Any = None) -> typing.Any:
        """Derivatives of the logits, (N, K, features)."""
    def load_parameters(self, values: dict[str, typing.Any]) -> None:
        """Copies all parameters in; all or nothing."""
    def logits(self, x: numpy.typing.NDArray[typing.Any] | DeviceArray, out: typing.Any = None) -> typing.Any:
        """Logits (N, K)."""
    def loss_and_gradient(
        self,
        x: numpy.typing.NDArray[typing.Any] | DeviceArray,
        y: numpy.typing.NDArray[typing.Any] | DeviceArray,
        loss: str,
        gradient: bool,
        out: typing.Any = None,
    ) -> tuple[typing.Any, ...]:
        """Per-row losses (N,) and, if wanted, their input gradients (N, features)."""
    def open(self) -> None:
        """Ends close()."""
    def parameter_gradients(
        self, x: numpy.typing.NDArray[typing.Any], y: numpy.typing.NDArray[typing.Any], loss: str
    ) -> dict[str, typing.Any]:
        """Gradients of the mean loss by parameter name."""
    def parameters(self) -> dict[str, typing.Any]:
        """Copies of all parameters by name, in layer order."""
    def place(self, table: str | None) -> None:
        """Computes on this table from now on; None: on the one in force."""
    def predict(self, x: numpy.typing.NDArray[typing.Any] | DeviceArray, out: typing.Any = None) -> typing.Any:
        """Predicted classes (N,)."""
    def probabilities(
        self, x: numpy.typing.NDArray[typing.Any] | DeviceArray, log_confidences: bool, out: typing.Any = None
    ) -> typing.Any:
        """Softmax (N, K) of the logits, one of them: the sigmoid; or exp of log confidences."""
    @property
    def classes(self) -> int: ...
    @property
    def features(self) -> int: ...

class Foreign:
    """A model outside the engine, for the length of a call."""
    def __init__(
        self,
        forward: collections.abc.Callable[..., typing.Any],
        shape: collections.abc.Sequence[int],
        classes: int,
        batch_size: int,
    ) -> None:
        """forward(x (rows, *shape)) returns (logits, pull), and pull(dlogits) the gradient (rows, *shape)."""
    def jacobian(self, x: numpy.typing.NDArray[typing.Any] | DeviceArray, out: typing.Any = None) -> typing.Any:
        """Derivatives of the logits, (N, K, features)."""
    def logits(self, x: numpy.typing.NDArray[typing.Any] | DeviceArray, out: typing.Any = None) -> typing.Any:
        """Logits (N, K)."""
    def loss_and_gradient(
        self,
        x: numpy.typing.NDArray[typing.Any] | DeviceArray,
        y: numpy.typing.NDArray[typing.Any] | DeviceArray,
        loss: str,
        gradient: bool,
        out: typing.Any = None,
    ) -> tuple[typing.Any, ...]:
        """Per-row losses (N,) and, if wanted, their input gradients (N, features)."""
    def predict(self, x: numpy.typing.NDArray[typing.Any] | DeviceArray, out: typing.Any = None) -> typing.Any:
        """Predicted classes (N,)."""
    def probabilities(
        self, x: numpy.typing.NDArray[typing.Any] | DeviceArray, log_confidences: bool, out: typing.Any = None
    ) -> typing.Any:
        """Softmax (N, K) of the logits, one of them: the sigmoid; or exp of log confidences."""
    @property
    def classes(self) -> int: ...
    @property
    def features(self) -> int: ...

class Box:
    """The box of an attack, made once for many calls."""
    def __init__(self, lower: typing.Any, upper: typing.Any, features: int) -> None:
        """Sides are numbers or arrays of one input; both None: no box."""

class Trees:
    """Decision trees and sums of them; the arrays' sizes are checked by their caller."""
    def __init__(
        self,
        feature: numpy.typing.NDArray[numpy.int32],
        threshold: numpy.typing.NDArray[numpy.float64],
        left: numpy.typing.NDArray[numpy.int32],
        right: numpy.typing.NDArray[numpy.int32],
        values: numpy.typing.NDArray[numpy.float64],
        roots: numpy.typing.NDArray[numpy.int32],
        column: numpy.typing.NDArray[numpy.int32],
        start: numpy.typing.NDArray[numpy.float64],
        features: int,
        scale: float,
        divisor: float,
        rounds_inputs: bool,
        decision: str,
    ) -> None: ...
    def predict(self, x: numpy.typing.NDArray[typing.Any]) -> numpy.typing.NDArray[numpy.int64]:
        """Predicted classes (N,)."""

class Knn:
    """Nearest neighbours; the arrays' sizes are checked by their caller."""
    def __init__(
        self,
        points: numpy.typing.NDArray[numpy.float64],
        labels: numpy.typing.NDArray[numpy.int64],
        classes: int,
        k: int,
        by_distance: bool,
    ) -> None: ...
    def predict(self, x: numpy.typing.NDArray[typing.Any]) -> numpy.typing.NDArray[numpy.int64]:
        """Predicted classes (N,)."""

class Diverged(FloatingPointError):
    pass

class Trainer:
    """Optimiser state and training steps for one model."""
    def __init__(self, model: Model, optimizer: dict[str, typing.Any], method: dict[str, typing.Any]) -> None: ...
    def averages(self) -> list[typing.Any]:
        """The weights' moving averages as flat arrays; none where they are not made."""
    def load_moments(self, moments: list[typing.Any], updates: int) -> None: ...
    def moments(self) -> list[typing.Any]:
        """The optimiser's state as flat arrays."""
    def run(
        self,
        x: numpy.typing.NDArray[typing.Any],
        y: numpy.typing.NDArray[typing.Any],
        order: numpy.typing.NDArray[numpy.int64],
        batch_size: int,
        rates: numpy.typing.NDArray[numpy.float32],
        budgets: numpy.typing.NDArray[numpy.float32],
        seed: int,
    ) -> float:
        """Trains through one epoch in the given order; returns the mean loss."""
    @property
    def updates(self) -> int: ...

def add_table(table: typing_extensions.CapsuleType) -> str:
    """Registers the table of a device, which its module hands over; returns its name."""

@typing.overload
def apgd(
    model: Model,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """Auto-PGD; returns what pgd does."""

@typing.overload
def apgd(
    model: Foreign,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """Auto-PGD; returns what pgd does."""

@typing.overload
def boundary(
    model: Model,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """Boundary; returns as pgd does, and what stopped it."""

@typing.overload
def boundary(
    model: Foreign,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """Boundary; returns as pgd does, and what stopped it."""

@typing.overload
def carlini_wagner(
    model: Model,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """C&W; returns as pgd does."""

@typing.overload
def carlini_wagner(
    model: Foreign,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """C&W; returns as pgd does."""

def check_data(
    model: Model, x: numpy.typing.NDArray[typing.Any], y: numpy.typing.NDArray[typing.Any], loss: str
) -> None:
    """Raises unless all rows and labels can be trained on."""

def check_guards(on: bool) -> bool:
    """Puts guard bytes and poison around every workspace buffer."""

def copy_bandwidth(threads: int, seconds: float) -> float:
    """GB/s read and written by copies larger than the caches."""

@typing.overload
def ddn(
    model: Model,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """DDN; returns as pgd does."""

@typing.overload
def ddn(
    model: Foreign,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """DDN; returns as pgd does."""

@typing.overload
def deepfool(
    model: Model,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """DeepFool; returns as pgd does."""

@typing.overload
def deepfool(
    model: Foreign,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """DeepFool; returns as pgd does."""

@typing.overload
def ead(
    model: Model,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """EAD; returns as pgd does."""

@typing.overload
def ead(
    model: Foreign,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """EAD; returns as pgd does."""

def executor() -> str:
    """Who runs the slabs: openmp, threads or serial."""

@typing.overload
def fab(
    model: Model,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """FAB and FAB-T; returns as pgd does."""

@typing.overload
def fab(
    model: Foreign,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """FAB and FAB-T; returns as pgd does."""

@typing.overload
def flip(
    model: Model,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """Features added or deleted one by one; returns as pgd does."""

@typing.overload
def flip(
    model: Foreign,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """Features added or deleted one by one; returns as pgd does."""

def fma_peak(threads: int, seconds: float) -> float:
    """GFLOP/s of independent fused multiply-adds in registers."""

@typing.overload
def fmn(
    model: Model,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """FMN; returns as pgd does."""

@typing.overload
def fmn(
    model: Foreign,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """FMN; returns as pgd does."""

@typing.overload
def hop_skip_jump(
    model: Model,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """HopSkipJump; returns as pgd does, and what stopped it."""

@typing.overload
def hop_skip_jump(
    model: Foreign,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """HopSkipJump; returns as pgd does, and what stopped it."""

@typing.overload
def jsma(
    model: Model,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """JSMA; returns as pgd does."""

@typing.overload
def jsma(
    model: Foreign,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """JSMA; returns as pgd does."""

def lanes() -> int:
    """Floats per vector of the table in force."""

@typing.overload
def lbfgs(
    model: Model,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """L-BFGS within the box; returns as pgd does."""

@typing.overload
def lbfgs(
    model: Foreign,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """L-BFGS within the box; returns as pgd does."""

def linear_exact(
    model: Model,
    x: numpy.typing.NDArray[typing.Any],
    y: numpy.typing.NDArray[typing.Any],
    eps: typing.Any,
    norm: str,
    box: Box,
) -> tuple[typing.Any, ...]:
    """Worst points of a linear model: (x_adv, distance, margin)."""

@typing.overload
def linear_minimum(
    model: Model,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """Nearest points of linear models; returns as pgd does."""

@typing.overload
def linear_minimum(
    model: Foreign,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """Nearest points of linear models; returns as pgd does."""

@typing.overload
def momentum_pgd(
    model: Model,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """The gradient loop along averages of gradients; returns what pgd does."""

@typing.overload
def momentum_pgd(
    model: Foreign,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """The gradient loop along averages of gradients; returns what pgd does."""

@typing.overload
def newton_fool(
    model: Model,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """NewtonFool; returns as pgd does."""

@typing.overload
def newton_fool(
    model: Foreign,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """NewtonFool; returns as pgd does."""

@typing.overload
def pgd(
    model: Model,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """The gradient loop: (x_adv, success, distance, queries, loss, zero_gradient, trace or None)."""

@typing.overload
def pgd(
    model: Foreign,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """The gradient loop: (x_adv, success, distance, queries, loss, zero_gradient, trace or None)."""

@typing.overload
def pointwise(
    model: Model,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """Pointwise; returns as pgd does, and what stopped it."""

@typing.overload
def pointwise(
    model: Foreign,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """Pointwise; returns as pgd does, and what stopped it."""

def project(
    x_adv: numpy.typing.NDArray[typing.Any] | DeviceArray,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    eps: typing.Any,
    norm: str,
    box: Box,
) -> None:
    """Projects x_adv onto the ball around x within the box; in place."""

def read_dlpack(capsule: typing_extensions.CapsuleType) -> tuple[typing.Any, ...]:
    """(address, dtype as NumPy names it or '', shape, strides in elements or None) of a DLPack capsule."""

def set_share_all(on: bool) -> bool:
    """Lets threads share work however small it is; returns what was so before."""

def set_slab_rows(rows: int) -> int:
    """Fixes the rows of a slab (0: from the cache size)."""

def set_threads(threads: int) -> int:
    """Fixes the number of threads (0: as OpenMP says); returns the number before."""

def sign_step(
    x_adv: numpy.typing.NDArray[typing.Any] | DeviceArray,
    grad: numpy.typing.NDArray[typing.Any] | DeviceArray,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    step_size: typing.Any,
    eps: typing.Any,
    box: Box,
) -> None:
    """x_adv <- x_adv + step_size * sign(grad), into ball and box; in place."""

@typing.overload
def square(
    model: Model,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """Random search by squares; returns what pgd does."""

@typing.overload
def square(
    model: Foreign,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """Random search by squares; returns what pgd does."""

def table() -> str:
    """Name of the table in force."""

def tables() -> list[str]:
    """Names of the tables this machine can run, slowest first."""

def threads() -> int:
    """Threads a call may use now."""

def uniform(count: int, lo: float, hi: float, seed: int, id: int) -> numpy.typing.NDArray[numpy.float32]:
    """Philox uniforms in [lo, hi), float32; the same on every table up to the last rounding."""

def use_table(name: str) -> str:
    """Puts another table in force and returns the name of the one before."""

@typing.overload
def virtual_adversarial(
    model: Model,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """The direction of virtual adversarial training; returns what pgd does."""

@typing.overload
def virtual_adversarial(
    model: Foreign,
    x: numpy.typing.NDArray[typing.Any] | DeviceArray,
    y: numpy.typing.NDArray[typing.Any] | DeviceArray,
    options: dict[str, typing.Any],
) -> tuple[typing.Any, ...]:
    """The direction of virtual adversarial training; returns what pgd does."""
