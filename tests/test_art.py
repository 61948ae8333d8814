"""epsball.interop.art: ART's names, signatures and defaults before epsball's attacks; ART's attacks on our models."""

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
    module_and_digits,
    parameters_of,
)

torch = pytest.importorskip("torch")
import epsball.interop.art as ours  # noqa: E402

NAMES = [
    n
    for n, t in vars(ours).items()
    if isinstance(t, type) and t.__module__.startswith(f"{ours.__name__}.") and n != "EvasionAttack"
]
CASES: list[tuple[str, dict[str, Any], str, float]] = [
    ("FastGradientMethod", {"eps": 0.12}, "linf", 0.12),
    ("FastGradientMethod", {"eps": 1.5, "norm": 2}, "l2", 1.5),
    ("FastGradientMethod", {"eps": 0.3, "eps_step": 0.02, "minimal": True}, "linf", 0.3),
    ("FastGradientMethod", {"eps": 0.12, "num_random_init": 2}, "linf", 0.12),
    ("BasicIterativeMethod", {"eps": 0.12, "eps_step": 0.02, "max_iter": 20, "verbose": False}, "linf", 0.12),
    ("ProjectedGradientDescent", {"eps": 0.12, "eps_step": 0.02, "max_iter": 20, "verbose": False}, "linf", 0.12),
    ("MomentumIterativeMethod", {"eps": 0.12, "eps_step": 0.02, "max_iter": 20, "verbose": False}, "linf", 0.12),
    (
        "AutoProjectedGradientDescent",
        {"eps": 0.12, "max_iter": 10, "nb_random_init": 1, "verbose": False},
        "linf",
        0.12,
    ),
    ("SquareAttack", {"eps": 0.12, "max_iter": 60, "nb_restarts": 2, "verbose": False}, "linf", 0.12),
    ("SquareAttack", {"eps": 1.5, "norm": 2, "max_iter": 60, "verbose": False}, "l2", 1.5),
    (
        "ProjectedGradientDescent",
        {"eps": 1.2, "eps_step": 0.2, "max_iter": 20, "norm": 2, "num_random_init": 2, "verbose": False},
        "l2",
        1.2,
    ),
]
QUIET = {"verbose": False}
SEARCH = {"binary_search_steps": 3, "max_iter": 20, "initial_const": 1.0, "learning_rate": 0.05, "batch_size": 15}
NEAREST: list[tuple[str, dict[str, Any], str]] = [
    ("CarliniL2Method", {**SEARCH, **QUIET}, "l2"),
    ("DeepFool", {"batch_size": 15, **QUIET}, "l2"),
    ("NewtonFool", {"batch_size": 15, **QUIET}, "l2"),
    ("CarliniL0Method", {**SEARCH, **QUIET}, "l0"),
]


def evasion() -> Any:
    return library("art.attacks.evasion")


def estimator(module: Any, **options: Any) -> Any:
    classification = library("art.estimators.classification")
    return classification.PyTorchClassifier(
        module, torch.nn.CrossEntropyLoss(), (1, 28, 28), 10, clip_values=(0.0, 1.0), device_type="cpu", **options
    )


def arrays() -> tuple[Any, np.ndarray, np.ndarray]:
    module, x, y = module_and_digits()
    return module, x.numpy(), y.numpy()


@pytest.mark.parametrize("name", NAMES)
def test_signature_and_defaults_are_theirs(name: str) -> None:
    assert parameters_of(getattr(ours, name)) == parameters_of(getattr(evasion(), name))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # ART's random starts, of NumPy
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # ART's L2 squares, where a window holds no change
@pytest.mark.parametrize(("name", "options", "norm", "eps"), CASES)
def test_results_are_in_the_ball_and_no_weaker_than_theirs(
    name: str, options: dict[str, Any], norm: str, eps: float
) -> None:
    module, x, y = arrays()
    attack = getattr(ours, name)(estimator(module), **options)
    state = np.random.get_state()  # noqa: NPY002 - both draw from it, and must not depend on other tests
    try:
        np.random.seed(0)  # noqa: NPY002
        got = attack.generate(x, y)
        np.random.seed(0)  # noqa: NPY002
        wanted = getattr(evasion(), name)(estimator(module), **options).generate(x, y)
    finally:
        np.random.set_state(state)  # noqa: NPY002
    assert got.dtype == np.float32
    assert_within(got, x, eps, norm)
    assert "engine=epsball" in repr(attack)
    assert_no_weaker(module, got, wanted, y)


@pytest.mark.parametrize(("name", "options", "norm"), NEAREST)
def test_minimum_norm_attacks_are_as_near_as_theirs(name: str, options: dict[str, Any], norm: str) -> None:
    module, x, _ = arrays()
    x = x[:15]
    y = module(torch.from_numpy(x)).argmax(1).numpy()  # some of theirs leave predictions, whatever y is
    got = getattr(ours, name)(estimator(module), **options).generate(x, y)
    assert got.dtype == np.float32
    assert_as_near(module, got, getattr(evasion(), name)(estimator(module), **options).generate(x, y), x, y, norm)


@pytest.mark.parametrize(("rule", "norm"), [("L1", "l1"), ("EN", "l2")])
def test_the_elastic_net_is_the_engines_with_its_options(rule: str, norm: str) -> None:
    module, x, y = arrays()
    x, y = x[:10], y[:10]
    got = ours.ElasticNet(estimator(module), binary_search_steps=2, initial_const=1.0, decision_rule=rule).generate(
        x, y
    )
    wanted = eb.attacks.EAD(norm, steps=100, search_steps=2, initial_constant=1.0)
    run = wanted.run(eb.from_torch(module, (1, 28, 28)), x, y)
    np.testing.assert_array_equal(got, run.x_adv)
    assert run.success.mean() > 0.5


def test_the_linf_search_is_the_engines_with_its_options() -> None:
    module, x, y = arrays()
    x, y = x[:10], y[:10]
    got = ours.CarliniLInfMethod(estimator(module), max_iter=50, learning_rate=0.05, initial_const=0.1).generate(x, y)
    wanted = eb.attacks.CarliniWagner(50, 8, 0.05, 0.1, norm="linf").run(eb.from_torch(module, (1, 28, 28)), x, y)
    np.testing.assert_array_equal(got, wanted.x_adv)
    assert wanted.success.mean() > 0.5


@pytest.mark.slow
def test_the_linf_search_breaks_what_theirs_breaks_and_is_as_near() -> None:
    module, x, _ = arrays()
    x = x[:6]
    y = module(torch.from_numpy(x)).argmax(1).numpy()
    options = {"max_iter": 20, "learning_rate": 0.1, "initial_const": 1.0, "verbose": False}
    got, wanted = (a.CarliniLInfMethod(estimator(module), **options).generate(x, y) for a in (ours, evasion()))
    assert_as_near(module, got, wanted, x, y, "linf")


def test_attacks_on_labels_are_the_engines_with_their_options() -> None:
    module, x, y = arrays()
    model = eb.from_torch(module, (1, 28, 28))
    state = np.random.get_state()  # noqa: NPY002 - what ART's users seed
    try:
        np.random.seed(3)  # noqa: NPY002
        seeds = [int(np.random.randint(2**63 - 1)) for _ in range(2)]  # noqa: NPY002
        np.random.seed(3)  # noqa: NPY002
        leaps = ours.HopSkipJump(estimator(module), norm=np.inf, max_iter=3, max_eval=300).generate(x, y)
        walk = ours.BoundaryAttack(estimator(module), targeted=False, max_iter=10).generate(x, y)
    finally:
        np.random.set_state(state)  # noqa: NPY002
    wanted = eb.attacks.HopSkipJump("linf", 3, max_evals=300, seed=seeds[0]).run(model, x, y)
    np.testing.assert_array_equal(leaps, wanted.x_adv)
    assert wanted.success.mean() > 0.8
    wanted = eb.attacks.Boundary(200, seed=seeds[1]).run(model, x, y)
    np.testing.assert_array_equal(walk, wanted.x_adv)
    assert wanted.success.mean() > 0.8


def test_saliency_maps_reach_targets_in_small_and_large_steps() -> None:
    module, x, y = arrays()
    targets = (y + 1) % 10
    for theta, gamma in ((0.1, 1.0), (1.0, 0.2)):
        got = ours.SaliencyMapMethod(estimator(module), theta=theta, gamma=gamma).generate(x, targets)
        assert accuracy(module, got, targets) > accuracy(module, x, targets) + 0.3
        assert (got >= x).all()
        assert (got - x).reshape(len(x), -1).sum(axis=1).max() <= gamma * 784 * (1 + 1e-5)
    falling = ours.SaliencyMapMethod(estimator(module), theta=-1.0).generate(x, targets)
    assert (falling <= x).all()
    at_random = ours.SaliencyMapMethod(estimator(module), theta=1.0).generate(x)
    assert accuracy(module, at_random, y) < accuracy(module, x, y)


@pytest.mark.parametrize(("theta", "gamma"), [(0.1, 0.05), (1.0, 0.1)])
def test_saliency_maps_reach_every_target_that_theirs_reach(theta: float, gamma: float) -> None:
    module, x, y = arrays()
    x, targets = x[:10], (y[:10] + 1) % 10
    options = {"theta": theta, "gamma": gamma, "batch_size": 10, **QUIET}
    points = [a.SaliencyMapMethod(estimator(module), **options).generate(x, targets) for a in (ours, evasion())]
    got, wanted = (module(torch.from_numpy(p)).argmax(1).numpy() == targets for p in points)
    assert wanted.sum() > 0
    assert (got >= wanted).all()
    assert (points[0] != x).reshape(10, -1).sum(axis=1).max() <= gamma * 784 + 2


def test_one_perturbation_fools_as_many_rows_as_theirs() -> None:
    module, x, y = arrays()
    attack = ours.UniversalPerturbation(estimator(module), eps=0.25, max_iter=5, verbose=False)
    x, y = x[:20], y[:20]
    got = attack.generate(x, y)
    assert_within(got, x, 0.25, "linf")
    assert attack.noise.shape == (1, 1, 28, 28)
    assert attack.fooling_rate == pytest.approx(1 - accuracy(module, got, y))
    assert attack.converged == (attack.fooling_rate >= 0.8)
    wanted = evasion().UniversalPerturbation(estimator(module), eps=0.25, max_iter=1, verbose=False).generate(x, y)
    assert_no_weaker(module, got, wanted, y)


def test_one_perturbation_leads_to_a_target() -> None:
    module, x, _ = arrays()
    targets = np.full(len(x), 8)
    got = ours.TargetedUniversalPerturbation(estimator(module), eps=0.3, max_iter=5).generate(x, targets)
    assert accuracy(module, got, targets) > accuracy(module, x, targets) + 0.5
    with pytest.raises(ValueError, match="y: a targeted attack needs the target labels"):
        ours.TargetedUniversalPerturbation(module).generate(x)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # SciPy's entropy, of probabilities that are 0
def test_the_virtual_adversarial_step_is_no_weaker_than_theirs() -> None:
    module, x, y = arrays()
    x, y = x[:8], y[:8]
    options = {"eps": 2.5, "max_iter": 1, "batch_size": 8, **QUIET}
    got = ours.VirtualAdversarialMethod(estimator(module), **options).generate(x)
    assert lengths(got, x, "l2").max() <= 2.5
    theirs = torch.nn.Sequential(module, torch.nn.Softmax(1))
    wanted = evasion().VirtualAdversarialMethod(estimator(theirs), **options).generate(x)
    assert_no_weaker(module, got, wanted, y)


def test_trees_are_searched_as_theirs_are() -> None:
    sklearn = library("sklearn.tree")
    given = library("art.estimators.classification").SklearnClassifier
    x, y = (part[:300] for part in eb.datasets.load("mnist-subset", split="train"))
    tree = sklearn.DecisionTreeClassifier(random_state=0).fit(x.reshape(300, -1), y)
    x = x.reshape(300, -1)[:50]
    label = tree.predict(x)
    points = {}
    for name, library_ in (("ours", ours), ("theirs", evasion())):
        points[name] = library_.DecisionTreeAttack(given(model=tree), verbose=False).generate(x)
        assert (tree.predict(points[name]) != label).all()
    near, far = ((points[name] != x).sum(axis=1) for name in ("ours", "theirs"))
    assert (near > 0).all()
    assert near.mean() <= far.mean()
    targets = (label + 1) % 10
    for classifier in (given(model=tree), tree, eb.from_sklearn(tree)):
        aimed = ours.DecisionTreeAttack(classifier).generate(x, targets)
        assert (tree.predict(aimed) == targets).all()


def test_one_image_at_a_time_is_turned_no_less_than_all_by_one_turn() -> None:
    module, x, _ = arrays()
    y = module(torch.from_numpy(x)).argmax(1).numpy()
    options = {"max_translation": 10.0, "num_translations": 3, "max_rotation": 30.0, "num_rotations": 5, **QUIET}
    got, wanted = (a.SpatialTransformation(estimator(module), **options).generate(x, y) for a in (ours, evasion()))
    assert_no_weaker(module, got, wanted, y)
    still = ours.SpatialTransformation(estimator(module), verbose=False).generate(x, y)
    np.testing.assert_array_equal(still, x)
    with pytest.raises(ValueError, match="x: wanted square images"):
        ours.SpatialTransformation(module).generate(x[:, :, :20], y)


def test_autoattack_is_in_the_ball_and_no_weaker_than_its_members() -> None:
    module, x, y = arrays()
    x, y, given = x[:10], y[:10], estimator(module)
    parts = [
        ours.AutoProjectedGradientDescent(given, eps=0.1, max_iter=10, nb_random_init=1),
        ours.DeepFool(given, epsilon=1e-3),
        ours.SquareAttack(given, eps=0.1, max_iter=20),
    ]
    got = ours.AutoAttack(given, eps=0.1, attacks=parts).generate(x, y)
    assert_within(got, x, 0.1, "linf")
    assert accuracy(module, got, y) <= accuracy(module, parts[0].generate(x, y), y)
    members = ours.AutoAttack(given, eps=0.1).members()
    named = [(type(m).__name__, getattr(m, "loss_type", None)) for m in members]
    assert named == [
        ("AutoProjectedGradientDescent", None), ("AutoProjectedGradientDescent", "difference_logits_ratio"),
        ("DeepFool", None), ("SquareAttack", None),
    ]  # fmt: skip
    mask = np.zeros((10, 1, 28, 28), np.float32)
    mask[::2] = 1
    x_adv = ours.AutoAttack(given, eps=0.3, attacks=[ours.SquareAttack(given, nb_restarts=2)]).generate(x, y, mask)
    np.testing.assert_array_equal(x_adv[1::2], x[1::2])


@pytest.mark.parametrize("name", ["BoundaryAttack", "HopSkipJump"])
def test_without_clip_values_labels_alone_lead_through_the_range_of_x(name: str) -> None:
    evasion()  # our classifier is one of theirs
    module, x, y = arrays()
    x, y = 2 * x[:6] - 1, y[:6]  # from -1 to 1
    attack = getattr(ours, name)(ours.EpsballClassifier(eb.from_torch(module, (1, 28, 28))), targeted=False, max_iter=5)
    x_adv = attack.generate(x, y)
    assert (x_adv != x).any()
    assert x_adv.min() >= -1
    assert x_adv.max() <= 1
    assert attack.generate(x[:0], y[:0]).shape == (0, 1, 28, 28)


@pytest.mark.parametrize("name", ["BoundaryAttack", "HopSkipJump"])
def test_points_to_begin_at_are_taken(name: str) -> None:
    module, x, y = arrays()
    targets = (y + 1) % 10
    start = np.stack([x[y == t][0] for t in targets])
    attack = getattr(ours, name)(module, targeted=True, max_iter=2)
    found = attack.generate(x, targets, x_adv_init=start)
    right = module(torch.from_numpy(start)).argmax(1).numpy() == targets
    assert accuracy(module, found[right], targets[right]) > 0.95  # on the boundary torch may round to the other side
    with pytest.raises(ValueError, match="y: a targeted attack needs the target labels"):
        attack.generate(x, x_adv_init=start)


@pytest.mark.parametrize("norm", [np.inf, "inf", 2])
def test_one_step_gives_the_same_points(norm: Any) -> None:
    module, x, y = arrays()
    for labels in (None, y, np.eye(10)[y]):
        got = ours.FastGradientMethod(estimator(module), norm=norm, eps=0.2).generate(x, labels)
        wanted = evasion().FastGradientMethod(estimator(module), norm=norm, eps=0.2).generate(x, labels)
        assert_same_points(module, got, wanted, x, y)


def test_preprocessing_eps_per_row_and_masks_are_understood() -> None:
    module, x, y = arrays()
    eps = np.linspace(0.01, 0.2, len(x), dtype=np.float32).reshape(-1, 1, 1, 1)
    mask = np.zeros((1, 28, 28), np.float32)
    mask[:, 8:20] = 1
    points = []
    for library_ in (ours, evasion()):
        attack = library_.FastGradientMethod(estimator(module, preprocessing=(0.1, 0.8)), eps=eps, eps_step=eps)
        points.append(attack.generate(x, y, mask=mask))
    assert_same_points(module, points[0], points[1], x, y)
    assert (points[0] == x)[:, 0, :8].all()


def test_targets_are_approached() -> None:
    module, x, y = arrays()
    attack = ours.BasicIterativeMethod(estimator(module), eps=0.3, eps_step=0.03, max_iter=30, targeted=True)
    assert accuracy(module, attack.generate(x, (y + 1) % 10), (y + 1) % 10) > 0.5
    with pytest.raises(ValueError, match="y: a targeted attack needs the target labels"):
        attack.generate(x)


def test_random_starts_follow_numpys_global_generator() -> None:
    module, x, y = arrays()
    attack = ours.ProjectedGradientDescent(module, eps=0.1, max_iter=1, num_random_init=1)
    state = np.random.get_state()  # noqa: NPY002 - what ART's users seed
    try:
        np.random.seed(3)  # noqa: NPY002
        first, second = attack.generate(x[:5], y[:5]), attack.generate(x[:5], y[:5])
        np.random.seed(3)  # noqa: NPY002
        again = attack.generate(x[:5], y[:5])
    finally:
        np.random.set_state(state)  # noqa: NPY002
    np.testing.assert_array_equal(first, again)
    assert (first != second).any()


def test_their_attacks_run_on_our_models() -> None:
    module, x, y = arrays()
    model = eb.from_torch(module, (1, 28, 28))
    library("art")
    classifier = ours.EpsballClassifier(model, clip_values=(0.0, 1.0))
    reference = estimator(module)
    np.testing.assert_allclose(classifier.predict(x), reference.predict(x), atol=1e-4)
    np.testing.assert_allclose(classifier.class_gradient(x[:4]), reference.class_gradient(x[:4]), atol=1e-4)
    for label in (3, y[:4]):
        np.testing.assert_allclose(
            classifier.class_gradient(x[:4], label), reference.class_gradient(x[:4], label), atol=1e-4
        )
    for name, options in (
        ("FastGradientMethod", {"eps": 0.1}),
        ("DeepFool", {"verbose": False, "max_iter": 5}),
        ("SaliencyMapMethod", {"verbose": False, "gamma": 0.005}),
        ("SquareAttack", {"verbose": False, "max_iter": 3}),
    ):
        x_adv = getattr(evasion(), name)(classifier, **options).generate(x[:3], y[:3])
        assert x_adv.shape == (3, 1, 28, 28)
        if name in ("FastGradientMethod", "DeepFool"):
            wanted = getattr(evasion(), name)(reference, **options).generate(x[:3], y[:3])
            assert (np.abs(x_adv - wanted) > 1e-2).mean() < 1e-2
    got = ours.FastGradientMethod(classifier, eps=0.1).generate(x, y)
    np.testing.assert_array_equal(got, eb.fgsm(model, x, y, eps=0.1))


def test_art_trains_our_models() -> None:
    library("art")
    _, x, y = arrays()
    model = eb.models.linear(784, 10)
    classifier = ours.EpsballClassifier(model, input_shape=(1, 28, 28), clip_values=(0.0, 1.0))
    classifier.fit(x, np.eye(10)[y], batch_size=10, nb_epochs=20)
    assert (classifier.predict(x).argmax(1) == y).mean() > 0.9
    assert classifier.compute_loss(x, y, reduction="mean") < 1


def test_what_epsball_cannot_follow_is_an_error() -> None:
    module, x, y = arrays()
    with pytest.raises(TypeError, match="estimator: wanted ART's PyTorchClassifier"):
        ours.FastGradientMethod(object())
    with pytest.raises(ValueError, match="random_eps: wanted False"):
        ours.ProjectedGradientDescent(module, random_eps=True)
    with pytest.raises(ValueError, match="summary_writer: wanted False"):
        ours.FastGradientMethod(module, summary_writer=True)
    with pytest.raises(ValueError, match="norm: wanted"):
        ours.FastGradientMethod(module, norm=3).generate(x, y)
    with pytest.raises(ValueError, match="eps: wanted a number or one per row"):
        ours.FastGradientMethod(module, eps=np.arange(28.0)).generate(x, y)
    with pytest.raises(ValueError, match="batch_size: wanted an integer >= 1"):
        ours.FastGradientMethod(module, batch_size=0)
    for make, text in (
        (lambda: ours.SquareAttack(module, loss=max), "loss: wanted None"),
        (lambda: ours.BoundaryAttack(module, step_adapt=0.5), r"step_adapt: wanted 0\.667"),
        (lambda: ours.AutoAttack(module, targeted=True), "targeted: wanted False"),
        (lambda: ours.CarliniLInfMethod(module, const_factor=3.0), r"const_factor: wanted 2\.0"),
        (lambda: ours.CarliniL0Method(module, warm_start=False), "warm_start: wanted True"),
        (lambda: ours.UniversalPerturbation(module, attacker="cat"), "attacker: wanted one of"),
        (lambda: ours.UniversalPerturbation(module, attacker_params={}), "attacker_params: wanted None"),
        (lambda: ours.AutoAttack(module, estimator_orig=object()), "estimator_orig: wanted None"),
    ):
        with pytest.raises(ValueError, match=text):
            make()
    with pytest.raises(TypeError, match="attacks: wanted attacks of"):
        ours.AutoAttack(module, attacks=[evasion()])
    with pytest.raises(AttributeError, match="ZooAttack"):
        ours.ZooAttack  # noqa: B018


def test_defences_and_losses_that_epsball_cannot_follow_are_errors() -> None:
    module, *_ = arrays()
    classification = library("art.estimators.classification")
    squeezing = library("art.defences.preprocessor").FeatureSqueezing((0.0, 1.0), bit_depth=2)
    with pytest.raises(ValueError, match="estimator: wanted one without preprocessing_defences"):
        ours.FastGradientMethod(estimator(module, preprocessing_defences=squeezing))
    margin = classification.PyTorchClassifier(module, torch.nn.MultiMarginLoss(), (1, 28, 28), 10, device_type="cpu")
    with pytest.raises(ValueError, match="estimator: wanted CrossEntropyLoss"):
        ours.FastGradientMethod(margin)
