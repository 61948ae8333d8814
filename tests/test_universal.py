"""Universal perturbations: one for all rows, better than noise and than any one row's, kept at its best."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import epsball as eb
from cases import batch, constant_model, pair

Universal = eb.attacks.Universal
FEATURES, CLASSES, ROWS = 33, 5, 200


def problem() -> tuple[Any, NDArray, NDArray]:
    model, net = pair([FEATURES, 24, CLASSES], "tanh", scale=2.0)
    x = batch(ROWS, FEATURES)
    return model, x, net.predict(x)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.15), ("l2", 0.9), ("l1", 3.0)])
def test_one_perturbation_fools_more_rows_than_noise_of_its_size(table: str, norm: str, eps: float) -> None:
    model, x, y = problem()
    run = Universal(eps=eps, norm=norm, bounds=None).run(model, x, y)
    v = run.perturbation
    assert v.shape == (FEATURES,)
    order = {"linf": np.inf, "l2": 2, "l1": 1}[norm]
    assert np.linalg.norm(v.astype(np.float64), order) <= eps
    np.testing.assert_allclose(np.asarray(run.x_adv) - x, np.broadcast_to(v, x.shape), atol=1e-6)
    np.testing.assert_array_equal(run.success, model.predict(run.x_adv) != y)
    noise = (
        np.random.default_rng(0).standard_normal((20, FEATURES))
        if norm != "linf"
        else np.sign(np.random.default_rng(0).standard_normal((20, FEATURES)))
    )
    noise *= eps / np.linalg.norm(noise, order, axis=1, keepdims=True)
    by_noise = [(model.predict((x + n).astype(np.float32)) != y).mean() for n in noise]
    assert run.success.mean() > 1.5 * max(by_noise)


def test_rows_it_has_not_seen_fall_too(table: str) -> None:
    model, x, y = problem()
    attack = Universal(eps=0.15)
    v = attack.fit(model, x[:100], y[:100])
    fooled = model.predict(attack.apply(v, x)) != y
    assert fooled[100:].mean() > 0.6 * fooled[:100].mean() > 0.06


def test_fit_and_apply_are_what_run_does_and_the_box_holds(table: str) -> None:
    model, x, y = problem()
    attack = Universal(eps=0.2, epochs=3, seed=4)
    run = attack.run(model, x, y)
    v = attack.fit(model, x, y)
    np.testing.assert_array_equal(run.perturbation, v)
    np.testing.assert_array_equal(run.x_adv, attack.apply(v, x))
    np.testing.assert_array_equal(run.x_adv, attack(model, x, y))
    images = attack.apply(v.reshape(3, 11), x.reshape(ROWS, 3, 11))
    np.testing.assert_array_equal(images.reshape(x.shape), run.x_adv)


def test_more_epochs_never_fool_fewer_rows(table: str) -> None:
    """The best perturbation of all epochs is kept, and that of 0 counts."""
    model, x, y = problem()
    fooled = [Universal(eps=0.1, epochs=n, step_size=0.05).run(model, x, y).success.mean() for n in (1, 4, 8)]
    assert fooled == sorted(fooled)
    wrong = (y + 1) % CLASSES
    assert Universal(eps=0.1, epochs=1).run(model, x, wrong).success.mean() == 1.0


def test_masked_features_stay_and_targets_are_sought(table: str) -> None:
    model, x, y = problem()
    mask = np.arange(FEATURES) % 3 != 0
    run = Universal(eps=0.3, mask=mask).run(model, x, y)
    np.testing.assert_array_equal(run.perturbation[~mask], 0)
    assert run.success.mean() > 0.1
    target = np.full(ROWS, 2)
    aimed = Universal(eps=0.3, targeted=True).run(model, x, target)
    np.testing.assert_array_equal(aimed.success, model.predict(aimed.x_adv) == 2)
    assert aimed.success.mean() > (y == 2).mean() + 0.1


def test_other_losses_and_ceilings_are_followed(table: str) -> None:
    model, x, y = problem()
    own, low = (Universal(eps=0.15, ceiling=c).run(model, x, y) for c in (None, 0.1))
    assert own.success.mean() > low.success.mean() > 0.1
    margin = Universal(eps=0.15, loss="margin").run(model, x, y)
    assert margin.success.mean() > 0.2
    np.testing.assert_array_equal(margin.loss, model.loss(margin.x_adv, y, loss="margin"))


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_results_have_the_callers_dtype_and_no_value_moves_further_than_the_perturbation(dtype: type) -> None:
    model, x, y = problem()
    run = Universal(eps=0.1).run(model, x.astype(dtype), y)
    assert run.x_adv.dtype == dtype
    moved = np.abs(np.asarray(run.x_adv, np.float64) - x.astype(dtype).astype(np.float64))
    assert (moved <= np.abs(run.perturbation.astype(np.float64))).all()


def test_queries_count_every_forward_pass() -> None:
    model, x, y = problem()
    rows: list[int] = []

    def logits(points: NDArray) -> NDArray:
        rows.append(len(points))
        return np.asarray(model(points))

    source = eb.CallableModel(logits, lambda points, d: np.zeros_like(points), classes=CLASSES)
    for options in ({}, {"loss": "margin"}):
        rows.clear()
        run = Universal(eps=0.1, epochs=3, batch_size=64, **options).run(source, x, y)
        assert run.queries.sum() == sum(rows)


def test_gradient_sources_and_torch_tensors_are_welcome() -> None:
    model, x, y = problem()
    source = eb.CallableModel(model, lambda rows, d: np.einsum("nk,nkf->nf", d, model.jacobian(rows)), classes=CLASSES)
    own, other = (Universal(eps=0.15, epochs=2).run(m, x, y) for m in (model, source))
    np.testing.assert_allclose(own.perturbation, other.perturbation, atol=1e-4)
    torch = pytest.importorskip("torch")
    tensor = Universal(eps=0.15, epochs=2)(model, torch.from_numpy(x), torch.from_numpy(y))
    np.testing.assert_array_equal(tensor.numpy(), own.x_adv)


def test_rows_without_a_gradient_say_so() -> None:
    model, x = constant_model(FEATURES, CLASSES), batch(ROWS, FEATURES)
    run = Universal(eps=0.1).run(model, x)
    assert run.zero_gradient.all()
    np.testing.assert_array_equal(run.x_adv, x)


def test_no_rows_give_no_rows_and_no_perturbation() -> None:
    model, x, y = problem()
    run = Universal(eps=0.1).run(model, x[:0], y[:0])
    assert run.x_adv.shape == (0, FEATURES)
    np.testing.assert_array_equal(run.perturbation, 0)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("eps", -1), ("eps", np.ones(3)), ("epochs", 0), ("batch_size", 0), ("step_size", -1), ("ceiling", "high"),
     ("norm", "l0"), ("loss", "none")],
)  # fmt: skip
def test_bad_options_are_named(argument: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=argument):
        Universal(**{"eps": 0.1, argument: value})


def test_bad_arguments_are_named() -> None:
    model, x, y = problem()
    with pytest.raises(ValueError, match="trace"):
        Universal(eps=0.1).run(model, x, y, trace=True)
    with pytest.raises(ValueError, match="mask: wanted that of one input"):
        Universal(eps=0.1, mask=np.ones((ROWS, FEATURES)))(model, x, y)
    with pytest.raises(TypeError, match="y: wanted 200 class indices"):
        Universal(eps=0.1)(model, x, np.zeros((ROWS, CLASSES), np.float32))
    with pytest.raises(ValueError, match="perturbation: wanted one input's shape"):
        Universal(eps=0.1).apply(np.zeros(3), x)
    with pytest.raises(ValueError, match="x: wanted values within bounds"):
        Universal(eps=0.1).apply(np.zeros(FEATURES), x + 2)
