"""Options that several commands share."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated, Literal

import typer

EPS = 0.1  # a small MLP can be trained against it; at the 0.25 of the FGSM paper PGD training stays at chance
MOST = 2**31 - 1  # the engine counts steps and restarts in 32 bits
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def number(text: str | float) -> float:
    """Read a finite number >= 0, also one written as a fraction: ``8/255``."""
    try:
        above, *below = (float(part) for part in str(text).split("/", 1))  # a default comes as a float
        value = above / below[0] if below else above
    except (ValueError, ZeroDivisionError) as error:
        raise typer.BadParameter(f"{text!r} is not a number such as 0.25 or 8/255") from error
    if not 0 <= value < math.inf:
        raise typer.BadParameter(f"{text!r} given, expected a finite number >= 0")
    return value


def listed(text: str) -> list[str]:
    """Read names separated by commas; one more comma at the end does no harm."""
    return [name.strip() for name in text.strip().removesuffix(",").split(",")]


def require_suffix(option: str, path: Path | None, suffix: str) -> None:
    """Raise a usage error where a file is to be written under a name of another kind."""
    if path is not None and path.suffix != suffix:
        raise typer.BadParameter(f"{option}: {path} given, expected a name that ends in {suffix}")


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
Data = Annotated[
    Literal["mnist-subset", "mnist", "fashion-mnist"],
    typer.Option(help="Data set; mnist-subset ships with epsball, the others are looked for in EPSBALL_DATA."),
]
Split = Annotated[Literal["train", "test"], typer.Option(help="Part of the data set.")]
Rows = Annotated[int | None, typer.Option(min=1, help="Use only this number of rows, the first ones.")]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of everything random.")]
Report = Annotated[
    Path | None, typer.Option(file_okay=False, help="Also write an HTML page and its JSON to this folder.")
]
ModelFile = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, metavar="MODEL.safetensors", help="Model written by `train`.")
]
Eps = Annotated[
    float | None,
    typer.Option(parser=number, help=f"Budget, in units of [0, 1] pixels; 8/255 is understood.  [default: {EPS}]"),
]
Norm = Annotated[Literal["linf", "l2", "l1"] | None, typer.Option(help="Norm of the ball.  [default: linf]")]
Steps = Annotated[
    int | None, typer.Option(min=1, max=MOST, help="Steps of an iterative attack.  [default: the attack's own]")
]
Restarts = Annotated[
    int | None, typer.Option(min=1, max=MOST, help="Random restarts, the worst per row counts.  [default: 1]")
]
NoClip = Annotated[bool, typer.Option("--no-clip", help="Leave the box [0, 1]; the FGSM paper does.")]
