"""Residual blocks to and from torch and ONNX: a ResNet is lowered, sums in other shapes are named."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch, image_model, labels
from test_residual import BLOCKS, oracle_knows

torch = pytest.importorskip("torch")
nn = torch.nn
R = eb.Residual
RTOL = 1e-5  # relative to the largest element


class BasicBlock(nn.Module):
    """As torchvision's: two convolutions, and a projection where the shape changes; activations in place."""

    def __init__(self, channels: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample = None
        if (channels, stride) != (out, 1):
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Any) -> Any:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    """A small residual network of He et al.'s."""

    def __init__(self, width: int = 6, classes: int = 5) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.blocks = nn.Sequential(BasicBlock(width, width), BasicBlock(width, 2 * width, 2),
                                    BasicBlock(2 * width, 2 * width))  # fmt: skip
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2 * width, classes)

    def forward(self, x: Any) -> Any:
        return self.fc(torch.flatten(self.pool(self.blocks(self.stem(x))), 1))


def warmed(module: Any, seed: int = 0) -> Any:
    """The module with statistics and affine parameters that are not the first ones."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                layer.running_mean.uniform_(-0.5, 0.5)
                layer.running_var.uniform_(0.5, 2)
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.uniform_(-0.5, 0.5)
    return module.eval()


def close(actual: Any, wanted: Any) -> None:
    wanted = np.asarray(wanted)
    np.testing.assert_allclose(np.asarray(actual), wanted, rtol=0, atol=RTOL * np.abs(wanted).max())


def agrees(module: Any, shape: tuple[int, ...], rows: int = 9, model: Any = None) -> Any:
    """Logits and input gradients of the model made of `module` are those of the module in float64."""
    model = eb.from_torch(module, shape) if model is None else model
    x = batch(rows, math.prod(shape)).reshape(rows, *shape)
    t = torch.from_numpy(x).double().requires_grad_()
    double = copy.deepcopy(module).double()
    z = double(t).flatten(1)
    y = labels(rows, z.shape[1])
    if z.shape[1] == 1:
        loss = nn.functional.binary_cross_entropy_with_logits(z[:, 0], torch.from_numpy(y).double(), reduction="sum")
    else:
        loss = nn.functional.cross_entropy(z, torch.from_numpy(y), reduction="sum")
    close(model(x), z.detach())
    close(model.input_gradient(x, y), torch.autograd.grad(loss, t)[0])
    return model


def test_a_resnet_is_lowered_and_agrees(table: str) -> None:
    module = warmed(ResNet())
    model = agrees(module, (3, 8, 8))
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("Residual") == 3
    assert [bool(layer.shortcut) for layer in model.layers if isinstance(layer, R)] == [False, True, False]
    assert sum(p.numel() for p in module.parameters()) == sum(
        p.size for n, p in model.parameters().items() if "running" not in n
    )


def test_weights_follow_a_resnet(table: str) -> None:
    module = warmed(ResNet())
    model = eb.from_torch(module, (3, 8, 8))
    with torch.no_grad():
        for t in (*module.parameters(), *(b for b in module.buffers() if b.is_floating_point())):
            t.mul_(1.1)
    eb.sync_from_torch(model, module)
    agrees(module, (3, 8, 8), model=model)


class Fork(nn.Module):
    """One function of a hidden layer between two linear ones."""

    def __init__(self, f: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.f, self.same, self.relu = f, nn.Identity(), nn.ReLU(inplace=True)
        self.first, self.a, self.b, self.last = (nn.Linear(*n) for n in ((4, 5), (5, 5), (5, 5), (5, 3)))

    def forward(self, x: Any) -> Any:
        return self.last(self.f(self, self.first(x)))


FORKS: dict[str, Any] = {
    "x + f(x)": lambda m, x: x + m.a(x),
    "f(x) + x": lambda m, x: m.a(x) + x,
    "torch.add": lambda m, x: torch.add(x, m.a(x).relu()),
    "add": lambda m, x: m.a(x).add(x),
    "add_": lambda m, x: m.a(x).add_(x),
    "both": lambda m, x: m.a(x) + m.b(x),
    "three": lambda m, x: m.a(x) + m.b(x) + x,
    "x + x": lambda m, x: x + x,
    "nested": lambda m, x: x + m.b(m.a(x) + x).tanh(),
    "one after another": lambda m, x: (lambda h: h + m.b(h))(x + m.a(x)),
    "constants": lambda m, x: (2 * x + 1) + m.a(2 * x - 1),
    "shared constants": lambda m, x: (lambda h: h + m.a(h))(x * 2 + 1),
    "in place afterwards": lambda m, x: (x + m.a(x)).relu_(),
    "identity": lambda m, x: m.same(x.contiguous()) + m.a(x).relu(),
    "interleaved": lambda m, x: (lambda u, v: m.b(u) + v.relu())(m.a(x), x.tanh()),
}


@pytest.mark.parametrize("name", FORKS)
def test_sums_agree_with_torch(name: str) -> None:
    agrees(Fork(FORKS[name]), (4,))


NO_FORKS: dict[str, tuple[Any, str]] = {
    "product": (lambda m, x: x * m.a(x), "takes 2 values"),
    "difference": (lambda m, x: x - m.a(x), "takes 2 values"),
    "scaled sum": (lambda m, x: torch.add(x, m.a(x), alpha=2), "takes 2 values"),
    "broadcast": (lambda m, x: x + m.last(x).flatten(1)[:, :1], "TorchModel"),
    "from inside": (lambda m, x: (lambda h: (x + m.a(h)) + h)(m.b(x)), "inside a residual block"),
    "overwritten": (lambda m, x: (lambda h: h.relu_() + m.a(h))(m.b(x)), "changed in place"),
    "overwritten by a module": (lambda m, x: m.relu(x) + m.a(x), "changed in place"),
    "overwritten view": (lambda m, x: (lambda h: torch.flatten(h, 1).relu_() + h)(m.a(x)), "changed in place"),
    "sum overwritten": (lambda m, x: (lambda h: h.add_(x) + h)(m.a(x)), "changed in place"),
}


@pytest.mark.parametrize("name", NO_FORKS)
def test_what_is_no_residual_block_is_named(name: str) -> None:
    f, why = NO_FORKS[name]
    with pytest.raises(ValueError, match=rf"^module: layer .*{why}.*") as error:
        eb.from_torch(Fork(f), (4,))
    assert "eb.TorchModel(module)" in str(error.value)


@pytest.mark.parametrize("name", [n for n in BLOCKS if oracle_knows(BLOCKS[n][0])])
def test_torch_modules_agree_and_come_back(name: str) -> None:
    layers, shape = BLOCKS[name]
    model, _ = image_model(layers, shape)
    module = eb.to_torch(model)
    agrees(module, shape, model=model)
    again = eb.from_torch(module, shape)
    x = batch(5, math.prod(shape))
    close(again(x), model(x))
    assert len(again.parameters()) == len(model.parameters())


# ---- ONNX


@pytest.mark.parametrize("name", [n for n in BLOCKS if oracle_knows(BLOCKS[n][0])])
def test_onnx_files_give_the_same_logits_and_come_back(name: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    layers, shape = BLOCKS[name]
    model, _ = image_model(layers, shape)
    path = tmp_path / "m.onnx"
    eb.to_onnx(model, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    x = batch(6, math.prod(shape)).reshape(6, *shape)
    close(model(x), session.run(None, {"x": x})[0].reshape(6, -1))
    again = eb.from_onnx(path)
    close(again(x), model(x))
    for ours, value in zip(model.parameters().values(), again.parameters().values(), strict=True):
        np.testing.assert_array_equal(value, ours)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_resnet_that_torch_exported_agrees(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    module = warmed(ResNet())
    path = tmp_path / "m.onnx"
    shape, axes = torch.zeros(1, 3, 8, 8), {"x": {0: "N"}}
    torch.onnx.export(module, (shape,), path, input_names=["x"], dynamic_axes=axes, dynamo=False)
    model = eb.from_onnx(path)
    x = batch(9, 192).reshape(9, 3, 8, 8)
    with torch.no_grad():
        close(model(x), module.double()(torch.from_numpy(x).double()))
    assert sum(isinstance(layer, R) for layer in model.layers) == 3
