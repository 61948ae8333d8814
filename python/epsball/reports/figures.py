"""Figures as text to put into a page: tiny PNGs of digits, and curves as SVG that takes the page's colours."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.ticker import MaxNLocator

Floats = npt.NDArray[np.floating]

# Drawn in this colour, shown in the text's: the page may be light or dark.
_INK = "#010203"


@dataclass(frozen=True)
class Curve:
    """One curve: errors per epoch (fractions), CSS colour and line style."""

    label: str
    errors: Sequence[float]
    colour: str
    dashed: bool


@dataclass(frozen=True)
class Bar:
    """One bar: its share in [0, 1], what kind of statement that is, and the ends of its interval, if it has one."""

    label: str
    share: float
    kind: str
    interval: tuple[float, float] | None = None


def image(pixels: Floats) -> str:
    """Return an image as a PNG data URI.

    Parameters
    ----------
    pixels : ndarray, shape (C, H, W)
        Values in [0, 1]; three channels are red, green and blue, of other numbers the mean is shown in grey.
    """
    shown = pixels if len(pixels) == 3 else pixels.mean(axis=0, keepdims=True)
    rgb = np.broadcast_to(shown, (3, *pixels.shape[1:])).transpose(1, 2, 0)
    return _png(np.clip(rgb, 0, 1))


def perturbation(difference: Floats, limit: float) -> str:
    """Return a perturbation as a PNG data URI: blue for −`limit`, white for 0, red for +`limit`.

    Parameters
    ----------
    difference : ndarray, shape (C, H, W)
        Averaged over the channels.
    limit
        Positive; what is beyond takes the end's colour.
    """
    scaled = 0.5 + 0.5 * difference.mean(axis=0) / limit
    return _png(mpl.colormaps["RdBu_r"](np.clip(scaled, 0, 1)))


def _png(pixels: Floats) -> str:
    buffer = io.BytesIO()
    imsave(buffer, pixels, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def error_curves(curves: Sequence[Curve], floor: float) -> str:
    """Return curves over epochs on a logarithmic scale, as an SVG element.

    Parameters
    ----------
    curves
        Errors from epoch 1 on, as fractions.
    floor
        Errors below it (none found) are drawn at it.
    """
    figure, axes = _axes("epoch", "error on test digits")
    for curve in curves:
        epochs = range(1, len(curve.errors) + 1)
        style = "--" if curve.dashed else "-"
        axes.semilogy(epochs, np.maximum(curve.errors, floor), style, color=curve.colour, label=curve.label, lw=2)
    lowest = min(min(curve.errors) for curve in curves)
    axes.set_ylim(max(floor, 0.5 * lowest), 1.15)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(lambda value, _position: f"{100 * value:g} %")
    return _svg(figure)


def lines(
    curves: Mapping[str, Sequence[float]], x: Sequence[float], x_label: str, y_label: str, *, logarithmic: bool
) -> str:
    """Return curves by name over x as an SVG element."""
    figure, axes = _axes(x_label, y_label)
    for label, values in curves.items():
        axes.plot(x, values, label=label, lw=2)
    if logarithmic:
        axes.set_yscale("log")
    return _svg(figure)


def bars(given: Sequence[Bar], x_label: str, colours: Mapping[str, str]) -> str:
    """Return bars from top to bottom, coloured by kind, as an SVG element."""
    figure, axes = _axes(x_label, "")
    figure.set_size_inches(5.0, 1.2 + 0.34 * len(given))
    for kind, colour in colours.items():
        rows = [row for row, bar in enumerate(given) if bar.kind == kind]
        if rows:
            axes.barh(rows, [given[row].share for row in rows], color=colour, label=kind)
    for row, bar in enumerate(given):
        if bar.interval is not None:
            axes.plot(bar.interval, (row, row), color=_INK, marker="|", lw=1)
    axes.set_yticks(range(len(given)), [bar.label for bar in given])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(lambda value, _position: f"{100 * value:g} %")
    return _svg(figure)


def _axes(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    """Return an empty figure whose ink is the page's."""
    figure = Figure(figsize=(5.0, 3.9), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x_label, color=_INK)
    axes.set_ylabel(y_label, color=_INK)
    axes.tick_params(which="both", colors=_INK)
    axes.grid(which="major", color=_INK, alpha=0.15)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_INK)
    return figure, axes


def _svg(figure: Figure) -> str:
    """Return a figure with its legend as an SVG element without the XML preamble, its ink the page's text colour."""
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
        columns = 2 if len(axes.lines) <= 4 else 5
        axes.legend(loc="lower center", bbox_to_anchor=(0.46, 1.0), ncols=columns, frameon=False, labelcolor=_INK)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :].replace(_INK, "currentColor")
