"""Every attack class of the package, made small, with a model that it can run on: one list, which none can miss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import epsball as eb
from cases import batch, labels, pair
from epsball.sources import Tree

A = eb.attacks
SHAPE, FEATURES, CLASSES, ROWS = (1, 4, 4), 16, 5, 12
SEARCH = {"steps": 15, "search_steps": 3, "step_size": 0.05}

#: By class: how it is made here. Options are added by name; eps is one of them where the class has it.
MAKE: dict[str, Callable[..., Any]] = {
    "FGSM": lambda **k: A.FGSM(**{"eps": 0.2, **k}),
    "RFGSM": lambda **k: A.RFGSM(**{"eps": 0.2, **k}),
    "BIM": lambda **k: A.BIM(**{"eps": 0.2, "steps": 3, **k}),
    "ILCM": lambda **k: A.ILCM(**{"eps": 0.2, "steps": 3, **k}),
    "PGD": lambda **k: A.PGD(**{"eps": 0.2, "steps": 3, "restarts": 2, **k}),
    "MomentumPGD": lambda **k: A.MomentumPGD(**{"eps": 0.2, "steps": 3, "nesterov": True, **k}),
    "SmoothPGD": lambda **k: A.SmoothPGD(**{"eps": 0.8, "steps": 3, "samples": 2, "sigma": 0.1, **k}),
    "Jitter": lambda **k: A.Jitter(**{"eps": 0.2, "steps": 3, "restarts": 2, **k}),
    "AdamPGD": lambda **k: A.AdamPGD(**{"eps": 0.2, "steps": 3, **k}),
    "APGD": lambda **k: A.APGD(**{"eps": 0.2, "steps": 5, **k}),
    "SLIDE": lambda **k: A.SLIDE(**{"eps": 1.0, "steps": 3, "fraction": 0.2, **k}),
    "MaxConfidence": lambda **k: A.MaxConfidence(**{"eps": 0.2, "steps": 2, **k}),
    "Square": lambda **k: A.Square(**{"eps": 0.2, "queries": 8, **k}),
    "SPSA": lambda **k: A.SPSA(**{"eps": 0.2, "steps": 3, "samples": 3, **k}),
    "NES": lambda **k: A.NES(**{"eps": 0.2, "steps": 3, "samples": 3, **k}),
    "RandomSearch": lambda **k: A.RandomSearch(**{"eps": 0.2, "draws": 4, **k}),
    "VirtualAdversarial": lambda **k: A.VirtualAdversarial(**{"eps": 0.5, **k}),
    "Universal": lambda **k: A.Universal(**{"eps": 0.2, "epochs": 3, "batch_size": 5, **k}),
    "AutoAttack": lambda **k: A.AutoAttack(**{"eps": 0.2, "version": "rand", **k}),
    "LinearExact": lambda **k: A.LinearExact(**{"eps": 0.2, **k}),
    "DDN": lambda **k: A.DDN(**{"steps": 10, **k}),
    "FMN": lambda **k: A.FMN(**{"steps": 10, **k}),
    "DeepFool": lambda **k: A.DeepFool(**k),
    "NewtonFool": lambda **k: A.NewtonFool(**{"eta": 0.1, **k}),
    "FAB": lambda **k: A.FAB(**{"steps": 5, **k}),
    "CarliniWagner": lambda **k: A.CarliniWagner(**{**SEARCH, **k}),
    "EAD": lambda **k: A.EAD(**{**SEARCH, **k}),
    "LBFGS": lambda **k: A.LBFGS(**{"steps": 15, "search_steps": 6, **k}),
    "JSMA": lambda **k: A.JSMA(**k),
    "FeatureAddition": lambda **k: A.FeatureAddition(**{"k": 5, **k}),
    "FeatureDeletion": lambda **k: A.FeatureDeletion(**{"k": 5, **k}),
    "LinearMinimum": lambda **k: A.LinearMinimum(**k),
    "Boundary": lambda **k: A.Boundary(**{"steps": 15, **k}),
    "HopSkipJump": lambda **k: A.HopSkipJump(**{"steps": 2, "init_evals": 8, **k}),
    "Pointwise": lambda **k: A.Pointwise(**k),
    "Substitute": lambda **k: A.Substitute(
        **{"seeds": images(20, seed=9), "inner": A.FGSM(0.2), "rounds": 2, "epochs": 1, "classes": CLASSES, **k}
    ),
    "SparseFool": lambda **k: A.SparseFool(**k),
    "OnePixel": lambda **k: A.OnePixel(**{"pixels": 2, "steps": 8, "population": 12, **k}),
    "Pixle": lambda **k: A.Pixle(**{"restarts": 8, "iterations": 3, **k}),
    "Spatial": lambda **k: A.Spatial(**{"grid": (3, 3, 1), "pixels": 1, **k}),
    "TreeMinimum": lambda **k: A.TreeMinimum(**k),
    "TreeSearch": lambda **k: A.TreeSearch(**k),
    "StumpMinimum": lambda **k: A.StumpMinimum(**k),
    "NeighbourMinimum": lambda **k: A.NeighbourMinimum(**k),
}
WHOLE = ("Universal",)  # look at all rows at once
LINEAR = ("LinearExact", "LinearMinimum")
SOURCES = ("TreeMinimum", "TreeSearch", "StumpMinimum", "NeighbourMinimum")  # read a model of their own kind
NETWORKS = [name for name in MAKE if name not in LINEAR + SOURCES]


def options_of(name: str) -> set[str]:
    """The options that the class has."""
    return set(getattr(A, name).__dataclass_fields__)


def having(option: str, names: Any = tuple(MAKE)) -> list[str]:
    """Those attacks that have the option."""
    return [name for name in names if option in options_of(name)]


def images(rows: int = ROWS, seed: int = 0) -> np.ndarray:
    """Rows in [0, 1] as small images; a tenth of the pixels lie on each bound."""
    return batch(rows, FEATURES, seed).reshape(rows, *SHAPE)


def network(classes: int = CLASSES) -> Any:
    return pair([FEATURES, 9, classes], "relu", scale=3.0)[0]


def model_for(name: str, classes: int = CLASSES) -> Any:
    """A model that the attack can run on."""
    if name in LINEAR:
        return pair([FEATURES, classes])[0]
    if name in ("TreeMinimum", "TreeSearch"):
        node = np.array([[0, 0.4, 1, 2], [3, 0.6, 3, 4], [7, 0.5, 5, 6], *[[-1, 0, 0, 0]] * 4])
        value = np.eye(classes)[[0, 0, 0, 0, 1 % classes, 2 % classes, 3 % classes]]
        feature, threshold, left, right = node.T
        tree = Tree(feature.astype(int), threshold, left.astype(int), right.astype(int), value)
        return eb.sources.Trees([tree], FEATURES, np.zeros(classes))
    if name == "StumpMinimum":
        trees = []
        for feature in range(6):
            value = np.roll(np.eye(3, classes), feature, axis=1)
            trees.append(
                Tree(np.array([feature, -1, -1]), np.full(3, 0.5), np.array([1, 0, 0]), np.array([2, 0, 0]), value)
            )
        return eb.sources.Trees(trees, FEATURES, np.zeros(classes))
    if name == "NeighbourMinimum":
        points = images(40, seed=3)
        return eb.sources.KNN(points, labels(40, classes), k=1, classes=classes)
    return network(classes)


def problem(name: str, classes: int = CLASSES) -> tuple[Any, np.ndarray, np.ndarray]:
    """(model, rows, labels), of which every fourth is wrong."""
    model, x = model_for(name, classes), images()
    right = np.asarray(model.predict(x))
    return model, x, np.where(np.arange(ROWS) % 4 == 0, (right + 1) % max(classes, 2), right)
