"""A trained network as a short list of plain operations, without modules, modes or BatchNorms.

What `space.network` builds is lowered to it: dropout is gone, a BatchNorm is a factor and a shift
per channel, repeats are unrolled with the same weights, and the normalisation of the pixels is the
first step. Folding rewrites it and quantisation approximates it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn
from torch.nn import functional as F

from results.models.pixels import PixelNetwork
from space.architecture import Shape
from space.dropout import Dropout
from space.network import Block, Network
from space.views import mean_of, moved


@dataclass(frozen=True, eq=False)
class Op(ABC):
    """One operation on feature maps (N, C, H, W); its constants are float64."""

    in_place: ClassVar[bool] = False
    """Whether the output may take the memory of the first input, element by element."""

    @property
    def constants(self) -> tuple[torch.Tensor, ...]:
        return ()

    @abstractmethod
    def run(
        self, inputs: Sequence[torch.Tensor], constants: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """The output map; `constants` are its own, perhaps in another number format."""

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of the output for (first) inputs of `shape`."""
        return shape


@dataclass(frozen=True, eq=False)
class Conv(Op):
    """A convolution: weight (out, in / groups, height, width), bias (out,).

    Two steps with the same `Conv` share its weights.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    stride: int = 1
    padding: int = 0
    groups: int = 1

    @property
    def constants(self) -> tuple[torch.Tensor, ...]:
        return (self.weight,) if self.bias is None else (self.weight, self.bias)

    def run(
        self, inputs: Sequence[torch.Tensor], constants: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        weight, bias = constants[0], constants[1] if len(constants) > 1 else None
        return F.conv2d(inputs[0], weight, bias, self.stride, self.padding, 1, self.groups)

    def output_shape(self, shape: Shape) -> Shape:
        channels, _, *window = self.weight.shape
        height, width = (
            (size + 2 * self.padding - each) // self.stride + 1
            for size, each in zip(shape[1:], window, strict=True)
        )
        return channels, height, width


@dataclass(frozen=True, eq=False)
class Scale(Op):
    """x * factor + shift, both (channels,); `name` says where they come from."""

    in_place = True
    factor: torch.Tensor
    shift: torch.Tensor
    name: str

    @property
    def constants(self) -> tuple[torch.Tensor, ...]:
        return self.factor, self.shift

    def run(
        self, inputs: Sequence[torch.Tensor], constants: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        factor, shift = constants
        return inputs[0] * factor.view(-1, 1, 1) + shift.view(-1, 1, 1)


@dataclass(frozen=True, eq=False)
class Relu(Op):
    """What is negative becomes zero."""

    in_place = True

    def run(
        self, inputs: Sequence[torch.Tensor], constants: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        return F.relu(inputs[0])


@dataclass(frozen=True, eq=False)
class Pool(Op):
    """The largest, or the mean, of windows of (height, width), `stride` pixels apart."""

    kind: Literal["max", "average"]
    window: tuple[int, int]
    stride: int

    def run(
        self, inputs: Sequence[torch.Tensor], constants: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        pool = F.max_pool2d if self.kind == "max" else F.avg_pool2d
        return pool(inputs[0], self.window, self.stride)

    def output_shape(self, shape: Shape) -> Shape:
        channels, *sizes = shape
        height, width = (
            (size - each) // self.stride + 1 for size, each in zip(sizes, self.window, strict=True)
        )
        return channels, height, width


@dataclass(frozen=True, eq=False)
class Add(Op):
    """The sum of two maps."""

    in_place = True

    def run(
        self, inputs: Sequence[torch.Tensor], constants: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        return inputs[0] + inputs[1]


@dataclass(frozen=True, eq=False)
class Step:
    """An operation on the maps with the numbers `inputs`; the pixels are map 0."""

    op: Op
    inputs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Program:
    """Step n (from 1) makes map n; the last map (classes, 1, 1) are the logits.

    With several views the steps are run for each, and the logits are the mean.
    """

    input_shape: Shape
    steps: tuple[Step, ...]
    views: int = 1

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shape of every map, that of the pixels first."""
        shapes = [self.input_shape]
        for step in self.steps:
            shapes.append(step.op.output_shape(shapes[step.inputs[0]]))
        return tuple(shapes)

    @property
    def constants(self) -> list[torch.Tensor]:
        """Every constant once, also if several steps share it."""
        return list({id(each): each for step in self.steps for each in step.op.constants}.values())

    @property
    def params(self) -> int:
        """Numbers in the constants."""
        return sum(each.numel() for each in self.constants)


class ProgramNetwork(nn.Module):
    """Runs a program in float32: pixels 0..1 (N, 1, H, W) to logits (N, classes)."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program
        self._names: dict[int, str] = {}
        for number, constant in enumerate(program.constants, start=1):
            self._names[id(constant)] = f"constant{number}"
            self.register_buffer(f"constant{number}", constant.float())

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        views = self.program.views
        return mean_of(self.maps(moved(pixels, views))[-1].flatten(1), views)

    def maps(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Every map of one view by its number."""
        maps = [pixels]
        for step in self.program.steps:
            constants = [self.get_buffer(self._names[id(each)]) for each in step.op.constants]
            maps.append(step.op.run([maps[number] for number in step.inputs], constants))
        return maps


def lower(model: PixelNetwork, input_shape: Shape) -> Program:
    """The program of a network that `space.network.build_network` made, in evaluation mode."""
    lowering = _Lowering(input_shape)
    mean, std = (torch.tensor([each], dtype=torch.float64) for each in (model.mean, model.std))
    pixels = lowering.add(Scale(1 / std, -mean / std, "the normalisation of the pixels"), 0)
    lowering.visit(model.network, "", pixels)
    views = model.network.views if isinstance(model.network, Network) else 1
    return Program(input_shape, tuple(lowering.steps), views)


class _Lowering:
    """Writes steps; visiting a module gives the number of the map it makes."""

    def __init__(self, input_shape: Shape) -> None:
        self.steps: list[Step] = []
        self._shapes = [input_shape]
        self._convs: dict[nn.Module, Conv] = {}

    def add(self, op: Op, *inputs: int) -> int:
        self.steps.append(Step(op, inputs))
        self._shapes.append(op.output_shape(self._shapes[inputs[0]]))
        return len(self.steps)

    def visit(self, module: nn.Module, name: str, x: int) -> int:
        if isinstance(module, Block):
            return self._block(module, name, x)
        if isinstance(module, nn.Sequential):
            for part, each in module.named_children():
                x = self.visit(each, f"{name}.{part}" if name else part, x)
            return x
        if isinstance(module, nn.Dropout | Dropout | nn.Flatten):
            return x
        return self.add(self._op(module, name, self._shapes[x]), x)

    def _block(self, block: Block, name: str, x: int) -> int:
        for number, after in enumerate(block.after, start=1):
            application = f", application {number}" if len(block.after) > 1 else ""
            y = self.visit(after, name + application, self.visit(block.conv, name, x))
            x = self.add(Add(), x, y) if block.residual else y
        return x

    def _op(self, module: nn.Module, name: str, shape: Shape) -> Op:
        if isinstance(module, nn.Conv2d):
            return self._convs.setdefault(module, _conv(module))
        if isinstance(module, nn.BatchNorm2d):
            return _scale(module, f"the BatchNorm of {name.rpartition('.')[0]}")
        if isinstance(module, nn.ReLU):
            return Relu()
        if isinstance(module, nn.MaxPool2d):
            return Pool("max", _pair(module.kernel_size), _pair(module.stride)[0])
        if isinstance(module, nn.AvgPool2d):
            return Pool("average", _pair(module.kernel_size), _pair(module.stride)[0])
        assert isinstance(module, nn.AdaptiveAvgPool2d), f"{type(module)} has no plain operation"
        return Pool("average", shape[1:], 1)


def _conv(module: nn.Conv2d) -> Conv:
    bias = None if module.bias is None else _exact(module.bias)
    weight = _exact(module.weight)
    return Conv(weight, bias, module.stride[0], _pair(module.padding)[0], module.groups)


def _scale(norm: nn.BatchNorm2d, name: str) -> Scale:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = _exact(norm.weight) / torch.sqrt(_exact(norm.running_var) + norm.eps)
    return Scale(factor, _exact(norm.bias) - _exact(norm.running_mean) * factor, name)


def _exact(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().double()


def _pair(size: object) -> tuple[int, int]:
    if isinstance(size, tuple):
        return size
    assert isinstance(size, int)
    return size, size
