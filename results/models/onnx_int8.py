"""A quantised network as an ONNX model with QuantizeLinear and DequantizeLinear.

Between a quantised map and the next stands the real operation; ONNX Runtime and other runtimes
replace the three by one in whole numbers. Scales and zero points are those of the program, so the
numbers are the same up to the last place of a rounding.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch

from results.models.memory import buffers, peak
from results.models.program import Add, Pool, Scale
from results.models.quantised import Grid, IntegerConv, IntegerProgram, IntegerStep
from space.views import MOVES

OPSET = 17
IR_VERSION = 8

WEIGHT_ZERO = 128
"""Weights are uint8 here, like maps: with int8 weights ONNX Runtime uses, on x86 processors without
VNNI, an instruction that saturates at 16 bits, whatever the maps are."""


def int8_onnx(program: IntegerProgram) -> bytes:
    """The model file: pixels 0..1 float32 (N, 1, H, W) to logits (N, classes)."""
    return _Writer(program).model()


def int8_onnx_activation_bytes(program: IntegerProgram) -> int:
    """The most bytes that the maps of one image take at once, operation by operation.

    As the graph of the file has them: an 8-bit map is followed by its float32 one, which the next
    operation works on. A runtime that joins the three takes less.
    """
    values = [program.views * math.prod(shape) for shape in program.shapes]
    nodes: list[_Node] = []
    sizes = [4 * math.prod(program.input_shape)]

    def add(op: object, inputs: tuple[int, ...], size: int) -> int:
        nodes.append(_Node(op, inputs))
        sizes.append(size)
        return len(nodes)

    def rounded(real: int, number: int) -> int:
        numbers = add("QuantizeLinear", (real,), values[number])
        return add("DequantizeLinear", (numbers,), 4 * values[number])

    image = add("QuantizeLinear", (0,), math.prod(program.input_shape))
    views = image if program.views == 1 else add("Concat", (image,), values[0])
    maps = [add("DequantizeLinear", (views,), 4 * values[0])]
    for number, step in enumerate(program.steps, start=1):
        real = add(step.op, tuple(maps[each] for each in step.inputs), 4 * values[number])
        maps.append(rounded(real, number) if number < len(program.steps) else real)
    return peak(buffers(nodes, sizes))


@dataclass(frozen=True)
class _Node:
    op: object
    inputs: tuple[int, ...]


class _Writer:
    def __init__(self, program: IntegerProgram) -> None:
        from onnx import helper

        self._make = helper
        self._program = program
        self._nodes: list[Any] = []
        self._tensors: dict[str, torch.Tensor] = {}
        self._shared: dict[tuple[torch.Size, bytes], str] = {}

    def model(self) -> bytes:
        from onnx import TensorProto, checker, numpy_helper

        make, program = self._make, self._program
        self._quantise("pixels", 0)
        for number, step in enumerate(program.steps, start=1):
            real = self._real(number, step)
            if number < len(program.steps):
                self._quantise(real, number)
            else:
                self._logits(real)
        graph = make.make_graph(
            self._nodes,
            "nas-search",
            [
                make.make_tensor_value_info(
                    "pixels", TensorProto.FLOAT, ["batch", *program.input_shape]
                )
            ],
            [
                make.make_tensor_value_info(
                    "logits", TensorProto.FLOAT, ["batch", program.shapes[-1][0]]
                )
            ],
            [
                numpy_helper.from_array(tensor.numpy(), name)
                for name, tensor in self._tensors.items()
            ],
        )
        model = make.make_model(
            graph, opset_imports=[make.make_opsetid("", OPSET)], producer_name="nas-search"
        )
        model.ir_version = IR_VERSION
        checker.check_model(model)
        written: bytes = model.SerializeToString()
        return written

    def _views(self, image: str) -> str:
        """The views of an image, one of all images after another."""
        views, (_, height, width) = self._program.views, self._program.input_shape
        if views == 1:
            return image
        for axis, size in ((2, height), (3, width)):
            edges = [
                self._slice(image, f"edge{axis}from{start}", {axis: (start, start + 1)})
                for start in (0, size - 1)
            ]
            parts = [edges[0], image, edges[1]]
            image = self._node("Concat", parts, f"wider{axis}", axis=axis)
        names = [
            self._slice(
                image,
                f"view{number}",
                {2: (1 - down, 1 - down + height), 3: (1 - right, 1 - right + width)},
            )
            for number, (down, right) in enumerate(MOVES[:views], start=1)
        ]
        return self._node("Concat", names, "views", axis=0)

    def _slice(self, name: str, output: str, ranges: dict[int, tuple[int, int]]) -> str:
        """What lies in half-open ranges along axes."""
        starts, ends = zip(*ranges.values(), strict=True)
        constants = [
            self._constant(f"{output}_{what}", torch.tensor(numbers))
            for what, numbers in (("starts", starts), ("ends", ends), ("axes", tuple(ranges)))
        ]
        return self._node("Slice", [name, *constants], output)

    def _logits(self, real: str) -> None:
        """The mean over the views."""
        views, classes = self._program.views, self._program.shapes[-1][0]
        if views == 1:
            self._node("Flatten", [real], "logits", axis=1)
            return
        shape = self._constant("by_view", torch.tensor([views, -1, classes]))
        grouped = self._node("Reshape", [real, shape], "grouped")
        self._node("ReduceMean", [grouped], "logits", axes=[0], keepdims=0)

    def _quantise(self, real: str, number: int) -> None:
        """From a real map to its 8-bit numbers and back: the map `map{number}`."""
        grid = self._program.grids[number]
        scale = self._constant(f"scale{number}", torch.tensor(grid.scale))
        zero = self._constant(f"zero{number}", torch.tensor(grid.zero_point, dtype=torch.uint8))
        numbers = self._node("QuantizeLinear", [real, scale, zero], f"numbers{number}")
        if number == 0:
            numbers = self._views(numbers)
        self._node("DequantizeLinear", [numbers, scale, zero], f"map{number}")

    def _real(self, number: int, step: IntegerStep) -> str:
        """The operation on real maps; the name of its output."""
        op, output = step.op, f"real{number}"
        inputs = [f"map{each}" for each in step.inputs]
        if isinstance(op, IntegerConv):
            constants = self._weights(number, op, self._program.grids[step.inputs[0]])
            return self._node(
                "Conv",
                [*inputs, *constants],
                output,
                strides=[op.stride] * 2,
                pads=[op.padding] * 4,
                group=op.groups,
            )
        if isinstance(op, Scale):
            factor, shift = (
                self._constant(f"{name}{number}", value.float().view(-1, 1, 1))
                for name, value in (("factor", op.factor), ("shift", op.shift))
            )
            product = self._node("Mul", [*inputs, factor], f"product{number}")
            return self._node("Add", [product, shift], output)
        if isinstance(op, Pool):
            kind = {"max": "MaxPool", "average": "AveragePool"}[op.kind]
            return self._node(
                kind, inputs, output, kernel_shape=list(op.window), strides=[op.stride] * 2
            )
        assert isinstance(op, Add)
        return self._node("Add", inputs, output)

    def _weights(self, number: int, op: IntegerConv, source: Grid) -> tuple[str, str]:
        """The names of the real weight and bias, which come from whole numbers."""
        # A scale of DequantizeLinear is positive, so a sign goes to the weights; and it leaves the
        # bias within 32 bits, also where weights have next to no influence.
        scale = torch.maximum(op.weight_scale.abs(), op.bias.abs() / source.scale / 2**30)
        scale = torch.where(scale > 0, scale, 1.0)
        whole = (op.weight * (op.weight_scale / scale).view(-1, 1, 1, 1)).round()
        weight = (whole + WEIGHT_ZERO).to(torch.uint8)
        bias = (op.bias / (scale * source.scale)).round().to(torch.int32)
        # Applications of shared weights share them here too.
        key = weight.shape, weight.numpy().tobytes()
        shared = self._shared.setdefault(key, f"weight{number}")
        self._constant(shared, weight)
        self._dequantise(shared, f"real_weight{number}", scale, WEIGHT_ZERO)
        self._constant(f"bias{number}", bias)
        self._dequantise(f"bias{number}", f"real_bias{number}", scale * source.scale, 0)
        return f"real_weight{number}", f"real_bias{number}"

    def _dequantise(self, numbers: str, real: str, scale: torch.Tensor, zero: int) -> None:
        """Whole numbers (channels, ...) to real ones, with a scale per channel."""
        zeros = torch.full_like(scale, zero, dtype=self._tensors[numbers].dtype)
        names = [
            self._constant(f"{real}_scale", scale.float()), self._constant(f"{real}_zero", zeros)
        ]  # fmt: skip
        self._node("DequantizeLinear", [numbers, *names], real, axis=0)

    def _constant(self, name: str, tensor: torch.Tensor) -> str:
        self._tensors[name] = tensor
        return name

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self._nodes.append(self._make.make_node(kind, inputs, [output], **attributes))
        return output
