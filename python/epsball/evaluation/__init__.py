"""Robustness evaluation: what a model gets right when it is attacked."""

from __future__ import annotations

from epsball.evaluation.evaluate import EvaluationReport, evaluate
from epsball.reports.examples import Examples

__all__ = ["EvaluationReport", "Examples", "evaluate"]
