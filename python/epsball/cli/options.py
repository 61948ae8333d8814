"""Options that several commands share."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

import typer

EPS = 0.1  # a small MLP can be trained against it; at the 0.25 of the FGSM paper PGD training stays at chance


def number(text: str) -> float:
    """Read a finite number, also one written as a fraction: ``8/255``."""
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError) as error:
        raise typer.BadParameter(f"{text!r} is not a number such as 0.25 or 8/255") from error


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
Data = Annotated[
    Literal["mnist-subset", "mnist", "fashion-mnist"],
    typer.Option(help="Data set; mnist-subset ships with epsball, the others are looked for in EPSBALL_DATA."),
]
Split = Annotated[Literal["train", "test"], typer.Option(help="Part of the data set.")]
Rows = Annotated[int | None, typer.Option(min=1, help="Use only the first so many rows.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
Report = Annotated[
    Path | None, typer.Option(file_okay=False, help="Also write an HTML page and its JSON to this folder.")
]
ModelFile = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, metavar="MODEL.safetensors", help="Model written by `train`.")
]
Eps = Annotated[float, typer.Option(parser=number, help="Budget, in units of [0, 1] pixels; 8/255 is understood.")]
Norm = Annotated[Literal["linf", "l2", "l1"] | None, typer.Option(help="Norm of the ball.  [default: linf]")]
Steps = Annotated[int | None, typer.Option(min=1, help="Steps of an iterative attack.  [default: the attack's own]")]
Restarts = Annotated[int | None, typer.Option(min=1, help="Random restarts, the worst per row counts.  [default: 1]")]
NoClip = Annotated[bool, typer.Option("--no-clip", help="Leave the box [0, 1]; the FGSM paper does.")]
