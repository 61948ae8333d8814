"""epsball: a native engine for adversarial examples on small models."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from epsball.lazy import found_in

# As in pyproject.toml, which a test compares: importlib.metadata would slow the import and needs an installation.
__version__ = "0.1.0"

# Where each public name lives; modules are imported when a name is first used, so that importing epsball stays cheap.
_HOMES = {
    "layers": (
        "ELU", "GELU", "RBF", "AvgPool2d", "BatchNorm1d", "BatchNorm2d", "Conv2d", "Dropout", "Exp", "Flatten",
        "LeakyReLU", "Linear", "MaxPool2d", "Maxout", "Normalize", "OneVsOne", "Power", "Quadratic", "ReLU",
        "Residual", "Sigmoid", "Softplus", "Tanh",
    ),
    "model": ("Sequential", "load"),
    "attacks": ("autoattack", "exact_robust_accuracy", "fgsm", "linear_exact", "pgd"),
    "evaluation.evaluate": ("evaluate",),
    "interop.onnx": ("from_onnx", "to_onnx"),
    "interop.sklearn": ("from_sklearn",),
    "interop.torch": ("from_torch", "sync_from_torch", "to_torch"),
    "machine": ("backends", "info"),
    "perturber": ("Perturber",),
    "sources.base": ("QueryBudgetExceeded",),
    "sources.callable_model": ("CallableModel",),
    "sources.ensemble": ("Ensemble",),
    "sources.jax_model": ("JaxModel",),
    "sources.label_oracle": ("LabelOracle",),
    "sources.torch_model": ("TorchModel",),
    "training.fit": ("fit",),
}  # fmt: skip
_named = found_in(__name__, _HOMES)
_MODULES = (
    "analysis",
    "attacks",
    "datasets",
    "defences",
    "evaluation",
    "exhibits",
    "interop",
    "models",
    "ops",
    "sources",
    "training",
)

__all__ = [
    "ELU", "GELU", "RBF", "AvgPool2d", "BatchNorm1d", "BatchNorm2d", "CallableModel", "Conv2d", "Dropout", "Ensemble",
    "Exp", "Flatten", "JaxModel", "LabelOracle", "LeakyReLU", "Linear", "MaxPool2d", "Maxout", "Normalize",
    "OneVsOne", "Perturber", "Power", "Quadratic", "QueryBudgetExceeded", "ReLU", "Residual", "Sequential", "Sigmoid",
    "Softplus", "Tanh", "TorchModel", "analysis", "attacks", "autoattack", "backends", "datasets", "defences",
    "evaluate", "evaluation", "exact_robust_accuracy", "exhibits", "fgsm", "fit", "from_onnx", "from_sklearn",
    "from_torch", "info", "interop", "linear_exact", "load", "models", "ops", "pgd", "sources",
    "sync_from_torch", "to_onnx", "to_torch", "training",
]  # fmt: skip

if TYPE_CHECKING:
    from epsball import (
        analysis,
        attacks,
        datasets,
        defences,
        evaluation,
        exhibits,
        interop,
        models,
        ops,
        sources,
        training,
    )
    from epsball.attacks.autoattack import autoattack
    from epsball.attacks.fgsm import fgsm
    from epsball.attacks.linear_exact import exact_robust_accuracy, linear_exact
    from epsball.attacks.pgd import pgd
    from epsball.evaluation.evaluate import evaluate
    from epsball.interop.onnx import from_onnx, to_onnx
    from epsball.interop.sklearn import from_sklearn
    from epsball.interop.torch import from_torch, sync_from_torch, to_torch
    from epsball.layers import (
        ELU,
        GELU,
        RBF,
        AvgPool2d,
        BatchNorm1d,
        BatchNorm2d,
        Conv2d,
        Dropout,
        Exp,
        Flatten,
        LeakyReLU,
        Linear,
        Maxout,
        MaxPool2d,
        Normalize,
        OneVsOne,
        Power,
        Quadratic,
        ReLU,
        Residual,
        Sigmoid,
        Softplus,
        Tanh,
    )
    from epsball.machine import backends, info
    from epsball.model import Sequential, load
    from epsball.perturber import Perturber
    from epsball.sources.base import QueryBudgetExceeded
    from epsball.sources.callable_model import CallableModel
    from epsball.sources.ensemble import Ensemble
    from epsball.sources.jax_model import JaxModel
    from epsball.sources.label_oracle import LabelOracle
    from epsball.sources.torch_model import TorchModel
    from epsball.training.fit import fit
else:

    def __getattr__(name: str) -> Any:
        if name == "_native" or name in _MODULES:
            return import_module(f"epsball.{name}")
        return _named(name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
