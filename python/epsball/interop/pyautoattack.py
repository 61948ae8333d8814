"""Drop-in for pyautoattack, AutoAttack as it is on PyPI: its keyword-only arguments before `interop.autoattack`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from epsball.interop import autoattack

__all__ = ["AutoAttack"]


class AutoAttack(autoattack.AutoAttack):
    """AutoAttack with pyautoattack's constructor and methods; see `epsball.interop.autoattack.AutoAttack`."""

    def __init__(
        self,
        model: Any,
        *,
        attacks: Sequence[str] | None = None,
        device: Any = "cpu",
        eps: float = 0.3,
        norm: str = "Linf",
        seed: int | None = None,
        version: str = "standard",
    ) -> None:
        super().__init__(model, norm, eps, seed, attacks_to_run=attacks or (), version=version, device=device)

    def run_standard_evaluation(  # type: ignore[override]
        self, x_orig: Any, y_orig: Any, /, *, batch_size: int = 250, state_path: Any = None
    ) -> Any:
        """Attack every row that the model gets right; return points and predictions."""
        return super().run_standard_evaluation(x_orig, y_orig, batch_size, True, state_path)

    def run_standard_evaluation_individual(  # type: ignore[override]
        self, x_orig: Any, y_orig: Any, /, *, batch_size: int = 250
    ) -> dict[str, Any]:
        """Attack with each member alone; return points and predictions of each, by name."""
        return super().run_standard_evaluation_individual(x_orig, y_orig, batch_size, True)
