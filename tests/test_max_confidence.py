"""MaxConfidence: of all wrong classes the most confident one."""

from __future__ import annotations

import numpy as np

import epsball as eb
from cases import batch, pair, sized


def test_it_keeps_the_most_confident_of_the_targeted_runs(table: str) -> None:
    model, net = pair([9, 16, 4], "tanh", scale=3.0)
    x = batch(60, 9)
    y = net.predict(x)
    options = {"eps": 0.5, "steps": 8, "random_start": False}
    found = eb.attacks.MaxConfidence(**options).run(model, x, y)
    confidence = np.zeros(60)
    for target in range(4):
        run = eb.attacks.PGD(**options, targeted=True).run(model, x, np.full(60, target))
        # The most confident iterate is that of the lowest loss where the run succeeds.
        at = np.exp(-run.loss.astype(np.float64))
        counts = run.success & (y != target)
        confidence[counts] = np.maximum(confidence, at)[counts]
    assert 0.1 < found.success.mean() < 1.0
    np.testing.assert_array_equal(found.success, confidence > 0)
    ours = np.asarray(model.probabilities(found.x_adv), np.float64).max(axis=1)
    np.testing.assert_allclose(ours[found.success], confidence[found.success], rtol=1e-4)


def test_it_is_more_confident_than_pgd(table: str) -> None:
    model, net = pair([33, 32, 10], "relu", scale=3.0)
    x = batch(sized(100, on_emulator=20), 33)
    y = net.predict(x)
    ours = eb.attacks.MaxConfidence(eps=0.1, steps=20).run(model, x, y)
    pgd = eb.attacks.PGD(eps=0.1, steps=20).run(model, x, y)
    both = ours.success & pgd.success
    assert both.mean() > 0.2
    confident = [np.asarray(model.probabilities(r.x_adv)).max(axis=1)[both].mean() for r in (ours, pgd)]
    assert confident[0] > confident[1]


def test_one_logit_and_fewer_targets(table: str) -> None:
    model, net = pair([9, 16, 1], "tanh", scale=3.0)
    x = batch(40, 9)
    run = eb.attacks.MaxConfidence(eps=0.6, steps=10).run(model, x, net.predict(x))
    assert run.success.any()
    assert (run.queries == 1 + 11).all()
    model, net = pair([9, 16, 4], "tanh", scale=3.0)
    run = eb.attacks.MaxConfidence(eps=0.6, steps=10, targets=2).run(model, x, net.predict(x))
    assert (run.queries == 1 + 2 * 11).all()
