"""The model families of the lectures, ready to train."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from epsball.arguments import BELOW_ONE, number, one_of, whole
from epsball.layers import ACTIVATIONS, Conv2d, Dropout, Flatten, Layer, Linear, ReLU
from epsball.model import Sequential

__all__ = ["cnn", "linear", "mlp"]


def linear(features: int, classes: int, seed: int = 0) -> Sequential:
    """Return softmax regression, or logistic regression for ``classes=1``.

    Parameters
    ----------
    features
        Per input.
    classes
        Logits; with one, labels are 0 and 1 and the sign of the logit predicts.
    seed
        Of the initial weights.

    Returns
    -------
    Sequential
        One `Linear` layer; inputs may have any shape (N, ...) with that many features per row.

    Raises
    ------
    ValueError, TypeError
        `features` or `classes` is not a positive integer, `seed` not one in [0, 2**64).
    """
    features, classes = whole("features", features, 1), whole("classes", classes, 1)
    return Sequential([Linear(features, classes)], input_shape=(features,), seed=seed)


def mlp(sizes: Sequence[int], activation: str = "relu", dropout: float = 0.0, seed: int = 0) -> Sequential:
    """Return a multi-layer perceptron.

    Parameters
    ----------
    sizes
        Features, hidden widths, classes: ``[784, 256, 256, 10]``.
    activation
        Of the hidden layers: relu, leaky_relu, elu, sigmoid, tanh, softplus, gelu or quadratic.
    dropout
        Share of each hidden layer's outputs dropped while training.
    seed
        Of the initial weights.

    Returns
    -------
    Sequential
        `Linear` layers with the activation between them; the last one gives the logits.

    Raises
    ------
    ValueError, TypeError
        Fewer than two sizes, a size that is not positive, an unknown activation, a dropout outside [0, 1).

    Examples
    --------
    >>> import epsball as eb
    >>> model = eb.models.mlp([784, 256, 256, 10], activation="relu")
    """
    try:
        given = list(sizes)
    except TypeError:
        raise TypeError(f"sizes: wanted a sequence of integers, got {sizes!r}") from None
    widths = [whole("sizes", n, 1) for n in given]
    if len(widths) < 2:
        raise ValueError(f"sizes: wanted at least the features and the classes, got {sizes!r}")
    one_of("activation", activation, ACTIVATIONS)
    dropout = number("dropout", dropout, 0, BELOW_ONE)
    layers: list[Layer] = []
    for i, (wide, narrow) in enumerate(pairwise(widths)):
        layers.append(Linear(wide, narrow))
        if i + 2 == len(widths):
            continue
        layers.append(ACTIVATIONS[activation]())
        if dropout:
            layers.append(Dropout(dropout))
    return Sequential(layers, input_shape=(widths[0],), seed=seed)


def cnn(input_shape: Sequence[int] = (1, 28, 28), classes: int = 10, seed: int = 0) -> Sequential:
    """Return the small convolutional network of fast adversarial training (Wong et al. 2020, arXiv 2001.03994).

    Parameters
    ----------
    input_shape
        (channels, height, width) of one image.
    classes
        Logits.
    seed
        Of the initial weights.

    Returns
    -------
    Sequential
        Two convolutions of 16 and 32 channels, 4 x 4 with stride 2 and padding 1, a hidden layer of 100, ReLU between.

    Raises
    ------
    ValueError, TypeError
        `input_shape` is no image of at least 4 x 4, `classes` no positive integer.
    """
    try:
        channels, height, width = (whole("input_shape", n, 1) for n in input_shape)
    except (TypeError, ValueError):
        raise ValueError(f"input_shape: wanted (channels, height, width), got {input_shape!r}") from None
    if min(height, width) < 4:
        raise ValueError(f"input_shape: wanted images of at least 4 x 4, got {input_shape!r}")
    features = prod((32, height // 2 // 2, width // 2 // 2))
    layers: list[Layer] = [
        Conv2d(channels, 16, 4, stride=2, padding=1),
        ReLU(),
        Conv2d(16, 32, 4, stride=2, padding=1),
        ReLU(),
        Flatten(),
        Linear(features, 100),
        ReLU(),
        Linear(100, whole("classes", classes, 1)),
    ]
    return Sequential(layers, input_shape=(channels, height, width), seed=seed)
