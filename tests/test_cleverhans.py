"""epsball.interop.cleverhans: cleverhans' functions before epsball's attacks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb
from drop_in import (
    accuracy,
    assert_no_weaker,
    assert_same_points,
    assert_within,
    library,
    module_and_digits,
    parameters_of,
)

torch = pytest.importorskip("torch")
import epsball.interop.cleverhans as ours  # noqa: E402 - needs torch

FUNCTIONS = ("fast_gradient_method", "projected_gradient_descent")


def theirs(name: str) -> Any:
    return getattr(library(f"cleverhans.torch.attacks.{name}"), name)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signature_is_theirs(name: str) -> None:
    assert parameters_of(getattr(ours, name)) == parameters_of(theirs(name))


@pytest.mark.parametrize(("norm", "eps"), [(np.inf, 0.1), (2, 1.0)])
def test_one_step_gives_the_same_points(norm: Any, eps: float) -> None:
    module, x, y = module_and_digits()
    for options in ({}, {"clip_min": 0.0, "clip_max": 1.0}, {"y": y}, {"y": (y + 1) % 10, "targeted": True}):
        got = ours.fast_gradient_method(module, x, eps, norm, **options)
        wanted = theirs("fast_gradient_method")(module, x, eps, norm, **options).detach()
        assert_same_points(module, got, wanted, x, y)


def test_the_l1_step_goes_on_where_the_box_stops_it() -> None:
    module, x, y = module_and_digits()
    got = ours.fast_gradient_method(module, x, 5.0, 1, 0.0, 1.0, y)
    assert_within(got, x, 5.0, "l1")
    wanted = theirs("fast_gradient_method")(module, x, 5.0, 1, 0.0, 1.0, y).detach()
    assert accuracy(module, got, y) < accuracy(module, wanted, y)


@pytest.mark.parametrize(("norm", "name", "eps"), [(np.inf, "linf", 0.12), (2, "l2", 1.2)])
@pytest.mark.parametrize("rand_init", [True, False])
def test_descent_is_in_the_ball_and_no_weaker(norm: Any, name: str, eps: float, rand_init: bool) -> None:
    module, x, y = module_and_digits()
    arguments = (x, eps, eps / 4, 20, norm, 0.0, 1.0)
    got = ours.projected_gradient_descent(module, *arguments, y=y, rand_init=rand_init)
    assert_within(got, x, eps, name)
    wanted = theirs("projected_gradient_descent")(module, *arguments, y=y, rand_init=rand_init, sanity_checks=False)
    assert_no_weaker(module, got, wanted.detach(), y)


def test_no_labels_means_the_models_own_predictions() -> None:
    module, x, _ = module_and_digits()
    predicted = module(x).argmax(1)
    got = ours.fast_gradient_method(module, x, 0.1, np.inf)
    assert torch.equal(got, ours.fast_gradient_method(module, x, 0.1, np.inf, y=predicted))


def test_any_function_of_a_batch_will_do_and_it_is_said_who_computes_it() -> None:
    module, x, y = module_and_digits()

    def model_fn(z: Any) -> Any:
        return module(z)

    got = ours.fast_gradient_method(model_fn, x, 0.1, np.inf, y=y)
    wanted = ours.fast_gradient_method(module, x, 0.1, np.inf, y=y)
    assert_same_points(module, got, wanted, x, y)
    assert ours.followed(module).engine == "epsball"
    assert "itself" in ours.followed(model_fn).engine
    model = eb.from_torch(module, (1, 28, 28))
    assert torch.equal(ours.fast_gradient_method(model, x, 0.1, np.inf, y=y), wanted)


def test_bad_arguments_are_named() -> None:
    module, x, y = module_and_digits()
    pgd = ours.projected_gradient_descent
    with pytest.raises(ValueError, match=r"norm: wanted np\.inf, 1 or 2, got 3"):
        ours.fast_gradient_method(module, x, 0.1, 3)
    with pytest.raises(ValueError, match="clip_min, clip_max: wanted both or neither"):
        ours.fast_gradient_method(module, x, 0.1, 2, clip_min=0.0)
    with pytest.raises(ValueError, match=r"eps_iter: wanted at most eps = 0\.1, got 0\.2"):
        pgd(module, x, 0.1, 0.2, 5, np.inf)
    with pytest.raises(ValueError, match=r"rand_minmax: wanted None or eps = 0\.1"):
        pgd(module, x, 0.1, 0.1, 5, np.inf, rand_minmax=0.3)
    with pytest.raises(TypeError, match="x: wanted a torch tensor"):
        pgd(module, np.asarray(x), 0.1, 0.1, 5, np.inf)
    with pytest.raises(TypeError, match="model_fn: wanted a function"):
        pgd(3, x, 0.1, 0.1, 5, np.inf, y=y)
