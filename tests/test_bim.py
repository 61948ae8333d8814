"""BIM (Kurakin et al. 2016): PGD from the input itself."""

from __future__ import annotations

import numpy as np
import pytest

import epsball as eb
from cases import batch, labels, pair
from oracle import NORMS, U


@pytest.mark.parametrize("step_size", [None, 0.03])
@pytest.mark.parametrize("norm", NORMS)
def test_bim_is_pgd_without_a_random_start(table: str, norm: str, step_size: float | None) -> None:
    model, _ = pair([17, 33, 10], "tanh")
    x, y = batch(20, 17), labels(20, 10)
    bim = eb.attacks.BIM(eps=0.1, norm=norm, steps=5, step_size=step_size).run(model, x, y, trace=True)
    pgd = eb.attacks.PGD(eps=0.1, norm=norm, steps=5, step_size=step_size, random_start=False)
    other = pgd.run(model, x, y, trace=True)
    for field in ("x_adv", "success", "distance", "queries", "loss", "trace"):
        np.testing.assert_array_equal(getattr(bim, field), getattr(other, field))


def test_default_step_size_is_two_and_a_half_eps_over_steps(table: str) -> None:
    model, _ = pair([17, 33, 10], "tanh")
    x, y = batch(20, 17), labels(20, 10)
    default = eb.attacks.BIM(eps=0.1, steps=5)(model, x, y)
    np.testing.assert_array_equal(eb.attacks.BIM(eps=0.1, steps=5, step_size=0.05)(model, x, y), default)


def test_one_full_step_is_fgsm(table: str) -> None:
    model, net = pair([17, 33, 10], "tanh", scale=2.0)
    x = batch(40, 17)
    y = net.predict(x)
    fgsm = np.asarray(eb.fgsm(model, x, y, eps=0.1))
    fooled = (np.asarray(model.predict(x)) == y) & (np.asarray(model.predict(fgsm)) != y)
    assert fooled.any()  # for these rows the second iterate is the best point
    bim = np.asarray(eb.attacks.BIM(eps=0.1, steps=1, step_size=0.1)(model, x, y))
    np.testing.assert_allclose(bim[fooled], fgsm[fooled], rtol=0, atol=4 * U)
