"""foolbox's rotations and translations."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from epsball import attacks as ours
from epsball.arguments import flag, whole
from epsball.interop.foolbox.base import draw_seed, taken


@dataclass(repr=False, eq=False)
class SpatialAttack:
    """See `epsball.attacks.Spatial`; no ball bounds it, so that `epsilons` change nothing, as in foolbox."""

    max_translation: float = 3
    max_rotation: float = 30
    num_translations: int = 5
    num_rotations: int = 5
    grid_search: bool = True
    random_steps: int = 100

    def __repr__(self) -> str:
        options = ", ".join(f"{f.name}={getattr(self, f.name)}" for f in fields(self))
        return f"SpatialAttack({options})"

    def repeat(self, times: int) -> SpatialAttack:
        """Return the attack with `times` as many random transformations."""
        if flag("grid_search", self.grid_search):
            raise ValueError("times: the grid is the same every time; wanted an attack with grid_search=False")
        return replace(self, random_steps=self.random_steps * whole("times", times, 1))

    def __call__(self, model: Any, inputs: Any, criterion: Any, *, epsilons: Any = None) -> Any:
        """Return (points, the same points, is_adv)."""
        target, x, restore, labels, common = taken(model, inputs, criterion)
        grid = (self.num_rotations, self.num_translations, self.num_translations)
        draws = 0 if flag("grid_search", self.grid_search) else self.random_steps
        attack = ours.Spatial(self.max_rotation, self.max_translation, grid, draws, seed=draw_seed(), **common)
        run = attack.run(target, x, labels)
        points = torch.where(torch.from_numpy(run.success).reshape(-1, *(1,) * (x.ndim - 1)), run.x_adv, x)
        return restore(points), restore(points), restore(torch.from_numpy(run.success))

    def run(self, model: Any, inputs: Any, criterion: Any) -> Any:
        """Return the points of a call."""
        return self(model, inputs, criterion)[0]
