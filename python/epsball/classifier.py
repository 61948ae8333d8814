"""What every model that attacks can follow offers: logits, labels, losses and their input gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from epsball import _native
from epsball.arrays import as_numpy, for_engine, like, room


class Classifier(ABC):
    """A model with gradients: epsball's own, or a gradient source.

    Attributes
    ----------
    classes : int or None
        Logits per row; 1 for a logistic model; None for a source that has not been asked yet.
    """

    classes: int | None
    device: str = "cpu"  # where it computes
    log_confidences: bool = False  # logits are log confidences, each judged by itself

    @abstractmethod
    def _engine(self, x: Any, gradients: bool) -> _native.Model | _native.Foreign:
        """Return what the engine calls for inputs such as x; without `gradients` it is asked for logits only."""

    def __call__(self, x: Any) -> Any:
        """Return the logits (N, K) of x (N, ...), float32 and of x's kind."""
        a = for_engine("x", x, self.device)
        engine = self._engine(a, False)
        return like(engine.logits(a, room(a, (*a.shape[:1], engine.classes), np.float32)), x)

    def predict(self, x: Any) -> Any:
        """Return the predicted classes (N,), int64: the largest logit, or 1 where a single logit is positive."""
        a = for_engine("x", x, self.device)
        return like(self._engine(a, False).predict(a, room(a, a.shape[:1], np.int64)), x)

    def probabilities(self, x: Any) -> Any:
        """Return the softmax (N, K) of the logits; with one logit its sigmoid (N, 1), the probability of label 1.

        Where the last layer is `RBF`, the logits are log confidences: exp of each, which need not sum to 1.
        """
        if self.device == "cuda":
            a = for_engine("x", x, self.device)
            engine = self._engine(a, False)
            out = room(a, (*a.shape[:1], engine.classes), np.float32)
            return like(engine.probabilities(a, self.log_confidences, out), x)
        a = as_numpy("x", x)
        z = self._engine(a, False).logits(a).astype(np.float64)
        if self.log_confidences:
            return like(np.exp(z).astype(np.float32), x)
        if self.classes == 1:
            p = 0.5 * (1 + np.tanh(0.5 * z))
        else:
            e = np.exp(z - z.max(axis=1, keepdims=True))
            p = e / e.sum(axis=1, keepdims=True)
        return like(p.astype(np.float32), x)

    def loss(self, x: Any, y: Any, loss: str = "cross_entropy") -> Any:
        """Return the loss of each row (N,).

        Parameters
        ----------
        x
            (N, ...) with the model's number of features per row.
        y
            Class indices (N,), or for cross-entropy and squared error one value per class (N, K).
        loss
            "cross_entropy", "margin" (best other logit minus the label's, Carlini and Wagner 2017), "squared_error"
            (summed over the classes), those of support vector machines, "hinge" (each class against the rest, the sum
            over j of max(0, 1 − s_j z_j) with s_j = 1 for the label and −1 for others) and "crammer_singer" (max(0, 1 +
            margin), Crammer and Singer 2001), or, where logits are log confidences of an `RBF` layer, "confidence"
            (each class judged by itself: −log p_y − Σ log(1 − p_j) over the others). One logit z has the hinge max(0, 1
            − (2y − 1) z) under both names; at a kink the derivative is 0. "dlr" is the difference of logits ratio
            (max_{j≠y} z_j − z_y) / (z_(1) − z_(3)) of Croce and Hein (2020), for three classes or more. "logit" is −z_y
            (Zhao et al. 2021; one logit: (1 − 2y) z). "jitter" is the mean of (p_j − [j = y])² with p the softmax of 10
            z / max|z| (Schwinn et al. 2021; one logit: of its sigmoid).

        Returns
        -------
        array
            (N,) float32, of x's kind.
        """
        a = for_engine("x", x, self.device)
        losses = room(a, a.shape[:1], np.float32)
        found = self._engine(a, False).loss_and_gradient(a, self._labels(a, y), word("loss", loss), False, losses)
        return like(found[0], x)

    def input_gradient(self, x: Any, y: Any, loss: str = "cross_entropy") -> Any:
        """Return the gradient of each row's own loss with respect to the row.

        Parameters
        ----------
        x, y, loss
            As in `loss`.

        Returns
        -------
        array
            (N, ...), of x's shape, kind and dtype; not divided by the number of rows.

        Raises
        ------
        ValueError, TypeError
            A bad argument, named; a derivative too large for x's dtype.
        """
        a = for_engine("x", x, self.device)
        out = room(a, a.shape, a.dtype)
        _, gradient = self._engine(a, True).loss_and_gradient(a, self._labels(a, y), word("loss", loss), True, out)
        return like(_in_dtype_of(a, gradient, a.shape), x)

    def jacobian(self, x: Any) -> Any:
        """Return the derivatives of the logits, (N, K, ...) with the shape of one input last, of x's kind and dtype.

        Raises
        ------
        ValueError, TypeError
            A bad x; a derivative too large for x's dtype.
        """
        a = for_engine("x", x, self.device)
        engine = self._engine(a, True)
        shape = (*a.shape[:1], engine.classes, *a.shape[1:])
        return like(_in_dtype_of(a, engine.jacobian(a, room(a, shape, a.dtype)), shape), x)

    def _labels(self, x: Any, y: Any) -> Any:
        """Return y for the engine; None stands for the model's own predictions."""
        if y is None:
            return self._engine(x, False).predict(x, room(x, x.shape[:1], np.int64))
        return labels_for_engine(x, y, self.device)


def _in_dtype_of(x: Any, derivatives: Any, shape: tuple[int, ...]) -> Any:
    """Return finite derivatives (N, ...) in x's dtype; what float16 cannot hold is an error, what is tiny becomes 0."""
    if isinstance(derivatives, _native.DeviceArray):  # of x's dtype, in memory of this shape
        return derivatives
    derivatives = derivatives.reshape(shape)
    with np.errstate(over="ignore"):
        values = derivatives.astype(x.dtype, copy=False)
    if x.dtype == np.float16 and not np.isfinite(values).all():
        row = np.argwhere(np.isinf(values))[0][0]
        raise ValueError(
            f"x: float16 cannot hold the derivatives of row {row}, which reach {np.abs(derivatives[row]).max():g} "
            f"(its largest number is 65504); pass x as float32"
        )
    return values


def labels_for_engine(x: Any, y: Any, device: str) -> Any:
    """Return labels where x is; probabilities always on the host, where they are checked."""
    labels = for_engine("y", y, device)
    stays = isinstance(x, _native.DeviceArray) and labels.dtype.kind in "biu"
    return labels if stays else as_numpy("y", labels, device=device)


def word(name: str, value: object) -> str:
    """Return `value` if it is a string at all; the engine knows which."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: wanted a name, got {value!r}")
    return value
