"""`epsball train`: train a model, plainly or adversarially, and save it."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from epsball.cli import options

if TYPE_CHECKING:
    from epsball.model import Sequential

_CLASSES = 10
_WIDEST = 1 << 20  # two layers of this width already need 4 TiB


def train(
    out: Annotated[Path, typer.Option(dir_okay=False, help="File to write, .safetensors.")],
    data: options.Data = "mnist-subset",
    model: Annotated[
        Literal["softmax", "mlp", "cnn"],
        typer.Option(help="Softmax regression, an MLP of ReLUs, or two convolutions and a hidden layer."),
    ] = "mlp",
    hidden: Annotated[
        str | None, typer.Option(help="Widths of the MLP's hidden layers.  [default: 256,256]", metavar="N,N,...")
    ] = None,
    method: Annotated[
        Literal["standard", "fgsm", "pgd"], typer.Option(help="On clean digits, or on those an attack makes.")
    ] = "standard",
    eps: Annotated[
        float | None,
        typer.Option(parser=options.number, help=f"Budget of fgsm and pgd.  [default: {options.EPS}]"),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, max=options.MOST, help="Steps of pgd.  [default: the method's own]")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, max=options.MOST)] = 10,
    batch_size: Annotated[int, typer.Option(min=1, max=options.MOST)] = 100,
    optimizer: Annotated[Literal["adam", "sgd"], typer.Option()] = "adam",
    lr: Annotated[
        float | None, typer.Option(parser=options.number, help="Learning rate.  [default: the optimizer's own]")
    ] = None,
    seed: options.Seed = 0,
    rows: options.Rows = None,
    checkpoint: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Written after each epoch; if it is there, resume from it.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Train a model, plainly or adversarially, and save it."""
    if model != "mlp" and hidden is not None:
        raise typer.BadParameter(f"--hidden means nothing to --model {model}")
    import epsball as eb
    from epsball.cli import output
    from epsball.reports import progress

    recipe = _method(method, eps=eps, steps=steps)
    x, y = eb.datasets.load(data, "train")
    trained = _model(model, x.shape[1:], _widths(hidden or "256,256"), seed)
    for file in (out, checkpoint):
        output.check_file(file)
    optimizers = {"adam": eb.training.Adam, "sgd": eb.training.SGD}
    with progress.bars() as bar:
        history = eb.fit(
            trained,
            x[:rows],
            y[:rows],
            method=recipe,
            epochs=epochs,
            batch_size=batch_size,
            optimizer=optimizers[optimizer]() if lr is None else optimizers[optimizer](lr=lr),
            validation=eb.datasets.load(data, "test"),
            checkpoint=checkpoint,
            seed=seed,
            progress=lambda done, total, _record: bar(f"train {model}, {method}", done, total),
        )
    trained.save(out)
    if json:
        output.json({"out": str(out), "model": repr(trained), "method": repr(recipe), "history": history.to_dict()})
    else:
        output.table(_curves(history.epochs), caption=f"Adversarial: {history.attack!r}\nWritten to {out}")


def _method(name: str, **given: Any) -> Any:
    """Build the training method; an option it does not take is a usage error."""
    from epsball import training

    takes = {"standard": (), "fgsm": ("eps",), "pgd": ("eps", "steps")}[name]
    chosen = {option: value for option, value in given.items() if value is not None}
    for option in chosen:
        if option not in takes:
            raise typer.BadParameter(f"--{option} means nothing to --method {name}")
    if "eps" in takes:
        chosen.setdefault("eps", options.EPS)
    classes = {"standard": training.Standard, "fgsm": training.FGSMTraining, "pgd": training.PGDTraining}
    try:
        return classes[name](**chosen)
    except ValueError as error:
        raise typer.BadParameter(f"--method {name}: {error}") from error


def _widths(text: str) -> list[int]:
    try:
        widths = [int(part) for part in text.split(",")]
    except ValueError:
        widths = [0]
    if min(widths) < 1 or max(widths) > _WIDEST:
        raise typer.BadParameter(f"--hidden: {text!r} given, expected widths up to {_WIDEST} such as 256,256")
    return widths


def _model(name: str, shape: tuple[int, ...], hidden: list[int], seed: int) -> Sequential:
    from epsball import models

    if name == "softmax":
        return models.linear(prod(shape), _CLASSES, seed=seed)
    if name == "cnn":
        return models.cnn(shape, _CLASSES, seed=seed)
    return models.mlp([prod(shape), *hidden, _CLASSES], seed=seed)


def _curves(epochs: list[dict[str, Any]]) -> Any:
    """Return the history as a table."""
    from epsball.reports.tables import Table, number, percent

    errors = ("train_clean_error", "train_adversarial_error", "test_clean_error", "test_adversarial_error")
    header = ("epoch", "loss", *(name.replace("_", " ") for name in errors), "seconds")
    rows = (
        (
            str(epoch["epoch"]),
            number(epoch["train_loss"], 4),
            *(percent(epoch[name]) for name in errors),
            number(epoch["seconds"], 1),
        )
        for epoch in epochs
    )
    return Table(header, tuple(rows))
