"""ART's AutoAttack and its members."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from epsball import attacks
from epsball.arguments import whole
from epsball.arrays import Array
from epsball.interop.art.arguments import ORDERS, check_only, draw_seed, for_rows, norm_of, own_or_given, per_row
from epsball.interop.art.base import EvasionAttack
from epsball.interop.art.nearest import DeepFool


@dataclass(eq=False, repr=False)
class AutoProjectedGradientDescent(EvasionAttack):
    """Auto-PGD (see `attacks.APGD`), which starts with steps of 2 eps: `eps_step` is checked and changes nothing.

    ``loss_type=None`` is the estimator's loss, which is the cross-entropy.
    """

    estimator: Any
    norm: Any = np.inf
    eps: Any = 0.3
    eps_step: Any = 0.1
    max_iter: int = 100
    targeted: bool = False
    nb_random_init: int = 5
    batch_size: int = 32
    loss_type: str | None = None
    verbose: bool = True

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.APGD`."""
        losses = {None: "cross_entropy", "cross_entropy": "cross_entropy", "difference_logits_ratio": "dlr"}
        if self.loss_type not in losses:
            raise ValueError(
                f"loss_type: wanted None, cross_entropy or difference_logits_ratio, got {self.loss_type!r}"
            )
        options: dict[str, Any] = {
            "steps": self.max_iter,
            "restarts": self.nb_random_init,
            "loss": losses[self.loss_type],
        }
        return attacks.APGD(eps, norm=norm_of(self.norm), seed=draw_seed(), **options, **common)


@dataclass(eq=False, repr=False)
class SquareAttack(EvasionAttack):
    """Random search by squares (see `attacks.Square`), the margin being the loss; L1 is no error here.

    `adv_criterion` and `loss` are None. Every restart takes the rows that are left. ART moves the same window in all
    rows of a call, so that its accuracy scatters from seed to seed as a single draw does, where epsball draws for every
    row; L∞ means are alike at as many queries (benchmarks/square_seeds.md).
    """

    estimator: Any
    norm: Any = np.inf
    adv_criterion: Any = None
    loss: Any = None
    max_iter: int = 100
    eps: Any = 0.3
    p_init: float = 0.8
    nb_restarts: int = 1
    batch_size: int = 128
    verbose: bool = True

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.Square`."""
        options: dict[str, Any] = {"queries": self.max_iter + 2, "p_init": self.p_init, "rescale": True, "from_x": True}
        return attacks.Square(eps, norm=norm_of(self.norm), **options, seed=draw_seed(), **common)

    def _found(self, model: Any, x: Array, y: Any, common: dict[str, Any]) -> Array:
        labels = own_or_given(model, x, y)
        found, eps = x.copy(), np.broadcast_to(per_row(self.eps, "eps", x), len(x))
        left = np.arange(len(x))
        for _ in range(whole("nb_restarts", self.nb_restarts, 1)):
            run = self.translated(eps[left].copy(), for_rows(common, x, left)).run(model, x[left], labels[left])
            found[left] = run.x_adv
            left = left[~run.success]
            if len(left) == 0:
                break
        return found

    def _check(self) -> None:
        super()._check()
        check_only(adv_criterion=(self.adv_criterion, None), loss=(self.loss, None))


@dataclass(eq=False, repr=False)
class AutoAttack(EvasionAttack):
    """ART's AutoAttack: APGD with both losses and 5 restarts, DeepFool, Square; or the `attacks` given, of this module.

    Each takes the rows that are left, and counts where it stays within eps. `targeted` is False, `estimator_orig` None
    or the estimator; `parallel_pool_size` changes nothing. The authors' AutoAttack is `epsball.attacks.AutoAttack`.
    """

    estimator: Any
    norm: Any = np.inf
    eps: float = 0.3
    eps_step: float = 0.1
    attacks: Any = None
    batch_size: int = 32
    estimator_orig: Any = None
    targeted: bool = False
    parallel_pool_size: int = 0

    def members(self) -> list[EvasionAttack]:
        """Return the attacks, in order."""
        if self.attacks:
            return list(self.attacks)
        ball = {"norm": self.norm, "eps": self.eps}
        given = self.estimator
        return [
            AutoProjectedGradientDescent(given, eps_step=self.eps_step, **ball),
            AutoProjectedGradientDescent(given, eps_step=self.eps_step, loss_type="difference_logits_ratio", **ball),
            DeepFool(given, epsilon=1e-3),
            SquareAttack(given, max_iter=5000, nb_restarts=5, **ball),
        ]

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Raise, as this is several attacks."""
        # The base class asks every attack for its translation, which its `_found` runs; here `_found` runs the members.
        raise NotImplementedError("AutoAttack is no single attack of epsball's; see members")

    def _found(self, model: Any, x: Array, y: Any, common: dict[str, Any]) -> Array:
        labels = own_or_given(model, x, y)
        found, left = x.copy(), np.flatnonzero(model.predict(x) == labels)
        for attack in self.members():
            if len(left) == 0:
                break
            x_adv = attack._found(model, x[left], labels[left], for_rows(common, x, left))
            away = (x_adv.astype(np.float64) - x[left]).reshape(len(left), -1)
            within = np.linalg.norm(away, ORDERS[norm_of(self.norm)], axis=1) <= self.eps
            won = within & (model.predict(x_adv) != labels[left])
            found[left[won]] = x_adv[won]
            left = left[~won]
        return found

    def _check(self) -> None:
        super()._check()
        whole("parallel_pool_size", self.parallel_pool_size, 0)
        check_only(targeted=(self.targeted, False))
        if self.estimator_orig not in (None, self.estimator):
            raise ValueError("estimator_orig: wanted None or the estimator, got another one")
        if self.attacks is not None and not all(isinstance(a, EvasionAttack) for a in self.attacks):
            raise TypeError("attacks: wanted attacks of epsball.interop.art")
