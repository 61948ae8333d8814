"""Self-contained HTML pages: one template for the evaluation of a model and for the demonstration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np

from epsball.reports import figures
from epsball.reports.tables import Table, percent

if TYPE_CHECKING:
    from epsball.demo import DemoResult
    from epsball.evaluation import EvaluationReport, Examples
    from epsball.training import History

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


def evaluation_page(report: EvaluationReport) -> str:
    """Return the page of an evaluation: its table, a strip of images, how it was made."""
    rows = len(report.robust)
    strips = () if report.examples is None else (_strip("What the strongest attack did", report.examples),)
    return render(
        Page(
            title="Robustness evaluation",
            lead=f"Of {rows:,} inputs the model gets {percent(report.clean_accuracy)} right, and at most "
            f"{percent(report.robust_accuracy)} whichever of these attacks each of them meets.",
            table=report.table(),
            table_caption=f"{BOUND} Mistakes are the rows that are wrong under the attack. Distances are in the "
            "attack's own norm, over the rows that were right and were turned.",
            charts=(),
            strips=strips,
            facts={"Model": report.model, "Inputs": f"{rows:,}", **_surroundings(report.environment, report.date)},
        )
    )


def demo_page(result: DemoResult) -> str:
    """Return the page of the demonstration: table, training curves, digits, how it was made."""
    settings = result.settings
    clean, adversarial = (f"MLP 256-256, {training}" for training in ("clean", "PGD-trained"))
    budget = f"ε = {settings['eps']} (L∞, pixels in [0, 1])"
    strips = [
        _strip(f"{title}, under {examples.attack}", examples)
        for title in (clean, adversarial)
        if (examples := result.reports[title].examples)
    ]
    return render(
        Page(
            title="A small step against the digits",
            lead=f"Models learn {settings['train_rows']:,} handwritten digits and are attacked on "
            f"{settings['test_rows']:,} others: no pixel may change by more than {settings['eps']}. {_outcome(result)}",
            table=result.table(),
            table_caption=f"Attacks within {budget}; PGD takes {settings['attack_steps']} steps. Errors count all "
            "test digits, and under attack they are lower bounds. The confidence is the mean probability of the "
            "predicted class over the mistakes under PGD. Training seconds include the attacks "
            "behind the curves below.",
            charts=(_curves(result.histories[clean], result.histories[adversarial], settings),),
            strips=tuple(strips),
            facts=_demo_facts(result),
        )
    )


def _outcome(result: DemoResult) -> str:
    """Say in a sentence what the table shows, whatever that is."""
    lines = [f"{percent(1 - line.pgd_error)} ({line.model}, {line.training})" for line in result.lines]
    return f"Under PGD they still get right at most {', '.join(lines[:-1])} and {lines[-1]}."


def _curves(clean: History, adversarial: History, settings: Mapping[str, Any]) -> Chart:
    """Draw the training figure of the first lecture: train {clean, adversarial} × test {clean, adversarial}."""
    floor = 0.5 / settings["curve_rows"]
    curves = [
        figures.Curve(f"Train = {train}, Test = {test}", history.columns(f"test_{column}_error"), colour, dashed)
        for train, history, dashed in (("clean", clean, False), ("adv", adversarial, True))
        for test, column, colour in (("clean", "clean", "#4393c3"), ("adv", "adversarial", "#d6604d"))
    ]
    ends = "; ".join(f"{curve.label}: {percent(curve.errors[-1])}" for curve in curves)
    empty = any(min(curve.errors) < floor for curve in curves)
    return Chart(
        title="Training on clean or on adversarial digits",
        svg=figures.error_curves(curves, floor),
        alt=f"Four error curves over {settings['epochs']} epochs on a logarithmic scale. At the end: {ends}.",
        caption=f"Error on the first {settings['curve_rows']:,} test digits after each epoch, logarithmic. The MLP "
        f"trained on clean digits and the one trained on PGD-{settings['training_steps']} digits, each tested on clean "
        f"digits and on those that PGD-{settings['training_steps']} makes against it at that moment, "
        f"ε = {settings['eps']}; seed {settings['seed']}."
        + (" Where no digit is mistaken the curve is drawn at the lower edge." if empty else ""),
    )


def _strip(title: str, examples: Examples) -> Strip:
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


def _demo_facts(result: DemoResult) -> dict[str, str]:
    settings = result.settings
    return {
        "Data": f"{settings['data']}: {settings['train_rows']:,} training and {settings['test_rows']:,} test digits of "
        "MNIST (LeCun, Cortes, Burges; CC BY-SA 3.0)",
        "Models": "softmax regression 784-10; MLP 784-256-256-10 with ReLUs",
        "Training": f"{settings['epochs']} epochs, Adam, learning rate {settings['learning_rate']:g} falling by a "
        f"cosine, PGD training with {settings['training_steps']} steps",
        "Seed": str(settings["seed"]),
        "Time": f"{result.seconds:.0f} s in all",
        **_surroundings(result.environment, result.date),
    }


def _surroundings(environment: Mapping[str, Any], date: str) -> dict[str, str]:
    return {
        "Machine": f"{environment['cpu']}, {environment['threads']} threads, {environment['chosen']} kernels",
        "Made by": f"epsball {environment['version']}, {date}",
    }
