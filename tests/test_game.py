"""The game: access is what the attack needs, points stay where they may, who goes first matters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb
from epsball.analysis import Access, Game, GameViolation

A = eb.attacks
COSTS = 1 - np.eye(10)


@pytest.fixture(scope="module")
def models() -> list[Any]:
    x, y = eb.datasets.load("mnist-subset", "train")
    trained = [eb.models.mlp([784, 32, 10], seed=seed) for seed in (0, 1)]
    for model in trained:
        eb.fit(model, x, y, epochs=4)
    return trained


@pytest.fixture(scope="module")
def digits_() -> tuple[np.ndarray, np.ndarray]:
    x, y = eb.datasets.load("mnist-subset", "test")
    return x[:100], y[:100]


@pytest.mark.parametrize(
    ("attack", "needed"),
    [
        (A.PGD(0.1), Access.GRADIENTS),
        (A.FGSM(0.1), Access.GRADIENTS),
        (A.Square(0.1), Access.SCORES),
        (A.SPSA(0.1), Access.SCORES),
        (A.NES(0.1), Access.SCORES),
        (A.RandomSearch(0.1), Access.SCORES),
        (A.OnePixel(), Access.SCORES),
        (A.Pixle(), Access.SCORES),
        (A.Boundary(), Access.LABELS),
        (A.TreeMinimum(), Access.GRADIENTS),  # it reads the tree
        (A.NeighbourMinimum(), Access.GRADIENTS),
    ],
)
def test_an_attack_that_needs_more_than_the_game_grants_is_refused(attack: Any, needed: Access) -> None:
    for granted in Access:
        game = Game(access=granted, eps=None)
        if granted >= needed:
            game.check(attack)
        else:
            with pytest.raises(GameViolation, match=f"needs {needed.name.lower()}.*grants {granted.name.lower()}"):
                game.check(attack)


@pytest.mark.parametrize("attack", [A.PGD(0.5), A.PGD(0.1, norm="l2"), A.CarliniWagner(), A.PGD(np.array([0.1, 0.4]))])
def test_an_attack_that_may_leave_the_ball_is_refused(attack: Any) -> None:
    with pytest.raises(GameViolation, match=r"keeps to the linf ball of radius 0\.3"):
        Game(eps=0.3).check(attack)
    Game(eps=None).check(attack)


def test_costs_are_of_all_rows_under_the_attack(models: list[Any], digits_: Any) -> None:
    x, y = digits_
    attack = A.PGD(0.1, steps=5)
    found = Game().play(models[0], x, y, attack, COSTS)
    assert found.mean == pytest.approx((models[0].predict(attack(models[0], x, y)) != y).mean())


def test_who_goes_first_decides(models: list[Any], digits_: Any) -> None:
    """Points fixed beforehand, on another model, cost the defender less than those made for its own."""
    x, y = digits_
    attack = A.PGD(0.1, steps=10)
    defender_first = Game(eps=0.1).play(models[0], x, y, attack, COSTS)
    attacker_first = Game(eps=0.1, first="attacker").play(models[0], x, y, attack, COSTS, attacked_model=models[1])
    blind = Game(Access.NOTHING, eps=0.1).play(models[0], x, y, attack, COSTS, attacked_model=models[1])
    assert attacker_first.mean < defender_first.mean
    assert blind.mean == attacker_first.mean
    with pytest.raises(ValueError, match=r"^attacked_model: wanted a model"):
        Game(first="attacker").play(models[0], x, y, attack, COSTS)
    with pytest.raises(ValueError, match=r"^attacked_model: wanted None"):
        Game().play(models[0], x, y, attack, COSTS, attacked_model=models[1])


class Refusing:
    """A defender that abstains where it is not sure."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def predict(self, x: np.ndarray) -> np.ndarray:
        p = self.model.probabilities(x)
        return np.where(p.max(axis=1) < 0.9, -1, p.argmax(axis=1))


def test_abstaining_has_a_price_and_must_be_allowed(models: list[Any], digits_: Any) -> None:
    x, y = digits_
    attack, costs = A.FGSM(0.1), np.hstack([COSTS, np.full((10, 1), 0.3)])
    found = Game(first="attacker", abstains=True).play(
        Refusing(models[0]), x, y, attack, costs, attacked_model=models[1]
    )
    assert found.confusion[:, 10].sum() > 0
    with pytest.raises(GameViolation, match="abstained"):
        Game(first="attacker").play(Refusing(models[0]), x, y, attack, costs, attacked_model=models[1])


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"access": "white box"}, "access"),
        ({"norm": "l3"}, "norm"),
        ({"eps": -1}, "eps"),
        ({"first": "nobody"}, "first"),
    ],
)
def test_bad_rules_are_named(options: dict[str, Any], name: str) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"^{name}: "):
        Game(**options)
    with pytest.raises(TypeError, match=r"^attack: "):
        Game().check("pgd")  # type: ignore[arg-type]


def test_what_cannot_be_played_is_named(models: list[Any], digits_: Any) -> None:
    x, y = digits_
    with pytest.raises(ValueError, match="attack: wanted an untargeted attack"):
        Game().play(models[0], x, y, A.PGD(0.1, targeted=True), COSTS)
    with pytest.raises(ValueError, match="x: wanted at least one row"):
        Game().play(models[0], x[:0], y[:0], A.FGSM(0.1), COSTS)
    with pytest.raises(ValueError, match="y: wanted 100 class indices"):
        Game().play(models[0], x, y[:3], A.FGSM(0.1), COSTS)
