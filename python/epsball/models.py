"""The model families of the lectures, ready to train."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from epsball.layers import ACTIVATIONS, Dropout, Layer, Linear, positive
from epsball.model import Sequential

__all__ = ["linear", "mlp"]


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
    ValueError
        `features` or `classes` is not a positive integer.
    """
    features, classes = positive("features", features), positive("classes", classes)
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
    ValueError
        Fewer than two sizes, a size that is not positive, an unknown activation, a dropout outside [0, 1).

    Examples
    --------
    >>> import epsball as eb
    >>> model = eb.models.mlp([784, 256, 256, 10], activation="relu")
    """
    widths = [positive("sizes", n) for n in sizes]
    if len(widths) < 2:
        raise ValueError(f"sizes: wanted at least the features and the classes, got {sizes!r}")
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation: wanted one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout: wanted a share in [0, 1), got {dropout}")
    layers: list[Layer] = []
    for i, (wide, narrow) in enumerate(pairwise(widths)):
        layers.append(Linear(wide, narrow))
        if i + 2 == len(widths):
            continue
        layers.append(ACTIVATIONS[activation]())
        if dropout:
            layers.append(Dropout(dropout))
    return Sequential(layers, input_shape=(widths[0],), seed=seed)
