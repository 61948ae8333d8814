"""When a run ends early, and which epoch's weights it ends with: both follow from the history alone."""

from __future__ import annotations

from typing import Any

from epsball.training.method import Method

Records = list[dict[str, Any]]


def best_epoch(records: Records) -> int:
    """Return the first epoch (from 1) of the lowest adversarial error on the validation data."""
    errors = [record["test_adversarial_error"] for record in records]
    return errors.index(min(errors)) + 1


def kept_epoch(records: Records, patience: int | None, method: Method) -> int:
    """Return the epoch (from 1) whose weights the run would end with now."""
    if patience is not None:
        return best_epoch(records)
    return len(records) - 1 if method.collapsed(records) else len(records)


def is_over(records: Records, patience: int | None, method: Method) -> bool:
    """Return whether training is to stop after these epochs."""
    waited = patience is not None and bool(records) and len(records) - best_epoch(records) >= patience
    return waited or method.collapsed(records)
