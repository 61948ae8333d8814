"""What the minimum-norm attacks share: their native call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball.arrays import Array, as_numpy
from epsball.attacks.base import Found, check_model, device_of
from epsball.attacks.loop import common_options, labels_of
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
    target: npt.NDArray[np.int64] | None = None,
    **own: Any,
) -> Found:
    """Run a native minimum-norm attack: `own` are the options that only it has.

    With `target` it descends towards these labels while `y` judges.
    """
    check_model(model)
    engine = model._engine(x, True)  # before anything that needs to know how many classes there are
    labels = labels_of(model, x, y)
    if target is not None:  # y judges beside it, on the host
        labels = as_numpy("y", labels, device=device_of(model))
    options = {
        **common_options(attack, x, index, judged=judged, trace=trace),
        "judge": labels if target is not None or labels.dtype.kind == "f" else None,
        "loss": loss,
        **own,
    }
    options["descend"] |= target is not None
    return native(engine, x, labels if target is None else target, options)
