"""Whatever people evaluate, as a model or a label source of epsball."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import numpy as np

from epsball.arrays import Array
from epsball.classifier import Classifier
from epsball.sources.base import LabelSource
from epsball.sources.label_oracle import LabelOracle


def any_model(model: Any, x: Array, name: str = "model") -> Any:
    """Return the model of inputs such as x (N, ...) that stands for `model`.

    epsball's models and sources stand for themselves; a torch module is lowered where `epsball.from_torch` can, else
    taken as it is; a scikit-learn classifier becomes what `epsball.from_sklearn` makes of it, and one that it does not
    know gives labels only, the indices of its classes.

    Raises
    ------
    TypeError
        It is none of these; the message has `name`.
    """
    if isinstance(model, Classifier | LabelSource):
        return model
    torch, base = sys.modules.get("torch"), sys.modules.get("sklearn.base")
    if torch is not None and isinstance(model, torch.nn.Module):
        from epsball.interop.following import Followed

        return Followed(model).model(x)
    if base is not None and isinstance(model, base.BaseEstimator):
        return _of_estimator(model)
    raise TypeError(
        f"{name}: wanted an epsball model or source, a torch nn.Module or a scikit-learn classifier, "
        f"got {type(model).__name__}"
    )


def _of_estimator(estimator: Any) -> Any:
    from epsball.interop.sklearn import from_sklearn

    try:
        return from_sklearn(estimator)
    except ValueError:
        classes = getattr(estimator, "classes_", None)
        if classes is None:  # not fitted: what from_sklearn said is the error
            raise

    return LabelOracle(partial(_predict, estimator), classes=len(classes))


def _predict(estimator: Any, x: Array) -> Any:
    return np.searchsorted(estimator.classes_, estimator.predict(x.reshape(len(x), -1)))
