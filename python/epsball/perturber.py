"""An inner maximiser for other people's training loops: torch, JAX, scikit-learn or plain NumPy."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from epsball.arguments import whole
from epsball.arrays import as_numpy
from epsball.attacks.base import Attack
from epsball.classifier import Classifier
from epsball.model import Sequential
from epsball.sources.base import LabelSource

__all__ = ["Perturber"]


class Perturber:
    """An attack bound to a model that somebody else trains: ``perturb(x, y)`` gives the batch to train on.

    Each call takes the weights as they are then, makes one call of the engine, and returns an array of x's kind, shape
    and dtype; arrays in CPU memory are read and handed back without a copy. Modes, gradients and random state of the
    model's library are left as they were.

    Parameters
    ----------
    model
        What is trained:

        - a ``torch.nn.Module``, computed by the engine where `epsball.from_torch` knows its layers (its weights are
          copied in at each call, as `epsball.sync_from_torch` does), else as it is; attacks see evaluation mode;
        - a scikit-learn classifier that `epsball.from_sklearn` knows, fitted at least once, whose labels y are its own;
        - an epsball model, or a source such as `epsball.JaxModel`, whose ``params`` may be given with each call.
    attack
        Any attack. Random starts differ from batch to batch, as rows are numbered through all batches.

    Attributes
    ----------
    rows : int
        How many rows have been perturbed: the index of the next one, which keys its random numbers. Set it to go on
        where another run stopped.
    engine : str
        Who computes the model: epsball, or the module itself, and why.

    Raises
    ------
    TypeError
        A model or an attack that is none.

    Examples
    --------
    >>> import epsball as eb
    >>> perturb = eb.Perturber(module, eb.attacks.PGD(eps=0.1, steps=7))  # doctest: +SKIP
    >>> loss = criterion(module(perturb(images, labels)), labels)  # doctest: +SKIP
    """

    def __init__(self, model: Any, attack: Attack) -> None:
        if not isinstance(attack, Attack):
            raise TypeError(f"attack: wanted an attack such as epsball.attacks.PGD(eps=0.3), got {attack!r}")
        self.attack = attack
        self._kept = _kept(model)
        self._rows = 0

    @property
    def rows(self) -> int:
        """The index of the next row."""
        return self._rows

    @rows.setter
    def rows(self, value: int) -> None:
        """Set the index of the next row, in [0, 2**62]."""
        self._rows = whole("rows", value, 0, 2**62)

    @property
    def engine(self) -> str:
        """Who computes the model, in words."""
        return str(self._kept.engine)

    def __repr__(self) -> str:
        return f"Perturber({self.attack}, computed by {self.engine})"

    def __call__(self, x: Any, y: Any = None, params: Any = None) -> Any:
        """Return the adversarial batch.

        Parameters
        ----------
        x
            (N, ...) inputs within the attack's bounds.
        y
            (N,) labels, or targets of a targeted attack; None: the model's own predictions.
        params
            The parameters of a `JaxModel` as they are now; None: those it has.

        Returns
        -------
        array
            Of x's kind, shape and dtype, within ball and box exactly; tensors carry no gradient.

        Raises
        ------
        ValueError, TypeError
            A bad argument, named.
        """
        given = x.detach() if hasattr(x, "detach") else x
        model = self._kept.model(given)
        if params is not None:
            if not hasattr(model, "params"):
                raise TypeError(f"params: wanted them with a JaxModel only, got them with {type(model).__name__}")
            model.params = params
        labels = self._kept.labels(y)
        count = len(as_numpy("x", given))
        index = np.arange(self._rows, self._rows + count)
        x_adv = self.attack(model, given, labels, index)
        self._rows += count
        return x_adv


class _Own:
    """A model that stands for itself."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.engine = "epsball" if isinstance(model, Sequential) else f"{type(model).__name__} itself"

    def model(self, x: Any) -> Any:
        return self._model

    def labels(self, y: Any) -> Any:
        return y


class _Module:
    """A torch module, followed."""

    def __init__(self, module: Any) -> None:
        from epsball.interop.following import Followed

        self._followed = Followed(module)

    @property
    def engine(self) -> str:
        return self._followed.engine

    def model(self, x: Any) -> Any:
        return self._followed.model(x)

    def labels(self, y: Any) -> Any:
        return y.detach() if hasattr(y, "detach") else y


class _Estimator:
    """A scikit-learn estimator, read anew at each call: that takes less than a step of an attack."""

    engine = "epsball"

    def __init__(self, estimator: Any) -> None:
        self._estimator, self._classes = estimator, np.zeros(0)

    def model(self, x: Any) -> Any:
        from epsball.interop.sklearn import from_sklearn

        model = from_sklearn(self._estimator)
        self._classes = np.asarray(getattr(self._estimator, "classes_", np.zeros(0)))
        return model

    def labels(self, y: Any) -> Any:
        """Return the indices of the estimator's own labels."""
        if y is None:
            return None
        given = np.asarray(y)
        found = np.searchsorted(self._classes, given).clip(max=len(self._classes) - 1)
        if (self._classes[found] != given).any():
            raise ValueError(f"y: wanted labels among the estimator's classes {self._classes}, got others")
        return found


def _kept(model: Any) -> Any:
    """Return what follows the model."""
    if isinstance(model, Classifier | LabelSource):
        return _Own(model)
    torch, base = sys.modules.get("torch"), sys.modules.get("sklearn.base")
    if torch is not None and isinstance(model, torch.nn.Module):
        return _Module(model)
    if base is not None and isinstance(model, base.BaseEstimator):
        return _Estimator(model)
    raise TypeError(
        f"model: wanted a torch nn.Module, a scikit-learn estimator or an epsball model, got {type(model).__name__}"
    )
