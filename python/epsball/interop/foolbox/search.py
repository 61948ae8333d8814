"""foolbox's searches of a path for its first adversarial point: contrast, noise, blur, negatives, other inputs."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from epsball.arguments import number, one_of, whole
from epsball.interop.foolbox.base import AnyAttack, adversarial, judged, taken
from epsball.interop.foolbox.model import raw

NORMS = {0: "l0", 1: "l1", 2: "l2", np.inf: "linf"}
FIELDS = {"kw_only": True, "repr": False, "eq": False}


def column(values: Any, x: Any) -> Any:
    """Return one value per row in a shape that broadcasts to x."""
    return values.reshape(-1, *(1,) * (x.ndim - 1))


def first_on_path(wanted: Any, x: Any, path: Any, shares: Any) -> Any:
    """Return every row's first wanted point of ``path(rows, share)``; x itself where there is none.

    ``wanted(points, rows)`` says which points of these rows are.
    """
    found, left = x.clone(), torch.arange(len(x))
    for share in shares:
        if len(left) == 0:
            break
        points = path(left, share)
        won = wanted(points, left)
        found[left[won]] = points[won]
        left = left[~won]
    return found


def asked(target: Any, labels: Any, targeted: bool) -> Any:
    """Return the function that says which points, of these rows, are adversarial."""
    return lambda points, rows: adversarial(target, points, labels[rows], targeted)


def blended(wanted: Any, x: Any, bounds: Any, *, directions: int, steps: int) -> Any:
    """Return the first adversarial points on the way from x to uniform noise; x itself where there is none."""
    lower, upper = bounds

    def noise(rows: Any, attempt: int) -> Any:
        # Noise, and next a part of the way to it: noise itself may all be of the label's class.
        away = lower + (upper - lower) * torch.rand_like(x[rows]) - x[rows]
        return (x[rows] + column(torch.rand(len(rows)) ** (attempt % 2), x) * away).clamp(lower, upper)

    end = first_on_path(wanted, x, noise, range(2 * directions))

    def way(rows: Any, share: float) -> Any:
        return (x[rows] + share * (end[rows] - x[rows])).clamp(lower, upper)

    return first_on_path(wanted, x, way, (k / steps for k in range(1, steps + 1)))


class _Search(AnyAttack):
    """Searches that no budget bounds: `epsilons` clip to the nearest point of a ball, in the `distance` given."""

    distance: Any = None

    def __call__(self, model: Any, inputs: Any, criterion: Any, *, epsilons: Any, **given: Any) -> Any:
        """Attack as `Attack.__call__` does; epsilons None: as far as it takes."""
        target, x, _, labels, common = taken(model, inputs, criterion)
        wanted, rows = asked(target, labels, common["targeted"]), torch.arange(len(x))
        points = self._search(wanted, x, model.bounds, **given)
        back = wanted(x, rows) | ~wanted(points, rows)
        return judged(model, inputs, criterion, epsilons, torch.where(column(back, x), x, points), self._norm)

    def attack(self, model: Any, inputs: Any, criterion: Any, epsilons: Any, times: int) -> Any:
        """Do what `__call__` says, once: paths do not change."""
        return self(model, inputs, criterion, epsilons=epsilons)

    @abstractmethod
    def _search(self, wanted: Any, x: Any, bounds: Any) -> Any:
        """Return a point for every row."""

    def _norm(self) -> str:
        p = getattr(self.distance, "p", None)
        if p not in NORMS:
            raise ValueError(f"distance: wanted one of foolbox.distances to clip in, got {self.distance!r}")
        return NORMS[p]


@dataclass(**FIELDS)
class LinearSearchContrastReductionAttack(_Search):
    """The first adversarial point on the way to grey."""

    distance: Any = None
    steps: int = 1000
    target: float = 0.5

    def _search(self, wanted: Any, x: Any, bounds: Any) -> Any:
        grey, steps = grey_of(self.target, bounds), whole("steps", self.steps, 1)
        return first_on_path(
            wanted, x, lambda rows, share: x[rows] + share * (grey - x[rows]), (k / steps for k in range(steps + 1))
        )


@dataclass(**FIELDS)
class BinarySearchContrastReductionAttack(_Search):
    """A boundary on the way to grey, by bisection."""

    distance: Any = None
    binary_search_steps: int = 15
    target: float = 0.5

    def _search(self, wanted: Any, x: Any, bounds: Any) -> Any:
        away, rows = grey_of(self.target, bounds) - x, torch.arange(len(x))
        low, high = torch.zeros(len(x)), torch.ones(len(x))
        for _ in range(whole("binary_search_steps", self.binary_search_steps, 1)):
            middle = (low + high) / 2
            won = wanted(x + column(middle, x) * away, rows)
            low, high = torch.where(won, low, middle), torch.where(won, middle, high)
        return x + column(high, x) * away


@dataclass(**FIELDS)
class L2ContrastReductionAttack(AnyAttack):
    """The point of the ball nearest to grey."""

    target: float = 0.5

    def attack(self, model: Any, inputs: Any, criterion: Any, epsilons: Any, times: int) -> Any:
        """Do what `__call__` says, once."""
        self._budgets(epsilons)
        grey = torch.full_like(raw(inputs)[0], grey_of(self.target, model.bounds))
        _, clipped, is_adv = judged(model, inputs, criterion, epsilons, grey, lambda: "l2")
        return clipped, clipped, is_adv


@dataclass(**FIELDS)
class LinearSearchBlendedUniformNoiseAttack(_Search):
    """The first adversarial point on the way to uniform noise, itself adversarial where there is such noise."""

    distance: Any = None
    directions: int = 1000
    steps: int = 1000

    def _search(self, wanted: Any, x: Any, bounds: Any) -> Any:
        directions, steps = whole("directions", self.directions, 1), whole("steps", self.steps, 1)
        return blended(wanted, x, bounds, directions=directions, steps=steps)


@dataclass(**FIELDS)
class GaussianBlurAttack(_Search):
    """The least blur that is adversarial; `max_sigma` None: the longer side of the images, which are channels first."""

    distance: Any = None
    steps: int = 1000
    channel_axis: int | None = None
    max_sigma: float | None = None

    def _search(self, wanted: Any, x: Any, bounds: Any) -> Any:
        if x.ndim != 4 or self.channel_axis not in (None, 1, -3):
            raise ValueError(f"inputs: wanted images (N, channels, height, width), got shape {tuple(x.shape)}")
        height, width = x.shape[2:]
        most = max(height, width) if self.max_sigma is None else number("max_sigma", self.max_sigma, 0.0, 1e6)
        steps = whole("steps", self.steps, 1)

        def blurred(rows: Any, sigma: float) -> Any:
            down, across = (blur_of(n, sigma).to(x.dtype) for n in (height, width))
            return (down @ x[rows] @ across.T).clamp(*bounds)

        return first_on_path(wanted, x, blurred, (most * k / steps for k in range(1, steps + 1)))


@dataclass(**FIELDS)
class InversionAttack(_Search):
    """The negative."""

    distance: Any = None

    def _search(self, wanted: Any, x: Any, bounds: Any) -> Any:
        return (bounds[0] + bounds[1] - x).clamp(*bounds)


@dataclass(**FIELDS)
class DatasetAttack(_Search):
    """A random adversarial input of those that `feed` was given; foolbox looks at the first N of them only."""

    distance: Any = None

    def feed(self, model: Any, inputs: Any) -> None:
        """Remember inputs (N, ...); the model is asked about them when it is attacked."""
        self._fed = [*getattr(self, "_fed", []), raw(inputs)[0]]

    def _search(self, wanted: Any, x: Any, bounds: Any) -> Any:
        if not getattr(self, "_fed", []):
            raise ValueError("inputs: DatasetAttack needs some to choose from; wanted a call of feed() first")
        known = torch.cat(self._fed)
        orders = torch.rand(len(x), len(known)).argsort(dim=1)
        return first_on_path(wanted, x, lambda rows, k: known[orders[rows, k]], range(len(known)))


@dataclass(repr=False, eq=False)
class SaltAndPepperNoiseAttack(_Search):
    """The nearest of noisy points, whose noise thins out around the nearest so far."""

    steps: int = 1000
    across_channels: bool = True
    channel_axis: int | None = None

    def _norm(self) -> str:
        return "l2"

    def _search(self, wanted: Any, x: Any, bounds: Any) -> Any:
        shape, rows, steps = list(x.shape), torch.arange(len(x)), whole("steps", self.steps, 1)
        if self.across_channels and x.ndim > 2:
            shape[1 if self.channel_axis is None else self.channel_axis] = 1
        found, nearest = x.clone(), torch.full((len(x),), torch.inf)
        low, high, grow = torch.zeros(len(x)), torch.ones(len(x)), torch.full((len(x),), 1 / steps)
        part = grow.clone()
        for step in range(steps):
            draw, half = torch.rand(shape, dtype=x.dtype), column(part / 2, x)
            points = torch.where(draw >= 1 - half, bounds[1], torch.where(draw < half, bounds[0], x))
            away = (points - x).flatten(1).norm(dim=1)
            won = (away < nearest) & wanted(points, rows)
            found[won], nearest = points[won], torch.where(won, away, nearest)
            low, high = torch.where(won, part / 2, low), torch.where(won, (1.2 * part).clamp(max=1), high)
            grow = torch.where(won, (high - low) / (steps - step), grow)
            part = torch.minimum(torch.where(won | (part == high), low, part) + grow, high)
        return found


@dataclass(**FIELDS)
class BinarizationRefinementAttack(_Search):
    """`starting_points` of a model that binarises its inputs, as near as they have the same bits."""

    distance: Any = None
    threshold: float | None = None
    included_in: str = "upper"

    def _search(self, wanted: Any, x: Any, bounds: Any, starting_points: Any = None) -> Any:
        if starting_points is None:
            raise ValueError("starting_points: wanted adversarial points, which this attack brings nearer, got None")
        start, rows = raw(starting_points)[0], torch.arange(len(x))
        middle = torch.tensor(sum(bounds) / 2 if self.threshold is None else self.threshold, dtype=x.dtype)
        one_of("included_in", self.included_in, ("lower", "upper"))
        up, down = (torch.nextafter(middle, middle + side) for side in (1, -1))
        lower, upper = (middle, up) if self.included_in == "lower" else (down, middle)
        points = torch.where((x >= upper) == (start >= upper), x, torch.where(start >= upper, upper, lower))
        if (wanted(points, rows) != wanted(start, rows)).any():
            raise ValueError(f"threshold: the model does not binarise its inputs at {float(middle)}")
        return points


def grey_of(target: Any, bounds: Any) -> float:
    """Return the value that is `target` of the way from the lower bound to the upper."""
    lower, upper = bounds
    return float(lower + number("target", target, 0.0, 1.0) * (upper - lower))


def blur_of(n: int, sigma: float) -> Any:
    """Return the (n, n) matrix of a Gaussian filter cut at four standard deviations, images mirrored at their edges."""
    reach = int(4 * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    at = (np.arange(n)[:, None] + offsets) % (2 * n)
    blur = np.zeros((n, n))
    np.add.at(blur, (np.arange(n)[:, None], np.where(at < n, at, 2 * n - 1 - at)), weights / weights.sum())
    return torch.from_numpy(blur)
