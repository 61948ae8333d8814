"""`epsball train`: train a model, plainly or adversarially, and save it."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from epsball.cli import options

if TYPE_CHECKING:
    from epsball.attacks.base import Attack
    from epsball.model import Sequential
    from epsball.training.recipes import Recipe

_CLASSES = 10
_MONITORED = 1000  # test rows whose errors a recipe's history records: they are to cost little beside the training
# Methods, and which of the options they take.
_METHODS: dict[str, tuple[str, tuple[str, ...]]] = {
    "standard": ("Standard", ()),
    "fgsm": ("FGSMTraining", ("eps",)),
    "rfgsm": ("RFGSMTraining", ("eps",)),
    "pgd": ("PGDTraining", ("eps", "steps")),
    "fast": ("FastTraining", ("eps",)),
    "free": ("FreeTraining", ("eps",)),
    "trades": ("TRADES", ("eps", "steps")),
    "mart": ("MART", ("eps", "steps")),
    "alp": ("ALP", ("eps", "steps")),
    "clp": ("CLP", ()),
    "logit-squeezing": ("LogitSqueezing", ()),
    "label-smoothing": ("LabelSmoothing", ()),
    "noise": ("NoiseTraining", ()),
    "smoothing": ("SmoothingTraining", ()),
    "ibp": ("IBPTraining", ("eps",)),
    "vat": ("VAT", ("eps",)),
    "double-backprop": ("DoubleBackprop", ()),
    "distillation": ("Distillation", ()),
}
if TYPE_CHECKING:
    MethodName: TypeAlias = str  # a type checker knows no Literal of computed names; typer makes a choice of it
else:
    MethodName = Literal[tuple(_METHODS)]
_WIDEST = 1 << 20  # two layers of this width already need 4 TiB


def train(
    context: typer.Context,
    out: Annotated[Path, typer.Option(dir_okay=False, help="Keep the model in this .safetensors file.")],
    data: options.Data = "mnist-subset",
    model: Annotated[
        Literal["softmax", "mlp", "cnn"],
        typer.Option(help="Softmax regression, an MLP of ReLUs, or two convolutions and a hidden layer."),
    ] = "mlp",
    hidden: Annotated[
        str | None, typer.Option(help="Widths of the MLP's hidden layers.  [default: 256,256]", metavar="N,N,...")
    ] = None,
    recipe: Annotated[
        Literal["mnist-fast"] | None,
        typer.Option(help="Everything but the seed, as measured: a robust CNN in less than a minute."),
    ] = None,
    method: Annotated[
        MethodName,
        typer.Option(help="On clean digits, or on those an attack makes; see epsball.training."),
    ] = "standard",
    eps: Annotated[
        float | None,
        typer.Option(
            parser=options.number,
            help="Budget of the attack that is trained against, or of the FGSM that is measured where none is.  "
            f"[default: {options.EPS}]",
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, max=options.MOST, help="Steps of the attack.  [default: the method's own]")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, max=options.MOST)] = 10,
    batch_size: Annotated[int, typer.Option(min=1, max=options.MOST)] = 100,
    optimizer: Annotated[
        Literal["adam", "adamw", "sgd"] | None, typer.Option(help="[default: the method's own, mostly adam]")
    ] = None,
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
    options.require_suffix("--out", out, ".safetensors")
    if model != "mlp" and hidden is not None:
        raise typer.BadParameter(f"--hidden means nothing to --model {model}")
    import epsball as eb
    from epsball.cli import output
    from epsball.reports import progress
    from epsball.training.recipes import Recipe

    monitor = None  # the method's own
    if recipe is None:
        monitor = _measured(method, eps)
        chosen = _method(method, eps=eps, steps=steps)
        own = optimizer is None and lr is None
        how = chosen.optimizer() if own else _optimizer(optimizer or "adam", lr)
        widths = _widths(hidden or "256,256")
        plan = Recipe(data, lambda s: _model(model, x.shape[1:], widths, s), chosen, how, epochs, batch_size)
    else:
        plan = _settled(context, recipe)
    x, y = eb.datasets.load(plan.data, "train")
    xv, yv = eb.datasets.load(plan.data, "test")
    trained = plan.model(seed)
    for file in (out, checkpoint):
        output.check_file(file)
    title = recipe or f"train {model}, {method}"
    monitored = _MONITORED if recipe else None
    with progress.bars() as bar:
        history = eb.fit(
            trained,
            x[:rows],
            y[:rows],
            method=plan.method,
            epochs=plan.epochs,
            batch_size=plan.batch_size,
            optimizer=plan.optimizer,
            validation=(xv[:monitored], yv[:monitored]),
            monitor=monitor,
            checkpoint=checkpoint,
            seed=seed,
            progress=lambda done, total, _record: bar(title, done, total),
        )
    trained.save(out)
    if json:
        output.json(
            {"out": str(out), "model": repr(trained), "method": repr(plan.method), "history": history.to_dict()}
        )
    else:
        output.table(_curves(history.epochs), caption=f"Adversarial: {history.attack!r}\nWritten to {out}")


def _measured(method: str, eps: float | None) -> Attack | None:
    """Return the attack whose errors are shown; None where they are those of the attack that is trained against."""
    from epsball.attacks import FGSM

    if method == "vat":  # whose eps is an L2 length
        return FGSM(options.EPS)
    return None if "eps" in _METHODS[method][1] else FGSM(options.EPS if eps is None else eps)


def _method(name: str, *, eps: float | None, steps: int | None) -> Any:
    """Build the training method; steps that it does not take are a usage error."""
    from epsball import training

    cls, takes = _METHODS[name]
    if steps is not None and "steps" not in takes:
        raise typer.BadParameter(f"--steps means nothing to --method {name}")
    chosen: dict[str, Any] = {} if steps is None else {"steps": steps}
    if "eps" in takes and (name != "vat" or eps is not None):  # VAT's has a default of its own
        chosen["eps"] = options.EPS if eps is None else eps
    try:
        return getattr(training, cls)(**chosen)
    except ValueError as error:
        raise typer.BadParameter(f"--method {name}: {error}") from error


def _optimizer(name: str, lr: float | None) -> Any:
    """Build the optimiser, at its own rate unless one is given."""
    from epsball import training

    cls = {"adam": training.Adam, "adamw": training.AdamW, "sgd": training.SGD}[name]
    return cls() if lr is None else cls(lr=lr)


def _settled(context: typer.Context, name: str) -> Recipe:
    """Return a recipe, on other data if they are given; it is a usage error to give what it settles."""
    from epsball.training.recipes import RECIPES

    def is_given(option: str) -> bool:
        source = context.get_parameter_source(option)
        return source is not None and source.name == "COMMANDLINE"

    for option in ("model", "hidden", "method", "eps", "steps", "epochs", "batch_size", "optimizer", "lr"):
        if is_given(option):
            raise typer.BadParameter(f"--{option.replace('_', '-')} means nothing beside --recipe, which settles it")
    return replace(RECIPES[name], data=context.params["data"]) if is_given("data") else RECIPES[name]


def _widths(text: str) -> list[int]:
    try:
        widths = [int(part) for part in options.listed(text)]
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
