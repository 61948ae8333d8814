"""Models and label sources from scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from epsball.layers import Layer, Linear, Quadratic, ReLU, Sigmoid, Tanh
from epsball.model import Sequential
from epsball.models import kernel_svm

if TYPE_CHECKING:
    from epsball.sources import KNN, Trees

__all__ = ["from_sklearn"]

Values: TypeAlias = npt.NDArray[np.float64]
Dense: TypeAlias = tuple[Values, Values]  # weight (out, in) and bias (out,) of a Linear
Network: TypeAlias = list[Dense | Layer]  # starts with a Dense
Affine: TypeAlias = tuple[Values, Values]  # (centre, factor) of (x − centre) · factor

FOLDED = 4.0  # a centre of more scales than this is subtracted by a layer of its own: 2 bits are what folding may cost
HIDDEN: dict[str, type[Layer] | None] = {"identity": None, "logistic": Sigmoid, "tanh": Tanh, "relu": ReLU}


def from_sklearn(estimator: Any) -> Sequential | Trees | KNN:
    """Return the epsball model, or label source, of a fitted scikit-learn classifier.

    Class k of the result is ``estimator.classes_[k]``: labels go in and come out as indices, whatever the estimator
    calls its classes. Two classes with one decision value become a model of one logit, whose labels are 0 and 1.

    Parameters
    ----------
    estimator
        One of these, or a `Pipeline` of `StandardScaler` and `MinMaxScaler` that ends in one of the models:

        - linear models: `LogisticRegression`, `LogisticRegressionCV`, `LinearSVC`, `SGDClassifier`, `Perceptron`,
          `RidgeClassifier`, `RidgeClassifierCV`, and `OneVsRestClassifier` of these. Logits are the decision values.
          Trained one class against the rest, scikit-learn's probabilities are normalised sigmoids of these, not the
          softmax that `Sequential.probabilities` returns; predictions agree.
        - `MLPClassifier`. Logits are what its last layer has before softmax or sigmoid.
        - `GaussianNB`, `QuadraticDiscriminantAnalysis`, exactly: a Linear layer that whitens for each class, squares,
          and a Linear layer that sums them. Logits are the joint log-likelihoods log p(x, k) (QDA: up to a constant).
          K · d hidden units for K classes and d features.
        - `SVC`, `NuSVC` with any kernel but a callable or precomputed one (see `models.kernel_svm`). Of more than two
          classes the logits are the decision values of shape "ovr", which break ties between votes; scikit-learn
          itself breaks them so only with ``break_ties=True``.
        - label sources, which predict without a gradient: `DecisionTreeClassifier`, `ExtraTreeClassifier`,
          `RandomForestClassifier`, `ExtraTreesClassifier`, `GradientBoostingClassifier`,
          `HistGradientBoostingClassifier`, `KNeighborsClassifier` (see `sources`). Predictions are the same
          for every input but where neighbours tie, as `sources.KNN` describes.

    Returns
    -------
    Sequential, Trees or KNN
        A copy in float32; trees and neighbours keep scikit-learn's own numbers. Scalers are folded into the first
        layer, in float64; where a centre lies more than 4 scales from zero, float32 would lose digits, and a Linear
        layer of its own subtracts it first.

    Raises
    ------
    ImportError
        scikit-learn is not installed.
    TypeError
        `estimator` is no scikit-learn estimator.
    ValueError
        It is not fitted, or has no counterpart here; the message names it.
    """
    from epsball.interop.sklearn_sources import source_of

    front, last = _unchained(estimator)
    _require_fitted(last)
    source = source_of(last)
    if source is not None:
        if front:
            raise _refusal(last, f"behind a {type(front[-1]).__name__}, whose rounding its predictions would depend on")
        return source
    machine = _support_vectors(last)
    if machine is not None and not front:
        return machine
    network: Network = _network(last) if machine is None else [_identity(last.n_features_in_)]
    for scaler in reversed(front):
        _require_fitted(scaler)
        network = _behind(_affine(scaler), network)
    return _sequential(network, machine)


def _refusal(estimator: Any, why: str) -> ValueError:
    return ValueError(f"estimator: {type(estimator).__name__} {why} has no counterpart in this version of epsball")


def _unchained(estimator: Any) -> tuple[list[Any], Any]:
    """Return the scalers in order, and the classifier."""
    from sklearn.base import BaseEstimator
    from sklearn.pipeline import Pipeline

    if not isinstance(estimator, BaseEstimator) or isinstance(estimator, type):
        raise TypeError(f"estimator: wanted a scikit-learn estimator, got {type(estimator).__name__}")
    if type(estimator) is not Pipeline:
        return [], estimator
    chain: list[Any] = []
    for _, step in estimator.steps:
        if step is not None and step != "passthrough":
            front, last = _unchained(step)
            chain += [*front, last]
    if not chain:
        raise ValueError("estimator: wanted a Pipeline that ends in a classifier, got one without steps")
    return chain[:-1], chain[-1]


def _require_fitted(estimator: Any) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except NotFittedError:
        raise ValueError(f"estimator: wanted a fitted {type(estimator).__name__}, got one that is not") from None


# ---- scalers


def _affine(scaler: Any) -> Affine:
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    zeros, ones = np.zeros(scaler.n_features_in_), np.ones(scaler.n_features_in_)
    if type(scaler) is StandardScaler:
        centre = np.asarray(scaler.mean_, np.float64) if scaler.with_mean else zeros
        return centre, 1.0 / np.asarray(scaler.scale_, np.float64) if scaler.with_std else ones
    if type(scaler) is MinMaxScaler:
        if scaler.clip:
            raise _refusal(scaler, "with clip=True")
        factor = np.asarray(scaler.scale_, np.float64)
        return -np.asarray(scaler.min_, np.float64) / factor, factor
    raise _refusal(scaler, "in front of a classifier")


def _identity(features: int) -> Dense:
    return np.eye(features), np.zeros(features)


def _behind(affine: Affine, network: Network) -> Network:
    """Return the network of (x − centre) · factor as a network of x."""
    centre, factor = affine
    first, *rest = network
    assert isinstance(first, tuple)
    weight, bias = first[0] * factor, first[1]
    if (np.abs(centre * factor) <= FOLDED).all():
        return [(weight, bias - weight @ centre), *rest]
    # x − c rounds once for a float32 c; what c misses of the centre stays in the bias.
    c = centre.astype(np.float32).astype(np.float64)
    return [(np.eye(len(c)), -c), (weight, bias - weight @ (centre - c)), *rest]


def _sequential(network: Network, rest: Sequential | None = None) -> Sequential:
    """Return the network, with the layers of `rest` after its own."""
    layers: list[Layer] = []
    values: dict[str, npt.NDArray[np.float32]] = {}
    for i, part in enumerate(network):
        if isinstance(part, Layer):
            layers.append(part)
            continue
        weight, bias = part
        layers.append(Linear(weight.shape[1], weight.shape[0]))
        with np.errstate(over="ignore"):  # load_parameters names what is not finite
            values |= {f"{i}.weight": weight.astype(np.float32), f"{i}.bias": bias.astype(np.float32)}
    assert isinstance(layers[0], Linear)
    if rest is not None:
        for full_name, value in rest.parameters().items():
            place, name = full_name.split(".", 1)
            values[f"{len(network) + int(place)}.{name}"] = value
        layers += rest.layers
    model = Sequential(layers, (layers[0].in_features,))
    model.load_parameters(values)
    return model


# ---- classifiers


def _network(estimator: Any) -> Network:
    """Return the layers that compute the estimator's logits."""
    from sklearn import discriminant_analysis, linear_model, multiclass, naive_bayes, neural_network, svm

    linear = (
        linear_model.LogisticRegression, linear_model.LogisticRegressionCV, linear_model.SGDClassifier,
        linear_model.Perceptron, linear_model.RidgeClassifier, linear_model.RidgeClassifierCV, svm.LinearSVC,
    )  # fmt: skip
    converters: dict[type, Callable[[Any], Network]] = {
        **dict.fromkeys(linear, _linear),
        multiclass.OneVsRestClassifier: _one_vs_rest,
        neural_network.MLPClassifier: _mlp,
        naive_bayes.GaussianNB: _gaussian_nb,
        discriminant_analysis.QuadraticDiscriminantAnalysis: _qda,
    }
    if type(estimator) not in converters:
        raise ValueError(
            f"estimator: {type(estimator).__name__} has no counterpart in this version of epsball; wanted one of "
            f"{', '.join(sorted(kind.__name__ for kind in converters))}, SVC, NuSVC, a tree ensemble or "
            "KNeighborsClassifier"
        )
    return converters[type(estimator)](estimator)


def _linear(estimator: Any) -> Network:
    coef, intercept = estimator.coef_, estimator.intercept_
    if not isinstance(coef, np.ndarray):
        raise _refusal(estimator, "with sparse coefficients (densify() makes them dense)")
    binarizer = getattr(estimator, "_label_binarizer", None)  # of RidgeClassifier
    if binarizer is not None and binarizer.y_type_.startswith("multilabel"):
        raise _refusal(estimator, "with several labels per row")
    weight = np.atleast_2d(np.asarray(coef, np.float64))
    return [(weight, np.broadcast_to(np.asarray(intercept, np.float64), len(weight)).copy())]


def _one_vs_rest(estimator: Any) -> Network:
    if estimator.label_binarizer_.y_type_.startswith("multilabel"):
        raise _refusal(estimator, "with several labels per row")
    parts: list[Dense] = []
    for each in estimator.estimators_:
        network = _network(each)
        if len(network) != 1 or not isinstance(network[0], tuple):
            raise _refusal(estimator, f"of {type(each).__name__}")
        parts.append(network[0])
    return [(np.concatenate([w for w, _ in parts]), np.concatenate([b for _, b in parts]))]


def _mlp(estimator: Any) -> Network:
    if estimator.out_activation_ == "logistic" and estimator.n_outputs_ > 1:
        raise _refusal(estimator, "with several labels per row")
    hidden = HIDDEN[estimator.activation]
    network: Network = []
    for weight, bias in zip(estimator.coefs_, estimator.intercepts_, strict=True):
        if network and hidden is not None:
            network.append(hidden())
        network.append((np.asarray(weight, np.float64).T, np.asarray(bias, np.float64)))
    return network


def _gaussian_nb(estimator: Any) -> Network:
    deviations = np.sqrt(np.asarray(estimator.var_, np.float64))
    constants = np.log(_priors(estimator, estimator.class_prior_)) - np.log(2 * np.pi * deviations**2).sum(axis=1) / 2
    return _gaussians(np.asarray(estimator.theta_, np.float64), [np.diag(1.0 / s) for s in deviations], constants)


def _qda(estimator: Any) -> Network:
    whitening = [(r * s**-0.5).T for r, s in zip(estimator.rotations_, estimator.scalings_, strict=True)]
    spreads = np.array([np.log(s).sum() for s in estimator.scalings_])
    constants = np.log(_priors(estimator, estimator.priors_)) - spreads / 2
    return _gaussians(np.asarray(estimator.means_, np.float64), whitening, constants)


def _priors(estimator: Any, priors: Any) -> Values:
    values = np.asarray(priors, np.float64)
    if not (values > 0).all():
        raise _refusal(estimator, "with a class of prior probability 0")
    return values


def _gaussians(means: Values, whitening: list[Values], constants: Values) -> Network:
    """Return the network of constant_k − ‖whitening_k (x − mean_k)‖² / 2.

    Its squares only add up, so that float32 loses digits in x − mean_k alone: this runs on standardised inputs.
    """
    classes = len(means)
    centre = means.mean(axis=0)
    scale = np.stack([np.linalg.norm(w, axis=0) for w in whitening]).max(axis=0)  # of the narrowest class
    first = np.concatenate([w / scale for w in whitening])
    shift = np.concatenate([-w @ (mean - centre) for w, mean in zip(whitening, means, strict=True)])
    sums = np.repeat(np.eye(classes), [len(w) for w in whitening], axis=1)
    return _behind((centre, scale), [(first, shift), Quadratic(), (-0.5 * sums, constants)])


def _support_vectors(estimator: Any) -> Sequential | None:
    """Return the model of a support vector machine, or None if it is none."""
    from sklearn.svm import SVC, NuSVC

    if type(estimator) not in (SVC, NuSVC):
        return None
    if estimator.kernel not in ("linear", "poly", "rbf", "sigmoid"):
        raise _refusal(estimator, f"with the kernel {estimator.kernel!r}")
    if not isinstance(estimator.dual_coef_, np.ndarray):
        raise _refusal(estimator, "with sparse support vectors")
    return kernel_svm(
        estimator.support_vectors_, estimator.dual_coef_, estimator.intercept_, estimator.n_support_, estimator.kernel,
        float(estimator._gamma), float(estimator.coef0), int(estimator.degree),
    )  # fmt: skip
