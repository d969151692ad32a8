"""Descriptions are values, and networks do what their description says."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from space import Architecture, Conv, Head, Layer, Pool, Recipe
from space.dropout import Dropout
from space.network import Block, ShiftNorm, build_network
from tests.strategies import architectures

SETTINGS = settings(max_examples=60, deadline=None)
HEAD = Head(kind="gap_conv")


def _block(layer: Conv, channels: int, size: int = 6) -> Block:
    """The built block of one layer, its normalisations with scales and shifts that matter."""
    architecture = Architecture(layers=(layer,), head=HEAD, input_shape=(channels, size, size))
    block = build_network(architecture).eval()[0]
    assert isinstance(block, Block)
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            if not isinstance(module, ShiftNorm):
                nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.uniform_(module.bias, -1.0, 1.0)
    return block


@SETTINGS
@given(architectures())
def test_json_round_trip_gives_an_equal_value_with_the_same_id(architecture: Architecture) -> None:
    read = Architecture.from_json(architecture.to_json())
    assert read == architecture
    assert read.id == architecture.id
    assert hash(read) == hash(architecture)


@SETTINGS
@given(architectures(most_layers=2), architectures(most_layers=2))
def test_ids_differ_exactly_if_architectures_differ(a: Architecture, b: Architecture) -> None:
    assert (a.id == b.id) == (a == b)


def test_every_field_changes_the_id() -> None:
    plain = Conv(kind="conv", width=1, kernel_size=3, padding=1)
    changes: list[dict[str, object]] = [
        {"kind": "separable"},
        {"width": 2},
        {"kernel_size": 2},
        {"padding": 2},
        {"stride": 2},
        {"bias": True},
        {"then": ("norm",)},
        {"then": ("norm", "relu")},
        {"then": ("relu", "norm")},
        {"residual": True},
        {"repeats": 2},
    ]
    layers: list[tuple[Layer, ...]] = [
        (),
        (plain,),
        (plain, plain),
        *((plain.model_copy(update=change),) for change in changes),
        (Pool(kind="max_pool"),),
        (Pool(kind="average_pool"),),
        (Pool(kind="max_pool", size=3),),
        (Pool(kind="max_pool", stride=1),),
    ]
    different = [Architecture(layers=each, head=HEAD) for each in layers]
    different += [
        Architecture(layers=(), head=Head(kind="conv_gap")),
        Architecture(layers=(), head=Head(kind="gap_conv", bias=True)),
        Architecture(layers=(), head=HEAD, classes=9),
        Architecture(layers=(), head=HEAD, input_shape=(1, 28, 27)),
    ]
    assert len({each.id for each in different}) == len(different)


@SETTINGS
@given(architectures(), st.integers(1, 3))
def test_network_maps_images_to_a_logit_per_class(architecture: Architecture, count: int) -> None:
    logits = build_network(architecture).eval()(torch.zeros(count, 1, 28, 28))
    assert logits.shape == (count, 10)


@pytest.mark.parametrize(
    ("layers", "named", "reason"),
    [
        ([{"kind": "conv", "width": 4, "kernel_size": 29}], "layer 1 (conv)", "29x29"),
        (
            [{"kind": "max_pool", "size": 28}, {"kind": "average_pool"}],
            "layer 2 (average_pool)",
            "2x2",
        ),
        (
            [{"kind": "conv", "width": 1}, {"kind": "conv", "width": 1, "residual": True}],
            "layer 2 (conv)",
            "must keep its shape",
        ),
        (
            [{"kind": "separable", "width": 2, "padding": 1, "repeats": 2}],
            "layer 1 (separable)",
            "must keep its shape",
        ),
        (
            [{"kind": "conv", "width": 4, "then": ["relu", "relu"]}],
            "layers.0",
            "then names something twice",
        ),
        ([{"kind": "conv", "width": 4, "then": ["tanh"]}], "layers.0", "then"),
        ([{"kind": "conv", "width": -4}], "layers.0", "width"),
        ([{"kind": "conv", "width": 4, "dilation": 2}], "layers.0", "dilation"),
        ([{"kind": "max_pool", "width": 4}], "layers.0", "width"),
        ([{"kind": "max_pool"}, {"kind": "linear"}], "layers.1", "linear"),
    ],
)
def test_invalid_layer_is_refused_by_name(
    layers: list[dict[str, object]], named: str, reason: str
) -> None:
    text = json.dumps({"layers": layers, "head": {"kind": "gap_conv"}})
    with pytest.raises(ValueError, match="not a valid Architecture") as refusal:
        Architecture.from_json(text)
    message = str(refusal.value)
    assert named in message
    assert reason in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"layers": []}',
        '{"layers": [], "head": {"kind": "gap_conv"}, "extra": 1}',
        '{"layers": [], "head": {"kind": "gap_conv", "width": 1}}',
        '{"layers": [], "head": {"kind": "gap_conv"}, "classes": 1}',
        '{"layers": [], "head": {"kind": "gap_conv"}, "input_shape": [1, 0, 28]}',
        '{"layers": [], "head": {"kind": "gap_conv"}, "input_shape": [1, 28]}',
    ],
)
def test_wrong_json_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not a valid Architecture: [^\n]+$") as refusal:
        Architecture.from_json(text)
    assert "\n" not in str(refusal.value)


def test_construction_refuses_what_does_not_fit() -> None:
    wide = Conv(kind="conv", width=4, kernel_size=30)
    with pytest.raises(ValueError, match=r"layer 2 \(conv\): a 30x30 window does not fit"):
        Architecture(layers=(Pool(kind="max_pool"), wide), head=HEAD)


def test_recipe_refuses_what_is_not_a_finite_number() -> None:
    for text in ('{"learning_rate": NaN}', '{"learning_rate": Infinity}', '{"learning_rate": 0}'):
        with pytest.raises(ValueError, match="learning_rate"):
            Recipe.from_json(text)


def test_values_are_frozen() -> None:
    architecture = Architecture(layers=(Conv(kind="conv", width=4),), head=HEAD)
    with pytest.raises(ValueError, match="frozen"):
        architecture.classes = 5  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        architecture.layers[0].width = 5  # type: ignore[misc,union-attr]
    assert isinstance(architecture.layers, tuple)


def test_order_of_norm_and_relu_is_that_of_the_description() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 3, 6, 6)
    orders = {
        ("norm", "relu"): [nn.BatchNorm2d, nn.ReLU],
        ("relu", "norm"): [nn.ReLU, nn.BatchNorm2d],
        ("relu", "norm", "dropout"): [nn.ReLU, nn.BatchNorm2d, Dropout],
    }
    for then, modules in orders.items():
        block = _block(Conv(kind="conv", width=4, then=then), 3)
        assert [type(module) for module in block.after[0]] == modules
        # Normalisation before ReLU leaves nothing below zero; after it, it shifts.
        assert (block(x).min() >= 0) == (then == ("norm", "relu"))


def test_bare_convolution_has_nothing_after_it() -> None:
    block = _block(Conv(kind="conv", width=4), 3)
    x = torch.randn(2, 3, 6, 6)
    assert torch.equal(block(x), F.conv2d(x, *block.conv.parameters()))


def test_separable_is_a_depthwise_then_a_pointwise_convolution() -> None:
    layer = Conv(kind="separable", width=5, kernel_size=3, padding=1, stride=2, bias=True)
    block = _block(layer, 3)
    depthwise, pointwise, bias = block.conv.parameters()
    assert depthwise.shape == (3, 1, 3, 3)
    assert pointwise.shape == (5, 3, 1, 1)
    x = torch.randn(2, 3, 6, 6)
    each_channel = [
        F.conv2d(x[:, [channel]], depthwise[[channel]], stride=2, padding=1) for channel in range(3)
    ]
    expected = F.conv2d(torch.cat(each_channel, dim=1), pointwise, bias)
    torch.testing.assert_close(block(x), expected)


def test_residual_adds_its_input() -> None:
    torch.manual_seed(0)
    layer = Conv(kind="conv", width=3, padding=1, then=("norm", "relu"))
    block = _block(layer.model_copy(update={"residual": True}), 3)
    x = torch.randn(2, 3, 6, 6)
    expected = x + block.after[0](F.conv2d(x, block.conv.weight, padding=1))
    torch.testing.assert_close(block(x), expected)


def test_residual_repeats_add_the_input_of_each_application() -> None:
    torch.manual_seed(0)
    layer = Conv(kind="conv", width=3, padding=1, then=("norm",), residual=True, repeats=2)
    block = _block(layer, 3)
    x = torch.randn(2, 3, 6, 6)
    once = x + block.after[0](block.conv(x))
    torch.testing.assert_close(block(x), once + block.after[1](block.conv(once)))


def test_repeats_share_weights_and_have_norms_of_their_own() -> None:
    torch.manual_seed(0)
    block = _block(Conv(kind="conv", width=3, padding=1, then=("norm", "relu"), repeats=3), 3)
    norms = [after[0] for after in block.after]
    assert len({id(norm) for norm in norms}) == 3
    assert [name for name, _ in block.named_parameters() if "conv" in name] == ["conv.weight"]
    x = expected = torch.randn(2, 3, 6, 6)
    for norm in norms:
        expected = F.relu(norm(F.conv2d(expected, block.conv.weight, padding=1)))
    torch.testing.assert_close(block(x), expected)


def test_head_kinds_compute_what_they_say() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 5)
    for kind in ("gap_conv", "conv_gap", "full_conv"):
        head = Head(kind=kind, bias=True)
        network = build_network(Architecture(layers=(), head=head, input_shape=(3, 4, 5)))
        weight, bias = network.parameters()
        if kind == "full_conv":
            expected = torch.einsum("nchw,kchw->nk", x, weight) + bias
        else:
            expected = x.mean(dim=(2, 3)) @ weight.flatten(1).T + bias
        torch.testing.assert_close(network(x), expected)


def test_initialisation_follows_the_global_seed() -> None:
    architecture = Architecture(layers=(Conv(kind="conv", width=4),), head=HEAD)

    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(build_network(architecture).parameters())

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_dropout_does_nothing_in_evaluation_or_at_zero() -> None:
    x = torch.randn(5, 3, 4, 4)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0).train()(x), x)


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(64, 16, 20, 20), (401, 13, 9, 7)])
def test_dropout_zeroes_its_share_and_keeps_the_mean(
    p: float, memory_format: torch.memory_format, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    x = torch.ones(shape).to(memory_format=memory_format)
    y = Dropout(p).train()(x)
    error = 5 * (p * (1 - p) / x.numel()) ** 0.5
    assert abs((y == 0).float().mean().item() - p) < error + 2**-16
    assert abs(y.mean().item() - 1) < error / (1 - p) + 1e-4
    assert y.unique().numel() == 2
    assert y.stride() == x.stride()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_dropout_passes_the_gradient_of_what_it_keeps(memory_format: torch.memory_format) -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 4, 5, 5).to(memory_format=memory_format).requires_grad_()
    y = Dropout(0.25).train()(x)
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad * x, y)


def test_dropout_drops_afresh_and_independently_of_the_channel() -> None:
    torch.manual_seed(0)
    dropout, x = Dropout(0.5).train(), torch.ones(64, 8, 8, 8)
    first, second = dropout(x), dropout(x)
    assert 0.45 < (first == second).float().mean().item() < 0.55
    correlations = torch.corrcoef(first.transpose(0, 1).flatten(1)) - torch.eye(8)
    assert correlations.abs().max().item() < 0.08


def test_dropout_close_to_one_zeroes_everything_or_nearly() -> None:
    y = Dropout(0.999995).train()(torch.ones(100, 100))
    assert (y == 0).float().mean().item() > 0.99


def test_dropout_probability_reaches_the_places_the_architecture_names() -> None:
    layers = (
        Conv(kind="conv", width=4, then=("relu", "dropout")),
        Conv(kind="conv", width=4, then=("relu",)),
        Conv(kind="conv", width=4, padding=1, then=("dropout",), repeats=2),
    )
    network = build_network(Architecture(layers=layers, head=HEAD), dropout=0.3)
    dropouts = {name: m for name, m in network.named_modules() if isinstance(m, Dropout)}
    assert list(dropouts) == ["layer1.after.0.1", "layer3.after.0.0", "layer3.after.1.0"]
    assert {dropout.p for dropout in dropouts.values()} == {0.3}


def test_a_normalisation_without_scale_trains_its_shift_alone() -> None:
    architecture = Architecture(
        layers=(Conv(kind="conv", width=3, then=("norm", "relu"), norm_scale=False),),
        head=Head(kind="gap_conv"),
    )
    network = build_network(architecture)
    names = [name for name, _ in network.named_parameters()]
    assert [name for name in names if ".after." in name] == ["layer1.after.0.0.bias"]
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    network(torch.rand(4, 1, 28, 28)).square().sum().backward()
    optimizer.step()
    norm = network.get_submodule("layer1.after.0.0")
    assert torch.equal(norm.weight, torch.ones(3))  # type: ignore[arg-type]
    assert "layer1.after.0.0.weight" not in network.state_dict()  # no file can change it
    assert norm.bias.abs().min() > 0  # type: ignore[operator,union-attr]
    again = build_network(architecture)
    again.load_state_dict(network.state_dict())
    pixels = torch.rand(2, 1, 28, 28)
    torch.testing.assert_close(again.eval()(pixels), network.eval()(pixels))
