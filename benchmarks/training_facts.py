"""What the papers say of training methods, trained and attacked here: writes benchmarks/training_facts.md.

EPSBALL_DATA=... python benchmarks/training_facts.py [--only IBP] [--rows 1000]      (without --only more than an hour)
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import epsball as eb
from epsball.evaluation import IBPCertificate

A, T = eb.attacks, eb.training
ADAM, COSINE = eb.training.Adam, eb.training.Cosine
SHAPE = (1, 28, 28)
TEST_ROWS = 10_000


@dataclass(frozen=True)
class Subject:
    """A trained model and the test rows it is judged on."""

    model: eb.Sequential
    x: np.ndarray
    y: np.ndarray

    def error(self, attack: A.Attack | None = None) -> str:
        """The percentage of the rows that are wrong, attacked or not."""
        x = self.x if attack is None else attack(self.model, self.x, self.y)
        return percent((self.model.predict(x) != self.y).mean())

    def right(self, attack: A.Attack | None = None) -> str:
        """The percentage of the rows that are right, attacked or not."""
        x = self.x if attack is None else attack(self.model, self.x, self.y)
        return percent((self.model.predict(x) == self.y).mean())


def percent(share: float) -> str:
    return f"{100 * share:.2f}"


def trained(
    data: str, seed: int, rows: int, model: eb.Sequential | None = None, x: Any = None, y: Any = None, **options: Any
) -> Subject:
    """A net trained on a data set; `rows` of its test set."""
    if x is None:
        x, y = eb.datasets.load(data, "train")
    model = model or eb.models.cnn(SHAPE, 10, seed=seed)
    eb.fit(model, x, y, seed=seed, **options)
    xt, yt = eb.datasets.load(data, "test")
    return Subject(model, xt[:rows], yt[:rows])


def pgd(eps: float, steps: int, restarts: int = 1) -> A.PGD:
    return A.PGD(eps=eps, steps=steps, restarts=restarts, early_stop=restarts > 1, seed=7)


# ---- the facts; each returns its cells, in the order of its columns


def fgsm_trained(seed: int, rows: int, labels: str) -> Subject:
    method = T.FGSMTraining(eps=0.3, labels=labels, bounds=(0.0, 1.0))
    return trained("fashion-mnist", seed, rows, method=method, epochs=10, optimizer=ADAM(1e-3, schedule=COSINE()))


def leaking(seed: int, rows: int) -> list[str]:
    s = fgsm_trained(seed, rows, "true")
    return [s.right(), s.right(A.FGSM(eps=0.3)), s.right(pgd(0.3, 50)), s.right(A.AutoAttack(eps=0.3))]


def told_and_guessed(seed: int, rows: int) -> list[str]:
    cells = []
    for labels in ("true", "predicted"):
        s = fgsm_trained(seed, rows, labels)
        guessed = A.FGSM(eps=0.3)(s.model, s.x)
        cells += [s.right(), s.right(A.FGSM(eps=0.3)), percent((s.model.predict(guessed) == s.y).mean())]
    return cells


def fashion(seed: int, rows: int) -> list[str]:
    s = trained("fashion-mnist", seed, rows, method=T.PGDTraining(eps=0.1, steps=10, ramp=0.2), epochs=15,
                optimizer=ADAM(2e-3, schedule=COSINE(), average=0.998))  # fmt: skip
    return [s.right(), s.right(pgd(0.1, 20)), s.right(A.AutoAttack(eps=0.1))]


def squeezed(method: Any) -> Callable[[int, int], list[str]]:
    def fact(seed: int, rows: int) -> list[str]:
        s = trained("mnist", seed, rows, method=method, epochs=10, optimizer=ADAM(1e-3, schedule=COSINE()))
        weak, strong = pgd(0.3, 40), pgd(0.3, 200, 50)
        return [s.right(), s.right(weak), s.right(strong), s.right(A.AutoAttack(eps=0.3))]

    return fact


def alp(seed: int, rows: int) -> list[str]:
    s = trained("fashion-mnist", seed, rows, method=T.ALP(eps=0.3, steps=10, ramp=0.4), epochs=15,
                optimizer=ADAM(2e-3, schedule=COSINE(), average=0.998))  # fmt: skip
    return [s.right(), s.right(A.FGSM(eps=0.3)), s.right(pgd(0.3, 50)), s.right(A.AutoAttack(eps=0.3))]


def distilled(seed: int, rows: int) -> list[str]:
    options: dict[str, Any] = {"epochs": 15, "optimizer": ADAM(1e-3, schedule=COSINE())}
    teacher = trained("mnist", seed, rows, method=T.Distillation(100.0), **options)
    s = trained("mnist", seed + 100, rows, method=T.Distillation(100.0, teacher.model), **options)
    x, y = s.x[:200], s.y[:200]
    found = A.CarliniWagner().run(s.model, x, y)
    turned = found.success & (s.model.predict(x) == y)
    return [s.right(), percent(hidden(s)), s.right(pgd(0.3, 40)), percent(found.success.mean()),
            f"{found.distance[turned].mean():.2f}"]  # fmt: skip


def hidden(s: Subject) -> float:
    """The share of rows at which p - onehot(y), the gradient of a float32 softmax, is exactly 0."""
    dlogits = s.model.probabilities(s.x)
    dlogits[np.arange(len(s.y)), s.y] -= 1
    return float((dlogits == 0).all(axis=1).mean())


def fast(seed: int, rows: int) -> list[str]:
    method = T.FastTraining(eps=0.3, collapse=None)
    s = trained("mnist", seed, rows, method=method, epochs=10, optimizer=method.optimizer())
    return [s.right(), s.right(pgd(0.3, 50, 10)), s.right(A.AutoAttack(eps=0.3))]


def certified(seed: int, rows: int) -> list[str]:
    s = trained("mnist", seed, rows, method=T.IBPTraining(eps=0.4, warmup=0.03, ramp=0.4), epochs=40,
                optimizer=ADAM(1e-3, schedule=COSINE()))  # fmt: skip
    proved = IBPCertificate(0.3).certify(s.model, s.x, s.y)
    return [s.error(), s.error(pgd(0.3, 200, 10)), percent(1 - proved.mean())]


def few_labels(
    per_class: int, net: Callable[[int], eb.Sequential], method: T.VAT, epochs: int, optimizer: T.Adam
) -> Callable[[int, int], list[str]]:
    def fact(seed: int, _: int) -> list[str]:  # judged on the whole test set, as published
        x, y = eb.datasets.load("mnist", "train")
        rng = np.random.default_rng(seed)
        shown = np.concatenate([rng.choice(np.flatnonzero(y == c), per_class, replace=False) for c in range(10)])
        alone = trained("mnist", seed, TEST_ROWS, net(seed), x[shown], y[shown], epochs=40_000 // len(shown))
        # Every batch has rows with labels: those few, again and again.
        again = np.tile(shown, 15)
        labels = np.concatenate([np.full(len(y), -1), y[again]])
        s = trained("mnist", seed, TEST_ROWS, net(seed), np.concatenate([x, x[again]]), labels, method=method,
                    epochs=epochs, batch_size=250, optimizer=optimizer)  # fmt: skip
        return [alone.error(), s.error()]

    return fact


def mlp(seed: int) -> eb.Sequential:
    return eb.models.mlp([784, 300, 300, 10], seed=seed)


def pooled(seed: int) -> eb.Sequential:
    layers = [eb.Conv2d(1, 8, 5, padding=2), eb.ReLU(), eb.MaxPool2d(2), eb.Conv2d(8, 24, 3, padding=1), eb.ReLU(),
              eb.MaxPool2d(2), eb.Flatten(), eb.Linear(24 * 7 * 7, 10)]  # fmt: skip
    return eb.Sequential(layers, input_shape=SHAPE, seed=seed)


@dataclass(frozen=True)
class Fact:
    """A line of the papers, and the function that repeats it."""

    title: str
    columns: tuple[str, ...]
    published: tuple[str, ...]
    source: str
    ours: str
    run: Callable[[int, int], list[str]]
    seeds: int = 1


ACCURACY = ("clean %", "FGSM %", "PGD-50 %", "AutoAttack %")
WEAK = ("clean %", "PGD-40, 1 start %", "PGD-200, 50 starts %", "AutoAttack %")
FACTS = [
    Fact("FGSM training leaks labels and falls to PGD (Fashion-MNIST, eps 0.3)", ACCURACY,
         ("91.94", "96.34", "0.00", "0.00"), "README of MTandHJ/PyTorch-Robust", "10 epochs", leaking, 3),
    Fact("What leaks is the label that FGSM is told (Fashion-MNIST, eps 0.3)",
         ("clean %", "FGSM of true labels %", "FGSM of predictions %", "trained on FGSM of predictions: clean %",
          "FGSM of true labels %", "FGSM of predictions %"), ("",) * 6,
         "Kurakin et al. 2017, arXiv 1611.01236", "10 epochs", told_and_guessed),
    Fact("PGD training (Fashion-MNIST, eps 0.1)", ("clean %", "PGD-20 %", "AutoAttack %"), ("90.88", "68.06", ""),
         "Song et al. 2019, arXiv 1905.10291 (a VGG-like net of width 16)", "10 steps, 15 epochs", fashion),
    Fact("CLP looks robust to few starts (MNIST, eps 0.3)", WEAK, ("98.8", "62.4", "4.1 (10,000 starts)", ""),
         "Mosbach et al. 2018, arXiv 1810.12042", "10 epochs, lam 0.5, sigma 0.5", squeezed(T.CLP())),
    Fact("Logit squeezing looks robust to few starts (MNIST, eps 0.3)", WEAK,
         ("98.8", "70.6", "5.0 (10,000 starts)", ""), "Mosbach et al. 2018, arXiv 1810.12042",
         "10 epochs, lam 0.5, sigma 0.5", squeezed(T.LogitSqueezing())),
    Fact("ALP against AutoAttack (Fashion-MNIST, eps 0.3)", ACCURACY, ("83.08", "68.21", "61.40", "24.25"),
         "README of MTandHJ/PyTorch-Robust", "10 steps, 15 epochs", alp),
    Fact("Distillation at T = 100 hides the gradient of the softmax, not of the logits (MNIST)",
         ("clean %", "float32 softmax gradient is 0 %", "PGD-40 at eps 0.3 %", "C&W L2 succeeds %", "mean L2"),
         ("", "", "", "100", ""), "Carlini and Wagner 2017, arXiv 1608.04644", "15 + 15 epochs",
         distilled),
    Fact("Fast training and its spread over seeds (MNIST, eps 0.3)", ("clean %", "PGD-50 x 10 %", "AutoAttack %"),
         ("98.50", "88.77", "82.93"), "Wong et al. 2020, arXiv 2001.03994", "the published recipe, 10 epochs", fast, 5),
    Fact("IBP training at 0.4, certified at 0.3 (MNIST)", ("clean error %", "PGD-200 x 10 error %",
         "certified error %"), ("1.66", "6.12", "8.05"), "Gowal et al. 2018, arXiv 1810.12715", "40 epochs", certified),
    Fact("VAT with 1,000 labels (MNIST)", ("labels alone, error %", "VAT, error %"), ("", ""),
         "Miyato et al. 2015, arXiv 1507.00677",
         "MLP 784-300-300-10, eps 1.0, 10 epochs; all 10,000 test images",
         few_labels(100, mlp, T.VAT(eps=1.0), 10, ADAM(1e-3, schedule=COSINE()))),
    Fact("VAT with 100 labels (MNIST)", ("labels alone, error %", "VAT, error %"), ("", ""),
         "Miyato et al. 2015, arXiv 1507.00677",
         "CNN of two pooled layers, eps up to 2.0, 9 epochs; all 10,000 test images",
         few_labels(10, pooled, T.VAT(eps=2.0, ramp=0.6), 9,
                    ADAM(2e-3, schedule=T.Piecewise(((0, 1), (0.7, 1), (1, 0.02))), average=0.99)), 3),
]  # fmt: skip


def section(fact: Fact, rows: int) -> str:
    """One fact as Markdown: the published line, then ours by seed."""
    lines = [f"## {fact.title}\n", f"After {fact.source}. Here: {fact.ours}.\n",
             "| | " + " | ".join(fact.columns) + " |", "|---|" + "---:|" * len(fact.columns),
             *(["| published | " + " | ".join(fact.published) + " |"] if any(fact.published) else [])]  # fmt: skip
    for seed in range(fact.seeds):
        lines.append(f"| seed {seed} | " + " | ".join(fact.run(seed, rows)) + " |")
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def sections_of(page: Path) -> dict[str, str]:
    """What stands on the page already, by title."""
    parts = page.read_text().split("\n## ")[1:] if page.exists() else []
    return {part.partition("\n")[0]: f"## {part.rstrip()}\n" for part in parts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="facts whose title contains this; the others stay as they are")
    parser.add_argument("--rows", type=int, default=1000, help="test images judged")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    a = parser.parse_args()
    head = (f"# What the papers say of training methods, repeated\n\nWritten by `training_facts.py`, epsball "
            f"{eb.__version__}; not edited. The first {a.rows} test images; models are CNN 16-32-100-10 where nothing "
            "else is said, which the published ones are not: theirs are larger and trained for longer.\n")  # fmt: skip
    for fact in FACTS:
        if a.only.lower() not in fact.title.lower():
            continue
        print(fact.title, flush=True)
        written = section(fact, a.rows)
        found = {**sections_of(a.out), fact.title: written}
        a.out.write_text("\n".join([head, *(found[f.title] for f in FACTS if f.title in found)]))


if __name__ == "__main__":
    main()
