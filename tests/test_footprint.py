"""The closed formulas against the built network, two profilers and gradients."""

import copy

import pytest
import thop
import torch
from hypothesis import given, settings
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from space import BASELINES, Architecture, Conv, Head, baseline, footprint, layer_costs
from space.dropout import Dropout
from space.network import build_network
from tests.strategies import architectures, averaging_bodies

SETTINGS = settings(max_examples=60, deadline=None)


def _zero_image(architecture: Architecture) -> torch.Tensor:
    return torch.zeros(1, *architecture.input_shape)


def _flop_counter_macs(architecture: Architecture) -> float:
    network = build_network(architecture).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(_zero_image(architecture))
    return counter.get_total_flops() / 2


def _not_counted(module: nn.Module, *_: object) -> None:
    module.total_ops += 0


def _thop_macs(architecture: Architecture) -> float:
    network = copy.deepcopy(build_network(architecture)).eval()
    others = (nn.BatchNorm2d, nn.ReLU, nn.AvgPool2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d, Dropout)
    macs, _ = thop.profile(
        network,
        inputs=(_zero_image(architecture),),
        custom_ops=dict.fromkeys(others, _not_counted),
        verbose=False,
    )
    return macs


def _measured_field(body: nn.Module, size: int) -> int:
    """Side of the square of input pixels that the central position of the last map depends on."""
    body = copy.deepcopy(body).double().eval()
    with torch.no_grad():
        for parameter in body.parameters():
            parameter.fill_(1.0)
    image = torch.ones(1, 1, size, size, dtype=torch.float64, requires_grad=True)
    out = body(image)
    out[0, 0, out.shape[2] // 2, out.shape[3] // 2].backward()
    assert image.grad is not None
    rows, columns = torch.nonzero(image.grad[0, 0], as_tuple=True)
    height, width = rows.max() - rows.min() + 1, columns.max() - columns.min() + 1
    assert height == width
    return int(height)


@SETTINGS
@given(architectures())
def test_params_are_those_of_the_built_network(architecture: Architecture) -> None:
    network = build_network(architecture)
    built = sum(parameter.numel() for parameter in network.parameters())
    assert footprint(architecture).params == built


@SETTINGS
@given(architectures())
def test_macs_are_half_of_what_the_flop_counter_reports(architecture: Architecture) -> None:
    assert footprint(architecture).macs == _flop_counter_macs(architecture)


@SETTINGS
@given(architectures())
def test_macs_are_what_thop_counts_for_convolutions(architecture: Architecture) -> None:
    assert footprint(architecture).macs == _thop_macs(architecture)


def test_shared_weights_count_once_as_parameters_and_each_time_as_macs() -> None:
    def stack(repeats: int) -> Architecture:
        shared = Conv(kind="conv", width=4, padding=1, repeats=repeats)
        first = Conv(kind="conv", width=4)
        return Architecture(layers=(first, shared), head=Head(kind="gap_conv"))

    once, thrice = footprint(stack(1)), footprint(stack(3))
    assert thrice.params == once.params
    assert thrice.macs - once.macs == 2 * (9 * 4 * 4 * 26 * 26)
    assert thrice.macs == _thop_macs(stack(3)) == _flop_counter_macs(stack(3))


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_baselines_cost_what_their_networks_cost(name: str) -> None:
    architecture = baseline(name).architecture
    built = sum(parameter.numel() for parameter in build_network(architecture).parameters())
    cost = footprint(architecture)
    assert (cost.params, cost.macs) == (built, _flop_counter_macs(architecture))


@SETTINGS
@given(averaging_bodies(size=96, largest_field=40))
def test_receptive_field_is_where_gradients_reach(architecture: Architecture) -> None:
    body = build_network(architecture)[:-1]
    assert footprint(architecture).receptive_field_pixels == _measured_field(body, 96)


def test_receptive_field_of_the_head_is_that_of_the_logits() -> None:
    layers = (
        Conv(kind="conv", width=2, kernel_size=5, stride=2),
        Conv(kind="separable", width=3, kernel_size=3),
    )
    for kind in ("gap_conv", "conv_gap", "full_conv"):
        architecture = Architecture(
            layers=layers, head=Head(kind=kind), classes=2, input_shape=(1, 27, 27)
        )
        network = build_network(architecture)
        network.append(nn.Unflatten(1, (2, 1, 1)))
        head = layer_costs(architecture)[-1]
        assert head.receptive_field_pixels == _measured_field(network, 27) == 27


def test_receptive_field_without_layers_is_one_pixel() -> None:
    bare = Architecture(layers=(), head=Head(kind="gap_conv"))
    assert footprint(bare).receptive_field_pixels == 1


@SETTINGS
@given(architectures())
def test_layer_costs_add_up_to_the_footprint(architecture: Architecture) -> None:
    costs, total = layer_costs(architecture), footprint(architecture)
    assert len(costs) == len(architecture.layers) + 1
    assert sum(cost.params for cost in costs) == total.params
    assert sum(cost.macs for cost in costs) == total.macs
    assert tuple(cost.output_shape for cost in costs[:-1]) == architecture.shapes()[1:]


@SETTINGS
@given(architectures())
def test_layer_costs_are_those_of_each_built_layer(architecture: Architecture) -> None:
    built = build_network(architecture)
    x = torch.zeros(2, *architecture.input_shape)
    for module, cost in zip(built, layer_costs(architecture), strict=True):
        x = module.eval()(x)
        assert sum(parameter.numel() for parameter in module.parameters()) == cost.params
        assert (*x.shape[1:], 1, 1)[:3] == cost.output_shape
