"""The read-out of one-versus-one classifiers."""

from __future__ import annotations

from dataclasses import dataclass

from epsball.arguments import settle, whole
from epsball.layers.base import Description, Layer, Shape, features_of


@dataclass(frozen=True)
class OneVsOne(Layer):
    """Scores of classes from a decision for every pair, as scikit-learn's SVC has them ("ovr" decision functions).

    The pairs are (0, 1), (0, 2), …, (1, 2), …; a decision below 0 is a vote for the second of the two, any other for
    the first. A class scores its votes plus s / (3 (abs(s) + 1)), s being the sum of the decisions in its favour. The
    votes are flat: the gradient is that of s alone.

    Parameters
    ----------
    classes
        At least 2.
    """

    classes: int

    def __post_init__(self) -> None:
        settle(self, classes=whole("classes", self.classes, 2))

    def native(self, shape: Shape) -> Description:
        """Return the engine's description of this layer on inputs of `shape`."""
        pairs = self.classes * (self.classes - 1) // 2
        if features_of(shape) != pairs:
            raise ValueError(f"takes the decisions of {pairs} pairs, but gets {features_of(shape)} features")
        return ("one_vs_one", pairs, self.classes)

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of one output."""
        return (self.classes,)
