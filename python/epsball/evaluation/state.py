"""State files: what an evaluation has found so far, so that one that was killed goes on where it was."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball.arguments import check_path
from epsball.files import load_run, require_same_run, save_run
from epsball.reports.files import require_writable_name

FORMAT = "epsball-evaluation"
FORMAT_VERSION = 1
_ARRAYS = ("predictions", "confidences", "distance", "queries", "points")


@dataclass
class Found:
    """What one attack did so far.

    Attributes
    ----------
    predictions, confidences, distance, queries
        (N,) of the rows attacked, 0 for those still to come; confidences are NaN where the model has none.
    points
        (E, ...) the adversarial points of the rows that a report shows.
    rows
        How many rows are attacked, from the first on.
    seconds, steps
        Spent on them.
    """

    predictions: npt.NDArray[np.int64]
    confidences: npt.NDArray[np.float32]
    distance: npt.NDArray[np.float64]
    queries: npt.NDArray[np.int64]
    points: npt.NDArray[np.float32]
    rows: int = 0
    seconds: float = 0.0
    steps: int = 0

    @staticmethod
    def nothing(rows: int, shown: int, shape: tuple[int, ...]) -> Found:
        """Return the start of an attack on `rows` rows, of which a report shows `shown`."""
        return Found(
            np.zeros(rows, np.int64), np.zeros(rows, np.float32), np.zeros(rows), np.zeros(rows, np.int64),
            np.zeros((shown, *shape), np.float32),
        )  # fmt: skip


@dataclass
class Proved:
    """What one certificate said so far.

    Attributes
    ----------
    robust
        (N,) the rows that it proves right.
    rows
        How many rows it has been asked about, from the first on.
    """

    robust: npt.NDArray[np.bool_]
    rows: int = 0


class State:
    """The predictions on clean rows, what attacks and certificates found by name, and the file of it (None: none)."""

    def __init__(
        self, path: str | PathLike[str] | None, run: dict[str, Any], found: dict[str, Found], proved: dict[str, Proved]
    ) -> None:
        self.path = None if path is None else check_path("state", path)
        self.run, self.found, self.proved = run, found, proved
        self.clean: npt.NDArray[np.int64] | None = None
        if self.path is None:
            return
        if self.path.exists():
            self._resume(self.path)
        else:
            require_writable_name(self.path)  # now, not after the first attack

    def save(self) -> None:
        """Write all findings under a temporary name, then rename."""
        if self.path is None:
            return
        tensors = {f"{i}.{name}": getattr(f, name) for i, f in enumerate(self.found.values()) for name in _ARRAYS}
        if self.clean is not None:
            tensors["clean"] = self.clean
        tensors |= {f"certified.{i}": proved.robust for i, proved in enumerate(self.proved.values())}
        done = {name: {"rows": f.rows, "seconds": f.seconds, "steps": f.steps} for name, f in self.found.items()}
        certified = {name: proved.rows for name, proved in self.proved.items()}
        header = {"run": self.run, "done": done, "certified": certified}
        save_run(self.path, tensors, FORMAT, FORMAT_VERSION, header)

    def _resume(self, path: Path) -> None:
        tensors, header = load_run(path, FORMAT, FORMAT_VERSION)
        before, done = dict(header.get("run", {})), dict(header.get("done", {}))
        self._require_same_run(f"state: {path} is of another evaluation", before)
        self.clean = tensors.get("clean")
        try:
            for i, name in enumerate(done):  # in the order of the file
                f = self.found[name]
                for array in _ARRAYS:
                    setattr(f, array, _like(getattr(f, array), tensors[f"{i}.{array}"], f"{array} of {name}"))
                spent = done[name]
                f.rows, f.seconds, f.steps = int(spent["rows"]), float(spent["seconds"]), int(spent["steps"])
            for i, (name, rows) in enumerate(dict(header["certified"]).items()):
                proved = self.proved[name]
                proved.robust, proved.rows = _like(proved.robust, tensors[f"certified.{i}"], name), int(rows)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"state: {path} is damaged: {error}") from error

    def _require_same_run(self, of_another: str, before: dict[str, Any]) -> None:
        """Raise where the file has an attack or certificate that is not asked for now, or anything else has changed."""
        now = dict(self.run)
        for what in ("attacks", "certificates"):
            had, has = before.get(what, {}), self.run[what]
            if gone := [name for name in had if name not in has]:
                have = ", ".join(map(repr, has)) or "none"
                raise ValueError(f"{of_another}: {what} had {gone[0]!r}, now there are {have}; the list may only grow")
            now[what] = {name: has[name] for name in had}
        require_same_run(of_another, before, now)


def _like(wanted: npt.NDArray[Any], kept: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Return a copy of an array of the file, which must be as the one it replaces."""
    if kept.shape != wanted.shape or kept.dtype != wanted.dtype:
        raise ValueError(f"{name}: {kept.dtype} of shape {kept.shape}")
    return np.array(kept)
