"""A torch module in a drop-in attack: lowered where it can be, followed through training, left as it was found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb

torch = pytest.importorskip("torch")
nn = torch.nn
from epsball.interop.following import Followed  # noqa: E402 - needs torch


class Gated(nn.Module):
    """What from_torch refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        return self.last(x * torch.relu(self.inner(x)))


def mlp() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 3))


X = torch.rand(5, 6, generator=torch.Generator().manual_seed(0))


def logits(module: Any) -> Any:
    modes = [part.training for part in module.modules()]
    module.eval()
    with torch.no_grad():
        z = module(X)
    for part, mode in zip(module.modules(), modes, strict=True):
        part.training = mode
    return z.numpy()


def test_known_layers_are_computed_by_the_engine_and_it_says_so() -> None:
    followed = Followed(mlp())
    assert followed.lowered is None
    assert "not called yet" in repr(followed)
    model = followed.model(X)
    assert isinstance(model, eb.Sequential)
    assert followed.lowered is True
    assert followed.engine == "epsball"


def test_other_modules_are_taken_as_they_are_and_it_says_why() -> None:
    module = Gated()
    followed = Followed(module)
    model = followed.model(X)
    assert isinstance(model, eb.TorchModel)
    assert followed.lowered is False
    assert "takes 2 values" in followed.why_not
    assert "takes 2 values" in repr(followed)
    np.testing.assert_allclose(model(X), logits(module), atol=1e-6)


@pytest.mark.parametrize("make", [mlp, Gated])
def test_weights_are_those_of_the_moment(make: Any) -> None:
    module = make()
    followed = Followed(module)
    for _ in range(3):
        np.testing.assert_allclose(followed.model(X)(X), logits(module), atol=1e-5)
        with torch.no_grad():
            for p in module.parameters():
                p += 0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1))


def test_modes_are_left_as_found_and_attacks_see_evaluation_mode() -> None:
    module = mlp().train()
    module[1].eval()
    followed = Followed(module)
    np.testing.assert_allclose(followed.model(X)(X), logits(module), atol=1e-5)
    assert [part.training for part in module] == [True, False, True, True, True]


def test_changed_layers_are_lowered_again() -> None:
    module = mlp()
    followed = Followed(module)
    followed.model(X)
    module[3] = nn.Tanh()
    np.testing.assert_allclose(followed.model(X)(X), logits(module), atol=1e-5)
    module[2] = Gated()
    module[4] = nn.Linear(3, 3)
    module[0], module[1] = nn.Linear(6, 6), nn.BatchNorm1d(6)
    np.testing.assert_allclose(followed.model(X)(X), logits(module), atol=1e-5)
    assert followed.lowered is False


def test_a_hook_added_later_is_not_lost() -> None:
    module = mlp()
    followed = Followed(module)
    followed.model(X)
    module[0].register_forward_hook(lambda _module, _inputs, output: output * 2)
    np.testing.assert_allclose(followed.model(X)(X), logits(module), atol=1e-5)
    assert followed.lowered is False


def test_inputs_of_several_shapes_have_a_model_each() -> None:
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    followed = Followed(module)
    for size in (5, 8, 5):
        x = torch.rand(2, 1, size, size)
        np.testing.assert_allclose(followed.model(x)(x), module(x).detach(), atol=1e-6)


def test_epsball_models_stand_for_themselves() -> None:
    model = eb.models.linear(6, 3)
    followed = Followed(model)
    assert followed.model(X) is model
    assert followed.lowered is True
    source = eb.TorchModel(Gated())
    assert Followed(source).model(X) is source
    assert Followed(source).lowered is False


def test_anything_else_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"^model: wanted a torch nn\.Module or an epsball model, got function"):
        Followed(lambda x: x)
