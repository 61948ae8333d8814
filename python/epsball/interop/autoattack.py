"""Drop-in for the AutoAttack of its authors (fra31/auto-attack): their class, on epsball's attacks; tensors in and out.

``from epsball.interop.autoattack import AutoAttack`` is the whole migration. Members, order, counts and warnings are
theirs. What differs, and is meant to:

- A row leaves as soon as it is broken, inside a run, too. `bs` changes nothing: rows do not depend on each other.
- Nothing is printed, whatever `verbose` says: `log_path` has the lines, `robust_accuracy` the outcome, and what they
  warn of comes as an `epsball.attacks.AutoAttackWarning`.
- ``seed=None`` draws a seed from torch's global generator, which is otherwise left alone.
- The model is computed on the CPU, whatever `device` says; ``adversary.engine`` says by whom.
- L1 runs of APGD always begin in larger balls, as theirs do in the version "standard".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from time import perf_counter
from typing import Any

import numpy as np
import torch

from epsball import attacks
from epsball.arguments import check_path, check_seed, class_indices, flag, number, one_of, whole
from epsball.arrays import as_numpy
from epsball.attacks.autoattack import ratios, warn_of_model, warn_of_square
from epsball.interop.autoattack_evaluation import Evaluation
from epsball.interop.following import follow
from epsball.reports.files import require_writable_name

NORMS = {"Linf": "linf", "L2": "l2", "L1": "l1"}
VERSIONS = {
    "standard": ("apgd-ce", "apgd-t", "fab-t", "square"),
    "plus": ("apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"),
    "rand": ("apgd-ce", "apgd-dlr"),
}
MEMBERS = ("apgd-ce", "apgd-dlr", "apgd-t", "fab", "fab-t", "square")


@dataclass(slots=True)
class Apgd:
    """What ``adversary.apgd`` lets users change: of "apgd-ce" and "apgd-dlr"."""

    n_iter: int = 100
    n_restarts: int = 5
    eot_iter: int = 1

    def attack(self, eps: float, loss: str, **ball: Any) -> attacks.Attack:
        """Return `attacks.APGD`."""
        options: dict[str, Any] = {"steps": self.n_iter, "restarts": self.n_restarts, "model_draws": self.eot_iter}
        return attacks.APGD(eps, loss=loss, early_stop=True, **options, **ball)


@dataclass(slots=True)
class ApgdTargeted:
    """What ``adversary.apgd_targeted`` lets users change: of "apgd-t"."""

    n_iter: int = 100
    n_restarts: int = 1
    eot_iter: int = 1
    n_target_classes: int = 9

    def attack(self, eps: float, loss: str, rivals: int, **ball: Any) -> attacks.Attack:
        """Return `attacks.APGD` towards at most `rivals` classes."""
        options: dict[str, Any] = {"steps": self.n_iter, "restarts": self.n_restarts, "model_draws": self.eot_iter}
        targets = min(whole("n_target_classes", self.n_target_classes, 1), rivals)
        return attacks.APGD(eps, loss=loss, targets=targets, early_stop=True, **options, **ball)


@dataclass(slots=True)
class Fab:
    """What ``adversary.fab`` lets users change: of "fab" and, but for `n_restarts`, which is 1 there, of "fab-t"."""

    n_iter: int = 100
    n_restarts: int = 5
    n_target_classes: int = 9
    alpha_max: float = 0.1
    eta: float = 1.05
    beta: float = 0.9

    def attack(self, eps: float, rivals: int | None = None, **ball: Any) -> attacks.Attack:
        """Return `attacks.FAB`, towards at most `rivals` classes if that is not None."""
        options: dict[str, Any] = {"steps": self.n_iter, "alpha": self.alpha_max, "eta": self.eta, "beta": self.beta}
        if rivals is None:
            return attacks.FAB(restarts=self.n_restarts, radius=eps, **options, **ball)
        targets = min(whole("n_target_classes", self.n_target_classes, 1), rivals)
        return attacks.FAB(targets=targets, **options, **ball)


@dataclass(slots=True)
class Square:
    """What ``adversary.square`` lets users change."""

    n_queries: int = 5000
    p_init: float = 0.8
    rescale_schedule: bool = False

    def attack(self, eps: float, **ball: Any) -> attacks.Attack:
        """Return `attacks.Square`."""
        options: dict[str, Any] = {"queries": self.n_queries, "p_init": self.p_init, "rescale": self.rescale_schedule}
        return attacks.Square(eps, early_stop=True, **options, **ball)


class AutoAttack:
    """AutoAttack with the authors' constructor, methods and settings.

    Parameters
    ----------
    model
        A torch module or function of a batch that gives logits, or an epsball model.
    norm, eps
        "Linf", "L2" or "L1", and the radius of the ball.
    seed
        None: drawn anew for every evaluation.
    verbose
        Accepted; nothing is printed.
    attacks_to_run
        Of the version "custom": some of "apgd-ce", "apgd-dlr", "apgd-t", "fab", "fab-t" and "square".
    version
        "standard", "plus", "rand" or "custom".
    is_tf_model
        False, the only value that epsball has.
    device
        Accepted; models are computed on the CPU.
    log_path
        A file that lines are added to: the accuracy before the first attack and after each.

    Attributes
    ----------
    attacks_to_run : list of str
        The attacks of an evaluation, in order; may be changed.
    apgd, apgd_targeted, fab, square : Apgd, ApgdTargeted, Fab, Square
        Their settings, which the version has chosen; may be changed, as in ``adversary.apgd.n_restarts = 2``.
    robust_accuracy : float or None
        Of the last evaluation: at most this fraction of rows is robust.
    engine : str
        Who computes the model: epsball, or the module itself, and why.

    Raises
    ------
    ValueError, TypeError
        A bad argument, named.
    """

    def __init__(
        self,
        model: Any,
        norm: str = "Linf",
        eps: float = 0.3,
        seed: int | None = None,
        verbose: bool = True,
        attacks_to_run: Sequence[str] = [],  # the authors' default; it is never changed
        version: str = "standard",
        is_tf_model: bool = False,
        device: Any = "cuda",
        log_path: str | PathLike[str] | None = None,
    ) -> None:
        self.norm, self.epsilon = one_of("norm", norm, NORMS), number("eps", eps)
        self.version = one_of("version", version, (*VERSIONS, "custom"))
        if flag("is_tf_model", is_tf_model):
            raise ValueError("is_tf_model: wanted False, as epsball knows torch models, got True")
        if version != "custom" and len(attacks_to_run) > 0:
            raise ValueError(f"attacks_to_run: wanted none unless version='custom', got {list(attacks_to_run)}")
        for name in attacks_to_run:
            one_of("attacks_to_run", name, MEMBERS)
        self.log_path = None if log_path is None else check_path("log_path", log_path)
        if self.log_path is not None:
            require_writable_name(self.log_path)
        self.attacks_to_run = list(VERSIONS.get(version, attacks_to_run))
        self.model, self.seed, self.verbose, self.device = model, seed, flag("verbose", verbose), device
        self.apgd, self.apgd_targeted, self.fab, self.square = Apgd(), ApgdTargeted(), Fab(), Square()
        self._set_version()
        self.robust_accuracy: float | None = None
        self._followed = follow("model", model)

    def _set_version(self) -> None:
        """Settle what is not the same in all of the authors' versions."""
        sparse = self.version == "standard" and self.norm == "L1"
        if self.version in ("standard", "rand") and not sparse:
            self.apgd.n_restarts = 1
        if sparse:
            self.apgd_targeted.n_target_classes = 5
        if self.version == "rand":
            self.apgd.eot_iter = 20

    @property
    def engine(self) -> str:
        """Who computes the model, in words."""
        return self._followed.engine

    def __repr__(self) -> str:
        options = f"norm={self.norm!r}, eps={self.epsilon}, version={self.version!r}"
        return f"AutoAttack({options}, attacks_to_run={self.attacks_to_run}, engine={self.engine})"

    def get_logits(self, x: Any) -> Any:
        """Return the model's logits."""
        return self._followed.model(x)(x)

    def get_seed(self) -> int:
        """Return the seed of an evaluation."""
        return int(torch.randint(2**63 - 1, ()).item()) if self.seed is None else check_seed(self.seed)

    def clean_accuracy(self, x_orig: Any, y_orig: Any, bs: int = 250) -> float:
        """Return the fraction of rows that the model gets right."""
        return float((self._followed.model(x_orig).predict(x_orig) == y_orig).double().mean())

    def run_standard_evaluation(
        self, x_orig: Any, y_orig: Any, bs: int = 250, return_labels: bool = False, state_path: Any = None
    ) -> Any:
        """Attack every row that the model gets right.

        Parameters
        ----------
        x_orig, y_orig
            (N, ...) tensor in [0, 1], and (N,) true classes.
        bs
            Changes nothing.
        return_labels
            Return the predictions as well.
        state_path
            A file written after each attack (temporary name, then rename). If it exists the evaluation goes on from
            there, with the points found so far; a file of another evaluation is an error.

        Returns
        -------
        tensor, or tensor and labels
            The adversarial points; rows that nothing broke come back as they were.
        """
        evaluation = self._evaluate(self.attacks_to_run, x_orig, y_orig, state_path)
        self.robust_accuracy = evaluation.accuracy
        return _found(evaluation, x_orig, return_labels)

    def run_standard_evaluation_individual(
        self, x_orig: Any, y_orig: Any, bs: int = 250, return_labels: bool = False
    ) -> dict[str, Any]:
        """Attack with each member alone; return what each found, by name."""
        return {
            name: _found(self._evaluate([name], x_orig, y_orig, None), x_orig, return_labels)
            for name in self.attacks_to_run
        }

    def _evaluate(self, names: Sequence[str], x_orig: Any, y_orig: Any, state_path: Any) -> Evaluation:
        """Run attacks one after another on the rows that are still right."""
        model, x = self._followed.model(x_orig), as_numpy("x_orig", x_orig.detach().cpu())
        y = class_indices("y_orig", as_numpy("y_orig", y_orig.detach().cpu()), len(x))
        members = self._members(names, np.shape(model(x[:1]))[1] if len(x) else 2)
        state = Evaluation(model, x, y, members, self.seed, state_path)
        warn_of_model(model, x, y, random=self.version == "rand")
        self._log(f"{'restored' if state.done else 'initial'} accuracy: {state.accuracy:.2%}")
        start = perf_counter()
        for name in names:
            if name in state.done or not state.standing.any():
                continue
            before, broken = len(state.done), state.attack(name, self.epsilon)
            if name == "square" and before > 0:
                warn_of_square(broken, len(x))
            spent = perf_counter() - start
            self._log(f"robust accuracy after {name.upper()}: {state.accuracy:.2%} (total time {spent:.1f} s)")
        return state

    def _members(self, names: Sequence[str], classes: int) -> dict[str, attacks.Attack]:
        """Return the attacks by name, for a model of `classes` classes."""
        loss, loss_towards = ratios(classes)
        eps, rivals = self.epsilon, max(classes - 1, 1)
        ball: dict[str, Any] = {"norm": NORMS[self.norm], "seed": self.get_seed()}
        make: dict[str, Callable[[], attacks.Attack]] = {
            "apgd-ce": lambda: self.apgd.attack(eps, "cross_entropy", **ball),
            "apgd-dlr": lambda: self.apgd.attack(eps, loss, **ball),
            "apgd-t": lambda: self.apgd_targeted.attack(eps, loss_towards, rivals, **ball),
            "fab": lambda: self.fab.attack(eps, **ball),
            "fab-t": lambda: self.fab.attack(eps, rivals, **ball),
            "square": lambda: self.square.attack(eps, **ball),
        }
        return {name: make[one_of("attacks_to_run", name, MEMBERS)]() for name in names}

    def _log(self, line: str) -> None:
        if self.log_path is not None:
            with self.log_path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


def _found(evaluation: Evaluation, x_orig: Any, labels: bool) -> Any:
    points, predictions = (torch.from_numpy(a).to(x_orig.device) for a in (evaluation.x_adv, evaluation.predicted))
    return (points, predictions) if labels else points
