"""Robustness evaluation: what a model gets right when it is attacked."""

from __future__ import annotations

from epsball.evaluation.accuracy_interval import AccuracyInterval, accuracy_interval
from epsball.evaluation.certificate import Certificate
from epsball.evaluation.check_gradient_masking import MaskingReport, check_gradient_masking
from epsball.evaluation.evaluate import evaluate
from epsball.evaluation.ibp_certificate import IBPCertificate
from epsball.evaluation.linear_certificate import LinearCertificate
from epsball.evaluation.report import EvaluationReport
from epsball.evaluation.security_curve import SecurityCurve, security_curve
from epsball.evaluation.smoothing import ABSTAIN, Smoothed, SmoothingCertificate
from epsball.evaluation.transfer_matrix import TransferMatrix, transfer_matrix
from epsball.evaluation.tree_certificate import TreeCertificate
from epsball.reports.examples import Examples

__all__ = [
    "ABSTAIN",
    "AccuracyInterval",
    "Certificate",
    "EvaluationReport",
    "Examples",
    "IBPCertificate",
    "LinearCertificate",
    "MaskingReport",
    "SecurityCurve",
    "Smoothed",
    "SmoothingCertificate",
    "TransferMatrix",
    "TreeCertificate",
    "accuracy_interval",
    "check_gradient_masking",
    "evaluate",
    "security_curve",
    "transfer_matrix",
]
