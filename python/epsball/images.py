"""Images rotated and shifted."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]


def transformed(images: Floats, turns: Doubles, size: tuple[int, int], fill: float = 0.0) -> Floats:
    """Return images rotated about their centre, then shifted.

    Parameters
    ----------
    images
        (N, channels, height · width) float32.
    turns
        (N, 3) or (1, 3): angle in radians, counter-clockwise as images are shown; pixels down; pixels to the right.
    size
        (height, width).
    fill
        The value outside an image.

    Returns
    -------
    array
        As `images`.
    """
    height, width = size
    angle, down, right = (turns[:, i, None, None] for i in range(3))
    i = np.arange(height)[None, :, None] - (height - 1) / 2 - down
    j = np.arange(width)[None, None, :] - (width - 1) / 2 - right
    y = np.cos(angle) * i + np.sin(angle) * j + (height - 1) / 2
    x = -np.sin(angle) * i + np.cos(angle) * j + (width - 1) / 2
    top, left = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    total = np.zeros(images.shape, np.float32)
    for di, dj in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight = ((y - top) if di else 1 - (y - top)) * ((x - left) if dj else 1 - (x - left))
        row, column = top + di, left + dj
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        at = np.where(inside, row * width + column, 0).reshape(len(turns), 1, -1)
        value = images[:, :, at[0, 0]] if len(turns) == 1 else np.take_along_axis(images, at, axis=2)
        inside, weight = inside.reshape(len(turns), 1, -1), weight.reshape(len(turns), 1, -1).astype(np.float32)
        total += weight * np.where(inside, value, np.float32(fill))
    return total
