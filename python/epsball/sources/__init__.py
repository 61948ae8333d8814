"""Models that epsball cannot lower: gradient sources, which attacks follow, and label sources, which they only ask."""

from typing import TYPE_CHECKING

from epsball.lazy import found_in
from epsball.sources.base import GradientSource, LabelSource, QueryBudgetExceeded

if TYPE_CHECKING:
    from epsball.sources.callable_model import CallableModel
    from epsball.sources.ensemble import Ensemble
    from epsball.sources.expectation import Affine, Blur, Expectation, Gamma, GaussianNoise, Quantise, Transform
    from epsball.sources.jax_model import JaxModel
    from epsball.sources.knn import KNN, SoftenedKNN
    from epsball.sources.label_oracle import LabelOracle
    from epsball.sources.torch_model import TorchModel
    from epsball.sources.trees import Tree, Trees
else:  # those that a call does not need wait until they are asked for
    __getattr__ = found_in(
        __name__,
        {
            "callable_model": ("CallableModel",), "ensemble": ("Ensemble",),
            "expectation": ("Affine", "Blur", "Expectation", "Gamma", "GaussianNoise", "Quantise", "Transform"),
            "jax_model": ("JaxModel",), "knn": ("KNN", "SoftenedKNN"), "label_oracle": ("LabelOracle",),
            "torch_model": ("TorchModel",), "trees": ("Tree", "Trees"),
        },
    )  # fmt: skip

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


def __dir__() -> list[str]:
    return sorted(__all__)
