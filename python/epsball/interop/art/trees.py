"""ART's attack on a decision tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball import attacks
from epsball.arrays import Array
from epsball.classifier import Classifier
from epsball.interop.art.arguments import bounds_of
from epsball.interop.art.base import MinimumNorm
from epsball.interop.following import Followed
from epsball.sources.base import LabelSource


@dataclass(eq=False, repr=False)
class DecisionTreeAttack(MinimumNorm):
    """Papernot's search of a tree (see `attacks.TreeSearch`), away from predictions, or towards y if it is given.

    The estimator is ART's ``ScikitlearnDecisionTreeClassifier``, scikit-learn's tree, or `epsball.sources.Trees` of a
    single one. The search ends at the lowest node that it can, where ART's goes on to the root.
    """

    classifier: Any
    offset: float = 0.001
    verbose: bool = True

    def __post_init__(self) -> None:
        self._bounds = bounds_of(getattr(self.classifier, "clip_values", None))
        tree = self.classifier
        if not isinstance(tree, Classifier | LabelSource):
            from epsball.interop.sklearn import from_sklearn

            tree = from_sklearn(getattr(tree, "model", tree))
        self._followed = Followed(tree)
        self._check()

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.TreeSearch`."""
        return attacks.TreeSearch(self.offset, **common)

    def _found(self, model: Any, x: Array, y: Any, common: dict[str, Any]) -> Array:
        return super()._found(model, x, y, common | {"targeted": y is not None})
