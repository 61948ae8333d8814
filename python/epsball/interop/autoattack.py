"""Drop-in for the AutoAttack of its authors (fra31/auto-attack): their class, on epsball's attacks; tensors in and out.

``from epsball.interop.autoattack import AutoAttack`` is the whole migration. Members, order and counts of each version
are those of `epsball.attacks.AutoAttack`, which says where they are not the authors'. What differs, and is meant to:

- A row leaves as soon as it is broken, inside a run, too. `bs` changes nothing: rows do not depend on each other.
- Nothing is printed and no log is written, whatever `verbose` says: what `epsball.attacks.AutoAttackWarning` warns of
  comes as a warning, and `robust_accuracy` holds the outcome.
- ``seed=None`` draws a seed from torch's global generator, which is otherwise left alone.
- The model is computed on the CPU, whatever `device` says; ``adversary.engine`` says by whom.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from epsball import attacks
from epsball.arguments import flag, number, one_of, whole
from epsball.interop.following import Followed

NORMS = {"Linf": "linf", "L2": "l2", "L1": "l1"}
VERSIONS = {
    "standard": ("apgd-ce", "apgd-t", "fab-t", "square"),
    "plus": ("apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"),
    "rand": ("apgd-ce", "apgd-dlr"),
}
# Members by the authors' names, with the restarts they have outside of the named versions.
MEMBERS: dict[str, Callable[..., attacks.Attack]] = {
    "apgd-ce": lambda eps, **shared: attacks.APGD(eps, restarts=5, **shared),
    "apgd-dlr": lambda eps, **shared: attacks.APGD(eps, restarts=5, loss="dlr", **shared),
    "apgd-t": lambda eps, **shared: attacks.APGD(eps, targets=9, loss="dlr", **shared),
    "fab": lambda _eps, norm, **_shared: attacks.FAB(norm=norm),
    "fab-t": lambda _eps, norm, **_shared: attacks.FAB(norm=norm, targets=9),
    "square": lambda eps, **shared: attacks.Square(eps, **shared),
}


class AutoAttack:
    """AutoAttack with the authors' constructor and methods.

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
    is_tf_model, log_path
        False and None, the only values that epsball has.
    device
        Accepted; models are computed on the CPU.

    Attributes
    ----------
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
        log_path: Any = None,
    ) -> None:
        self.norm, self.epsilon = one_of("norm", norm, NORMS), number("eps", eps)
        self.version = one_of("version", version, (*VERSIONS, "custom"))
        if flag("is_tf_model", is_tf_model):
            raise ValueError("is_tf_model: wanted False, as epsball knows torch models, got True")
        if log_path is not None:
            raise ValueError(f"log_path: wanted None, as epsball writes no log, got {log_path!r}")
        if version != "custom" and len(attacks_to_run) > 0:
            raise ValueError(f"attacks_to_run: wanted none unless version='custom', got {list(attacks_to_run)}")
        for name in attacks_to_run:
            one_of("attacks_to_run", name, MEMBERS)
        self.attacks_to_run = list(VERSIONS.get(version, attacks_to_run))
        self.model, self.seed, self.verbose, self.device = model, seed, flag("verbose", verbose), device
        self.robust_accuracy: float | None = None
        self._followed = Followed(model)

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
        return int(torch.randint(2**63 - 1, ()).item()) if self.seed is None else whole("seed", self.seed, 0)

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
            None, as epsball keeps no state.

        Returns
        -------
        tensor, or tensor and labels
            The adversarial points; rows that nothing broke come back as they were.
        """
        if state_path is not None:
            raise ValueError(f"state_path: wanted None, as epsball keeps no state, got {state_path!r}")
        x, y = x_orig.detach(), y_orig.detach()
        x_adv, predicted = self._run(self._chosen(), x, y)
        self.robust_accuracy = float((predicted == y).double().mean())
        return (x_adv, predicted) if return_labels else x_adv

    def run_standard_evaluation_individual(
        self, x_orig: Any, y_orig: Any, bs: int = 250, return_labels: bool = False
    ) -> dict[str, Any]:
        """Attack with each member alone; return what each found, by name."""
        x, y = x_orig.detach(), y_orig.detach()
        shared = {"norm": NORMS[self.norm], "seed": self.get_seed(), "early_stop": True}
        found = {}
        for name in self.attacks_to_run:
            x_adv, predicted = self._run([MEMBERS[name](self.epsilon, **shared)], x, y)
            found[name] = (x_adv, predicted) if return_labels else x_adv
        return found

    def _chosen(self) -> list[attacks.Attack]:
        norm, seed = NORMS[self.norm], self.get_seed()
        if self.version != "custom":
            return [attacks.AutoAttack(self.epsilon, norm=norm, version=self.version, seed=seed)]
        return [MEMBERS[name](self.epsilon, norm=norm, seed=seed, early_stop=True) for name in self.attacks_to_run]

    def _run(self, members: Sequence[attacks.Attack], x: Any, y: Any) -> tuple[Any, Any]:
        """Run attacks one after another on the rows that are still right."""
        model = self._followed.model(x)
        x_adv, predicted, rows = x.clone(), model.predict(x), torch.arange(len(x))
        for attack in members:
            rows = rows[(predicted[rows] == y[rows])]
            if len(rows) == 0:
                break
            result = attack.run(model, x[rows], y[rows], index=rows.numpy())
            broken = torch.from_numpy(result.success & (result.distance <= self.epsilon))  # FAB may end beyond
            x_adv[rows[broken]] = result.x_adv[broken]
            predicted[rows[broken]] = model.predict(result.x_adv[broken])
        return x_adv, predicted
