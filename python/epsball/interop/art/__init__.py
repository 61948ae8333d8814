"""Drop-in for ART's evasion attacks: its names, signatures and defaults; NumPy in and out; the attacks are epsball's.

``from epsball.interop.art import ProjectedGradientDescent`` is the whole migration; ART need not be installed. The
estimator is an ``art.estimators.classification.PyTorchClassifier`` with the cross-entropy loss, an `EpsballClassifier`,
a torch module or an epsball model. `EpsballClassifier` goes the other way: ART's attacks on epsball's models. What
differs, and is meant to:

- An iterative attack returns the best iterate of each row (misclassified first, then the highest loss), not the last;
  restarts are chosen per row; the bound is exact.
- The L1 step goes on to the next feature where the box stops the first, and the L1 projection is the nearest point.
- Minimum-norm attacks return rows that they do not break as they were.
- A mask counts as 1 wherever it is not 0; nothing outside of it changes.
- All rows are one call: `batch_size` is checked and changes nothing. Nothing is printed or shown: nor does `verbose`.
- Random draws come from epsball's counters, seeded from NumPy's global generator; every row has its own.
- Missing: `ZooAttack`, `SimBA`, `SignOPTAttack`, `GeoDA`, `PixelAttack`, `ThresholdAttack`, `AutoConjugateGradient`,
  `RescalingAutoConjugateGradient`, `HighConfidenceLowUncertainty` and `LowProFool`, whose loops epsball does not have;
  `Wasserstein`, `ShadowAttack` and `LaserAttack`, whose distances it does not; patches (one is `attacks.PGD` with a
  mask); `FeatureAdversaries`, `SNAL`, GRAPHITE and composite attacks; and all on audio, video, malware and detectors.

Modules are followed: their weights are those they have at each call, they are computed by the engine where
`epsball.from_torch` knows their layers, and ``attack.engine`` and the repr say so, or why not.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from epsball.interop.art.autoattack import AutoAttack, AutoProjectedGradientDescent, SquareAttack
from epsball.interop.art.base import EvasionAttack
from epsball.interop.art.decision import BoundaryAttack, HopSkipJump
from epsball.interop.art.gradient import (
    BasicIterativeMethod,
    FastGradientMethod,
    MomentumIterativeMethod,
    ProjectedGradientDescent,
    ProjectedGradientDescentNumpy,
    ProjectedGradientDescentPyTorch,
    VirtualAdversarialMethod,
)
from epsball.interop.art.nearest import (
    CarliniL0Method,
    CarliniL2Method,
    CarliniLInfMethod,
    DeepFool,
    ElasticNet,
    NewtonFool,
    SaliencyMapMethod,
)
from epsball.interop.art.spatial import SpatialTransformation
from epsball.interop.art.trees import DecisionTreeAttack
from epsball.interop.art.universal import TargetedUniversalPerturbation, UniversalPerturbation

__all__ = [
    "AutoAttack",
    "AutoProjectedGradientDescent",
    "BasicIterativeMethod",
    "BoundaryAttack",
    "CarliniL0Method",
    "CarliniL2Method",
    "CarliniLInfMethod",
    "DecisionTreeAttack",
    "DeepFool",
    "ElasticNet",
    "EpsballClassifier",
    "EvasionAttack",
    "FastGradientMethod",
    "HopSkipJump",
    "MomentumIterativeMethod",
    "NewtonFool",
    "ProjectedGradientDescent",
    "ProjectedGradientDescentNumpy",
    "ProjectedGradientDescentPyTorch",
    "SaliencyMapMethod",
    "SpatialTransformation",
    "SquareAttack",
    "TargetedUniversalPerturbation",
    "UniversalPerturbation",
    "VirtualAdversarialMethod",
]


def __getattr__(name: str) -> Any:
    if name == "EpsballClassifier":  # its base classes are ART's
        return import_module("epsball.interop.art.classifier").EpsballClassifier
    raise AttributeError(f"epsball.interop.art has no {name!r} in this version")
