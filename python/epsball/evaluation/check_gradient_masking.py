"""Signs that a model withstands attacks because its gradients mislead them, not because it is robust."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball import attacks
from epsball.arguments import class_indices, count_rows, number, whole
from epsball.arrays import Array, as_numpy
from epsball.attacks.base import check_model, on_host
from epsball.reports.tables import Table, percent

Bools = npt.NDArray[np.bool_]
SCORES = 500  # queries of Square, per row


@dataclass(frozen=True)
class Check:
    """One sign.

    Attributes
    ----------
    name
        What a sound model does.
    passed
        Whether it did; None: not looked at, and `found` says why.
    found
        What was measured.
    """

    name: str
    passed: bool | None
    found: str


@dataclass(frozen=True)
class MaskingReport:
    """What `check_gradient_masking` found.

    Attributes
    ----------
    checks
        All of them, in order.
    robust_accuracy
        Fraction of rows that withstood everything that was tried: robustness is at most this.
    """

    checks: tuple[Check, ...]
    robust_accuracy: float

    @property
    def masked(self) -> bool:
        """Whether any check failed."""
        return any(check.passed is False for check in self.checks)

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of the checks that failed."""
        return tuple(check.name for check in self.checks if check.passed is False)

    def table(self) -> Table:
        """Return the checks as they are shown."""
        word = {True: "yes", False: "NO", None: "not run"}
        return Table(("check", "passed", "found"), tuple((c.name, word[c.passed], c.found) for c in self.checks))

    def __str__(self) -> str:
        """Return a plain table and a line."""
        verdict = "signs of gradient masking" if self.masked else "no sign of gradient masking"
        return f"{self.table()}\n{verdict}; robust accuracy at most {percent(self.robust_accuracy)}"


def check_gradient_masking(
    model: Any,
    x: Any,
    y: Any,
    eps: float,
    norm: str = "linf",
    steps: int = 40,
    bounds: attacks.base.Bounds = (0.0, 1.0),
    surrogate: Any = None,
    samples: int = 100,
    tolerance: float = 0.02,
    seed: int = 0,
) -> MaskingReport:
    """Look for the five behaviours of masked gradients, and for what else makes attacks look weaker than they are.

    The behaviours (Athalye et al. 2018, arXiv 1802.00420): one step beats many, black box beats white box, an unbounded
    attack fails, random sampling finds what gradients miss, and a larger budget finds no more. The rest is from the
    checklist of Carlini et al. (2019, arXiv 1902.06705): gradients that are zero, answers that change between calls,
    probabilities for logits, and attacks that had not converged in steps, restarts or loss.

    Parameters
    ----------
    model
        The model: epsball's own or a gradient source.
    x, y
        (N, ...) inputs within `bounds` and (N,) true classes; some hundred rows will do.
    eps, norm, bounds
        The ball and the box that the model is said to withstand.
    steps
        Of the iterative attack.
    surrogate
        A model trained like it, from which attacks are transferred; None leaves that check out.
    samples
        Random points per row.
    tolerance
        Fraction of rows by which two attacks may differ before a check fails; five times that for another loss and
        for targets.
    seed
        Of all random numbers.

    Returns
    -------
    MaskingReport
        Passing proves nothing; failing says that robust accuracy has been overestimated, or how.

    Raises
    ------
    ValueError, TypeError
        A bad argument, named.
    """
    check_model(model)
    x = on_host("x", x, model)
    labels = class_indices("y", on_host("y", y, model), count_rows(x))
    budget, many = number("eps", eps, float(np.nextafter(0, 1))), whole("samples", samples, 1)
    run = _Run(model, x, labels, {"norm": norm, "bounds": bounds}, budget, whole("steps", steps, 1), seed,
               number("tolerance", tolerance, 0.0, 1.0))  # fmt: skip
    checks = (
        run.deterministic(),
        run.logits(),
        run.gradients(),
        run.one_step(),
        run.black_box(surrogate),
        run.unbounded(),
        run.sampling(many),
        run.scores(),
        run.labels(),
        run.budgets(),
        run.converged("doubling the steps changes nothing", steps=2 * run.steps),
        run.converged("restarts change nothing", restarts=5, random_start=True),
        # The margin breaks a few rows more of sound models, too; of saturated ones many.
        run.converged("another loss finds little more", 5 * run.tolerance, loss="margin"),
        run.targets(),
    )
    return MaskingReport(checks, float(run.standing.mean()))


class _Run:
    """The attacks that several checks look at, and the rows that have withstood all so far."""

    def __init__(self, model: Any, x: Any, y: Array, ball: dict[str, Any], eps: float, steps: int, seed: int,
                 tolerance: float) -> None:  # fmt: skip
        self.model, self.x, self.y, self.ball, self.eps = model, x, y, ball, eps
        self.steps, self.seed, self.tolerance = steps, seed, tolerance
        self.standing: Bools = self._right(x)
        self.clean = self.standing.copy()

    def _right(self, x: Any) -> Bools:
        return np.asarray(as_numpy("predictions", self.model.predict(x)) == self.y)

    def _withstood(self, attack: attacks.Attack, counts: bool = True, model: Any = None) -> Bools:
        """Return the rows that are right on what the attack returns; `counts`: it keeps to the ball."""
        right = self._right(attack(model or self.model, self.x, self.y))
        if counts:
            self.standing &= right
        return right

    def _pgd(self, eps: float | None = None, **options: Any) -> attacks.PGD:
        chosen = {"steps": self.steps, "random_start": False, "seed": self.seed, **options}
        return attacks.PGD(self.eps if eps is None else eps, **chosen, **self.ball)

    @cached_property
    def iterative(self) -> Bools:
        """The rows that withstand the iterative attack."""
        return self._withstood(self._pgd())

    def _no_better(self, name: str, other: Bools, what: str) -> Check:
        """Fail if another attack broke more rows that the iterative one left than chance allows."""
        extra = float((self.iterative & ~other & self.clean).mean())
        return Check(name, extra <= self.tolerance, f"{what} breaks {percent(extra)} of the rows that PGD leaves right")

    def deterministic(self) -> Check:
        answers = [np.asarray(as_numpy("logits", self.model(self.x))) for _ in range(3)]
        same = all(np.array_equal(answers[0], other) for other in answers[1:])
        return Check("answers are the same each time", same, "the same" if same else "they differ: average over them")

    def logits(self) -> Check:
        z = np.asarray(as_numpy("logits", self.model(self.x)))
        simplex = z.shape[1] > 1 and z.min() >= 0 and bool(np.abs(z.sum(axis=1) - 1).max() < 1e-4)
        found = "rows of numbers ≥ 0 that sum to 1" if simplex else f"from {z.min():.3g} to {z.max():.3g}"
        return Check("outputs are logits, not probabilities", not simplex, found)

    def gradients(self) -> Check:
        result = self._pgd().run(self.model, self.x, self.y)
        zero = float((result.zero_gradient & self.clean).mean())
        return Check("gradients are not zero", zero <= self.tolerance, f"zero all the way for {percent(zero)} of rows")

    def one_step(self) -> Check:
        one = self._withstood(attacks.FGSM(self.eps, **self.ball))
        return self._no_better("many steps beat one", one, "FGSM")

    def black_box(self, surrogate: Any) -> Check:
        name = "white box beats black box"
        if surrogate is None:
            return Check(name, None, "no surrogate was given")
        check_model(surrogate)
        return self._no_better(name, self._withstood(self._pgd(), model=surrogate), "transfer from the surrogate")

    def unbounded(self) -> Check:
        bounds, a = self.ball["bounds"], as_numpy("x", self.x)
        name = "an unbounded attack always succeeds"
        if bounds is None:
            return Check(name, None, "there is no box to attack within")
        width = float(np.max(np.asarray(bounds[1], np.float64) - np.asarray(bounds[0], np.float64)))
        size = a[0].size
        eps = {"linf": width, "l2": width * size**0.5, "l1": width * size}[self.ball["norm"]]
        left = float(self._withstood(self._pgd(eps, steps=max(self.steps, 100)), counts=False).mean())
        return Check(name, left <= self.tolerance, f"accuracy {percent(left)} in the whole box")

    def sampling(self, samples: int) -> Check:
        left = self.clean.copy()
        for i in range(samples):
            left &= self._right(self._pgd(steps=0, random_start=True, seed=self.seed + i)(self.model, self.x, self.y))
        self.standing &= left
        return self._no_better("gradients find what random points find", left, f"one of {samples} random points")

    def scores(self) -> Check:
        left = self._withstood(attacks.Square(self.eps, queries=SCORES, seed=self.seed, **self.ball))
        return self._no_better("gradients find what scores find", left, f"Square with {SCORES} queries")

    def labels(self) -> Check:
        name = "gradients find what labels find"
        if self.ball["norm"] not in attacks.HopSkipJump.norms:
            return Check(name, None, f"no attack on labels measures {self.ball['norm']}")
        if self.ball["bounds"] is None:
            return Check(name, None, "there is no box to start in")
        result = attacks.HopSkipJump(steps=10, seed=self.seed, **self.ball).run(self.model, self.x, self.y)
        left = ~(result.success & (result.distance <= self.eps))
        self.standing &= left
        return self._no_better(name, left, "HopSkipJump")

    def budgets(self) -> Check:
        factors = (0.5, 1.0, 2.0, 4.0)
        accuracy = [float(self._withstood(self._pgd(f * self.eps), counts=f <= 1).mean()) for f in factors]
        rises = max(after - before for before, after in pairwise(accuracy))
        stuck = accuracy[-1] > self.tolerance and accuracy[-1] >= accuracy[1] - self.tolerance
        shown = ", ".join(f"{percent(a)} at {f:g} eps" for a, f in zip(accuracy, factors, strict=True))
        return Check("a larger budget finds more", rises <= self.tolerance and not stuck, f"accuracy {shown}")

    def targets(self) -> Check:
        logits = as_numpy("logits", self.model(self.x[:1]))
        aimed = attacks.APGD(self.eps, steps=self.steps, targets=min(9, max(logits.shape[1] - 1, 1)), seed=self.seed,
                             **self.ball)  # fmt: skip
        return self._gained("targets find little more", self._withstood(aimed), 5 * self.tolerance)

    def converged(self, name: str, tolerance: float | None = None, **options: Any) -> Check:
        return self._gained(name, self._withstood(self._pgd(**options)), tolerance)

    def _gained(self, name: str, left: Bools, tolerance: float | None) -> Check:
        gained = float(self.iterative.mean() - (self.iterative & left).mean())
        most = self.tolerance if tolerance is None else tolerance
        return Check(name, gained <= most, f"{percent(gained)} of rows more are broken")
