"""Named recipes: a model, its data and all settings of a training run, found by measurement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from epsball import models
from epsball.model import Sequential
from epsball.training.method import Method
from epsball.training.optimizers import Adam, Optimizer
from epsball.training.pgd_training import PGDTraining
from epsball.training.schedules import Cosine


@dataclass(frozen=True)
class Recipe:
    """What `epsball train --recipe` does.

    Attributes
    ----------
    data
        Name of the data set, for `datasets.load`.
    model
        Makes the untrained model from a seed.
    method, optimizer, epochs, batch_size
        As in `fit`.
    """

    data: str
    model: Callable[[int], Sequential]
    method: Method
    optimizer: Optimizer
    epochs: int
    batch_size: int


# MNIST at eps 0.3 from nothing in less than a minute on two cores. Few inner steps would end at chance or in gradient
# masking from a cold start: eps grows over the first 0.4 of the run, two steps of 0.2 reach the whole ball afterwards,
# and the averaged weights are steadier than the last ones.
MNIST_FAST = Recipe(
    data="mnist",
    model=lambda seed: models.cnn((1, 28, 28), 10, seed=seed),
    method=PGDTraining(eps=0.3, steps=2, step_size=0.2, ramp=0.4),
    optimizer=Adam(lr=3e-3, schedule=Cosine(), average=0.998),
    epochs=10,
    batch_size=100,
)

RECIPES = {"mnist-fast": MNIST_FAST}
