"""eb.from_torch: same logits, same gradients, and unsupported layers are named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch, labels

torch = pytest.importorskip("torch")
nn = torch.nn

ACTIVATIONS = {
    "ReLU": lambda: nn.ReLU(),
    "LeakyReLU": lambda: nn.LeakyReLU(0.2),
    "ELU": lambda: nn.ELU(0.7),
    "Sigmoid": lambda: nn.Sigmoid(),
    "Tanh": lambda: nn.Tanh(),
    "Softplus": lambda: nn.Softplus(),
    "GELU": lambda: nn.GELU(),
}
RTOL = 1e-5  # the promise, relative to the largest element


def close(actual: Any, wanted: Any) -> None:
    wanted = wanted.detach().numpy()
    np.testing.assert_allclose(np.asarray(actual), wanted, rtol=0, atol=RTOL * np.abs(wanted).max())


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_logits_and_gradients_agree(activation: str) -> None:
    torch.manual_seed(0)
    make = ACTIVATIONS[activation]
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 17), make(), nn.Linear(17, 9), make(), nn.Linear(9, 5))
    model = eb.from_torch(module, input_shape=(3, 2, 2))
    x, y = batch(20, 12).reshape(20, 3, 2, 2), labels(20, 5)
    t = torch.from_numpy(x).requires_grad_()
    z = module(t)
    loss = nn.functional.cross_entropy(z, torch.from_numpy(y), reduction="none")
    close(model(x), z)
    close(model.loss(x, y), loss)
    close(model.input_gradient(x, y), torch.autograd.grad(loss.sum(), t, retain_graph=True)[0])
    wanted = torch.autograd.grad(loss.mean(), list(module.parameters()))
    ours = model.parameter_gradients(x, y)
    assert list(ours) == [n for n, _ in module.named_parameters()]
    for g, w in zip(ours.values(), wanted, strict=True):
        close(g, w)


def test_parameters_are_copied_not_shared() -> None:
    module = nn.Sequential(nn.Linear(4, 3))
    model = eb.from_torch(module, input_shape=(4,))
    before = np.array(model(batch(3, 4)))
    with torch.no_grad():
        module[0].weight.zero_()
    np.testing.assert_array_equal(model(batch(3, 4)), before)


def test_layers_without_bias_and_one_logit_are_taken() -> None:
    module = nn.Sequential(nn.Linear(4, 3, bias=False), nn.Tanh(), nn.Linear(3, 1))
    model = eb.from_torch(module, input_shape=(4,))
    assert model.classes == 1
    close(model(batch(6, 4)), module(torch.from_numpy(batch(6, 4))))


def test_dropout_is_taken_and_idle_outside_training() -> None:
    module = nn.Sequential(nn.Linear(4, 30), nn.ReLU(), nn.Dropout(0.5), nn.Linear(30, 3)).eval()
    model = eb.from_torch(module, input_shape=(4,))
    close(model(batch(6, 4)), module(torch.from_numpy(batch(6, 4))))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(1, 2, 3),
        nn.BatchNorm1d(4),
        nn.GELU(approximate="tanh"),
        nn.Softplus(beta=2.0),
        nn.Softplus(threshold=0.1),
        nn.LSTM(4, 4),
    ],
    ids=lambda m: str(m).split("(")[0],
)
def test_unsupported_layers_are_named(layer: Any) -> None:
    module = nn.Sequential(nn.Linear(4, 4), layer, nn.Linear(4, 2))
    with pytest.raises(ValueError, match=type(layer).__name__):
        eb.from_torch(module, input_shape=(4,))


def test_repeated_modules_become_layers_each_time() -> None:
    torch.manual_seed(0)
    relu, shared = nn.ReLU(), nn.Linear(16, 16)
    block = nn.Sequential(shared, relu)
    module = nn.Sequential(block, shared, relu, block, nn.Linear(16, 3))
    model = eb.from_torch(module, input_shape=(16,))
    assert [type(layer).__name__ for layer in model.layers] == ["Linear", "ReLU"] * 3 + ["Linear"]
    close(model(batch(6, 16)), module(torch.from_numpy(batch(6, 16))))


class Doubled(nn.Sequential):
    def forward(self, x: Any) -> Any:
        return 2 * super().forward(x)


class Backwards(nn.Sequential):
    def __iter__(self) -> Any:
        return reversed(list(super().__iter__()))


class Plain(nn.Sequential):
    """Only another constructor, as in torchvision's MLP."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 4), nn.Tanh())


class OwnLinear(nn.Linear):
    def forward(self, x: Any) -> Any:
        return 2 * super().forward(x)


class OwnReLU(nn.ReLU):
    def forward(self, x: Any) -> Any:
        return -super().forward(x)


class OwnIdentity(nn.Identity):
    def forward(self, x: Any) -> Any:
        return 2 * x


def replaced_forward() -> Any:
    layer = nn.ReLU()
    layer.forward = lambda x: 2 * x
    return layer


@pytest.mark.parametrize(
    "layer",
    [
        Doubled(nn.ReLU()),
        Backwards(nn.ReLU(), nn.Tanh()),
        OwnLinear(4, 4),
        OwnReLU(),
        OwnIdentity(),
        replaced_forward(),
    ],
    ids=lambda m: type(m).__name__,
)
def test_layers_with_a_forward_of_their_own_are_named(layer: Any) -> None:
    module = nn.Sequential(nn.Linear(4, 4), layer, nn.Linear(4, 2))
    with pytest.raises(ValueError, match=rf"layer '1' \({type(layer).__name__}"):
        eb.from_torch(module, input_shape=(4,))
    if isinstance(layer, nn.Sequential):
        with pytest.raises(ValueError, match=type(layer).__name__):
            eb.from_torch(layer, input_shape=(4,))


def test_subclass_of_sequential_with_its_forward_is_taken() -> None:
    module = nn.Sequential(Plain(), nn.Linear(4, 2))
    close(eb.from_torch(module, input_shape=(4,))(batch(6, 4)), module(torch.from_numpy(batch(6, 4))))


@pytest.mark.parametrize("kind", ["forward", "forward_pre", "full_backward", "full_backward_pre"])
@pytest.mark.parametrize("make", [nn.Identity, nn.ReLU, lambda: nn.Linear(4, 4), lambda: nn.Sequential(nn.Tanh())])
def test_hooks_are_named(kind: str, make: Any) -> None:
    layer = make()
    handle = getattr(layer, f"register_{kind}_hook")(lambda *_: None)
    module = nn.Sequential(nn.Linear(4, 4), layer, nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"layer '1' .*hooks"):
        eb.from_torch(module, input_shape=(4,))
    handle.remove()
    eb.from_torch(module, input_shape=(4,))


def test_global_hooks_are_refused() -> None:
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        with pytest.raises(ValueError, match="global module hooks"):
            eb.from_torch(nn.Sequential(nn.Linear(4, 2)), input_shape=(4,))
    finally:
        handle.remove()


def test_parametrized_layers_are_named() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    with pytest.raises(ValueError, match="layer '0'"):
        eb.from_torch(nn.Sequential(layer, nn.Linear(4, 2)), input_shape=(4,))


def test_empty_child_is_named() -> None:
    module = nn.Sequential(nn.Linear(4, 2))
    module.add_module("later", None)
    with pytest.raises(ValueError, match="'later'"):
        eb.from_torch(module, input_shape=(4,))


def test_what_is_not_a_sequential_is_refused() -> None:
    class Mine(nn.Module):
        def forward(self, x: Any) -> Any:
            return x

    with pytest.raises((ValueError, TypeError), match=r"Mine|Sequential"):
        eb.from_torch(Mine(), input_shape=(4,))


def test_wrong_input_shape_is_named() -> None:
    with pytest.raises(ValueError, match="input_shape"):
        eb.from_torch(nn.Sequential(nn.Linear(4, 2)), input_shape=(5,))


def test_tensors_come_back_as_tensors() -> None:
    model = eb.models.linear(4, 3)
    x, y = torch.from_numpy(batch(6, 4)), torch.from_numpy(labels(6, 3))
    for dtype in (torch.float16, torch.float32, torch.float64):
        t = x.to(dtype)
        for attack in (eb.attacks.FGSM(eps=0.1), eb.attacks.PGD(eps=0.1, steps=2)):
            x_adv = attack(model, t, y)
            assert isinstance(x_adv, torch.Tensor)
            assert x_adv.dtype == dtype
            assert x_adv.shape == t.shape
            np.testing.assert_array_equal(x_adv.numpy(), attack(model, t.numpy(), y.numpy()))
    needs_grad = x.clone().requires_grad_()
    eb.fgsm(model, needs_grad, y, eps=0.1)
    assert needs_grad.grad is None


def test_other_devices_are_refused_by_name() -> None:
    model = eb.models.linear(4, 3)
    with pytest.raises((ValueError, TypeError), match=r"\bx\b"):
        eb.fgsm(model, torch.zeros(2, 4, device="meta"), torch.zeros(2, dtype=torch.long), eps=0.1)
