"""What the minimum-norm attacks share: their native call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball.arrays import Array, as_numpy, room
from epsball.attacks.base import Found, _labels, _mask, box_of, check_index, check_model, device_of
from epsball.classifier import Classifier

MARGIN = "margin"
CROSS_ENTROPY = "cross_entropy"


def run_minimum_norm(
    attack: Any,
    native: Callable[..., Found],
    model: Classifier,
    x: Array,
    y: Any,
    index: Any,
    *,
    loss: str,
    judged: bool,
    trace: bool,
    early_stop: bool = False,
    target: npt.NDArray[np.int64] | None = None,
    **own: Any,
) -> Found:
    """Run a native minimum-norm attack: `own` are the options that only it has.

    With `target` it descends towards these labels while `y` judges.
    """
    check_model(model)
    targeted = bool(getattr(attack, "targeted", False))
    engine = model._engine(x, True)  # before anything that needs to know how many classes there are
    labels = _labels(model, x, y)
    if target is not None:  # y judges beside it, on the host
        labels = as_numpy("y", labels, device=device_of(model))
    options = {
        "judge": labels if target is not None or labels.dtype.kind == "f" else None,
        "start": None,
        "step_size": 0.0,
        "norm": attack.norm,
        "loss": loss,
        "descend": targeted or target is not None,
        "targeted": targeted,
        "keep_best": True,
        "measured": judged,
        "early_stop": early_stop,
        "targets": 0,
        "seed": getattr(attack, "seed", 0),
        "box": box_of(attack.bounds, x.shape[1:]),
        "mask": None if attack.mask is None else _mask(attack.mask, x.shape),
        "index": None if index is None else check_index(index, len(x)),
        "trace": trace,
        "out": room(x, x.shape, x.dtype),
        **own,
    }
    return native(engine, x, labels if target is None else target, options)
