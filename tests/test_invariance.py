"""A row's result depends on the row, its index, the model, the table and the seed, and on nothing else."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import epsball as eb
import oracle
from cases import batch, image_model, labels, pair, sized, use_threads

ROWS, FEATURES, CLASSES = 70, 33, 10

ATTACKS: dict[str, Any] = {
    "fgsm": eb.attacks.FGSM(eps=0.1),
    "fgm-l2": eb.attacks.FGSM(eps=0.5, norm="l2"),
    "rfgsm": eb.attacks.RFGSM(eps=0.1, seed=3),
    "bim": eb.attacks.BIM(eps=0.1, steps=4),
    "ilcm": eb.attacks.ILCM(eps=0.1, steps=4),
    "pgd-linf": eb.attacks.PGD(eps=0.1, steps=4, restarts=2, seed=3),
    "pgd-l2": eb.attacks.PGD(eps=0.5, norm="l2", steps=4, restarts=2, seed=3),
    "pgd-l1": eb.attacks.PGD(eps=1.0, norm="l1", steps=4, restarts=2, seed=3),
    "momentum": eb.attacks.MomentumPGD(eps=0.1, steps=4, random_start=True, early_stop=True, seed=3),
    "nesterov-l2": eb.attacks.MomentumPGD(eps=0.5, norm="l2", steps=4, nesterov=True, early_stop=True),
    "scales": eb.attacks.MomentumPGD(eps=0.05, steps=4, nesterov=True, scales=3, early_stop=True),
    "variance": eb.attacks.MomentumPGD(eps=0.05, steps=4, neighbours=3, early_stop=True, seed=3),
    "jitter": eb.attacks.Jitter(eps=0.05, steps=4, restarts=2, early_stop=True, seed=3),
    "smooth-l2": eb.attacks.SmoothPGD(eps=0.5, steps=4, samples=3, seed=3),
    "sparsefool": eb.attacks.SparseFool(steps=4),
    "adam": eb.attacks.AdamPGD(eps=0.05, steps=4, restarts=2, early_stop=True, seed=3),
    "apgd-linf": eb.attacks.APGD(eps=0.05, steps=9, restarts=2, early_stop=True, seed=3),
    "apgd-l2": eb.attacks.APGD(eps=0.2, norm="l2", steps=9, targets=2, loss="dlr", early_stop=True, seed=3),
    "apgd-l1": eb.attacks.APGD(eps=0.5, norm="l1", steps=12, restarts=2, early_stop=True, seed=3),
    "max-confidence": eb.attacks.MaxConfidence(eps=0.05, steps=2, targets=3),
    "slide": eb.attacks.SLIDE(eps=0.5, steps=4, fraction=0.1, early_stop=True),
    "square": eb.attacks.Square(eps=0.05, queries=20, seed=3),
    "square-l2": eb.attacks.Square(eps=0.2, norm="l2", queries=20, seed=3),
    "square-l1": eb.attacks.Square(eps=0.5, norm="l1", queries=20, early_stop=False, seed=3),
    "random-gaussian": eb.attacks.RandomSearch(eps=0.1, norm="l2", noise="gaussian", draws=5, seed=3),
    "random-salt": eb.attacks.RandomSearch(eps=0.1, noise="salt_and_pepper", draws=5, seed=3),
    "spsa": eb.attacks.SPSA(eps=0.05, steps=4, samples=3, seed=3),
    "nes-l2": eb.attacks.NES(eps=0.2, norm="l2", steps=4, samples=3, seed=3),
    "autoattack": eb.attacks.AutoAttack(eps=0.05, version="rand", seed=3),
    "pgd-early": eb.attacks.PGD(eps=0.05, steps=4, restarts=3, early_stop=True, seed=3),
    "ddn": eb.attacks.DDN(steps=8),
    **{f"fmn-{norm}": eb.attacks.FMN(norm, steps=8) for norm in ("linf", "l2", "l1", "l0")},
    "newton-fool": eb.attacks.NewtonFool(eta=0.05),
    "deepfool": eb.attacks.DeepFool(steps=10),
    "fab": eb.attacks.FAB("l1", steps=3),
    "fab-t": eb.attacks.FAB("linf", steps=3, targets=3),
    "fab-restarts": eb.attacks.FAB("l2", steps=3, restarts=2, seed=3),
    "cw": eb.attacks.CarliniWagner(steps=15, search_steps=3, step_size=0.05),
    "cw-linf": eb.attacks.CarliniWagner(norm="linf", steps=15, search_steps=4, step_size=0.05, initial_constant=0.01),
    "cw-l0": eb.attacks.CarliniWagner(norm="l0", steps=15, search_steps=4, step_size=0.05, initial_constant=0.1),
    "lbfgs": eb.attacks.LBFGS(steps=15, search_steps=4),
    "virtual-adversarial": eb.attacks.VirtualAdversarial(eps=0.5, steps=2, seed=3),
    "addition": eb.attacks.FeatureAddition(k=5),
    "deletion": eb.attacks.FeatureDeletion(k=5),
    "ead": eb.attacks.EAD(steps=15, search_steps=3, step_size=0.05),
    "jsma": eb.attacks.JSMA(),
    "boundary": eb.attacks.Boundary(steps=25, seed=3),
    "pointwise": eb.attacks.Pointwise(seed=3),
    "pointwise-budget": eb.attacks.Pointwise("l2", budget=40, seed=3),
    "hop-skip-jump": eb.attacks.HopSkipJump(steps=2, init_evals=15, seed=3),
    "hop-skip-jump-linf": eb.attacks.HopSkipJump("linf", steps=2, init_evals=15, budget=70, seed=3),
}
FIELDS = ("x_adv", "success", "distance", "queries", "loss", "zero_gradient")


IMAGE_ROWS = 37


def images() -> tuple[Any, np.ndarray, np.ndarray]:
    """A residual network on which some rows fall at once and some never."""
    layers = [
        eb.Normalize(0.5, 0.5), eb.Conv2d(2, 5, 3, padding=1), eb.BatchNorm2d(5), eb.ReLU(), eb.MaxPool2d(2, stride=1),
        eb.GELU(), eb.Conv2d(5, 17, 2, stride=2), eb.Residual([eb.Conv2d(17, 17, 3, padding=1), eb.ReLU()]),
        eb.AvgPool2d(2), eb.Linear(17, CLASSES),
    ]  # fmt: skip
    model, net = image_model(layers, (2, 5, 5))
    x = batch(IMAGE_ROWS, net.features)
    return model, x, np.where(np.arange(IMAGE_ROWS) % 4 == 0, labels(IMAGE_ROWS, CLASSES), net.predict(x))


def problem(activation: str = "relu") -> tuple[Any, np.ndarray, np.ndarray]:
    model, net = pair([FEATURES, 31, 17, CLASSES], activation, scale=2.0)
    x = batch(ROWS, FEATURES)
    y = np.where(np.arange(ROWS) % 4 == 0, labels(ROWS, CLASSES), net.predict(x))
    return model, x, y


def assert_same(one: Any, other: Any, rows: Any = slice(None)) -> None:
    """`other` has, bit for bit, the rows of `one`."""
    for field in FIELDS:
        np.testing.assert_array_equal(np.asarray(getattr(one, field))[rows], getattr(other, field), field)


def test_the_case_is_not_trivial(table: str) -> None:
    model, x, y = problem()
    success = ATTACKS["pgd-early"].run(model, x, y).success
    assert 0 < success.sum() < ROWS


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_a_row_alone_is_the_row_in_its_batch(table: str, attack: Any) -> None:
    model, x, y = problem()
    whole = attack.run(model, x, y)
    for i in (0, 1, 13, 14, 55, 69):
        assert_same(whole, attack.run(model, x[i : i + 1], y[i : i + 1], index=np.array([i])), [i])


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
@pytest.mark.parametrize("size", [2, 7, 33])
def test_shards_are_the_whole(table: str, attack: Any, size: int) -> None:
    model, x, y = problem()
    whole = attack.run(model, x, y)
    for start in range(0, ROWS, size * sized(1, on_emulator=6)):
        rows = np.arange(start, min(start + size, ROWS))
        assert_same(whole, attack.run(model, x[rows], y[rows], index=rows), rows)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_order_does_not_matter(table: str, attack: Any) -> None:
    model, x, y = problem()
    order = np.random.default_rng(0).permutation(ROWS)
    assert_same(attack.run(model, x, y), attack.run(model, x[order], y[order], index=order), order)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_number_of_threads_does_not_matter(table: str, attack: Any) -> None:
    model, x, y = problem()
    use_threads(1)
    one, single = attack.run(model, x, y), attack.run(model, x[:1], y[:1])
    for threads in sized((2, 3, 4), on_emulator=(2,)):
        use_threads(threads)
        assert_same(one, attack.run(model, x, y))
        assert_same(single, attack.run(model, x[:1], y[:1]))


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_size_of_slabs_does_not_matter(table: str, attack: Any) -> None:
    model, x, y = problem()
    automatic = attack.run(model, x, y)
    some = slice(sized(ROWS, on_emulator=8))
    for rows in sized((1, 3, 14, 29, 64, 1000), on_emulator=(1, 3)):
        eb._native.set_slab_rows(rows)
        assert_same(automatic, attack.run(model, x[some], y[some]), some)


@pytest.mark.parametrize("activation", oracle.ACTIVATIONS)
def test_model_calls_do_not_depend_on_the_batch(table: str, activation: str) -> None:
    model, x, y = problem(activation)
    calls = {
        "logits": lambda s: model(x[s]),
        "predict": lambda s: model.predict(x[s]),
        "loss": lambda s: model.loss(x[s], y[s]),
        "gradient": lambda s: model.input_gradient(x[s], y[s]),
        "jacobian": lambda s: model.jacobian(x[s]),
    }
    for name, call in calls.items():
        whole = np.asarray(call(slice(None)))
        for rows in (slice(0, 1), slice(14, 15), slice(5, 38), slice(69, 70)):
            np.testing.assert_array_equal(call(rows), whole[rows], name)


def test_zeros_and_dead_units_may_be_skipped_but_change_no_bit(table: str) -> None:
    """A single image may skip exact zeros; the batch does not. Both must give the same numbers."""
    model, x, y = problem("relu")
    x[:, ::2] = 0.0
    whole = model.input_gradient(x, y)
    for i in range(ROWS):
        np.testing.assert_array_equal(model.input_gradient(x[i : i + 1], y[i : i + 1])[0], whole[i])
        np.testing.assert_array_equal(model(x[i : i + 1])[0], model(x)[i])


def test_memory_order_and_shape_do_not_matter(table: str) -> None:
    model, x, y = problem()
    attack = ATTACKS["pgd-linf"]
    plain = attack.run(model, x, y)
    assert_same(plain, attack.run(model, np.asfortranarray(x), y))
    shaped = attack.run(model, x.reshape(ROWS, 3, 11), y)
    np.testing.assert_array_equal(shaped.x_adv.reshape(x.shape), plain.x_adv)


def test_index_keys_the_random_start(table: str) -> None:
    model, x, y = problem()
    attack = ATTACKS["pgd-linf"]
    shifted = attack.run(model, x, y, index=np.arange(ROWS) + 1000)
    assert (np.asarray(shifted.x_adv) != np.asarray(attack.run(model, x, y).x_adv)).any()


def test_large_indices_are_different_rows(table: str) -> None:
    """Row numbers of big data sets do not wrap at 2^32."""
    model, x, y = problem()
    attack = ATTACKS["rfgsm"]
    small, large = (np.asarray(attack(model, x[:3], y[:3], index=np.arange(3) + shift)) for shift in (0, 2**32))
    assert (small != large).any()


@pytest.mark.parametrize("name", ["pgd-linf", "pgd-l1", "pgd-early", "fgsm"])
def test_concurrent_calls_on_one_model_do_not_disturb_each_other(table: str, name: str) -> None:
    model, x, y = problem()
    attack = ATTACKS[name]
    starts = list(range(0, ROWS, 10))

    def shard(start: int) -> Any:
        rows = np.arange(start, start + 10)
        return attack.run(model, x[rows], y[rows], index=rows)

    serial = [shard(s) for s in starts]
    for threads in (1, 2):
        use_threads(threads)
        with ThreadPoolExecutor(4) as pool:
            for _ in range(5):
                for alone, beside in zip(serial, pool.map(shard, starts), strict=True):
                    assert_same(alone, beside)


def test_concurrent_first_calls_on_a_fresh_model_agree(table: str) -> None:
    """The plan is made at the first call: several threads may make it at once."""
    _, x, y = problem()
    wanted = ATTACKS["bim"].run(problem()[0], x, y)
    for _ in range(5):
        fresh = problem()[0]
        with ThreadPoolExecutor(4) as pool:
            for run in pool.map(lambda _, m=fresh: ATTACKS["bim"].run(m, x, y), range(4)):
                assert_same(wanted, run)


def test_threadpoolctl_sees_and_sets_the_threads() -> None:
    threadpoolctl = pytest.importorskip("threadpoolctl")
    if not eb.info()["openmp"]:
        pytest.skip("built without OpenMP")
    if os.cpu_count() == 1:
        pytest.skip("one core")
    with threadpoolctl.threadpool_limits(1, user_api="openmp"):
        assert eb.info()["threads"] == 1
    with threadpoolctl.threadpool_limits(2, user_api="openmp"):
        assert eb.info()["threads"] == 2


@pytest.mark.parametrize("norm", oracle.NORMS)
def test_tables_agree_to_rounding(norm: str) -> None:
    """Iterates of different tables may part where a sign is undecided: the losses found stay close."""
    results = []
    for name in eb.backends():
        previous = eb._native.use_table(name)
        model, x, y = problem("tanh")
        eps = {"linf": 0.02, "l2": 0.1, "l1": 0.3}[norm]
        attack = eb.attacks.FGSM(eps=eps, norm=norm, loss="margin")
        results.append(np.asarray(model.loss(attack(model, x, y), y, loss="margin"), np.float64))
        eb._native.use_table(previous)
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], rtol=0, atol=1e-4)


# ---- images: a block of rows in the lanes of a vector, or rows one by one


def test_the_case_of_images_is_not_trivial(table: str) -> None:
    """Rows leave at different times, so that few are left in the end."""
    queries = np.asarray(ATTACKS["pgd-early"].run(*images()).queries)
    success = np.asarray(ATTACKS["pgd-early"].run(*images()).success)
    assert 0 < success.sum() < IMAGE_ROWS
    assert len(np.unique(queries)) > 2


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_images_do_not_depend_on_batch_order_threads_and_slabs(table: str, attack: Any) -> None:
    model, x, y = images()
    rows_in_all = sized(IMAGE_ROWS, on_emulator=20)
    x, y = x[:rows_in_all], y[:rows_in_all]
    use_threads(1)
    whole = attack.run(model, x, y)
    for i in sized((0, 1, 7, 8, 35, 36), on_emulator=(0,)):
        assert_same(whole, attack.run(model, x[i : i + 1], y[i : i + 1], index=np.array([i])), [i])
    for size in sized((2, 4, 5, 8, 9, 15, 16, 17), on_emulator=(2, 17)):  # the others are about lanes
        rows = np.arange(3, 3 + size)
        assert_same(whole, attack.run(model, x[rows], y[rows], index=rows), rows)
    order = np.random.default_rng(0).permutation(rows_in_all)
    assert_same(whole, attack.run(model, x[order], y[order], index=order), order)
    for threads in sized((2, 3), on_emulator=(2,)):
        use_threads(threads)
        assert_same(whole, attack.run(model, x, y))
    some = slice(sized(IMAGE_ROWS, on_emulator=4))
    for slab in sized((1, 3, 8, 9, 16, 1000), on_emulator=(1, 3)):
        eb._native.set_slab_rows(slab)
        assert_same(whole, attack.run(model, x[some], y[some]), some)


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_every_row_of_a_batch_is_in_a_slab_whatever_blocks_and_threads_make_of_it(table: str, threads: int) -> None:
    """Whole blocks go round the threads, and the rows that are left after them."""
    model, few, labels_of_few = images()
    rows = 170
    x, y = np.resize(few, (rows, *few.shape[1:])), np.resize(labels_of_few, rows)
    attack = eb.attacks.PGD(eps=0.1, steps=2, bounds=None)
    eb._native.set_threads(1)
    eb._native.set_slab_rows(1)
    wanted = attack(model, x, y)
    eb._native.set_slab_rows(0)
    use_threads(threads)
    for size in (8, 9, 15, 17, 23, 25, 31, 33, 40, 41, 47, 49, 56, 63, 65, 96, 97, 100, 104, 105, 128, 161, 169, 170):
        np.testing.assert_array_equal(attack(model, x[:size], y[:size]), wanted[:size], str(size))


def test_model_calls_on_images_do_not_depend_on_the_batch(table: str) -> None:
    model, x, y = images()
    calls = {
        "logits": lambda s: model(x[s]),
        "predict": lambda s: model.predict(x[s]),
        "loss": lambda s: model.loss(x[s], y[s]),
        "gradient": lambda s: model.input_gradient(x[s], y[s]),
        "jacobian": lambda s: model.jacobian(x[s]),
    }
    for name, call in calls.items():
        whole = np.asarray(call(slice(None)))
        for rows in (slice(0, 1), slice(14, 15), slice(5, 13), slice(5, 22), slice(36, 37)):
            np.testing.assert_array_equal(call(rows), whole[rows], name)


def test_parameter_gradients_on_images_do_not_depend_on_threads_and_slabs(table: str) -> None:
    model, x, y = images()
    use_threads(1)
    one = model.parameter_gradients(x, y)
    for threads, slab in ((2, 0), (3, 5), (1, 1), (2, 16)):
        use_threads(threads)
        eb._native.set_slab_rows(slab)
        for name, gradient in model.parameter_gradients(x, y).items():
            np.testing.assert_array_equal(gradient, one[name], name)


@pytest.mark.parametrize("name", ["pgd-linf", "pgd-early"])
def test_concurrent_calls_on_images_do_not_disturb_each_other(table: str, name: str) -> None:
    model, x, y = images()
    starts = list(range(0, IMAGE_ROWS, 7))

    def shard(start: int) -> Any:
        rows = np.arange(start, min(start + 7, IMAGE_ROWS))
        return ATTACKS[name].run(model, x[rows], y[rows], index=rows)

    serial = [shard(s) for s in starts]
    for threads in (1, 2):
        use_threads(threads)
        with ThreadPoolExecutor(4) as pool:
            for alone, beside in zip(serial, pool.map(shard, starts), strict=True):
                assert_same(alone, beside)
