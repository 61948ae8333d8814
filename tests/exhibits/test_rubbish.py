"""The exhibit rubbish: noise is taken for digits."""

from __future__ import annotations

from typing import Any


def test_linear_models_and_networks_are_sure_of_noise_and_rbfs_never(found: dict[str, Any]) -> None:
    assert found["softmax regression"]["error"] > 0.5  # published: 59.8 %
    assert found["MLP 128-128"]["error"] > 0.9  # published, of a maxout network: 98.35 %
    assert found["MLP 128-128"]["confidence_on_mistakes"] > 0.8  # published: 92.8 %
    assert found["RBF"] == {
        "error": 0.0, "confidence_on_mistakes": None, "largest_class": None, "share_of_largest_class": None,
    }  # fmt: skip
