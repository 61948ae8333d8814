"""The exhibit transfer: what fools one kind of model fools others."""

from __future__ import annotations

from typing import Any


def test_every_kind_errs_far_more_on_digits_made_for_another_than_on_clean_ones(found: dict[str, Any]) -> None:
    for source, row in zip(found["sources"], found["error"], strict=True):
        for target, error, right in zip(found["targets"], row, found["clean"], strict=True):
            assert error > 1 - right + 0.15, (source, target)


def test_nearest_neighbours_are_the_hardest_target(found: dict[str, Any]) -> None:
    assert found["targets"][-1] == "kNN"
    for row in found["error"]:
        assert row[-1] == min(row)
