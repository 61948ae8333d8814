"""Models that are no layers: label sources, which only predict, and softened ones with a gradient."""

from __future__ import annotations

from epsball.sources.knn import KNN, SoftenedKNN
from epsball.sources.trees import Tree, Trees

__all__ = ["KNN", "SoftenedKNN", "Tree", "Trees"]
