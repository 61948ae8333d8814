"""A scikit-learn estimator that is trained against attacks; imports scikit-learn, so it is imported lazily."""

# mypy: disable-error-code="misc"

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from epsball.arguments import FLOAT32, number, require_untargeted, whole
from epsball.arrays import Array
from epsball.attacks import FGSM, PGD
from epsball.attacks.base import Attack, Bounds
from epsball.layers import Linear, Normalize, ReLU
from epsball.model import Sequential
from epsball.training.fit import fit
from epsball.training.optimizers import Adam
from epsball.training.pgd_training import PGDTraining
from epsball.training.standard import Standard

__all__ = ["RobustClassifier"]

FLOATS = [np.float64, np.float32]  # kept as they are: rounded to float32 a row may leave the bounds


class RobustClassifier(ClassifierMixin, BaseEstimator):
    """A multilayer perceptron, or a linear model, trained against PGD in a ball around each row.

    Features are standardised inside the model, so that `eps` and `bounds` are in the units of the data.

    Parameters
    ----------
    hidden_layer_sizes
        Units of each hidden layer of ReLUs; none of them: softmax regression.
    eps
        Radius of the ball; 0 trains on clean rows only.
    norm
        "linf", "l2" or "l1".
    steps
        Of the attack inside training.
    bounds
        (lower, upper) of all features, as numbers; None: none.
    epochs, batch_size, learning_rate
        Of training with Adam.
    random_state
        Of first weights, order and starts: an integer, a ``numpy.random.RandomState`` or None.

    Attributes
    ----------
    model_ : Sequential
        The trained model, for every attack and evaluation; its class k is ``classes_[k]``.
    classes_ : ndarray
        The labels.
    n_features_in_ : int
        Features of a row.
    history_ : History
        What `epsball.fit` recorded; adversarial errors are those under FGSM. `robust_score` takes PGD.

    Notes
    -----
    Training is that of Madry et al. (2018, arXiv 1706.06083).

    Examples
    --------
    >>> from epsball.sklearn import RobustClassifier
    >>> estimator = RobustClassifier(eps=0.1, random_state=0).fit(X, y)  # doctest: +SKIP
    >>> estimator.score(X, y), estimator.robust_score(X, y)  # doctest: +SKIP
    """

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (100,),
        eps: float = 0.1,
        norm: str = "linf",
        steps: int = 10,
        bounds: Bounds = None,
        epochs: int = 100,
        batch_size: int = 50,
        learning_rate: float = 3e-3,
        random_state: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.eps = eps
        self.norm = norm
        self.steps = steps
        self.bounds = bounds
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> RobustClassifier:
        """Train on X (N, features) and labels y (N,) of any kind.

        Raises
        ------
        ValueError, TypeError
            What scikit-learn's validation finds, a single class, or an option out of range, named.
        """
        X, y = validate_data(self, X, y, dtype=FLOATS)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y: wanted at least two classes, got one class: {self.classes_[0]!r}")
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        eps = number("eps", self.eps, 0, float(FLOAT32.max))
        self.model_ = self._model(X, seed)
        method = PGDTraining(eps, self.steps, norm=self.norm, bounds=self.bounds) if eps > 0 else Standard()
        attack = FGSM(eps, self.norm, bounds=self.bounds)  # PGD would take as long as the training
        optimizer, size = Adam(self.learning_rate), min(whole("batch_size", self.batch_size, 1), len(X))
        self.history_ = fit(
            self.model_, X, labels, method=method, epochs=self.epochs, batch_size=size, optimizer=optimizer,
            monitor=attack, seed=seed,
        )  # fmt: skip
        return self

    def _model(self, X: Array, seed: int) -> Sequential:
        mean, spread = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
        layers: list[Any] = [Normalize(mean.tolist(), np.where(spread > 0, spread, 1.0).tolist())]
        width = X.shape[1]
        if np.ndim(self.hidden_layer_sizes) != 1:
            raise TypeError(f"hidden_layer_sizes: wanted a list of units per layer, got {self.hidden_layer_sizes!r}")
        for given in self.hidden_layer_sizes:
            units = whole("hidden_layer_sizes", given, 1)
            layers += [Linear(width, units), ReLU()]
            width = units
        return Sequential([*layers, Linear(width, len(self.classes_))], input_shape=(X.shape[1],), seed=seed)

    def predict(self, X: Any) -> Array:
        """Return the labels (N,) of X."""
        check_is_fitted(self)
        return np.asarray(self.classes_[self.model_.predict(self._checked(X))])

    def predict_proba(self, X: Any) -> Array:
        """Return the probabilities (N, classes), in the order of ``classes_``."""
        check_is_fitted(self)
        p = np.asarray(self.model_.probabilities(self._checked(X)), np.float64)
        return np.asarray(p / p.sum(axis=1, keepdims=True))

    def decision_function(self, X: Any) -> Array:
        """Return the logits (N, classes); of two classes their difference (N,), positive for the second."""
        check_is_fitted(self)
        z = np.asarray(self.model_(self._checked(X)), np.float64)
        return z[:, 1] - z[:, 0] if z.shape[1] == 2 else z

    def robust_score(self, X: Any, y: Any, attack: Attack | None = None) -> float:
        """Return the accuracy under attack: at most this fraction of rows is robust.

        Parameters
        ----------
        X, y
            Rows and labels.
        attack
            Untargeted; None: PGD of 40 steps in the ball trained for.
        """
        check_is_fitted(self)
        X = self._checked(X)
        if attack is not None and not isinstance(attack, Attack):
            raise TypeError(f"attack: wanted an attack such as epsball.attacks.PGD(eps=0.3), got {attack!r}")
        require_untargeted(attack)
        given = np.asarray(y)
        if given.shape != (len(X),):
            raise ValueError(f"y: wanted {len(X)} labels, one per row of X, got shape {given.shape}")
        labels = np.searchsorted(self.classes_, given).clip(max=len(self.classes_) - 1)
        if (self.classes_[labels] != given).any():
            raise ValueError(f"y: wanted labels among {self.classes_}, got others")
        chosen = PGD(self.eps, self.norm, bounds=self.bounds) if attack is None else attack
        return float(np.mean(self.model_.predict(chosen(self.model_, X, labels)) == labels))

    def _checked(self, X: Any) -> Array:
        return np.asarray(validate_data(self, X, dtype=FLOATS, reset=False))
