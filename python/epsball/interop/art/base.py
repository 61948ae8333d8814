"""What ART's evasion attacks share: the estimator and the call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields
from typing import Any

import numpy as np

from epsball import attacks
from epsball.arguments import flag, whole
from epsball.arrays import Array
from epsball.interop.art.arguments import class_labels, draw_seed, of_estimator, per_row


class EvasionAttack(ABC):
    """Base of the attacks: the estimator and the call. A subclass is its options, and `translated`."""

    targeted: bool = False
    num_random_init: int = 0
    eps: Any

    def __post_init__(self) -> None:
        given = getattr(self, fields(self)[0].name)  # type: ignore[arg-type]
        self._followed, self._bounds = of_estimator(given)
        self._check()

    @abstractmethod
    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return the epsball attack of these options; `common` goes to every attack."""

    @property
    def engine(self) -> str:
        """Who computes the model: epsball, or the module itself, and why."""
        return self._followed.engine

    def __repr__(self) -> str:
        options = ", ".join(f"{f.name}={getattr(self, f.name)}" for f in fields(self)[1:])  # type: ignore[arg-type]
        return f"{type(self).__name__}({options}, engine={self.engine})"

    def set_params(self, **kwargs: Any) -> None:
        """Set options by name."""
        known = [f.name for f in fields(self)[1:]]  # type: ignore[arg-type]
        for name, value in kwargs.items():
            if name not in known:
                raise ValueError(f"{name}: wanted one of {', '.join(known)}")
            setattr(self, name, value)
        self._check()

    def _check(self) -> None:
        """Refuse options that epsball does not have."""
        for name, least in (("batch_size", 1), ("num_random_init", 0)):
            whole(name, getattr(self, name, least), least)
        flag("targeted", self.targeted)
        for name in ("random_eps", "summary_writer"):
            if getattr(self, name, False):
                raise ValueError(f"{name}: wanted False, the only value that epsball has, got {getattr(self, name)!r}")

    def generate(self, x: Array, y: Array | None = None, mask: Array | None = None) -> Array:
        """Return the adversarial inputs.

        Parameters
        ----------
        x
            (N, ...) array within the estimator's ``clip_values``.
        y
            Class indices (N,) or (N, 1), or one-hot or probability rows (N, classes): true classes, or targets. None:
            the model's own predictions.
        mask
            0 where nothing may change; broadcasts to x.

        Returns
        -------
        array
            float32, as ART has it.

        Raises
        ------
        ValueError, TypeError
            A bad argument, named.
        """
        images = np.asarray(x, np.float32)
        return self._found(self._followed.model(images), images, class_labels(y), self._common(mask))

    def _found(self, model: Any, x: Array, y: Any, common: dict[str, Any]) -> Array:
        found: Array = self.translated(per_row(self.eps, "eps", x), common)(model, x, y)
        return found

    def _common(self, mask: Any) -> dict[str, Any]:
        where = None if mask is None else (np.asarray(mask) != 0).astype(np.uint8)
        return {"targeted": self.targeted, "bounds": self._bounds, "mask": where}

    def _random(self) -> dict[str, Any]:
        """Return ART's ``num_random_init`` in epsball's words."""
        if self.num_random_init == 0:
            return {"random_start": False}
        return {"random_start": True, "restarts": self.num_random_init, "seed": draw_seed()}


class MinimumNorm(EvasionAttack):
    """Attacks without a budget."""

    def _found(self, model: Any, x: Array, y: Any, common: dict[str, Any]) -> Array:
        found: Array = self.translated(None, common)(model, x, y)
        return found
