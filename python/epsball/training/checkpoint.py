"""Checkpoints: all that a run needs to go on bit-identically, in one safetensors file per run."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from epsball.files import load_run, require_same_run, save_run
from epsball.model import Sequential

FORMAT = "epsball-checkpoint"
FORMAT_VERSION = 1


def save(
    path: str | PathLike[str],
    model: Sequential,
    trainer: Any,
    run: dict[str, Any],
    records: list[dict[str, Any]],
    kept: dict[str, Any] | None,
) -> None:
    """Write parameters, optimiser state, history and the weights to end with under a temporary name, then rename."""
    tensors = {f"parameter.{name}": value for name, value in model.parameters().items()}
    tensors |= {f"moment.{i}": value for i, value in enumerate(trainer.moments())}
    tensors |= {f"kept.{name}": value for name, value in (kept or {}).items()}
    header = {"run": run, "updates": trainer.updates, "epochs": records}
    save_run(path, tensors, FORMAT, FORMAT_VERSION, header)


def resume(
    path: str | PathLike[str], model: Sequential, trainer: Any, run: dict[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Put a checkpoint's state into model and trainer; return the records of the epochs done, and the kept weights.

    Raises
    ------
    ValueError
        The file is damaged, or of a run with other settings; the first difference is named.
    """
    path = Path(path)
    tensors, header = load_run(path, FORMAT, FORMAT_VERSION)
    require_same_run(f"checkpoint: {path} is of another run", header.get("run", {}), run)
    try:
        count = sum(name.startswith("moment.") for name in tensors)
        moments = [np.ascontiguousarray(tensors[f"moment.{i}"]) for i in range(count)]
        kept = _named("kept.", tensors) or None
        if kept is not None:
            model.load_parameters(kept)  # they fit, or this raises
        model.load_parameters(_named("parameter.", tensors))
        trainer.load_moments(moments, int(header["updates"]))
        return [dict(record) for record in header["epochs"]], kept
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"checkpoint: {path} is damaged: {error}") from error


def _named(prefix: str, tensors: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
