"""An epsball model as a differentiable torch module, so that other people's attacks can run on it; imports torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from epsball.arrays import as_numpy
from epsball.classifier import Classifier
from epsball.sources.base import pulled_back

__all__ = ["EngineModule"]


class EngineModule(nn.Module):
    """The engine's logits as a torch module: forward and the derivative with respect to the input are the engine's.

    It has no parameters; the model behind it can be trained by `epsball.fit`, or its weights loaded, at any time.

    Parameters
    ----------
    model
        An epsball model or a gradient source.

    Raises
    ------
    TypeError
        `model` has no gradients.
    """

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        if not isinstance(model, Classifier):
            raise TypeError(f"model: wanted an epsball model or a gradient source, got {type(model).__name__}")
        self.model = model
        self.eval()

    def extra_repr(self) -> str:
        """Return the model in words."""
        return repr(self.model)

    def forward(self, x: Any) -> Any:
        """Return the logits (N, K) of CPU tensors x (N, ...), of x's dtype."""
        apply: Any = _Logits.apply  # torch leaves it untyped
        return apply(x, self.model)


class _Logits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any, model: Classifier) -> Any:
        logits = model(x.detach())
        ctx.model = model
        ctx.save_for_backward(x.detach(), logits)
        return logits.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        x, logits = ctx.saved_tensors
        arrays = (as_numpy("x", value) for value in (x, logits, upstream[0]))
        return torch.from_numpy(pulled_back(ctx.model, *arrays)), None
