"""Trees and neighbours from scikit-learn, as label sources with its own numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from epsball.sources import KNN, Tree, Trees


def source_of(estimator: Any) -> Trees | KNN | None:
    """Return the label source of a fitted estimator, or None if it is no tree ensemble or k-NN classifier."""
    from sklearn import ensemble, neighbors, tree

    converters: dict[type, Callable[[Any], Trees | KNN]] = {
        tree.DecisionTreeClassifier: _tree,
        tree.ExtraTreeClassifier: _tree,
        ensemble.RandomForestClassifier: _forest,
        ensemble.ExtraTreesClassifier: _forest,
        ensemble.GradientBoostingClassifier: _boosting,
        ensemble.HistGradientBoostingClassifier: _histogram_boosting,
        neighbors.KNeighborsClassifier: _neighbours,
    }
    return converters[type(estimator)](estimator) if type(estimator) in converters else None


def _unsupported(estimator: Any, what: str) -> ValueError:
    return ValueError(f"estimator: {type(estimator).__name__} {what} has no counterpart in this version of epsball")


def _one_output(estimator: Any) -> None:
    if getattr(estimator, "n_outputs_", 1) != 1:
        raise _unsupported(estimator, "with several outputs")


def _nodes(tree: Any) -> Tree:
    """Return the arrays of sklearn's `Tree`."""
    leaf = tree.children_left < 0
    return Tree(
        np.where(leaf, -1, tree.feature), tree.threshold, tree.children_left, tree.children_right, tree.value[:, 0, :]
    )


def _tree(estimator: Any) -> Trees:
    _one_output(estimator)
    return Trees([_nodes(estimator.tree_)], estimator.n_features_in_, np.zeros(estimator.n_classes_))


def _forest(estimator: Any) -> Trees:
    _one_output(estimator)
    trees = [_nodes(each.tree_) for each in estimator.estimators_]
    return Trees(trees, estimator.n_features_in_, np.zeros(estimator.n_classes_), mean=True)


def _boosting(estimator: Any) -> Trees:
    from sklearn.dummy import DummyClassifier

    if estimator.init_ != "zero" and type(estimator.init_) is not DummyClassifier:
        raise _unsupported(estimator, f"with init={estimator.init_!r}")
    # What a DummyClassifier starts from is the same for every row; no public name gives it.
    start = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), np.float32))[0]
    stages, columns = estimator.estimators_.shape
    return Trees(
        [_nodes(each.tree_) for each in estimator.estimators_.ravel()],
        estimator.n_features_in_,
        start,
        columns=np.tile(np.arange(columns), stages),
        scale=estimator.learning_rate,
        decision="largest" if columns > 1 else "not_negative",
    )


def _histogram_boosting(estimator: Any) -> Trees:
    if estimator.is_categorical_ is not None and np.any(estimator.is_categorical_):
        raise _unsupported(estimator, "with categorical features")
    trees = []
    for each in (predictor for stage in estimator._predictors for predictor in stage):
        n = each.nodes
        feature = np.where(n["is_leaf"] != 0, -1, n["feature_idx"].astype(np.int64))
        trees.append(Tree(feature, n["num_threshold"], n["left"], n["right"], n["value"][:, None]))
    start = estimator._baseline_prediction.ravel()
    return Trees(
        trees,
        estimator.n_features_in_,
        start,
        columns=np.tile(np.arange(start.size), len(estimator._predictors)),
        decision="largest" if start.size > 1 else "positive",
        rounds_inputs=False,
    )


def _neighbours(estimator: Any) -> KNN:
    if estimator.outputs_2d_:
        raise _unsupported(estimator, "with several outputs")
    if not isinstance(estimator._fit_X, np.ndarray):
        raise _unsupported(estimator, "of sparse examples")
    if estimator.effective_metric_ != "euclidean":
        raise _unsupported(estimator, f"with the metric {estimator.effective_metric_!r}")
    if estimator.weights not in ("uniform", "distance"):
        raise _unsupported(estimator, f"with weights={estimator.weights!r}")
    return KNN(
        estimator._fit_X, estimator._y, estimator.n_neighbors, estimator.weights, classes=len(estimator.classes_)
    )
