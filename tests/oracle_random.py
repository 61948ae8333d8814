"""Transcription of the engine's random streams: Philox-4x32-10 (Salmon et al. 2011), and what is drawn from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oracle import Array

MASK = np.uint64(0xFFFFFFFF)


def philox(counter: list[NDArray[np.uint64]], key: int) -> list[NDArray[np.uint64]]:
    """Encrypt four words, each an array of 32-bit values held in 64 bits."""
    a, b, c, d = counter
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        p, q = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        a, b, c, d = (
            (q >> np.uint64(32)) ^ b ^ np.uint64(k0),
            q & MASK,
            (p >> np.uint64(32)) ^ d ^ np.uint64(k1),
            p & MASK,
        )
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return [a, b, c, d]


def _words(n: int, seed: int, row: int, salt: int = 0) -> NDArray[np.uint64]:
    """The words (groups, 4, 16) of a row's stream; element i is word [i // 64, i // 16 % 4, i % 16]."""
    groups = -(-n // 64)
    block = np.arange(groups * 16, dtype=np.uint64)
    rest = [np.full_like(block, value) for value in (salt, row & 0xFFFFFFFF, row >> 32)]
    return np.stack(philox([block, *rest], seed)).reshape(4, groups, 16).transpose(1, 0, 2)


def _unit(words: NDArray[np.uint64]) -> Array:
    return np.asarray(words >> np.uint64(8), np.float64) * 2.0**-24


def block(seed: int, row: int, salt: int) -> list[int]:
    """The four words of the first block of a row's stream."""
    words = [np.array([value], np.uint64) for value in (0, salt, row & 0xFFFFFFFF, row >> 32)]
    return [int(word[0]) for word in philox(words, seed)]


def noise_salt(draw: int) -> int:
    """What keeps the noise of one draw apart from other uses of a seed."""
    return 3 << 24 | draw


def uniforms(rows: int, n: int, seed: int = 0, salt: int = 0) -> Array:
    """The uniforms in [0, 1) of rows 0, 1, ..., (rows, n)."""
    return np.stack([_unit(_words(n, seed, row, salt)).reshape(-1)[:n] for row in range(rows)])


def normals(rows: int, n: int, seed: int = 0, salt: int = 0) -> Array:
    """The standard normals of rows 0, 1, ..., (rows, n), by Box and Muller from pairs of words."""
    out = []
    for row in range(rows):
        w = _words(n, seed, row, salt)
        z = np.empty(w.shape)
        for pair in (0, 2):
            radius = np.sqrt(-2.0 * np.log(_unit(w[:, pair]) + 2.0**-24))
            turn = 2.0 * np.pi * _unit(w[:, pair + 1])
            z[:, pair], z[:, pair + 1] = radius * np.cos(turn), radius * np.sin(turn)
        out.append(z.reshape(-1)[:n])
    return np.stack(out)
