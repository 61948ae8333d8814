"""One evaluation of the AutoAttack drop-in: the rows that stand, the points that broke the others, its state file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball.arguments import check_path
from epsball.arrays import Array
from epsball.attacks.base import Attack
from epsball.classifier import Classifier
from epsball.files import fingerprint, fingerprint_of_rows, load_tensors, require_same_run, save_tensors
from epsball.model import Sequential
from epsball.reports.files import plain, require_writable_name

FORMAT = "epsball-autoattack"
FORMAT_VERSION = 1


class Evaluation:
    """The rows of an evaluation, each with its point and what the model says of it, and the attacks that have run.

    Parameters
    ----------
    model, x, y
        The model, its inputs and their true classes.
    members
        The attacks by name.
    seed
        What they were seeded with, None where it was drawn.
    state_path
        The file that keeps all this after every attack; None: none.
    """

    def __init__(
        self,
        model: Classifier,
        x: Array,
        y: Array,
        members: Mapping[str, Attack],
        seed: int | None,
        state_path: Any,
    ) -> None:
        self.model, self.x, self.y, self.members, self.seed = model, x, y, members, seed
        self.x_adv, self.predicted = x.copy(), np.asarray(model.predict(x), np.int64)
        self.done: list[str] = []
        self.path = None if state_path is None else check_path("state_path", state_path)
        if self.path is None:
            return
        if self.path.exists():
            self._resume(self.path)
        else:
            require_writable_name(self.path)  # now, not after the first attack

    @property
    def standing(self) -> npt.NDArray[np.bool_]:
        """Which rows the model is still right on."""
        return np.asarray(self.predicted == self.y)

    @property
    def accuracy(self) -> float:
        """The fraction of rows that still stand; 1 of none."""
        return float(self.standing.mean()) if len(self.y) else 1.0

    def attack(self, name: str, eps: float) -> int:
        """Run one member on the rows that stand; return how many of them it broke within eps."""
        rows = np.flatnonzero(self.standing)
        result = self.members[name].run(self.model, self.x[rows], self.y[rows], index=rows)
        won = result.success & (result.distance <= eps)  # FAB may end beyond
        self.x_adv[rows[won]] = result.x_adv[won]
        self.predicted[rows[won]] = self.model.predict(result.x_adv[won])
        self.done.append(name)
        self._save()
        return int(won.sum())

    def _run(self) -> dict[str, Any]:
        """Return what tells one evaluation from another, ready for JSON."""
        weights = fingerprint(*self.model.parameters().values()) if isinstance(self.model, Sequential) else None
        return {
            "weights": weights,
            "data": fingerprint_of_rows(self.x, self.y),
            "seed": self.seed,
            "attacks": plain({name: {**attack.to_dict(), "seed": None} for name, attack in self.members.items()}),
        }

    def _save(self) -> None:
        if self.path is not None:
            tensors = {"x_adv": self.x_adv, "predicted": self.predicted}
            save_tensors(self.path, tensors, FORMAT, FORMAT_VERSION, {"run": self._run(), "done": self.done})

    def _resume(self, path: Path) -> None:
        tensors, header = load_tensors(path, FORMAT, FORMAT_VERSION)
        require_same_run(f"state_path: {path} is of another evaluation", header["run"], self._run())
        self.x_adv, self.predicted, self.done = (
            np.array(tensors["x_adv"]),
            np.array(tensors["predicted"]),
            header["done"],
        )
