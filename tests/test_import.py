"""Importing epsball is cheap, its public names exist and are documented."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys

import pytest

import epsball as eb

HEAVY = (
    "torch",
    "jax",
    "rich",
    "typer",
    "matplotlib",
    "jinja2",
    "safetensors",
    "scipy",
    "pooch",
    "sklearn",
)
PUBLIC = (
    "Dropout", "ELU", "Flatten", "GELU", "LeakyReLU", "Linear", "Quadratic", "ReLU", "Sequential",
    "Sigmoid", "Softplus", "Tanh", "attacks", "backends", "datasets", "evaluate",
    "exact_robust_accuracy", "fgsm", "fit", "from_torch", "info", "linear_exact", "load", "models",
    "ops", "pgd", "training", "sources", "TorchModel", "JaxModel", "CallableModel", "LabelOracle",
    "QueryBudgetExceeded",
)  # fmt: skip
ATTACKS = ("FGSM", "RFGSM", "BIM", "ILCM", "PGD", "LinearExact", "AttackResult", "from_dict")
TRAINING = (
    "SGD", "Adam", "AdamW", "Constant", "Step", "Cosine", "Cyclic", "Piecewise", "WarmUp", "History",
    "ALP", "CLP", "Distillation", "DoubleBackprop", "EnsembleTraining", "FastTraining",
    "FGSMTraining", "FreeTraining", "LabelSmoothing", "LogitSqueezing", "MART", "NoiseTraining",
    "PGDTraining", "RFGSMTraining", "SmoothingTraining", "Standard", "TRADES", "VAT",
)  # fmt: skip


def loaded_after(code: str) -> list[str]:
    """Which heavy packages a fresh interpreter has imported after running the code."""
    script = f"{code}\nimport sys, json\nprint(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_import_pulls_nothing_heavy() -> None:
    assert loaded_after("import epsball") == []


@pytest.mark.parametrize(
    "name", ["analysis", "attacks", "datasets", "evaluation", "models", "ops", "sources", "training"]
)
def test_each_part_can_be_the_first_that_is_asked_for(name: str) -> None:
    assert loaded_after(f"import epsball as eb; dir(eb.{name})") == []


def test_attacks_and_training_pull_nothing_heavy() -> None:
    code = (
        "import epsball as eb, numpy as np\n"
        "m = eb.models.mlp([4, 5, 3]); x = np.full((6, 4), .5, np.float32); y = np.zeros(6, int)\n"
        "eb.pgd(m, x, y, eps=.1, steps=2); eb.fit(m, x, y, epochs=1)\n"
        "eb.evaluate(m, x, y, attacks=[eb.attacks.FGSM(eps=.1)])\n"
    )
    assert loaded_after(code) == []


def test_one_attack_waits_for_no_other() -> None:
    code = "import epsball as eb, sys; eb.pgd; print([m for m in sys.modules if m.startswith('epsball.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "epsball.attacks.pgd" in done.stdout
    assert "epsball.attacks.universal" not in done.stdout
    assert "epsball.sources.trees" not in done.stdout


@pytest.mark.parametrize("part", ["attacks", "sources"])
def test_names_that_wait_are_found_and_unknown_ones_are_not(part: str) -> None:
    code = f"""
import epsball as eb
from epsball.{part} import *
assert {{*eb.{part}.__all__}} <= {{*globals()}}
assert dir(eb.{part}) == sorted(eb.{part}.__all__)
try:
    eb.{part}.nonsense
except AttributeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"module 'epsball.{part}' has no attribute 'nonsense'"


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_exists_and_is_listed(name: str) -> None:
    assert getattr(eb, name) is not None
    assert name in eb.__all__
    assert name in dir(eb)


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_names_exist(name: str) -> None:
    assert hasattr(eb.attacks, name)


@pytest.mark.parametrize("name", TRAINING)
def test_training_names_exist(name: str) -> None:
    assert hasattr(eb.training, name)


def test_everything_listed_resolves_and_is_documented() -> None:
    for name in eb.__all__:
        thing = getattr(eb, name)
        if name.startswith("__") or not (callable(thing) or inspect.ismodule(thing)):
            continue
        assert inspect.getdoc(thing), f"{name} has no docstring"
    for module in (eb.attacks, eb.training, eb.models, eb.ops, eb.datasets, eb.sources):
        for name in module.__all__:
            assert inspect.getdoc(getattr(module, name)), f"{module.__name__}.{name} has no docstring"


def test_public_methods_of_a_model_are_documented() -> None:
    methods = (
        "predict", "probabilities", "loss", "input_gradient", "jacobian", "parameters",
        "load_parameters", "parameter_gradients", "save", "to",
    )  # fmt: skip
    for name in methods:
        assert inspect.getdoc(getattr(eb.Sequential, name)), name


def test_unknown_names_raise_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        eb.nonsense  # noqa: B018


def test_backends_and_info_describe_this_machine() -> None:
    assert eb.backends()[0] == "scalar"
    info = eb.info()
    assert {"version", "cpu", "tables", "chosen", "threads", "openmp", "cuda"} <= set(info)
    assert info["chosen"] in eb.backends()
    assert info["version"] == eb.__version__


@pytest.mark.parametrize("name", eb.backends())
def test_environment_forces_a_table(name: str) -> None:
    code = "import epsball as eb; print(eb.info()['chosen'])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "EPSBALL_ISA": name},
    )  # fmt: skip
    assert done.stdout.strip() == name


def test_unknown_table_is_refused_by_name() -> None:
    code = "import epsball as eb; eb.models.linear(2, 2)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True,
        env={**os.environ, "EPSBALL_ISA": "abacus"},
    )  # fmt: skip
    assert done.returncode != 0
    assert "EPSBALL_ISA" in done.stderr
    assert "abacus" in done.stderr
