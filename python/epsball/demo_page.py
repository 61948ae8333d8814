"""The page of the demonstration: table, training curves, digits, how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from epsball.demo import DemoResult
from epsball.reports import figures, page
from epsball.reports.tables import percent
from epsball.training import History


def demo_page(result: DemoResult) -> str:
    """Return the page of the demonstration: table, training curves, digits, how it was made."""
    settings = result.settings
    clean, adversarial = (f"MLP 256-256, {training}" for training in ("clean", "PGD-trained"))
    budget = f"ε = {settings['eps']} (L∞, pixels in [0, 1])"
    strips = [
        page.strip(f"{title}, under {examples.attack}", examples)
        for title in (clean, adversarial)
        if (examples := result.reports[title].examples)
    ]
    return page.render(
        page.Page(
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


def _curves(clean: History, adversarial: History, settings: Mapping[str, Any]) -> page.Chart:
    """Draw the training figure of the first lecture: train {clean, adversarial} × test {clean, adversarial}."""
    floor = 0.5 / settings["curve_rows"]
    curves = [
        figures.Curve(f"Train = {train}, Test = {test}", history.columns(f"test_{column}_error"), colour, dashed)
        for train, history, dashed in (("clean", clean, False), ("adv", adversarial, True))
        for test, column, colour in (("clean", "clean", "#4393c3"), ("adv", "adversarial", "#d6604d"))
    ]
    ends = "; ".join(f"{curve.label}: {percent(curve.errors[-1])}" for curve in curves)
    empty = any(min(curve.errors) < floor for curve in curves)
    return page.Chart(
        title="Training on clean or on adversarial digits",
        svg=figures.error_curves(curves, floor),
        alt=f"Four error curves over {settings['epochs']} epochs on a logarithmic scale. At the end: {ends}.",
        caption=f"Error on the first {settings['curve_rows']:,} test digits after each epoch, logarithmic. The MLP "
        f"trained on clean digits and the one trained on PGD-{settings['training_steps']} digits, each tested on clean "
        f"digits and on those that PGD-{settings['training_steps']} makes against it at that moment, "
        f"ε = {settings['eps']}; seed {settings['seed']}."
        + (" Where no digit is mistaken the curve is drawn at the lower edge." if empty else ""),
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
        **page.surroundings(result.environment, result.date),
    }
