"""What attacks.py and minimum_norm.py share: the nets that they attack, and pages brought up to date line by line."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import epsball as eb

TRAINING_ROWS = 10_000


@dataclass(frozen=True)
class Net:
    """How a net is made and trained, and the data set whose test digits it is attacked on."""

    make: Callable[[], Any]
    epochs: int
    method: Any = None
    data: str = "mnist-subset"

    def trained(self) -> Any:
        """Return the net after its training."""
        x, y = eb.datasets.load(self.data, split="train")
        model = self.make()
        eb.fit(model, x[:TRAINING_ROWS], y[:TRAINING_ROWS], method=self.method, epochs=self.epochs)
        return model

    def digits(self, rows: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the first test digits, as images, and their labels."""
        x, y = eb.datasets.load(self.data, split="test")
        return np.ascontiguousarray(x[:rows]), y[:rows]


def mlp() -> Any:
    """Return an untrained MLP."""
    return eb.models.mlp([784, 256, 256, 10])


def cnn() -> Any:
    """Return an untrained CNN."""
    return eb.models.cnn((1, 28, 28), classes=10)


PGD = eb.training.PGDTraining(eps=0.1, steps=7)
NETS = {
    "MLP 784-256-256-10": Net(mlp, 5),
    "CNN 16-32-100-10": Net(cnn, 3),
    "MLP, PGD-trained at 0.1": Net(mlp, 5, PGD),
    "CNN, PGD-trained at 0.1": Net(cnn, 5, PGD),
    "CNN, PGD-trained at 0.2": Net(cnn, 3, eb.training.PGDTraining(eps=0.2, steps=5), "mnist"),
}


def module_of(model: Any) -> torch.nn.Module:
    """Return the model as torch has it, for images, without parameters' gradients."""
    flat = model.input_shape == (784,)
    return torch.nn.Sequential(*[torch.nn.Flatten()] * flat, eb.to_torch(model)).eval().requires_grad_(False)


def timed(attack: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a call returns, and the seconds of CPU time it took."""
    started = time.process_time()
    found = attack()
    return found, time.process_time() - started


def parser(about: str | None) -> argparse.ArgumentParser:
    """Return the options that both scripts have."""
    options = argparse.ArgumentParser(description=about)
    options.add_argument("--rows", type=int, default=1000, help="test digits attacked")
    options.add_argument("--only", nargs="+", default=[""], help="only attacks whose name contains one of these")
    options.add_argument("--models", nargs="+", default=[""], help="only nets whose title contains one of these")
    return options


def chosen(names: Iterable[str], parts: list[str]) -> list[str]:
    """Return the names that contain one of the parts."""
    return [name for name in names if any(part in name for part in parts)]


@dataclass(frozen=True)
class Page:
    """A page with a table for each net and a line for each attack, of which a run may bring some up to date."""

    path: Path
    about: str
    head: str
    attacks: list[str]

    def put(self, net: str, line: str) -> None:
        """Write the page anew with a line of a net's table, and keep the others."""
        lines = self._lines() | {(net, name_of(line)): line}
        tables = {title: [lines[title, name] for name in self.attacks if (title, name) in lines] for title in NETS}
        parts = [f"### {title}\n\n" + "\n".join([self.head, *known]) for title, known in tables.items() if known]
        self.path.write_text("\n\n".join([self.about, *parts]) + "\n")
        print(f"{net}: {line}", flush=True)

    def _lines(self) -> dict[tuple[str, str], str]:
        net, found = "", {}
        for part in self.path.read_text().splitlines():
            if part.startswith("### "):
                net = part.removeprefix("### ")
            if part.startswith("| "):
                found[net, name_of(part)] = part
        return found


def name_of(line: str) -> str:
    """Return the first cell of a table's line."""
    return line.split("|")[1].strip()
