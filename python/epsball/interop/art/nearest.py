"""ART's attacks that look for the nearest adversarial point with gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from epsball import attacks
from epsball.arguments import number, one_of, whole
from epsball.arrays import Array
from epsball.interop.art.arguments import check_only, draw_seed, for_rows
from epsball.interop.art.base import MinimumNorm


@dataclass(eq=False, repr=False)
class CarliniL2Method(MinimumNorm):
    """Carlini and Wagner's L2 attack (see `attacks.CarliniWagner`).

    ART searches the length of every step; here Adam takes as many steps as ART may try lengths,
    ``max_iter · (max_halving + max_doubling)`` in each search.
    """

    classifier: Any
    confidence: float = 0.0
    targeted: bool = False
    learning_rate: float = 0.01
    binary_search_steps: int = 10
    max_iter: int = 10
    initial_const: float = 0.01
    max_halving: int = 5
    max_doubling: int = 5
    batch_size: int = 1
    verbose: bool = True

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.CarliniWagner`."""
        lengths = whole("max_halving", self.max_halving, 1) + whole("max_doubling", self.max_doubling, 1)
        return attacks.CarliniWagner(
            self.max_iter * lengths, self.binary_search_steps, self.learning_rate, self.initial_const,
            self.confidence, **common,
        )  # fmt: skip


@dataclass(eq=False, repr=False)
class CarliniLInfMethod(MinimumNorm):
    """Carlini and Wagner's L∞ attack (see `attacks.CarliniWagner`), which goes on where it is.

    ART starts at x for every constant, and breaks fewer rows in as many steps. `decrease_factor` and `const_factor`
    have one value only.
    """

    classifier: Any
    confidence: float = 0.0
    targeted: bool = False
    learning_rate: float = 0.01
    max_iter: int = 10
    decrease_factor: float = 0.9
    initial_const: float = 1e-5
    largest_const: float = 20.0
    const_factor: float = 2.0
    batch_size: int = 1
    verbose: bool = True

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.CarliniWagner` with ``norm="linf"``."""
        doublings = math.ceil(math.log2(self.largest_const / self.initial_const))
        return attacks.CarliniWagner(
            self.max_iter, max(doublings, 1), self.learning_rate, self.initial_const, self.confidence, norm="linf",
            **common,
        )  # fmt: skip

    def _check(self) -> None:
        super()._check()
        check_only(decrease_factor=(self.decrease_factor, 0.9), const_factor=(self.const_factor, 2.0))
        for name in ("initial_const", "largest_const"):
            number(name, getattr(self, name), 1e-30, 1e30)


@dataclass(eq=False, repr=False)
class CarliniL0Method(MinimumNorm):
    """Carlini and Wagner's L0 attack (see `attacks.CarliniWagner`), which counts changed features.

    Adam's steps are counted as for `CarliniL2Method`. `warm_start` is True. `mask` is one of x's shape, 0 where nothing
    may change; `generate` takes another.
    """

    classifier: Any
    confidence: float = 0.0
    targeted: bool = False
    learning_rate: float = 0.01
    binary_search_steps: int = 10
    max_iter: int = 10
    initial_const: float = 0.01
    mask: Any = None
    warm_start: bool = True
    max_halving: int = 5
    max_doubling: int = 5
    batch_size: int = 1
    verbose: bool = True

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.CarliniWagner` with ``norm="l0"``."""
        lengths = whole("max_halving", self.max_halving, 1) + whole("max_doubling", self.max_doubling, 1)
        return attacks.CarliniWagner(
            self.max_iter * lengths, self.binary_search_steps, self.learning_rate, self.initial_const,
            self.confidence, norm="l0", **common,
        )  # fmt: skip

    def _common(self, mask: Any) -> dict[str, Any]:
        return super()._common(self.mask if mask is None else mask)

    def _check(self) -> None:
        super()._check()
        check_only(warm_start=(self.warm_start, True))


@dataclass(eq=False, repr=False)
class ElasticNet(MinimumNorm):
    """The elastic-net attack (see `attacks.EAD`); "EN" chooses by L2, nearly all of the elastic net's distance."""

    classifier: Any
    confidence: float = 0.0
    targeted: bool = False
    learning_rate: float = 0.01
    binary_search_steps: int = 9
    max_iter: int = 100
    beta: float = 1e-3
    initial_const: float = 1e-3
    batch_size: int = 1
    decision_rule: str = "EN"
    verbose: bool = True

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.EAD`."""
        norm = "l1" if one_of("decision_rule", self.decision_rule, ("EN", "L1", "L2")) == "L1" else "l2"
        return attacks.EAD(
            norm, self.beta, self.max_iter, self.binary_search_steps, self.learning_rate, self.initial_const,
            self.confidence, **common,
        )  # fmt: skip


@dataclass(eq=False, repr=False)
class DeepFool(MinimumNorm):
    """Steps to the nearest boundary (see `attacks.DeepFool`); as in ART rows leave their predictions, whatever y is."""

    classifier: Any
    max_iter: int = 100
    epsilon: float = 1e-6
    nb_grads: int = 10
    batch_size: int = 1
    verbose: bool = True

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.DeepFool`."""
        rivals = max(whole("nb_grads", self.nb_grads, 1) - 1, 1)  # ART counts the label among them
        return attacks.DeepFool("l2", self.max_iter, self.epsilon, rivals, common["bounds"], common["mask"])

    def _found(self, model: Any, x: Array, y: Any, common: dict[str, Any]) -> Array:
        return super()._found(model, x, None, common)


@dataclass(eq=False, repr=False)
class NewtonFool(MinimumNorm):
    """Steps down the prediction's probability (see `attacks.NewtonFool`), whatever y is.

    The model's logits are taken, where ART wants probabilities; rows end once they are misclassified, where ART's take
    all their steps.
    """

    classifier: Any
    max_iter: int = 100
    eta: float = 0.01
    batch_size: int = 1
    verbose: bool = True

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.NewtonFool`."""
        return attacks.NewtonFool(self.max_iter, self.eta, common["bounds"], common["mask"])

    def _found(self, model: Any, x: Array, y: Any, common: dict[str, Any]) -> Array:
        return super()._found(model, x, None, common)


@dataclass(eq=False, repr=False)
class SaliencyMapMethod(MinimumNorm):
    """Two features at a time (see `attacks.JSMA`, with ``repeat``) towards y, or towards random classes.

    A negative theta lowers features. As in ART the two whose derivatives of the target's logit are largest move, and a
    row ends when more than `gamma` of its features have; rows that fail then take the paper's pairs, which lower the
    other classes, too.
    """

    classifier: Any
    theta: float = 0.1
    gamma: float = 1.0
    batch_size: int = 1
    verbose: bool = True

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.JSMA`; eps is how many features may change."""
        options = common | {"targeted": True, "repeat": True}
        return attacks.JSMA(abs(self.theta), eps, self.theta > 0, **options)

    def _found(self, model: Any, x: Array, y: Any, common: dict[str, Any]) -> Array:
        aims = attacks.target_labels(model, x, None, "random", seed=draw_seed()) if y is None else y
        features = math.prod(x.shape[1:])
        most = math.floor(number("gamma", self.gamma, 0.0, 1.0) * features) + 2  # ART looks after a pair has moved
        attack = self.translated(min(most / features, 1.0), common)
        found, left = x.copy(), np.arange(len(x))
        for others in (False, True):
            part = replace(attack, others=others, mask=for_rows(common, x, left)["mask"])  # type: ignore[call-arg]
            run = part.run(model, x[left], aims[left])
            won = run.success & (run.distance <= most)
            found[left[won]] = run.x_adv[won]
            left = left[~won]
        return found
