"""Training methods, optimisers and schedules for `eb.fit`."""

from epsball.training.adversarial_copies import adversarial_copies
from epsball.training.alp import ALP
from epsball.training.clp import CLP
from epsball.training.distillation import Distillation
from epsball.training.double_backprop import DoubleBackprop
from epsball.training.ensemble_training import EnsembleTraining
from epsball.training.fast_training import FastTraining
from epsball.training.fgsm_training import FGSMTraining
from epsball.training.free_training import FreeTraining
from epsball.training.history import History
from epsball.training.ibp_training import IBPTraining
from epsball.training.label_smoothing import LabelSmoothing
from epsball.training.linear_training import LinearTraining
from epsball.training.logit_squeezing import LogitSqueezing
from epsball.training.mart import MART
from epsball.training.noise_training import NoiseTraining
from epsball.training.optimizers import SGD, Adam, AdamW
from epsball.training.pgd_training import PGDTraining
from epsball.training.rfgsm_training import RFGSMTraining
from epsball.training.schedules import Constant, Cosine, Cyclic, Piecewise, Step, WarmUp
from epsball.training.smoothing_training import SmoothingTraining
from epsball.training.standard import Standard
from epsball.training.trades import TRADES
from epsball.training.vat import VAT

__all__ = [
    "ALP",
    "CLP",
    "MART",
    "SGD",
    "TRADES",
    "VAT",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "Cyclic",
    "Distillation",
    "DoubleBackprop",
    "EnsembleTraining",
    "FGSMTraining",
    "FastTraining",
    "FreeTraining",
    "History",
    "IBPTraining",
    "LabelSmoothing",
    "LinearTraining",
    "LogitSqueezing",
    "NoiseTraining",
    "PGDTraining",
    "Piecewise",
    "RFGSMTraining",
    "SmoothingTraining",
    "Standard",
    "Step",
    "WarmUp",
    "adversarial_copies",
]
