"""Layers as their users write them: frozen descriptions that a model turns into native ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from epsball.arguments import BELOW_ONE, FLOAT32, flag, number, settle, whole


@dataclass(frozen=True)
class Linear:
    """y = x Wᵀ + b.

    Parameters
    ----------
    in_features, out_features
        Widths of a row before and after.
    bias
        Whether b is there.
    """

    in_features: int
    out_features: int
    bias: bool = True

    def __post_init__(self) -> None:
        settle(
            self,
            in_features=whole("in_features", self.in_features, 1),
            out_features=whole("out_features", self.out_features, 1),
            bias=flag("bias", self.bias),
        )

    def native(self, features: int) -> tuple[Any, ...]:
        """Return the engine's description of this layer on `features` inputs."""
        if features != self.in_features:
            raise ValueError(f"takes {self.in_features} features, but gets {features}")
        return ("linear", self.in_features, self.out_features, self.bias)


@dataclass(frozen=True)
class Flatten:
    """(C, H, W) to C·H·W, channels first; costs nothing."""

    def native(self, features: int) -> tuple[Any, ...]:
        """Return the engine's description of this layer on `features` inputs."""
        return ("flatten", features)


@dataclass(frozen=True)
class Dropout:
    """Drop each value with probability `p` while training and scale the others by 1 / (1 − p) (Srivastava et al. 2014).

    Predictions, attacks and gradients outside training see every value.

    Parameters
    ----------
    p
        In [0, 1).
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        settle(self, p=number("p", self.p, 0, BELOW_ONE))

    def native(self, features: int) -> tuple[Any, ...]:
        """Return the engine's description of this layer on `features` inputs."""
        return ("dropout", features, self.p)


@dataclass(frozen=True)
class _Activation:
    name: ClassVar[str]

    def native(self, features: int) -> tuple[Any, ...]:
        """Return the engine's description of this layer on `features` inputs."""
        return (self.name, features, self._parameter())

    def _parameter(self) -> float:
        return 0.0


@dataclass(frozen=True)
class ReLU(_Activation):
    """max(x, 0); derivative 0 at 0."""

    name = "relu"


@dataclass(frozen=True)
class LeakyReLU(_Activation):
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
class ELU(_Activation):
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
class Sigmoid(_Activation):
    """1 / (1 + exp(−x))."""

    name = "sigmoid"


@dataclass(frozen=True)
class Tanh(_Activation):
    """Hyperbolic tangent."""

    name = "tanh"


@dataclass(frozen=True)
class Softplus(_Activation):
    """log(1 + exp(x))."""

    name = "softplus"


@dataclass(frozen=True)
class GELU(_Activation):
    """x Φ(x) with the exact normal distribution function, to 1e-7 (Hendrycks and Gimpel 2016, arXiv 1606.08415)."""

    name = "gelu"


@dataclass(frozen=True)
class Quadratic(_Activation):
    """x²."""

    name = "quadratic"


Layer: TypeAlias = Linear | Flatten | Dropout | _Activation

ACTIVATIONS: dict[str, type[_Activation]] = {
    kind.name: kind for kind in (ReLU, LeakyReLU, ELU, Sigmoid, Tanh, Softplus, GELU, Quadratic)
}
LAYERS: dict[str, type[Any]] = {kind.__name__: kind for kind in (Linear, Flatten, Dropout, *ACTIVATIONS.values())}
