"""An epsball model as an estimator of ART, so that ART's attacks run on it; imports ART, so it is imported lazily."""

# mypy: disable-error-code="misc"

from __future__ import annotations

from typing import Any

import numpy as np
from art.estimators.classification.classifier import ClassGradientsMixin, ClassifierMixin
from art.estimators.estimator import BaseEstimator, LossGradientsMixin, NeuralNetworkMixin

from epsball.arrays import Array
from epsball.attacks.base import check_model, check_own_model
from epsball.classifier import Classifier


class EpsballClassifier(ClassGradientsMixin, ClassifierMixin, LossGradientsMixin, NeuralNetworkMixin, BaseEstimator):
    """An epsball model as ART knows classifiers: predictions, loss gradients, class gradients, training.

    Parameters
    ----------
    model
        An epsball model or a gradient source with at least two logits.
    input_shape
        Shape of one input; None: the model's own.
    nb_classes
        Logits per row; None: the model's own.
    clip_values
        (lower, upper) of the inputs, or None.

    Raises
    ------
    ImportError
        ART is not installed.
    ValueError, TypeError
        A model of one logit, or without gradients; a shape or number of classes that is not known.
    """

    estimator_params = (*BaseEstimator.estimator_params, "input_shape", "nb_classes")

    def __init__(
        self,
        model: Classifier,
        input_shape: tuple[int, ...] | None = None,
        nb_classes: int | None = None,
        clip_values: Any = None,
    ) -> None:
        check_model(model)
        shape = getattr(model, "input_shape", None) if input_shape is None else input_shape
        classes = model.classes if nb_classes is None else nb_classes
        if shape is None or classes is None:
            raise ValueError("input_shape, nb_classes: wanted both for a source that does not know them, got None")
        if classes < 2:
            raise ValueError(f"model: wanted at least two logits, as ART's classifiers have, got {classes}")
        super().__init__(model=model, clip_values=clip_values, preprocessing=None, channels_first=True)
        self._input_shape, self.nb_classes = tuple(shape), classes

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return self._input_shape

    def predict(self, x: Array, batch_size: int = 128, **kwargs: Any) -> Array:
        """Return the logits (N, classes) of x; all rows are one call."""
        return np.asarray(self.model(np.asarray(x, np.float32)))

    def fit(self, x: Array, y: Array, batch_size: int = 128, nb_epochs: int = 20, **kwargs: Any) -> None:
        """Train an epsball model with `epsball.fit`, which gets `kwargs`."""
        from epsball.training.fit import fit

        model = check_own_model(self.model, "training needs a model whose weights are epsball's")
        fit(model, np.asarray(x, np.float32), self._index(y), batch_size=batch_size, epochs=nb_epochs, **kwargs)

    def loss_gradient(self, x: Array, y: Array, **kwargs: Any) -> Array:
        """Return the gradient of each row's cross-entropy with respect to the row."""
        return np.asarray(self.model.input_gradient(np.asarray(x, np.float32), self._index(y)))

    def compute_loss(self, x: Array, y: Array, reduction: str = "none", **kwargs: Any) -> Array:
        """Return each row's cross-entropy, or with `reduction` "mean" or "sum" one number."""
        loss = np.asarray(self.model.loss(np.asarray(x, np.float32), self._index(y)))
        reductions: dict[str, Any] = {"none": lambda v: v, "mean": np.mean, "sum": np.sum}
        if reduction not in reductions:
            raise ValueError(f"reduction: wanted one of {', '.join(reductions)}, got {reduction!r}")
        return np.asarray(reductions[reduction](loss))

    def class_gradient(self, x: Array, label: Any = None, **kwargs: Any) -> Array:
        """Return the derivatives of the logits, (N, classes, ...), or (N, 1, ...) for one class or one per row."""
        jacobian = np.asarray(self.model.jacobian(np.asarray(x, np.float32)))
        if label is None:
            return jacobian
        chosen = np.broadcast_to(np.asarray(label, np.int64).reshape(-1), len(jacobian))
        return jacobian[np.arange(len(jacobian)), chosen][:, None]

    def get_activations(self, x: Array, layer: Any, batch_size: int, framework: bool = False) -> Array:
        """Not offered: the engine keeps no activations."""
        # ART's base class asks for it; this is how its own estimators say that they have none.
        raise NotImplementedError("get_activations: epsball's engine keeps no activations to look at")

    def _index(self, y: Any) -> Array:
        a = np.asarray(y)
        return a.argmax(axis=1) if a.ndim == 2 and a.shape[1] > 1 else a.reshape(-1).astype(np.int64)
