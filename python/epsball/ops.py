"""Building blocks for other people's attack loops, in place: float32 arrays of the host or of a CUDA device."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from epsball import _native
from epsball.arrays import as_numpy, is_on_cuda, is_tensor
from epsball.attacks.base import Bounds
from epsball.attacks.options import box_of, check_eps, check_step_size

__all__ = ["project_", "sign_step_"]


def sign_step_(x_adv: Any, grad: Any, x: Any, step_size: Any, eps: Any, bounds: Bounds = (0.0, 1.0)) -> Any:
    """x_adv ← x_adv + step_size · sign(grad), clipped to the L∞ ball around x and to the box, in one fused pass.

    Parameters
    ----------
    x_adv, grad, x
        float32, finite and C-contiguous, of one shape (N, ...), x within `bounds`; `x_adv` is written. NumPy arrays and
        torch CPU tensors, or all of them arrays on the CUDA device (CuPy's, torch's), on their stream.
    step_size, eps
        Numbers or one per row; |x_adv − x| ≤ eps holds exactly, measured in float64.
    bounds
        (lower, upper) as numbers or arrays of one input's shape, or None.

    Returns
    -------
    array
        `x_adv` itself.

    Raises
    ------
    ValueError, TypeError
        A bad argument, named: other shapes, another dtype, memory that is not contiguous or may not be written,
        values that are not finite, an x outside the bounds. `x_adv` is as it was.
    """
    eps = check_eps(eps)
    step_size = _checked_step_size(step_size)
    to = _memory("x_adv", x_adv)
    box = box_of(bounds, tuple(to.shape)[1:])
    _native.sign_step(to, _memory("grad", grad), _memory("x", x), step_size, eps, box)
    return _written(x_adv)


def project_(x_adv: Any, x: Any, eps: Any, norm: str = "linf", bounds: Bounds = (0.0, 1.0)) -> Any:
    """Project x_adv onto the ball of radius eps around x, and into the box.

    Exact Euclidean projections for "linf", "l1" and "l0" with or without the box (Duchi et al. 2008; Croce and Hein
    2021); "l2" scales onto the ball and then clips, which is feasible but not the nearest point of the intersection.

    Parameters
    ----------
    x_adv, x
        float32, finite and C-contiguous, of one shape (N, ...), x within `bounds`; `x_adv` is written. NumPy arrays and
        torch CPU tensors, or all of them arrays on the CUDA device (CuPy's, torch's), on their stream.
    eps
        A number or one per row; for "l0" the number of features that may differ.
    norm
        "linf", "l2", "l1" or "l0".
    bounds
        (lower, upper) as numbers or arrays of one input's shape, or None.

    Returns
    -------
    array
        `x_adv` itself.

    Raises
    ------
    ValueError, TypeError
        A bad argument, named: other shapes, another dtype, memory that is not contiguous or may not be written,
        values that are not finite, an x outside the bounds. `x_adv` is as it was.
    """
    if not isinstance(norm, str):
        raise TypeError(f"norm: wanted a name, got {norm!r}")
    eps = check_eps(eps)
    to = _memory("x_adv", x_adv)
    box = box_of(bounds, tuple(to.shape)[1:])
    _native.project(to, _memory("x", x), eps, norm, box)
    return _written(x_adv)


def _memory(name: str, value: Any) -> Any:
    """Return the array itself: a copy would swallow what is written."""
    if isinstance(value, np.ndarray) or (is_tensor(value) and not is_on_cuda(value)):
        return as_numpy(name, value)
    if is_on_cuda(value):
        from epsball.device import device_array

        return device_array(name, value)
    raise TypeError(f"{name}: wanted a NumPy array, a torch tensor or an array on the CUDA device, "
                    f"got {type(value).__name__}")  # fmt: skip


def _written(x_adv: Any) -> Any:
    """Return x_adv; autograd is told, so that a backward pass that needs the old values raises as after torch's own."""
    if is_tensor(x_adv):
        sys.modules["torch"].autograd.graph.increment_version(x_adv)
    return x_adv


def _checked_step_size(step_size: Any) -> Any:
    if step_size is None:
        raise TypeError("step_size: wanted a number or one per row, got None")
    return check_step_size(step_size)
