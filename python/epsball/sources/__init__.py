"""Models that epsball cannot lower: gradient sources, which attacks follow, and label sources, which they only ask."""

from epsball.sources.base import GradientSource, LabelSource, QueryBudgetExceeded
from epsball.sources.callable_model import CallableModel
from epsball.sources.ensemble import Ensemble
from epsball.sources.expectation import Affine, Blur, Expectation, Gamma, GaussianNoise, Quantise, Transform
from epsball.sources.jax_model import JaxModel
from epsball.sources.knn import KNN, SoftenedKNN
from epsball.sources.label_oracle import LabelOracle
from epsball.sources.torch_model import TorchModel
from epsball.sources.trees import Tree, Trees

__all__ = [
    "KNN",
    "Affine",
    "Blur",
    "CallableModel",
    "Ensemble",
    "Expectation",
    "Gamma",
    "GaussianNoise",
    "GradientSource",
    "JaxModel",
    "LabelOracle",
    "LabelSource",
    "Quantise",
    "QueryBudgetExceeded",
    "SoftenedKNN",
    "TorchModel",
    "Transform",
    "Tree",
    "Trees",
]
