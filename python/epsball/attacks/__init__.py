"""Attacks as frozen dataclasses: configure once, call on any model, array in and array of the same kind out."""

from epsball.attacks.base import Attack, AttackResult, from_dict
from epsball.attacks.bim import BIM
from epsball.attacks.fgsm import FGSM, fgsm
from epsball.attacks.ilcm import ILCM
from epsball.attacks.linear_exact import LinearExact, exact_robust_accuracy, linear_exact
from epsball.attacks.pgd import PGD, pgd
from epsball.attacks.rfgsm import RFGSM

__all__ = [
    "BIM",
    "FGSM",
    "ILCM",
    "PGD",
    "RFGSM",
    "Attack",
    "AttackResult",
    "LinearExact",
    "exact_robust_accuracy",
    "fgsm",
    "from_dict",
    "linear_exact",
    "pgd",
]
