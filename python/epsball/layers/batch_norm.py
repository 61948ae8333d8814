"""Batch normalisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from epsball.arguments import FLOAT32, number, settle, whole
from epsball.layers.base import Description, Draw, Layer, Shape, Values, image_of


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Base of the batch normalisations (Ioffe and Szegedy 2015, arXiv 1502.03167)."""

    num_features: int
    eps: float = 1e-5
    momentum: float = 0.1

    def __post_init__(self) -> None:
        settle(
            self,
            num_features=whole("num_features", self.num_features, 1),
            eps=number("eps", self.eps, float(FLOAT32.tiny), float(FLOAT32.max)),
            momentum=number("momentum", self.momentum, 0, 1),
        )

    def initial(self, name: str, draw: Draw) -> Values:
        """Return weight 1, bias 0, running mean 0 and variance 1."""
        value = 1 if name in ("weight", "running_var") else 0
        return np.full(self.num_features, value, np.float32)


@dataclass(frozen=True)
class BatchNorm1d(BatchNorm):
    """Normalise each feature by the batch's mean and variance while training, by their running means otherwise.

    Attacks, predictions and gradients outside training use the running means, folded into the layer below where that
    is a `Linear`. `eb.fit` refuses batches of a single row.

    Parameters
    ----------
    num_features
        Features of a row.
    eps
        Added to the variance.
    momentum
        Share of a batch in the running means.
    """

    def native(self, shape: Shape) -> Description:
        """Return the engine's description of this layer on inputs of `shape`."""
        if shape != (self.num_features,):
            raise ValueError(f"takes {self.num_features} features, but gets shape {shape}")
        return ("batch_norm", (self.num_features, 1, 1), self.eps, self.momentum)


@dataclass(frozen=True)
class BatchNorm2d(BatchNorm):
    """Normalise each channel of images by the batch's mean and variance while training, by running means otherwise.

    Attacks, predictions and gradients outside training use the running means, folded into the layer below where that
    is a `Conv2d`.

    Parameters
    ----------
    num_features
        Channels.
    eps
        Added to the variance.
    momentum
        Share of a batch in the running means.
    """

    def native(self, shape: Shape) -> Description:
        """Return the engine's description of this layer on inputs of `shape`."""
        if image_of(shape)[0] != self.num_features:
            raise ValueError(f"takes images of {self.num_features} channels, but gets shape {shape}")
        return ("batch_norm", shape, self.eps, self.momentum)
