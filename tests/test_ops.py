"""eb.ops: the fused sign step and the projection work in place on the caller's own memory."""

from __future__ import annotations

import numpy as np
import pytest

import epsball as eb
import oracle
from cases import SIZES
from oracle import U


def problem(rows: int, features: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x_adv, gradient, x) with some gradient elements exactly zero."""
    rng = np.random.default_rng([rows, features])
    x = rng.random((rows, features)).astype(np.float32)
    x_adv = np.clip(x + rng.uniform(-0.05, 0.05, x.shape), 0, 1).astype(np.float32)
    gradient = rng.normal(size=x.shape).astype(np.float32)
    gradient[rng.random(x.shape) < 0.2] = 0.0
    return x_adv, gradient, x


@pytest.mark.parametrize("features", SIZES)
def test_sign_step_is_step_then_ball_then_box(table: str, features: int) -> None:
    for rows in (1, 5, 17):
        x_adv, gradient, x = problem(rows, features)
        wanted = x_adv + 0.02 * np.sign(gradient).astype(np.float64)
        wanted = np.clip(np.clip(wanted, x.astype(np.float64) - 0.05, x.astype(np.float64) + 0.05), 0, 1)
        eb.ops.sign_step_(x_adv, gradient, x, step_size=0.02, eps=0.05, bounds=(0, 1))
        np.testing.assert_allclose(x_adv, wanted, rtol=0, atol=4 * U)  # three roundings near 1
        assert (oracle.distance(x_adv, x, "linf") <= 0.05).all()
        assert ((x_adv >= 0) & (x_adv <= 1)).all()


@pytest.mark.parametrize("eps", [0.0, 1e-6, 8 / 255, 0.031, 0.1, 0.3, 1.0])
def test_sign_step_keeps_the_bound_exactly(table: str, eps: float) -> None:
    _, gradient, x = problem(64, 97)
    x_adv = x.copy()
    for _ in range(3):
        eb.ops.sign_step_(x_adv, gradient, x, step_size=eps / 2, eps=eps, bounds=None)
    assert (oracle.distance(x_adv, x, "linf") <= eps).all()
    if eps >= 0.01:
        moved = gradient != 0
        reached = np.abs(x_adv.astype(np.float64) - x)[moved]
        assert reached.min() >= eps - 4 * U * (1 + eps)  # an ulp short at most, not a step short


def test_sign_of_zero_is_zero(table: str) -> None:
    x_adv, _, x = problem(4, 33)
    before = x_adv.copy()
    eb.ops.sign_step_(x_adv, np.zeros_like(x), x, step_size=0.01, eps=0.3, bounds=(0, 1))
    np.testing.assert_array_equal(x_adv, before)
    eb.ops.sign_step_(x_adv, np.full_like(x, -0.0), x, step_size=0.01, eps=0.3, bounds=(0, 1))
    np.testing.assert_array_equal(x_adv, before)


def test_tiny_gradients_still_have_a_sign(table: str) -> None:
    x = np.full((1, 8), 0.5, np.float32)
    x_adv = x.copy()
    gradient = np.full_like(x, 1e-37)
    eb.ops.sign_step_(x_adv, gradient, x, step_size=0.125, eps=0.3, bounds=(0, 1))
    np.testing.assert_array_equal(x_adv, np.full_like(x, 0.625))


def test_gradient_and_clean_inputs_stay_as_they_are(table: str) -> None:
    x_adv, gradient, x = problem(5, 17)
    copies = gradient.copy(), x.copy()
    eb.ops.sign_step_(x_adv, gradient, x, step_size=0.1, eps=0.3, bounds=(0, 1))
    eb.ops.project_(x_adv, x, eps=0.1, norm="l2", bounds=(0, 1))
    np.testing.assert_array_equal(gradient, copies[0])
    np.testing.assert_array_equal(x, copies[1])


def test_a_view_of_rows_is_changed_in_place(table: str) -> None:
    x_adv, gradient, x = problem(9, 17)
    whole = x_adv.copy()
    eb.ops.sign_step_(whole[3:6], gradient[3:6], x[3:6], step_size=0.1, eps=0.3, bounds=(0, 1))
    assert (whole[3:6] != x_adv[3:6]).any()
    np.testing.assert_array_equal(whole[:3], x_adv[:3])
    np.testing.assert_array_equal(whole[6:], x_adv[6:])


def test_torch_tensor_steps_in_place_without_a_copy(table: str) -> None:
    torch = pytest.importorskip("torch")
    x_adv, gradient, x = problem(5, 17)
    tensor = torch.from_numpy(x_adv.copy())
    address = tensor.data_ptr()
    eb.ops.sign_step_(
        tensor,
        torch.from_numpy(gradient),
        torch.from_numpy(x),
        step_size=0.02,
        eps=0.05,
        bounds=(0, 1),
    )
    eb.ops.sign_step_(x_adv, gradient, x, step_size=0.02, eps=0.05, bounds=(0, 1))
    assert tensor.data_ptr() == address
    np.testing.assert_array_equal(tensor.numpy(), x_adv)


def test_own_loop_built_from_ops_is_the_engine_s_bim(table: str) -> None:
    from cases import batch, labels, pair

    model, _ = pair([17, 33, 10], "tanh")
    x, y = batch(12, 17), labels(12, 10)
    x_adv = x.copy()
    for _ in range(5):
        gradient = model.input_gradient(x_adv, y)
        eb.ops.sign_step_(x_adv, gradient, x, step_size=0.02, eps=0.05, bounds=(0, 1))
    run = eb.attacks.BIM(eps=0.05, steps=5, step_size=0.02).run(model, x, y, trace=True)
    last_is_best = np.asarray(run.trace).argmax(axis=1) == 5
    last_is_best &= np.asarray(model.predict(x_adv)) != y
    assert last_is_best.any()
    np.testing.assert_array_equal(run.x_adv[last_is_best], x_adv[last_is_best])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["x_adv", "grad", "x"])
def test_values_that_are_not_finite_are_refused(name: str, bad: float) -> None:
    x_adv, gradient, x = problem(5, 17)
    arrays = {"x_adv": x_adv, "grad": gradient, "x": x}
    arrays[name][3, 7] = bad
    before = x_adv.copy()
    with pytest.raises(ValueError, match=rf"^{name}:"):
        eb.ops.sign_step_(**arrays, step_size=0.1, eps=0.3, bounds=None)
    if name != "grad":
        with pytest.raises(ValueError, match=rf"^{name}:"):
            eb.ops.project_(x_adv, x, eps=0.3, norm="l2", bounds=None)
    np.testing.assert_array_equal(x_adv, before)


def test_clean_inputs_outside_the_box_are_refused() -> None:
    x_adv, gradient, x = problem(5, 17)
    x[2, 3] = 2.5
    with pytest.raises(ValueError, match=r"^x: .*bounds"):
        eb.ops.sign_step_(x_adv, gradient, x, step_size=0.1, eps=0.1, bounds=(0, 1))
    with pytest.raises(ValueError, match=r"^x: .*bounds"):
        eb.ops.project_(x_adv, x, eps=0.1, bounds=(0, 1))


@pytest.mark.parametrize("bad", ["0.1", ["0.1"] * 5, True, [True] * 5, None])
def test_radii_and_steps_that_are_no_numbers_are_refused(bad: object) -> None:
    x_adv, gradient, x = problem(5, 17)
    with pytest.raises(TypeError, match=r"^eps: "):
        eb.ops.project_(x_adv, x, eps=bad)
    with pytest.raises(TypeError, match=r"^step_size: "):
        eb.ops.sign_step_(x_adv, gradient, x, step_size=bad, eps=0.1)


def test_swapped_bytes_are_refused_where_the_memory_is_used_and_read_elsewhere() -> None:
    x_adv, gradient, x = problem(5, 17)
    swapped = x.dtype.newbyteorder()
    with pytest.raises(TypeError, match=r"^x_adv: .*native byte order"):
        eb.ops.project_(x_adv.astype(swapped), x, eps=0.1)
    with pytest.raises(TypeError, match=r"^x: .*native byte order"):
        eb.ops.sign_step_(x_adv, gradient, x.astype(swapped), step_size=0.1, eps=0.1)
    model = eb.models.mlp([17, 4, 3])
    with pytest.raises(TypeError, match=r"^x: .*native byte order"):
        eb.fgsm(model, x.astype(swapped), np.zeros(5, int), eps=0.1)
    wanted, y = model(x), np.full((5, 3), 1 / 3, np.float32)
    np.testing.assert_array_equal(model.loss(x, y.astype(swapped)), model.loss(x, y))
    model.load_parameters({name: p.astype(swapped) for name, p in model.parameters().items()})
    np.testing.assert_array_equal(model(x), wanted)


def test_autograd_learns_that_a_tensor_was_written() -> None:
    torch = pytest.importorskip("torch")
    x_adv, gradient, x = (torch.from_numpy(a) for a in problem(5, 17))
    weight = torch.ones(17, requires_grad=True)
    for write in (
        lambda: eb.ops.sign_step_(x_adv, gradient, x, step_size=0.1, eps=0.3, bounds=None),
        lambda: eb.ops.project_(x_adv, x, eps=0.3, bounds=None),
    ):
        loss = (x_adv * weight).sum()  # its backward pass needs x_adv as it is
        write()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()
