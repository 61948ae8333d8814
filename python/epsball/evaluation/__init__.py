"""Robustness evaluation: what a model gets right when it is attacked."""

from __future__ import annotations

from epsball.evaluation.evaluate import EvaluationReport, Examples, evaluate

__all__ = ["EvaluationReport", "Examples", "evaluate"]
