"""The command line: `epsball demo | train | attack | evaluate | bench | exhibit | info`, one file per command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, NoReturn

import typer

from epsball import __version__

#: In the order of the help page. Each is the function of its name in the module of its name; those modules
#: import NumPy and the engine only when the command runs, so that the help is quick.
COMMANDS = ("demo", "train", "attack", "evaluate", "bench", "exhibit", "info")

app = typer.Typer(
    help="Adversarial examples on small models: attack them, train them, measure what is left.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"epsball {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Hold the options that come before the command."""


for _command in COMMANDS:
    app.command()(getattr(import_module(f"epsball.cli.{_command}"), _command))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exits with 0 for success, 1 for a failure at run time, 2 for a usage error.

    Parameters
    ----------
    arguments
        Without the program's name; None takes those of the process.
    """
    try:
        app(args=arguments, prog_name="epsball")
    except MemoryError:  # its own text, std::bad_alloc, tells nobody anything
        _fail("not enough memory for this model or data")
    except (ValueError, TypeError, OSError, ImportError, FloatingPointError) as error:  # documented; others are bugs
        _fail(error)


def _fail(why: object) -> NoReturn:
    print(f"epsball: error: {why}", file=sys.stderr)
    sys.exit(1)
