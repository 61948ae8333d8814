"""The training loop: epochs, histories, checkpoints; the work of an epoch is native."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from epsball import _native
from epsball.arguments import check_path, check_seed, whole
from epsball.arrays import Array, as_numpy
from epsball.attacks.base import Attack, check_own_model, has_options_per_row
from epsball.attacks.options import normal_bounds
from epsball.files import fingerprint_of_rows
from epsball.layers.batch_norm import BatchNorm
from epsball.model import Sequential
from epsball.reports.files import require_writable_name
from epsball.reports.progress import check_progress
from epsball.training.history import History
from epsball.training.method import NATIVE, Method
from epsball.training.optimizers import Optimizer
from epsball.training.standard import Standard
from epsball.training.stopping import is_over, kept_epoch

Progress: TypeAlias = bool | Callable[[int, int, dict[str, Any]], object]
Data: TypeAlias = tuple[Array, Array]

MONITORED_ROWS = 1000  # training rows whose errors are recorded where no validation set says how many

CHECKED_ROWS = 1024  # that temporary arrays are as long as, where data may be a mapped file larger than memory


def fit(
    model: Sequential,
    x: Any,
    y: Any,
    *,
    method: Method | None = None,
    epochs: int = 10,
    batch_size: int = 100,
    optimizer: Optimizer | None = None,
    loss: str = "cross_entropy",
    validation: tuple[Any, Any] | None = None,
    monitor: Attack | None = None,
    patience: int | None = None,
    checkpoint: str | PathLike[str] | None = None,
    seed: int = 0,
    progress: Progress = False,
) -> History:
    """Train a model in place.

    Results are the same bits for every number of threads. While fit runs, other calls on the model raise.

    Parameters
    ----------
    model
        Trained in place.
    x, y
        (N, ...) inputs; class indices (N,) or, where the loss takes them, one value per class (N, K); to `VAT`, -1 is
        no label.
    method
        One of `epsball.training`; None: `Standard`.
    epochs, batch_size
        Passes over the data in an order drawn anew each time, and rows per update; the last batch may be shorter, but
        leaves a batch normalisation at least two values per channel.
    optimizer
        None: the method's own, which is ``Adam(1e-3)`` for all but `FastTraining`.
    loss
        "cross_entropy", "margin", "squared_error", "confidence", "hinge", "crammer_singer", "logit", "dlr" or "jitter",
        as in `Sequential.loss`.
    validation
        (x, y) whose errors are recorded after every epoch.
    monitor
        The attack whose errors are recorded; None: the method's own, ``FGSM(0.25, bounds=None)`` for `Standard`.
        Training errors are those of the first rows, as many as validation has, or 1,000.
    patience
        Stop after `patience` epochs without a lower adversarial error on the validation data, and end with the weights
        of the epoch that had the lowest; None: train through all epochs.
    checkpoint
        A file written after every epoch (temporary name, then rename). If it exists the run goes on from there,
        bit-identically; a file of a run with other settings is an error.
    seed
        Of the order, dropout and random starts; in [0, 2**64).
    progress
        True: a bar on stderr; or a function of (epochs done, epochs, record).

    Returns
    -------
    History
        Clean and adversarial train and test errors of every epoch.

    Raises
    ------
    ValueError, TypeError
        A bad argument, named.
    FloatingPointError
        The loss of a batch, or a logit after an epoch, was not finite; epoch and batch are named.
    """
    method = Standard() if method is None else method
    if optimizer is None and isinstance(method, Method):
        optimizer = method.optimizer()
    check_progress(progress)
    run = _Run(model, x, y, method, epochs, batch_size, optimizer, loss, validation, monitor, patience, seed)
    with run.closed_model(), _reporting(progress) as report:
        done = run.resume(checkpoint)
        for epoch in range(done, run.epochs):
            if run.is_over():
                break
            record = run.epoch(epoch)
            if checkpoint is not None:
                run.save(checkpoint)
            report(epoch + 1, run.epochs, record)
        run.finish()
    return run.history


class _Run:
    """One call of `fit`: checked arguments and the native trainer."""

    def __init__(
        self,
        model: Sequential,
        x: Any,
        y: Any,
        method: Method,
        epochs: int,
        batch_size: int,
        optimizer: Optimizer | None,
        loss: str,
        validation: tuple[Any, Any] | None,
        monitor: Attack | None,
        patience: int | None,
        seed: int,
    ) -> None:
        check_own_model(model, "fit trains epsball models")
        _check_type("method", method, Method)
        _check_type("optimizer", optimizer, Optimizer)
        _check_type("loss", loss, str)
        self.epochs, self.batch_size = whole("epochs", epochs, 0), whole("batch_size", batch_size, 1)
        self.seed = check_seed(seed)
        self.model, self.method, self.optimizer, self.loss = model, method, cast(Optimizer, optimizer), loss
        self.data = _checked(model, x, y, loss, "x", "y", method.unlabelled)
        if len(self.data[0]) == 0:
            raise ValueError("x: wanted at least one row to train on, got none")
        method.check(model, self.data[1])
        self.targets = method.targets(model, *self.data)
        if np.ndim(self.targets) > np.ndim(self.data[1]):
            self._check_loss_of_targets()
        self.validation = None if validation is None else _validation(model, validation, loss)
        self.patience = None if patience is None else whole("patience", patience, 1)
        if self.patience is not None and self.validation is None:
            raise ValueError("patience: wanted validation data beside it, whose adversarial error decides; got none")
        attack = method.monitor() if monitor is None else monitor
        _check_type("monitor", attack, Attack)
        if getattr(attack, "targeted", False):
            raise ValueError(f"monitor: wanted an untargeted attack, got {attack!r}")
        self.history = History(attack)
        self.kept: dict[str, Array] | None = None  # the weights to end with: of the last epoch, or of the best
        self._check_boxes()
        self._check_batches()
        self._check_monitor()
        told = {**NATIVE, "loss": loss, **method.settings()}
        self.trainer = _native.Trainer(model._native, self.optimizer.settings(), told)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What a checkpoint's run has in common with this one; hashes all data, so only checkpoints ask for it."""
        return {
            "layers": repr(self.model.layers), "method": self.method.identity(), "optimizer": repr(self.optimizer),
            "loss": self.loss, "epochs": self.epochs, "batch_size": self.batch_size, "seed": self.seed,
            "patience": self.patience,
            "monitor": self.history.attack.to_dict(), "data": fingerprint_of_rows(*self.data),
            "validation": None if self.validation is None else fingerprint_of_rows(*self.validation),
            "table": _native.table(),
        }  # fmt: skip

    def monitored(self) -> Data:
        """Return the training rows whose errors are recorded."""
        rows = MONITORED_ROWS if self.validation is None else len(self.validation[0])
        if not self.method.unlabelled:
            return self.data[0][:rows], self.data[1][:rows]
        labelled = np.flatnonzero(self.data[1] >= 0)[:rows]
        return self.data[0][labelled], self.data[1][labelled]

    def _check_loss_of_targets(self) -> None:
        """Refuse a loss that takes class indices only where the method makes probabilities of them."""
        x = self.data[0][:1]
        try:
            _native.check_data(self.model._engine(x, True), x, self.targets[:1], self.loss)
        except TypeError:
            raise ValueError(
                f"loss: {type(self.method).__name__} trains on one value per class, and {self.loss!r} takes class "
                "indices only"
            ) from None

    def _check_boxes(self) -> None:
        """Refuse, before the first update, data outside the box that the method or the monitor keeps to."""
        _check_inside("x", self.data[0], getattr(self.method, "bounds", None))
        bounds = getattr(self.history.attack, "bounds", None)
        _check_inside("x", self.monitored()[0], bounds)
        if self.validation is not None:
            _check_inside("validation", self.validation[0], bounds)

    def _check_batches(self) -> None:
        """Refuse, before the first update, batches that leave a batch normalisation a single value per channel."""
        rows = len(self.data[0]) % self.batch_size or self.batch_size  # of the last batch
        both = len(self.method.settings()["parts"]) > 1  # clean rows and adversarial ones
        for place in self.model._places:
            if isinstance(place.layer, BatchNorm) and rows == math.prod(place.shape[1:]) == 1 and not both:
                raise ValueError(
                    f"batch_size: wanted at least two values per channel for layer {place.name} ({place.layer}), but "
                    f"of {len(self.data[0])} rows in batches of {self.batch_size} the last batch has one row"
                )
        if rows == 1 and self.method.settings().get("paired_halves", False):
            raise ValueError(
                f"batch_size: {type(self.method).__name__} pairs the rows of a batch, but of {len(self.data[0])} rows "
                f"in batches of {self.batch_size} the last batch has one row"
            )

    def _check_monitor(self) -> None:
        """Refuse, before the first update, a monitor that does not fit model and rows.

        It runs with a single step, and on one row, unless it has options for each.
        """
        attack: Any = self.history.attack
        once = replace(attack, steps=1) if hasattr(attack, "steps") else attack
        rows = None if has_options_per_row(attack) else 1
        for data in (self.monitored(), self.validation):
            if data is None:
                continue
            try:
                self._success(once, (data[0][:rows], data[1][:rows]))
            except (TypeError, ValueError) as error:
                kind = TypeError if isinstance(error, TypeError) else ValueError
                raise kind(f"monitor: {type(attack).__name__} cannot be run on {len(data[0])} rows: {error}") from None

    @contextmanager
    def closed_model(self) -> Iterator[None]:
        """Refuse other calls on the model while it is trained."""
        self.model._native.close()
        try:
            yield
        finally:
            self.model._native.open()

    @contextmanager
    def own_calls(self) -> Iterator[None]:
        """Let the run's own calls through."""
        self.model._native.admit(True)
        try:
            yield
        finally:
            self.model._native.admit(False)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the average of the weights, where one is made, into the model for a while."""
        average = self.average()
        if average is None:
            yield
            return
        last = self.model.parameters()
        self.model.load_parameters(average)
        try:
            yield
        finally:
            self.model.load_parameters(last)

    def average(self) -> dict[str, Array] | None:
        """Return the moving average of the parameters, None where there is none."""
        values = self.trainer.averages()
        shapes = {name: p.shape for name, p in self.model.parameters().items()}
        return {n: v.reshape(s) for (n, s), v in zip(shapes.items(), values, strict=True)} if values else None

    def resume(self, checkpoint: str | PathLike[str] | None) -> int:
        """Return how many epochs a checkpoint has done."""
        if checkpoint is None:
            return 0
        if not check_path("checkpoint", checkpoint).exists():
            require_writable_name(Path(checkpoint))  # now, not after an epoch
            return 0
        from epsball.training import checkpoint as files

        with self.own_calls():
            found = files.resume(checkpoint, self.model, self.trainer, self.settings)
        self.history.epochs, self.kept = found
        return len(self.history.epochs)

    def finish(self) -> None:
        """Leave the model with the weights that the history is of."""
        if self.kept is not None:
            with self.own_calls():
                self.model.load_parameters(self.kept)

    def save(self, checkpoint: str | PathLike[str]) -> None:
        from epsball.training import checkpoint as files

        with self.own_calls():
            files.save(checkpoint, self.model, self.trainer, self.settings, self.history.epochs, self.kept)

    def is_over(self) -> bool:
        """Return whether training is to stop before its last epoch."""
        return is_over(self.history.epochs, self.patience, self.method)

    def epoch(self, number: int) -> dict[str, Any]:
        """Train through epoch `number` (from 0), record its errors, and keep its weights if they are the best."""
        start = perf_counter()
        x, y = self.data[0], self.targets
        batches = -(-len(x) // self.batch_size)
        when = [number + i / batches for i in range(batches)]
        rates = [self.optimizer.rate(t, self.epochs) for t in when]
        budgets = np.asarray([self.method.budget(t, self.epochs) for t in when], np.float32)
        # Every epoch draws from a stream of its own.
        seed = (self.seed * 0x9E3779B97F4A7C15 + number) % 2**64
        try:
            loss = self.trainer.run(
                x, y, _order(len(x), seed), self.batch_size, np.asarray(rates, np.float32), budgets, seed
            )
        except FloatingPointError as error:
            raise FloatingPointError(f"epoch {number + 1}: {error}") from error
        try:
            with self.own_calls(), self.averaged():
                train = self._errors(self.monitored())
                test = (None, None) if self.validation is None else self._errors(self.validation)
                weights = self.model.parameters()
        except ValueError as error:  # the monitor has been tried: now it is the weights
            raise FloatingPointError(
                f"epoch {number + 1}: training diverged in the last batch, {batches - 1}; norm of the weights "
                f"{self._norm_of_weights():g}; {error}"
            ) from error
        told = {**NATIVE, **self.method.settings()}
        record = {
            "epoch": number + 1,
            "train_loss": loss,
            "train_clean_error": train[0],
            "train_adversarial_error": train[1],
            "test_clean_error": test[0],
            "test_adversarial_error": test[1],
            "seconds": perf_counter() - start,
            "sample_steps": len(x) * (told["steps"] + 1) * told["replays"],
            "learning_rate": rates[0],
        }
        epochs = self.history.epochs
        epochs.append(record)
        if kept_epoch(epochs, self.patience, self.method) == len(epochs):
            self.kept = weights
        return record

    def _norm_of_weights(self) -> float:
        with self.own_calls():
            sizes = [np.linalg.norm(p.astype(np.float64)) for p in self.model.parameters().values()]
        return float(np.linalg.norm(sizes))

    def _errors(self, data: Data) -> tuple[float, float]:
        """Return the clean error and the error under the monitoring attack."""
        clean = np.asarray(self.model.predict(data[0])) != self._labels(data)
        return float(clean.mean()), float(self._success(self.history.attack, data).mean())

    def _success(self, attack: Attack, data: Data) -> npt.NDArray[np.bool_]:
        return attack.run(self.model, data[0], self._labels(data)).success

    def _labels(self, data: Data) -> Array:
        """Return the class indices of the rows, where these have probabilities the likeliest ones."""
        y = data[1]
        if y.ndim == 1:
            return y
        return (y[:, 0] > 0.5).astype(np.int64) if self.model.classes == 1 else y.argmax(axis=1)


def _order(rows: int, seed: int) -> npt.NDArray[np.int64]:
    """Return a random order by counter, so that no global random state is touched."""
    return np.argsort(_native.uniform(rows, 0.0, 1.0, seed, -1), kind="stable").astype(np.int64)


def _checked(model: Sequential, x: Any, y: Any, loss: str, x_name: str, y_name: str, unlabelled: bool = False) -> Data:
    """Return inputs and labels as arrays, all of them checked; `unlabelled`: -1 is no label."""
    inputs = as_numpy(x_name, x, device=model.device)
    labels = as_numpy(y_name, y, device=model.device)
    known = np.where(labels == -1, 0, labels) if unlabelled and labels.dtype.kind == "i" else labels
    engine = model._engine(inputs, True)
    _native.check_data(engine, inputs, known, loss)
    engine.loss_and_gradient(inputs[:1], known[:1], loss, False)  # what is wrong with the model itself
    return inputs, labels


def _validation(model: Sequential, validation: Any, loss: str) -> Data:
    if not isinstance(validation, tuple | list) or len(validation) != 2:
        raise ValueError(f"validation: wanted a pair (x, y), got {type(validation).__name__}")
    x, y = validation
    try:
        data = _checked(model, x, y, loss, "x", "y")
    except (ValueError, TypeError) as error:
        raise type(error)(f"validation: {error}") from None
    if len(data[0]) == 0:
        raise ValueError("validation: wanted at least one row, got none")
    return data


def _check_type(name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name}: wanted {kind.__name__} (see epsball.training), got {value!r}")


def _check_inside(name: str, x: Array, bounds: Any) -> None:
    """Raise unless all of x lies within bounds, compared in float64 as the attacks compare."""
    if bounds is None:
        return
    lo, hi = (np.asarray(side, np.float64) for side in normal_bounds(bounds, x.shape[1:]))
    for first in range(0, len(x), CHECKED_ROWS):
        rows = x[first : first + CHECKED_ROWS].reshape(-1, math.prod(x.shape[1:]))
        outside = ((rows < lo) | (rows > hi)).any(axis=1)
        if outside.any():
            raise ValueError(
                f"{name}: wanted values within the bounds {bounds} of method and monitor, got others in row "
                f"{first + outside.argmax()}; bounds=None is no box"
            )


@contextmanager
def _reporting(progress: Progress) -> Iterator[Callable[[int, int, dict[str, Any]], object]]:
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda *_: None
    else:
        from epsball.reports.progress import bars

        with bars() as bar:
            yield lambda done, epochs, _record: bar("train", done, epochs)
