"""epsball.interop.autoattack and .pyautoattack: AutoAttack's constructors and methods before epsball's attacks."""

from __future__ import annotations

from typing import Any

import pytest

import epsball as eb
from drop_in import accuracy, assert_no_weaker, assert_within, library, module_and_digits, parameters_of

torch = pytest.importorskip("torch")
import epsball.interop.autoattack as authors  # noqa: E402 - needs torch
import epsball.interop.pyautoattack as pypi  # noqa: E402

# As in autoattack/autoattack.py of fra31/auto-attack, which is not on PyPI.
CONSTRUCTOR: dict[str, Any] = {
    "norm": "Linf", "eps": 0.3, "seed": None, "verbose": True, "attacks_to_run": [], "version": "standard",
    "is_tf_model": False, "device": "cuda", "log_path": None,
}  # fmt: skip


def test_the_authors_signatures_and_defaults() -> None:
    names = parameters_of(authors.AutoAttack)
    assert {name: default for name, _, default in names[1:]} == CONSTRUCTOR
    assert [name for name, *_ in names] == ["model", *CONSTRUCTOR]
    evaluation = parameters_of(authors.AutoAttack.run_standard_evaluation)
    assert [(name, default) for name, _, default in evaluation[3:]] == [
        ("bs", 250), ("return_labels", False), ("state_path", None),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["__init__", "run_standard_evaluation", "run_standard_evaluation_individual"])
def test_pyautoattacks_signatures_and_defaults(name: str) -> None:
    theirs = library("pyautoattack").AutoAttack
    assert parameters_of(getattr(pypi.AutoAttack, name)) == parameters_of(getattr(theirs, name))


def test_standard_is_epsballs_autoattack_and_rows_that_stand_come_back_as_they_were() -> None:
    module, x, y = module_and_digits()
    x, y = x[:12], y[:12]
    adversary = authors.AutoAttack(module, eps=0.1, seed=3, device="cpu", verbose=False)
    x_adv, labels = adversary.run_standard_evaluation(x, y, bs=5, return_labels=True)
    wanted = eb.attacks.AutoAttack(0.1, seed=3).run(eb.from_torch(module, (1, 28, 28)), x, y)
    clean = torch.from_numpy(eb.from_torch(module, (1, 28, 28)).predict(x.numpy())) == y
    assert torch.equal(labels != y, torch.from_numpy(wanted.success))
    assert torch.equal(x_adv[labels == y], x[labels == y])
    broken = clean & (labels != y)
    assert torch.equal(x_adv[broken], wanted.x_adv[broken])
    assert_within(x_adv, x, 0.1, "linf")
    assert adversary.robust_accuracy == accuracy(module, x_adv, y)
    assert "engine=epsball" in repr(adversary)


@pytest.mark.filterwarnings("default")
def test_members_are_no_weaker_than_pyautoattacks() -> None:
    theirs = library("pyautoattack").AutoAttack
    module, x, y = module_and_digits()
    x, y = x[:25], y[:25]
    options: dict[str, Any] = {"version": "custom", "attacks": ["apgd-ce"], "eps": 0.12, "seed": 0}
    got, labels = pypi.AutoAttack(module, **options).run_standard_evaluation(x, y)
    wanted, _ = theirs(module, **options).run_standard_evaluation(x, y)
    assert accuracy(module, got, y) == float((labels == y).double().mean())
    assert_no_weaker(module, got, wanted, y)


def test_individual_runs_give_a_result_each() -> None:
    module, x, y = module_and_digits()
    x, y = x[:8], y[:8]
    adversary = authors.AutoAttack(module, eps=0.1, seed=0, version="custom", attacks_to_run=["apgd-ce", "square"])
    found = adversary.run_standard_evaluation_individual(x, y)
    assert list(found) == ["apgd-ce", "square"]
    both = adversary.run_standard_evaluation(x, y)
    assert accuracy(module, both, y) <= min(accuracy(module, x_adv, y) for x_adv in found.values())


def test_what_epsball_does_not_have_is_an_error() -> None:
    module, x, y = module_and_digits()
    for options, text in (
        ({"log_path": "log.txt"}, "log_path: wanted None"),
        ({"is_tf_model": True}, "is_tf_model: wanted False"),
        ({"attacks_to_run": ["square"]}, "attacks_to_run: wanted none unless version='custom'"),
        ({"version": "custom", "attacks_to_run": ["fog"]}, "attacks_to_run: wanted one of"),
        ({"norm": "L3"}, "norm: wanted one of Linf, L2, L1"),
    ):
        with pytest.raises(ValueError, match=text):
            authors.AutoAttack(module, **options)
    with pytest.raises(ValueError, match="state_path: wanted None"):
        authors.AutoAttack(module).run_standard_evaluation(x, y, state_path="state.json")
