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


@pytest.mark.parametrize("norm", authors.NORMS)
@pytest.mark.parametrize("version", authors.VERSIONS)
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_versions_have_epsballs_members(version: str, norm: str, classes: int) -> None:
    adversary = authors.AutoAttack(module_and_digits()[0], norm=norm, eps=0.1, seed=3, version=version)
    found = adversary._members(adversary.attacks_to_run, classes)
    named = eb.attacks.AutoAttack(0.1, norm=authors.NORMS[norm], version=version, seed=3).members(classes)
    assert list(found.values()) == named


@pytest.mark.parametrize("norm", authors.NORMS)
@pytest.mark.parametrize("version", [*authors.VERSIONS, "custom"])
def test_the_settings_of_members_are_pyautoattacks(version: str, norm: str) -> None:
    module, _, _ = module_and_digits()
    ours = pypi.AutoAttack(module, norm=norm, version=version)
    theirs = library("pyautoattack").AutoAttack(module, norm=norm, version=version)
    if version != "custom":
        assert ours.attacks_to_run == theirs.attacks_to_run
    # Of their FAB the targeted runs, the only ones of "standard", have one restart whatever this number is.
    skipped = {"fab.n_restarts"} if version == "standard" else set()
    # Theirs is not set where no member needs it.
    skipped |= {"apgd_targeted.n_target_classes", "fab.n_target_classes"} if version in ("rand", "custom") else set()
    skipped |= {"apgd.n_restarts"} if version == "rand" else set()
    for member in ("apgd", "apgd_targeted", "fab", "square"):
        settings = getattr(ours, member)
        for name in settings.__dataclass_fields__:
            if f"{member}.{name}" not in skipped:
                assert getattr(settings, name) == getattr(getattr(theirs, member), name), f"{member}.{name}"


def test_settings_and_the_list_of_attacks_may_be_changed() -> None:
    module, x, y = module_and_digits()
    adversary = authors.AutoAttack(module, eps=0.1, seed=0)
    adversary.attacks_to_run = ["square", "apgd-t", "fab", "apgd-dlr"]
    adversary.apgd.n_restarts, adversary.apgd.n_iter = 2, 7
    adversary.apgd_targeted.n_target_classes = 3
    adversary.fab.n_restarts = 2
    adversary.square.n_queries = 20
    A, shared = eb.attacks, {"eps": 0.1, "early_stop": True}
    assert list(adversary._members(adversary.attacks_to_run, 10).items()) == [
        ("square", A.Square(queries=20, **shared)),
        ("apgd-t", A.APGD(targets=3, loss="dlr", **shared)),
        ("fab", A.FAB("linf", restarts=2, radius=0.1)),
        ("apgd-dlr", A.APGD(steps=7, restarts=2, loss="dlr", **shared)),
    ]
    assert list(adversary.run_standard_evaluation_individual(x[:4], y[:4])) == adversary.attacks_to_run
    with pytest.raises(AttributeError):
        adversary.square.n_restarts = 2  # no setting that changes nothing
    adversary.attacks_to_run = ["apgd-ce", "fog"]
    with pytest.raises(ValueError, match="attacks_to_run: wanted one of"):
        adversary.run_standard_evaluation(x, y)
    adversary.attacks_to_run, adversary.apgd.n_iter = ["apgd-ce"], -1
    with pytest.raises(ValueError, match="steps"):
        adversary.run_standard_evaluation(x, y)


def test_individual_runs_are_those_of_the_version() -> None:
    module, x, y = module_and_digits()
    x, y = x[:8], y[:8]
    adversary = authors.AutoAttack(module, eps=0.1, seed=0, version="custom", attacks_to_run=["apgd-ce", "square"])
    found = adversary.run_standard_evaluation_individual(x, y)
    assert list(found) == ["apgd-ce", "square"]
    both = adversary.run_standard_evaluation(x, y)
    assert accuracy(module, both, y) <= min(accuracy(module, x_adv, y) for x_adv in found.values())
    standard = authors.AutoAttack(module, eps=0.1, seed=0)
    standard.attacks_to_run = ["apgd-ce"]
    x_adv, labels = standard.run_standard_evaluation_individual(x, y, return_labels=True)["apgd-ce"]
    model = eb.from_torch(module, (1, 28, 28))
    once = eb.attacks.APGD(0.1, early_stop=True).run(model, x, y)  # a single run, as in the authors' version
    won = (labels != y) & torch.from_numpy(model.predict(x.numpy()) == y.numpy())
    assert won.any()
    assert torch.equal(x_adv[won], once.x_adv[won])


def test_a_state_file_goes_on_where_it_was(tmp_path: Any) -> None:
    module, x, y = module_and_digits()
    x, y = x[:10], y[:10]
    path = tmp_path / "state"
    options: dict[str, Any] = {"version": "custom", "attacks_to_run": ["apgd-ce", "square"], "eps": 0.05, "seed": 1}

    def adversary(**other: Any) -> Any:
        made = authors.AutoAttack(module, **{**options, **other})
        made.square.n_queries = 50
        return made

    whole, predicted = adversary().run_standard_evaluation(x, y, return_labels=True, state_path=path)
    alone, _ = adversary().run_standard_evaluation(x, y, return_labels=True)
    assert torch.equal(whole, alone)
    assert (predicted != y).any()
    assert (predicted == y).any()
    stopped = adversary()  # killed while Square ran
    made = stopped._members

    class Killed(BaseException):
        pass

    def members(names: Any, classes: int) -> Any:
        def killed(*_: Any, **__: Any) -> Any:
            raise Killed

        found = made(names, classes)
        object.__setattr__(found["square"], "run", killed)
        return found

    part = tmp_path / "part"
    stopped._members = members
    with pytest.raises(Killed):
        stopped.run_standard_evaluation(x, y, state_path=part)
    log = tmp_path / "log"
    again = adversary(log_path=log)
    x_adv, labels = again.run_standard_evaluation(x, y, return_labels=True, state_path=part)
    assert torch.equal(x_adv, whole)
    assert torch.equal(labels, predicted)
    lines = log.read_text().splitlines()
    assert lines[0].startswith("restored accuracy: ")
    assert [line.split(":")[0] for line in lines[1:]] == ["robust accuracy after SQUARE"]
    assert lines[1].startswith(f"robust accuracy after SQUARE: {again.robust_accuracy:.2%} (total time ")
    for other, text in (
        ({"eps": 0.2}, r"attacks.*eps.* was 0.05, now it is 0.2"),
        ({"attacks_to_run": ["square"]}, "attacks"),
        ({"seed": 2}, "seed was 1, now it is 2"),
    ):
        with pytest.raises(ValueError, match=rf"state_path: .*is of another evaluation: .*{text}"):
            adversary(**other).run_standard_evaluation(x, y, state_path=path)
    with pytest.raises(ValueError, match="data was '10 rows"):
        adversary().run_standard_evaluation(x[:5], y[:5], state_path=path)
    with pytest.raises(FileNotFoundError):
        adversary().run_standard_evaluation(x, y, state_path=tmp_path / "missing" / "state")


def test_a_function_of_a_batch_is_a_model_and_its_weaknesses_are_named() -> None:
    module, x, y = module_and_digits()
    x, y = x[:6], y[:6]
    options: dict[str, Any] = {"version": "custom", "attacks_to_run": ["apgd-ce"], "eps": 0.1, "seed": 0}
    plain = authors.AutoAttack(lambda rows: module(rows), **options)
    assert accuracy(module, plain.run_standard_evaluation(x, y), y) == plain.robust_accuracy
    assert "TorchModel itself" in plain.engine
    with pytest.warns(eb.attacks.AutoAttackWarning, match="look like probabilities"):
        authors.AutoAttack(lambda rows: module(rows).softmax(1), **options).run_standard_evaluation(x, y)
    with pytest.raises(TypeError, match="model: wanted a function of a batch"):
        authors.AutoAttack(3)


def test_what_epsball_does_not_have_is_an_error() -> None:
    module, _, _ = module_and_digits()
    for options, text in (
        ({"is_tf_model": True}, "is_tf_model: wanted False"),
        ({"attacks_to_run": ["square"]}, "attacks_to_run: wanted none unless version='custom'"),
        ({"version": "custom", "attacks_to_run": ["fog"]}, "attacks_to_run: wanted one of"),
        ({"norm": "L3"}, "norm: wanted one of Linf, L2, L1"),
    ):
        with pytest.raises(ValueError, match=text):
            authors.AutoAttack(module, **options)
    with pytest.raises(FileNotFoundError):
        authors.AutoAttack(module, log_path="missing/log.txt")
