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
    broken,
    library,
    mean_loss,
    module_and_digits,
    parameters_of,
)

torch = pytest.importorskip("torch")
import epsball.interop.torchattacks as ours  # noqa: E402 - needs torch
from epsball.interop import autoattack as authors  # noqa: E402
from epsball.interop.torch_modules import StandardisedModule  # noqa: E402

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
    "SINIFGSM": ("linf", 8 / 255),
    "VMIFGSM": ("linf", 8 / 255),
    "VNIFGSM": ("linf", 8 / 255),
    "DIFGSM": ("linf", 8 / 255),
    "EOTPGD": ("linf", 8 / 255),
    "Jitter": ("linf", 8 / 255),
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
    "set_model", "set_device", "get_logits", "get_output_with_eval_nograd", "get_target_label",
    "get_least_likely_label", "get_random_target_label", "normalize", "inverse_normalize", "save", "load", "to_type",
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
    attack, its = (getattr(of, name)(module, **options) for of in (ours, library("torchattacks")))
    left = []
    # A single step from a random start, and images resized at random, scatter by three rows.
    for seed in range(20 if name in ("FFGSM", "DIFGSM") else 1):
        torch.manual_seed(seed)
        x_adv = attack(x, y)
        assert x_adv.dtype == x.dtype
        assert x_adv.shape == x.shape
        assert_within(x_adv, x, options.get("eps", ball[1]), ball[0])
        left.append([accuracy(module, points, y) for points in (x_adv, its(x, y))])
    assert "engine=epsball" in repr(attack)
    got, wanted = np.mean(left, axis=0)
    assert got <= wanted + 0.02


@pytest.mark.parametrize("version", ["standard", "plus", "rand"])
def test_autoattack_has_their_members_and_is_no_weaker(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, x, y = module_and_digits()
    x, y = x[:12], y[:12]
    used: list[Any] = []
    members = authors.AutoAttack._members

    def noted(self: Any, names: Any, classes: int) -> Any:
        found = members(self, names, classes)
        used.extend(found.values())
        return found

    monkeypatch.setattr(authors.AutoAttack, "_members", noted)
    x_adv = ours.AutoAttack(module, eps=0.12, version=version, seed=0)(x, y)
    assert_within(x_adv, x, 0.12, "linf")
    theirs = library("torchattacks").AutoAttack(module, eps=0.12, version=version, seed=0)
    for mine, its in zip(used, theirs._autoattack.attacks, strict=True):
        assert type(mine).__name__ == {"APGDT": "APGD"}.get(its.attack, its.attack)
        if its.attack == "Square":
            assert (mine.queries, mine.p_init, mine.rescale) == (its.n_queries, its.p_init, its.rescale_schedule)
            continue
        assert (mine.steps, mine.restarts) == (its.steps, its.n_restarts)
        assert mine.targets == (9 if its.attack == "APGDT" or getattr(its, "multi_targeted", False) else 0)
        if its.attack == "APGD":
            assert mine.loss == {"ce": "cross_entropy", "dlr": "dlr"}[its.loss]
    assert_no_weaker(module, x_adv, theirs(x, y), y)
    stands = ~broken(module, x_adv, y)
    np.testing.assert_array_equal(x_adv[stands], x[stands])


@pytest.mark.parametrize(("name", "options", "norm"), NEAREST)
def test_minimum_norm_attacks_are_as_near_as_theirs(name: str, options: dict[str, Any], norm: str) -> None:
    module, x, y = module_and_digits()
    x, y = x[:10], y[:10]
    attack = getattr(ours, name)(module, **options)
    got, wanted = attack(x, y), getattr(library("torchattacks"), name)(module, **options)(x, y)
    more = 1.05 if name.startswith("EAD") else 1.01  # of so few steps an order of rounding decides which search counts
    assert_as_near(module, got, wanted.detach(), x, y, norm, more)
    assert "engine=epsball" in repr(attack)


ITERATES: list[tuple[str, dict[str, Any]]] = [
    ("MIFGSM", {}),
    ("MIFGSM", {"decay": 0.5}),
    ("NIFGSM", {}),
    ("SINIFGSM", {"m": 3}),
    ("VMIFGSM", {"beta": 0.0, "N": 2}),  # neighbours that are x itself
    ("DIFGSM", {"decay": 0.9, "diversity_prob": 0.0}),
    ("EOTPGD", {"random_start": False}),
    ("Jitter", {"random_start": False, "std": 0.0}),
]


def losses(module: Any, x: Any, y: Any) -> Any:
    with torch.no_grad():
        return torch.nn.functional.cross_entropy(module(x), y, reduction="none")


@pytest.mark.parametrize(("name", "options"), ITERATES, ids=[f"{n}-{o}" for n, o in ITERATES])
def test_iterates_are_theirs_where_nothing_is_random(name: str, options: dict[str, Any]) -> None:
    """Their last iterate of so many steps is ours of fewer, but for rows where their derivative cancels."""
    module, x, y = module_and_digits()
    model = eb.from_torch(module, (1, 28, 28))
    kept = losses(module, x, y) > 1e-2
    assert kept.sum() >= 10
    for steps in range(1, 6):
        options = {**options, "eps": 0.1, "alpha": 0.02, "steps": steps}
        theirs = getattr(library("torchattacks"), name)(module, **options)(x, y)
        run = getattr(ours, name)(module, **options).translated(lambda: 0).run(model, x, y, trace=True)
        if name == "Jitter":  # theirs then turns back to x
            kept &= module(theirs).argmax(1) == y
            wanted = model.loss(theirs, y, loss="jitter")
        else:
            wanted = losses(module, theirs, y)
        last = torch.as_tensor(run.trace[:, steps])
        apart = ((last - wanted).abs() / (1 + wanted.abs()))[kept]
        assert (apart < 1e-3).double().mean() >= 0.95, (steps, apart)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_filtered_gradients_are_theirs() -> None:
    """Theirs are for three channels."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(3 * 9 * 9, 20), torch.nn.Tanh(), torch.nn.Linear(20, 5)
    )
    x = torch.rand(40, 3, 9, 9)
    y = module(x).argmax(1)
    model = eb.from_torch(module, (3, 9, 9))
    for kernel in ("gaussian", "linear", "uniform"):
        for size in (3, 4, 7):
            options = {
                "eps": 0.1,
                "alpha": 0.02,
                "steps": 4,
                "diversity_prob": 0.0,
                "decay": 1.0,
                "kernel_name": kernel,
            }
            options["len_kernel"] = size
            theirs = library("torchattacks").TIFGSM(module, **options)(x, y)
            run = ours.TIFGSM(module, **options).translated(lambda: 0).run(model, x, y, trace=True)
            apart = (torch.as_tensor(run.trace[:, 4]) - losses(module, theirs, y)).abs()
            assert (apart < 1e-3).double().mean() >= 0.95


@pytest.mark.parametrize("name", ["PGDRS", "PGDRSL2"])
@pytest.mark.parametrize("noise", ["guassian", "uniform"])
def test_smoothed_classifiers_are_fooled_as_often_as_by_theirs(name: str, noise: str) -> None:
    module, x, y = module_and_digits()
    options = {
        "noise_type": noise,
        "noise_sd": 0.25,
        **({"eps": 0.1} if name == "PGDRS" else {"eps": 1.5, "alpha": 0.3}),
    }
    torch.manual_seed(0)
    points = [getattr(library_, name)(module, **options)(x, y) for library_ in (ours, library("torchattacks"))]
    right = []
    for found in points:
        torch.manual_seed(1)
        copies = [torch.randn_like(x) if noise == "guassian" else 2 * torch.rand_like(x) - 1 for _ in range(100)]
        with torch.no_grad():
            p = torch.stack([module(found + 0.25 * n).softmax(1) for n in copies]).mean(0)
        right.append(p[torch.arange(len(y)), y].mean().item())
    assert right[0] <= right[1] + 0.01
    assert_within(points[0], x, options["eps"], "linf" if name == "PGDRS" else "l2")


FEW: list[tuple[str, dict[str, Any], int]] = [
    ("SparseFool", {}, 12),
    ("OnePixel", {"pixels": 5, "steps": 10, "popsize": 60}, 20),
    ("Pixle", {"restarts": 5, "max_iterations": 5}, 20),
    ("Pixle", {"max_iterations": 10, "update_each_iteration": True}, 1),
    ("Pixle", {"restarts": 2, "max_iterations": 3, "x_dimensions": (0.1, 0.5), "y_dimensions": 6}, 10),
]


@pytest.mark.parametrize(("name", "options", "rows"), FEW, ids=[f"{n}-{len(o)}" for n, o, _ in FEW])
@pytest.mark.filterwarnings("ignore:__array__ implementation")  # NumPy's, of torch's tensors in theirs
def test_attacks_on_few_pixels_break_as_many_rows_as_theirs(name: str, options: dict[str, Any], rows: int) -> None:
    module, x, y = module_and_digits()
    x, y = x[:rows], y[:rows]
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - torchattacks draws from it
    got, wanted = (getattr(library_, name)(module, **options)(x, y) for library_ in (ours, library("torchattacks")))
    assert got.shape == x.shape
    assert 0 <= got.min() <= got.max() <= 1
    left = [accuracy(module, found, y) * rows for found in (got, wanted)]
    assert left[0] <= left[1] + 2  # which random draws account for
    if name == "SparseFool":
        changed = [torch.median((found != x).flatten(1).sum(1).double()) for found in (got, wanted)]
        assert 0 < changed[0] <= changed[1] + 1
    if name == "OnePixel":
        assert (got != x).flatten(1).sum(1).max() <= options["pixels"]


def test_one_pixel_and_pixle_reach_targets() -> None:
    module, x, y = module_and_digits()

    def second(images: Any) -> Any:
        with torch.no_grad():
            return module(images).argsort(1)[:, -2]

    for attack in (ours.OnePixel(module, pixels=20, steps=20, popsize=200), ours.Pixle(module)):
        attack.set_mode_targeted_by_function(lambda images, _: second(images))
        torch.manual_seed(0)
        assert accuracy(module, attack(x, y), second(x)) > accuracy(module, x, second(x))


def test_gradients_of_modules_that_are_random_are_averaged() -> None:
    """Of what the engine computes all draws are the same, and one is taken."""
    module, x, y = module_and_digits()

    class Noisy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.calls = module, 0

        def forward(self, z: Any) -> Any:
            self.calls += 1
            return self.inner(z) + 0.5 * torch.randn(len(z), 10)

    calls = []
    for draws in (1, 4):
        noisy = Noisy().eval()
        attack = ours.EOTPGD(noisy, eps=0.25, alpha=0.05, eot_iter=draws, steps=5)
        attack(x[:5], y[:5])  # finds that the engine does not compute it
        before = noisy.calls
        assert accuracy(module, attack(x, y), y) < accuracy(module, x, y) - 0.3
        calls.append(noisy.calls - before)
        assert "engine=Noisy itself" in repr(attack)
    assert calls[1] >= calls[0] + 3 * 5
    plain = ours.EOTPGD(module, eps=0.1, random_start=False)(x, y)
    torch.testing.assert_close(plain, ours.PGD(module, eps=0.1, random_start=False)(x, y))


def test_a_data_set_is_saved_as_theirs_and_loaded(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    module, x, y = module_and_digits()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=16)
    path = tmp_path / "found.pt"
    attack, theirs = ours.FGSM(module, eps=0.1), library("torchattacks").FGSM(module, eps=0.1)
    options: dict[str, Any] = {"save_predictions": True, "save_clean_inputs": True, "return_verbose": True}
    for kind in ("float", "int"):
        capsys.readouterr()
        accurate, l2, seconds = attack.save(loader, path, save_type=kind, **options)
        assert capsys.readouterr().out == ""
        wanted = theirs.save(loader, tmp_path / "theirs.pt", save_type=kind, **options)
        assert accurate == pytest.approx(wanted[0], abs=2.1)
        assert l2 == pytest.approx(wanted[1], rel=0.02)
        assert seconds > 0
        asked = {"load_predictions": True, "load_clean_inputs": True, "batch_size": 50}
        found, labels, preds, clean = next(iter(ours.FGSM.load(path, **asked)))
        assert (found - attack(x, y)).abs().max() <= (1 / 255 if kind == "int" else 0)
        assert torch.equal(labels, y)
        assert torch.equal(preds, module(attack(x, y)).argmax(1))
        assert (clean - x).abs().max() <= (1 / 255 if kind == "int" else 0)
        for file in (path, tmp_path / "theirs.pt"):  # each library reads the other's
            one, other = (next(iter(lib.FGSM.load(file, batch_size=50)))[0] for lib in (ours, library("torchattacks")))
            assert torch.equal(one, other)
    normal = {"mean": [0.5], "std": [0.25]}
    scaled = next(iter(ours.FGSM.load(path, normalize=normal, batch_size=50)))[0]
    torch.testing.assert_close(scaled * 0.25 + 0.5, found)
    assert attack.save(loader) is None
    attack.save(loader, path)
    with pytest.raises(ValueError, match="load_path: wanted a file with 'preds'"):
        ours.FGSM.load(path, load_predictions=True)
    with pytest.raises(ValueError, match="save_type: wanted one of float, int"):
        attack.save(loader, path, save_type="double")
    with pytest.raises(ValueError, match="data_loader: wanted at least one batch"):
        attack.save([])


def test_what_users_ask_an_attack_for_is_as_theirs() -> None:
    module, x, y = module_and_digits()
    attack, theirs = ours.FGSM(module), library("torchattacks").FGSM(module)
    assert attack.device == theirs.device
    attack.set_device("cpu")
    for method in ("get_logits", "get_output_with_eval_nograd"):
        torch.testing.assert_close(getattr(attack, method)(x), getattr(theirs, method)(x))
    assert attack.get_logits(x).requires_grad
    assert not attack.get_output_with_eval_nograd(x).requires_grad
    for a in (attack, theirs):
        a.set_mode_targeted_least_likely(kth_min=2, quiet=True)
    assert torch.equal(attack.get_least_likely_label(x, y), theirs.get_least_likely_label(x, y))
    assert torch.equal(attack.get_least_likely_label(x), theirs.get_least_likely_label(x))
    assert torch.equal(attack.get_target_label(x, y), theirs.get_target_label(x, y))
    assert (attack.get_random_target_label(x) != module(x).argmax(1)).all()
    attack.set_mode_default()
    with pytest.raises(ValueError, match="there are no targets in the default mode"):
        attack.get_target_label(x, y)
    with pytest.raises(ValueError, match="set_normalization_used"):
        attack.normalize(x)
    attack.set_normalization_used([0.5], [0.25])
    torch.testing.assert_close(attack.inverse_normalize(attack.normalize(x)), x)
    torch.testing.assert_close(attack.normalize(x), (x - 0.5) / 0.25)


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
    drawn = torch.stack([attack.get_target_label(x, y) for _ in range(30)])
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
    with pytest.raises(ValueError, match="MultiAttack: a targeted mode is not supported"):
        ours.MultiAttack([weak, strong]).set_mode_targeted_by_label()


@pytest.mark.parametrize("told", ["the attacks", "all together"])
def test_multi_attack_takes_normalised_inputs(told: str) -> None:
    inner, x, y = module_and_digits()
    mean, std = [0.1307], [0.3081]
    module = StandardisedModule(inner, -torch.tensor(mean) / torch.tensor(std), 1 / torch.tensor(std))
    attacks = [ours.FGSM(module, eps=0.1), ours.BIM(module, eps=0.2, alpha=0.05)]
    both = ours.MultiAttack(attacks)
    for attack in attacks if told == "the attacks" else [both]:
        attack.set_normalization_used(mean, std)
    got = both((x - mean[0]) / std[0], y) * std[0] + mean[0]
    assert_within(got.clamp(0, 1), x, 0.2 + 1e-6, "linf")
    plain = ours.MultiAttack([ours.FGSM(inner, eps=0.1), ours.BIM(inner, eps=0.2, alpha=0.05)])(x, y)
    assert accuracy(inner, got, y) == accuracy(inner, plain, y)
    assert ((got - plain).abs() > 1e-4).double().mean() < 1e-2


def test_what_multi_attack_saves_is_told_attack_by_attack(tmp_path: Any) -> None:
    module, x, y = module_and_digits()
    batches = [(x[:30], y[:30]), (x[30:], y[30:])]
    told = []
    for library_ in (ours, library("torchattacks")):
        attack = library_.MultiAttack([library_.FGSM(module, eps=0.1), library_.FGSM(module, eps=0.3)])
        told.append(attack.save(batches, str(tmp_path / "saved.pt"), verbose=False, return_verbose=True))
    (robust, rates, length, _), (its_robust, its_rates, its_length, _) = told
    assert robust == pytest.approx(its_robust)
    assert rates == pytest.approx(its_rates)
    assert length == pytest.approx(its_length, rel=1e-3)
    assert 0 < rates[0] < rates[1] <= 100


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
    with pytest.raises(AttributeError, match="LGV"):
        ours.LGV  # noqa: B018
    with pytest.raises(ValueError, match="device: wanted 'cpu'"):
        attack.set_device("cuda")
    with pytest.raises(ValueError, match="noise_type: wanted one of guassian, uniform"):
        ours.PGDRS(module, noise_type="gaussian")(x, y)
    with pytest.raises(ValueError, match="kernel_name: wanted one of gaussian, linear, uniform"):
        ours.TIFGSM(module, kernel_name="box")(x, y)
    with pytest.raises(ValueError, match="resize: wanted a number"):
        ours.DIFGSM(module, resize_rate=1.1)(x, y)
    with pytest.raises(ValueError, match="pixel_mapping: wanted random"):
        ours.Pixle(module, pixel_mapping="distance")(x, y)


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
