"""The exhibit nearly_linear: straight lines, in few pieces."""

from __future__ import annotations

from typing import Any


def test_one_line_explains_most_of_a_logit(found: dict[str, Any]) -> None:
    assert found["relu"]["straightness"] > 0.9
    assert found["maxout"]["straightness"] > 0.9
    assert found["sigmoid"]["straightness"] < found["relu"]["straightness"]


def test_piecewise_linear_units_have_places_without_a_bend_and_sigmoids_none(found: dict[str, Any]) -> None:
    assert found["relu"]["slopes"] < 80
    assert found["maxout"]["slopes"] < 90
    assert found["sigmoid"]["slopes"] > 95
