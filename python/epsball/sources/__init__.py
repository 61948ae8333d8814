"""Models that epsball cannot lower: gradient sources, which attacks follow, and label sources, which they only ask."""

from epsball.sources.base import GradientSource, LabelSource, QueryBudgetExceeded
from epsball.sources.callable_model import CallableModel
from epsball.sources.jax_model import JaxModel
from epsball.sources.label_oracle import LabelOracle
from epsball.sources.torch_model import TorchModel

__all__ = [
    "CallableModel",
    "GradientSource",
    "JaxModel",
    "LabelOracle",
    "LabelSource",
    "QueryBudgetExceeded",
    "TorchModel",
]
