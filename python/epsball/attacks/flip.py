"""Attacks on binary features and counts: features are added, or deleted, one by one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from epsball import _native
from epsball.arguments import settle, whole
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.minimum_norm import MARGIN, run_minimum_norm
from epsball.classifier import Classifier


@dataclass(frozen=True, eq=False)
class FeatureAddition(Attack):
    """At most k absent features are added (Grosse et al. 2017, arXiv 1606.04435): malware that still works.

    Of the features at the lower end of the box, the one whose presence raises the margin most, by its gradient at the
    point reached, goes to the upper end; no feature is ever removed. A row ends when it is misclassified, when no
    addition helps, or after k; it then returns x itself unless it succeeded.

    Parameters
    ----------
    k
        The most features that may be added.
    targeted
        y are the classes wanted, not the ones to leave.
    bounds
        As in `PGD`, but not None: absent and present. Features in between stay.
    mask
        1 where a feature may be added.
    norm
        "l0": distances count changed features.
    """

    k: int
    targeted: bool = False
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    norm: str = "l0"

    norms: ClassVar[tuple[str, ...]] = ("l0",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flips(self)

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        return run_flips(self, model, x, y, index, judged=judged, trace=trace, rise=True)


@dataclass(frozen=True, eq=False)
class FeatureDeletion(Attack):
    """At most k features are deleted (Globerson and Roweis 2006, "Nightmare at test time"): spam without its words.

    The feature whose deletion raises the margin most, by its gradient at the point reached, goes to the lower end of
    the box. Exact for linear models of two classes: no set of as many features raises the margin more. A row ends as in
    `FeatureAddition`.

    Parameters
    ----------
    k
        The most features that may be deleted.
    targeted, mask, norm
        As in `FeatureAddition`.
    bounds
        As in `PGD`, but not None: a deleted feature is at the lower end.
    """

    k: int
    targeted: bool = False
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    norm: str = "l0"

    norms: ClassVar[tuple[str, ...]] = ("l0",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flips(self)

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        return run_flips(self, model, x, y, index, judged=judged, trace=trace, rise=False)


def check_flips(attack: Any) -> None:
    """Check what both attacks are told."""
    settle(attack, k=whole("k", attack.k, 0))
    if attack.bounds is None:
        raise ValueError("bounds: wanted a pair (lower, upper), between which features move, got None")


def run_flips(
    attack: Any, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool, rise: bool
) -> Found:
    """Run the native attack."""
    features = math.prod(x.shape[1:])
    return run_minimum_norm(
        attack, _native.flip, model, x, y, index, loss=MARGIN, judged=judged, trace=trace, early_stop=True,
        steps=min(attack.k, features), rise=rise,
    )  # fmt: skip
