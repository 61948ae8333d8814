"""State files: a long run that was killed goes on with nothing computed twice and nothing lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import epsball as eb
from epsball.evaluation import Smoothed, security_curve, state, transfer_matrix

A = eb.attacks
WEIGHTS = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
X = np.random.default_rng(1).uniform(size=(7, 4)).astype(np.float32)
Y = (X @ WEIGHTS.T).argmax(axis=1)
FGSM = A.FGSM(eps=0.2)
ASKED: list[int] = []  # rows of each call of a model


def logits(x: Any) -> Any:
    ASKED.append(len(x))
    return x @ WEIGHTS.T


def input_gradient(x: Any, dlogits: Any) -> Any:
    return dlogits @ WEIGHTS


MODEL = eb.CallableModel(logits, input_gradient, classes=3)


def evaluated(model: Any = MODEL, x: Any = X, attack: Any = FGSM, **options: Any) -> list[Any]:
    proofs = [eb.evaluation.IBPCertificate(0.1)] if isinstance(model, eb.Sequential) else []
    found = eb.evaluate(model, x, Y, [attack, A.PGD(eps=0.1, steps=2)], certificates=proofs, **options)
    rows = [(row["accuracy"], row["median_distance"]) for row in found.rows.values()]
    return [found.clean_accuracy, found.robust, rows, found.certified]


def curve(model: Any = MODEL, x: Any = X, attack: Any = FGSM, **options: Any) -> list[Any]:
    found = security_curve(model, x, Y, attack, [0.0, 0.1, 0.3], **options)
    return [found.eps, found.robust, found.alone]


def matrix(model: Any = MODEL, x: Any = X, attack: Any = FGSM, **options: Any) -> list[Any]:
    attacks = {"a": attack, "b": A.PGD(eps=0.1, steps=2)}
    found = transfer_matrix({"a": model, "b": MODEL}, {"a": model, "c": MODEL}, attacks, x, Y, **options)
    return [found.accuracy, found.transfer, found.clean]


def certified(model: Any = MODEL, x: Any = X, sigma: float = 0.3, draws: int = 40, **options: Any) -> list[Any]:
    found = Smoothed(model, sigma).certify(x, draws, selection=10, **options)
    return [found.predictions, found.radius]


RUNS: dict[str, Any] = {run.__name__: run for run in (evaluated, curve, matrix, certified)}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "CHUNK", 3)


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> Any:
    return RUNS[request.param]


def asked() -> int:
    """The rows that models were asked about since the last call."""
    total = sum(ASKED)
    ASKED.clear()
    return total


def asked_at_stages(run: Any) -> tuple[list[Any], list[int]]:
    """What a whole run finds, and the rows asked about when progress was told."""
    at: list[int] = []
    asked()
    found = run(progress=lambda *_: at.append(sum(ASKED)))
    return found, [*at, asked()]


def same(found: list[Any], wanted: list[Any]) -> bool:
    return all(np.array_equal(f, w) if not isinstance(f, dict) else f == w for f, w in zip(found, wanted, strict=True))


class KilledError(Exception):
    """A run that ends in the middle."""


def killed_at(stage: int, kill: Any) -> Any:
    told: list[Any] = []

    def progress(*args: Any) -> None:
        told.append(args)
        if len(told) == stage + 1:
            kill()

    return progress


def fail() -> None:
    raise KilledError


def test_a_run_that_was_stopped_goes_on_with_nothing_computed_twice(run: Any, tmp_path: Path) -> None:
    whole, at = asked_at_stages(run)
    for stage in range(len(at) - 1):
        path = tmp_path / f"{stage}.safetensors"
        with pytest.raises(KilledError):
            run(state=path, progress=killed_at(stage, fail))
        assert asked() == at[stage]
        assert same(run(state=path), whole)
        assert asked() == at[-1] - at[stage]
        assert same(run(state=path), whole)
        assert asked() == 0


def die(name: str, path: str, stage: int) -> None:
    """Run in a process that is killed at a stage."""
    state.CHUNK = 3
    RUNS[name](state=path, progress=killed_at(stage, lambda: os.kill(os.getpid(), signal.SIGKILL)))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
def test_another_process_goes_on_where_one_was_killed(run: Any, tmp_path: Path) -> None:
    whole, at = asked_at_stages(run)
    stage, path = len(at) // 2, tmp_path / "state.safetensors"
    command = f"import test_state; test_state.die({run.__name__!r}, {str(path)!r}, {stage})"
    killed = subprocess.run([sys.executable, "-c", command], cwd=Path(__file__).parent, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert same(run(state=path), whole)
    assert asked() == at[-1] - at[stage]
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_run_of_another_model_or_other_data_or_options_is_refused(run: Any, tmp_path: Path) -> None:
    model = eb.models.mlp([4, 5, 3], seed=0)
    path = tmp_path / "state.safetensors"
    run(model, state=path)
    refused: dict[str, dict[str, Any]] = {
        "weights('\\])? was": {"model": eb.models.mlp([4, 5, 3], seed=1)},
        "model('\\])? was": {"model": eb.models.mlp([4, 6, 3])},
        "data was '7 rows": {"x": X[::-1]},
    }
    if run is certified:
        refused |= {"sigma was 0.3, now it is 0.2": {"sigma": 0.2}, "draws was 40, now it is 41": {"draws": 41}}
    else:
        other = replace(FGSM, loss="margin")
        refused["\\['loss'\\] was 'cross_entropy', now it is 'margin'"] = {"attack": other}
    for words, change in refused.items():
        with pytest.raises(ValueError, match=rf"^state: .* is of another evaluation: .*{words}"):
            run(**{"model": model, **change}, state=path)
    run(model, state=path)


def test_a_damaged_state_is_refused(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    run(state=path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ValueError, match="its contents are not those that were written"):
        run(state=path)
    path.write_bytes(whole[:50])
    with pytest.raises(ValueError, match="not an intact safetensors file"):
        run(state=path)
    eb.models.linear(4, 3).save(path)
    with pytest.raises(ValueError, match="wanted a file of kind 'epsball-"):
        run(state=path)
    with pytest.raises(FileNotFoundError):
        run(state=tmp_path / "none" / "state.safetensors")


def test_budgets_and_sources_may_grow_but_not_shrink(tmp_path: Path) -> None:
    path = tmp_path / "curve.safetensors"
    security_curve(MODEL, X, Y, FGSM, [0.1, 0.2], state=path)
    asked()
    grown = security_curve(MODEL, X, Y, FGSM, [0.0, 0.1, 0.2, 0.3], state=path)
    steps = asked()
    whole = security_curve(MODEL, X, Y, FGSM, [0.0, 0.1, 0.2, 0.3])
    assert steps == asked() // 2
    assert np.array_equal(grown.robust, whole.robust)
    with pytest.raises(ValueError, match=r"budgets had 'eps=0.0', now there are 'eps=0.1'; the list may only grow"):
        security_curve(MODEL, X, Y, FGSM, [0.1], state=path)

    path = tmp_path / "matrix.safetensors"
    other = eb.models.linear(4, 3)
    transfer_matrix({"a": MODEL}, {"t": MODEL}, FGSM, X, Y, state=path)
    found = transfer_matrix({"b": other, "a": MODEL}, {"t": MODEL}, FGSM, X, Y, state=path)
    assert np.array_equal(found.accuracy, transfer_matrix({"b": other, "a": MODEL}, {"t": MODEL}, FGSM, X, Y).accuracy)
    with pytest.raises(ValueError, match="sources had 'b', now there are 'a'; the list may only grow"):
        transfer_matrix({"a": MODEL}, {"t": MODEL}, FGSM, X, Y, state=path)
    with pytest.raises(ValueError, match=r"targets\['u'\] was None, now it is \{'model': "):
        transfer_matrix({"b": other, "a": MODEL}, {"t": MODEL, "u": other}, FGSM, X, Y, state=path)


def test_a_run_that_spent_its_budget_goes_on_with_a_larger_one(tmp_path: Path) -> None:
    def target(budget: int | None) -> Any:
        return eb.LabelOracle(MODEL.predict, budget=budget, classes=3)

    def run(remote: Any, **options: Any) -> Any:
        return transfer_matrix({"a": MODEL}, {"remote": remote}, FGSM, X, Y, **options)

    spent = target(10)  # X is 7 rows, asked about three at a time; then come the points
    with pytest.raises(eb.QueryBudgetExceeded):
        run(spent, state=tmp_path / "state.safetensors")
    assert spent.queries == 10
    rest = target(4)
    found = run(rest, state=tmp_path / "state.safetensors")
    assert rest.queries == 4
    assert np.array_equal(found.accuracy, run(target(None)).accuracy)


def test_models_are_known_by_what_they_hold_not_by_where_they_lie(digits: dict[str, np.ndarray]) -> None:
    nn, tree = pytest.importorskip("torch").nn, pytest.importorskip("sklearn.tree")
    x, y = digits["x"][:60].reshape(60, -1), digits["y"][:60]

    def models(seed: int) -> list[Any]:
        net, module = eb.models.mlp([784, 8, 10], seed=seed), nn.Linear(784, 10)
        nn.init.constant_(module.weight, seed)
        nn.init.zeros_(module.bias)
        return [
            net, eb.sources.KNN(x[seed:], y[seed:], k=3), eb.sources.SoftenedKNN(x[seed:], y[seed:]),
            eb.defences.BitDepth(eb.models.linear(784, 10), bits=1 + seed),
            eb.defences.OutputCodes(eb.models.linear(784, 10), np.roll(2 * np.eye(10) - 1, seed)),
            eb.Ensemble([net, eb.models.linear(784, 10)]),
            eb.sources.Expectation(net, [eb.sources.GaussianNoise(0.1)]),
            eb.from_sklearn(tree.DecisionTreeClassifier(random_state=0).fit(x[seed:], y[seed:])), eb.TorchModel(module),
        ]  # fmt: skip

    for one, again, other in zip(models(0), models(0), models(1), strict=True):
        before = state.identity(one)
        one.predict(x[:2])
        assert state.identity(one) == before == state.identity(again), one
        assert before != state.identity(other), one
        assert " at 0x" not in before["model"]


def test_functions_of_jax_are_known_by_their_parameters() -> None:
    jnp = pytest.importorskip("jax.numpy")
    models = [eb.JaxModel(logits, {"w": jnp.full(3, value)}) for value in (0, 0, 1)]
    identities = [state.identity(model) for model in models]
    assert identities[0] == identities[1] != identities[2]
