"""Tensors brought into a ball around others, in their own dtype: what `ops.project_` does in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from epsball import ops
from epsball.arrays import as_numpy, moved_by

ORDERS = {"linf": np.inf, "l2": 2, "l1": 1, "l0": 0}


def into_ball(points: Any, x: Any, eps: float, norm: str, bounds: Any) -> Any:
    """Return `points` (N, ...) within `bounds`, brought within eps of x; ball and box hold exactly."""
    if x.dtype == torch.float32:
        return ops.project_(points.clone(memory_format=torch.contiguous_format), x.contiguous(), eps, norm, bounds)
    here, there = (as_numpy("x", tensor.flatten(1)) for tensor in (x, points))
    apart = there.astype(np.float64) - here
    far = np.linalg.norm(apart, ORDERS[norm], axis=1) > eps
    near = np.ascontiguousarray(apart[far], np.float32)
    ops.project_(near, np.zeros_like(near), eps, norm, None)
    inside = there.copy()
    inside[far] = moved_by(here[far], near, *((-np.inf, np.inf) if bounds is None else bounds))
    return torch.from_numpy(inside.reshape(x.shape))
