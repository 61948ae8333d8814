"""epsball.interop.torchattacks: torchattacks' names, signatures, defaults and modes before epsball's attacks."""

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
    library,
    mean_loss,
    module_and_digits,
    parameters_of,
)

torch = pytest.importorskip("torch")
import epsball.interop.torchattacks as ours  # noqa: E402 - needs torch

NAMES = sorted(
    name
    for name, thing in vars(ours).items()
    if isinstance(thing, type) and thing.__module__.startswith(f"{ours.__name__}.")
)
ATTACKS = [name for name in NAMES if name not in ("Attack", "MultiAttack")]
IN_BALL = {
    "FGSM": ("linf", 8 / 255),
    "FFGSM": ("linf", 8 / 255),
    "RFGSM": ("linf", 8 / 255),
    "BIM": ("linf", 8 / 255),
    "PGD": ("linf", 8 / 255),
    "PGDL2": ("l2", 1.0),
    "MIFGSM": ("linf", 8 / 255),
    "NIFGSM": ("linf", 8 / 255),
    "UPGD": ("linf", 8 / 255),
    "TPGD": ("linf", 8 / 255),
    "APGD": ("linf", 8 / 255),
    "APGDT": ("linf", 8 / 255),
    "Square": ("linf", 8 / 255),
    "FAB": ("linf", 8 / 255),
    "SPSA": ("linf", 0.3),
}
NEAREST: list[tuple[str, dict[str, Any], str]] = [
    ("CW", {"c": 10, "steps": 200, "lr": 0.05}, "l2"),
    ("DeepFool", {}, "l2"),
    ("EADL1", {"initial_const": 0.1}, "l1"),
    ("EADEN", {"initial_const": 0.1}, "l2"),
]
METHODS = (
    "__call__", "set_mode_targeted_by_function", "set_mode_targeted_random", "set_mode_targeted_least_likely",
    "set_mode_targeted_by_label", "set_mode_default", "set_normalization_used", "set_model_training_mode", "get_mode",
    "set_model",
)  # fmt: skip


@pytest.mark.parametrize("name", [*ATTACKS, "MultiAttack"])
def test_signature_and_defaults_are_theirs(name: str) -> None:
    theirs = library("torchattacks")
    assert parameters_of(getattr(ours, name)) == parameters_of(getattr(theirs, name))


@pytest.mark.parametrize("name", METHODS)
def test_methods_take_what_theirs_take(name: str) -> None:
    method = getattr(library("torchattacks").attack.Attack, name)
    if method.__name__ == "wrapper_func":  # a decorator that hides the signature
        method = method.__closure__[0].cell_contents
    theirs = parameters_of(method)
    assert parameters_of(getattr(ours.Attack, name)) == [p for p in theirs if p[0] not in ("args", "kwargs")]


@pytest.mark.parametrize(("name", "ball"), IN_BALL.items())
def test_results_are_in_the_ball_and_no_weaker_than_theirs(name: str, ball: tuple[str, float]) -> None:
    module, x, y = module_and_digits()
    options = {} if name == "PGDL2" else {"eps": 0.15}
    options |= {"n_queries": 100} if name == "Square" else {"nb_iter": 3} if name == "SPSA" else {}
    attack = getattr(ours, name)(module, **options)
    x_adv = attack(x, y)
    assert x_adv.dtype == x.dtype
    assert x_adv.shape == x.shape
    assert_within(x_adv, x, options.get("eps", ball[1]), ball[0])
    assert "engine=epsball" in repr(attack)
    with_theirs = getattr(library("torchattacks"), name)(module, **options)(x, y)
    assert_no_weaker(module, x_adv, with_theirs, y)


@pytest.mark.parametrize(("name", "options", "norm"), NEAREST)
def test_minimum_norm_attacks_are_as_near_as_theirs(name: str, options: dict[str, Any], norm: str) -> None:
    module, x, y = module_and_digits()
    x, y = x[:10], y[:10]
    attack = getattr(ours, name)(module, **options)
    got, wanted = attack(x, y), getattr(library("torchattacks"), name)(module, **options)(x, y)
    more = 1.05 if name.startswith("EAD") else 1.01  # of so few steps an order of rounding decides which search counts
    assert_as_near(module, got, wanted.detach(), x, y, norm, more)
    assert "engine=epsball" in repr(attack)


def test_jsma_aims_at_the_next_class_and_breaks_as_many_rows_as_theirs() -> None:
    module, x, y = module_and_digits()
    x, y = x[:4], y[:4]
    got, wanted = (library_.JSMA(module)(x, y) for library_ in (ours, library("torchattacks")))
    assert accuracy(module, got, (y + 1) % 10) >= accuracy(module, wanted, (y + 1) % 10) > 0
    changed = (got != x).reshape(len(x), -1).sum(1)
    assert (changed <= 0.1 * 784).all()


def test_gaussian_noise_is_theirs() -> None:
    module, x, y = module_and_digits()
    points = []
    for library_ in (ours, library("torchattacks")):
        torch.manual_seed(0)
        points.append(library_.GN(module, std=0.2)(x, y))
    torch.testing.assert_close(*points)


def test_fab_gives_back_what_lies_beyond_eps_and_aims_at_all_classes() -> None:
    module, x, y = module_and_digits()
    got = ours.FAB(module, eps=0.1)(x, y)
    away = (got - x).abs().reshape(len(x), -1).max(1).values
    assert (away <= 0.1).all()
    assert 0 < (away == 0).sum() < len(x)
    aimed = ours.FAB(module, eps=0.1, multi_targeted=True)(x, y)
    assert accuracy(module, aimed, y) <= accuracy(module, got, y) + 0.02


def test_one_step_gives_the_same_points() -> None:
    module, x, y = module_and_digits()
    wanted = library("torchattacks").FGSM(module, eps=0.1)(x, y)
    got = ours.FGSM(module, eps=0.1)(x, y)
    assert_same_points(module, got, wanted, x, y)


def test_the_module_is_followed_and_left_as_it_was() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10)).train()
    _, x, y = module_and_digits()
    attack = ours.FGSM(module, eps=0.1)
    first = attack(x, y)
    with torch.no_grad():
        module[1].weight.neg_()
    second = attack(x, y)
    assert not torch.equal(first, second)
    torch.testing.assert_close(second, ours.FGSM(module, eps=0.1)(x, y))
    assert module.training
    assert all(p.grad is None for p in module.parameters())


def test_targets_by_label_function_least_likely_and_at_random() -> None:
    module, x, y = module_and_digits()
    attack = ours.BIM(module, eps=0.3, alpha=0.05, steps=20)
    attack.set_mode_targeted_by_function(lambda _, labels: (labels + 1) % 10)
    assert attack.get_mode() == "targeted(custom)"
    towards = attack(x, y)
    assert accuracy(module, towards, (y + 1) % 10) > accuracy(module, x, (y + 1) % 10) + 0.3
    attack.set_mode_targeted_by_label(quiet=True)
    torch.testing.assert_close(attack(x, (y + 1) % 10), towards)
    attack.set_mode_targeted_least_likely(kth_min=2)
    with torch.no_grad():
        second_least = module(x).scatter(1, y[:, None], torch.inf).argsort(1)[:, 1]
    assert mean_loss(module, attack(x, y), second_least) < mean_loss(module, x, second_least)
    attack.set_mode_targeted_random()
    drawn = torch.stack([attack._random_targets(x, y) for _ in range(30)])
    assert (drawn != y).all()
    assert len(drawn.unique()) == 10
    attack.set_mode_default()
    assert accuracy(module, attack(x, y), y) < 0.2


def test_normalised_inputs_are_attacked_as_images() -> None:
    inner, x, y = module_and_digits()
    mean, std = [0.1307], [0.3081]

    class Raw(torch.nn.Module):
        """The module as it would be for normalised inputs."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, z: Any) -> Any:
            return self.inner(z * 0.3081 + 0.1307)

    normal = (x - mean[0]) / std[0]
    attack, theirs = ours.FGSM(Raw(), eps=0.1), library("torchattacks").FGSM(Raw(), eps=0.1)
    for a in (attack, theirs):
        a.set_normalization_used(mean=mean, std=std)
    got, wanted = attack(normal, y), theirs(normal, y)
    assert "engine=epsball" in repr(attack)
    assert (lengths := (got * std[0] + mean[0] - x).abs()).max() <= 0.1 + 1e-6, lengths.max()
    assert ((got - wanted).abs() > 1e-5).double().mean() < 1e-3


def test_random_starts_follow_the_global_generator() -> None:
    module, x, y = module_and_digits()
    attack = ours.PGD(module, eps=0.1, steps=1)
    torch.manual_seed(3)
    first, second = attack(x, y), attack(x, y)
    torch.manual_seed(3)
    again = attack(x, y)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_multi_attack_keeps_the_first_success_of_each_row() -> None:
    module, x, y = module_and_digits()
    weak, strong = ours.FGSM(module, eps=0.1), ours.BIM(module, eps=0.2, alpha=0.05)
    both = ours.MultiAttack([weak, strong])(x, y)
    once = weak(x, y)
    fooled = module(once).argmax(1) != y
    assert 0 < fooled.sum() < len(y)
    assert torch.equal(both[fooled], once[fooled])
    assert accuracy(module, both, y) <= accuracy(module, strong(x, y), y)
    with pytest.raises(ValueError, match="attacks: wanted at least two, got 1"):
        ours.MultiAttack([weak])


def test_options_that_epsball_does_not_have_are_errors() -> None:
    module, x, y = module_and_digits()
    attack = ours.FGSM(module)
    with pytest.raises(ValueError, match="model_training: wanted False"):
        attack.set_model_training_mode(model_training=True)
    with pytest.raises(TypeError, match="labels: wanted a torch tensor, got NoneType"):
        attack(x)
    with pytest.raises(ValueError, match="bounds"):
        attack(x + 0.5, y)
    attack.set_mode_targeted_least_likely(kth_min=10)
    with pytest.raises(ValueError, match="kth_min: wanted at most 9"):
        attack(x, y)
    with pytest.raises(ValueError, match="targeted mode is not supported"):
        ours.VANILA(module).set_mode_targeted_by_label()
    with pytest.raises(AttributeError, match="Pixle"):
        ours.Pixle  # noqa: B018


def test_epsball_models_can_be_attacked_too() -> None:
    module, x, y = module_and_digits()
    model = eb.from_torch(module, (1, 28, 28))
    got = ours.FGSM(model, eps=0.1)(x, y)
    np.testing.assert_array_equal(got, eb.fgsm(model, x, y, eps=0.1))


def test_images_are_unchanged_and_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    module, x, y = module_and_digits()
    before = x.clone()
    for name in ATTACKS:
        attack = getattr(ours, name)(module)
        if "targeted" in attack.supported_mode:
            attack.set_mode_targeted_random()
        attack(x[:3], y[:3])
    assert torch.equal(x, before)
    assert capsys.readouterr().out == ""
