"""The fast gradient (sign) method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found, configured
from epsball.attacks.loop import Loop, run_loop
from epsball.classifier import Classifier


@dataclass(frozen=True, eq=False)
class FGSM(Attack):
    """One step of size eps in the direction that raises the loss most (Goodfellow et al. 2015, arXiv 1412.6572).

    "linf": eps · sign(g); "l2": eps · g / ‖g‖₂; "l1": the features of largest |g| move first, each to the end of the
    box, until eps is spent. The step is returned even where x was misclassified already or had the higher loss.

    Parameters
    ----------
    eps
        Size of the step: a number or one per row.
    norm
        "linf", "l2" or "l1".
    targeted
        Step down the loss of y instead of up.
    loss, bounds, mask
        As in `PGD`.
    """

    eps: Any
    norm: str = "linf"
    targeted: bool = False
    loss: str = "cross_entropy"
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        loop = Loop(steps=1, step_size=self.eps, keep_best=False)
        return run_loop(self, loop, model, x, y, index, judged=judged, trace=trace)


def fgsm(
    model: Classifier,
    x: Any,
    y: Any = None,
    eps: Any = 0.3,
    norm: str = "linf",
    targeted: bool = False,
    loss: str = "cross_entropy",
    bounds: Bounds = (0.0, 1.0),
    mask: Any = None,
) -> Any:
    """Fast gradient sign method in one call: ``attacks.FGSM(eps, ...)(model, x, y)`` (Goodfellow et al. 2015).

    Parameters
    ----------
    model
        The model attacked: epsball's own or a gradient source.
    x
        (N, ...) float32, float64 or float16, within `bounds`: a NumPy array, a torch tensor or another array, in CPU
        memory or, for a model on it, on the CUDA device.
    y
        Class indices (N,): true labels, or targets if `targeted`; or (N, K) probabilities. None: the model's own
        predictions.
    eps
        Size of the step: a number or one per row.
    norm, targeted, loss, bounds, mask
        As in `attacks.FGSM`.

    Returns
    -------
    array
        The adversarial points, of x's kind, shape and dtype; ball and box hold exactly, measured in float64.

    Raises
    ------
    ValueError, TypeError
        A bad argument, named.
    """
    return configured(FGSM, eps, norm, targeted, loss, bounds, mask)(model, x, y)
