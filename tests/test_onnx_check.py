"""ONNX files: what exports write is opened, and nothing else gets as far as the runtime."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from results.errors import NasSearchError
from results.models.files import Forms, write_model_files
from results.models.fold import fold
from results.models.loading import open_model
from results.models.onnx_check import BATCH, MOST_OPERATIONS, check_onnx
from results.models.onnx_int8 import int8_onnx
from results.models.program import lower
from results.models.quantise import quantise
from space import Architecture, Configuration, Conv, Head, Recipe, footprint
from tests.networks import EVERY_OP, NORMALISATION, trained_like

SHAPE = (1, 28, 28)


def model(nodes: Sequence[Any], **weights: Any) -> onnx.ModelProto:
    """A model from `pixels` to `logits`."""
    graph = helper.make_graph(
        nodes,
        "a test",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", *SHAPE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", "classes"])],
        [numpy_helper.from_array(np.asarray(each), name) for name, each in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    return made


def node(kind: str, inputs: str, output: str = "logits", **attributes: Any) -> Any:
    return helper.make_node(kind, inputs.split(), [output], **attributes)


def accepted() -> onnx.ModelProto:
    return model([node("Flatten", "pixels")])


def reason(content: bytes) -> str:
    with pytest.raises(NasSearchError) as caught:
        check_onnx(content, SHAPE)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", EVERY_OP)
def test_exports_of_every_operation_open(name: str, tmp_path: Path) -> None:
    network = trained_like(EVERY_OP[name], 0)
    folded = fold(lower(network, SHAPE)).program
    integers = quantise(folded, torch.arange(784, dtype=torch.uint8).view(1, *SHAPE))
    configuration = Configuration(architecture=EVERY_OP[name], recipe=Recipe(learning_rate=0.1))
    forms = Forms(folded=folded, integers=integers)
    write_model_files(tmp_path, network.network, configuration, NORMALISATION, {}, forms)
    files = sorted(tmp_path.glob("*.onnx"))
    assert len(files) == 3
    pixels = torch.rand(BATCH + 1, *SHAPE)
    with torch.no_grad():
        expected = network(pixels)
    for file in files:
        logits = open_model(file)(pixels)
        assert logits.shape == expected.shape
        if "int8" not in file.name:
            torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-4)


def test_the_export_of_a_wide_network_with_views_opens() -> None:
    def conv(kind: Any, repeats: int = 1) -> Conv:
        return Conv(kind=kind, width=39, padding=1, then=("norm", "relu"), repeats=repeats)

    layers = conv("conv"), *(conv("separable", repeats=4),) * 3
    architecture = Architecture(layers=layers, head=Head(kind="gap_conv"), views=5)
    assert footprint(architecture).params < 10_000
    network = trained_like(architecture, 0)
    integers = quantise(lower(network, SHAPE), torch.arange(784, dtype=torch.uint8).view(1, *SHAPE))
    check_onnx(int8_onnx(integers), SHAPE)


def test_a_tensor_of_any_size_made_from_a_number() -> None:
    size = np.array([10**9], np.int64)
    nodes = [node("ConstantOfShape", "size", "values"), node("ReduceSum", "values")]
    assert "operator 'ConstantOfShape'" in reason(model(nodes, size=size).SerializeToString())


@pytest.mark.parametrize("hidden_in", ["Loop", "Relu"])
def test_graphs_inside_operations(hidden_in: str) -> None:
    inner = helper.make_graph([], "inner", [], [])
    made = model([node(hidden_in, "pixels", body=inner)])
    said = reason(made.SerializeToString())
    assert said in (
        "it has the operator 'Loop', which is refused",
        "its AttributeProto has g, which is refused",
    )


def test_operators_of_others_and_functions() -> None:
    assert "operator 'Relu'" in reason(
        model([node("Relu", "pixels", domain="elsewhere")]).SerializeToString()
    )
    made = accepted()
    made.functions.append(
        helper.make_function(
            "elsewhere", "f", ["x"], ["y"], [], [helper.make_opsetid("elsewhere", 1)]
        )
    )
    assert "functions" in reason(made.SerializeToString())


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([node("MaxPool", "pixels", kernel_shape=[2, 2], pads=[2**62] * 4)], "pads"),
        ([node("MaxPool", "pixels", kernel_shape=[4000] * 2, pads=[3999] * 4)], "maps have"),
        ([node("Reshape", "pixels pixels")], "damaged"),
        ([node("Conv", "pixels nowhere")], "size of 'logits' cannot be told"),
        ([node("Relu", "pixels")] * (MOST_OPERATIONS + 1), "operations"),
    ],
)
def test_operations_out_of_bounds(nodes: list[Any], said: str) -> None:
    assert said in reason(model(nodes).SerializeToString())


def test_maps_that_grow_with_the_square_of_the_images() -> None:
    made = model(
        [
            node("Reshape", "pixels column", "x"),
            node("Reshape", "pixels row", "y"),
            node("Add", "x y", "z"),
            node("Reshape", "z column", "u"),
            node("Reshape", "z row", "v"),
            node("Add", "u v"),
        ],
        column=np.array([-1, 1], np.int64),
        row=np.array([1, -1], np.int64),
    )
    assert "its maps have 96,7" in reason(made.SerializeToString())


def test_convolutions_that_would_take_hours() -> None:
    weight = np.zeros((1, 1, 900, 900), np.float32)
    made = model([node("Conv", "pixels weight", pads=[900] * 4)], weight=weight)
    assert f"products for {BATCH} images" in reason(made.SerializeToString())


def test_sizes_are_computed_and_not_as_the_file_says() -> None:
    made = model(
        [
            node("MaxPool", "pixels", "x", kernel_shape=[4000] * 2, pads=[3999] * 4),
            node("Flatten", "x"),
        ]
    )
    made.graph.value_info.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]))
    assert "its maps have" in reason(made.SerializeToString())


def test_weights_of_another_size_than_said() -> None:
    made = model([node("Add", "pixels weight")], weight=np.zeros(1, np.float32))
    made.graph.initializer[0].dims[0] = 10**9
    assert "another size" in reason(made.SerializeToString())
    made.graph.initializer[0].dims[:] = [-1, -1]
    assert "another size" in reason(made.SerializeToString())


def test_other_formats_and_other_inputs() -> None:
    check_onnx(accepted().SerializeToString(), SHAPE)
    assert "damaged" in reason(b"no model")
    assert "more than 4,000,000 bytes" in reason(bytes(4_000_001))
    made = accepted()
    made.graph.input[0].name = "other"
    assert "does not take pixels alone" in reason(made.SerializeToString())
