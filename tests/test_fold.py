"""Lowering to a program, and folding it, give the same function."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from results.models.fold import fold
from results.models.pixels import PixelNetwork
from results.models.program import Program, ProgramNetwork, Scale, lower
from space import Architecture, Conv, Head, Pool, SearchSpace, footprint
from tests.networks import EVERY_OP, trained_like
from tests.strategies import RandomTrial, architectures


def assert_same_function(program: Program, model: PixelNetwork) -> None:
    """To 1e-5 of the largest logit, so whatever the random weights make of the scale."""
    pixels = torch.rand(3, *program.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(pixels)
        logits = ProgramNetwork(program)(pixels)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5 * max(1, expected.abs().max()))


def with_scales(architecture: Architecture) -> Architecture:
    """The same with a scale in every normalisation: what a program has of each, trained or not."""
    layers = tuple(
        layer.model_copy(update={"norm_scale": True}) if isinstance(layer, Conv) else layer
        for layer in architecture.layers
    )
    return architecture.model_copy(update={"layers": layers})


@given(architectures(), st.integers(0, 1_000))
@settings(max_examples=60, deadline=None)
def test_any_architecture_keeps_its_function(architecture: Architecture, seed: int) -> None:
    model = trained_like(architecture, seed)
    program = lower(model, architecture.input_shape)
    assert program.params == footprint(with_scales(architecture)).params + 2
    assert_same_function(program, model)
    folded = fold(program)
    assert_same_function(folded.program, model)
    scales = [step.op for step in folded.program.steps if isinstance(step.op, Scale)]
    assert {scale.name for scale in scales} == set(folded.kept)


@pytest.mark.parametrize("seed", range(10))
def test_draws_of_the_space_keep_their_function(seed: int) -> None:
    architecture = SearchSpace.for_budget(5_000).sample(RandomTrial(seed)).architecture
    model = trained_like(architecture, seed)
    assert_same_function(fold(lower(model, architecture.input_shape)).program, model)


@pytest.mark.parametrize("name", EVERY_OP)
def test_networks_with_every_operation_keep_their_function(name: str) -> None:
    model = trained_like(EVERY_OP[name], 0)
    assert_same_function(fold(lower(model, (1, 28, 28))).program, model)


def kept(*layers: Conv | Pool, factor: float = -0.5) -> dict[str, str]:
    """What of these layers can't be folded, and why; `factor`: that of every BatchNorm."""
    architecture = Architecture(layers=layers, head=Head(kind="gap_conv"))
    model = trained_like(architecture, 0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, factor)
    return fold(lower(model, architecture.input_shape)).kept


def test_a_norm_after_a_convolution_folds_back() -> None:
    conv = Conv(kind="conv", width=4, then=("norm", "relu"))
    assert kept(conv, conv) == {}


def test_a_norm_after_a_relu_folds_on_unless_zeros_are_padded_behind_it() -> None:
    conv = Conv(kind="conv", width=4, then=("relu", "norm"))
    assert kept(conv, Pool(kind="average_pool"), conv) == {}
    assert kept(conv, conv.model_copy(update={"padding": 1})) == {
        "the BatchNorm of layer1": "the next convolution pads with zeros"
    }


def test_a_norm_folds_through_a_maximum_only_if_no_factor_is_negative() -> None:
    conv = Conv(kind="conv", width=4, then=("relu", "norm"))
    assert kept(conv, Pool(kind="max_pool"), factor=0.5) == {}
    assert "negative" in kept(conv, Pool(kind="max_pool"))["the BatchNorm of layer1"]


def test_shared_weights_stay_shared() -> None:
    architecture = EVERY_OP["repeats with residual, odd pools, norm before relu, conv_gap"]
    program = lower(trained_like(architecture, 0), (1, 28, 28))
    folded = fold(program)
    assert "applied several times" in folded.kept["the BatchNorm of layer3, application 2"]
    assert folded.program.params <= program.params
