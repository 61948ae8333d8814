"""ART's rotations and translations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from epsball import attacks
from epsball.arrays import Array
from epsball.interop.art.base import MinimumNorm


@dataclass(eq=False, repr=False)
class SpatialTransformation(MinimumNorm):
    """The worst rotation and shift of every image (see `attacks.Spatial`), where ART has one for all of them.

    `max_translation` is in percent of the image, which is a square; ``num_… = 1`` means none, in ART the largest.
    """

    classifier: Any
    max_translation: float = 0.0
    num_translations: int = 1
    max_rotation: float = 0.0
    num_rotations: int = 1
    verbose: bool = True

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.Spatial`, with the shift in parts of an image's side."""
        grid = (self.num_rotations, self.num_translations, self.num_translations)
        return attacks.Spatial(self.max_rotation, eps * self.max_translation / 100, grid, bounds=common["bounds"])

    def _found(self, model: Any, x: Array, y: Any, common: dict[str, Any]) -> Array:
        if common["mask"] is not None:
            raise ValueError("mask: wanted None, as all of an image moves")
        if x.ndim != 4 or x.shape[2] != x.shape[3]:
            raise ValueError(f"x: wanted square images (N, channels, side, side), got shape {x.shape}")
        run = self.translated(x.shape[2], common).run(model, x, y)
        found: Array = np.where(run.success[:, None, None, None], run.x_adv, x)
        return found
