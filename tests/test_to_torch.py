"""eb.to_torch: the same layers, weights, logits and gradients in torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch

torch = pytest.importorskip("torch")
nn = torch.nn

MODELS = {
    "linear": lambda: eb.models.linear(12, 3),
    "mlp": lambda: eb.models.mlp([12, 9, 3], activation="gelu", dropout=0.2),
    "cnn": lambda: eb.models.cnn((1, 12, 12), 4),
    "activations": lambda: eb.Sequential(
        [
            eb.Linear(12, 8), eb.LeakyReLU(0.2), eb.Linear(8, 8), eb.ELU(0.5), eb.Linear(8, 8, bias=False),
            eb.Quadratic(), eb.Linear(8, 8), eb.Softplus(), eb.BatchNorm1d(8, 1e-3, 0.2), eb.Sigmoid(),
            eb.Linear(8, 3), eb.Tanh(),
        ],
        (12,),
    ),
    "images": lambda: eb.Sequential(
        [
            eb.Normalize((0.1, 0.2, 0.3), 0.5), eb.Conv2d(3, 4, (3, 2), stride=(1, 2), padding=(1, 0), bias=False),
            eb.BatchNorm2d(4), eb.ReLU(), eb.MaxPool2d(3, 2, 1), eb.AvgPool2d((2, 1), 1, (1, 0)), eb.Linear(40, 3),
        ],
        (3, 8, 8),
    ),
    "images_to_the_end": lambda: eb.Sequential([eb.Conv2d(3, 4, 4, 2), eb.Tanh(), eb.Conv2d(4, 2, 2)], (3, 8, 8)),
    "residual": lambda: eb.Sequential(
        [
            eb.Conv2d(3, 4, 3), eb.ReLU(),
            eb.Residual([eb.Conv2d(4, 5, 3, 2, 1), eb.BatchNorm2d(5), eb.ReLU()], [eb.Conv2d(4, 5, 1, 2)]), eb.ReLU(),
            eb.Linear(45, 8), eb.Residual([eb.Linear(8, 8), eb.Dropout(0.1)]), eb.Linear(8, 3),
        ],
        (3, 8, 8),
    ),
}  # fmt: skip


def filled(name: str) -> Any:
    """A model whose every parameter is its own, statistics included."""
    model = MODELS[name]()
    rng = np.random.default_rng(0)
    values = {
        n: rng.uniform(0.5, 1.5, v.shape) if v.ndim == 1 else rng.uniform(-0.5, 0.5, v.shape)
        for n, v in model.parameters().items()
    }
    model.load_parameters({n: v.astype(np.float32) for n, v in values.items()})
    return model


@pytest.mark.parametrize("name", MODELS)
def test_logits_and_gradients_agree_and_the_way_back_gives_the_model(name: str) -> None:
    model = filled(name)
    state = torch.random.get_rng_state()
    module = eb.to_torch(model)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert isinstance(module, nn.Sequential)
    assert not module.training
    x = batch(6, int(np.prod(model.input_shape))).reshape(6, *model.input_shape)
    t = torch.from_numpy(x).requires_grad_()
    z = module(t)
    y = np.zeros(6, np.int64)
    gradient = torch.autograd.grad(nn.functional.cross_entropy(z, torch.from_numpy(y), reduction="sum"), t)[0]
    for ours, theirs in ((model(x), z), (model.input_gradient(x, y), gradient)):
        wanted = theirs.detach().numpy()
        np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    again = eb.from_torch(module, model.input_shape)
    for ours, value in zip(model.parameters().values(), again.parameters().values(), strict=True):
        np.testing.assert_array_equal(value, ours)
    np.testing.assert_allclose(again(x), model(x), rtol=0, atol=1e-5 * np.abs(model(x)).max())


def test_weights_are_copied_and_trainable() -> None:
    model = filled("mlp")
    before = model.parameters()
    module = eb.to_torch(model)
    assert all(p.requires_grad and p.dtype == torch.float32 for p in module.parameters())
    with torch.no_grad():
        for p in module.parameters():
            p.zero_()
    assert all((value == before[name]).all() for name, value in model.parameters().items())


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(TypeError, match="model: wanted an epsball Sequential, got Linear"):
        eb.to_torch(nn.Linear(4, 2))
