"""Self-contained HTML pages: what the template shows, and the pieces that every page has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jinja2
import numpy as np

from epsball.reports import figures
from epsball.reports.examples import Examples
from epsball.reports.tables import Table, percent

BOUND = "Accuracy under attack is an upper bound: an attack that fails does not prove that none would succeed."


@dataclass(frozen=True)
class Chart:
    """A figure drawn as SVG; `alt` says in words what it shows."""

    title: str
    svg: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Digit:
    """Three images as data URIs, and what the model says of the last."""

    clean: str
    perturbation: str
    adversarial: str
    label: int
    prediction: int
    confidence: str


@dataclass(frozen=True)
class Strip:
    """Images before and after an attack."""

    title: str
    digits: tuple[Digit, ...]
    caption: str


@dataclass(frozen=True)
class Page:
    """What the template shows, from top to bottom."""

    title: str
    lead: str
    table: Table
    table_caption: str
    charts: tuple[Chart, ...]
    strips: tuple[Strip, ...]
    facts: Mapping[str, str]


def render(page: Page) -> str:
    """Return the page as HTML without external resources."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("epsball.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(page=page)


def strip(title: str, examples: Examples) -> Strip:
    """Return images before and after an attack as a strip."""
    differences = examples.adversarial.astype(np.float64) - examples.clean
    limit = float(np.abs(differences).max()) or 1.0
    digits = tuple(
        Digit(
            clean=figures.image(clean),
            perturbation=figures.perturbation(difference, limit),
            adversarial=figures.image(adversarial),
            label=int(label),
            prediction=int(prediction),
            confidence=percent(float(confidence)),
        )
        for clean, difference, adversarial, label, prediction, confidence in zip(
            examples.clean,
            differences,
            examples.adversarial,
            examples.labels,
            examples.predictions,
            examples.confidences,
            strict=True,
        )
    )
    return Strip(
        title,
        digits,
        f"From top to bottom: clean, perturbation (blue −{limit:.3g}, white 0, red +{limit:.3g}), adversarial; below, "
        "the true class, what the model takes the adversarial image for, and its probability for that. The first "
        "input of each class is shown, whatever the attack made of it.",
    )


def surroundings(environment: Mapping[str, Any], date: str) -> dict[str, str]:
    """Return the facts that every page ends with: the machine, the version and the date."""
    return {
        "Machine": f"{environment['cpu']}, {environment['threads']} threads, {environment['chosen']} kernels",
        "Made by": f"epsball {environment['version']}, {date}",
    }
