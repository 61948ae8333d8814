"""eb.from_torch: same logits, same gradients, and unsupported layers are named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch, labels

torch = pytest.importorskip("torch")
nn = torch.nn

ACTIVATIONS = {
    "ReLU": lambda: nn.ReLU(),
    "LeakyReLU": lambda: nn.LeakyReLU(0.2),
    "ELU": lambda: nn.ELU(0.7),
    "Sigmoid": lambda: nn.Sigmoid(),
    "Tanh": lambda: nn.Tanh(),
    "Softplus": lambda: nn.Softplus(),
    "GELU": lambda: nn.GELU(),
}
RTOL = 1e-5  # the promise, relative to the largest element


def close(actual: Any, wanted: Any) -> None:
    wanted = wanted.detach().numpy()
    np.testing.assert_allclose(np.asarray(actual), wanted, rtol=0, atol=RTOL * np.abs(wanted).max())


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_logits_and_gradients_agree(activation: str) -> None:
    torch.manual_seed(0)
    make = ACTIVATIONS[activation]
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 17), make(), nn.Linear(17, 9), make(), nn.Linear(9, 5))
    model = eb.from_torch(module, input_shape=(3, 2, 2))
    x, y = batch(20, 12).reshape(20, 3, 2, 2), labels(20, 5)
    t = torch.from_numpy(x).requires_grad_()
    z = module(t)
    loss = nn.functional.cross_entropy(z, torch.from_numpy(y), reduction="none")
    close(model(x), z)
    close(model.loss(x, y), loss)
    close(model.input_gradient(x, y), torch.autograd.grad(loss.sum(), t, retain_graph=True)[0])
    wanted = torch.autograd.grad(loss.mean(), list(module.parameters()))
    ours = model.parameter_gradients(x, y)
    assert list(ours) == [n for n, _ in module.named_parameters()]
    for g, w in zip(ours.values(), wanted, strict=True):
        close(g, w)


def agrees(module: Any, shape: tuple[int, ...], rows: int = 9) -> Any:
    """Logits and input gradients of the model made of `module` are the module's, in eval mode."""
    model = eb.from_torch(module, shape)
    x = batch(rows, int(np.prod(shape))).reshape(rows, *shape)
    t = torch.from_numpy(x).requires_grad_()
    was = module.training
    z = module.eval()(t)
    module.train(was)
    y = labels(rows, z.shape[1])
    loss = nn.functional.cross_entropy(z, torch.from_numpy(y), reduction="sum")
    close(model(x), z)
    close(model.input_gradient(x, y), torch.autograd.grad(loss, t)[0])
    return model


def warmed(module: Any, shape: tuple[int, ...]) -> Any:
    """The module with running statistics and affine parameters that are not the first ones."""
    torch.manual_seed(1)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                layer.running_mean.uniform_(-1, 1)
                layer.running_var.uniform_(0.5, 2)
                if layer.affine:
                    layer.weight.uniform_(-2, 2)
                    layer.bias.uniform_(-1, 1)
    return module


IMAGES = {
    "conv": lambda: nn.Conv2d(3, 4, 3, bias=False),
    "conv_window": lambda: nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 0)),
    "conv_same": lambda: nn.Conv2d(3, 4, (3, 5), padding="same"),
    "conv_valid": lambda: nn.Conv2d(3, 4, 2, padding="valid"),
    "max": lambda: nn.MaxPool2d(2),
    "max_window": lambda: nn.MaxPool2d((3, 2), stride=(2, 1), padding=1),
    "mean": lambda: nn.AvgPool2d(3, stride=2, padding=1),
    "adaptive": lambda: nn.AdaptiveAvgPool2d((4, None)),
    "adaptive_1": lambda: nn.AdaptiveAvgPool2d(1),
    "norm": lambda: nn.BatchNorm2d(3),
    "conv_norm": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, eps=1e-3, momentum=0.3), nn.ReLU()),
    "norm_plain": lambda: nn.BatchNorm2d(3, affine=False),
}


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", IMAGES)
def test_layers_of_images_agree(name: str, train: bool) -> None:
    torch.manual_seed(0)
    features = IMAGES[name]()
    width = features(torch.zeros(2, 3, 8, 8)).flatten(1).shape[1]
    module = warmed(nn.Sequential(features, nn.Flatten(), nn.Linear(width, 5)), (3, 8, 8)).train(train)
    before = {n: t.clone() for n, t in module.state_dict().items()}
    agrees(module, (3, 8, 8))
    assert all(torch.equal(t, before[n]) for n, t in module.state_dict().items())
    assert module.training == train


@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_of_features_agrees(affine: bool) -> None:
    torch.manual_seed(0)
    module = warmed(nn.Sequential(nn.Linear(6, 7), nn.BatchNorm1d(7, affine=affine), nn.Tanh(), nn.Linear(7, 3)), (6,))
    model = agrees(module, (6,))
    assert model.layers[1] == eb.BatchNorm1d(7)


class Net(nn.Module):
    """Functions and methods, an input normalised by buffers, and sizes read off the input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, bias=False)
        self.norm, self.dropout = nn.BatchNorm2d(6), nn.Dropout(0.3)
        self.head = nn.Sequential(nn.Linear(6, 8), nn.ReLU(inplace=True), nn.Linear(8, 4))
        self.register_buffer("mean", torch.tensor([0.1, 0.5, 0.3]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.7, 0.3, 0.4]).view(3, 1, 1))

    def forward(self, x: Any, scale: Any = None, deep: bool = True) -> Any:
        functional = nn.functional
        x = (x - self.mean) / self.std
        if scale is not None:
            x = x * scale
        x = functional.max_pool2d(functional.relu(self.norm(self.conv1(x))), 2)
        if deep:
            x = functional.leaky_relu(self.conv2(x), 0.2)
        x = self.dropout(functional.adaptive_avg_pool2d(x, 1))
        x = x.view(x.size(0), -1)
        return self.head(x)


def test_traced_module_agrees_and_is_left_as_it_was() -> None:
    torch.manual_seed(0)
    net = warmed(Net(), (3, 8, 8)).eval()
    before = set(vars(net))
    model = agrees(net, (3, 8, 8))
    assert set(vars(net)) == before
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds[:5] == ["Normalize", "Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"]
    np.testing.assert_allclose(model.layers[0].mean, (0.1, 0.5, 0.3), rtol=1e-6)
    np.testing.assert_allclose(model.layers[0].std, (0.7, 0.3, 0.4), rtol=1e-6)


def function(f: Any, shape: tuple[int, ...] = (2, 6, 6)) -> Any:
    """A module that applies f between a convolution and a linear layer."""

    class Applied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.first = nn.Conv2d(2, 4, 3)
            with torch.no_grad():
                width = f(self.first(torch.zeros(2, *shape))).flatten(1).shape[1]
            self.last = nn.Linear(width, 3)

        def forward(self, x: Any) -> Any:
            return self.last(f(self.first(x)).flatten(1))

    return Applied().eval()


FUNCTIONS = {
    "relu": lambda x: torch.relu(x),
    "relu_method": lambda x: x.relu(),
    "relu_in_place": lambda x: x.relu_(),
    "sigmoid": lambda x: nn.functional.sigmoid(x),
    "tanh": lambda x: x.tanh(),
    "elu": lambda x: nn.functional.elu(x, 0.5),
    "gelu": lambda x: nn.functional.gelu(x),
    "softplus": lambda x: nn.functional.softplus(x),
    "square": lambda x: x * x,
    "power": lambda x: x**2,
    "torch_max_pool": lambda x: torch.max_pool2d(x, 2, 1),
    "avg_pool": lambda x: nn.functional.avg_pool2d(x, (2, 1), padding=(1, 0)),
    "mean": lambda x: x.mean((2, 3)),
    "mean_kept": lambda x: torch.mean(x, dim=[-1, -2], keepdim=True),
    "affine": lambda x: (2 * x + 0.5) / 3 - 1,
    "flatten": lambda x: torch.flatten(x, 1),
    "reshape": lambda x: x.reshape(x.shape[0], x.shape[1] * x.shape[2] * x.shape[3]),
    "reshape_rest": lambda x: x.reshape(-1, 4 * 4 * 4),
    "contiguous": lambda x: x.contiguous(),
    "dropout_off": lambda x: nn.functional.dropout(x, 0.5, training=False),
    "tensor_constant": lambda x: x - torch.tensor([0.1, 0.2, 0.3, 0.4]).view(4, 1, 1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_agree(name: str) -> None:
    module = function(FUNCTIONS[name])
    before = set(vars(module))
    agrees(module, (2, 6, 6))
    assert set(vars(module)) == before


NO_FUNCTIONS = {
    "product": (lambda x: x * x.relu(), "takes 2 values"),
    "used_before": (lambda x: (x.relu_(), x)[1], "another layer changed in place"),
    "negative": (lambda x: 1 - x, "right-hand side"),
    "scale_0": (lambda x: x * 0.0, "positive"),
    "per_pixel": (lambda x: x - torch.arange(16.0).view(4, 4), "differs within a channel"),
    "flatten_all": (lambda x: x.flatten().view(-1, 64), "flatten"),
    "permuted": (lambda x: x.permute(0, 2, 3, 1), "no counterpart"),
    "mixes_rows": (lambda x: x.reshape(-1, 32).reshape(-1, 64), "mixes rows"),
    "always_dropout": (lambda x: nn.functional.dropout(x, 0.5), "eval mode"),
    "control_flow": (lambda x: x if x.sum() > 0 else x.relu(), "torch.fx cannot trace"),
    "softmax": (lambda x: x.flatten(1).softmax(-1), "gives probabilities where logits belong; leave it out$"),
    "softmax_of_functional": (lambda x: nn.functional.softmax(x.flatten(1), dim=1), "gives probabilities where"),
    "log_softmax": (lambda x: nn.functional.log_softmax(x.flatten(1), dim=1), "logarithms.*; eb.TorchModel"),
}


@pytest.mark.parametrize("name", NO_FUNCTIONS)
def test_functions_that_cannot_be_lowered_are_named(name: str) -> None:
    f, why = NO_FUNCTIONS[name]
    with pytest.raises(ValueError, match=rf"^module: .*{why}"):
        eb.from_torch(function(f), input_shape=(2, 6, 6))


def test_two_outputs_are_refused() -> None:
    class Two(nn.Module):
        def forward(self, x: Any) -> Any:
            x = x.relu()
            return x, x

    with pytest.raises(ValueError, match="layer 'output'"):
        eb.from_torch(Two(), input_shape=(4,))


def test_reshape_of_the_input_says_which_shape_to_give() -> None:
    class Image(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, x: Any) -> Any:
            return self.conv(x.view(-1, 1, 4, 4)).flatten(1)

    with pytest.raises(ValueError, match=r"give input_shape=\(1, 4, 4\)"):
        eb.from_torch(Image(), input_shape=(16,))
    agrees(Image(), (1, 4, 4))


def test_weights_of_other_types_and_layouts_are_taken_as_float32() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, 3))
    wanted = eb.from_torch(module, (3, 6, 6)).parameters()
    for changed in (module.to(memory_format=torch.channels_last), module.double()):
        for name, value in eb.from_torch(changed, (3, 6, 6)).parameters().items():
            np.testing.assert_array_equal(value, wanted[name])
    half = eb.from_torch(module.bfloat16(), (3, 6, 6)).parameters()
    np.testing.assert_array_equal(half["0.weight"], module[0].weight.detach().float().numpy())


def test_weights_that_are_not_finite_in_float32_are_named() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2).double())
    for value in (float("nan"), 1e300):
        with torch.no_grad():
            module[1].weight[0, 0] = value
        with pytest.raises(ValueError, match=r"layer '1' \(Linear.*weight.*not finite"):
            eb.from_torch(module, (4,))


def test_meta_and_integer_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="meta device"):
        eb.from_torch(nn.Sequential(nn.Linear(4, 2, device="meta")), (4,))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_modules_on_cuda_are_copied_to_the_cpu() -> None:
    module = nn.Sequential(nn.Linear(4, 2)).cuda()
    model = eb.from_torch(module, (4,))
    close(model(batch(5, 4)), module.cpu()(torch.from_numpy(batch(5, 4))))


def test_parameters_are_copied_not_shared() -> None:
    module = nn.Sequential(nn.Linear(4, 3))
    model = eb.from_torch(module, input_shape=(4,))
    before = np.array(model(batch(3, 4)))
    with torch.no_grad():
        module[0].weight.zero_()
    np.testing.assert_array_equal(model(batch(3, 4)), before)


def test_layers_without_bias_and_one_logit_are_taken() -> None:
    module = nn.Sequential(nn.Linear(4, 3, bias=False), nn.Tanh(), nn.Linear(3, 1))
    model = eb.from_torch(module, input_shape=(4,))
    assert model.classes == 1
    close(model(batch(6, 4)), module(torch.from_numpy(batch(6, 4))))


def test_dropout_is_taken_and_idle_outside_training() -> None:
    module = nn.Sequential(nn.Linear(4, 30), nn.ReLU(), nn.Dropout(0.5), nn.Linear(30, 3)).eval()
    model = eb.from_torch(module, input_shape=(4,))
    close(model(batch(6, 4)), module(torch.from_numpy(batch(6, 4))))


@pytest.mark.parametrize(
    "layer",
    [
        nn.BatchNorm1d(4, track_running_stats=False),
        nn.BatchNorm1d(4, momentum=None),
        nn.GELU(approximate="tanh"),
        nn.Softplus(beta=2.0),
        nn.Softplus(threshold=0.1),
        nn.LSTM(4, 4),
    ],
    ids=lambda m: str(m).split("(")[0],
)
def test_unsupported_layers_are_named_with_their_shape(layer: Any) -> None:
    module = nn.Sequential(nn.Linear(4, 4), layer, nn.Linear(4, 2))
    wanted = rf"layer '1' \({type(layer).__name__}.* on shape \(4,\).*; eb\.TorchModel\(module\) takes it as it is$"
    with pytest.raises(ValueError, match=wanted):
        eb.from_torch(module, input_shape=(4,))


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (nn.Conv2d(2, 4, 3, groups=2), "groups"),
        (nn.Conv2d(2, 4, 3, dilation=2), "dilation"),
        (nn.Conv2d(2, 4, 3, padding_mode="circular"), "circular"),
        (nn.Conv2d(2, 4, 2, padding="same"), "differently"),
        (nn.Conv2d(3, 4, 3), "3 channels"),
        (nn.Conv2d(2, 4, 9), "larger than"),
        (nn.ConvTranspose2d(2, 4, 3), "no counterpart"),
        (nn.MaxPool2d(2, ceil_mode=True), "ceil_mode"),
        (nn.MaxPool2d(2, dilation=2), "dilation"),
        (nn.MaxPool2d(2, return_indices=True), "return_indices"),
        (nn.AvgPool2d(2, padding=1, count_include_pad=False), "padding"),
        (nn.AvgPool2d(2, divisor_override=3), "divisor_override"),
        (nn.AdaptiveAvgPool2d(4), "several sizes"),
        (nn.BatchNorm2d(3), "3 channels"),
        (nn.Flatten(2), "flatten"),
        (nn.Linear(6, 4), "flat inputs"),
        (nn.Dropout2d(), "no counterpart"),
    ],
    ids=str,
)
def test_unsupported_layers_of_images_are_named(layer: Any, why: str) -> None:
    with pytest.raises(ValueError, match=rf"layer '1' \({type(layer).__name__}.* on shape \(2, 6, 6\).*{why}"):
        eb.from_torch(nn.Sequential(nn.ReLU(), layer), input_shape=(2, 6, 6))


@pytest.mark.parametrize("layer", [nn.Softmax(-1), nn.LogSoftmax(-1)])
def test_probabilities_where_logits_belong_are_refused(layer: Any) -> None:
    with pytest.raises(ValueError, match=rf"'1' \({type(layer).__name__}.*logits"):
        eb.from_torch(nn.Sequential(nn.Linear(4, 3), layer), input_shape=(4,))


def test_repeated_modules_become_layers_each_time() -> None:
    torch.manual_seed(0)
    relu, shared = nn.ReLU(), nn.Linear(16, 16)
    block = nn.Sequential(shared, relu)
    module = nn.Sequential(block, shared, relu, block, nn.Linear(16, 3))
    model = eb.from_torch(module, input_shape=(16,))
    assert [type(layer).__name__ for layer in model.layers] == ["Linear", "ReLU"] * 3 + ["Linear"]
    close(model(batch(6, 16)), module(torch.from_numpy(batch(6, 16))))


class Doubled(nn.Sequential):
    def forward(self, x: Any) -> Any:
        return 2 * super().forward(x)


class Backwards(nn.Sequential):
    def __iter__(self) -> Any:
        return reversed(list(super().__iter__()))


class Plain(nn.Sequential):
    """Only another constructor, as in torchvision's MLP."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 4), nn.Tanh())


class OwnLinear(nn.Linear):
    def forward(self, x: Any) -> Any:
        return 2 * super().forward(x)


class OwnReLU(nn.ReLU):
    def forward(self, x: Any) -> Any:
        return -super().forward(x)


class OwnIdentity(nn.Identity):
    def forward(self, x: Any) -> Any:
        return 2 * x


def replaced_forward() -> Any:
    layer = nn.ReLU()
    layer.forward = lambda x: 2 * x
    return layer


@pytest.mark.parametrize(
    "layer",
    [Doubled(nn.ReLU()), Backwards(nn.ReLU(), nn.Tanh()), OwnLinear(4, 4), OwnIdentity()],
    ids=lambda m: type(m).__name__,
)
def test_a_forward_of_its_own_is_traced(layer: Any) -> None:
    module = nn.Sequential(nn.Linear(4, 4), layer, nn.Linear(4, 2))
    agrees(module, (4,))


def test_a_forward_that_no_layer_expresses_is_named() -> None:
    module = nn.Sequential(nn.Linear(4, 4), OwnReLU(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"layer 'neg' \(neg in '1'\) on shape \(4,\).*no counterpart"):
        eb.from_torch(module, input_shape=(4,))


def test_replaced_forward_is_named() -> None:
    with pytest.raises(ValueError, match=r"layer '1' \(ReLU\) has a forward of its own"):
        eb.from_torch(nn.Sequential(nn.Linear(4, 4), replaced_forward(), nn.Linear(4, 2)), input_shape=(4,))


def test_subclass_of_sequential_with_its_forward_is_taken() -> None:
    module = nn.Sequential(Plain(), nn.Linear(4, 2))
    close(eb.from_torch(module, input_shape=(4,))(batch(6, 4)), module(torch.from_numpy(batch(6, 4))))


@pytest.mark.parametrize("kind", ["forward", "forward_pre", "full_backward", "full_backward_pre"])
@pytest.mark.parametrize("make", [nn.Identity, nn.ReLU, lambda: nn.Linear(4, 4), lambda: nn.Sequential(nn.Tanh())])
def test_hooks_are_named(kind: str, make: Any) -> None:
    layer = make()
    handle = getattr(layer, f"register_{kind}_hook")(lambda *_: None)
    module = nn.Sequential(nn.Linear(4, 4), layer, nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"layer '1' .*hooks"):
        eb.from_torch(module, input_shape=(4,))
    handle.remove()
    eb.from_torch(module, input_shape=(4,))


def test_global_hooks_are_refused() -> None:
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        with pytest.raises(ValueError, match="global module hooks"):
            eb.from_torch(nn.Sequential(nn.Linear(4, 2)), input_shape=(4,))
    finally:
        handle.remove()


def test_parametrized_layers_are_named() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    with pytest.raises(ValueError, match="layer '0'"):
        eb.from_torch(nn.Sequential(layer, nn.Linear(4, 2)), input_shape=(4,))


def test_empty_child_is_named() -> None:
    module = nn.Sequential(nn.Linear(4, 2))
    module.add_module("later", None)
    with pytest.raises(ValueError, match="'later'"):
        eb.from_torch(module, input_shape=(4,))


def test_what_is_not_a_sequential_is_refused() -> None:
    class Mine(nn.Module):
        def forward(self, x: Any) -> Any:
            return x

    with pytest.raises((ValueError, TypeError), match=r"Mine|Sequential"):
        eb.from_torch(Mine(), input_shape=(4,))


def test_wrong_input_shape_is_named() -> None:
    with pytest.raises(ValueError, match="input_shape"):
        eb.from_torch(nn.Sequential(nn.Linear(4, 2)), input_shape=(5,))


def test_tensors_come_back_as_tensors() -> None:
    model = eb.models.linear(4, 3)
    x, y = torch.from_numpy(batch(6, 4)), torch.from_numpy(labels(6, 3))
    for dtype in (torch.float16, torch.float32, torch.float64):
        t = x.to(dtype)
        for attack in (eb.attacks.FGSM(eps=0.1), eb.attacks.PGD(eps=0.1, steps=2)):
            x_adv = attack(model, t, y)
            assert isinstance(x_adv, torch.Tensor)
            assert x_adv.dtype == dtype
            assert x_adv.shape == t.shape
            np.testing.assert_array_equal(x_adv.numpy(), attack(model, t.numpy(), y.numpy()))
    needs_grad = x.clone().requires_grad_()
    eb.fgsm(model, needs_grad, y, eps=0.1)
    assert needs_grad.grad is None


def test_other_devices_are_refused_by_name() -> None:
    model = eb.models.linear(4, 3)
    with pytest.raises((ValueError, TypeError), match=r"\bx\b"):
        eb.fgsm(model, torch.zeros(2, 4, device="meta"), torch.zeros(2, dtype=torch.long), eps=0.1)
