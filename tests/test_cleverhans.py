"""epsball.interop.cleverhans: cleverhans' functions before epsball's attacks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb
from drop_in import (
    accuracy,
    assert_as_near,
    assert_no_weaker,
    assert_same_points,
    assert_within,
    lengths,
    library,
    mean_loss,
    module_and_digits,
    parameters_of,
)

torch = pytest.importorskip("torch")
import epsball.interop.cleverhans as ours  # noqa: E402 - needs torch

FUNCTIONS = ("fast_gradient_method", "projected_gradient_descent", "carlini_wagner_l2", "spsa", "hop_skip_jump_attack",
             "sparse_l1_descent", "noise")  # fmt: skip


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
    torch.manual_seed(0)  # one row in fifty is what random starts decide
    got = ours.projected_gradient_descent(module, *arguments, y=y, rand_init=rand_init)
    assert_within(got, x, eps, name)
    wanted = theirs("projected_gradient_descent")(module, *arguments, y=y, rand_init=rand_init, sanity_checks=False)
    assert_no_weaker(module, got, wanted.detach(), y)


def test_sparse_descent_is_in_the_ball_and_no_weaker() -> None:
    module, x, y = module_and_digits()
    options = {"eps": 10.0, "y": y, "clip_min": 0.0, "clip_max": 1.0}
    got = ours.sparse_l1_descent(module, x, **options)
    assert_within(got, x, 10.0, "l1")
    assert_no_weaker(module, got, theirs("sparse_l1_descent")(module, x, **options, sanity_checks=False).detach(), y)


def test_noise_is_theirs_within_ball_and_box() -> None:
    _, x, _ = module_and_digits()
    torch.manual_seed(0)
    got = ours.noise(x, 0.1, clip_min=0.0, clip_max=1.0)
    assert_within(got, x, 0.1, "linf")
    torch.manual_seed(0)
    torch.testing.assert_close(got, theirs("noise")(x, 0.1, clip_min=0.0, clip_max=1.0))
    for dtype in (torch.float16, torch.float64):
        got = ours.noise(x.to(dtype), 0.1, clip_min=0.0, clip_max=1.0)
        assert got.dtype == dtype
        assert_within(got, x.to(dtype), 0.1, "linf")
    with pytest.raises(ValueError, match=r"order: wanted np\.inf"):
        ours.noise(x, order=2)


def test_carlini_wagner_is_as_near_and_reaches_its_targets() -> None:
    module, x, y = module_and_digits()
    x, y = x[:15], y[:15]
    options = {"n_classes": 10, "y": y, "binary_search_steps": 3, "max_iterations": 200, "lr": 0.05}
    options |= {"initial_const": 1.0}
    got = ours.carlini_wagner_l2(module, x, **options)
    assert_as_near(module, got, theirs("carlini_wagner_l2")(module, x.clone(), **options).detach(), x, y, "l2")
    targets = (y + 1) % 10
    options |= {"y": targets, "targeted": True}
    assert accuracy(module, ours.carlini_wagner_l2(module, x, **options), targets) == 1


def test_spsa_is_in_the_ball_and_no_weaker() -> None:
    module, x, y = module_and_digits()
    x, y = x[:10], y[:10]
    options = {"eps": 0.2, "nb_iter": 10, "clip_min": 0.0, "clip_max": 1.0, "y": y, "learning_rate": 0.05}
    torch.manual_seed(0)
    got = ours.spsa(module, x, **options)
    assert_within(got, x, 0.2, "linf")
    assert_no_weaker(module, got, theirs("spsa")(module, x, **options, sanity_checks=False).detach(), y)
    assert mean_loss(module, got, y) > mean_loss(module, x, y) + 1


def test_labels_alone_lead_as_near_as_theirs() -> None:
    module, x, _ = module_and_digits()
    x, y = x[:10], module(x[:10]).argmax(1).numpy()
    torch.manual_seed(0)
    options = {"num_iterations": 5, "verbose": False}
    got = ours.hop_skip_jump_attack(module, x, 2, **options)
    wanted = theirs("hop_skip_jump_attack")(module, x, 2, **options).detach()
    assert_as_near(module, got, wanted, x, y, "l2", 1.1)
    cubes = ours.hop_skip_jump_attack(module, x, np.inf, constraint=np.inf, **options)
    assert lengths(cubes, x, "linf").mean() < 0.6 * lengths(got, x, "linf").mean()


def test_labels_alone_lead_to_targets() -> None:
    module, x, _ = module_and_digits()
    x = x[:10]
    targets = module(x).argmax(1).roll(1)
    for given in (targets, torch.eye(10)[targets]):
        aimed = ours.hop_skip_jump_attack(module, x, 2, given, x.roll(1, 0), num_iterations=2)
        assert accuracy(module, aimed, targets) >= 0.9  # on the boundary torch may round to the other side
        assert (aimed != x.roll(1, 0)).any()


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
    with pytest.raises(ValueError, match="early_stop_loss_threshold: wanted None or 0"):
        ours.spsa(module, x, 0.1, 5, early_stop_loss_threshold=-1.0)
    with pytest.raises(ValueError, match="is_debug: wanted False"):
        ours.spsa(module, x, 0.1, 5, is_debug=True)
    with pytest.raises(ValueError, match="image_target: a targeted attack needs"):
        ours.hop_skip_jump_attack(module, x, 2, y_target=y)
    with pytest.raises(ValueError, match="gamma: wanted 1"):
        ours.hop_skip_jump_attack(module, x, 2, gamma=2.0)
    with pytest.raises(TypeError, match="model_fn: wanted a function"):
        pgd(3, x, 0.1, 0.1, 5, np.inf, y=y)
