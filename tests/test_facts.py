"""Facts from the papers, on the packaged digits and, where EPSBALL_DATA has it, on the full MNIST.

Published (1412.6572, no clipping, eps .25): softmax regression errs 99.9 %; logistic 3-versus-7 goes
from 1.6 % to 99 %; random noise of the same norm does next to nothing; training on FGSM points helps
against FGSM. That such a model falls to PGD is 1706.06083. Orderings are robust at any scale, exact
magnitudes are not, so thresholds leave room except where the fact itself is "nearly all".
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import epsball as eb

T = eb.training
Digits = dict[str, np.ndarray]
EPS = 0.25


@pytest.fixture(
    scope="module",
    params=[
        "subset",
        pytest.param("full", marks=[pytest.mark.full_mnist, pytest.mark.timeout(300)]),
    ],
)
def data(request: pytest.FixtureRequest) -> Digits:
    return request.getfixturevalue("digits" if request.param == "subset" else "full_digits")


def error(model: Any, x: np.ndarray, y: np.ndarray) -> float:
    return float(np.mean(model.predict(x) != y))


def fgsm_error(model: Any, d: Digits) -> float:
    return error(model, eb.fgsm(model, d["xt"], d["yt"], eps=EPS, bounds=None), d["yt"])


def trained(model: Any, d: Digits, method: Any = None, steps: int = 1500, lr: float = 1e-3) -> Any:
    """About the same number of updates on either data set."""
    epochs = max(1, round(steps * 100 / len(d["x"])))
    method = T.Standard() if method is None else method
    eb.fit(
        model, d["x"], d["y"], method=method, epochs=epochs, batch_size=100, optimizer=T.Adam(lr=lr),
        monitor=eb.attacks.FGSM(eps=EPS, bounds=None),
    )  # fmt: skip
    return model


@pytest.fixture(scope="module")
def plain(data: Digits) -> Any:
    return trained(eb.models.mlp([784, 128, 128, 10], seed=0), data)


@pytest.fixture(scope="module")
def fgsm_trained(data: Digits) -> Any:
    method = T.FGSMTraining(eps=EPS, alpha=0.5)
    return trained(eb.models.mlp([784, 128, 128, 10], seed=0), data, method)


def test_softmax_regression_errs_nearly_always_under_fgsm(data: Digits) -> None:
    model = trained(eb.models.linear(784, 10), data)
    clean = error(model, data["xt"], data["yt"])
    assert clean < 0.13  # about 10.5 % on the packaged digits, 8 % on all of MNIST
    assert fgsm_error(model, data) > 0.99


def three_and_seven(data: Digits) -> Digits:
    out: Digits = {}
    for x, y in (("x", "y"), ("xt", "yt")):
        rows = (data[y] == 3) | (data[y] == 7)
        out[x], out[y] = data[x][rows], (data[y][rows] == 7).astype(np.int64)
    return out


def test_logistic_three_versus_seven_falls_from_two_to_ninety_nine_percent(data: Digits) -> None:
    pairs = three_and_seven(data)
    model = trained(eb.models.linear(784, 1), pairs)
    clean, attacked = error(model, pairs["xt"], pairs["yt"]), fgsm_error(model, pairs)
    if len(data["x"]) == 60_000:  # published 1.6 %, here 1.8 %; one standard deviation of 2,038 test digits is 0.3 %
        assert clean == pytest.approx(0.016, abs=0.005)
    else:
        assert clean < 0.035  # 2.2 %, with a sixth of the training digits
    assert attacked > 0.99  # published 99 %, here 100 %
    exact = eb.exact_robust_accuracy(model, pairs["xt"], pairs["yt"], eps=EPS, norm="linf", bounds=None)
    assert attacked == pytest.approx(1 - exact, abs=2 / len(pairs["yt"]))  # FGSM is the worst case here


def test_fgsm_is_far_worse_than_noise_of_the_same_norm(data: Digits, plain: Any) -> None:
    rng = np.random.default_rng(0)
    x, y = data["xt"], data["yt"]
    clean, attacked = error(plain, x, y), fgsm_error(plain, data)
    noise = rng.choice(np.float32([-EPS, EPS]), x.shape)
    corners = error(plain, x + noise, y)
    uniform = error(plain, x + rng.uniform(-EPS, EPS, x.shape).astype(np.float32), y)
    assert clean < 0.08
    assert attacked > 0.85
    assert attacked > 3 * corners
    assert attacked > 3 * uniform


def test_fgsm_training_helps_against_fgsm_and_falls_to_pgd(data: Digits, plain: Any, fgsm_trained: Any) -> None:
    x, y = data["xt"], data["yt"]
    before, after = fgsm_error(plain, data), fgsm_error(fgsm_trained, data)
    assert after < before - 0.3
    assert error(fgsm_trained, x, y) < 0.08
    rows = slice(0, 1000)
    pgd = eb.attacks.PGD(eps=EPS, steps=40, bounds=None).run(fgsm_trained, x[rows], y[rows])
    one = eb.attacks.FGSM(eps=EPS, bounds=None).run(fgsm_trained, x[rows], y[rows])
    assert pgd.success.mean() > one.success.mean() + 0.2


def test_pgd_training_is_more_robust_to_pgd_than_either(data: Digits, plain: Any, fgsm_trained: Any) -> None:
    small = {**data, "x": data["x"][:10_000], "y": data["y"][:10_000]}
    model = trained(
        eb.models.mlp([784, 128, 128, 10], seed=0),
        small,
        T.PGDTraining(eps=0.1, steps=5),
        steps=1000,
    )
    attack = eb.attacks.PGD(eps=0.1, steps=20)
    x, y = data["xt"][:1000], data["yt"][:1000]
    robust, naked = (attack.run(m, x, y).success.mean() for m in (model, plain))
    assert robust < naked - 0.2
    assert error(model, x, y) < 0.12


def test_iterative_beats_single_step_and_success_grows_with_the_budget(data: Digits, plain: Any) -> None:
    x, y = data["xt"][:1000], data["yt"][:1000]
    rates = []
    for eps in (0.0, 0.03, 0.1, 0.3):
        pgd = eb.attacks.PGD(eps=eps, steps=20, random_start=False).run(plain, x, y).success
        one = eb.attacks.FGSM(eps=eps).run(plain, x, y).success
        assert pgd.mean() >= one.mean()
        rates.append(pgd.mean())
    assert rates[0] == error(plain, x, y)
    assert all(a < b for a, b in pairwise(rates))
    assert rates[-1] > 0.99  # a large budget breaks an undefended model


def test_targeted_attack_reaches_every_class(data: Digits, plain: Any) -> None:
    x, y = data["xt"][:200], data["yt"][:200]
    for target in range(10):
        goal = np.full(200, target)
        run = eb.attacks.PGD(eps=0.3, steps=40, targeted=True, early_stop=True).run(plain, x, goal)
        assert run.success[y != target].mean() > 0.5


def test_carlini_and_wagner_change_fewer_pixels_than_jsma(data: Digits, plain: Any) -> None:
    """1608.04644, best case: 8.5 pixels against JSMA's 17 to 20."""
    x = data["xt"][:40]
    y = plain.predict(x)
    cw, jsma = (a.run(plain, x, y) for a in (eb.attacks.CarliniWagner(norm="l0", steps=100), eb.attacks.JSMA()))
    both = cw.success & jsma.success
    assert both.mean() > 0.9
    assert np.median(cw.distance[both]) <= 0.75 * np.median(jsma.distance[both])


def test_distillation_hides_the_gradient_of_a_float32_softmax_and_is_broken_all_the_same(digits: Digits) -> None:
    """1608.04644: of p - onehot(y) nothing is left at temperature 100; Carlini and Wagner succeed on 100 %."""
    x, xt, y = digits["x"].reshape(-1, 784), digits["xt"][:200].reshape(-1, 784), digits["yt"][:200]
    teacher, student = (eb.models.mlp([784, 64, 10], seed=seed) for seed in (0, 1))
    for model, method in ((teacher, T.Distillation(100.0)), (student, T.Distillation(100.0, teacher))):
        eb.fit(model, x, digits["y"], method=method, epochs=10, optimizer=T.Adam(1e-2))
    naive = student.probabilities(xt)
    naive[np.arange(200), y] -= 1
    assert error(student, xt, y) < 0.12
    assert (naive == 0).all(axis=1).mean() > 0.7
    assert error(student, eb.pgd(student, xt, y, eps=0.1, steps=10), y) > 0.8
    broken = eb.attacks.CarliniWagner(steps=200, search_steps=5).run(student, xt[:50], y[:50])
    assert broken.success.mean() > 0.9
