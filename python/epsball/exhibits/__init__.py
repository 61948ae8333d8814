"""Exhibits: what two lectures of Ian Goodfellow show of adversarial examples, computed again, one file per exhibit."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from epsball.exhibits.base import Exhibit

#: Every exhibit by the name of its file, and what it shows. Each file has a function `show`.
EXHIBITS = {
    "linear_model": "a step of 0.25 turns every digit against logistic regression, noise as large none",
    "nearly_linear": "logits along the gradient's sign are almost straight lines",
    "cross_sections": "one direction leads out of the class, most others do not",
    "transfer": "digits that fool one kind of model fool others, made from other data",
    "rbf": "radial basis functions are unsure where linear models are sure and wrong",
    "rubbish": "noise is a digit to most models, with great confidence",
    "training_curves": "training on adversarial digits, and on clean ones, tested on either",
    "trade_off": "which model is best for which share of adversarial inputs",
    "gradient_masking": "rounding hides the gradient and stops no attack that knows of it",
}

__all__ = ["EXHIBITS", "run"]


def run(name: str, data: str = "mnist-subset", seed: int = 0) -> Exhibit:
    """Compute an exhibit.

    Parameters
    ----------
    name
        A key of `EXHIBITS`.
    data
        A data set of digits or garments for `datasets.load`; of a larger one the first rows, as many as the subset has.
    seed
        Of weights, orders, noise and random starts.

    Returns
    -------
    Exhibit
        Its table, what it found as numbers, and curves where it has any.

    Raises
    ------
    ValueError
        An unknown name or data set.
    """
    from importlib import import_module

    from epsball.arguments import check_seed, one_of
    from epsball.exhibits.base import Exhibit, load

    module = import_module(f"epsball.exhibits.{one_of('name', name, EXHIBITS)}")
    return Exhibit.made(name, EXHIBITS[name], module.show, load(data), data, check_seed(seed))
