"""Post-training static quantisation: a folded program to one in whole numbers.

Weights are symmetric, a scale per output channel; maps have a scale and zero point each, from the
lowest and the highest value they hold for some training images.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from results.errors import NasSearchError
from results.models.program import Add, Conv, Op, Pool, Program, ProgramNetwork, Relu, Scale
from results.models.quantised import (
    LOGITS,
    PIXELS,
    Grid,
    IntegerConv,
    IntegerProgram,
    IntegerStep,
    Requantisation,
)

CALIBRATION_IMAGES = 1_024
"""More gave no higher accuracy, see results/LOG.md."""

BATCH = 64

MOST_SHIFT = 40
"""More binary places could let an offset overflow."""

MOST_PRODUCTS = (1 << 31) // (127 * 255)
"""As many as a 32-bit sum can hold."""


def quantise(program: Program, pixels: torch.Tensor) -> IntegerProgram:
    """A program in whole numbers; `pixels` uint8 (N, 1, H, W) are images it was trained on.

    Raises NasSearchError if a convolution sums up too many products for 32 bits, or maps differ so
    much in scale that the factor between them needs more.
    """
    fused = list(_fused(program))
    quantiser = _Quantiser(program, _ranges(program, {each.last for each in fused}, pixels))
    for each in fused:
        quantiser.add(each)
    return IntegerProgram(program.input_shape, tuple(quantiser.steps))


@dataclass(frozen=True, eq=False)
class _Fused:
    """Steps that become one: a convolution with a factor and shift behind it and then a ReLU.

    A ReLU needs no work: the range of its map begins at zero. `last` is the number of that map.
    """

    op: Op
    inputs: tuple[int, ...]
    last: int
    scale: Scale | None = None


def _fused(program: Program) -> Iterator[_Fused]:
    uses = Counter(each for step in program.steps for each in step.inputs)
    steps = list(enumerate(program.steps, start=1))

    def follows(kind: type[Op]) -> bool:
        """Whether the next step is of this kind, and alone uses the map before it."""
        if not steps:
            return False
        number, step = steps[0]
        return isinstance(step.op, kind) and step.inputs == (number - 1,) and uses[number - 1] == 1

    while steps:
        number, step = steps.pop(0)
        fused = _Fused(step.op, step.inputs, number)
        if isinstance(step.op, Conv) and follows(Scale):
            number, behind = steps.pop(0)
            assert isinstance(behind.op, Scale)
            fused = replace(fused, last=number, scale=behind.op)
        if isinstance(step.op, Conv | Scale) and follows(Relu):
            fused = replace(fused, last=steps.pop(0)[0])
        yield fused


class _Quantiser:
    """Writes the steps, one after another. `ranges` are those of the maps, by their number."""

    def __init__(self, program: Program, ranges: dict[int, tuple[float, float]]) -> None:
        self.steps: list[IntegerStep] = []
        self._shapes = program.shapes
        self._ranges = ranges
        self._grids = [PIXELS]
        self._numbers = {0: 0}
        """Of the maps in whole numbers, by their number in the program."""
        self._weights: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        """int8 weights and their scales, by the id of the convolution they belong to."""

    def add(self, fused: _Fused) -> None:
        inputs = tuple(self._numbers[each] for each in fused.inputs)
        sources = [self._grids[each] for each in inputs]
        op, grid, requantisation = self._op(fused, sources)
        self.steps.append(IntegerStep(op, inputs, self._shapes[fused.last], grid, requantisation))
        self._grids.append(grid)
        self._numbers[fused.last] = len(self.steps)

    def _op(
        self, fused: _Fused, sources: list[Grid]
    ) -> tuple[IntegerConv | Scale | Pool | Add, Grid, Requantisation | None]:
        """The operation, the grid of its map, and how its sums come to that grid."""
        op = fused.op
        if isinstance(op, Pool) and op.kind == "max":
            return op, sources[0], None
        is_last = fused.last == len(self._shapes) - 1
        grid = LOGITS if is_last else _grid(*self._ranges[fused.last])
        scales = torch.tensor([each.scale for each in sources], dtype=torch.float64).view(-1, 1)
        zero = torch.zeros(1, dtype=torch.float64)
        if isinstance(op, Conv):
            conv = self._conv(op, fused.scale)
            return conv, grid, _requantisation(scales * conv.weight_scale, conv.bias, grid)
        if isinstance(op, Scale):
            return op, grid, _requantisation(scales * op.factor, op.shift, grid)
        if isinstance(op, Pool):
            return op, grid, _requantisation(scales / math.prod(op.window), zero, grid)
        assert isinstance(op, Add)
        return op, grid, _requantisation(scales, zero, grid)

    def _conv(self, conv: Conv, scale: Scale | None) -> IntegerConv:
        if conv.weight[0].numel() > MOST_PRODUCTS:
            raise NasSearchError(
                f"a convolution sums up {conv.weight[0].numel():,} products, and 32 bits hold "
                f"{MOST_PRODUCTS:,}: export this network without --int8 and --c-header"
            )
        if id(conv) not in self._weights:
            self._weights[id(conv)] = _int8(conv.weight)
        weight, weight_scale = self._weights[id(conv)]
        bias = torch.zeros_like(weight_scale) if conv.bias is None else conv.bias
        if scale is not None:
            weight_scale, bias = weight_scale * scale.factor, bias * scale.factor + scale.shift
        return IntegerConv(weight, weight_scale, bias, conv.stride, conv.padding, conv.groups)


def _int8(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """int8 weights of the same shape and their scales (out,)."""
    scale = weight.abs().amax((1, 2, 3)) / 127
    divisor = torch.where(scale > 0, scale, 1.0)
    return (weight / divisor.view(-1, 1, 1, 1)).round().to(torch.int8), scale


def _grid(lowest: float, highest: float) -> Grid:
    """The grid from `lowest` (at most 0) to `highest` (at least 0). Zero is a point of it."""
    scale = (highest - lowest) / 255 or 1.0
    return Grid(scale, round(-lowest / scale))


def _requantisation(factors: torch.Tensor, shift: torch.Tensor, grid: Grid) -> Requantisation:
    """For sums whose real value is factors (inputs, channels or 1) * sums + shift."""
    factors = factors / grid.scale
    largest = float(factors.abs().max())
    if not largest < 2**31:
        raise NasSearchError(
            f"a factor of {largest:.1e} stands between two maps, and 32 bits hold less than "
            f"{2**31:,}: export this network without --int8 and --c-header"
        )
    places = min(MOST_SHIFT, 30 - math.floor(math.log2(largest))) if largest else 0
    offset = (shift / grid.scale + grid.zero_point + 0.5) * 2.0**places
    return Requantisation(
        (factors * 2.0**places).round().clamp(1 - 2**31, 2**31 - 1).to(torch.int64),
        offset.round().clamp(-(2.0**61), 2.0**61).to(torch.int64),
        places,
    )


def _ranges(
    program: Program, wanted: set[int], pixels: torch.Tensor
) -> dict[int, tuple[float, float]]:
    """The lowest (at most 0) and the highest value (at least 0) of each wanted map."""
    network = ProgramNetwork(program)
    ranges = dict.fromkeys(wanted, (0.0, 0.0))
    with torch.no_grad():
        for batch in torch.split(pixels, BATCH):
            maps = network.maps(batch.float() / 255)
            for number, (lowest, highest) in ranges.items():
                low, high = (float(each) for each in torch.aminmax(maps[number]))
                ranges[number] = min(lowest, low), max(highest, high)
    return ranges
