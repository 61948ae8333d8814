"""Attacks as frozen dataclasses: configure once, call on any model, array in and array of the same kind out."""

from typing import TYPE_CHECKING

from epsball.attacks.autoattack import AutoAttack, AutoAttackWarning, autoattack
from epsball.attacks.base import Attack, AttackResult, from_dict
from epsball.attacks.fgsm import FGSM, fgsm
from epsball.attacks.linear_exact import LinearExact, exact_robust_accuracy, linear_exact
from epsball.attacks.pgd import PGD, pgd
from epsball.lazy import found_in

if TYPE_CHECKING:
    from epsball.attacks.adam_pgd import AdamPGD
    from epsball.attacks.apgd import APGD
    from epsball.attacks.bim import BIM
    from epsball.attacks.boundary import Boundary
    from epsball.attacks.broken import BrokenRows
    from epsball.attacks.carlini_wagner import CarliniWagner
    from epsball.attacks.ddn import DDN
    from epsball.attacks.decision import AttackStopped
    from epsball.attacks.deepfool import DeepFool
    from epsball.attacks.ead import EAD
    from epsball.attacks.fab import FAB
    from epsball.attacks.flip import FeatureAddition, FeatureDeletion
    from epsball.attacks.fmn import FMN
    from epsball.attacks.hop_skip_jump import HopSkipJump
    from epsball.attacks.ilcm import ILCM
    from epsball.attacks.jitter import Jitter
    from epsball.attacks.jsma import JSMA
    from epsball.attacks.lbfgs import LBFGS
    from epsball.attacks.linear_minimum import LinearMinimum
    from epsball.attacks.max_confidence import MaxConfidence
    from epsball.attacks.momentum_pgd import MomentumPGD
    from epsball.attacks.neighbour_minimum import NeighbourMinimum
    from epsball.attacks.newton_fool import NewtonFool
    from epsball.attacks.one_pixel import OnePixel
    from epsball.attacks.pixle import Pixle
    from epsball.attacks.pointwise import Pointwise
    from epsball.attacks.random_search import RandomSearch
    from epsball.attacks.rfgsm import RFGSM
    from epsball.attacks.slide import SLIDE
    from epsball.attacks.smooth_pgd import SmoothPGD
    from epsball.attacks.sparsefool import SparseFool
    from epsball.attacks.spatial import Spatial
    from epsball.attacks.spsa import NES, SPSA
    from epsball.attacks.square import Square
    from epsball.attacks.stump_minimum import StumpMinimum
    from epsball.attacks.substitute import Substitute
    from epsball.attacks.targets import best_of_targets, target_labels
    from epsball.attacks.tree_minimum import TreeMinimum
    from epsball.attacks.tree_search import TreeSearch
    from epsball.attacks.universal import Universal
    from epsball.attacks.virtual_adversarial import VirtualAdversarial
else:
    # All but those above, whose functions have the names of modules: a module imported later would take their place.
    __getattr__ = found_in(
        __name__,
        {
            "adam_pgd": ("AdamPGD",), "apgd": ("APGD",), "bim": ("BIM",), "boundary": ("Boundary",),
            "broken": ("BrokenRows",), "carlini_wagner": ("CarliniWagner",), "ddn": ("DDN",),
            "decision": ("AttackStopped",), "deepfool": ("DeepFool",), "ead": ("EAD",), "fab": ("FAB",),
            "flip": ("FeatureAddition", "FeatureDeletion"), "fmn": ("FMN",), "hop_skip_jump": ("HopSkipJump",),
            "ilcm": ("ILCM",), "jitter": ("Jitter",), "jsma": ("JSMA",), "lbfgs": ("LBFGS",),
            "linear_minimum": ("LinearMinimum",), "max_confidence": ("MaxConfidence",),
            "momentum_pgd": ("MomentumPGD",), "neighbour_minimum": ("NeighbourMinimum",),
            "newton_fool": ("NewtonFool",), "one_pixel": ("OnePixel",), "pixle": ("Pixle",),
            "pointwise": ("Pointwise",), "random_search": ("RandomSearch",), "rfgsm": ("RFGSM",), "slide": ("SLIDE",),
            "smooth_pgd": ("SmoothPGD",), "sparsefool": ("SparseFool",), "spatial": ("Spatial",),
            "spsa": ("NES", "SPSA"), "square": ("Square",), "stump_minimum": ("StumpMinimum",),
            "substitute": ("Substitute",), "targets": ("best_of_targets", "target_labels"),
            "tree_minimum": ("TreeMinimum",), "tree_search": ("TreeSearch",), "universal": ("Universal",),
            "virtual_adversarial": ("VirtualAdversarial",),
        },
    )  # fmt: skip

__all__ = [
    "APGD",
    "BIM",
    "DDN",
    "EAD",
    "FAB",
    "FGSM",
    "FMN",
    "ILCM",
    "JSMA",
    "LBFGS",
    "NES",
    "PGD",
    "RFGSM",
    "SLIDE",
    "SPSA",
    "AdamPGD",
    "Attack",
    "AttackResult",
    "AttackStopped",
    "AutoAttack",
    "AutoAttackWarning",
    "Boundary",
    "BrokenRows",
    "CarliniWagner",
    "DeepFool",
    "FeatureAddition",
    "FeatureDeletion",
    "HopSkipJump",
    "Jitter",
    "LinearExact",
    "LinearMinimum",
    "MaxConfidence",
    "MomentumPGD",
    "NeighbourMinimum",
    "NewtonFool",
    "OnePixel",
    "Pixle",
    "Pointwise",
    "RandomSearch",
    "SmoothPGD",
    "SparseFool",
    "Spatial",
    "Square",
    "StumpMinimum",
    "Substitute",
    "TreeMinimum",
    "TreeSearch",
    "Universal",
    "VirtualAdversarial",
    "autoattack",
    "best_of_targets",
    "exact_robust_accuracy",
    "fgsm",
    "from_dict",
    "linear_exact",
    "pgd",
    "target_labels",
]


def __dir__() -> list[str]:
    return sorted(__all__)
