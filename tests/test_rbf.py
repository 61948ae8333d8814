"""Radial basis functions: log confidences, Gaussian units, their loss, training, and confidence that ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import epsball as eb
import oracle
from cases import SIZES, assert_within, batch, check_loss, labels, soft_labels, use_threads
from oracle import ELEMENTARY
from oracle_layers import Stack, check_slopes, gaussian_net, rbf_classifier

NETS = {
    "classifier": lambda features, units: rbf_classifier(features, max(units, 2)),
    "one scale": lambda features, units: rbf_classifier(features, max(units, 2), diagonal=False),
    "gaussian": lambda features, units: gaussian_net((features, units, 3)),
}


@pytest.mark.parametrize("net_of", NETS.values(), ids=NETS.keys())
@pytest.mark.parametrize("size", SIZES)
def test_logits_and_jacobian_agree_for_odd_sizes(table: str, net_of: Any, size: int) -> None:
    for features, units, rows in ((size, 5, 7), (7, size, 5), (17, 15, size)):
        net: Stack = net_of(features, units)
        model, x = net.engine(), batch(rows, features)
        run = net.forward(x)
        assert_within(model(x), run.logits, run.logit_errors, "logits")
        wanted, error = net.jacobian(x)
        assert_within(model.jacobian(x), wanted, error, "Jacobian")


@pytest.mark.parametrize("net_of", NETS.values(), ids=NETS.keys())
@pytest.mark.parametrize("size", SIZES)
def test_gradients_of_inputs_and_parameters_agree_for_odd_sizes(table: str, net_of: Any, size: int) -> None:
    for features, units, rows in ((size, 5, 7), (7, size, 5), (17, 6, size)):
        net: Stack = net_of(features, units)
        y = labels(rows, net.classes)
        check_loss(net.engine(), net, batch(rows, features), y, "cross_entropy")


def test_many_units_and_features_agree(table: str) -> None:
    net = gaussian_net((200, 300, 10))
    check_loss(net.engine(), net, batch(30, 200), labels(30, 10), "cross_entropy")


@pytest.mark.parametrize("diagonal", [False, True])
def test_distances_are_accurate_far_from_the_origin(table: str, diagonal: bool) -> None:
    """A product x·c would lose all digits here; sums of squared differences keep theirs."""
    net = rbf_classifier(31, 5, diagonal)
    centre = np.float32(4096) + net.layers[0].values[0].astype(np.float32)
    net.layers[0].values = (centre.astype(np.float64), net.layers[0].values[1])
    x = np.float32(4096) + batch(9, 31)
    run, model = net.forward(x), net.engine()
    assert (run.logit_errors < 1e-5 * np.abs(run.logits) + oracle.TINY * 2).all()
    assert_within(model(x), run.logits, run.logit_errors, "logits")
    wanted, error = net.jacobian(x)
    assert_within(model.jacobian(x), wanted, error, "Jacobian")


@pytest.mark.parametrize("net_of", NETS.values(), ids=NETS.keys())
@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_gradient_is_the_slope_of_the_loss(table: str, net_of: Any, loss: str) -> None:
    net: Stack = net_of(5, 3)
    check_slopes(net.engine(), net, batch(12, 5), labels(12, 3), loss)


@pytest.mark.parametrize("net_of", NETS.values(), ids=NETS.keys())
def test_a_row_alone_is_the_row_in_its_batch(table: str, net_of: Any) -> None:
    model = net_of(33, 70).engine()
    x, y = batch(40, 33), labels(40, model.classes)
    attack = eb.attacks.PGD(eps=0.1, steps=3, restarts=2)
    z, g, a = model(x), model.input_gradient(x, y), attack(model, x, y)
    for threads in (1, 2):
        use_threads(threads)
        for rows in (slice(0, 1), slice(13, 14), slice(5, 38), slice(None)):
            np.testing.assert_array_equal(model(x[rows]), z[rows])
            np.testing.assert_array_equal(model.input_gradient(x[rows], y[rows]), g[rows])
            moved = attack.run(model, x[rows], y[rows], index=np.arange(40)[rows]).x_adv
            np.testing.assert_array_equal(moved, a[rows])


@pytest.mark.parametrize("net_of", NETS.values(), ids=NETS.keys())
def test_a_single_wide_row_is_shared_between_threads_to_the_same_bits(table: str, net_of: Any) -> None:
    model = net_of(700, 300).engine()
    x, y = batch(3, 700), labels(3, model.classes)
    g = model.input_gradient(x, y)
    for threads in (1, 2, 3):
        use_threads(threads)
        np.testing.assert_array_equal(model.input_gradient(x[:1], y[:1])[0], g[0])


@pytest.mark.parametrize("net_of", NETS.values(), ids=NETS.keys())
@pytest.mark.parametrize("size", SIZES)
def test_no_kernel_leaves_its_buffers(table: str, net_of: Any, size: int) -> None:
    for features, units, rows in ((size, 5, 7), (7, size, 5), (17, 6, size)):
        x = batch(rows, features)
        plain, guarded = net_of(features, units).engine(), net_of(features, units).engine()
        y = labels(rows, plain.classes)
        wanted = [plain.input_gradient(x, y), plain.jacobian(x), eb.pgd(plain, x, y, eps=0.1, steps=2)]
        wanted += list(plain.parameter_gradients(x, y).values())
        eb._native.check_guards(True)
        got = [guarded.input_gradient(x, y), guarded.jacobian(x), eb.pgd(guarded, x, y, eps=0.1, steps=2)]
        got += list(guarded.parameter_gradients(x, y).values())
        eb.fit(guarded, x, y, epochs=1, batch_size=3)
        eb._native.check_guards(False)
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(a, b)


# ---- the loss of log confidences


@pytest.mark.parametrize("classes", [2, 3, 10, 17])
@pytest.mark.parametrize("rows", [1, 5, 33])
def test_confidence_loss_agrees_with_labels_and_probabilities(table: str, classes: int, rows: int) -> None:
    net = rbf_classifier(9, classes)
    x = batch(rows, 9)
    check_loss(net.engine(), net, x, labels(rows, classes), "confidence")
    check_loss(net.engine(), net, x, soft_labels(rows, classes), "confidence")


def test_gradient_is_the_slope_of_the_confidence_loss(table: str) -> None:
    net = rbf_classifier(5, 3)
    check_slopes(net.engine(), net, batch(12, 5), labels(12, 3), "confidence")


def confidences(z: np.ndarray) -> Any:
    """A model whose log confidences at the origin are z (classes,)."""
    model = eb.Sequential([eb.RBF(1, len(z))], input_shape=(1,))
    model.load_parameters({"0.centre": np.sqrt(-z)[:, None], "0.scale": np.ones(len(z))})
    return model


@pytest.mark.parametrize("size", [1e-12, 1e-6, 1e-3, 0.5, 0.7, 3.0, 20.0, 100.0, 1e4])
def test_confidence_loss_is_stable_from_certain_to_impossible(table: str, size: float) -> None:
    model, origin = confidences(np.array([-size, -1.0, -size])), np.zeros((1, 1), np.float32)
    z = np.asarray(model(origin), np.float64)
    for y in (0, 1):
        wanted = oracle.loss("confidence", z, np.array([y]))
        np.testing.assert_allclose(model.loss(origin, np.array([y]), loss="confidence"), wanted, rtol=2 * ELEMENTARY)
    gradient = model.input_gradient(origin, np.array([1]), loss="confidence")
    assert np.isfinite(gradient).all()


def test_centre_of_another_class_has_a_finite_loss_and_gradient(table: str) -> None:
    model = confidences(np.array([-1.0, -0.0]))
    origin, y = np.zeros((1, 1), np.float32), np.array([0])
    np.testing.assert_allclose(model.loss(origin, y, loss="confidence"), 1.0 + 24 * np.log(2.0), rtol=1e-5)
    assert np.isfinite(model.input_gradient(origin, y, loss="confidence")).all()


def test_logits_that_are_no_log_confidences_are_refused() -> None:
    model = eb.models.linear(4, 3)
    model.load_parameters({"0.weight": np.ones((3, 4)), "0.bias": np.ones(3)})
    with pytest.raises(ValueError, match="logit"):
        model.loss(batch(5, 4), labels(5, 3), loss="confidence")
    with pytest.raises(ValueError, match="logit"):
        eb.pgd(model, batch(5, 4), labels(5, 3), eps=0.1, steps=2, loss="confidence")
    with pytest.raises(ValueError, match="logit"):
        eb.fit(model, batch(5, 4), labels(5, 3), loss="confidence")


def test_probabilities_are_confidences_and_need_not_sum_to_one(table: str) -> None:
    net = rbf_classifier(9, 4)
    model, x = net.engine(), batch(20, 9)
    p = np.asarray(model.probabilities(x))
    np.testing.assert_allclose(p, np.exp(np.asarray(model(x), np.float64)), rtol=2.0**-23)
    assert ((p >= 0) & (p <= 1)).all()
    assert np.ptp(p.sum(axis=1)) > 0.1
    hidden = gaussian_net((9, 6, 4)).engine()
    np.testing.assert_allclose(np.asarray(hidden.probabilities(x)).sum(axis=1), 1.0, rtol=1e-6)


# ---- trained on digits


@pytest.fixture(scope="module")
def trained(digits: dict[str, np.ndarray]) -> Any:
    model = eb.models.rbf(784, 10, data=(digits["x"], digits["y"]))
    eb.fit(model, digits["x"], digits["y"], loss="confidence", epochs=10, optimizer=eb.training.Adam(lr=0.01))
    return model


def test_shallow_classifier_learns_digits(trained: Any, digits: dict[str, np.ndarray]) -> None:
    assert (trained.predict(digits["xt"]) == digits["yt"]).mean() > 0.82
    untrained = eb.models.rbf(784, 10, data=(digits["x"], digits["y"]))
    before = untrained.loss(digits["xt"], digits["yt"], loss="confidence").mean()
    assert trained.loss(digits["xt"], digits["yt"], loss="confidence").mean() < 0.5 * before


def test_confidence_falls_to_nothing_along_any_ray(trained: Any, digits: dict[str, np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    for x in digits["xt"][:10].reshape(10, 784):
        direction = rng.normal(size=784)
        t = np.concatenate([[0.0], np.geomspace(0.1, 1e4, 40)])
        rows = (x + t[:, None] * direction / np.linalg.norm(direction)).astype(np.float32)
        p = np.asarray(trained.probabilities(rows))
        assert p[0].max() > 0
        assert p[-1].max() == 0
        far = p.max(axis=1)[np.argmax(p.max(axis=1)) :]
        assert (np.diff(far) <= 1e-6).all()  # once it falls it keeps falling


def test_mistakes_under_fgsm_are_far_less_confident_than_softmax_regression(
    trained: Any, digits: dict[str, np.ndarray]
) -> None:
    """Goodfellow et al. 2015, section 7: eps .25 leaves the RBF network 1.2 % confident where it is wrong."""
    softmax = eb.models.linear(784, 10)
    eb.fit(softmax, digits["x"], digits["y"], epochs=10)
    confidence = {}
    for name, model in (("rbf", trained), ("softmax", softmax)):
        x_adv = eb.fgsm(model, digits["xt"], digits["yt"], eps=0.25)
        wrong = np.asarray(model.predict(x_adv)) != digits["yt"]
        assert wrong.mean() > 0.3
        confidence[name] = np.asarray(model.probabilities(x_adv)).max(axis=1)[wrong].mean()
    assert confidence["rbf"] < 0.02 < 0.5 < confidence["softmax"]


def test_random_centres_learn_digits_as_well(digits: dict[str, np.ndarray]) -> None:
    model = eb.models.rbf(784, 10)
    eb.fit(model, digits["x"], digits["y"], loss="confidence", epochs=10, optimizer=eb.training.Adam(lr=0.01))
    assert (model.predict(digits["xt"]) == digits["yt"]).mean() > 0.8


def test_gaussian_units_learn_digits(digits: dict[str, np.ndarray]) -> None:
    model = eb.models.rbf(784, 10, units=100, data=(digits["x"], digits["y"]))
    start = model.parameters()
    eb.fit(model, digits["x"], digits["y"], epochs=5, optimizer=eb.training.Adam(lr=0.01))
    assert (model.predict(digits["xt"]) == digits["yt"]).mean() > 0.8
    for name, p in model.parameters().items():
        assert not np.array_equal(p, start[name]), name


def test_training_is_the_same_bits_on_any_number_of_threads(digits: dict[str, np.ndarray]) -> None:
    results = []
    for threads in (1, 2):
        use_threads(threads)
        model = eb.models.rbf(784, 10, units=30, data=(digits["x"], digits["y"]))
        eb.fit(model, digits["x"][:500], digits["y"][:500], epochs=1)
        results.append(model.parameters())
    for name, p in results[0].items():
        np.testing.assert_array_equal(p, results[1][name])


# ---- construction, files, errors


def test_model_starts_from_the_data_it_is_given() -> None:
    x = np.random.default_rng(0).normal(size=(60, 2, 3)).astype(np.float32)
    y = np.arange(60) % 3
    p = eb.models.rbf(6, 3, data=(x, y)).parameters()
    rows = x.reshape(60, 6)
    np.testing.assert_allclose(p["0.centre"], [rows[y == k].mean(axis=0) for k in range(3)], atol=1e-6)
    own = [((rows[y == k] - rows[y == k].mean(axis=0)) ** 2).sum(axis=1).mean() for k in range(3)]
    np.testing.assert_allclose(p["0.scale"], np.sqrt(0.5 / np.array(own))[:, None] * np.ones(6), rtol=1e-5)
    hidden = eb.models.rbf(6, 3, units=20, data=(x, y), seed=1).parameters()["0.centre"]
    assert len({c.tobytes() for c in hidden}) == 20
    assert {c.tobytes() for c in hidden} <= {r.tobytes() for r in rows}
    assert not np.array_equal(hidden, eb.models.rbf(6, 3, units=20, data=(x, y), seed=2).parameters()["0.centre"])


def test_rows_that_are_all_alike_make_a_finite_model() -> None:
    model = eb.models.rbf(2, 2, data=(np.ones((4, 2), np.float32), np.array([0, 1, 0, 1])))
    assert np.isfinite(model(np.zeros((1, 2), np.float32))).all()


@pytest.mark.parametrize("units", [None, 7])
def test_round_trip_keeps_every_bit(tmp_path: Path, units: int | None) -> None:
    model = eb.models.rbf(9, 4, units=units)
    model.save(tmp_path / "model.safetensors")
    again = eb.load(tmp_path / "model.safetensors")
    assert again.layers == model.layers
    for name, p in model.parameters().items():
        assert again.parameters()[name].tobytes() == p.tobytes()
    np.testing.assert_array_equal(again.probabilities(batch(5, 9)), model.probabilities(batch(5, 9)))


def test_bad_arguments_are_named() -> None:
    x, y = batch(6, 4), np.array([0, 1, 2, 0, 1, 2])
    for argument, call in (
        ("features", lambda: eb.models.rbf(0, 3)),
        ("classes", lambda: eb.models.rbf(4, 1)),
        ("units", lambda: eb.models.rbf(4, 3, units=0)),
        ("units", lambda: eb.RBF(4, 2.5)),
        ("diagonal", lambda: eb.RBF(4, 2, diagonal=1)),
        ("degree", lambda: eb.Power(-1)),
        ("data", lambda: eb.models.rbf(4, 3, data=x)),
        ("data", lambda: eb.models.rbf(5, 3, data=(x, y))),
        ("data", lambda: eb.models.rbf(4, 3, data=(x * np.nan, y))),
        ("data", lambda: eb.models.rbf(4, 3, data=(x, y[:5]))),
        ("data", lambda: eb.models.rbf(4, 3, data=(x, y.astype(float)))),
        ("data", lambda: eb.models.rbf(4, 4, data=(x, y))),
        ("data", lambda: eb.models.rbf(4, 3, units=7, data=(x, y))),
        ("features", lambda: eb.Sequential([eb.RBF(4, 2)], input_shape=(5,))),
    ):
        with pytest.raises((ValueError, TypeError), match=argument):
            call()
