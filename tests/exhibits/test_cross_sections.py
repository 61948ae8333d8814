"""The exhibit cross_sections: one direction leads out of the class."""

from __future__ import annotations

from typing import Any


def test_random_squares_stay_in_the_class_and_adversarial_ones_do_not(found: dict[str, Any]) -> None:
    assert found["random"]["square"] > 0.85
    assert found["FGSM"]["square"] < 0.7
    assert found["FGSM"]["end_of_axis"] < 0.05 < 0.7 < found["random"]["end_of_axis"]


def test_along_the_random_axis_both_are_alike(found: dict[str, Any]) -> None:
    assert found["FGSM"]["along_other"] == found["random"]["along_other"] > 0.85
