"""Arguments in ART's words, and the model behind an estimator."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from epsball.arrays import Array
from epsball.classifier import Classifier
from epsball.interop.following import Followed
from epsball.sources.base import LabelSource

NORMS = {np.inf: "linf", "inf": "linf", 1: "l1", 2: "l2"}
ORDERS = {"linf": np.inf, "l1": 1, "l2": 2}


def check_only(**options: tuple[Any, Any]) -> None:
    for name, (value, only) in options.items():
        if value != only:
            raise ValueError(f"{name}: wanted {only!r}, the only value that epsball has, got {value!r}")


def for_rows(common: dict[str, Any], x: Array, rows: Array) -> dict[str, Any]:
    """Return the common options for some of the rows: a mask may differ from row to row."""
    mask = common["mask"]
    return common if mask is None else common | {"mask": np.broadcast_to(mask, x.shape)[rows]}


def own_or_given(model: Any, x: Array, y: Any) -> Array:
    """Return the labels, or the model's own predictions."""
    labels: Array = np.asarray(model.predict(x)) if y is None else y
    return labels.argmax(axis=1) if labels.ndim == 2 else labels


def draw_seed() -> int:
    # The generator that ART draws from, so that np.random.seed makes starts repeat as it does there.
    return int(np.random.randint(2**63 - 1))  # noqa: NPY002


def norm_of(norm: Any) -> str:
    if norm not in NORMS:
        raise ValueError(f"norm: wanted np.inf, 'inf', 1 or 2, got {norm!r}")
    return NORMS[norm]


def per_row(value: Any, name: str, x: Array) -> Any:
    """Return a number, or one per row, from a number or an array that broadcasts to x."""
    if np.ndim(value) == 0:
        return float(value)
    try:
        full = np.broadcast_to(value, x.shape).reshape(len(x), -1)
    except ValueError:
        raise ValueError(f"{name}: wanted a shape that broadcasts to x {x.shape}, got {np.shape(value)}") from None
    if (full != full[:, :1]).any():
        raise ValueError(f"{name}: wanted a number or one per row, got an array that differs within a row")
    return np.ascontiguousarray(full[:, 0], np.float64)


def plain(value: Any) -> Any:
    """Return a step size as a number, or as one per row from ART's array of one per row."""
    a = np.asarray(value, np.float64)
    return float(a) if a.ndim == 0 else a.reshape(len(a), -1)[:, 0].copy()


def class_labels(y: Any) -> Any:
    """Return class indices, or probability rows; one-hot rows are class indices."""
    if y is None:
        return None
    a = np.asarray(y)
    if a.ndim == 2 and a.shape[1] == 1:
        a = a[:, 0]
    if a.ndim == 2:
        hot = ((a == 0) | (a == 1)).all() and (a.sum(axis=1) == 1).all()
        return a.argmax(axis=1) if hot else a.astype(np.float32)
    return a.astype(np.int64) if a.dtype.kind == "f" and (a == np.rint(a)).all() else a


def of_estimator(estimator: Any) -> tuple[Followed, Any]:
    """Return the model behind an estimator, and its bounds."""
    if isinstance(estimator, Classifier | LabelSource):
        return Followed(estimator), None
    torch = import_module("torch")
    if isinstance(estimator, torch.nn.Module):
        return Followed(estimator), None
    model = getattr(estimator, "model", None)
    clip = getattr(estimator, "clip_values", None)
    for name in ("preprocessing_defences", "postprocessing_defences"):
        if getattr(estimator, name, None):
            raise ValueError(f"estimator: wanted one without {name}, which epsball cannot follow")
    if isinstance(model, Classifier | LabelSource):
        return Followed(model), bounds_of(clip)
    if not isinstance(model, torch.nn.Module):
        raise TypeError(
            f"estimator: wanted ART's PyTorchClassifier, an EpsballClassifier, a torch module or an epsball model, "
            f"got {type(estimator).__name__}"
        )
    loss = getattr(estimator, "loss", None)
    if loss is not None and type(loss) is not torch.nn.CrossEntropyLoss:
        raise ValueError(f"estimator: wanted CrossEntropyLoss, whose gradient epsball follows, got {loss}")
    return Followed(_standardised(model, getattr(estimator, "preprocessing", None))), bounds_of(clip)


def bounds_of(clip: Any) -> Any:
    return None if clip is None else tuple(float(side) if np.ndim(side) == 0 else np.asarray(side) for side in clip)


def _standardised(module: Any, preprocessing: Any) -> Any:
    """Return the module behind ART's (x − mean) / std."""
    if preprocessing is None:
        return module
    if not (hasattr(preprocessing, "mean") and hasattr(preprocessing, "std")):
        raise ValueError(f"estimator: wanted no preprocessing but (mean, std), got {type(preprocessing).__name__}")
    torch, modules = import_module("torch"), import_module("epsball.interop.torch_modules")
    mean, std = (torch.as_tensor(np.asarray(v, np.float32)) for v in (preprocessing.mean, preprocessing.std))
    if (mean == 0).all() and (std == 1).all():
        return module
    return modules.StandardisedModule(module, mean, std)
