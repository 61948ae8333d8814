"""Attacks as frozen dataclasses: configure once, call on any model, array in and array of the same kind out."""

from epsball.attacks.base import Attack, AttackResult, from_dict
from epsball.attacks.bim import BIM
from epsball.attacks.carlini_wagner import CarliniWagner
from epsball.attacks.ddn import DDN
from epsball.attacks.deepfool import DeepFool
from epsball.attacks.ead import EAD
from epsball.attacks.fab import FAB
from epsball.attacks.fgsm import FGSM, fgsm
from epsball.attacks.fmn import FMN
from epsball.attacks.ilcm import ILCM
from epsball.attacks.jsma import JSMA
from epsball.attacks.linear_exact import LinearExact, exact_robust_accuracy, linear_exact
from epsball.attacks.linear_minimum import LinearMinimum
from epsball.attacks.pgd import PGD, pgd
from epsball.attacks.rfgsm import RFGSM

__all__ = [
    "BIM",
    "DDN",
    "EAD",
    "FAB",
    "FGSM",
    "FMN",
    "ILCM",
    "JSMA",
    "PGD",
    "RFGSM",
    "Attack",
    "AttackResult",
    "CarliniWagner",
    "DeepFool",
    "LinearExact",
    "LinearMinimum",
    "exact_robust_accuracy",
    "fgsm",
    "from_dict",
    "linear_exact",
    "pgd",
]
