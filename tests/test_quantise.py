"""Networks in whole numbers: close to the real ones, and the same in each of their forms."""

import json
from collections import Counter
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch

from results.errors import NasSearchError
from results.models import program as plain
from results.models.fold import fold
from results.models.onnx_int8 import int8_onnx, int8_onnx_activation_bytes
from results.models.pixels import PixelNetwork
from results.models.program import Program, Step, lower
from results.models.quantise import quantise
from results.models.quantised import IntegerConv, IntegerProgram
from search.data import DataSource
from space import Architecture, Conv, Head
from tests.networks import EVERY_OP, trained_like


def digits(first: int, last: int) -> torch.Tensor:
    """Training digits, uint8 (N, 1, 28, 28)."""
    images, _ = DataSource("mnist-sample").load().all_training.batch(torch.arange(first, last))
    return images.unsqueeze(1)


def fitted(architecture: Architecture, seed: int) -> PixelNetwork:
    """A random network that tells digits apart, so that there is something to keep."""
    return trained_like(architecture, seed, digits(0, 64).float() / 255)


def quantised(model: PixelNetwork) -> IntegerProgram:
    return quantise(fold(lower(model, (1, 28, 28))).program, digits(0, 64))


@pytest.mark.parametrize("name", EVERY_OP)
def test_logits_are_close_to_those_of_the_network(name: str) -> None:
    model = fitted(EVERY_OP[name], 0)
    pixels = digits(1_000, 1_100).float() / 255
    with torch.no_grad():
        expected = model(pixels)
    error = quantised(model)(pixels) - expected
    assert error.square().mean().sqrt() < 0.3 * expected.std(0).mean()


@pytest.mark.parametrize("name", EVERY_OP)
def test_rounding_does_not_add_up_to_a_bias(name: str) -> None:
    model, pixels = fitted(EVERY_OP[name], 0), digits(0, 64).float() / 255
    with torch.no_grad():
        expected = model(pixels)
    bias = (quantised(model)(pixels) - expected).mean(0)
    assert bias.abs().max() < 0.02 * expected.std(0).mean()


@pytest.mark.parametrize("name", EVERY_OP)
def test_onnx_runtime_computes_the_same_up_to_roundings(name: str) -> None:
    program = quantised(fitted(EVERY_OP[name], 0))
    pixels = digits(1_000, 1_100).float() / 255
    session = onnxruntime.InferenceSession(int8_onnx(program))
    (logits,) = session.run(None, {"pixels": pixels.numpy()})
    expected = program(pixels)
    error = torch.from_numpy(logits) - expected
    assert error.square().mean().sqrt() < 0.05 * expected.std(0).mean()


@pytest.mark.parametrize("name", EVERY_OP)
def test_the_onnx_file_has_no_signed_bytes(name: str) -> None:
    """With them ONNX Runtime saturates on processors that this test may not run on."""
    model = onnx.load_from_string(int8_onnx(quantised(fitted(EVERY_OP[name], 0))))
    types = Counter(each.data_type for each in model.graph.initializer)
    assert types[onnx.TensorProto.UINT8] > 0
    assert types[onnx.TensorProto.INT8] == 0


def test_shared_weights_stay_shared() -> None:
    model = trained_like(
        EVERY_OP["repeats with residual, odd pools, norm before relu, conv_gap"], 0
    )
    weights = [
        step.op.weight for step in quantised(model).steps if isinstance(step.op, IntegerConv)
    ]
    assert len({id(each) for each in weights}) == 5  # of 8 applications


def test_weights_without_influence_leave_their_bias() -> None:
    architecture = Architecture(
        layers=(Conv(kind="conv", width=3, then=("norm",)),), head=Head(kind="full_conv", bias=True)
    )
    model = trained_like(architecture, 0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 4:
                parameter.zero_()
    pixels = digits(0, 4).float() / 255
    program = quantised(model)
    torch.testing.assert_close(program(pixels), model(pixels).detach(), rtol=0, atol=1e-4)
    (logits,) = onnxruntime.InferenceSession(int8_onnx(program)).run(
        None, {"pixels": pixels.numpy()}
    )
    torch.testing.assert_close(torch.from_numpy(logits), model(pixels).detach(), rtol=0, atol=1e-4)


def test_weights_are_shared_only_if_their_shapes_are_the_same() -> None:
    spread, gathered = (torch.ones(shape).double() for shape in ((4, 1, 1, 1), (1, 4, 1, 1)))
    steps = (
        Step(plain.Conv(spread, None), (0,)),
        Step(plain.Conv(gathered, None), (1,)),
        Step(plain.Pool("average", (28, 28), 1), (2,)),
    )
    integers = quantise(Program((1, 28, 28), steps), digits(0, 4))
    session = onnxruntime.InferenceSession(int8_onnx(integers))
    pixels = digits(4, 8).float() / 255
    (logits,) = session.run(None, {"pixels": pixels.numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), integers(pixels), rtol=0, atol=0.02)


def test_factors_that_32_bits_cannot_hold_are_refused() -> None:
    factor = torch.tensor([1e15], dtype=torch.float64)
    steps = (
        Step(plain.Scale(factor, torch.zeros(1).double(), "a factor"), (0,)),
        Step(plain.Pool("average", (28, 28), 1), (1,)),
    )
    with pytest.raises(NasSearchError, match=r"a factor of 3\.9e\+12 stands between two maps"):
        quantise(Program((1, 28, 28), steps), torch.zeros(1, 1, 28, 28, dtype=torch.uint8))


def test_activations_of_the_onnx_file_are_those_of_its_graph() -> None:
    architecture = Architecture(layers=(Conv(kind="conv", width=3),), head=Head(kind="gap_conv"))
    program = quantised(fitted(architecture, 0))
    # The convolution reads 28 x 28 and writes 3 maps of 26 x 26, both float32.
    assert int8_onnx_activation_bytes(program) == 4 * (28 * 28 + 3 * 26 * 26)


@pytest.mark.parametrize("name", EVERY_OP)
def test_no_operation_of_onnx_runtime_needs_more_activations_than_said(
    name: str, tmp_path: Path
) -> None:
    program = quantised(fitted(EVERY_OP[name], 0))
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    session = onnxruntime.InferenceSession(int8_onnx(program), options)
    session.run(None, {"pixels": digits(0, 1).float().numpy()})
    events = json.loads(Path(session.end_profiling()).read_text())
    sizes = [int(each["args"]["output_size"]) for each in events if "output_size" in each["args"]]
    assert 0 < max(sizes) <= int8_onnx_activation_bytes(program)


def test_sums_that_32_bits_cannot_hold_are_refused() -> None:
    architecture = Architecture(layers=(), head=Head(kind="full_conv"), input_shape=(128, 28, 28))
    program = fold(lower(trained_like(architecture, 0), architecture.input_shape)).program
    with pytest.raises(NasSearchError, match=r"100,352 products, and 32 bits hold 66,311"):
        quantise(program, torch.zeros(1, 128, 28, 28, dtype=torch.uint8))
