"""Projected gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found, configured
from epsball.attacks.loop import Loop, default_step_size, run_loop
from epsball.classifier import Classifier


@dataclass(frozen=True, eq=False)
class PGD(Attack):
    """Projected gradient descent with restarts (Madry et al. 2018, arXiv 1706.06083).

    Each step maximises gᵀd over ‖d‖ ≤ step_size in the attack's norm, then projects onto the ball and clips to the
    box. Every row keeps its best point over all iterates and restarts: misclassified first, then the highest loss.

    Parameters
    ----------
    eps
        Radius of the ball: a number or one per row.
    norm
        "linf", "l2" or "l1".
    steps
        Gradient steps per restart.
    step_size
        A number or one per row; None: 2.5 · eps / steps.
    restarts
        Runs per row; the row's best point over all of them is returned. More than one only with `random_start`.
    random_start
        Start uniformly in the ball (clipped to the box), not at x.
    targeted
        Minimise the loss towards y instead of maximising it.
    loss
        "cross_entropy", "margin", "squared_error", "confidence", "hinge", "crammer_singer", "logit", "dlr" or "jitter",
        as in `Sequential.loss`. Hinges are flat where the label leads by its full margin: an attack that ascends them
        from there has no direction, stays, and says so in `zero_gradient`; "margin" has the same direction everywhere.
    bounds
        (lower, upper): numbers or arrays that broadcast to one input; None: no box.
    mask
        1 where the attacker may change a feature; broadcasts to x.
    early_stop
        A row ends at its first success, whose loss need not be the highest.
    seed
        Of the random starts, in [0, 2**64); a row's draw depends on it, on the row's index and on the restart only.
    """

    eps: Any
    norm: str = "linf"
    steps: int = 40
    step_size: Any = None
    restarts: int = 1
    random_start: bool = True
    targeted: bool = False
    loss: str = "cross_entropy"
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    early_stop: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.restarts > 1 and not self.random_start:
            raise ValueError(f"restarts: wanted 1 without random_start, as every run is the same, got {self.restarts}")

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        loop = Loop(
            steps=self.steps,
            step_size=default_step_size(self.eps, self.steps) if self.step_size is None else self.step_size,
            restarts=self.restarts,
            random_start="ball" if self.random_start else "none",
            early_stop=self.early_stop,
            seed=self.seed,
        )
        return run_loop(self, loop, model, x, y, index, judged=judged, trace=trace)


def pgd(
    model: Classifier,
    x: Any,
    y: Any = None,
    eps: Any = 0.3,
    norm: str = "linf",
    steps: int = 40,
    step_size: Any = None,
    restarts: int = 1,
    random_start: bool = True,
    targeted: bool = False,
    loss: str = "cross_entropy",
    bounds: Bounds = (0.0, 1.0),
    mask: Any = None,
    early_stop: bool = False,
    seed: int = 0,
    index: Any = None,
) -> Any:
    """Projected gradient descent in one call: ``attacks.PGD(eps, ...)(model, x, y)`` (Madry et al. 2018).

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
        Radius of the ball: a number or one per row.
    norm, steps, step_size, restarts, random_start, targeted, loss, bounds, mask, early_stop, seed
        As in `attacks.PGD`.
    index
        (N,) integers that key each row's random numbers; None: 0 … N−1.

    Returns
    -------
    array
        The adversarial points, of x's kind, shape and dtype; ball and box hold exactly, measured in float64.

    Raises
    ------
    ValueError, TypeError
        A bad argument, named.

    Examples
    --------
    >>> import epsball as eb
    >>> x, y = eb.datasets.load("mnist-subset", split="test")
    >>> model = eb.models.mlp([784, 256, 256, 10])
    >>> x_adv = eb.pgd(model, x, y, eps=0.3, steps=40)
    """
    attack = configured(
        PGD, eps, norm, steps, step_size, restarts, random_start, targeted, loss, bounds, mask, early_stop, seed
    )
    return attack(model, x, y, index)
