"""Robustness evaluation: what a model gets right when it is attacked."""

from __future__ import annotations

from epsball.evaluation.accuracy_interval import AccuracyInterval, accuracy_interval
from epsball.evaluation.check_gradient_masking import MaskingReport, check_gradient_masking
from epsball.evaluation.evaluate import EvaluationReport, evaluate
from epsball.evaluation.security_curve import SecurityCurve, security_curve
from epsball.evaluation.transfer_matrix import TransferMatrix, transfer_matrix
from epsball.reports.examples import Examples

__all__ = [
    "AccuracyInterval",
    "EvaluationReport",
    "Examples",
    "MaskingReport",
    "SecurityCurve",
    "TransferMatrix",
    "accuracy_interval",
    "check_gradient_masking",
    "evaluate",
    "security_curve",
    "transfer_matrix",
]
