"""Images before and after an attack: what evaluations keep and pages show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Examples:
    """A few images before and after an attack: the first of each class, whatever the attack made of them.

    Attributes
    ----------
    attack
        Name of the attack in the report.
    clean, adversarial : ndarray of float32, shape (n, channels, height, width)
        The images.
    labels, clean_predictions, predictions : ndarray of int64, shape (n,)
        The true class, and the model's answers for the clean and the adversarial image.
    confidences : ndarray of float32, shape (n,)
        Probability of the predicted class of the adversarial image.
    """

    attack: str
    clean: npt.NDArray[np.float32]
    adversarial: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    clean_predictions: npt.NDArray[np.int64]
    predictions: npt.NDArray[np.int64]
    confidences: npt.NDArray[np.float32]
