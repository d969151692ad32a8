"""What an ONNX file may contain before a runtime sees it: what an export writes, in bounds.

ONNX can say far more than a network of this project needs: loops, weights in other files, tensors
of any size made from a number. A list of what is known to be needed is short, so everything else is
refused, and the sizes of all maps are computed before memory is taken for one.
"""

import math
from typing import Any

from results.errors import NasSearchError
from space.architecture import Shape

OPERATORS = frozenset(
    {
        *("Conv", "BatchNormalization", "Relu", "Add", "Sub", "Mul", "Div"),
        *("MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean"),
        *("Flatten", "Reshape", "Squeeze", "QuantizeLinear", "DequantizeLinear"),
        *("Slice", "Concat"),
    }
)
"""All that exports use, with every version of PyTorch that is supported. Each export is opened
again, and so checked against this list."""

BATCH = 4
"""Images at once: a model is checked for so many, and is never given more."""

MOST_BYTES = 4_000_000
MOST_OPERATIONS = 10_000
MOST_VALUES = 1 << 26
"""Of all maps of a batch together; as float32 they are 256 MiB."""

MOST_PRODUCTS = 1 << 34
"""Of all operations for a batch: some seconds on one core."""

MOST_ATTRIBUTE = 1 << 12
"""No kernel, stride, padding or group is larger."""

_FIELDS = {
    "ModelProto": {
        *("ir_version", "opset_import", "producer_name", "producer_version", "domain"),
        *("model_version", "doc_string", "metadata_props", "graph"),
    },
    "GraphProto": {
        *("name", "node", "initializer", "input", "output", "value_info"),
        *("doc_string", "metadata_props"),
    },
    "NodeProto": {
        *("name", "op_type", "domain", "input", "output", "attribute"),
        *("doc_string", "metadata_props"),
    },
    "AttributeProto": {"name", "type", "i", "f", "s", "ints", "doc_string"},
    "TensorProto": {"name", "data_type", "dims", "raw_data", "data_location", "doc_string"},
}
"""What each part of a file may have: no functions, no graphs inside operations, no other files."""


def check_onnx(content: bytes, input_shape: Shape) -> None:
    """Whether a file is safe to open and run on at most `BATCH` images of this shape.

    Raises NasSearchError with the reason.
    """
    from onnx import load_model_from_string

    if len(content) > MOST_BYTES:
        raise NasSearchError(f"it has more than {MOST_BYTES:,} bytes, which is refused")
    try:
        model = load_model_from_string(content)
    except Exception:  # of protobuf, whose kinds are not public
        raise NasSearchError("it is damaged: this is not ONNX") from None
    graph = model.graph
    if len(graph.node) > MOST_OPERATIONS:
        raise NasSearchError(f"it has more than {MOST_OPERATIONS:,} operations, which is refused")
    _check_fields(model)
    _check_fields(graph)
    for node in graph.node:
        _check_node(node)
    for tensor in graph.initializer:
        _check_tensor(tensor)
    _check_sizes(graph, _shapes(model, input_shape))


def _check_fields(part: Any) -> None:
    kind = part.DESCRIPTOR.name
    for field, _ in part.ListFields():
        if field.name not in _FIELDS[kind]:
            raise NasSearchError(f"its {kind} has {field.name}, which is refused")


def _check_node(node: Any) -> None:
    _check_fields(node)
    if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
        raise NasSearchError(f"it has the operator {node.op_type[:40]!r}, which is refused")
    for attribute in node.attribute:
        _check_fields(attribute)
        largest = max(map(abs, (attribute.i, *attribute.ints)))
        if largest > MOST_ATTRIBUTE:
            raise NasSearchError(
                f"a {node.op_type} has {attribute.name[:40]} {largest:,}: more than "
                f"{MOST_ATTRIBUTE:,} is refused"
            )


def _check_tensor(tensor: Any) -> None:
    from onnx import TensorProto, helper

    _check_fields(tensor)
    kinds = ("FLOAT", "INT8", "UINT8", "INT32", "INT64")
    types = [TensorProto.DataType.Value(kind) for kind in kinds]
    if tensor.data_location != TensorProto.DEFAULT:
        raise NasSearchError("it has weights in another file, which is refused")
    if tensor.data_type not in types:
        raise NasSearchError(f"it has numbers of kind {tensor.data_type}, which is refused")
    size = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    if min(tensor.dims, default=0) < 0 or math.prod(tensor.dims) * size != len(tensor.raw_data):
        raise NasSearchError("it is damaged: weights have another size than they should")


def _shapes(model: Any, input_shape: Shape) -> dict[str, list[int]]:
    """The shape of every value for a batch of images, computed and not as the file says."""
    from onnx import ModelProto, TensorProto, helper, shape_inference

    graph = model.graph
    if [each.name for each in graph.input] != ["pixels"]:
        raise NasSearchError("it does not take pixels alone")
    batch = ModelProto()
    batch.CopyFrom(model)
    del batch.graph.value_info[:], batch.graph.input[:]
    batch.graph.input.append(
        helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [BATCH, *input_shape])
    )
    for output in batch.graph.output:
        output.ClearField("type")
    try:
        inferred = shape_inference.infer_shapes(batch, strict_mode=True).graph
    except Exception as error:  # ONNX has no public kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise NasSearchError(f"it is damaged: {reason}") from None
    shapes = {each.name: list(each.dims) for each in inferred.initializer}
    for each in (*inferred.input, *inferred.value_info, *inferred.output):
        dims = each.type.tensor_type.shape.dim
        if each.type.tensor_type.HasField("shape") and all(dim.dim_value > 0 for dim in dims):
            shapes[each.name] = [dim.dim_value for dim in dims]
    return shapes


def _check_sizes(graph: Any, shapes: dict[str, list[int]]) -> None:
    values = products = 0
    for node in graph.node:
        for name in (each for each in node.output if each):
            size = math.prod(_shape(name, shapes))
            values += size
            products += size * _products(node, shapes)
    if values > MOST_VALUES or products > MOST_PRODUCTS:
        raise NasSearchError(
            f"its maps have {values:,} values and take {products:,} products for {BATCH} images: "
            f"more than {MOST_VALUES:,} and {MOST_PRODUCTS:,} are refused"
        )


def _products(node: Any, shapes: dict[str, list[int]]) -> int:
    """How many inputs are read for one value of the output."""
    if node.op_type == "Conv":
        return math.prod(_shape(node.input[1], shapes)[1:])
    windows = (each.ints for each in node.attribute if each.name == "kernel_shape")
    return math.prod(next(windows, [1]))


def _shape(name: str, shapes: dict[str, list[int]]) -> list[int]:
    if name not in shapes:
        raise NasSearchError(f"the size of {name[:40]!r} cannot be told, which is refused")
    return shapes[name]
