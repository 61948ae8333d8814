"""The game between defender and attacker: what the attacker knows and may do, who goes first, what it costs."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

import numpy as np

from epsball.analysis.cost import CostReport, expected_cost
from epsball.arguments import FLOAT32, class_indices, count_rows, flag, number, one_of, require_untargeted, settle
from epsball.arrays import as_numpy
from epsball.attacks.base import Attack


class Access(enum.IntEnum):
    """What of the model an attack sees; each level includes those before it."""

    NOTHING = 0  # points found on another model
    LABELS = 1  # the class of a point
    SCORES = 2  # its logits
    GRADIENTS = 3  # parameters, and so gradients


_ACCESS = {  # by what an attack needs
    "labels": Access.LABELS,
    "scores": Access.SCORES,
    "gradients": Access.GRADIENTS,
    "structure": Access.GRADIENTS,
}


class GameViolation(ValueError):  # noqa: N818 - what happened
    """An attack asked for more than the game grants."""


@dataclass(frozen=True)
class Game:
    """The rules of a game between a defender, who answers, and an attacker, who chooses inputs.

    Goodfellow (2018), arXiv 1806.04169: the attacker's knowledge comes in shades of grey; its actions are a set of
    inputs for every clean one; who goes first decides whether the defender has seen the attack, or the attacker the
    model.

    Parameters
    ----------
    access
        What the attacker sees of the model.
    norm, eps
        Its actions: any point in this ball around x; eps None: any point at all.
    first
        "defender": the model is fixed, and the attack adapts to it (white box). "attacker": the adversarial points are
        fixed beforehand, found on another model, and the defender may have been trained on them.
    abstains
        Whether the defender may answer −1, which then has a cost.
    """

    access: Access = Access.GRADIENTS
    norm: str = "linf"
    eps: float | None = 0.3
    first: str = "defender"
    abstains: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.access, Access):
            raise TypeError(f"access: wanted one of epsball.analysis.Access, got {self.access!r}")
        settle(
            self,
            norm=one_of("norm", self.norm, ("linf", "l2", "l1", "l0")),
            eps=None if self.eps is None else number("eps", self.eps, 0, float(FLOAT32.max)),
            first=one_of("first", self.first, ("defender", "attacker")),
            abstains=flag("abstains", self.abstains),
        )

    def check(self, attack: Attack) -> None:
        """Raise `GameViolation` if the attack needs more access than the game grants, or may leave the ball."""
        if not isinstance(attack, Attack):
            raise TypeError(f"attack: wanted an attack such as epsball.attacks.PGD, got {attack!r}")
        needed = _ACCESS[attack.needs]
        granted = Access.NOTHING if self.first == "attacker" else self.access
        if needed > granted:
            raise GameViolation(
                f"attack: {type(attack).__name__} needs {needed.name.lower()} of the model, and this game grants "
                f"{granted.name.lower()}" + (" to an attacker who goes first" if self.first == "attacker" else "")
            )
        if self.eps is None:
            return
        norm, eps = getattr(attack, "norm", None), getattr(attack, "eps", None)
        if eps is None or norm != self.norm or np.max(eps) > self.eps:
            raise GameViolation(
                f"attack: wanted one that keeps to the {self.norm} ball of radius {self.eps:g}, got {attack!r}"
            )

    def play(self, model: Any, x: Any, y: Any, attack: Attack, costs: Any, attacked_model: Any = None) -> CostReport:
        """Let the attacker move on every row, the defender answer, and return what the answers cost the defender.

        Parameters
        ----------
        model
            The defender's.
        x, y
            (N, ...) clean inputs and their true classes.
        attack
            The attacker's, untargeted; checked against the rules.
        costs
            As in `expected_cost`.
        attacked_model
            The attacker's own model, on which points are found where it sees nothing of the defender's or goes first;
            elsewhere None.

        Returns
        -------
        CostReport
            Of all rows, not of those alone that the attack turned.

        Raises
        ------
        GameViolation
            The attack needs more than the game grants, or a point it returned is outside the ball.
        ValueError, TypeError
            A bad argument, named.
        """
        blind = self.first == "attacker" or self.access is Access.NOTHING
        if blind == (attacked_model is None):
            raise ValueError(
                "attacked_model: wanted a model of the attacker's own" if blind
                else "attacked_model: wanted None, as the attack sees the defender's model"
            )  # fmt: skip
        require_untargeted(attack)
        labels = class_indices("y", y, count_rows(x))
        if blind:
            Game(Access.GRADIENTS, self.norm, self.eps).check(attack)
        else:
            self.check(attack)
        x_adv = attack(attacked_model if blind else model, x, labels)
        self._check_points(x, x_adv)
        answers = as_numpy("predictions", model.predict(x_adv))
        if not self.abstains and (answers < 0).any():
            raise GameViolation("model: it abstained, and this game does not let the defender abstain")
        return expected_cost(answers, labels, costs)

    def _check_points(self, x: Any, x_adv: Any) -> None:
        if self.eps is None:
            return
        rows = len(as_numpy("x", x))
        d = (as_numpy("x_adv", x_adv).astype(np.float64) - as_numpy("x", x)).reshape(rows, -1)
        sizes = {
            "linf": lambda: np.abs(d).max(axis=1), "l2": lambda: np.sqrt((d**2).sum(axis=1)),
            "l1": lambda: np.abs(d).sum(axis=1), "l0": lambda: (d != 0).sum(axis=1),
        }[self.norm]()  # fmt: skip
        if (sizes > self.eps).any():
            row = int((sizes > self.eps).argmax())
            raise GameViolation(
                f"attack: the point of row {row} is {sizes[row]:g} away, and the game's eps is {self.eps:g}"
            )
