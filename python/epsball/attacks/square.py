"""Square: random search that needs logits only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball import _native
from epsball.arguments import BELOW_ONE, flag, number, settle
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.loop import Loop, run_loop
from epsball.classifier import Classifier


@dataclass(frozen=True, eq=False)
class Square(Attack):
    """Random search by squares (Andriushchenko et al. 2020, arXiv 1912.00049; L1: Croce and Hein 2021, 2103.01208).

    It asks the model for logits and never for a gradient. A row starts with vertical stripes of −eps and eps (L2 and
    L1: with five by five tiles), then tries one random square after another and keeps what raises the loss. Every
    position of a square is equally likely, the last row and column included, which the authors' code never draws.
    In L2 and L1 pixels that would leave the bounds at once get nothing of eps, which goes to their neighbours; the
    authors' code loses what the bounds cut off.
    Squares shrink with the number of queries: their share of the image halves after 10, 50, 200, 500, 1,000, 2,000,
    4,000, 6,000 and 8,000 of them. Inputs that are no images are taken for images one pixel high.

    Parameters
    ----------
    eps, norm
        As in `PGD`.
    queries
        The most forward passes for a row, its first point included.
    p_init
        Share of the features that the first squares change, in (0, 1) (the paper's p).
    from_x
        x itself is the first point, and the stripes count where they raise the loss, as in ART; squares shrink one
        query later.
    rescale
        Let the squares shrink as if `queries` were 10,000, as the paper does and AutoAttack does not.
    targeted
        Minimise the loss towards y instead of maximising it.
    loss
        None: "margin", and towards a target "cross_entropy", as in AutoAttack; or any loss of `PGD`.
    bounds, mask
        As in `PGD`.
    early_stop
        A row ends at its first success.
    seed
        Of the squares, in [0, 2**64); a row's draws depend on it and on the row's index only.
    """

    needs = "scores"

    eps: Any
    norm: str = "linf"
    queries: int = 5000
    p_init: float = 0.8
    rescale: bool = False
    targeted: bool = False
    loss: str | None = None
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    early_stop: bool = True
    seed: int = 0
    from_x: bool = False

    def __post_init__(self) -> None:
        if self.loss is None:
            settle(self, loss="cross_entropy" if self.targeted else "margin")
        super().__post_init__()
        settle(self, p_init=number("p_init", self.p_init, 1e-9, BELOW_ONE), rescale=flag("rescale", self.rescale),
               from_x=flag("from_x", self.from_x))  # fmt: skip

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        channels, height, width = image_shape(x.shape[1:])
        size = {"channels": channels, "height": height, "width": width}
        loop = Loop(
            early_stop=self.early_stop,
            seed=self.seed,
            native=_native.square,
            more={"queries": self.queries, "part": self.p_init, "rescale": self.rescale, "from_x": self.from_x, **size},
        )
        return run_loop(self, loop, model, x, y, index, judged=judged, trace=trace)


def image_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return (channels, height, width); what is no image is one pixel high."""
    if len(shape) == 3:
        return shape
    if len(shape) == 2:
        return 1, *shape
    features = 1
    for n in shape:
        features *= n
    return 1, 1, features
