"""Write kernel_svm.md: input gradients of kernel SVMs beside ART's, which loops over support vectors in Python.

python benchmarks/kernel_svm.py [--seconds 5]      (scikit-learn and adversarial-robustness-toolbox installed)
"""

from __future__ import annotations

import argparse
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
from sklearn import svm

import epsball as eb
from epsball.bench.timing import interleave, stopwatch
from epsball.machine import cpu_name

HERE = Path(__file__).resolve().parent
EACH, ROUNDS = 100, 5  # support vectors per class; rounds, in which both take turns
ABOUT = (
    "Gradients of the loss at digits, for 784 features, 10 classes and 1,000 support vectors: medians of {rounds} "
    "rounds on {cpu}, {threads} threads, with epsball {ours}, scikit-learn {sklearn} and art {art}, which has no "
    "gradient of the sigmoid kernel. *agreement* is the smallest cosine between ART's gradient, of the sum of the "
    "label's one-versus-one decisions, and that of epsball's score of the label, which lie along one line. (All "
    "coefficients are C here: of those that differ ART takes some from the rows of other pairs, to another direction.)"
)
HEAD = "| kernel | digits | epsball ms | ART ms | ratio | agreement |\n|---|---:|---:|---:|---:|---:|"


def line(kernel: str, rows: int, seconds: float) -> str:
    """A line of the table."""
    from art.estimators.classification import SklearnClassifier

    x, y = eb.datasets.load("mnist-subset", "train")
    x = x.reshape(len(x), -1).astype(np.float64)
    chosen = np.concatenate([np.flatnonzero(y == k)[:EACH] for k in range(10)])
    estimator = svm.SVC(kernel=kernel, C=1e-3).fit(x[chosen], y[chosen])  # so small that every row is a support vector
    if len(estimator.support_) != len(chosen):
        raise RuntimeError(f"wanted {len(chosen)} support vectors, got {len(estimator.support_)}")
    model, theirs = eb.from_sklearn(estimator), SklearnClassifier(estimator)
    xt, yt = eb.datasets.load("mnist-subset", "test")
    xt, yt = xt[:rows].reshape(rows, -1), yt[:rows]
    hot = np.eye(10)[yt]
    scores = np.asarray(model.jacobian(xt), np.float64)[np.arange(rows), yt]
    gradients = theirs.loss_gradient(xt.astype(np.float64), hot)
    lengths = np.linalg.norm(scores, axis=1) * np.linalg.norm(gradients, axis=1)
    cosine = np.abs((scores * gradients).sum(axis=1)) / lengths
    calls = {
        "ours": lambda: model.input_gradient(xt, yt, loss="margin"),
        "theirs": lambda: theirs.loss_gradient(xt.astype(np.float64), hot),
    }
    found = interleave({name: stopwatch(call, seconds / ROUNDS) for name, call in calls.items()}, ROUNDS)
    ours, art = (1e3 * found[name].median for name in calls)
    return f"| {kernel} | {rows} | {ours:.3f} | {art:,.0f} | {art / ours:,.0f} × | {cosine.min():.6f} |"


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each contender of a line")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # ART's, of libraries that it does not need here
    lines = [line(kernel, rows, options.seconds) for kernel in ("rbf", "poly") for rows in (1, 20)]
    about = ABOUT.format(
        rounds=ROUNDS,
        cpu=cpu_name(),
        threads=eb.info()["threads"],
        ours=eb.__version__,
        sklearn=version("scikit-learn"),
        art=version("adversarial-robustness-toolbox"),
    )
    parts = ["# Kernel SVMs", "Written by `benchmarks/kernel_svm.py`; not edited.", about, "\n".join([HEAD, *lines])]
    (HERE / "kernel_svm.md").write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
