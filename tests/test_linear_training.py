"""Training linear models natively reaches the optimum of a float64 reference: SVMs and regressions, L1 and L2 decay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb
import oracle

optimize = pytest.importorskip("scipy.optimize")

# Training ends this close to the smallest objective there is, relative to it: hinges and L1 decay are subgradient
# methods, whose last steps the cosine schedule takes to almost nothing.
CLOSE = {"cross_entropy": 2e-6, "hinge": 5e-5, "crammer_singer": 5e-5}
DECAY = 0.05


def blobs(rows: int, features: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping normal classes, so that no loss has its minimum at infinity."""
    rng = np.random.default_rng([rows, features])
    y = np.arange(rows) % max(classes, 2)
    centres = rng.normal(0.0, 1.0, (max(classes, 2), features))
    return (centres[y] + rng.normal(0.0, 1.0, (rows, features))).astype(np.float32), y


class Problem:
    """Mean loss plus decay of the parameters θ (classes, features + 1), biases last and decayed too."""

    def __init__(self, loss: str, classes: int, l2: float, l1: float) -> None:
        self.x, self.y = blobs(48, 3, classes)
        self.h = np.c_[self.x.astype(np.float64), np.ones(48)]
        self.loss, self.classes, self.l2, self.l1 = loss, classes, l2, l1

    def objective(self, theta: np.ndarray) -> float:
        losses = oracle.loss(self.loss, self.h @ theta.T, self.y)
        return float(losses.mean() + self.l2 / 2 * (theta**2).sum() + self.l1 * np.abs(theta).sum())

    def optimum(self) -> np.ndarray:
        """θ of the smallest objective."""
        return self._smooth() if self.loss == "cross_entropy" else self._piecewise_linear()

    def _smooth(self) -> np.ndarray:
        """θ = p − q with p, q ≥ 0 makes L1 decay linear."""
        shape = (2, self.classes, self.h.shape[1])

        def value(v: np.ndarray) -> tuple[float, np.ndarray]:
            p, q = v.reshape(shape)
            z = self.h @ (p - q).T
            g = oracle.loss_gradient(self.loss, z, self.y).T @ self.h / len(self.h) + self.l2 * (p - q)
            f = oracle.loss(self.loss, z, self.y).mean() + self.l2 / 2 * ((p - q) ** 2).sum() + self.l1 * v.sum()
            return f, np.stack([g + self.l1, -g + self.l1]).ravel()

        start = np.full(int(np.prod(shape)), 0.1)
        found = optimize.minimize(value, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * start.size,
                                  options={"maxiter": 10000, "ftol": 1e-15, "gtol": 1e-10})  # fmt: skip
        p, q = found.x.reshape(shape)
        return p - q

    def _piecewise_linear(self) -> np.ndarray:
        """A slack ξ per hinge, and a θ + b ξ ≥ 1: a linear program, or with L2 decay a quadratic one."""
        a, b = self._hinges()
        n, m = a.shape[1], b.shape[1]
        shape = (self.classes, self.h.shape[1])
        if self.l1:
            cost = np.r_[np.full(2 * n, self.l1), np.full(m, 1 / len(self.h))]
            return np.subtract(*optimize.linprog(cost, -np.c_[a, -a, b], np.full(len(a), -1.0)).x[: 2 * n]
                               .reshape(2, *shape))  # fmt: skip
        ab = np.c_[a, b]

        def value(v: np.ndarray) -> tuple[float, np.ndarray]:
            gradient = np.r_[self.l2 * v[:n], np.full(m, 1 / len(self.h))]
            return self.l2 / 2 * (v[:n] ** 2).sum() + v[n:].mean() * m / len(self.h), gradient

        constraint = {"type": "ineq", "fun": lambda v: ab @ v - 1, "jac": lambda v: ab}
        found = optimize.minimize(value, np.r_[np.zeros(n), np.ones(m)], jac=True, method="SLSQP",
                                  bounds=[(None, None)] * n + [(0, None)] * m, constraints=constraint,
                                  options={"maxiter": 500, "ftol": 1e-12})  # fmt: skip
        return found.x[:n].reshape(shape)

    def _hinges(self) -> tuple[np.ndarray, np.ndarray]:
        rows: list[np.ndarray] = []
        slacks: list[int] = []
        for i, (h, y) in enumerate(zip(self.h, self.y, strict=True)):
            for j in range(self.classes):
                row = np.zeros((self.classes, len(h)))
                if self.classes == 1:
                    row[0] = (2 * y - 1) * h
                elif self.loss == "hinge":
                    row[j] = h if j == y else -h
                elif j == y:
                    continue
                else:
                    row[y], row[j] = h, -h
                rows.append(row.ravel())
                slacks.append(i if self.loss == "crammer_singer" else i * self.classes + j)
        b = np.zeros((len(rows), max(slacks) + 1))
        b[np.arange(len(rows)), slacks] = 1.0
        return np.array(rows), b


def trained(problem: Problem) -> np.ndarray:
    model = eb.models.linear(3, problem.classes)
    optimizer = eb.training.SGD(
        lr=0.1, momentum=0.9, weight_decay=problem.l2, l1=problem.l1, schedule=eb.training.Cosine()
    )
    eb.fit(model, problem.x, problem.y, loss=problem.loss, epochs=2000, batch_size=48, optimizer=optimizer)
    p: dict[str, Any] = model.parameters()
    return np.c_[p["0.weight"], p["0.bias"]].astype(np.float64)


@pytest.mark.parametrize("decay", ["l2", "l1"])
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("loss", ["cross_entropy", "hinge", "crammer_singer"])
def test_training_reaches_the_smallest_objective(loss: str, classes: int, decay: str) -> None:
    problem = Problem(loss, classes, DECAY * (decay == "l2"), DECAY * (decay == "l1"))
    best = problem.objective(problem.optimum())
    reached = problem.objective(trained(problem))
    untrained = problem.objective(np.zeros((classes, 4)))
    assert best < 0.9 * untrained  # there is something to learn
    assert best * (1 - 1e-7) <= reached <= best * (1 + CLOSE[loss])


def test_the_reference_is_an_optimum() -> None:
    """No random neighbour, near or far, has a smaller objective."""
    rng = np.random.default_rng(0)
    for loss in CLOSE:
        for l2, l1 in ((DECAY, 0.0), (0.0, DECAY)):
            problem = Problem(loss, 3, l2, l1)
            theta = problem.optimum()
            best = problem.objective(theta)
            for size in (1e-4, 1e-2, 1.0):
                for _ in range(100):
                    assert problem.objective(theta + size * rng.normal(size=theta.shape)) > best * (1 - 1e-9)


def test_l1_decay_leaves_useless_features_almost_no_weight() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    x = np.c_[2.0 * y - 1.0, rng.normal(size=(200, 6))].astype(np.float32)
    x[:, 0] += rng.normal(0, 0.5, 200).astype(np.float32)
    weights = {}
    for l1 in (0.0, 0.2):
        model = eb.models.linear(7, 1)
        optimizer = eb.training.SGD(lr=0.1, momentum=0.9, l1=l1, schedule=eb.training.Cosine())
        eb.fit(model, x, y, loss="hinge", epochs=1000, batch_size=200, optimizer=optimizer)
        weights[l1] = np.abs(model.parameters()["0.weight"][0])
    assert weights[0.2][0] > 0.5
    assert weights[0.2][1:].max() < 1e-3
    assert weights[0.0][1:].max() > 0.05
