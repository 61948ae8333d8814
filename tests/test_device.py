"""Models on a CUDA device, here the emulated one: where calls compute, what is refused, and what is left behind."""

from __future__ import annotations

import copy
import gc
import math
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest

import epsball as eb
from cases import batch, labels
from device_arrays import DeviceArray, DLPackArray
from epsball import device

X, Y = batch(13, 36), labels(13, 3)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The emulator's module, which `to("cuda")` finds."""
    module = pytest.importorskip("_cuda_emulated", reason="needs -DEPSBALL_CUDA_EMULATED=ON and its folder on the path")
    monkeypatch.setenv("EPSBALL_CUDA_MODULE", "_cuda_emulated")
    device._cuda_table.cache_clear()
    yield module
    module.limit_memory(0)
    device._cuda_table.cache_clear()


def mlp() -> eb.Sequential:
    return eb.models.mlp([36, 17, 3], seed=1)


def cnn() -> eb.Sequential:
    # a bias below a batch normalisation has no gradient but rounding, of which Adam makes steps
    layers = [eb.Conv2d(1, 4, 3, padding=1, bias=False), eb.BatchNorm2d(4), eb.ReLU(), eb.MaxPool2d(2), eb.Flatten()]
    return eb.Sequential([*layers, eb.Linear(36, 3)], input_shape=(1, 6, 6), seed=1)


def test_a_model_moves_there_and_back(cuda) -> None:
    model = mlp()
    here = model(X)
    used = cuda.memory()
    assert model.to("cuda") is model
    assert model.device == "cuda"
    np.testing.assert_allclose(model(X), here, rtol=1e-5, atol=1e-6)
    assert cuda.memory() > used, "it computed on the host"
    assert model.to("cpu").device == "cpu"
    np.testing.assert_array_equal(model(X), here)


def test_copies_and_pickles_stay_on_the_device(cuda) -> None:
    model = mlp().to("cuda")
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other.device == "cuda"
        np.testing.assert_array_equal(other(X), model(X))


def test_loaded_parameters_are_the_ones_computed_with(cuda) -> None:
    model, other = mlp().to("cuda"), eb.models.mlp([36, 17, 3], seed=2).to("cuda")
    assert not np.array_equal(model(X), other(X))
    model.load_parameters(other.parameters())
    np.testing.assert_array_equal(model(X), other(X))


@pytest.mark.parametrize("make", [mlp, cnn])
@pytest.mark.parametrize("method", [eb.training.Standard(), eb.training.PGDTraining(eps=0.1, steps=2)])
def test_what_is_trained_there_is_what_the_model_holds(cuda, make, method) -> None:
    there, here = make().to("cuda"), make()
    start = there.parameters()
    for model in (there, here):
        eb.fit(model, X.reshape(-1, *model.input_shape), Y, method=method, epochs=2, batch_size=5)
    trained, wanted = there.parameters(), here.parameters()
    for name, value in trained.items():
        assert not np.array_equal(value, start[name]), f"{name} was not trained"
        np.testing.assert_allclose(value, wanted[name], rtol=1e-3, atol=1e-4)
    logits = there(X)
    np.testing.assert_allclose(there.to("cpu")(X), logits, rtol=1e-4, atol=1e-5)


def test_random_starts_have_the_bits_of_the_cpu(cuda) -> None:
    model = mlp()
    attack = eb.attacks.PGD(eps=0.1, steps=0, seed=5)
    here = attack(model, X, Y)
    np.testing.assert_array_equal(attack(model.to("cuda"), X, Y), here)


def test_calls_from_several_threads_agree(cuda) -> None:
    model = mlp().to("cuda")
    wanted = eb.pgd(model, X, Y, eps=0.1, steps=3)
    found: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: found.append(eb.pgd(model, X, Y, eps=0.1, steps=3))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    for x_adv in found:
        np.testing.assert_array_equal(x_adv, wanted)


def test_a_thread_may_have_another_current_device(cuda) -> None:
    wanted = eb.pgd(mlp().to("cuda"), X, Y, eps=0.1, steps=5)
    failures: list[str] = []

    def work() -> None:
        cuda.set_current_device(1)
        try:
            model = mlp().to("cuda")
            x, y = DeviceArray(X), DeviceArray(Y)
            for found in (eb.pgd(model, X, Y, eps=0.1, steps=5), eb.pgd(model, x, y, eps=0.1, steps=5).numpy()):
                np.testing.assert_array_equal(found, wanted)
            eb.fit(model, X, Y, epochs=1, batch_size=5)
            assert cuda.current_device() == 1, "it is no longer the thread's"
        except Exception as error:  # of another thread
            failures.append(repr(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failures == []
    assert cuda.current_device() == 0


# ---- memory


def test_a_model_that_goes_leaves_no_device_memory_behind(cuda) -> None:
    gc.collect()
    before = cuda.memory()
    model = cnn().to("cuda")
    eb.pgd(model, X.reshape(-1, 1, 6, 6), Y, eps=0.1, steps=2)
    eb.fit(model, X.reshape(-1, 1, 6, 6), Y, epochs=1, batch_size=5)
    assert cuda.memory() > before
    del model
    gc.collect()
    assert cuda.memory() == before


def test_a_smaller_slab_is_tried_before_memory_is_said_to_be_full(cuda) -> None:
    x, y = batch(200, 36), labels(200, 3)
    model = eb.models.mlp([36, 400, 3]).to("cuda")
    model(x[:1])
    start = cuda.memory()
    wanted = model(x)
    needed = cuda.memory() - start
    del model
    gc.collect()
    model = eb.models.mlp([36, 400, 3]).to("cuda")
    model(x[:1])
    cuda.limit_memory(cuda.memory() + needed // 2)
    np.testing.assert_array_equal(model(x), wanted)
    cuda.limit_memory(cuda.memory() + 1)
    with pytest.raises(MemoryError, match=r"^device: its memory is full$"):
        eb.pgd(model, batch(900, 36), labels(900, 3), eps=0.1, steps=2)
    cuda.limit_memory(0)
    np.testing.assert_array_equal(model(x), wanted)
    assert np.isfinite(eb.pgd(model, x, y, eps=0.1, steps=2)).all()


@pytest.mark.parametrize("kind", [DeviceArray, DLPackArray])
def test_the_memory_of_a_call_is_the_callers_librarys(cuda, kind) -> None:
    values = batch(900, 36)
    given_out = DeviceArray.given_out

    def use(model: eb.Sequential, x: DeviceArray | DLPackArray, y: DeviceArray | DLPackArray) -> None:
        before = cuda.memory()
        for call in (lambda: model(x), lambda: eb.pgd(model, x, y, eps=0.1, steps=2), lambda: model.jacobian(x)):
            call()
            gc.collect()
            lent = DeviceArray.given_out - given_out
            assert lent > values.nbytes, "it was allocated elsewhere"
            assert cuda.memory() - before - lent < 1000, "more than streams' counters of rows is not the library's"

    model = mlp().to("cuda")
    model(values[:1])  # the weights, and what small calls on arrays of the host take
    use(model, kind(values), kind(labels(900, 3)))
    del model
    gc.collect()
    assert DeviceArray.given_out == given_out


def test_a_library_that_is_full_is_asked_for_a_smaller_slab_first(cuda) -> None:
    values = batch(900, 36)
    x, y = DeviceArray(values), DeviceArray(labels(900, 3))
    start = DeviceArray.given_out
    wanted = mlp().to("cuda")(x).numpy()

    def use(model: eb.Sequential) -> None:
        model(DeviceArray(values[:1]))
        DeviceArray.room = DeviceArray.given_out + 300_000
        np.testing.assert_array_equal(model(x).numpy(), wanted)
        DeviceArray.room = DeviceArray.given_out + 1
        for call in (lambda: model(x), lambda: eb.pgd(model, x, y, eps=0.1, steps=2)):
            with pytest.raises(MemoryError, match=r"^device: its memory is full$"):
                call()
        DeviceArray.room = math.inf
        np.testing.assert_array_equal(model(x).numpy(), wanted)

    try:
        use(mlp().to("cuda"))
    finally:
        DeviceArray.room = math.inf
    gc.collect()
    assert DeviceArray.given_out <= start


# ---- what is refused


def test_an_unknown_device_is_named() -> None:
    with pytest.raises(ValueError, match=r"^device: wanted 'cpu' or 'cuda', got 'tpu'$"):
        mlp().to("tpu")


@pytest.mark.parametrize(
    ("emulated", "why"),
    [
        ("none", "no CUDA device is visible"),
        ("old driver", "the NVIDIA driver is older than the CUDA toolkit of this build"),
        ("no driver", "no NVIDIA driver is installed"),
        ("750", "the GPU has compute capability 7.5, this build is for 8.0, 9.0, and newer ones"),
    ],
)
def test_a_machine_without_a_device_says_so(cuda, monkeypatch, emulated, why) -> None:
    monkeypatch.setenv("EPSBALL_EMULATE_DEVICE", emulated)
    model = mlp()
    with pytest.raises(RuntimeError, match=rf"^device: 'cuda' cannot be used: {why}$"):
        model.to("cuda")
    assert model.device == "cpu"
    assert eb.info()["cuda"] == why


@pytest.mark.parametrize("architecture", [800, 860, 890, 900, 1000, 1210])
def test_gpus_from_ampere_on_are_what_the_kernels_are_for(cuda, monkeypatch, architecture) -> None:
    monkeypatch.setenv("EPSBALL_EMULATE_DEVICE", str(architecture))
    assert mlp().to("cuda").device == "cuda"


def test_a_build_without_cuda_says_so(monkeypatch) -> None:
    monkeypatch.setenv("EPSBALL_CUDA_MODULE", "epsball._no_such_module")
    device._cuda_table.cache_clear()
    with pytest.raises(
        RuntimeError, match=r"^device: 'cuda' cannot be used: this epsball was built without it, .*nvcc"
    ):
        mlp().to("cuda")


# ---- what the host may not touch

TOUCHES_NOTHING = """
import numpy as np
import _cuda_emulated
import epsball as eb
from device_arrays import DeviceArray

x = np.random.default_rng(0).random((7, 1, 6, 6), dtype=np.float32)
y = np.arange(7) % 3
layers = [eb.Normalize([0.5], [2.0]), eb.Conv2d(1, 4, 3, padding=1), eb.BatchNorm2d(4), eb.ReLU(), eb.MaxPool2d(2),
          eb.Conv2d(4, 5, 2), eb.GELU(), eb.Flatten(), eb.Dropout(0.2), eb.Linear(20, 3)]
model = eb.Sequential(layers, input_shape=(1, 6, 6)).to("cuda")
distances = eb.models.rbf(36, 3).to("cuda")
for m in (model, distances):
    m.predict(x), m.loss(x, y), m.input_gradient(x, y), m.jacobian(x), m.parameter_gradients(x, y)
    for norm in ("linf", "l2", "l1"):
        for dtype in (np.float32, np.float64, np.float16):
            attack = eb.attacks.PGD(eps=0.1, steps=2, restarts=2, norm=norm, early_stop=norm == "l2")
            attack.run(m, x.astype(dtype), y, trace=True)
eb.fit(model, x, y, method=eb.training.PGDTraining(eps=0.1, steps=1), epochs=1, batch_size=4)
linear = eb.models.linear(36, 3).to("cuda")
eb.attacks.LinearExact(eps=0.1, norm="l2").run(linear, x, y)
there, its = DeviceArray(x), DeviceArray(y)
for m in (model, distances):
    m.predict(there), m.loss(there, its), m.input_gradient(there, its), m.jacobian(there)
    eb.attacks.PGD(eps=0.1, steps=2).run(m, there, its, trace=True), eb.attacks.DDN(steps=2).run(m, there)
    eb.attacks.ILCM(eps=0.1, steps=2).run(m, there, its)
    eb.attacks.PGD(eps=0.1, steps=2).sweep(m, there, eps=[0.1, 0.2])
eb.ops.sign_step_(there, there, there, step_size=0.1, eps=0.1), eb.ops.project_(there, there, eps=0.1)
eb._native.use_table("cuda-emulated")
eb.ops.project_(x.copy(), x, eps=0.1, norm="l2")
print("untouched", _cuda_emulated.memory() > 0)
"""


@pytest.mark.slow
def test_the_host_touches_no_device_memory(cuda) -> None:
    environment = os.environ | {"EPSBALL_EMULATE_PROTECT": "1", "EPSBALL_CUDA_MODULE": "_cuda_emulated"}
    environment["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
    run = subprocess.run([sys.executable, "-c", TOUCHES_NOTHING], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout == "untouched True\n"


# ---- arrays on the device


def test_device_arrays_come_back_as_device_arrays(cuda) -> None:
    model = mlp().to("cuda")
    x, y = DeviceArray(X), DeviceArray(Y)
    attack = eb.attacks.PGD(eps=0.1, steps=3)
    calls = [
        (model(x), model(X)),
        (model.predict(x), model.predict(X)),
        (model.probabilities(x), model.probabilities(X)),
        (model.loss(x, y), model.loss(X, Y)),
        (model.input_gradient(x, y), model.input_gradient(X, Y)),
        (model.jacobian(x), model.jacobian(X)),
        (attack(model, x, y), attack(model, X, Y)),
        (attack.run(model, x).x_adv, attack.run(model, X).x_adv),
    ]
    for found, wanted in calls:
        assert isinstance(found, DeviceArray)
        np.testing.assert_array_equal(found.numpy(), wanted)
    np.testing.assert_array_equal(x.numpy(), X)


def test_values_stay_on_the_device(cuda) -> None:
    model = eb.models.mlp([700, 5, 3]).to("cuda")
    values = batch(40, 700)
    x, y = DeviceArray(values), DeviceArray(labels(40, 3))
    doubles, halves = DeviceArray(values.astype(np.float64)), DeviceArray(values.astype(np.float16))
    calls = [
        lambda: model(x),
        lambda: model.predict(x),
        lambda: model.loss(x, y),
        lambda: model.input_gradient(x, y),
        lambda: model.input_gradient(doubles, y),
        lambda: model.input_gradient(halves, y),
        lambda: model.jacobian(doubles),
        lambda: model.probabilities(x),
        lambda: eb.pgd(model, x, y, eps=0.1, steps=2),
        lambda: eb.pgd(model, x, eps=0.1, steps=2, norm="l2", bounds=None),
        lambda: eb.attacks.DDN(steps=2).run(model, x, y),
        lambda: eb.attacks.ILCM(eps=0.1, steps=2)(model, x, y),
        lambda: eb.ops.sign_step_(x, x, x, step_size=0.1, eps=0.0),
        lambda: eb.ops.project_(x, x, eps=0.1, norm="l1"),
    ]
    for call in calls:
        call()
        before, made = cuda.traffic(), DeviceArray.made
        result = call()
        moved = [after - b for after, b in zip(cuda.traffic(), before, strict=True)]
        traffic = f"{moved} bytes to the device and to the host"
        assert moved[0] < values.nbytes / 2, traffic  # the box
        assert moved[1] < values.nbytes / 50, traffic
        in_place = result is x
        assert in_place or DeviceArray.made > made, "the result is not the caller's library's"


@pytest.mark.filterwarnings("ignore:3 classes are too few")
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_device_arrays_of_every_dtype_give_what_arrays_of_the_host_give(cuda, dtype) -> None:
    model = mlp().to("cuda")
    values = X.astype(dtype)
    for attack in (
        eb.attacks.PGD(eps=0.1, steps=2, early_stop=True, restarts=2),
        eb.attacks.APGD(eps=0.5, norm="l2", steps=3),
        eb.attacks.DeepFool(steps=3),
        eb.attacks.ILCM(eps=0.1, steps=2),
        eb.attacks.LinearExact(eps=0.1),
        eb.attacks.AutoAttack(eps=0.1),
    ):
        its = eb.models.linear(36, 3).to("cuda") if isinstance(attack, eb.attacks.LinearExact) else model
        # AutoAttack has nothing to do where all rows are misclassified
        y = (model.predict(X) + 1) % 3 if isinstance(attack, eb.attacks.AutoAttack) else Y
        found, wanted = attack.run(its, DeviceArray(values), DeviceArray(y)), attack.run(its, values, y)
        assert isinstance(found.x_adv, DeviceArray)
        assert found.x_adv.numpy().dtype == dtype
        np.testing.assert_array_equal(found.x_adv.numpy(), wanted.x_adv)
        np.testing.assert_array_equal(found.success, wanted.success)
        np.testing.assert_array_equal(found.queries, wanted.queries)
    for found, wanted in (
        (model.input_gradient(DeviceArray(values), DeviceArray(Y)), model.input_gradient(values, Y)),
        (model.jacobian(DeviceArray(values)), model.jacobian(values)),
    ):
        np.testing.assert_array_equal(found.numpy(), wanted)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.int16, np.int8, np.uint64, np.uint32, np.uint16, np.uint8])
def test_labels_on_the_device_may_be_any_integers(cuda, dtype) -> None:
    model = mlp().to("cuda")
    wanted = model.loss(X, Y)
    np.testing.assert_array_equal(model.loss(DeviceArray(X), DeviceArray(Y.astype(dtype))).numpy(), wanted)
    np.testing.assert_array_equal(model.loss(X, DeviceArray(Y.astype(dtype))), wanted)
    np.testing.assert_array_equal(model.loss(DeviceArray(X), Y.astype(dtype)).numpy(), wanted)
    with pytest.raises(ValueError, match=r"^y: wanted class indices from 0 to 2, got \d+ in row 4$"):
        model.loss(DeviceArray(X), DeviceArray(np.where(np.arange(13) == 4, np.iinfo(dtype).max, 1).astype(dtype)))


def test_probabilities_on_the_device_are_targets(cuda) -> None:
    model = mlp().to("cuda")
    p = model.probabilities(X)
    found = eb.pgd(model, DeviceArray(X), DeviceArray(p), eps=0.1, steps=2)
    np.testing.assert_array_equal(found.numpy(), eb.pgd(model, X, p, eps=0.1, steps=2))


def test_ops_work_on_device_arrays_in_place(cuda) -> None:
    gradient = (X - 0.5) * (X > 0.2)
    moved = np.clip(X + 0.3, 0, 1)
    before = eb._native.use_table("cuda-emulated")
    try:
        stepped = eb.ops.sign_step_(moved.copy(), gradient, X, step_size=0.02, eps=0.1)
        projected = {norm: eb.ops.project_(moved.copy(), X, eps=0.1, norm=norm) for norm in ("linf", "l2", "l1")}
    finally:
        eb._native.use_table(before)
    x_adv, x = DeviceArray(moved), DeviceArray(X)
    assert eb.ops.sign_step_(x_adv, DeviceArray(gradient), x, step_size=0.02, eps=0.1) is x_adv
    np.testing.assert_array_equal(x_adv.numpy(), stepped)
    for norm, wanted in projected.items():
        x_adv = DeviceArray(moved)
        assert eb.ops.project_(x_adv, x, eps=0.1, norm=norm) is x_adv
        np.testing.assert_array_equal(x_adv.numpy(), wanted)
    np.testing.assert_array_equal(x.numpy(), X)


def test_derivatives_that_float16_cannot_hold_are_named(cuda) -> None:
    model = eb.models.linear(36, 3, seed=1).to("cuda")
    weights = model.parameters()
    weights["0.weight"][0, 4] = 1e6
    model.load_parameters(weights)
    x = DeviceArray(X.astype(np.float16))
    with pytest.raises(ValueError, match=r"^x: float16 cannot hold the derivatives of row 0, which reach 1e\+06 "):
        model.jacobian(x)
    gradient = model.jacobian(DeviceArray(X.astype(np.float64)))
    assert gradient.numpy().max() == 1e6


def test_probabilities_of_every_kind_of_model_are_those_of_the_cpu(cuda) -> None:
    for model in (mlp(), eb.models.linear(36, 1, seed=1), eb.models.rbf(36, 3, seed=1)):
        here = model.probabilities(X)
        np.testing.assert_allclose(model.to("cuda").probabilities(DeviceArray(X)).numpy(), here, rtol=3e-5, atol=1e-7)


# ---- arrays that only DLPack describes


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_arrays_that_only_dlpack_describes_come_back_as_themselves(cuda, dtype) -> None:
    model, values = mlp().to("cuda"), X.astype(dtype)
    x, y = DLPackArray(values, offset=64), DLPackArray(Y)
    calls = [
        (model(x), model(values)),
        (model.predict(x), model.predict(values)),
        (model.input_gradient(x, y), model.input_gradient(values, Y)),
        (eb.pgd(model, x, y, eps=0.1, steps=2), eb.pgd(model, values, Y, eps=0.1, steps=2)),
    ]
    for found, wanted in calls:
        assert isinstance(found, DLPackArray)
        np.testing.assert_array_equal(found.numpy(), wanted)
    assert set(DLPackArray.asked) == {1}, "the default stream is the one that work is given to"
    before = cuda.traffic()[0]
    model(DLPackArray(batch(400, 36)))
    assert cuda.traffic()[0] - before == 400 * 36 * 4, "x, as it is made"


def test_ops_change_what_dlpack_describes_in_place(cuda) -> None:
    x_adv, x = DLPackArray(np.clip(X + 0.3, 0, 1)), DLPackArray(X)
    assert eb.ops.project_(x_adv, x, eps=0.1) is x_adv
    assert 0.09 < np.abs(x_adv.numpy().astype(np.float64) - X).max() <= 0.1


def test_what_dlpack_describes_may_have_axes_of_one(cuda) -> None:
    model = mlp().to("cuda")
    found = model(DLPackArray(X.reshape(13, 1, 36), strides=(36, 1, 1)))
    np.testing.assert_array_equal(found.numpy(), model(X))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"strides": (1, 13)},
            r"^x: wanted a C-contiguous array on the CUDA device, got strides \(1, 13\) in elements$",
        ),
        ({"offset": 2}, "^x: wanted an aligned array on the CUDA device, got one at address "),
        ({"bits": 4}, "^x: wanted a dtype that NumPy has, got another on the CUDA device$"),
    ],
)
def test_what_dlpack_describes_and_does_not_fit_is_refused(cuda, options, message) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        mlp().to("cuda")(DLPackArray(X, **options))


# ---- what the device is given


def launches(cuda, model: eb.Sequential, attack: eb.attacks.Attack, x: DeviceArray, y: DeviceArray) -> int:
    """Return how many calls the arrays' stream is given by an attack."""
    attack(model, x, y)
    before = cuda.calls(x.__cuda_array_interface__["stream"])
    attack(model, x, y)
    return int(cuda.calls(x.__cuda_array_interface__["stream"]) - before)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (cnn, {}),
        (cnn, {"early_stop": True}),
        (cnn, {"loss": "dlr", "restarts": 2}),
        (mlp, {"norm": "l2"}),
        (mlp, {"norm": "l1", "early_stop": True}),
    ],
)
def test_a_further_step_of_pgd_is_one_launch(cuda, make, options) -> None:
    model, stream = make().to("cuda"), cuda.create_stream()
    x, y = DeviceArray(X, stream=stream), DeviceArray(Y, stream=stream)
    calls = [launches(cuda, model, eb.attacks.PGD(eps=0.1, steps=n, **options), x, y) for n in (5, 12)]
    assert calls[1] - calls[0] == 7 * options.get("restarts", 1)
    assert calls[0] > 5
    cuda.destroy_stream(stream)


@pytest.mark.parametrize("options", [{}, {"early_stop": True}, {"loss": "dlr"}, {"loss": "margin", "targeted": True}])
def test_pgd_on_a_small_dense_model_is_one_launch(cuda, options) -> None:
    model, stream = mlp().to("cuda"), cuda.create_stream()
    x, y = DeviceArray(X, stream=stream), DeviceArray(Y, stream=stream)
    calls = [
        launches(cuda, model, eb.attacks.PGD(eps=0.1, steps=n, restarts=r, **options), x, y)
        for n, r in ((5, 1), (40, 1), (5, 2))
    ]
    assert calls[1] == calls[0], "steps are launches"
    assert calls[2] - calls[0] <= 4, "a start, all steps, and two where solved rows leave"
    cuda.destroy_stream(stream)


def test_a_run_in_one_launch_has_the_bits_of_its_steps(cuda) -> None:
    model = eb.models.mlp([7, 17, 3], seed=1).to("cuda")
    x, y = batch(520, 7), labels(520, 3)  # more rows than one launch takes
    attack = eb.attacks.PGD(eps=0.3, steps=4, restarts=2, early_stop=True)
    steps = attack.run(model, x, y)
    for rows in (slice(0, 260), slice(260, 520)):
        index = np.arange(520)[rows]
        whole = eb.attacks.PGD(eps=0.3, steps=4, restarts=2, early_stop=True).run(model, x[rows], y[rows], index=index)
        for name in ("x_adv", "success", "queries", "distance"):
            np.testing.assert_array_equal(getattr(whole, name), getattr(steps, name)[rows])


@pytest.mark.parametrize(
    "attack",
    [
        lambda n: eb.attacks.PGD(eps=0.1, steps=n, early_stop=True, restarts=2),
        lambda n: eb.attacks.APGD(eps=0.1, steps=3 * n),
        lambda n: eb.attacks.MomentumPGD(eps=0.1, steps=n),
        lambda n: eb.attacks.DDN(steps=n),
        lambda n: eb.attacks.FMN(steps=n),
        lambda n: eb.attacks.FAB(steps=n),
        lambda n: eb.attacks.DeepFool(steps=n),
        lambda n: eb.attacks.Square(eps=0.1, queries=n),
        lambda n: eb.attacks.SPSA(eps=0.1, steps=n, samples=4),
        lambda n: eb.attacks.CarliniWagner(steps=n, search_steps=2),
        lambda n: eb.attacks.LBFGS(steps=n // 4, search_steps=2),
        lambda n: eb.attacks.JSMA(gamma=n / 36),
    ],
)
def test_no_step_waits_for_the_host(cuda, attack) -> None:
    model, x, y = cnn().to("cuda"), DeviceArray(X[:4]), DeviceArray(Y[:4])
    found = []
    for steps in (8, 20):
        attack(steps)(model, x, y)
        before = (cuda.waits(), *cuda.traffic())
        attack(steps)(model, x, y)
        found.append([after - b for after, b in zip((cuda.waits(), *cuda.traffic()), before, strict=True)])
    assert found[0] == found[1], "waits, bytes to the device and to the host"


A = eb.attacks
SEARCH = {"search_steps": 2, "abort_early": False}

# Attacks of n steps, and what a further step gives the stream: a replay, and where numbers change from step to step
# another launch that puts them in place.
LOOPS = {
    "momentum": (lambda n: A.MomentumPGD(eps=0.5, steps=n), 1),
    "nesterov": (lambda n: A.MomentumPGD(eps=0.5, steps=n, nesterov=True), 1),
    "scales": (lambda n: A.MomentumPGD(eps=0.5, steps=n, scales=3, nesterov=True), 1),
    "variance": (lambda n: A.MomentumPGD(eps=0.5, steps=n, neighbours=2), 2),
    "jitter": (lambda n: A.Jitter(eps=0.5, steps=n), 2),
    "smooth": (lambda n: A.SmoothPGD(eps=0.5, steps=n, samples=3), 2),
    "adam": (lambda n: A.AdamPGD(eps=0.5, steps=n), 2),
    "slide": (lambda n: A.SLIDE(eps=0.5, steps=n), 1),
    "pgd-l2": (lambda n: A.PGD(eps=0.5, norm="l2", steps=n), 1),
    "ddn": (lambda n: A.DDN(steps=n), 2),
    "fmn": (lambda n: A.FMN(steps=n), 2),
    "fmn-l0": (lambda n: A.FMN(steps=n, norm="l0"), 2),
    "deepfool": (lambda n: A.DeepFool(steps=n), 1),
    "fab": (lambda n: A.FAB(steps=n), 1),
    "square": (lambda n: A.Square(eps=0.1, queries=n), 2),
    "square-l2": (lambda n: A.Square(eps=0.5, norm="l2", queries=n), 2),
    "cw": (lambda n: A.CarliniWagner(steps=n, **SEARCH), 2),
    "cw-linf": (lambda n: A.CarliniWagner(steps=n, norm="linf", **SEARCH), 2),
    "cw-l0": (lambda n: A.CarliniWagner(steps=n, norm="l0", **SEARCH), 2),
    "ead": (lambda n: A.EAD(steps=n, **SEARCH), 2),
    "lbfgs": (lambda n: A.LBFGS(steps=n, search_steps=2), 2),
    "jsma": (lambda n: A.JSMA(gamma=2 * n / 36), 1),
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_further_step_is_a_replay(cuda, name) -> None:
    model, stream = mlp().to("cuda"), cuda.create_stream()
    x, y = DeviceArray(X, stream=stream), DeviceArray(Y, stream=stream)
    make, each = LOOPS[name]
    calls = [launches(cuda, model, make(n), x, y) for n in (5, 12)]
    assert calls[1] - calls[0] == 7 * each
    cuda.destroy_stream(stream)


def test_a_further_step_of_apgd_is_a_replay_but_at_checkpoints(cuda) -> None:
    model, stream = mlp().to("cuda"), cuda.create_stream()
    x, y = DeviceArray(X, stream=stream), DeviceArray(Y, stream=stream)
    for norm in ("linf", "l2"):
        calls = [launches(cuda, model, A.APGD(eps=0.5, norm=norm, steps=n), x, y) for n in (50, 100)]
        assert 50 <= calls[1] - calls[0] <= 50 * 2, "the checkpoints are as many"
    cuda.destroy_stream(stream)


@pytest.mark.parametrize("estimate", [A.SPSA, A.NES])
def test_a_further_probe_is_a_replay(cuda, estimate) -> None:
    model, stream = mlp().to("cuda"), cuda.create_stream()
    x, y = DeviceArray(X, stream=stream), DeviceArray(Y, stream=stream)
    calls = [launches(cuda, model, estimate(eps=0.5, steps=2, samples=n), x, y) for n in (4, 10)]
    assert calls[1] - calls[0] == 2 * 2 * 6  # steps, launches, probes
    cuda.destroy_stream(stream)


REPLAYED = {
    **{name: make for name, (make, _) in LOOPS.items()},
    "pgd": lambda n: A.PGD(eps=0.5, steps=n, restarts=2),
    "bim": lambda n: A.BIM(eps=0.5, steps=n),
    "apgd": lambda n: A.APGD(eps=0.5, steps=3 * n, restarts=2),
    "apgd-l2": lambda n: A.APGD(eps=0.5, norm="l2", steps=3 * n),
    "apgd-l1": lambda n: A.APGD(eps=1.0, norm="l1", steps=5 * n),
    "apgd-targeted": lambda n: A.APGD(eps=0.5, steps=3 * n, loss="dlr", targets=2),
    "spsa": lambda n: A.SPSA(eps=0.5, steps=n, samples=4),
    "fab-targeted": lambda n: A.FAB(steps=n, restarts=2, targets=2),
}


@pytest.mark.parametrize("name", REPLAYED)
@pytest.mark.parametrize("rows", [0, 5])
def test_replayed_steps_are_the_steps(cuda, name, rows) -> None:
    model = eb.models.mlp([36, 17, 4], seed=1).to("cuda")
    eb._native.set_slab_rows(rows)  # several slabs: recorded anew for each
    attack = REPLAYED[name](6)
    replayed, done = attack.run(model, X, Y), attack.run(model, X, Y, trace=True)
    for each in ("x_adv", "success", "queries", "distance"):
        np.testing.assert_array_equal(getattr(replayed, each), getattr(done, each))


def test_calls_run_on_the_arrays_stream(cuda) -> None:
    model = mlp().to("cuda")
    stream = cuda.create_stream()
    x, y = DeviceArray(X, stream=stream), DeviceArray(Y, stream=stream)
    calls = [
        lambda: model(x),
        lambda: model.input_gradient(x, y),
        lambda: eb.pgd(model, x, y, eps=0.1, steps=2),
        lambda: eb.ops.project_(x, x, eps=0.1),
    ]
    for call in calls:
        call()
        before = cuda.calls(stream), cuda.calls(0)
        call()
        assert cuda.calls(stream) > before[0]
        # what gives back a place on the default stream: no work
        assert cuda.calls(0) == before[1], "it did not stay on the stream"
    wanted = eb.pgd(model, X, Y, eps=0.1, steps=2)
    np.testing.assert_array_equal(eb.pgd(model, x, DeviceArray(Y), eps=0.1, steps=2).numpy(), wanted)
    cuda.destroy_stream(stream)


def test_training_takes_device_arrays(cuda) -> None:
    models = [mlp().to("cuda"), mlp().to("cuda")]
    for model, x, y in ((models[0], X, Y), (models[1], DeviceArray(X), DeviceArray(Y))):
        eb.fit(model, x, y, epochs=1, batch_size=5)
    for name, value in models[0].parameters().items():
        np.testing.assert_array_equal(value, models[1].parameters()[name])


def test_options_may_lie_on_the_device(cuda) -> None:
    model = mlp().to("cuda")
    eps, lower = np.linspace(0.05, 0.2, 13).astype(np.float32), np.full(36, 0.1, np.float32)
    start = (model.predict(X) + 1) % 3
    options = {"eps": eps, "step_size": eps / 4, "mask": (X > 0.3), "bounds": (lower * 0, lower * 10)}
    there = {name: DeviceArray(value) for name, value in options.items() if name != "bounds"}
    there["bounds"] = tuple(DeviceArray(side) for side in options["bounds"])
    wanted = eb.pgd(model, X, Y, steps=2, index=np.arange(13) + 5, **options)
    found = eb.pgd(model, DeviceArray(X), DeviceArray(Y), steps=2, index=DeviceArray(np.arange(13) + 5), **there)
    np.testing.assert_array_equal(found.numpy(), wanted)
    moved = {where: place(np.clip(X + 0.3, 0, 1)) for where, place in (("here", np.array), ("there", DeviceArray))}
    eb.ops.project_(moved["here"], X, eps=eps, bounds=options["bounds"])
    eb.ops.project_(moved["there"], DeviceArray(X), eps=there["eps"], bounds=there["bounds"])
    np.testing.assert_allclose(moved["there"].numpy(), moved["here"], atol=1e-7)
    points = np.clip(X + 0.5 * np.eye(3, 36, dtype=np.float32)[start], 0, 1)
    attack = eb.attacks.Boundary(steps=2, start=DeviceArray(points))
    assert attack == eb.attacks.Boundary(steps=2, start=points)


def test_evaluations_take_device_arrays_where_the_model_is(cuda) -> None:
    model, x, y = mlp().to("cuda"), DeviceArray(X), DeviceArray(Y)
    pgd = eb.attacks.PGD(eps=0.1, steps=2)
    smoothed = eb.evaluation.Smoothed(model, sigma=0.1)
    calls = [
        lambda a, b: eb.evaluate(model, a, b, attacks=[pgd]).robust,
        lambda a, b: eb.evaluation.security_curve(model, a, b, pgd, eps=[0.1, 0.2]).robust,
        lambda a, b: eb.evaluation.transfer_matrix({"it": model}, None, pgd, a, b).transfer,
        lambda a, b: eb.evaluation.check_gradient_masking(model, a, b, eps=0.1, steps=2, samples=2).checks,
        lambda a, _: smoothed.certify(a, selection=4, draws=8).predictions,
        lambda a, b: eb.analysis.coverage_curve(model, a, b).confidences,
        lambda a, b: eb.attacks.Spatial(grid=(1, 1, 2)).run(cnn().to("cuda"), a, b).success,
    ]
    for call in calls:
        shape = (13, 1, 6, 6) if call is calls[-1] else (13, 36)
        found, wanted = call(DeviceArray(X.reshape(shape)), y), call(X.reshape(shape), Y)
        np.testing.assert_array_equal(found, wanted)
    here = mlp()
    with pytest.raises(TypeError, match=r"^x: wanted an array in CPU memory, got DeviceArray on a CUDA device"):
        eb.evaluate(here, x, y, attacks=[pgd])


def test_a_model_on_the_cpu_refuses_device_arrays(cuda) -> None:
    with pytest.raises(TypeError, match=r"^x: wanted an array in CPU memory, got DeviceArray on a CUDA device"):
        mlp()(DeviceArray(X))


@pytest.mark.parametrize(
    ("interface", "message"),
    [
        ({"strides": (4, 144)}, r"^x: wanted a C-contiguous array on the CUDA device, got strides \(4, 144\)$"),
        ({"data": (4098, False)}, "^x: wanted an aligned array on the CUDA device, got one at address 0x1002$"),
        ({"mask": object()}, "^x: wanted a value in every place, got a masked array on the CUDA device$"),
        ({"typestr": "<i4"}, "^x: wanted float32, float64 or float16, got int32$"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(cuda, interface, message) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        mlp().to("cuda")(DeviceArray(X, **interface))


def test_an_array_on_another_device_is_refused(cuda) -> None:
    array = DeviceArray(X)
    array.__dlpack_device__ = lambda: (2, 1)
    with pytest.raises(ValueError, match=r"^x: wanted an array on CUDA device 0, got one on device 1$"):
        mlp().to("cuda")(array)
    other = DeviceArray(Y)
    other.__dlpack_device__ = lambda: (2, 1)
    with pytest.raises(ValueError, match=r"^y: wanted an array on CUDA device 0, got one on device 1$"):
        mlp().to("cuda").loss(DeviceArray(X), other)


def spoilt(value: float, dtype: type, row: int) -> np.ndarray:
    values = X.astype(dtype)
    values[row, 7] = value
    return values


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_found_on_the_device(cuda, dtype, value) -> None:
    model = mlp().to("cuda")
    x, y = DeviceArray(spoilt(value, dtype, 11)), DeviceArray(Y)
    for call in (
        lambda: model(x),
        lambda: model.predict(x),
        lambda: model.loss(x, y),
        lambda: model.jacobian(x),
        lambda: eb.pgd(model, x, y, eps=0.1, bounds=None),
        lambda: eb.attacks.DDN()(model, x, y),
    ):
        with pytest.raises(ValueError, match=rf"^x: wanted finite float32 values, got {value} in row 11$"):
            call()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("value", [-1e-3, 1.001])
def test_values_outside_the_box_are_found_on_the_device(cuda, dtype, value) -> None:
    with pytest.raises(ValueError, match=r"^x: wanted values within bounds \[0.0, 1.0\], got \S+ in row 3; "):
        eb.pgd(mlp().to("cuda"), DeviceArray(spoilt(value, dtype, 3)), DeviceArray(Y), eps=0.1)


def test_ops_that_are_refused_leave_the_array_as_it_was(cuda) -> None:
    x_adv, x = DeviceArray(X), DeviceArray(X)
    with pytest.raises(ValueError, match=r"^grad: wanted finite float32 values, got nan in row 2$"):
        eb.ops.sign_step_(x_adv, DeviceArray(spoilt(np.nan, np.float32, 2)), x, step_size=0.1, eps=0.3)
    with pytest.raises(ValueError, match=r"^x: wanted values within bounds .* in row 5; "):
        eb.ops.project_(x_adv, DeviceArray(spoilt(1.5, np.float32, 5)), eps=0.01)
    with pytest.raises(TypeError, match=r"^grad: wanted an array on the device, where x_adv is$"):
        eb.ops.sign_step_(x_adv, X, x, step_size=0.1, eps=0.3)
    with pytest.raises(TypeError, match=r"^x: wanted an array in CPU memory, where x_adv is$"):
        eb.ops.project_(X.copy(), x, eps=0.1)
    with pytest.raises(ValueError, match=r"^x_adv: the array is read-only$"):
        eb.ops.project_(DeviceArray(X, data=(x_adv._address, True)), x, eps=0.1)
    with pytest.raises(TypeError, match=r"^x_adv: wanted float32 .* got float64$"):
        eb.ops.project_(DeviceArray(X.astype(np.float64)), x, eps=0.1)
    with pytest.raises(ValueError, match=r"^x: wanted shape \(13, 36\), got \(12, 36\)$"):
        eb.ops.project_(x_adv, DeviceArray(X[:12]), eps=0.1)
    np.testing.assert_array_equal(x_adv.numpy(), X)


def test_a_stream_that_is_gone_is_refused(cuda) -> None:
    model = mlp().to("cuda")
    stream = cuda.create_stream()
    x = DeviceArray(X, stream=stream)
    wanted = model(x).numpy()
    cuda.destroy_stream(stream)
    for call in (lambda: model(x), lambda: eb.pgd(model, x, Y, eps=0.1), lambda: eb.ops.project_(x, x, eps=0.1)):
        with pytest.raises(
            RuntimeError, match=r"^stream: the array's CUDA stream cannot be used, .*\(cudaStreamQuery: "
        ):
            call()
    np.testing.assert_array_equal(model(DeviceArray(X)).numpy(), wanted)


def test_an_address_without_memory_is_refused(cuda) -> None:
    with pytest.raises(ValueError, match=r"^x: wanted memory of the CUDA device, got address 0x1000, which is none$"):
        mlp().to("cuda")(DeviceArray(X, data=(0x1000, False)))


def test_calls_that_fail_leave_no_device_memory_behind(cuda) -> None:
    model = mlp().to("cuda")
    x, y = DeviceArray(X), DeviceArray(Y)
    bad = DeviceArray(spoilt(np.nan, np.float32, 2))
    stream = cuda.create_stream()
    gone = DeviceArray(X, stream=stream)
    cuda.destroy_stream(stream)

    def fail() -> None:
        for call in (
            lambda: eb.pgd(model, bad, y, eps=0.1),
            lambda: eb.pgd(model, gone, y, eps=0.1),
            lambda: eb.ops.project_(x, bad, eps=0.1),
            lambda: model.loss(x, DeviceArray(Y + 7)),
            lambda: model.loss(x, DeviceArray(Y[:5])),
        ):
            with pytest.raises((ValueError, RuntimeError)):
                call()
        gc.collect()

    eb.pgd(model, x, y, eps=0.1)
    fail()
    before = cuda.memory()
    for _ in range(3):
        fail()
    assert cuda.memory() <= before


def test_full_memory_leaves_the_arrays_and_the_model_usable(cuda) -> None:
    model = eb.models.mlp([36, 400, 3]).to("cuda")
    values = batch(900, 36)
    x, y = DeviceArray(values), DeviceArray(labels(900, 3))
    wanted = model(values[:1])
    gc.collect()
    before = cuda.memory()
    cuda.limit_memory(before + values.nbytes + 100_000)
    with pytest.raises(MemoryError, match=r"^device: its memory is full$"):
        eb.pgd(model, x, y, eps=0.1, steps=1)
    gc.collect()
    held = cuda.memory()
    with pytest.raises(MemoryError, match=r"^device: its memory is full$"):
        eb.pgd(model, x, y, eps=0.1, steps=1)
    gc.collect()
    assert cuda.memory() <= held, "each failure keeps some"
    np.testing.assert_array_equal(model(values[:1]), wanted)
    cuda.limit_memory(0)
    assert np.isfinite(eb.pgd(model, x, y, eps=0.1, steps=1).numpy()).all()


def test_training_without_memory_leaves_the_model_as_it_was(cuda) -> None:
    model, x, y = eb.models.mlp([36, 400, 3], seed=1).to("cuda"), batch(500, 36), labels(500, 3)
    wanted, before = model(x[:1]), model.parameters()
    kept = []
    for _ in range(3):
        gc.collect()
        cuda.limit_memory(cuda.memory() + 200_000)
        with pytest.raises(MemoryError, match=r"^device: its memory is full$"):
            eb.fit(model, x, y, method=eb.training.PGDTraining(eps=0.1, steps=1), epochs=1, batch_size=500)
        cuda.limit_memory(0)
        gc.collect()
        kept.append(cuda.memory())
        for name, value in model.parameters().items():
            np.testing.assert_array_equal(value, before[name])
    assert kept[1] == kept[2], "each failure keeps some"
    np.testing.assert_array_equal(model(x[:1]), wanted)
