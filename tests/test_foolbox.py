"""epsball.interop.foolbox: foolbox's names, signatures and defaults before epsball's attacks, and the reverse."""

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
import epsball.interop.foolbox as ours  # noqa: E402 - needs torch

NORM = {"Linf": ("linf", 0.15), "L2": ("l2", 1.5), "L1": ("l1", 15.0)}
FIXED = [f"{norm}{kind}" for norm in NORM
         for kind in ("FastGradientAttack", "BasicIterativeAttack", "ProjectedGradientDescentAttack",
                      "MomentumIterativeFastGradientMethod")]  # fmt: skip
FIXED += ["SparseL1DescentAttack"]
NOISE = [f"{kind}NoiseAttack" for kind in ("L2AdditiveGaussian", "L2AdditiveUniform", "LinfAdditiveUniform")]
NOISE += [name.replace("Additive", "RepeatedAdditive") for name in NOISE]
FIXED += [f"{norm}Adam{kind}" for norm in ("Linf", "L2")
          for kind in ("BasicIterativeAttack", "ProjectedGradientDescentAttack")]  # fmt: skip
ALIASES = ("FGM", "FGSM", "MIFGSM", "L1PGD", "L2PGD", "LinfPGD", "PGD", "AdamPGD", "LinfAdamPGD", "L2AdamPGD")
SEARCH = {"binary_search_steps": 3, "steps": 200, "initial_const": 1.0, "abort_early": False}
NEAREST: dict[str, dict[str, Any]] = {
    "L2CarliniWagnerAttack": {**SEARCH, "stepsize": 0.05},
    "EADAttack": {**SEARCH, "decision_rule": "L1"},
    "L2DeepFoolAttack": {},
    "LinfDeepFoolAttack": {},
    "DDNAttack": {},
    "L2FMNAttack": {},
    "LInfFMNAttack": {},
    "L1FMNAttack": {},
    "L0FMNAttack": {},
    "NewtonFoolAttack": {},
    "HopSkipJumpAttack": {"steps": 5},
    "BoundaryAttack": {"steps": 500},
}
DECISION = ("HopSkipJumpAttack", "BoundaryAttack")
#: Searches of a path, how they are made here, and whether ours finds the same points as theirs.
PATHS: dict[str, tuple[dict[str, Any], bool]] = {
    "LinearSearchContrastReductionAttack": ({"target": 0.2}, True),
    "BinarySearchContrastReductionAttack": ({"target": 0.2}, True),
    "GaussianBlurAttack": ({"steps": 100}, True),
    "InversionAttack": ({}, True),
    "LinearSearchBlendedUniformNoiseAttack": ({"steps": 100}, False),
    "SaltAndPepperNoiseAttack": ({"steps": 300}, False),
}
AWARE = [f"L2ClippingAware{often}Additive{kind}NoiseAttack" for often in ("", "Repeated")
         for kind in ("Gaussian", "Uniform")]  # fmt: skip
MISSING = {f"{norm}BrendelBethgeAttack" for norm in ("L0", "L1", "L2", "Linfinity")}
MISSING |= {"GenAttack", "L1AdamBasicIterativeAttack", "L1AdamPGD", "L1AdamProjectedGradientDescentAttack"}


#: Rows of 50 whose nearest points lie so close to the boundary that torch's rounding may say otherwise.
ON_THE_BOUNDARY = 0.1


def both_models() -> tuple[Any, Any, Any, Any]:
    module, x, y = module_and_digits()
    return ours.PyTorchModel(module, (0, 1)), library("foolbox").PyTorchModel(module, (0, 1)), x, y


def norm_of(name: str) -> tuple[str, float]:
    return next((ball for prefix, ball in NORM.items() if name.startswith(prefix)), NORM["L1"])


def test_only_what_the_docstring_names_is_missing() -> None:
    theirs = {n for n, t in vars(library("foolbox").attacks).items() if isinstance(t, type)}
    assert {n for n in theirs if n not in ours.__all__} == MISSING
    for name in ("BrendelBethgeAttack", "GenAttack", "L1 steps of Adam"):
        assert name in str(ours.__doc__)


OTHERS = ("SpatialAttack", "VirtualAdversarialAttack", "PointwiseAttack", "DatasetAttack", "L2ContrastReductionAttack",
          "BinarizationRefinementAttack")  # fmt: skip


@pytest.mark.parametrize("name", [*FIXED, *NOISE, *AWARE, *NEAREST, *PATHS, *OTHERS])
def test_signature_and_defaults_are_theirs(name: str) -> None:
    theirs = library("foolbox").attacks
    assert parameters_of(getattr(ours.attacks, name)) == parameters_of(getattr(theirs, name))


@pytest.mark.parametrize("name", ALIASES)
def test_short_names_mean_the_same_attacks(name: str) -> None:
    assert getattr(ours.attacks, name).__name__ == getattr(library("foolbox").attacks, name).__name__


def test_the_model_takes_what_theirs_takes() -> None:
    assert parameters_of(ours.PyTorchModel) == parameters_of(library("foolbox").PyTorchModel)


@pytest.mark.parametrize("name", FIXED)
def test_results_are_in_the_ball_and_no_weaker_than_theirs(name: str) -> None:
    model, theirs, x, y = both_models()
    norm, eps = norm_of(name)
    raw, clipped, is_adv = getattr(ours.attacks, name)()(model, x, y, epsilons=eps)
    assert torch.equal(raw, clipped)
    assert_within(clipped, x, eps, norm)
    module = module_and_digits()[0]
    assert is_adv.dtype == torch.bool
    assert accuracy(module, clipped, y) == pytest.approx(1 - float(is_adv.double().mean()))
    wanted = getattr(library("foolbox").attacks, name)()(theirs, x, y, epsilons=eps)[1]
    assert_no_weaker(module, clipped, wanted, y)


@pytest.mark.parametrize("name", NOISE)
def test_noise_is_in_the_ball_and_no_weaker_than_theirs(name: str) -> None:
    model, theirs, x, y = both_models()
    module, (norm, eps) = (
        module_and_digits()[0],
        {"Linf": ("linf", 0.4), "L2Ad": ("l2", 8.0)}[name[:4].replace("Re", "Ad")],
    )
    torch.manual_seed(0)
    clipped = getattr(ours.attacks, name)()(model, x, y, epsilons=eps)[1]
    assert_within(clipped, x, eps, norm)
    wanted = getattr(library("foolbox").attacks, name)()(theirs, x, y, epsilons=eps)[1]
    # Of 50 rows, by draws of their own, the fractions scatter by 0.04 each; the lengths hardly do.
    assert accuracy(module, clipped, y) <= accuracy(module, wanted, y) + 0.1
    assert lengths(clipped, x, norm).mean() >= 0.97 * lengths(wanted, x, norm).mean()
    more = getattr(ours.attacks, name)().repeat(5)(model, x, y, epsilons=eps)[1]
    assert accuracy(module, more, y) <= accuracy(module, clipped, y)


def test_the_virtual_adversarial_step_is_no_weaker_than_theirs() -> None:
    model, theirs, x, y = both_models()
    module = module_and_digits()[0]
    clipped = ours.VirtualAdversarialAttack(steps=2)(model, x, y, epsilons=2.0)[1]
    assert_within(clipped, x, 2.0, "l2")
    wanted = library("foolbox").attacks.VirtualAdversarialAttack(steps=2, xi=1e-2)(theirs, x, y, epsilons=2.0)[1]
    assert_no_weaker(module, clipped, wanted, y)
    with pytest.raises(ValueError, match="criterion: wanted labels"):
        ours.VirtualAdversarialAttack(1)(model, x, ours.TargetedMisclassification(y), epsilons=2.0)


@pytest.mark.parametrize("name", NEAREST)
def test_minimum_norm_attacks_are_as_near_as_theirs(name: str) -> None:
    model, theirs, x, y = both_models()
    module = module_and_digits()[0]
    x, y = x[:15], y[:15]
    torch.manual_seed(0)
    attack = getattr(ours.attacks, name)(**NEAREST[name])
    raw, clipped, is_adv = attack(model, x, y, epsilons=None)
    assert torch.equal(raw, clipped)
    assert accuracy(module, clipped, y) == pytest.approx(1 - float(is_adv.double().mean()), abs=ON_THE_BOUNDARY)
    wanted = getattr(library("foolbox").attacks, name)(**NEAREST[name])(theirs, x, y, epsilons=None)[1]
    more = 1.1 if name in DECISION else 1.01  # their starts differ, and the walks are short
    if name == "EADAttack":
        more = 1.05  # of so few steps an order of rounding decides which search counts
    found = is_adv if name in DECISION else torch.ones(len(x), dtype=torch.bool)
    assert found.sum() >= len(x) - 1  # of one digit in fifty no noise in a thousand is of another class
    assert_as_near(module, clipped[found], wanted[found], x[found], y[found], attack.distance, more)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["DDNAttack", "LinfDeepFoolAttack", "L0FMNAttack", "EADAttack"])
def test_budgets_of_minimum_norm_attacks_only_clip(name: str, dtype: Any) -> None:
    model, _, x, y = both_models()
    x = x.to(dtype)
    options = {k: v for k, v in NEAREST[name].items() if k != "decision_rule"}
    attack = getattr(ours.attacks, name)(**options)
    near, far = {"linf": (0.01, 0.5), "l2": (0.1, 10.0), "l1": (1.0, 100.0), "l0": (1, 784)}[attack.distance]
    raw, clipped, is_adv = attack(model, x, y, epsilons=[None, near, far])
    assert [len(raw), len(clipped), tuple(is_adv.shape)] == [3, 3, (3, len(x))]
    assert torch.equal(raw[0], raw[1])
    assert torch.equal(clipped[0], raw[0])
    assert torch.equal(clipped[2], raw[0])
    assert {points.dtype for points in clipped} == {dtype}
    assert_within(clipped[1], x, near, attack.distance)
    module = module_and_digits()[0]
    for points, solved in zip(clipped, is_adv, strict=True):
        assert accuracy(module, points.float(), y) == pytest.approx(
            1 - float(solved.double().mean()), abs=ON_THE_BOUNDARY
        )
    assert is_adv[1].sum() < is_adv[2].sum()


@pytest.mark.parametrize("name", ["L2CarliniWagnerAttack", "DDNAttack", "LInfFMNAttack", "BoundaryAttack"])
def test_minimum_norm_attacks_towards_a_target(name: str) -> None:
    model, _, x, y = both_models()
    targets = (y + 1) % 10
    start = torch.stack([x[y == t][0] for t in targets])
    more = {"starting_points": start} if name in DECISION else {}
    attack = getattr(ours.attacks, name)(**NEAREST[name])
    _, clipped, is_adv = attack(model, x, ours.TargetedMisclassification(targets), epsilons=None, **more)
    reached = accuracy(module_and_digits()[0], clipped, targets)
    assert reached == pytest.approx(float(is_adv.double().mean()), abs=ON_THE_BOUNDARY)
    assert is_adv.double().mean() > 0.6


@pytest.mark.parametrize("name", PATHS)
def test_searches_of_a_path_are_as_near_as_theirs(name: str) -> None:
    model, theirs, x, y = both_models()
    module = module_and_digits()[0]
    options, same = PATHS[name]
    torch.manual_seed(0)
    raw, clipped, is_adv = getattr(ours.attacks, name)(**options)(model, x, y, epsilons=None)
    wanted = getattr(library("foolbox").attacks, name)(**options)(theirs, x, y, epsilons=None)
    assert torch.equal(raw, clipped)
    assert is_adv.sum() >= wanted[2].sum() - (0 if same else 1)
    assert is_adv.any()
    near, far = (lengths(points, x, "l2")[(is_adv & wanted[2]).numpy()] for points in (clipped, wanted[1]))
    if same:  # but for rows that are wrong as they are, which theirs may move
        np.testing.assert_allclose(near[near > 0], far[near > 0], atol=2e-3)
    else:
        assert np.median(near) <= 1.15 * np.median(far)  # draws of their own: a seed's median scatters by some percent
    assert torch.equal(clipped[~is_adv], x[~is_adv])
    assert accuracy(module, clipped, y) == pytest.approx(1 - float(is_adv.double().mean()), abs=ON_THE_BOUNDARY)


def test_searches_clip_in_the_distance_that_they_are_given() -> None:
    model, _, x, y = both_models()
    distances = library("foolbox").distances
    attack = ours.InversionAttack(distance=distances.l2)
    raw, clipped, is_adv = attack(model, x, y, epsilons=[None, 3.0])
    assert torch.equal(raw[0], clipped[0])
    assert_within(clipped[1], x, 3.0, "l2")
    assert is_adv[1].sum() < is_adv[0].sum()
    with pytest.raises(ValueError, match="distance: wanted one of foolbox"):
        ours.InversionAttack()(model, x, y, epsilons=3.0)
    assert_within(ours.L2ContrastReductionAttack()(model, x, y, epsilons=2.0)[1], x, 2.0, "l2")
    theirs = library("foolbox").attacks.L2ContrastReductionAttack()(both_models()[1], x, y, epsilons=2.0)[1]
    np.testing.assert_allclose(ours.L2ContrastReductionAttack()(model, x, y, epsilons=2.0)[1], theirs, atol=1e-5)


@pytest.mark.parametrize("name", AWARE)
def test_clipping_aware_noise_is_eps_long_within_the_box(name: str) -> None:
    model, theirs, x, y = both_models()
    torch.manual_seed(0)
    options = {"repeats": 10} if "Repeated" in name else {}
    _, clipped, is_adv = getattr(ours.attacks, name)(**options)(model, x, y, epsilons=8.0)
    assert_within(clipped, x, 8.0, "l2")
    moved = accuracy(module_and_digits()[0], x, y)
    np.testing.assert_allclose(np.sort(lengths(clipped, x, "l2"))[-int(50 * moved) :], 8.0, rtol=1e-4)
    wanted = getattr(library("foolbox").attacks, name)(**options)(theirs, x, y, epsilons=8.0)[2]
    assert is_adv.double().mean() >= wanted.double().mean() - 0.1  # of 50 rows, by draws of their own


def test_pointwise_leaves_no_more_pixels_than_theirs() -> None:
    model, theirs, x, y = both_models()
    module = module_and_digits()[0]
    x, y = x[:6], y[:6]
    torch.manual_seed(0)
    start = ours.SaltAndPepperNoiseAttack()(model, x, y, epsilons=None)[1]
    assert accuracy(module, start, y) == 0
    for refine in (False, True):
        found = ours.PointwiseAttack(l2_binary_search=refine)(model, x, y, epsilons=None, starting_points=start)[1]
        attack = library("foolbox").attacks.PointwiseAttack(l2_binary_search=refine)
        wanted = attack.run(theirs, x, y, starting_points=start)
        assert accuracy(module, found, y) <= 0.2  # on the boundary torch may round to the other side
        for norm in ("l0", "l2"):  # orders are random
            assert np.median(lengths(found, x, norm)) <= 1.15 * np.median(lengths(wanted, x, norm))
    assert ours.PointwiseAttack()(model, x, y, epsilons=None)[2].double().mean() > 0.8
    near = ours.PointwiseAttack(ours.InversionAttack())(model, x, y, epsilons=None)
    assert near[2].any()
    with pytest.raises(TypeError, match="init_attack: wanted None or an attack of this module"):
        ours.PointwiseAttack(attack)(model, x, y, epsilons=None)


def test_other_inputs_of_another_class_are_found() -> None:
    model, _, x, y = both_models()
    attack = ours.DatasetAttack()
    with pytest.raises(ValueError, match="inputs: DatasetAttack needs some"):
        attack(model, x, y, epsilons=None)
    attack.feed(model, x[:20])
    attack.feed(model, x[20:])
    _, clipped, is_adv = attack(model, x, y, epsilons=None)
    assert is_adv.all()
    assert all((x == point).flatten(1).all(1).any() for point in clipped)


def test_binarised_points_move_to_the_threshold() -> None:
    module, x, y = module_and_digits()

    class Binarised(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return module((x >= 0.5).to(x.dtype))

    model, theirs = (lib.PyTorchModel(Binarised().eval(), (0, 1)) for lib in (ours, library("foolbox")))
    start = x.roll(1, 0)
    got = ours.BinarizationRefinementAttack()(model, x, y, epsilons=None, starting_points=start)
    wanted = library("foolbox").attacks.BinarizationRefinementAttack().run(theirs, x, y, starting_points=start)
    moved = got[2] & (model(x).argmax(1) == y)
    torch.testing.assert_close(got[1][moved], wanted[moved], rtol=0, atol=0)
    assert got[2].double().mean() > 0.7
    with pytest.raises(ValueError, match="starting_points: wanted adversarial points"):
        ours.BinarizationRefinementAttack()(model, x, y, epsilons=None)
    with pytest.raises(ValueError, match="threshold: the model does not binarise"):
        ours.BinarizationRefinementAttack(threshold=0.01)(model, x, y, epsilons=None, starting_points=start)


def test_repeated_walks_keep_the_nearest_point() -> None:
    model, _, x, y = both_models()
    attack = ours.HopSkipJumpAttack(steps=1)
    torch.manual_seed(0)
    once = attack(model, x, y, epsilons=None)
    torch.manual_seed(0)
    often = attack.repeat(3)(model, x, y, epsilons=None)
    near, far = (lengths(points, x, "l2") for points in (often[1], once[1]))
    both = (once[2] & often[2]).numpy()
    assert often[2].sum() >= once[2].sum() > 40
    assert (near <= far)[both].all()
    assert (near < far).sum() > 10


@pytest.mark.filterwarnings("ignore:torch.meshgrid")
def test_rotations_and_shifts_break_as_many_rows_as_theirs() -> None:
    model, theirs, x, y = both_models()
    for options in ({}, {"grid_search": False, "random_steps": 20}):
        _, got, is_adv = ours.SpatialAttack(**options)(model, x, y)
        wanted = library("foolbox").attacks.SpatialAttack(**options)(theirs, x, y)[2]
        assert accuracy(module_and_digits()[0], got, y) == pytest.approx(1 - float(is_adv.double().mean()))
        slack = 0.1 if options else 0.02  # other random transformations; other interpolation
        assert is_adv.double().mean() >= wanted.double().mean() - slack
    with pytest.raises(ValueError, match="grid is the same every time"):
        ours.SpatialAttack().repeat(2)
    assert ours.SpatialAttack(grid_search=False).repeat(2).random_steps == 200


@pytest.mark.parametrize("name", ["FGSM", "FGM"])
def test_one_step_gives_the_same_points(name: str) -> None:
    model, theirs, x, y = both_models()
    module = module_and_digits()[0]
    got = getattr(ours.attacks, name)()(model, x, y, epsilons=0.2)[1]
    wanted = getattr(library("foolbox").attacks, name)()(theirs, x, y, epsilons=0.2)[1]
    assert_same_points(module, got, wanted, x, y)


def test_run_gives_the_raw_points_of_a_call() -> None:
    model, _, x, y = both_models()
    for attack, given, budget in (
        (ours.attacks.LinfPGD(random_start=False), {"epsilon": 0.1}, 0.1),
        (ours.attacks.DDNAttack(), {}, None),
        (ours.attacks.InversionAttack(), {"early_stop": None}, None),
    ):
        assert torch.equal(attack.run(model, x, y, **given), attack(model, x, y, epsilons=budget)[0])
    spatial = ours.attacks.SpatialAttack(num_rotations=1, num_translations=1)
    assert torch.equal(spatial.run(model, x, y), spatial(model, x, y)[0])
    with pytest.raises(ValueError, match="epsilons: wanted numbers"):
        ours.attacks.LinfPGD().run(model, x, y)
    with pytest.raises(ValueError, match="early_stop: wanted None"):
        ours.attacks.DDNAttack().run(model, x, y, early_stop=0.1)


def test_bounds_are_transformed_as_theirs_are() -> None:
    module, x, _ = module_and_digits()
    for preprocessing in (None, {"mean": [0.1], "std": [0.3], "axis": -3}):
        model = ours.PyTorchModel(module, (0, 1), preprocessing=preprocessing)
        theirs = library("foolbox").PyTorchModel(module, (0, 1), preprocessing=preprocessing)
        wide, wanted = model.transform_bounds((-1, 255)), theirs.transform_bounds((-1, 255))
        assert (wide.bounds, model.bounds) == (wanted.bounds, theirs.bounds)
        assert (wide.bounds.lower, wide.bounds.upper) == (-1, 255)
        torch.testing.assert_close(wide(256 * x - 1), wanted(256 * x - 1), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(wide(256 * x - 1), model(x), rtol=1e-3, atol=1e-3)
        assert "engine=epsball" in repr(wide)
        assert model.transform_bounds((0, 1)).bounds == model.bounds
        assert model.transform_bounds((-1, 255), inplace=True) is model
        assert model.bounds == wide.bounds
    with pytest.raises(ValueError, match="inplace: wanted False with wrapper"):
        model.transform_bounds((0, 1), inplace=True, wrapper=True)
    with pytest.raises(ValueError, match="bounds: wanted a pair"):
        model.transform_bounds((0, 1, 2))


def test_several_budgets_give_lists_and_a_table_of_successes() -> None:
    model, _, x, y = both_models()
    attack = ours.attacks.LinfBasicIterativeAttack()
    raw, clipped, is_adv = attack(model, x, y, epsilons=[0.0, 0.05, 0.2])
    assert [len(raw), len(clipped), tuple(is_adv.shape)] == [3, 3, (3, len(x))]
    assert torch.equal(clipped[0], x)
    assert torch.equal(clipped[2], attack(model, x, y, epsilons=0.2)[1])
    assert is_adv[0].sum() <= is_adv[1].sum() <= is_adv[2].sum()


def test_criteria_of_either_library_are_understood() -> None:
    model, _, x, y = both_models()
    theirs = library("foolbox").criteria
    attack = ours.LinfBasicIterativeAttack(steps=20)
    targets = (y + 1) % 10
    want = attack(model, x, ours.TargetedMisclassification(targets), epsilons=0.3)
    got = attack(model, x, theirs.TargetedMisclassification(targets), epsilons=0.3)
    assert torch.equal(want[1], got[1])
    module = module_and_digits()[0]
    assert float(got[2].double().mean()) == pytest.approx(accuracy(module, got[1], targets))
    assert float(got[2].double().mean()) > 0.5
    plain = attack(model, x, y, epsilons=0.3)[1]
    assert torch.equal(attack(model, x, theirs.Misclassification(y), epsilons=0.3)[1], plain)
    assert torch.equal(attack(model, x, ours.Misclassification(y), epsilons=0.3)[1], plain)


def test_tensors_of_eagerpy_come_back_as_such() -> None:
    eagerpy = library("eagerpy")
    model, _, x, y = both_models()
    _, clipped, is_adv = ours.attacks.FGSM()(model, eagerpy.astensor(x), eagerpy.astensor(y), epsilons=0.1)
    assert isinstance(clipped, eagerpy.Tensor)
    assert isinstance(is_adv, eagerpy.Tensor)
    assert torch.equal(clipped.raw, ours.attacks.FGSM()(model, x, y, epsilons=0.1)[1])


def test_repeated_attacks_are_restarts() -> None:
    model, _, x, y = both_models()
    module = module_and_digits()[0]
    attack = ours.LinfPGD(steps=2, abs_stepsize=0.05)
    once = attack(model, x, y, epsilons=0.12)[1]
    often = attack.repeat(3).repeat(2)
    assert often.times == 6
    best = often(model, x, y, epsilons=0.12)[1]
    assert mean_loss(module, best, y) > mean_loss(module, once, y)


def test_preprocessing_is_part_of_the_model() -> None:
    module, x, y = module_and_digits()
    options = {"mean": [0.2], "std": [0.7], "axis": -3}
    model = ours.PyTorchModel(module, (0, 1), preprocessing=options)
    theirs = library("foolbox").PyTorchModel(
        module, (0, 1), preprocessing={"mean": torch.tensor([0.2]), "std": torch.tensor([0.7]), "axis": -3}
    )
    torch.testing.assert_close(model(x), theirs(x).detach(), atol=1e-4, rtol=1e-4)
    assert model.engine == "epsball"
    flipped = ours.PyTorchModel(module, (0, 1), preprocessing={"flip_axis": -1})
    torch.testing.assert_close(flipped(x), module(x.flip(-1)).detach(), atol=1e-4, rtol=1e-4)
    assert "itself" in repr(flipped)
    assert ours.accuracy(model, x, y) == library("foolbox").accuracy(theirs, x, y)


def test_their_attacks_run_on_our_models() -> None:
    foolbox = library("foolbox")
    module, x, y = module_and_digits()
    model = eb.from_torch(module, (1, 28, 28))
    theirs = ours.to_foolbox(model, bounds=(0, 1))
    torch.testing.assert_close(theirs(x), model(x))
    for name, eps, options in (
        ("FGSM", 0.1, {}),
        ("L2BasicIterativeAttack", 1.0, {}),
        ("LinfDeepFoolAttack", 0.3, {"steps": 3}),
    ):
        attack = getattr(foolbox.attacks, name)(**options)
        got = attack(theirs, x[:5], y[:5], epsilons=eps)[1]
        wanted = attack(foolbox.PyTorchModel(module, (0, 1)), x[:5], y[:5], epsilons=eps)[1]
        assert ((got - wanted).abs() > 1e-3).double().mean() < 1e-2


def test_the_engine_as_a_module_has_the_right_gradient() -> None:
    from epsball.interop.torch_function import EngineModule

    module, x, _ = module_and_digits()
    model = eb.from_torch(module, (1, 28, 28))
    for scale in (1e-6, 1.0, 1e6):
        upstream = scale * torch.randn(len(x), 10, generator=torch.Generator().manual_seed(0))
        gradients = []
        for f in (EngineModule(model), module):
            inputs = x.clone().requires_grad_()
            f(inputs).backward(upstream)
            gradients.append(inputs.grad / scale)
        torch.testing.assert_close(gradients[0], gradients[1], atol=1e-5, rtol=1e-4)


def test_bad_arguments_are_named() -> None:
    model, _, x, y = both_models()
    attack = ours.attacks.LinfPGD()
    with pytest.raises(ValueError, match="epsilons: wanted numbers"):
        attack(model, x, y, epsilons=None)
    with pytest.raises(TypeError, match=r"model: wanted epsball\.interop\.foolbox\.PyTorchModel"):
        attack(module_and_digits()[0], x, y, epsilons=0.1)
    with pytest.raises(TypeError, match="criterion: wanted labels"):
        attack(model, x, "cat", epsilons=0.1)
    with pytest.raises(TypeError, match="inputs: wanted a torch tensor, got ndarray"):
        attack(model, np.asarray(x), y, epsilons=0.1)
    with pytest.raises(ValueError, match="preprocessing: wanted mean, std, axis and flip_axis, got 'scale'"):
        ours.PyTorchModel(module_and_digits()[0], (0, 1), preprocessing={"scale": 2})
    with pytest.raises(TypeError, match="starting_points"):
        attack(model, x, y, epsilons=0.1, starting_points=x)
    for make, text in (
        (lambda: ours.L2DeepFoolAttack(loss="crossentropy"), "loss: wanted 'logits'"),
        (lambda: ours.L2FMNAttack(min_stepsize=0.5), r"min_stepsize: wanted 0\.01"),
        (lambda: ours.HopSkipJumpAttack(init_attack=attack), "init_attack: wanted None"),
        (lambda: ours.HopSkipJumpAttack(constraint="l1"), "constraint: wanted one of linf, l2"),
        (lambda: ours.BoundaryAttack(tensorboard="here"), "tensorboard: wanted False"),
        (lambda: ours.LinfAdamPGD(adam_epsilon=1e-4), "adam_epsilon: wanted 1e-08"),
    ):
        with pytest.raises(ValueError, match=text):
            make()(model, x, y, epsilons=0.1)
    with pytest.raises(ValueError, match="criterion: wanted labels"):
        ours.L2DeepFoolAttack()(model, x, ours.TargetedMisclassification(y), epsilons=None)
    with pytest.raises(AttributeError, match="GenAttack"):
        ours.GenAttack  # noqa: B018
