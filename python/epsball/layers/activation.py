"""Element-wise activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from epsball.arguments import FLOAT32, number, settle, whole
from epsball.layers.base import Description, Layer, Shape, features_of


@dataclass(frozen=True)
class Activation(Layer):
    """Base of the activations, which keep the shape."""

    name: ClassVar[str]

    def native(self, shape: Shape) -> Description:
        """Return the engine's description of this layer on inputs of `shape`."""
        return (self.name, features_of(shape), self._parameter())

    def _parameter(self) -> float:
        return 0.0


@dataclass(frozen=True)
class ReLU(Activation):
    """max(x, 0); derivative 0 at 0."""

    name = "relu"


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """x for x > 0, slope · x below.

    Parameters
    ----------
    slope
        Positive.
    """

    name = "leaky_relu"
    slope: float = 0.01

    def __post_init__(self) -> None:
        # The derivative is read off the output's sign, which a negative slope would turn round.
        settle(self, slope=number("slope", self.slope, float(FLOAT32.tiny), float(FLOAT32.max)))

    def _parameter(self) -> float:
        return self.slope


@dataclass(frozen=True)
class ELU(Activation):
    """x for x > 0, alpha (exp(x) − 1) below (Clevert et al. 2016, arXiv 1511.07289).

    Parameters
    ----------
    alpha
        Positive.
    """

    name = "elu"
    alpha: float = 1.0

    def __post_init__(self) -> None:
        settle(self, alpha=number("alpha", self.alpha, float(FLOAT32.tiny), float(FLOAT32.max)))

    def _parameter(self) -> float:
        return self.alpha


@dataclass(frozen=True)
class Sigmoid(Activation):
    """1 / (1 + exp(−x))."""

    name = "sigmoid"


@dataclass(frozen=True)
class Tanh(Activation):
    """Hyperbolic tangent."""

    name = "tanh"


@dataclass(frozen=True)
class Softplus(Activation):
    """log(1 + exp(x))."""

    name = "softplus"


@dataclass(frozen=True)
class GELU(Activation):
    """x Φ(x) with the exact normal distribution function, to 1e-7 (Hendrycks and Gimpel 2016, arXiv 1606.08415)."""

    name = "gelu"


@dataclass(frozen=True)
class Quadratic(Activation):
    """x²."""

    name = "quadratic"


@dataclass(frozen=True)
class Exp(Activation):
    """exp(x): what makes Gaussian units of `RBF`."""

    name = "exp"


@dataclass(frozen=True)
class Power(Activation):
    """x to a whole power: what makes polynomial kernels of `Linear`.

    Parameters
    ----------
    degree
        From 0 to 64.
    """

    name = "power"
    degree: int = 3

    def __post_init__(self) -> None:
        settle(self, degree=whole("degree", self.degree, 0, 64))

    def _parameter(self) -> float:
        return float(self.degree)


# What `models.mlp` takes by name.
ACTIVATIONS: dict[str, type[Activation]] = {
    kind.name: kind for kind in (ReLU, LeakyReLU, ELU, Sigmoid, Tanh, Softplus, GELU, Quadratic)
}
