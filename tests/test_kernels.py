"""The accelerated network against the plain one: values, gradients, statistics, random numbers."""

import copy
import itertools
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import nn
from torch.nn import functional as F

from search import kernels
from search.augment import normalise
from search.data import MEAN, STD
from search.flat import FlatNetwork
from search.fused import accelerate
from space import BASELINES, Architecture, Conv, Head, baseline
from space.dropout import Dropout
from space.network import build_network
from tests.strategies import architectures

ORDERS = [
    order
    for count in (1, 2, 3)
    for order in itertools.permutations(("norm", "relu", "dropout"), count)
]
SHAPES = [(5, 8, 6, 6), (3, 1, 7, 5), (2, 17, 3, 3), (4, 12, 1, 1), (1, 6, 9, 2), (9, 40, 20, 20)]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def _chain(order: tuple[str, ...], channels: int, p: float = 0.0) -> nn.Sequential:
    made: dict[str, nn.Module] = {
        "norm": nn.BatchNorm2d(channels),
        "relu": nn.ReLU(),
        "dropout": Dropout(p),
    }
    chain = nn.Sequential(*(made[name] for name in order))
    for parameter in chain.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    return chain


def _input(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 2 + 0.5
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


def _both(network: nn.Module, x: torch.Tensor) -> list[dict[str, torch.Tensor]]:
    """Output, gradients and statistics of the plain network and the accelerated one."""
    results = []
    # Channels first: torch's own 1x1 convolutions with a stride corrupt memory channels last.
    plain = copy.deepcopy(network).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    for each, images in ((plain, x.contiguous()), (network, x)):
        fast = accelerate(each) if results else each
        leaf = images.detach().clone().requires_grad_()
        y = fast(leaf)
        weight = torch.linspace(-1, 1, y.numel()).view(y.shape).to(y.dtype)
        (y * weight).sum().backward()
        assert leaf.grad is not None
        found = {"y": y.detach(), "x.grad": leaf.grad, **dict(each.named_buffers())}
        found |= {f"{n}.grad": p.grad for n, p in each.named_parameters() if p.grad is not None}
        results.append(found)
    assert results[0].keys() == results[1].keys()
    return results


def _assert_close(network: nn.Module, x: torch.Tensor, tolerance: float) -> None:
    expected, found = _both(network, x)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        scale = max(value.float().abs().max().item(), 1e-3)
        torch.testing.assert_close(
            found[name].float() / scale,
            value.float() / scale,
            atol=tolerance,
            rtol=0,
            msg=lambda text, name=name: f"{name}: {text}",
        )


# What follows a convolution


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("order", ORDERS)
def test_chain_is_that_of_torch(
    order: tuple[str, ...], shape: tuple[int, ...], training: bool
) -> None:
    # In quarters: with few different values hardly ever one so close to a ReLU's zero that rounding
    # decides on which side it is.
    x = _input(shape).mul(4).round().div(4)
    _assert_close(_chain(order, shape[1]).train(training), x, 2e-5)


@pytest.mark.parametrize("order", ORDERS)
def test_chain_in_bfloat16_is_that_of_float32_to_its_rounding(order: tuple[str, ...]) -> None:
    x = _input((6, 12, 7, 7), torch.bfloat16)
    chain = _chain(order, 12).train()
    fast = accelerate(copy.deepcopy(chain))(x)
    assert fast.dtype == torch.bfloat16
    torch.testing.assert_close(fast.float(), chain(x.float()), atol=1e-3, rtol=2**-8)


def test_chain_takes_any_memory_format() -> None:
    x = _input((4, 6, 5, 5))
    fast = accelerate(_chain(("relu", "norm"), 6)).eval()
    expected = fast(x)
    assert torch.equal(fast(x.contiguous()), expected)
    assert torch.equal(fast(x[:, :, ::1, :].transpose(2, 3).contiguous().transpose(2, 3)), expected)


def test_gradient_of_a_chain_is_that_of_finite_differences() -> None:
    chain = _chain(("relu", "norm"), 3).double().train()
    x = _input((3, 3, 4, 4))
    weight = torch.randn(x.shape)
    leaf = x.clone().requires_grad_()
    (accelerate(copy.deepcopy(chain).float())(leaf) * weight).sum().backward()
    assert leaf.grad is not None
    for index in [(0, 0, 0, 0), (1, 2, 3, 1), (2, 1, 0, 2)]:
        step = torch.zeros_like(x).double()
        step[index] = 1e-4
        up, down = ((chain(x.double() + sign * step) * weight.double()).sum() for sign in (1, -1))
        assert leaf.grad[index].item() == pytest.approx(
            ((up - down) / 2e-4).item(), rel=1e-3, abs=1e-4
        )


def test_variance_survives_a_large_mean() -> None:
    x = _input((8, 4, 10, 10)) * 0.01 + 1000
    y = accelerate(nn.Sequential(nn.BatchNorm2d(4))).train()(x).detach()
    expected = nn.BatchNorm2d(4).double()(x.double()).detach()
    torch.testing.assert_close(y.double(), expected, atol=1e-2, rtol=0)


def test_one_value_per_channel_cannot_be_normalised() -> None:
    with pytest.raises(ValueError, match="deviation"):
        accelerate(_chain(("norm",), 4)).train()(torch.ones(1, 4, 1, 1))


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("order", [o for o in ORDERS if "dropout" not in o])
def test_what_is_not_finite_stays_so(
    order: tuple[str, ...], dtype: torch.dtype, training: bool, value: float
) -> None:
    x = _input((4, 6, 5, 5), dtype)
    x[1, 2, 3, 4] = value
    y = accelerate(_chain(order, 6).train(training))(x)
    assert not y[:, 2].isfinite().all()
    assert y[:, :2].isfinite().all()


# Dropout


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("channels", [1, 7, 16])
def test_dropout_drops_its_share_and_keeps_the_mean(p: float, channels: int) -> None:
    fast = accelerate(_chain(("dropout",), channels, p)).train()
    y = fast(torch.ones(50, channels, 60, 60))
    kept = y > 0
    count = y.numel()
    assert abs(kept.float().mean().item() - (1 - p)) < 5 * math.sqrt(p * (1 - p) / count) + 1e-5
    torch.testing.assert_close(y[kept], torch.full_like(y[kept], 1 / (1 - p)), rtol=1e-3, atol=0)


def test_dropped_elements_are_independent() -> None:
    fast = accelerate(_chain(("dropout",), 16, 0.5)).train()
    draws = torch.stack([fast(torch.ones(8, 16, 32, 32)).flatten().sign() * 2 - 1 for _ in "ab"])
    count = draws.shape[1]
    for lag in (*range(1, 70), 256, 512, 513, 1024, 4096):
        assert abs((draws[0, lag:] * draws[0, :-lag]).mean().item()) < 5 / math.sqrt(count), lag
    assert abs((draws[0] * draws[1]).mean().item()) < 5 / math.sqrt(count)


def test_dropout_is_fresh_each_call_and_follows_its_generator() -> None:
    def draws() -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(0)
        chain = _chain(("relu", "norm", "dropout"), 8, 0.3)
        chain[2].generator = torch.Generator().manual_seed(3)  # type: ignore[assignment]
        fast = accelerate(chain).train()
        torch.rand(3)
        x = _input((4, 8, 6, 6))
        return fast(x), fast(x)

    first, second = draws()
    assert not torch.equal(first == 0, second == 0)
    again = draws()
    assert torch.equal(first, again[0])
    assert torch.equal(second, again[1])


@pytest.mark.parametrize("order", [("dropout",), ("norm", "dropout"), ("relu", "norm", "dropout")])
def test_backward_drops_what_forward_dropped(order: tuple[str, ...]) -> None:
    chain = _chain(order, 8, 0.4).train()
    x, weight = _input((6, 8, 7, 7)), torch.randn(6, 8, 7, 7)
    leaf = x.clone().requires_grad_()
    y = accelerate(copy.deepcopy(chain))(leaf)
    (y * weight).sum().backward()
    plain = x.clone().requires_grad_()
    kept = chain[:-1](plain) * (y != 0) / 0.6
    (kept * weight).sum().backward()
    torch.testing.assert_close(y, kept, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(leaf.grad, plain.grad, atol=1e-3, rtol=1e-3)


def test_evaluation_drops_nothing() -> None:
    x = _input((4, 8, 6, 6))
    assert torch.equal(accelerate(_chain(("dropout",), 8, 0.5)).eval()(x), x)


# Pooling

BOTH_WAYS = [kernels._VECTOR - 1, kernels._VECTOR]
"""Channels: the gradient is worked through in another way for each."""


@pytest.mark.parametrize("shape", [(3, 8, 6, 6), (2, 1, 7, 5), (2, kernels._VECTOR + 1, 9, 4)])
@pytest.mark.parametrize(("size", "stride"), [(2, 2), (2, 1), (2, 3)])
def test_max_pool_is_that_of_torch(shape: tuple[int, ...], size: int, stride: int) -> None:
    _assert_close(nn.Sequential(nn.MaxPool2d(size, stride)), _input(shape), 1e-6)


@pytest.mark.parametrize("channels", BOTH_WAYS)
def test_max_pool_in_bfloat16_with_ties_is_that_of_torch(channels: int) -> None:
    x = torch.randint(0, 3, (4, channels, 12, 12)).to(torch.bfloat16)
    _assert_close(nn.Sequential(nn.MaxPool2d(3, 3)), x, 0)


@pytest.mark.parametrize("channels", BOTH_WAYS)
def test_overlapping_max_pool_with_ties_is_that_of_torch(channels: int) -> None:
    x = torch.randint(0, 3, (4, channels, 11, 11)).float()
    _assert_close(nn.Sequential(nn.MaxPool2d(3, 2)), x, 1e-6)


@pytest.mark.parametrize("channels", BOTH_WAYS)
def test_max_pool_keeps_nan(channels: int) -> None:
    x = _input((1, channels, 4, 4))
    x[0, 1, 1, 0] = math.nan
    y = accelerate(nn.Sequential(nn.MaxPool2d(2)))(x.requires_grad_())
    assert y.isnan().nonzero().tolist() == [[0, 1, 0, 0]]
    slopes = torch.zeros_like(y)
    slopes[0, 1, 0, 0], slopes[0, 2, 1, 1] = 1.0, math.nan
    y.backward(slopes)
    assert x.grad is not None
    assert x.grad.isfinite().logical_and(x.grad != 0).nonzero()[:, 1].tolist() == [1]
    assert x.grad.isnan().nonzero()[:, 1].tolist() == [2]


# Convolutions


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [
        (3, 1, 0),
        (3, 1, 1),
        (3, 2, 1),
        (1, 1, 0),
        (1, 2, 0),
        (1, 2, 1),
        (1, 3, 0),
        (5, 1, 2),
        (2, 1, 0),
        (3, 1, 4),
    ],
)
@pytest.mark.parametrize("size", [8, 7])
@pytest.mark.parametrize("outputs", [6, 20])
def test_convolution_is_that_of_torch(
    outputs: int, size: int, kernel: int, stride: int, padding: int, bias: bool, groups: int
) -> None:
    conv = nn.Conv2d(4, outputs, kernel, stride, padding, bias=bias, groups=groups)
    network = nn.Sequential(conv.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
    _assert_close(network, _input((3, 4, size, size)), 1e-5)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kernel", [2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("size", [(8, 7), (9, 12)])
def test_depthwise_convolution_in_bfloat16_is_that_of_float32_to_its_rounding(
    size: tuple[int, int], padding: int, stride: int, kernel: int, bias: bool
) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 6, kernel, stride, padding, bias=bias, groups=6)
    rounded = {name: value.bfloat16().float() for name, value in plain.state_dict().items()}
    plain.load_state_dict(rounded)
    twin = copy.deepcopy(plain)
    x = torch.randn(4, 6, *size).bfloat16().float()
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    expected = plain(one)
    slopes = torch.randn_like(expected).bfloat16()
    expected.backward(slopes.float())
    with torch.autocast("cpu", torch.bfloat16):
        found = accelerate(twin)(other)
    found.backward(slopes)
    pairs = [(expected, found), (one.grad, other.grad), (plain.weight.grad, twin.weight.grad)]
    if plain.bias is not None and twin.bias is not None:
        pairs.append((plain.bias.grad, twin.bias.grad))
    for a, b in pairs:
        assert a is not None
        assert b is not None
        assert (a - b.float()).abs().max() <= 0.02 * a.abs().max()


@pytest.mark.parametrize("kernel", [(5, 5), (5, 4), (1, 6)])
@pytest.mark.parametrize("padding", [(0, 0), (2, 0), (1, 3), (4, 5)])
@pytest.mark.parametrize(("images", "channels"), [(3, 6), (1, 1), (2, 40)])
def test_own_gradient_of_depthwise_weights_is_exact(
    images: int, channels: int, padding: tuple[int, int], kernel: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.zeros(channels, 1, *kernel, requires_grad=True)
    x = torch.randn(images, channels, 5, 6, generator=generator).bfloat16()
    y = F.conv2d(x.float(), weight, padding=padding, groups=channels)
    gradient = torch.randn(y.shape, generator=generator).bfloat16()
    (expected,) = torch.autograd.grad(y, weight, gradient.float())
    out = np.full((*kernel, channels), math.nan, np.float32)
    maps = [_bits(each) for each in (x, gradient)]
    kernels.depthwise_gradient(*maps, out, padding)
    found = torch.from_numpy(out).permute(2, 0, 1).unsqueeze(1)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)
    maps[1][0, 0, 0, 0] = _bits(torch.full((1, 1, 1, 1), math.inf).bfloat16())[0, 0, 0, 0]
    kernels.depthwise_gradient(*maps, out, padding)
    assert not np.isfinite(out[..., 0]).all()  # a training that explodes has to be seen


def _bits(x: torch.Tensor) -> kernels.Map:
    """(N, C, H, W) as the bits of (N, H, W, C)."""
    return x.view(torch.uint16).permute(0, 2, 3, 1).contiguous().numpy()


def test_five_by_five_depthwise_weights_in_bfloat16_take_the_own_gradient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    own = kernels.depthwise_gradient
    monkeypatch.setattr(kernels, "depthwise_gradient", lambda *a: calls.append(own(*a)))
    for kernel, dtype in ((3, torch.bfloat16), (5, torch.float32), (5, torch.bfloat16)):
        conv = accelerate(nn.Conv2d(4, 4, kernel, 2, groups=4, bias=False))
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            y = conv(torch.randn(2, 4, 9, 9))
        y.backward(torch.ones_like(y))
        assert len(calls) == (kernel == 5 and dtype == torch.bfloat16)


# Whole networks


@settings(max_examples=40, deadline=None)
@given(architectures())
def test_network_in_evaluation_is_that_of_torch(architecture: Architecture) -> None:
    torch.manual_seed(0)
    network = build_network(architecture).eval()
    fast = accelerate(network)
    x = torch.randn(3, *architecture.input_shape)
    torch.testing.assert_close(fast(x), network(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", BASELINES)
def test_network_in_training_is_that_of_torch(name: str) -> None:
    torch.manual_seed(0)
    plain = build_network(baseline(name).architecture).train()
    twin = copy.deepcopy(plain)
    fast = accelerate(twin)
    x, labels = torch.randn(16, 1, 28, 28), torch.arange(16) % 10
    for network in (plain, fast):
        F.cross_entropy(network(x), labels).backward()
    for (key, value), found in zip(plain.named_parameters(), twin.parameters(), strict=True):
        assert value.grad is not None
        assert found.grad is not None
        # As vectors: a maximum or a ReLU near a tie may fall the other way for single elements.
        assert (found.grad - value.grad).norm() <= 0.01 * value.grad.norm() + 1e-6, key
    assert list(twin.state_dict()) == list(plain.state_dict())
    for (key, buffer), found in zip(plain.named_buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(found, buffer, atol=1e-5, rtol=1e-4, msg=key)


def test_network_in_bfloat16_gives_gradients_near_those_of_float32() -> None:
    torch.manual_seed(0)
    architecture = baseline("1.3").architecture
    plain = build_network(architecture).train()
    twin = FlatNetwork(copy.deepcopy(plain), torch.device("cpu"))
    fast = accelerate(twin.network).train()
    x, labels = torch.randn(32, 1, 28, 28), torch.arange(32) % 10
    F.cross_entropy(plain(x), labels).backward()
    with torch.autocast("cpu", torch.bfloat16):
        logits = fast(x)
    F.cross_entropy(logits.float(), labels).backward()
    for (name, a), b in zip(plain.named_parameters(), twin.network.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        similarity = F.cosine_similarity(a.grad.flatten(), b.grad.flatten(), dim=0)
        assert similarity > 0.9, name


def test_accelerating_leaves_the_network_as_it_is() -> None:
    network = build_network(baseline("1.3").architecture, dropout=0.1)
    before = str(network)
    fast = accelerate(network)
    assert str(network) == before
    fast.eval()
    assert all(module.training for module in network.modules())


def test_same_weights_applied_twice_add_their_gradients() -> None:
    layer = Conv(kind="conv", width=4, padding=1, then=("relu", "norm"), repeats=3, residual=True)
    architecture = Architecture(layers=(layer,), head=Head(kind="gap_conv"), input_shape=(4, 6, 6))
    _assert_close(build_network(architecture).train(), _input((5, 4, 6, 6)), 5e-5)


# Moving images


@pytest.mark.parametrize("shape", [(28, 28), (9, 14)])
def test_warp_is_that_of_torch(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (40, *shape), dtype=torch.uint8, generator=generator)
    maps = torch.randn(40, 2, 5, generator=generator)
    maps[:20] = maps[:20] * 0.1 + torch.eye(2, 5)
    affine = F.affine_grid(torch.eye(2, 3)[None], [1, 1, *shape], align_corners=False)
    columns, rows = affine.view(-1, 2).T
    basis = torch.stack((columns, rows, torch.ones(len(rows)), columns**2, rows**3))
    grid = (maps @ basis).view(40, 2, *shape).permute(0, 2, 3, 1)
    expected = normalise(
        F.grid_sample(pixels.unsqueeze(1).float(), grid, align_corners=False).squeeze(1)
    )
    found = torch.empty(40, *shape)
    arrays = (pixels.numpy(), maps.numpy(), basis.numpy(), found.numpy())
    kernels.warp(*arrays, 255 * MEAN, 255 * STD)
    # In pixel values 0..255.
    difference = (found.unsqueeze(1) - expected).abs() * 255 * STD
    assert difference.max() < 0.02
    assert difference.mean() < 1e-3


def test_kernels_work_where_no_folder_is_writable() -> None:
    code = (
        "from numba.core.caching import CacheImpl; CacheImpl._locator_classes = []\n"
        "import torch; from torch import nn; from search.fused import accelerate\n"
        "assert accelerate(nn.Sequential(nn.ReLU()))(-torch.ones(1, 2, 3, 3)).sum() == 0"
    )
    root = Path(__file__).resolve().parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
