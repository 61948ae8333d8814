"""State files: what a long run has found so far, so that one that was killed goes on where it was."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball.arguments import check_path
from epsball.arrays import as_numpy
from epsball.attacks.base import Attack, has_options_per_row
from epsball.classifier import Classifier
from epsball.files import fingerprint, load_run, require_same_run, save_run
from epsball.model import Sequential
from epsball.reports.files import require_writable_name
from epsball.reports.progress import Progress
from epsball.sources.base import LabelSource
from epsball.sources.trees import Tree

FORMAT_VERSION = 1
CHUNK = 1000  # rows seen to between two looks at progress and state


@dataclass(kw_only=True)
class Found:
    """What is known of rows 0 … `rows` − 1; subclasses add arrays over all rows, and numbers that were spent."""

    rows: int = 0


@dataclass
class Predicted(Found):
    """What a model said of rows, (N,)."""

    predictions: npt.NDArray[np.int64]


@dataclass
class Right(Found):
    """Which rows were right, (N,) or (models, N)."""

    right: npt.NDArray[np.bool_]


class State:
    """The findings of a run by group and name, and the file of them (None: none).

    Parameters
    ----------
    path
        If it exists, its findings are put into `found`.
    kind
        Of the run: the format's name.
    run
        What tells this run from others, ready for JSON; for a group in `may_grow`, that of each name.
    found
        The findings by group and name, as they are at the start of a run.
    may_grow
        Groups in which a resumed run may have names that the file does not know.

    Raises
    ------
    ValueError
        The file is damaged or of another run; what differs is named.
    OSError
        It cannot be read, or no file can be written there.
    """

    def __init__(
        self,
        path: str | PathLike[str] | None,
        kind: str,
        run: dict[str, Any],
        found: Mapping[str, Mapping[str, Found]],
        may_grow: Iterable[str] = (),
    ) -> None:
        self.path = None if path is None else check_path("state", path)
        self.kind, self.run, self.found, self.may_grow = kind, run, found, tuple(may_grow)
        if self.path is None:
            return
        if self.path.exists():
            self._resume(self.path)
        else:
            require_writable_name(self.path)  # now, not after the first chunk

    def parts(self, name: str, found: Found, rows: int, report: Progress, chunk: int | None = None) -> Iterator[slice]:
        """Yield the rows that `found` knows nothing of, a chunk at a time; each is saved and told of when seen to."""
        chunk = CHUNK if chunk is None else chunk
        chunks = -(-rows // chunk)
        report(name, found.rows // chunk, chunks)
        for first in range(found.rows, rows, chunk):
            part = slice(first, min(first + chunk, rows))
            yield part
            found.rows = part.stop
            self.save()
            report(name, -(-part.stop // chunk), chunks)

    def save(self) -> None:
        """Write all findings under a temporary name, then rename."""
        if self.path is None:
            return
        tensors: dict[str, npt.NDArray[Any]] = {}
        done = {}
        for group, findings in self.found.items():
            done[group] = {name: _numbers(found) for name, found in findings.items()}
            for i, found in enumerate(findings.values()):
                tensors |= {f"{group}.{i}.{array}": value for array, value in _arrays(found).items()}
        save_run(self.path, tensors, self.kind, FORMAT_VERSION, {"run": self.run, "done": done})

    def _resume(self, path: Path) -> None:
        tensors, header = load_run(path, self.kind, FORMAT_VERSION)
        self._require_same_run(f"state: {path} is of another evaluation", dict(header.get("run", {})))
        try:
            for group, done in header["done"].items():
                for i, (name, numbers) in enumerate(done.items()):  # in the order of the file
                    found = self.found[group][name]
                    for array, start in _arrays(found).items():
                        setattr(found, array, _like(start, tensors[f"{group}.{i}.{array}"], f"{array} of {name}"))
                    for number, zero in _numbers(found).items():
                        setattr(found, number, type(zero)(numbers[number]))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"state: {path} is damaged: {error}") from error

    def _require_same_run(self, of_another: str, before: dict[str, Any]) -> None:
        """Raise where the file has a name in a group that is not asked for now, or anything else has changed."""
        now = dict(self.run)
        for group in self.may_grow:
            had, has = before.get(group, {}), self.run[group]
            if gone := [name for name in had if name not in has]:
                have = ", ".join(map(repr, has)) or "none"
                raise ValueError(f"{of_another}: {group} had {gone[0]!r}, now there are {have}; the list may only grow")
            now[group] = {name: has[name] for name in had}
        require_same_run(of_another, before, now)


def chunk_of(attack: Attack, rows: int) -> int:
    """Return how many rows an attack takes at once."""
    return rows if has_options_per_row(attack) else CHUNK


def identity(model: Any) -> dict[str, Any]:
    """Return what tells a model from others, in this process and the next, ready for JSON.

    Of a function only its name is known, and of a source what its `repr` says and the arrays that it holds.
    """
    said = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(model))
    return {"model": said, "weights": fingerprint(*_arrays_within(model))}


def _arrays_within(value: Any) -> Iterator[npt.NDArray[Any]]:
    """Yield the arrays of a model, of models around models, and of torch modules."""
    if isinstance(value, Sequential):
        yield from value.parameters().values()
    elif hasattr(value, "state_dict"):
        for tensor in value.state_dict().values():
            yield as_numpy("state_dict", tensor.detach().cpu().double())  # NumPy has no bfloat16
    elif hasattr(value, "__array__"):
        yield np.asarray(value)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _arrays_within(each)
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _arrays_within(each)
    elif isinstance(value, Classifier | LabelSource | Tree):
        yield from _arrays_within(vars(value))


def _arrays(found: Found) -> dict[str, npt.NDArray[Any]]:
    values = {f.name: getattr(found, f.name) for f in fields(found)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def _numbers(found: Found) -> dict[str, int | float]:
    values = {f.name: getattr(found, f.name) for f in fields(found)}
    return {name: value for name, value in values.items() if not isinstance(value, np.ndarray)}


def _like(wanted: npt.NDArray[Any], kept: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Return a copy of an array of the file, which must be as the one it replaces."""
    if kept.shape != wanted.shape or kept.dtype != wanted.dtype:
        raise ValueError(f"{name}: {kept.dtype} of shape {kept.shape}")
    return np.array(kept)
