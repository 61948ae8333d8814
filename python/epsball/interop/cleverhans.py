"""Drop-in for cleverhans v4 (torch): its functions and signatures; tensors in, tensors out; the attacks are epsball's.

``from epsball.interop.cleverhans import projected_gradient_descent`` is the whole migration. As there, eps, steps and
norms have no defaults, and ``y=None`` means the model's own predictions. What differs, and is meant to:

- `projected_gradient_descent` returns the best iterate of each row (misclassified first, then the highest loss), not
  the last, takes ``norm=1``, and its L2 random start is uniform in the ball; cleverhans draws from a cube, of which
  nearly everything lies beyond the ball and is put on its surface.
- `carlini_wagner_l2`, `spsa` and `hop_skip_jump_attack` return rows that they do not break as they were, and print
  nothing; `hop_skip_jump_attack` begins at random points of the box and does not fail where there is none.
- `spsa` starts at x, where cleverhans draws a start, and takes all rows at once.
- The L1 step of `fast_gradient_method` goes on to the next feature where the box stops the first.
- Gradients below 1e-6 are a direction like any other.
- Bounds are checked whatever `sanity_checks` says: inputs outside of them are an error.
- Random draws come from epsball's counters, seeded from torch's global generator.

A ``model_fn`` that is a torch module is computed by the engine where `epsball.from_torch` knows its layers, with the
weights it has at each call; `followed` says whether it is. Any other function is called as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from epsball import attacks
from epsball.arguments import flag, number, whole
from epsball.interop.ball import into_ball
from epsball.interop.following import Followed, follow

__all__ = [
    "carlini_wagner_l2",
    "fast_gradient_method",
    "followed",
    "hop_skip_jump_attack",
    "noise",
    "projected_gradient_descent",
    "sparse_l1_descent",
    "spsa",
]

NORMS = {np.inf: "linf", 1: "l1", 2: "l2"}


@lru_cache(maxsize=4)  # cleverhans' functions keep nothing between calls, and lowering takes as long as a few steps
def followed(model_fn: Any) -> Followed:
    """Return what stands for ``model_fn`` in attacks; its `engine` says who computes it, and why.

    The last four functions are remembered, and kept alive.
    """
    return follow("model_fn", model_fn)


def fast_gradient_method(
    model_fn: Callable[[Any], Any],
    x: Any,
    eps: Any,
    norm: Any,
    clip_min: Any = None,
    clip_max: Any = None,
    y: Any = None,
    targeted: bool = False,
    sanity_checks: bool = False,
) -> Any:
    """One gradient step of length eps in the norm np.inf, 1 or 2 (see `epsball.attacks.FGSM`)."""
    flag("sanity_checks", sanity_checks)
    attack = attacks.FGSM(eps, norm=_norm(norm), targeted=targeted, bounds=_bounds(clip_min, clip_max))
    return _run(attack, model_fn, x, y)


def projected_gradient_descent(
    model_fn: Callable[[Any], Any],
    x: Any,
    eps: Any,
    eps_iter: Any,
    nb_iter: int,
    norm: Any,
    clip_min: Any = None,
    clip_max: Any = None,
    y: Any = None,
    targeted: bool = False,
    rand_init: bool | None = True,
    rand_minmax: Any = None,
    sanity_checks: bool = True,
) -> Any:
    """`nb_iter` steps of `eps_iter` in the ball of radius eps (see `epsball.attacks.PGD`).

    `rand_minmax` other than eps is an error.
    """
    flag("sanity_checks", sanity_checks)
    if rand_minmax is not None and rand_minmax != eps:
        raise ValueError(f"rand_minmax: wanted None or eps = {eps}, as starts are in the ball, got {rand_minmax}")
    if np.any(np.asarray(eps_iter) > np.asarray(eps)):
        raise ValueError(f"eps_iter: wanted at most eps = {eps}, got {eps_iter}")
    random = rand_init is not None and flag("rand_init", rand_init)
    attack = attacks.PGD(
        eps,
        norm=_norm(norm),
        steps=nb_iter,
        step_size=eps_iter,
        random_start=random,
        targeted=targeted,
        bounds=_bounds(clip_min, clip_max),
        seed=_draw_seed() if random else 0,
    )
    return _run(attack, model_fn, x, y)


def sparse_l1_descent(
    model_fn: Callable[[Any], Any],
    x: Any,
    eps: float = 10.0,
    eps_iter: float = 1.0,
    nb_iter: int = 20,
    y: Any = None,
    targeted: bool = False,
    clip_min: Any = None,
    clip_max: Any = None,
    rand_init: bool = False,
    clip_grad: bool = False,
    grad_sparsity: float = 99,
    sanity_checks: bool = True,
) -> Any:
    """Steps shared by the ``100 - grad_sparsity`` % of the features with the largest derivatives (`attacks.SLIDE`).

    Features that the box stops never take part: `clip_grad` changes nothing. `grad_sparsity` is a number.
    """
    flag("sanity_checks", sanity_checks)
    flag("clip_grad", clip_grad)
    random = flag("rand_init", rand_init)
    attack = attacks.SLIDE(
        eps,
        steps=nb_iter,
        step_size=eps_iter,
        fraction=1 - number("grad_sparsity", grad_sparsity, 0.0, 100.0) / 100,
        random_start=random,
        targeted=targeted,
        bounds=_bounds(clip_min, clip_max),
        seed=_draw_seed() if random else 0,
    )
    return _run(attack, model_fn, x, y)


def carlini_wagner_l2(
    model_fn: Callable[[Any], Any],
    x: Any,
    n_classes: int,
    y: Any = None,
    targeted: bool = False,
    lr: float = 5e-3,
    confidence: float = 0,
    clip_min: Any = 0,
    clip_max: Any = 1,
    initial_const: float = 1e-2,
    binary_search_steps: int = 5,
    max_iterations: int = 1000,
) -> Any:
    """The nearest misclassified point in L2 (see `epsball.attacks.CarliniWagner`); the model knows `n_classes`."""
    whole("n_classes", n_classes, 1)
    options: dict[str, Any] = {"initial_constant": initial_const, "confidence": confidence, "targeted": targeted}
    attack = attacks.CarliniWagner(
        max_iterations, binary_search_steps, lr, bounds=_bounds(clip_min, clip_max), **options
    )
    return _run(attack, model_fn, x, y)


def spsa(
    model_fn: Callable[[Any], Any],
    x: Any,
    eps: float,
    nb_iter: int,
    norm: Any = np.inf,
    clip_min: Any = -np.inf,
    clip_max: Any = np.inf,
    y: Any = None,
    targeted: bool = False,
    early_stop_loss_threshold: float | None = None,
    learning_rate: float = 0.01,
    delta: float = 0.01,
    spsa_samples: int = 128,
    spsa_iters: int = 1,
    is_debug: bool = False,
    sanity_checks: bool = True,
) -> Any:
    """Adam on gradients estimated from logits, in the norm np.inf or 2 (see `epsball.attacks.SPSA`).

    `early_stop_loss_threshold` is None or 0, at which a row is solved; None goes on to the last step.
    """
    flag("sanity_checks", sanity_checks)
    if flag("is_debug", is_debug):
        raise ValueError("is_debug: wanted False, as epsball prints nothing, got True")
    if early_stop_loss_threshold not in (None, 0):
        raise ValueError(f"early_stop_loss_threshold: wanted None or 0, got {early_stop_loss_threshold}")
    bounds = None if (clip_min, clip_max) == (-np.inf, np.inf) else _bounds(clip_min, clip_max)
    attack = attacks.SPSA(
        eps,
        _norm(norm),
        steps=nb_iter,
        step_size=learning_rate,
        samples=whole("spsa_samples", spsa_samples, 1) * whole("spsa_iters", spsa_iters, 1),
        delta=delta,
        targeted=targeted,
        bounds=bounds,
        early_stop=early_stop_loss_threshold is not None,
        seed=_draw_seed(),
    )
    return _run(attack, model_fn, x, y)


def hop_skip_jump_attack(
    model_fn: Callable[[Any], Any],
    x: Any,
    norm: Any,
    y_target: Any = None,
    image_target: Any = None,
    initial_num_evals: int = 100,
    max_num_evals: int = 10000,
    stepsize_search: str = "geometric_progression",
    num_iterations: int = 64,
    gamma: float = 1.0,
    constraint: Any = 2,
    batch_size: int = 128,
    verbose: bool = True,
    clip_min: Any = 0,
    clip_max: Any = 1,
) -> Any:
    """The boundary from labels (see `epsball.attacks.HopSkipJump`), in the norm `constraint`, np.inf or 2.

    `y_target` are one-hot rows or classes, `image_target` points of these classes. As in cleverhans the labels to leave
    are the model's own, and `norm` is not looked at but checked. `stepsize_search` and `gamma` have one value only.
    """
    _norm(norm)
    flag("verbose", verbose)
    whole("batch_size", batch_size, 1)
    for name, value, only in (("stepsize_search", stepsize_search, "geometric_progression"), ("gamma", gamma, 1.0)):
        if value != only:
            raise ValueError(f"{name}: wanted {only!r}, the only value that epsball has, got {value!r}")
    if y_target is not None and image_target is None:
        raise ValueError("image_target: a targeted attack needs points of the target classes, got None")
    attack = attacks.HopSkipJump(
        _norm(constraint),
        num_iterations,
        init_evals=initial_num_evals,
        max_evals=max_num_evals,
        starts=10000,
        start=None if image_target is None else image_target.detach(),
        targeted=y_target is not None,
        bounds=_bounds(clip_min, clip_max),
        seed=_draw_seed(),
    )
    classes = y_target.argmax(1) if y_target is not None and y_target.ndim == 2 else y_target
    return _run(attack, model_fn, x, classes)


def noise(x: Any, eps: float = 0.3, order: Any = np.inf, clip_min: Any = None, clip_max: Any = None) -> Any:
    """Return x with uniform noise of the L∞ ball, drawn from torch's global generator; no model is asked.

    Points are within the ball and the box exactly; with a model `epsball.attacks.RandomSearch` takes the best of many.
    """
    if order != np.inf:
        raise ValueError(f"order: wanted np.inf, the only value that cleverhans has, got {order!r}")
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"x: wanted a torch tensor, got {type(x).__name__}")
    x = x.detach()
    points, bounds = x + torch.empty_like(x).uniform_(-eps, eps), _bounds(clip_min, clip_max)
    return into_ball(points if bounds is None else points.clamp(*bounds), x, eps, "linf", bounds)


def _draw_seed() -> int:
    return int(torch.randint(2**63 - 1, ()).item())


def _norm(norm: Any) -> str:
    if norm not in NORMS:
        raise ValueError(f"norm: wanted np.inf, 1 or 2, got {norm!r}")
    return NORMS[norm]


def _bounds(clip_min: Any, clip_max: Any) -> Any:
    if clip_min is None and clip_max is None:
        return None
    if clip_min is None or clip_max is None:
        raise ValueError(f"clip_min, clip_max: wanted both or neither, got {clip_min} and {clip_max}")
    return clip_min, clip_max


def _run(attack: attacks.Attack, model_fn: Any, x: Any, y: Any) -> Any:
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"x: wanted a torch tensor, got {type(x).__name__}")
    x = x.detach()
    return attack(followed(model_fn).model(x), x, None if y is None else y.detach())
