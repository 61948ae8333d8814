"""The exhibit training_curves: four curves and their order."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_only_training_on_adversarial_digits_brings_the_adversarial_error_down(found: dict[str, Any]) -> None:
    clean, adversarial = (found[f"train {name}, test adversarial"] for name in ("clean", "adversarial"))
    assert min(clean) > 0.9
    assert adversarial[-1] < 0.35
    assert adversarial[-1] < 0.5 * adversarial[0]


def test_both_learn_the_clean_digits(found: dict[str, Any]) -> None:
    for name in ("clean", "adversarial"):
        assert found[f"train {name}, test clean"][-1] < 0.08
