"""Training methods, optimisers and schedules for `eb.fit`."""

from epsball.training.fgsm_training import FGSMTraining
from epsball.training.history import History
from epsball.training.optimizers import SGD, Adam, AdamW
from epsball.training.pgd_training import PGDTraining
from epsball.training.schedules import Constant, Cosine, Cyclic, Step
from epsball.training.standard import Standard

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "Cyclic",
    "FGSMTraining",
    "History",
    "PGDTraining",
    "Standard",
    "Step",
]
