"""epsball.interop.art: ART's names, signatures and defaults before epsball's attacks; ART's attacks on our models."""

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
import epsball.interop.art as ours  # noqa: E402

NAMES = [
    n for n, t in vars(ours).items() if isinstance(t, type) and t.__module__ == ours.__name__ and n != "EvasionAttack"
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
    (
        "ProjectedGradientDescent",
        {"eps": 1.2, "eps_step": 0.2, "max_iter": 20, "norm": 2, "num_random_init": 2, "verbose": False},
        "l2",
        1.2,
    ),
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
@pytest.mark.parametrize(("name", "options", "norm", "eps"), CASES)
def test_results_are_in_the_ball_and_no_weaker_than_theirs(
    name: str, options: dict[str, Any], norm: str, eps: float
) -> None:
    module, x, y = arrays()
    attack = getattr(ours, name)(estimator(module), **options)
    got = attack.generate(x, y)
    assert got.dtype == np.float32
    assert_within(got, x, eps, norm)
    assert "engine=epsball" in repr(attack)
    assert_no_weaker(module, got, getattr(evasion(), name)(estimator(module), **options).generate(x, y), y)


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
