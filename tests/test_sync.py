"""eb.sync_from_torch: the module's weights as they are now, whole or not at all, beside calls of other threads."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch

torch = pytest.importorskip("torch")
nn = torch.nn
SHAPE = (3, 8, 8)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.plain = nn.BatchNorm2d(4, affine=False)
        self.wide, self.narrow = nn.Linear(144, 70, bias=False), nn.Linear(70, 3)
        self.register_buffer("mean", torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1))

    def forward(self, x: Any) -> Any:
        x = self.plain(self.body(x - self.mean))
        return self.narrow(torch.tanh(self.wide(x.flatten(1))))


def changed(module: Any, seed: int) -> Any:
    """The module with other weights and statistics."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, t in module.state_dict().items():
            if t.is_floating_point() and name != "mean":
                t.uniform_(0.1, 1.0)
    return module


def assert_same(model: Any, other: Any) -> None:
    x = batch(5, 192).reshape(5, *SHAPE)
    np.testing.assert_array_equal(model(x), other(x))
    y = np.zeros(5, np.int64)
    np.testing.assert_array_equal(model.input_gradient(x, y), other.input_gradient(x, y))
    for name, value in other.parameters().items():
        np.testing.assert_array_equal(model.parameters()[name], value)


def test_synced_model_is_the_one_made_anew(table: str) -> None:
    module = Net().eval()
    model = eb.from_torch(module, SHAPE)
    for seed in range(3):
        model(batch(2, 192))  # the plan is there, so the second and third sync are packed into it
        eb.sync_from_torch(model, changed(module, seed))
        assert_same(model, eb.from_torch(module, SHAPE))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_can_be_synced_too(copied: Callable[[Any], Any]) -> None:
    module = Net().eval()
    twin = copied(eb.from_torch(module, SHAPE))
    eb.sync_from_torch(twin, changed(module, 1))
    assert_same(twin, eb.from_torch(module, SHAPE))


def test_optimizer_steps_are_followed() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 70), nn.ReLU(), nn.Linear(70, 3))
    model = eb.from_torch(module, (6,))
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    x = batch(8, 6)
    for _ in range(3):
        optimizer.zero_grad()
        module(torch.from_numpy(x)).square().sum().backward()
        optimizer.step()
        eb.sync_from_torch(model, module)
        np.testing.assert_array_equal(model(x), eb.from_torch(module, (6,))(x))


def test_shared_weights_reach_every_layer() -> None:
    shared = nn.Linear(5, 5)
    module = nn.Sequential(shared, nn.Tanh(), shared)
    model = eb.from_torch(module, (5,))
    eb.sync_from_torch(model, changed(module, 1))
    assert [*model.parameters()] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    np.testing.assert_array_equal(model.parameters()["2.weight"], shared.weight.detach().numpy())


def test_weights_of_other_types_and_layouts_are_copied() -> None:
    module = Net().eval()
    model = eb.from_torch(module, SHAPE)
    other = changed(Net(), 3).eval()
    wanted = eb.from_torch(other, SHAPE)
    for module in (other.to(memory_format=torch.channels_last), other.double()):
        eb.sync_from_torch(model, changed(Net(), 4))
        eb.sync_from_torch(model, module)
        assert_same(model, wanted)


def test_what_does_not_fit_is_named_and_changes_nothing() -> None:
    module = Net().eval()
    model = eb.from_torch(module, SHAPE)
    before = model.parameters()

    def refused(other: Any, why: str, error: type[Exception] = ValueError) -> None:
        with pytest.raises(error, match=why):
            eb.sync_from_torch(model, other)
        assert all((value == before[name]).all() for name, value in model.parameters().items())

    refused(nn.Sequential(nn.Linear(4, 2)), r"^module: it has no 'body\.0\.weight'")
    wider = changed(Net(), 1)
    wider.narrow = nn.Linear(70, 4)
    refused(wider, r"^module: .*\(3, 70\), got \(4, 70\)")
    broken = changed(Net(), 2)
    with torch.no_grad():
        broken.narrow.bias[1] = float("nan")
    refused(broken, r"^module: .*bias.*finite")
    moved = changed(Net(), 3)
    moved.mean += 1
    refused(moved, r"^module: its constant 'mean' has changed")
    refused(Net().to("meta"), r"^module: .*meta device")
    refused("net", r"^module: wanted a torch nn\.Module", TypeError)
    with pytest.raises(ValueError, match=r"^model: wanted one that from_torch made"):
        eb.sync_from_torch(eb.models.linear(4, 2), module)


def test_sync_during_fit_is_refused() -> None:
    module = nn.Sequential(nn.Linear(4, 2))
    model = eb.from_torch(module, (4,))
    model._native.close()
    with pytest.raises(RuntimeError, match="trained"):
        eb.sync_from_torch(model, module)
    model._native.open()
    eb.sync_from_torch(model, module)


@pytest.mark.parametrize("kind", ["mlp", "images"])
def test_calls_beside_a_sync_see_old_or_new_weights(kind: str) -> None:
    """Two states of a net of constant weights; a mixture of them would give another logit."""
    module = {
        "mlp": nn.Sequential(nn.Linear(64, 200, bias=False), nn.Linear(200, 3, bias=False)),
        "images": nn.Sequential(nn.Conv2d(1, 20, 3, bias=False), nn.Flatten(), nn.Linear(720, 3, bias=False)),
    }[kind]
    shape = (64,) if kind == "mlp" else (1, 8, 8)

    def fill(value: float) -> None:
        with torch.no_grad():
            for p in module.parameters():
                p.fill_(value)

    fill(1.0)
    model = eb.from_torch(module, shape)
    x = np.ones((40, 64), np.float32)
    one = model(x)[0, 0]
    seen: set[float] = set()
    done = threading.Event()

    def call() -> None:
        while not done.is_set():
            seen.update(np.unique(model(x)).tolist())

    callers = [threading.Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()
    for _ in range(100):
        fill(2.0)
        eb.sync_from_torch(model, module)
        assert (model(x) == 4 * one).all()
        fill(1.0)
        eb.sync_from_torch(model, module)
        assert (model(x) == one).all()
    done.set()
    for caller in callers:
        caller.join()
    assert seen <= {one, 4 * one}
    assert seen
