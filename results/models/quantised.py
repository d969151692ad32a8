"""A network in whole numbers: 8-bit weights and feature maps, 32-bit sums, no floating point.

The arithmetic of Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference" (CVPR 2018): the real value of a number q of a map is
scale * (q - zero point). A sum of products is brought to the grid of the next map by one 64-bit
multiplication, addition and shift. The addition holds bias, zero point and the half that rounds,
so nothing is rounded twice.

This is the definition of the int8 forms: the C source computes the same numbers, bit by bit.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from results.models.program import Add, Pool, Scale
from space.architecture import Shape
from space.views import moved


@dataclass(frozen=True)
class Grid:
    """The numbers of a map, `low` to `high`; the real value of q is scale * (q - zero_point)."""

    scale: float
    zero_point: int = 0
    low: int = 0
    high: int = 255

    def real(self, numbers: torch.Tensor) -> torch.Tensor:
        return (numbers - self.zero_point) * self.scale


PIXELS = Grid(1 / 255)
"""Pixels are taken as the bytes they are."""

LOGITS = Grid(2.0**-16, 0, -(2**31), 2**31 - 1)
"""Logits are fixed-point numbers with 16 binary places."""


@dataclass(frozen=True, eq=False)
class IntegerConv:
    """A convolution with int8 weights (out, in / groups, height, width).

    The real weight is weight * weight_scale (out,), float64 as the real bias (out,). A scale can
    be negative, so applications of shared weights that differ in sign still share them.
    """

    weight: torch.Tensor
    weight_scale: torch.Tensor
    bias: torch.Tensor
    stride: int
    padding: int
    groups: int


@dataclass(frozen=True, eq=False)
class Requantisation:
    """From sums to the numbers of a grid: (sum of multiplier * sums + offset) >> shift, clipped.

    `multiplier` (inputs, channels or 1) and `offset` (channels or 1), int64. A multiplier is below
    2**31 and a sum too, an offset at most 2**61 in size: nothing overflows 64 bits.
    """

    multiplier: torch.Tensor
    offset: torch.Tensor
    shift: int


@dataclass(frozen=True, eq=False)
class IntegerStep:
    """An operation on the maps with the numbers `inputs` (the pixels are map 0).

    A maximum needs no requantisation: its map has the grid of its input.
    """

    op: IntegerConv | Scale | Pool | Add
    inputs: tuple[int, ...]
    shape: Shape
    grid: Grid
    requantisation: Requantisation | None

    def run(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        """The map, int64 (N, *shape), of input maps less their zero points."""
        if self.requantisation is None:
            return _max_pool(self.op, inputs[0]) + self.grid.zero_point
        total = self.requantisation.offset.view(-1, 1, 1)
        multipliers = self.requantisation.multiplier
        for each, multiplier in zip(sums(self.op, inputs), multipliers, strict=True):
            total = total + each * multiplier.view(-1, 1, 1)
        return (total >> self.requantisation.shift).clamp(self.grid.low, self.grid.high)


@dataclass(frozen=True, eq=False)
class IntegerProgram:
    """Step n (from 1) makes map n; the last map (classes, 1, 1) are the logits.

    With several views the steps are run for each, and the logits are the mean, towards zero.
    """

    input_shape: Shape
    steps: tuple[IntegerStep, ...]
    views: int = 1

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shape of every map, that of the pixels first."""
        return self.input_shape, *(step.shape for step in self.steps)

    @property
    def grids(self) -> tuple[Grid, ...]:
        """The grid of every map, that of the pixels first."""
        return PIXELS, *(step.grid for step in self.steps)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels 0..1 (N, 1, H, W) to logits (N, classes), float32."""
        return LOGITS.real(self.run((pixels * 255).round().to(torch.uint8))).float()

    def run(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels uint8 (N, 1, H, W) to logits in 1 / 65,536, int64 (N, classes)."""
        total = sum(self._of_one_view(each) for each in moved(pixels, self.views).chunk(self.views))
        assert isinstance(total, torch.Tensor)
        return torch.div(total, self.views, rounding_mode="trunc")

    def _of_one_view(self, pixels: torch.Tensor) -> torch.Tensor:
        maps, grids = [pixels.to(torch.int64)], self.grids
        for step in self.steps:
            maps.append(step.run([maps[each] - grids[each].zero_point for each in step.inputs]))
        return maps[-1].flatten(1)


def _max_pool(op: object, x: torch.Tensor) -> torch.Tensor:
    assert isinstance(op, Pool)
    return F.max_pool2d(x.double(), op.window, op.stride).to(torch.int64)


def sums(op: object, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    """What is requantised: for each factor of the requantisation the sums it belongs to.

    `inputs` are maps less their zero points, int64 (N, channels, height, width), as the sums.
    """
    # Float64 holds whole numbers up to 2**53 exactly, and has fast convolutions.
    if isinstance(op, IntegerConv):
        x, weight = inputs[0].double(), op.weight.double()
        return [F.conv2d(x, weight, None, op.stride, op.padding, 1, op.groups).to(torch.int64)]
    if isinstance(op, Pool):
        return [
            F.avg_pool2d(inputs[0].double(), op.window, op.stride, divisor_override=1).to(
                torch.int64
            )
        ]
    return inputs
