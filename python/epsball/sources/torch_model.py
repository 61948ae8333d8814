"""A torch module as a gradient source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from threading import Lock
from typing import Any

from epsball.sources.base import Floats, GradientSource, Pull

NO_GRADIENT = "TorchModel: the logits carry no gradient; does the module detach, or use no_grad or a step function?"


class TorchModel(GradientSource):
    """Any torch module that maps a batch of inputs to logits, as it is: nothing is converted, as `from_torch` would.

    The module is called with tensors of its own dtype on its own device, those of its first floating-point parameter
    or buffer (else float32 on the CPU); to a module on a GPU the rows are copied for every call, as the engine works on
    the CPU. For the length of a call every submodule's ``training`` flag is False; then it is put back as it was. Grad
    mode, parameters and their ``.grad`` stay as they are, and no random numbers are drawn but by the module itself.
    While another thread trains the same module, do not attack it.

    Parameters
    ----------
    module
        A ``torch.nn.Module``, its weights as they are at each call.
    input_shape, classes, batch_size
        As in `GradientSource`.

    Raises
    ------
    ImportError
        torch is not installed.
    TypeError
        `module` is no ``nn.Module``.

    Examples
    --------
    >>> import epsball as eb
    >>> model = eb.TorchModel(torchvision_net, input_shape=(3, 32, 32))  # doctest: +SKIP
    >>> x_adv = eb.pgd(model, x, y, eps=8 / 255, steps=10)  # doctest: +SKIP
    """

    def __init__(
        self,
        module: Any,
        input_shape: Sequence[int] | None = None,
        classes: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        from torch import nn

        super().__init__(input_shape, classes, batch_size)
        if not isinstance(module, nn.Module):
            raise TypeError(f"module: wanted a torch nn.Module, got {type(module).__name__}")
        self.module = module

    def __repr__(self) -> str:
        return f"TorchModel({type(self.module).__name__})"

    def logits(self, x: Floats) -> Any:
        """Return the module's output for x, without a graph."""
        import torch

        with evaluating(self.module), torch.no_grad():
            return self._host(self._output(self._tensor(x)))

    def vjp(self, x: Floats) -> tuple[Any, Pull]:
        """Return the module's output for x, and autograd's backward pass to x."""
        import torch

        with evaluating(self.module), torch.inference_mode(False), torch.enable_grad():
            inputs = self._tensor(x).requires_grad_()
            z = self._output(inputs)
        if not z.requires_grad:
            raise ValueError(NO_GRADIENT)

        def pull(dlogits: Floats) -> Any:
            # Checkpointed modules run forward again in here.
            with evaluating(self.module), torch.inference_mode(False), torch.enable_grad():
                upstream = torch.from_numpy(dlogits).to(z)
                (gradient,) = torch.autograd.grad(z, inputs, upstream, retain_graph=True, allow_unused=True)
            if gradient is None:  # the logits have a graph, of parameters alone
                raise ValueError(NO_GRADIENT)
            return self._host(gradient)

        return self._host(z), pull

    def _tensor(self, x: Floats) -> Any:
        import torch

        kept = chain(self.module.parameters(), self.module.buffers())
        model = next((t for t in kept if t.is_floating_point()), None)
        tensor = torch.from_numpy(x)
        return tensor if model is None else tensor.to(model.device, model.dtype)

    def _output(self, x: Any) -> Any:
        import torch

        z = self.module(x)
        if not isinstance(z, torch.Tensor):
            raise TypeError(f"TorchModel: wanted logits as one tensor from the module, got {type(z).__name__}")
        return z

    @staticmethod
    def _host(value: Any) -> Any:
        import torch

        value = value.detach()
        return value.to("cpu", torch.float32) if value.is_floating_point() else value.to("cpu")


# How many calls hold a submodule in evaluation mode, and its own flag; attacks on one module may overlap.
_HELD: dict[Any, tuple[int, bool]] = {}  # empty between calls
_LOCK = Lock()


@contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """Hold a module and all its submodules in evaluation mode, and put each flag back when the last call ends.

    The flags are set themselves, since a module's own ``train()`` and ``eval()`` may change its weights.
    """
    parts = list(module.modules())
    with _LOCK:
        for part in parts:
            count, training = _HELD.get(part, (0, part.training))
            _HELD[part] = (count + 1, training)
            if part.training:
                part.training = False
    try:
        yield
    finally:
        with _LOCK:
            for part in parts:
                count, training = _HELD.pop(part)
                if count > 1:
                    _HELD[part] = (count - 1, training)
                elif training:
                    part.training = True
