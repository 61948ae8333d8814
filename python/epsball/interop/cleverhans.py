"""Drop-in for cleverhans v4 (torch): its functions and signatures; tensors in, tensors out; the attacks are epsball's.

``from epsball.interop.cleverhans import projected_gradient_descent`` is the whole migration. As there, eps, steps and
norms have no defaults, and ``y=None`` means the model's own predictions. What differs, and is meant to:

- `projected_gradient_descent` returns the best iterate of each row (misclassified first, then the highest loss), not
  the last, takes ``norm=1``, and its L2 random start is uniform in the ball; cleverhans draws from a cube, of which
  nearly everything lies beyond the ball and is put on its surface.
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
from epsball.arguments import flag
from epsball.classifier import Classifier
from epsball.interop.following import Followed
from epsball.interop.torch_modules import FunctionModule
from epsball.sources.base import LabelSource
from epsball.sources.torch_model import TorchModel

__all__ = ["fast_gradient_method", "followed", "projected_gradient_descent"]

NORMS = {np.inf: "linf", 1: "l1", 2: "l2"}


@lru_cache(maxsize=4)  # cleverhans' functions keep nothing between calls, and lowering takes as long as a few steps
def followed(model_fn: Any) -> Followed:
    """Return what stands for ``model_fn`` in attacks; its `engine` says who computes it, and why.

    The last four functions are remembered, and kept alive.
    """
    if isinstance(model_fn, torch.nn.Module | Classifier | LabelSource):
        return Followed(model_fn)
    if not callable(model_fn):
        raise TypeError(f"model_fn: wanted a function of a batch that gives logits, got {type(model_fn).__name__}")
    return Followed(TorchModel(FunctionModule(model_fn)))


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
        seed=int(torch.randint(2**63 - 1, ()).item()) if random else 0,
    )
    return _run(attack, model_fn, x, y)


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
