"""The exhibit linear_model: eps ‖w‖₁ is what every logit moves by."""

from __future__ import annotations

from typing import Any

import pytest


def test_every_logit_moves_by_eps_times_the_weights(found: dict[str, Any]) -> None:
    for row in found["rows"]:
        assert row["logit_moved"] == pytest.approx(row["eps"] * found["weights"], rel=1e-4, abs=1e-6)


def test_a_step_of_a_quarter_turns_nearly_all_and_noise_nearly_none(found: dict[str, Any]) -> None:
    first, last = found["rows"][0], found["rows"][-1]
    assert (first["eps"], last["eps"]) == (0.0, 0.25)
    assert first["error"] < 0.04  # published: 1.6 %, of six times the digits
    assert last["error"] > 0.98  # published: 99 %
    assert last["noise_error"] < 0.05
