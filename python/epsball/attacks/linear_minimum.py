"""The exact minimum perturbation of linear models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from epsball import _native
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found, check_own_model
from epsball.attacks.minimum_norm import MARGIN, run_minimum_norm
from epsball.layers import Dropout, Flatten, Linear
from epsball.model import Sequential


@dataclass(frozen=True, eq=False)
class LinearMinimum(Attack):
    """The nearest misclassified point of a linear model, in closed form: no attack finds a nearer one.

    x is projected onto the boundary plane of every rival class (Moosavi-Dezfooli et al. 2016, arXiv 1511.04599, section
    3.1, where there is no box), exactly within the box. The nearest projection is returned, moved beyond its plane
    by what float32 logits need to tell the classes apart, at most a thousandth of the way. A row that no point of the
    box turns returns x itself.

    Parameters
    ----------
    norm
        "l2", "linf" or "l1".
    bounds, mask
        As in `PGD`.

    Raises
    ------
    ValueError, TypeError
        At a call, a model that is not linear (Flatten and one Linear layer), or a trace: there are no iterates.
    """

    norm: str = "l2"
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None

    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")

    def _attack(self, model: Sequential, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        own = check_own_model(model, "the closed form is for linear epsball models")
        kinds = [type(layer) for layer in own.layers if not isinstance(layer, Flatten | Dropout)]
        if kinds != [Linear]:
            raise ValueError("model: the closed form needs a linear model (Flatten and one Linear layer)")
        if trace:
            raise ValueError("trace: the closed form has no iterates")
        return run_minimum_norm(
            self, _native.linear_minimum, model, x, y, index, loss=MARGIN, judged=judged, trace=False
        )
