"""Linear layers: logits, Jacobian and the model's own manners agree with the float64 oracle."""

from __future__ import annotations

import numpy as np
import pytest

import epsball as eb
from cases import SIZES, assert_within, batch, labels, pair
from oracle import TINY, Net


@pytest.mark.parametrize("features", SIZES)
def test_logits_agree_for_odd_sizes_and_batches(table: str, features: int) -> None:
    for classes in (1, 2, 10, 17):
        model, net = pair([features, classes])
        for rows in (1, 2, 3, 15, 33):
            x = batch(rows, features)
            run = net.forward(x)
            z = model(x)
            assert z.shape == (rows, classes)
            assert_within(z, run.logits, run.logit_errors, f"{rows} x {features} -> {classes}")


@pytest.mark.parametrize("classes", SIZES)
def test_logits_agree_for_odd_numbers_of_outputs(table: str, classes: int) -> None:
    model, net = pair([19, classes])
    x = batch(9, 19)
    run = net.forward(x)
    assert_within(model(x), run.logits, run.logit_errors, "logits")


@pytest.mark.parametrize("width", SIZES)
def test_logits_and_jacobian_agree_for_odd_hidden_widths(table: str, width: int) -> None:
    model, net = pair([width, width, 3], "tanh")
    x = batch(6, width)
    run = net.forward(x)
    assert_within(model(x), run.logits, run.logit_errors, "logits")
    wanted, error = net.jacobian(x)
    assert_within(model.jacobian(x), wanted, error + TINY, "Jacobian")


@pytest.mark.parametrize("classes", [1, 2, 10])
def test_jacobian_of_a_linear_model_is_its_weight_matrix_exactly(table: str, classes: int) -> None:
    model, net = pair([33, classes])
    jacobian = model.jacobian(batch(5, 33))
    assert jacobian.shape == (5, classes, 33)
    np.testing.assert_array_equal(jacobian, np.broadcast_to(net.weights[0], jacobian.shape))


def test_layer_without_bias_adds_none(table: str) -> None:
    model = eb.Sequential([eb.Linear(5, 3, bias=False)], input_shape=(5,))
    assert list(model.parameters()) == ["0.weight"]
    np.testing.assert_array_equal(model(np.zeros((2, 5), np.float32)), np.zeros((2, 3)))


def test_images_are_flattened_channels_first(table: str) -> None:
    net = Net([np.arange(24.0).reshape(2, 12)], [np.zeros(2)])
    model = eb.Sequential([eb.Flatten(), eb.Linear(12, 2)], input_shape=(2, 2, 3))
    model.load_parameters(dict(zip(model.parameters(), net.parameters(), strict=True)))
    x = np.random.default_rng(0).integers(0, 8, (4, 2, 2, 3)).astype(np.float32)
    np.testing.assert_array_equal(model(x), net(x.reshape(4, 12)))  # small integers: exact
    np.testing.assert_array_equal(model(x.reshape(4, 12)), model(x))
    assert model.jacobian(x).shape == (4, 2, 2, 2, 3)
    assert model.input_gradient(x, labels(4, 2)).shape == x.shape


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_inputs_of_every_width_are_accepted(table: str, dtype: type) -> None:
    model, net = pair([7, 3])
    x = batch(4, 7).astype(np.float16).astype(dtype)
    run = net.forward(x)
    assert_within(model(x), run.logits, run.logit_errors, "logits")


def test_strided_and_fortran_ordered_inputs_give_the_same_logits(table: str) -> None:
    model, _ = pair([7, 3])
    x = batch(8, 7)
    wide = np.zeros((8, 14), np.float32)
    wide[:, ::2] = x
    np.testing.assert_array_equal(model(wide[:, ::2]), model(x))
    np.testing.assert_array_equal(model(np.asfortranarray(x)), model(x))
    np.testing.assert_array_equal(model(x[::-1]), model(x)[::-1])


def test_predict_is_the_first_largest_logit(table: str) -> None:
    model, _ = pair([9, 10])
    x = batch(50, 9)
    predicted = model.predict(x)
    assert predicted.dtype == np.int64
    np.testing.assert_array_equal(predicted, np.asarray(model(x)).argmax(axis=1))


def test_one_logit_predicts_by_its_sign(table: str) -> None:
    model, _ = pair([9, 1])
    x = batch(50, 9, low=-1.0, high=1.0)
    predicted = model.predict(x)
    np.testing.assert_array_equal(predicted, (np.asarray(model(x))[:, 0] > 0).astype(np.int64))
    assert set(predicted) == {0, 1}


@pytest.mark.parametrize("classes", [1, 2, 10])
def test_probabilities_are_softmax_or_sigmoid(table: str, classes: int) -> None:
    model, _ = pair([9, classes])
    x = batch(6, 9)
    z = np.asarray(model(x), np.float64)
    p = 1 / (1 + np.exp(-z)) if classes == 1 else np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    # Given the engine's own logits only exp, a sum of `classes` terms and a quotient are rounded.
    np.testing.assert_allclose(model.probabilities(x), p, rtol=(classes + 32) * 2.0**-24)


def test_same_seed_same_parameters_other_seed_others() -> None:
    first, again, other = (eb.models.mlp([5, 4, 3], seed=s).parameters() for s in (1, 1, 2))
    assert list(first) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert not np.array_equal(first["0.weight"], other["0.weight"])


def test_parameters_have_torch_layout_and_are_copies() -> None:
    model = eb.models.linear(5, 3)
    parameters = model.parameters()
    assert {n: p.shape for n, p in parameters.items()} == {"0.weight": (3, 5), "0.bias": (3,)}
    assert all(p.dtype == np.float32 for p in parameters.values())
    before = model.parameters()["0.weight"].copy()
    parameters["0.weight"][:] = 7.0
    np.testing.assert_array_equal(model.parameters()["0.weight"], before)


def test_loaded_parameters_are_used_at_once() -> None:
    model = eb.models.linear(4, 2)
    x = batch(3, 4)
    model(x)
    model.load_parameters({"0.weight": np.zeros((2, 4)), "0.bias": np.array([1.0, 2.0])})
    np.testing.assert_array_equal(model(x), np.tile([1.0, 2.0], (3, 1)))


def test_model_reports_its_shape() -> None:
    model = eb.models.mlp([12, 5, 3])
    assert model.classes == 3
    assert int(np.prod(model.input_shape)) == 12
    assert len(model.layers) >= 3
    assert eb.models.linear(4, 1).classes == 1
    assert model.to("cpu").classes == 3
