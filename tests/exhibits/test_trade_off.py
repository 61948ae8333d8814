"""The exhibit trade_off: no model is best everywhere."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_the_clean_model_is_best_without_attacks_and_one_that_has_seen_them_with(found: dict[str, Any]) -> None:
    clean, adversarial = found["clean"], found["adversarial"]
    assert max(clean, key=clean.get) == "clean"
    assert adversarial["clean"] < 0.1
    assert min(adversarial["half adversarial"], adversarial["adversarial"]) > 0.5
    assert found["envelope"][0][2] == "clean"
    assert found["envelope"][-1][2] != "clean"


def test_lines_cross_where_the_formula_says(found: dict[str, Any]) -> None:
    c, a = found["clean"], found["adversarial"]
    p = found["crossings"]["clean, half adversarial"]
    ends = [(1 - p) * c[name] + p * a[name] for name in ("clean", "half adversarial")]
    assert ends[0] == pytest.approx(ends[1], abs=1e-9)
