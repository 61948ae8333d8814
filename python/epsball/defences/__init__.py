"""Defences around a model, which do not retrain it, with the gradients of attacks that know of them.

Attack the defence itself. An attack on ``defence.model`` is one that does not know; what it leaves is no measure of the
defence (Athalye et al. 2018, arXiv 1802.00420). Models that answer together are an `epsball.Ensemble`.
"""

from __future__ import annotations

from epsball.defences.base import Defence
from epsball.defences.bit_depth import BitDepth
from epsball.defences.confidence_reducing import ConfidenceReducing
from epsball.defences.front_end import FrontEnd
from epsball.defences.glimpses import Glimpses
from epsball.defences.output_codes import OutputCodes
from epsball.defences.test_time_noise import TestTimeNoise

__all__ = [
    "BitDepth",
    "ConfidenceReducing",
    "Defence",
    "FrontEnd",
    "Glimpses",
    "OutputCodes",
    "TestTimeNoise",
]
