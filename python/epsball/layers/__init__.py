"""Layers as their users write them: frozen descriptions that a model turns into native ones."""

from epsball.layers.activation import (
    ACTIVATIONS,
    ELU,
    GELU,
    Exp,
    LeakyReLU,
    Power,
    Quadratic,
    ReLU,
    Sigmoid,
    Softplus,
    Tanh,
)
from epsball.layers.base import LAYERS, Layer
from epsball.layers.batch_norm import BatchNorm1d, BatchNorm2d
from epsball.layers.conv2d import Conv2d
from epsball.layers.dropout import Dropout
from epsball.layers.flatten import Flatten
from epsball.layers.linear import Linear
from epsball.layers.maxout import Maxout
from epsball.layers.normalize import Normalize
from epsball.layers.one_vs_one import OneVsOne
from epsball.layers.pool2d import AvgPool2d, MaxPool2d
from epsball.layers.rbf import RBF
from epsball.layers.residual import Residual

__all__ = [
    "ACTIVATIONS",
    "ELU",
    "GELU",
    "LAYERS",
    "RBF",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "Dropout",
    "Exp",
    "Flatten",
    "Layer",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "Maxout",
    "Normalize",
    "OneVsOne",
    "Power",
    "Quadratic",
    "ReLU",
    "Residual",
    "Sigmoid",
    "Softplus",
    "Tanh",
]
