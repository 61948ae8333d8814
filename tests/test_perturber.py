"""eb.Perturber: attacks inside other people's training loops."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch, labels

A = eb.attacks


def linear() -> Any:
    model = eb.models.linear(6, 3)
    rng = np.random.default_rng(0)
    model.load_parameters({name: rng.normal(size=p.shape) for name, p in model.parameters().items()})
    return model


def test_one_call_of_the_engine_per_batch_and_the_attacks_points(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, y = linear(), batch(8, 6), labels(8, 3)
    attack = A.PGD(eps=0.1, steps=3)
    wanted = attack(model, x, y)
    calls = []
    module = sys.modules["epsball.attacks.pgd"]
    loop = module.run_loop
    monkeypatch.setattr(module, "run_loop", lambda *given, **named: calls.append(1) or loop(*given, **named))
    perturb = eb.Perturber(model, attack)
    np.testing.assert_array_equal(perturb(x, y), wanted)
    assert calls == [1]
    assert perturb.engine == "epsball"


def test_batches_in_memory_are_neither_copied_on_their_way_in_nor_on_their_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = pytest.importorskip("torch")
    module, loop = sys.modules["epsball.attacks.pgd"], sys.modules["epsball.attacks.pgd"].run_loop
    passed: list[np.ndarray] = []

    def watched(attack: Any, told: Any, model: Any, x: Any, *rest: Any, **named: Any) -> Any:
        found = loop(attack, told, model, x, *rest, **named)
        passed[:] = [x, found[0]]
        return found

    monkeypatch.setattr(module, "run_loop", watched)
    for x in (batch(8, 6), torch.from_numpy(batch(8, 6))):
        x_adv = eb.Perturber(linear(), A.PGD(eps=0.1, steps=2))(x, labels(8, 3))
        for mine, theirs in zip((x, x_adv), passed, strict=True):
            assert np.shares_memory(np.asarray(mine), theirs)


def test_random_starts_differ_between_batches_and_go_on_where_a_run_stopped() -> None:
    model, x, y = linear(), batch(8, 6), labels(8, 3)
    attack = A.PGD(eps=0.1, steps=1, step_size=0.01)
    perturb = eb.Perturber(model, attack)
    first, second = perturb(x, y), perturb(x, y)
    assert perturb.rows == 16
    assert (first != second).any()
    again = eb.Perturber(model, attack)
    again.rows = 8
    np.testing.assert_array_equal(again(x, y), second)
    halves = eb.Perturber(model, attack)
    np.testing.assert_array_equal(np.concatenate([halves(x[:3], y[:3]), halves(x[3:], y[3:])]), first)


def test_torch_modules_are_followed_without_a_copy_of_the_batch() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 3)).train()
    x, y = torch.from_numpy(batch(8, 6)), torch.from_numpy(labels(8, 3))
    perturb = eb.Perturber(module, A.BIM(eps=0.1))
    assert "not called yet" in repr(perturb)
    state = torch.get_rng_state()
    for _ in range(2):
        x_adv = perturb(x, y)
        wanted = A.BIM(eps=0.1)(eb.from_torch(module, (6,)), x, y)
        assert torch.equal(x_adv, wanted)
        assert not x_adv.requires_grad
        with torch.no_grad():
            module[0].weight.neg_()
    assert module.training
    assert module[1].training
    assert torch.equal(torch.get_rng_state(), state)
    assert perturb.engine == "epsball"
    assert perturb(x.clone().requires_grad_(), y).requires_grad is False


def test_estimators_are_followed_and_labels_are_their_own() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    x = batch(60, 6).astype(np.float64)
    y = np.array(["cat", "dog", "emu"])[labels(60, 3)]
    estimator = linear_model.SGDClassifier(random_state=0)
    perturb = eb.Perturber(estimator, A.FGSM(eps=0.1, loss="margin"))
    with pytest.raises(ValueError, match="fitted"):
        perturb(x, y)
    for _ in range(2):
        estimator.partial_fit(x, y, classes=["cat", "dog", "emu"])
        x_adv = perturb(x, y)
        wanted = A.FGSM(eps=0.1, loss="margin")(eb.from_sklearn(estimator), x, np.searchsorted(estimator.classes_, y))
        np.testing.assert_array_equal(x_adv, wanted)
    assert x_adv.dtype == np.float64
    with pytest.raises(ValueError, match="y: wanted labels among the estimator's classes"):
        perturb(x, np.full(60, "cow"))


def test_jax_parameters_come_with_the_call() -> None:
    jnp = pytest.importorskip("jax.numpy")
    params = jnp.asarray(np.random.default_rng(0).normal(size=(6, 3)), jnp.float32)
    source = eb.JaxModel(lambda p, x: x @ p, params, input_shape=(6,))
    perturb = eb.Perturber(source, A.FGSM(eps=0.1))
    x, y = jnp.asarray(batch(8, 6)), jnp.asarray(labels(8, 3))
    first, second = perturb(x, y), perturb(x, y, params=-params)
    assert isinstance(first, jnp.ndarray)
    assert (first != second).any()
    np.testing.assert_array_equal(second, A.FGSM(eps=0.1)(eb.JaxModel(lambda p, x: x @ p, -params), x, y))


def test_bad_arguments_are_named() -> None:
    model, x, y = linear(), batch(8, 6), labels(8, 3)
    with pytest.raises(TypeError, match="attack: wanted an attack"):
        eb.Perturber(model, "pgd")
    with pytest.raises(TypeError, match=r"model: wanted a torch nn\.Module, a scikit-learn estimator"):
        eb.Perturber(lambda z: z, A.FGSM(eps=0.1))
    perturb = eb.Perturber(model, A.FGSM(eps=0.1))
    with pytest.raises(TypeError, match="params: wanted them with a JaxModel only"):
        perturb(x, y, params={})
    with pytest.raises(ValueError, match="rows: wanted an integer >= 0"):
        perturb.rows = -1
