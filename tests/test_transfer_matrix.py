"""evaluation.transfer_matrix: sources and targets of any kind, each asked once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb
from epsball.evaluation import transfer_matrix

A = eb.attacks
FGSM = A.FGSM(eps=0.3)


def digits_of(digits: dict[str, np.ndarray]) -> tuple[Any, Any, Any, Any]:
    return tuple(a[:n].reshape(n, *shape) for a, n, shape in (
        (digits["x"], 600, (784,)), (digits["y"], 600, ()), (digits["xt"], 100, (784,)), (digits["yt"], 100, ())
    ))  # fmt: skip


def nets(digits: dict[str, np.ndarray]) -> dict[str, Any]:
    x, y, _, _ = digits_of(digits)
    models = {"softmax": eb.models.linear(784, 10), "mlp": eb.models.mlp([784, 32, 10])}
    for model in models.values():
        eb.fit(model, x, y, epochs=5)
    return models


def test_entries_are_accuracies_on_what_was_made_for_the_source(digits: dict[str, np.ndarray]) -> None:
    models = nets(digits)
    _, _, x, y = digits_of(digits)
    found = transfer_matrix(models, None, FGSM, x, y)
    assert found.sources == found.targets == ("softmax", "mlp")
    for i, source in enumerate(models.values()):
        x_adv = FGSM(source, x, y)
        for j, target in enumerate(models.values()):
            clean, right = target.predict(x) == y, target.predict(x_adv) == y
            assert found.accuracy[i, j] == right.mean()
            assert found.transfer[i, j] == (clean & ~right).sum() / clean.sum()
            assert found.clean[j] == clean.mean()
    assert "softmax" in str(found)
    assert found.to_dict()["attacks"]["mlp"] == FGSM.to_dict()


def test_kinds_of_models_mix(digits: dict[str, np.ndarray]) -> None:
    torch, ensemble = pytest.importorskip("torch"), pytest.importorskip("sklearn.ensemble")
    linear_model, neighbors = pytest.importorskip("sklearn.linear_model"), pytest.importorskip("sklearn.neighbors")
    x, y, xt, yt = digits_of(digits)
    models = nets(digits)
    names = np.array([f"digit {k}" for k in range(10)])
    trees = ensemble.RandomForestClassifier(20, random_state=0).fit(x, names[y])
    unknown = ensemble.AdaBoostClassifier(random_state=0, n_estimators=10).fit(x, names[y])
    knn = neighbors.KNeighborsClassifier(3).fit(x, y)
    logistic = linear_model.LogisticRegression(max_iter=200).fit(x, names[y])
    module = torch.nn.Sequential(torch.nn.Linear(784, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10)).train()
    asked: list[int] = []

    def predict(rows: Any) -> Any:
        asked.append(len(rows))
        return models["mlp"].predict(rows)

    sources = {**models, "logistic": logistic, "torch": module}
    targets = {**sources, "forest": trees, "boosted": unknown, "knn": knn, "remote": eb.LabelOracle(predict)}
    found = transfer_matrix(sources, targets, FGSM, xt, yt)
    assert found.accuracy.shape == (4, 8)
    column = found.targets.index
    assert found.clean[column("forest")] == trees.score(xt, names[yt])
    assert found.clean[column("boosted")] == unknown.score(xt, names[yt])
    assert found.clean[column("knn")] == knn.score(xt, yt)
    np.testing.assert_array_equal(found.accuracy[:, column("remote")], found.accuracy[:, column("mlp")])
    assert asked == [100] * 5
    assert module.training
    assert found.accuracy[0, column("logistic")] < found.clean[column("logistic")]


def test_a_source_that_only_gives_labels_needs_an_attack_for_it(digits: dict[str, np.ndarray]) -> None:
    _, _, x, y = digits_of(digits)
    oracle = eb.LabelOracle(lambda rows: np.zeros(len(rows), int), classes=10)
    with pytest.raises(TypeError, match="LabelOracle gives labels only"):
        transfer_matrix({"oracle": oracle}, None, FGSM, x, y)


def test_lists_are_named_and_attacks_may_differ(digits: dict[str, np.ndarray]) -> None:
    models = nets(digits)
    _, _, x, y = digits_of(digits)
    found = transfer_matrix(list(models.values()), {"mlp": models["mlp"]},
                            {"Sequential": FGSM, "Sequential (2)": A.PGD(eps=0.1, steps=3)}, x, y)  # fmt: skip
    assert found.sources == ("Sequential", "Sequential (2)")
    assert found.attacks["Sequential (2)"]["attack"] == "PGD"


def test_progress_is_told_of_every_source() -> None:
    model = eb.models.linear(3, 2)
    x, y = np.full((4, 3), 0.5, np.float32), np.zeros(4, np.int64)
    told: list[tuple[str, int, int]] = []
    transfer_matrix([model, model], None, A.FGSM(0.1), x, y, progress=lambda *args: told.append(args))
    assert told == [(name, done, 1) for name in ("Sequential", "Sequential (2)") for done in (0, 1)]


def test_bad_arguments_are_named() -> None:
    model, x, y = eb.models.linear(4, 3), np.full((5, 4), 0.5, np.float32), np.zeros(5, int)
    with pytest.raises(ValueError, match="sources: wanted at least one model"):
        transfer_matrix({}, None, FGSM, x, y)
    with pytest.raises(TypeError, match="targets: 'b': wanted an epsball model"):
        transfer_matrix({"a": model}, {"b": 3}, FGSM, x, y)
    with pytest.raises(ValueError, match="attack: wanted one for every source, got none for 'a'"):
        transfer_matrix({"a": model}, None, {}, x, y)
    with pytest.raises(ValueError, match="attack: wanted an untargeted attack"):
        transfer_matrix({"a": model}, None, A.FGSM(eps=0.1, targeted=True), x, y)
    with pytest.raises(ValueError, match="y: wanted 5 class indices"):
        transfer_matrix({"a": model}, None, FGSM, x, y[:2])
    with pytest.raises(ValueError, match="x: wanted at least one row"):
        transfer_matrix({"a": model}, None, FGSM, x[:0], y[:0])
