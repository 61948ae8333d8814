"""The exhibit gradient_masking: a defence that stops no attack which knows of it."""

from __future__ import annotations

from typing import Any


def test_attacks_without_its_gradient_break_what_its_gradient_does_not(found: dict[str, Any]) -> None:
    clean, own, transferred, square, aware = found["errors"].values()
    assert own < clean + 0.05
    assert min(transferred, square, aware) > 0.5


def test_the_checks_find_it_out(found: dict[str, Any]) -> None:
    assert {"gradients are not zero", "white box beats black box"} <= {*found["failed_checks"]}
    assert found["robust_accuracy_at_most"] < 0.5
