"""The mean of a model over random transformations of its input, as the physical world makes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from epsball.arguments import FLOAT32, check_seed, number, pair, settle, whole
from epsball.arrays import as_numpy
from epsball.classifier import Classifier
from epsball.images import transformed
from epsball.sources.base import Floats, GradientSource, Pull, pulled_back

Change: TypeAlias = Callable[[Floats], tuple[Floats, Pull]]  # x to its transformation, and the pullback
PIXELS = 4096  # of a channel: affine and blur are matrices over them


class Transform(ABC):
    """What happens to an input on its way to the model, at random."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Change:
        """Return one transformation of inputs of `shape`, drawn from `rng`."""


@dataclass(frozen=True)
class GaussianNoise(Transform):
    """x plus normal noise, the same for all rows.

    Parameters
    ----------
    sigma
        Standard deviation, ≥ 0.
    """

    sigma: float

    def __post_init__(self) -> None:
        settle(self, sigma=number("sigma", self.sigma, 0.0, float(FLOAT32.max)))

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Change:
        """Return x + n."""
        noise = (self.sigma * rng.standard_normal(shape)).astype(np.float32)
        return lambda x: (x + noise, lambda dy: dy)


@dataclass(frozen=True)
class Gamma(Transform):
    """max(x, 0)^g, with g log-uniform in [lo, hi].

    Parameters
    ----------
    lo, hi
        Range of the exponent, within [1e-3, 1e3].
    """

    lo: float = 0.7
    hi: float = 1.4

    def __post_init__(self) -> None:
        settle(self, lo=number("lo", self.lo, 1e-3, 1e3), hi=number("hi", self.hi, 1e-3, 1e3))
        if self.lo > self.hi:
            raise ValueError(f"lo: wanted at most hi = {self.hi:g}, got {self.lo:g}")

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Change:
        """Return max(x, 0)^g; its slope is that at 1e-3 where x is less."""
        g = float(np.exp(rng.uniform(np.log(self.lo), np.log(self.hi))))

        def change(x: Floats) -> tuple[Floats, Pull]:
            slope = (g * np.maximum(x, 1e-3) ** (g - 1)).astype(np.float32)
            return (np.maximum(x, 0) ** g).astype(np.float32), lambda dy: dy * slope

        return change


@dataclass(frozen=True)
class Quantise(Transform):
    """x rounded to equally spaced values in [0, 1], as an image file of few bits does.

    On the way back rounding is taken for the identity (BPDA, Athalye et al. 2018, arXiv 1802.00420).

    Parameters
    ----------
    levels
        Number of values, from 2 to 65,536.
    """

    levels: int = 256

    def __post_init__(self) -> None:
        settle(self, levels=whole("levels", self.levels, 2, 2**16))

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Change:
        """Return the nearest level, shifted by a random part of one so that roundings differ."""
        steps, shift = self.levels - 1, rng.uniform(-0.5, 0.5)
        return lambda x: (((np.round(x * steps + shift) - shift) / steps).astype(np.float32), lambda dy: dy)


@dataclass(frozen=True)
class Affine(Transform):
    """Images rotated about their centre, then shifted, with bilinear interpolation, as in `attacks.Spatial`.

    Parameters
    ----------
    degrees
        Largest angle, to both sides, in [0, 180].
    pixels
        Largest shift in each of the four directions; fractions of a pixel are shifts too.
    """

    degrees: float = 10.0
    pixels: float = 2.0

    def __post_init__(self) -> None:
        degrees, pixels = number("degrees", self.degrees, 0.0, 180.0), number("pixels", self.pixels, 0.0, 1e6)
        settle(self, degrees=degrees, pixels=pixels)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Change:
        """Return the rotation and shift as a matrix over pixels."""
        height, width = _image(shape)
        turn = rng.uniform(-1, 1, (1, 3)) * (np.deg2rad(self.degrees), self.pixels, self.pixels)
        each = np.eye(height * width, dtype=np.float32)[:, None]
        return _linear(transformed(each, turn, (height, width))[:, 0])


@dataclass(frozen=True)
class Blur(Transform):
    """Images blurred by a Gaussian; outside an image the values of its border continue.

    Parameters
    ----------
    sigma
        Largest standard deviation, in pixels; drawn uniformly from [0, sigma].
    """

    sigma: float = 1.0

    def __post_init__(self) -> None:
        settle(self, sigma=number("sigma", self.sigma, 0.0, 1e3))

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Change:
        """Return the blur as a matrix over pixels."""
        height, width = _image(shape)
        sigma = max(float(rng.uniform(0, self.sigma)), 1e-3)
        return _linear(np.kron(_blur(height, sigma), _blur(width, sigma)).T.astype(np.float32))


class Expectation(GradientSource):
    """A model's mean logits over random transformations of the input (Athalye et al. 2018, arXiv 1707.07397).

    What fools it fools the model through a camera, a printer or a file format, on average over what they do. The
    transformations are drawn once: every attack and every row meets the same ones, so that the mean is a model like any
    other. With few draws an attack may fit them; judge its points on an `Expectation` of another seed.

    Parameters
    ----------
    model
        One of epsball's own, or a gradient source.
    transforms
        `Transform` objects, applied one after another: `Affine`, `Blur`, `Gamma`, `GaussianNoise`, `Quantise`.
    draws
        Transformations in the mean.
    bounds
        The box that transformed inputs are clipped to; None: they are not.
    seed
        Of the transformations, in [0, 2**64).

    Raises
    ------
    ValueError, TypeError
        A bad argument, named.
    """

    def __init__(
        self,
        model: Classifier,
        transforms: Sequence[Transform],
        draws: int = 16,
        bounds: tuple[float, float] | None = (0.0, 1.0),
        seed: int = 0,
    ) -> None:
        if not isinstance(model, Classifier):
            raise TypeError(f"model: wanted an epsball model or a gradient source, got {type(model).__name__}")
        self.model, self.transforms = model, tuple(transforms)
        for transform in self.transforms:
            if not isinstance(transform, Transform):
                raise TypeError(f"transforms: wanted Transform objects, got {type(transform).__name__}")
        if not self.transforms:
            raise ValueError("transforms: wanted at least one, got none")
        self.draws, self.seed = whole("draws", draws, 1), check_seed(seed)
        lo, hi = (-np.inf, np.inf) if bounds is None else pair("bounds", bounds)
        self.bounds = number("bounds", lo, -np.inf, np.inf), number("bounds", hi, -np.inf, np.inf)
        super().__init__(classes=model.classes)
        self._drawn: tuple[tuple[int, ...], list[list[Change]]] = ((), [])

    def __repr__(self) -> str:
        return f"Expectation({self.model!r}, {list(self.transforms)!r}, draws={self.draws})"

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle is made of: what was drawn is drawn again, the same."""
        return {**self.__dict__, "_drawn": ((), [])}

    def logits(self, x: Floats) -> Floats:
        """Return the mean logits."""
        mean: Floats = np.mean([as_numpy("logits", self.model(y)) for y, _ in self._each(x)], axis=0, dtype=np.float32)
        return mean

    def vjp(self, x: Floats) -> tuple[Floats, Pull]:
        """Return the mean logits, and the mean of the pullbacks through the transformations."""
        each = [(y, back, as_numpy("logits", self.model(y))) for y, back in self._each(x)]

        def pull(dlogits: Floats) -> Floats:
            total = np.zeros_like(x)
            for y, back, z in each:
                total += back(pulled_back(self.model, y, z, dlogits))
            return total / np.float32(self.draws)

        return np.mean([z for *_, z in each], axis=0, dtype=np.float32), pull

    def _each(self, x: Floats) -> list[tuple[Floats, Pull]]:
        return [self._through(x, changes) for changes in self._changes(x.shape[1:])]

    def _changes(self, shape: tuple[int, ...]) -> list[list[Change]]:
        """Return the transformations of inputs of `shape`, drawn at the first call."""
        drawn, changes = self._drawn
        if drawn != shape:
            rngs = [np.random.default_rng([self.seed, i]) for i in range(self.draws)]
            changes = [[transform.draw(rng, shape) for transform in self.transforms] for rng in rngs]
            self._drawn = shape, changes
        return changes

    def _through(self, x: Floats, changes: list[Change]) -> tuple[Floats, Pull]:
        """Return x after a chain of transformations, and the pullback through all of them."""
        backs: list[Pull] = []
        for change in changes:
            x, back = change(x)
            backs.append(back)
        lo, hi = self.bounds
        inside = (x >= lo) & (x <= hi)
        x = np.clip(x, np.float32(lo), np.float32(hi))
        backs.append(lambda dy: dy * inside)

        def pull(dy: Floats) -> Floats:
            for back in reversed(backs):
                dy = back(dy)
            return dy

        return np.ascontiguousarray(x, np.float32), pull


def _image(shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) not in (2, 3) or shape[-1] * shape[-2] > PIXELS:
        raise ValueError(f"x: wanted images of at most {PIXELS} pixels, got inputs of shape {shape}")
    return shape[-2], shape[-1]


def _linear(matrix: Floats) -> Change:
    """Return the map of every channel's pixels by `matrix` (from, to)."""

    def apply(x: Floats, m: Floats) -> Floats:
        return (x.reshape(-1, len(m)) @ m).reshape(x.shape)

    return lambda x: (apply(x, matrix), lambda dy: apply(dy, matrix.T))


def _blur(size: int, sigma: float) -> Any:
    """Return a Gaussian blur along one axis as a matrix (to, from)."""
    reach = int(np.ceil(3 * sigma))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    matrix = np.zeros((size, size))
    for at in range(size):
        np.add.at(matrix[at], np.clip(at + np.arange(-reach, reach + 1), 0, size - 1), taps / taps.sum())
    return matrix
