"""The native loop of the gradient attacks, and what every native attack is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball import _native
from epsball.arguments import FLOAT32
from epsball.arrays import Array, as_numpy, room
from epsball.attacks.base import Found, check_model, device_of
from epsball.attacks.options import box_of, check_index, mask_of
from epsball.classifier import Classifier, labels_for_engine


@dataclass(slots=True)  # not frozen: that would cost microseconds of every call
class Loop:
    """What an attack asks of a native loop beyond the fields all of them have.

    Attributes
    ----------
    steps, step_size, restarts, early_stop, seed
        As in `PGD`; step_size is settled here.
    random_start, start
        "none", "ball", "signs", "sphere", "gaussian" or "salt_and_pepper", and the radius of it where that is not eps.
    keep_best
        Return a row's best iterate; False: the last.
    targets
        Classes attacked one after another, in order of the logits at x, the label left out; 0: the loss is the label's.
    adam, decay, decay_squares
        Steps follow Adam's averages of the gradient and of its square, with these decays.
    top
        SLIDE: features that move by step_size / top each; 0: those of largest gradient fill the box first.
    samples, noise, delta
        Pairs of points that estimate a gradient (0: the model's own), along "signs" or "normal" directions, at this
        distance.
    native
        The engine's loop.
    more
        Options that this loop alone has.
    """

    steps: int = 0
    step_size: Any = 0.0
    restarts: int = 1
    random_start: str = "none"
    start: Any = None
    keep_best: bool = True
    early_stop: bool = False
    seed: int = 0
    targets: int = 0
    adam: bool = False
    decay: float = 0.0
    decay_squares: float = 0.0
    top: int = 0
    samples: int = 0
    noise: str = "signs"
    delta: float = 0.01
    native: Any = _native.pgd
    more: dict[str, Any] = field(default_factory=dict)


def run_loop(
    attack: Any,
    loop: Loop,
    model: Classifier,
    x: Array,
    y: Any,
    index: Any,
    *,
    judged: bool,
    trace: bool,
    target: npt.NDArray[np.int64] | None = None,
) -> Found:
    """Run a native loop for an attack; with `target` it descends towards these labels while `y` judges."""
    check_model(model)
    # Before anything that needs to know how many classes there are.
    engine = model._engine(x, attack.needs == "gradients")
    if loop.targets > max(engine.classes - 1, 1):
        raise ValueError(f"targets: wanted at most {max(engine.classes - 1, 1)}, the classes that are not the label, "
                         f"got {loop.targets}")  # fmt: skip
    labels = labels_of(model, x, y)
    if target is not None:  # y judges beside it, on the host
        labels = as_numpy("y", labels, device=device_of(model))
    judge = _hard(labels, model) if target is not None or labels.dtype.kind == "f" else None
    options = {
        **common_options(attack, x, index, judged=judged, trace=trace),
        "judge": judge,
        "eps": attack.eps,
        "start": loop.start,
        "step_size": loop.step_size,
        "loss": attack.loss,
        "steps": loop.steps,
        "restarts": loop.restarts,
        "random_start": loop.random_start,
        "adam": loop.adam,
        "decay": loop.decay,
        "decay_squares": loop.decay_squares,
        "top": loop.top,
        "samples": loop.samples,
        "noise": loop.noise,
        "delta": loop.delta,
        "targets": loop.targets,
        "keep_best": loop.keep_best,
        "early_stop": loop.early_stop,
        "seed": loop.seed,
        **loop.more,
    }
    options["descend"] |= target is not None or (loop.targets > 0 and attack.loss != "dlr")
    found: Found = loop.native(engine, x, labels if target is None else target, options)
    return found


def common_options(attack: Any, x: Array, index: Any, *, judged: bool, trace: bool) -> dict[str, Any]:
    """Return what every native attack is told; a loop that has the option itself says it after this."""
    targeted = bool(getattr(attack, "targeted", False))
    return {
        "judge": None,
        "start": None,
        "step_size": 0.0,
        "norm": attack.norm,
        "descend": targeted,
        "targeted": targeted,
        "keep_best": True,
        "measured": judged,
        "early_stop": False,
        "targets": 0,
        "seed": getattr(attack, "seed", 0),
        "box": box_of(attack.bounds, x.shape[1:]),
        "mask": None if attack.mask is None else mask_of(attack.mask, x.shape),
        "index": None if index is None else check_index(index, len(x)),
        "trace": trace,
        "out": room(x, x.shape, x.dtype),
    }


def default_step_size(eps: Any, steps: int) -> Any:
    """Return 2.5 eps / steps (Madry et al. 2018), per row where eps is, and no more than float32 holds."""
    if steps == 0:
        return 0.0
    most = float(FLOAT32.max)
    if isinstance(eps, int | float):
        return min(2.5 * eps / steps, most)
    return np.minimum(2.5 * np.asarray(eps, dtype=np.float64) / steps, most)


def labels_of(model: Classifier, x: Any, y: Any) -> Any:
    """Return y for the engine; None stands for the model's own predictions."""
    return labels_for_engine(x, model.predict(x) if y is None else y, device_of(model))


def _hard(labels: Array, model: Classifier) -> Array:
    """Return the class indices that judge success where the loss has soft targets."""
    if labels.dtype.kind != "f" or labels.ndim != 2:
        return labels
    return (labels[:, 0] > 0.5).astype(np.int64) if model.classes == 1 else labels.argmax(axis=1)
