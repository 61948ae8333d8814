"""The exhibit trade_off: clean accuracy is given for accuracy under attack."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_training_on_adversarial_digits_alone_gives_clean_accuracy_for_accuracy_under_attack(
    found: dict[str, Any],
) -> None:
    clean, adversarial = found["clean"], found["adversarial"]
    assert clean["clean"] > clean["adversarial"] + 0.03
    assert adversarial["clean"] < 0.05
    assert min(adversarial["half adversarial"], adversarial["adversarial"]) > 0.4
    assert found["envelope"][-1][2] != "clean"


def test_lines_cross_where_they_are_equal(found: dict[str, Any]) -> None:
    c, a = found["clean"], found["adversarial"]
    assert 0 < found["crossings"]["clean, adversarial"] < 0.4
    for pair, p in found["crossings"].items():
        ends = [(1 - p) * c[name] + p * a[name] for name in pair.split(", ")]
        assert ends[0] == pytest.approx(ends[1], abs=1e-9)
