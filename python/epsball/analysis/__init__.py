"""What evaluations mean: trade-offs between models, costs of mistakes, abstention, and who may do what in the game."""

from __future__ import annotations

from epsball.analysis.abstention import CoverageCurve, coverage_curve
from epsball.analysis.cost import CostReport, expected_cost
from epsball.analysis.game import Access, Game, GameViolation
from epsball.analysis.trade_off import TradeOff, trade_off

__all__ = [
    "Access",
    "CostReport",
    "CoverageCurve",
    "Game",
    "GameViolation",
    "TradeOff",
    "coverage_curve",
    "expected_cost",
    "trade_off",
]
