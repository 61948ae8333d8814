"""The exhibit rbf: unsure where they are wrong."""

from __future__ import annotations

from typing import Any


def test_rbfs_err_less_than_linear_models_and_are_unsure_of_it(found: dict[str, Any]) -> None:
    rbf, softmax = found["RBF"], found["softmax regression"]
    assert softmax["error"] > 0.99  # published: 99.9 %
    assert softmax["confidence_on_mistakes"] > 0.7  # published: 79.3 %
    assert rbf["error"] < 0.9  # published: 55.4 %
    assert rbf["confidence_on_mistakes"] < 0.15  # published: 1.2 %
    assert rbf["clean_confidence"] > 0.5  # published: 60.6 %
