"""The model families of the lectures, ready to train."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball import _native
from epsball.arguments import BELOW_ONE, FLOAT32, check_seed, number, one_of, pair, whole
from epsball.arrays import as_numpy
from epsball.layers import (
    ACTIVATIONS,
    RBF,
    Conv2d,
    Dropout,
    Exp,
    Flatten,
    Layer,
    Linear,
    Maxout,
    OneVsOne,
    Power,
    ReLU,
    Tanh,
)
from epsball.model import Sequential

__all__ = ["cnn", "kernel_svm", "linear", "mlp", "rbf"]

Floats = npt.NDArray[np.float64]
KERNELS = ("linear", "poly", "rbf", "sigmoid")


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


def mlp(
    sizes: Sequence[int], activation: str = "relu", dropout: float = 0.0, seed: int = 0, pieces: int = 5
) -> Sequential:
    """Return a multi-layer perceptron.

    Parameters
    ----------
    sizes
        Features, hidden widths, classes: ``[784, 256, 256, 10]``.
    activation
        Of the hidden layers: relu, leaky_relu, elu, sigmoid, tanh, softplus, gelu, quadratic or maxout.
    dropout
        Share of each hidden layer's outputs dropped while training.
    seed
        Of the initial weights.
    pieces
        Of each maxout unit; nothing to the other activations.

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
    one_of("activation", activation, [*ACTIVATIONS, "maxout"])
    dropout, pieces = number("dropout", dropout, 0, BELOW_ONE), whole("pieces", pieces, 1)
    layers: list[Layer] = []
    for wide, narrow in pairwise(widths[:-1]):
        if activation == "maxout":
            layers += [Linear(wide, narrow * pieces), Maxout(pieces)]
        else:
            layers += [Linear(wide, narrow), ACTIVATIONS[activation]()]
        if dropout:
            layers.append(Dropout(dropout))
    layers.append(Linear(widths[-2], widths[-1]))
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


def rbf(features: int, classes: int, units: int | None = None, data: Any = None, seed: int = 0) -> Sequential:
    """Return a network of radial basis functions.

    Without `units` it is the shallow one of Goodfellow et al. (2015, arXiv 1412.6572): the confidence in class k is
    p_k = exp((x − μ_k)ᵀ β_k (x − μ_k)), β_k diagonal and never positive, by itself and not normalised. Train it with
    ``eb.fit(model, x, y, loss="confidence")``; its logits are log p_k and `probabilities` gives p_k. With `units` it is
    a hidden layer of Gaussian units exp(−γ_j ‖x − c_j‖²), γ_j a square, under a softmax: any loss trains it.

    Parameters
    ----------
    features
        Per input.
    classes
        At least 2; with `units`, 1 makes a logistic model.
    units
        Hidden units; None: one per class and nothing above.
    data
        Pair (x, y) to start from: centres at the classes' means (with `units`: at random rows) and widths of the
        spread found there. None: centres uniform in [0, 1].
    seed
        Of the initial weights.

    Returns
    -------
    Sequential
        `RBF`, or `RBF`, `Exp` and `Linear`.

    Raises
    ------
    ValueError, TypeError
        A size is not a positive integer, `data` does not fit, has too few rows, or lacks a class.

    Examples
    --------
    >>> import epsball as eb
    >>> x, y = eb.datasets.load("mnist-subset", split="train")
    >>> model = eb.models.rbf(784, 10, data=(x, y))
    """
    features, seed = whole("features", features, 1), check_seed(seed)
    if units is None:
        classes = whole("classes", classes, 2)
        model = Sequential([RBF(features, classes, diagonal=True)], input_shape=(features,), seed=seed)
    else:
        classes, units = whole("classes", classes, 1), whole("units", units, 1)
        layers = [RBF(features, units), Exp(), Linear(units, classes)]
        model = Sequential(layers, input_shape=(features,), seed=seed)
    if data is not None:
        rows, labels = _rows_and_labels(data, features)
        centre, scale = _at_classes(rows, labels, classes) if units is None else _at_rows(rows, units, seed)
        start = model.parameters()
        start["0.centre"] = centre.astype(np.float32)
        start["0.scale"] = np.broadcast_to(scale, start["0.scale"].shape).astype(np.float32)
        model.load_parameters(start)
    return model


def _rows_and_labels(data: Any, features: int) -> tuple[Floats, npt.NDArray[Any]]:
    x, y = (as_numpy("data", a) for a in pair("data", data))
    if x.ndim < 2 or x.size != len(x) * features or x.dtype.kind != "f" or not np.isfinite(x).all():
        raise ValueError(
            f"data: wanted finite floating-point inputs (N, ...) of {features} features, got {x.dtype} {x.shape}"
        )
    if y.shape != (len(x),) or y.dtype.kind not in "iu":
        raise ValueError(f"data: wanted {len(x)} class indices, got {y.dtype} of shape {y.shape}")
    return x.reshape(len(x), features).astype(np.float64), y


def _at_classes(x: Floats, y: npt.NDArray[Any], classes: int) -> tuple[Floats, Floats]:
    """Return the classes' means, and scales that give their own rows a log confidence of -1/2 on average."""
    centre, scale = np.zeros((classes, x.shape[1])), np.zeros((classes, 1))
    for k in range(classes):
        own = x[y == k]
        if len(own) == 0:
            raise ValueError(f"data: wanted rows of every class from 0 to {classes - 1}, got none of class {k}")
        centre[k] = own.mean(axis=0)
        scale[k] = _scale(((own - centre[k]) ** 2).sum(axis=1).mean())
    return centre, scale


def _at_rows(x: Floats, units: int, seed: int) -> tuple[Floats, Floats]:
    """Return random rows, and a scale at which two rows are a log activation of -1 apart on average."""
    if len(x) < units:
        raise ValueError(f"data: wanted at least one row for each of {units} units, got {len(x)}")
    order = np.argsort(_native.uniform(len(x), 0.0, 1.0, seed, -1), kind="stable")
    return x[order[:units]], np.asarray(_scale(x.var(axis=0).sum()))


def _scale(square: Any) -> float:
    """Return the scale at which a squared distance of `square` is a log confidence of -1/2; 1 if it is 0."""
    return float(np.sqrt(0.5 / square)) if square > 0 else 1.0


def kernel_svm(
    support_vectors: Any,
    dual_coef: Any,
    intercept: Any,
    n_support: Any,
    kernel: str = "rbf",
    gamma: float = 1.0,
    coef0: float = 0.0,
    degree: int = 3,
) -> Sequential:
    """Return a support vector classifier with the numbers that scikit-learn's `SVC` holds.

    Parameters
    ----------
    support_vectors
        (S, features), class after class (`support_vectors_`).
    dual_coef
        (K − 1, S) (`dual_coef_`): row j − 1 or i holds the coefficients that the pair (i, j) uses.
    intercept
        (K (K − 1) / 2,), one per pair (0, 1), (0, 2), … (`intercept_`).
    n_support
        (K,), support vectors of each class (`n_support_`).
    kernel
        "linear": x·s; "poly": (γ x·s + coef0)^degree; "rbf": exp(−γ ‖x − s‖²); "sigmoid": tanh(γ x·s + coef0).
    gamma, coef0, degree
        Of the kernel (`_gamma`, `coef0`, `degree`).

    Returns
    -------
    Sequential
        For two classes one logit, the decision function, which predicts class 1 where it is positive; for more the
        scores of ``decision_function_shape="ovr"``, votes plus confidences (see `OneVsOne`), whose largest predicts
        (scikit-learn's ``break_ties=True``). A linear kernel is folded into one `Linear` layer.

    Raises
    ------
    ValueError, TypeError
        Arrays whose shapes do not fit each other, values that are not finite, an unknown kernel, a gamma below 0.

    Notes
    -----
    The parameters are float32, and so is the sum over support vectors. Training with `eb.fit` would treat them as those
    of a network; it does not solve the SVM's dual problem.
    """
    one_of("kernel", kernel, KERNELS)
    gamma, coef0 = number("gamma", gamma, 0, float(FLOAT32.max)), number("coef0", coef0, -float(FLOAT32.max))
    degree = whole("degree", degree, 0, 64)
    vectors = _matrix("support_vectors", support_vectors, None, None)
    counts = _counts(n_support, len(vectors))
    classes = len(counts)
    dual = _matrix("dual_coef", dual_coef, classes - 1, len(vectors))
    pairs = classes * (classes - 1) // 2
    bias = _matrix("intercept", np.reshape(as_numpy("intercept", intercept), (1, -1)), 1, pairs)[0]
    weight = dual if classes == 2 else _pairwise(dual, counts)
    features, units = vectors.shape[1], len(vectors)
    layers: list[Layer]
    values: list[Floats]
    if kernel == "linear":
        layers, values = [Linear(features, pairs)], [weight @ vectors]
    elif kernel == "rbf":
        layers = [RBF(features, units), Exp(), Linear(units, pairs)]
        values = [vectors, np.full(units, np.sqrt(gamma)), weight]
    else:
        layers = [Linear(features, units), Power(degree) if kernel == "poly" else Tanh(), Linear(units, pairs)]
        values = [gamma * vectors, np.full(units, coef0), weight]
    if classes > 2:
        layers.append(OneVsOne(classes))
    model = Sequential(layers, input_shape=(features,))
    model.load_parameters(dict(zip(model.parameters(), [*values, bias], strict=True)))
    return model


def _matrix(name: str, value: Any, rows: int | None, columns: int | None) -> Floats:
    a = as_numpy(name, value)
    if a.dtype.kind not in "fiu":
        raise TypeError(f"{name}: wanted numbers, got an array of {a.dtype}")
    a = a.astype(np.float64)
    fits = a.ndim == 2 and a.size > 0 and rows in (None, a.shape[0]) and columns in (None, a.shape[1])
    if not fits or not np.isfinite(a).all():
        wanted = ", ".join("any" if n is None else str(n) for n in (rows, columns))
        raise ValueError(f"{name}: wanted finite values of shape ({wanted}), got {a.dtype} of shape {a.shape}")
    return a


def _counts(n_support: Any, vectors: int) -> list[int]:
    counts = [whole("n_support", n, 0) for n in as_numpy("n_support", n_support).ravel()]
    if len(counts) < 2 or sum(counts) != vectors:
        raise ValueError(f"n_support: wanted counts of at least two classes that sum to {vectors}, got {counts}")
    return counts


def _pairwise(dual: Floats, counts: list[int]) -> Floats:
    """Return the coefficients (pairs, S) of every pair, from rows that serve several."""
    ends = np.cumsum(counts)
    own = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
    weight = []
    for i, j in combinations(range(len(counts)), 2):
        row = np.zeros(dual.shape[1])
        row[own[i]], row[own[j]] = dual[j - 1, own[i]], dual[i, own[j]]
        weight.append(row)
    return np.stack(weight)
