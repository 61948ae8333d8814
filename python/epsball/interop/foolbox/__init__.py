"""Drop-in for foolbox 3: its names, signatures and defaults; tensors in, tensors out; the attacks are epsball's.

``import epsball.interop.foolbox as fb`` is the whole migration of ``fb.PyTorchModel`` and ``fb.attacks``; foolbox need
not be installed. `to_foolbox` goes the other way: foolbox's attacks on epsball's models. What differs, and is meant to:

- An iterative attack returns the best iterate of each row (misclassified first, then the highest loss), not the last;
  raw and clipped results are the same points, as the bound is exact, and `is_adv` is what the model says of them.
- L1 steps go along the largest derivatives first, and the L1 projection is the nearest point; foolbox rescales both.
- Minimum-norm attacks return rows that they do not break as they were; `epsilons` clip to the ball's nearest point.
- `BoundaryAttack` and `HopSkipJumpAttack` begin on the way to noise, as in foolbox, or at ``starting_points``; rows
  without one fail alone, where foolbox raises.
- ``repeat(n)`` of a random attack is n restarts in one call, or the nearest point of n runs.
- Random draws come from epsball's counters, seeded from torch's global generator.
- An attack that walks a path, as contrast, blur or noise, returns x where nothing on it is adversarial.
- Missing: `L0BrendelBethgeAttack` and its kin, whose steps solve a problem of their own for every row and which need
  numba in foolbox; `GenAttack`, a genetic search; and the L1 steps of Adam, which foolbox rescales to no L1 step.
- Criteria are `Misclassification` and `TargetedMisclassification`, foolbox's own or these, or labels.

A module is followed: its weights are those it has at each call, it is computed by the engine where
`epsball.from_torch` knows its layers, and ``model.engine`` and the repr say so, or why not.
"""

from __future__ import annotations

import sys
from typing import Any

from epsball.interop.foolbox.base import Attack, MinimizationAttack, Repeated
from epsball.interop.foolbox.decision import BoundaryAttack, HopSkipJumpAttack, PointwiseAttack
from epsball.interop.foolbox.gradient import (
    FGM,
    FGSM,
    L1PGD,
    L2PGD,
    MIFGSM,
    PGD,
    AdamPGD,
    L1BasicIterativeAttack,
    L1FastGradientAttack,
    L1MomentumIterativeFastGradientMethod,
    L1ProjectedGradientDescentAttack,
    L2AdamBasicIterativeAttack,
    L2AdamPGD,
    L2AdamProjectedGradientDescentAttack,
    L2BasicIterativeAttack,
    L2FastGradientAttack,
    L2MomentumIterativeFastGradientMethod,
    L2ProjectedGradientDescentAttack,
    LinfAdamBasicIterativeAttack,
    LinfAdamPGD,
    LinfAdamProjectedGradientDescentAttack,
    LinfBasicIterativeAttack,
    LinfFastGradientAttack,
    LinfMomentumIterativeFastGradientMethod,
    LinfPGD,
    LinfProjectedGradientDescentAttack,
    SparseL1DescentAttack,
    VirtualAdversarialAttack,
)
from epsball.interop.foolbox.model import (
    Misclassification,
    PyTorchModel,
    TargetedMisclassification,
    accuracy,
    to_foolbox,
)
from epsball.interop.foolbox.nearest import (
    DDNAttack,
    EADAttack,
    L0FMNAttack,
    L1FMNAttack,
    L2CarliniWagnerAttack,
    L2DeepFoolAttack,
    L2FMNAttack,
    LinfDeepFoolAttack,
    LInfFMNAttack,
    NewtonFoolAttack,
)
from epsball.interop.foolbox.noise import (
    L2AdditiveGaussianNoiseAttack,
    L2AdditiveUniformNoiseAttack,
    L2ClippingAwareAdditiveGaussianNoiseAttack,
    L2ClippingAwareAdditiveUniformNoiseAttack,
    L2ClippingAwareRepeatedAdditiveGaussianNoiseAttack,
    L2ClippingAwareRepeatedAdditiveUniformNoiseAttack,
    L2RepeatedAdditiveGaussianNoiseAttack,
    L2RepeatedAdditiveUniformNoiseAttack,
    LinfAdditiveUniformNoiseAttack,
    LinfRepeatedAdditiveUniformNoiseAttack,
)
from epsball.interop.foolbox.search import (
    BinarizationRefinementAttack,
    BinarySearchContrastReductionAttack,
    DatasetAttack,
    GaussianBlurAttack,
    InversionAttack,
    L2ContrastReductionAttack,
    LinearSearchBlendedUniformNoiseAttack,
    LinearSearchContrastReductionAttack,
    SaltAndPepperNoiseAttack,
)
from epsball.interop.foolbox.spatial import SpatialAttack

__all__ = [
    "FGM",
    "FGSM",
    "L1PGD",
    "L2PGD",
    "MIFGSM",
    "PGD",
    "AdamPGD",
    "Attack",
    "BinarizationRefinementAttack",
    "BinarySearchContrastReductionAttack",
    "BoundaryAttack",
    "DDNAttack",
    "DatasetAttack",
    "EADAttack",
    "GaussianBlurAttack",
    "HopSkipJumpAttack",
    "InversionAttack",
    "L0FMNAttack",
    "L1BasicIterativeAttack",
    "L1FMNAttack",
    "L1FastGradientAttack",
    "L1MomentumIterativeFastGradientMethod",
    "L1ProjectedGradientDescentAttack",
    "L2AdamBasicIterativeAttack",
    "L2AdamPGD",
    "L2AdamProjectedGradientDescentAttack",
    "L2AdditiveGaussianNoiseAttack",
    "L2AdditiveUniformNoiseAttack",
    "L2BasicIterativeAttack",
    "L2CarliniWagnerAttack",
    "L2ClippingAwareAdditiveGaussianNoiseAttack",
    "L2ClippingAwareAdditiveUniformNoiseAttack",
    "L2ClippingAwareRepeatedAdditiveGaussianNoiseAttack",
    "L2ClippingAwareRepeatedAdditiveUniformNoiseAttack",
    "L2ContrastReductionAttack",
    "L2DeepFoolAttack",
    "L2FMNAttack",
    "L2FastGradientAttack",
    "L2MomentumIterativeFastGradientMethod",
    "L2ProjectedGradientDescentAttack",
    "L2RepeatedAdditiveGaussianNoiseAttack",
    "L2RepeatedAdditiveUniformNoiseAttack",
    "LInfFMNAttack",
    "LinearSearchBlendedUniformNoiseAttack",
    "LinearSearchContrastReductionAttack",
    "LinfAdamBasicIterativeAttack",
    "LinfAdamPGD",
    "LinfAdamProjectedGradientDescentAttack",
    "LinfAdditiveUniformNoiseAttack",
    "LinfBasicIterativeAttack",
    "LinfDeepFoolAttack",
    "LinfFastGradientAttack",
    "LinfMomentumIterativeFastGradientMethod",
    "LinfPGD",
    "LinfProjectedGradientDescentAttack",
    "LinfRepeatedAdditiveUniformNoiseAttack",
    "MinimizationAttack",
    "Misclassification",
    "NewtonFoolAttack",
    "PointwiseAttack",
    "PyTorchModel",
    "Repeated",
    "SaltAndPepperNoiseAttack",
    "SparseL1DescentAttack",
    "SpatialAttack",
    "TargetedMisclassification",
    "VirtualAdversarialAttack",
    "accuracy",
    "to_foolbox",
]

attacks = criteria = utils = sys.modules[__name__]  # so that fb.attacks.LinfPGD is what it is in foolbox


def __getattr__(name: str) -> Any:
    raise AttributeError(f"epsball.interop.foolbox has no {name!r} in this version")
