"""Checkpoints: all that a run needs to go on bit-identically, in one safetensors file per run."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from epsball.files import load_tensors, save_tensors
from epsball.model import Sequential

FORMAT = "epsball-checkpoint"
FORMAT_VERSION = 1


def save(
    path: str | PathLike[str], model: Sequential, trainer: Any, run: dict[str, Any], records: list[dict[str, Any]]
) -> None:
    """Write parameters, optimiser state and history under a temporary name, then rename."""
    tensors = {f"parameter.{name}": value for name, value in model.parameters().items()}
    tensors |= {f"moment.{i}": value for i, value in enumerate(trainer.moments())}
    header = {"run": run, "updates": trainer.updates, "epochs": records}
    save_tensors(path, tensors, FORMAT, FORMAT_VERSION, header)


def resume(path: str | PathLike[str], model: Sequential, trainer: Any, run: dict[str, Any]) -> list[dict[str, Any]]:
    """Put a checkpoint's state into model and trainer; return the records of the epochs done.

    Raises
    ------
    ValueError
        The file is damaged, or of a run with other settings; the first difference is named.
    """
    path = Path(path)
    tensors, header = load_tensors(path, FORMAT, FORMAT_VERSION)
    before = header.get("run", {})
    for key in sorted({*run, *before}):
        if run.get(key) != before.get(key):
            raise ValueError(
                f"checkpoint: {path} is of another run: {key} was {before.get(key)!r}, now it is {run.get(key)!r}"
            )
    try:
        parameters = {
            name.removeprefix("parameter."): t for name, t in tensors.items() if name.startswith("parameter.")
        }
        moments = [np.ascontiguousarray(tensors[f"moment.{i}"]) for i in range(2 * len(parameters))]
        model.load_parameters(parameters)
        trainer.load_moments(moments, int(header["updates"]))
        return [dict(record) for record in header["epochs"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"checkpoint: {path} is damaged: {error}") from error
