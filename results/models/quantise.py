"""Post-training static quantisation: a folded program to one in whole numbers.

Weights are symmetric, a scale per output channel; maps have a scale and zero point each, from the
lowest and the highest value they hold for some training images. What rounding does to the mean of a
channel is corrected in the biases, one layer after another, so that it does not add up (empirical
bias correction, Nagel et al., "Data-Free Quantization through Weight Equalization and Bias
Correction", ICCV 2019).
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
    sums,
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
    quantiser = _Quantiser(program, pixels)
    for each in fused:
        quantiser.add(each)
    return IntegerProgram(program.input_shape, tuple(quantiser.steps), program.views)


@dataclass(frozen=True, eq=False)
class _Fused:
    """Steps that become one: a convolution with a factor and shift behind it and then a ReLU.

    A ReLU needs no work: the range of its map begins at zero. `last` is the number of that map,
    `linear` of the one before the ReLU.
    """

    op: Op
    inputs: tuple[int, ...]
    linear: int
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
        fused = _Fused(step.op, step.inputs, number, number)
        if isinstance(step.op, Conv) and follows(Scale):
            number, behind = steps.pop(0)
            assert isinstance(behind.op, Scale)
            fused = replace(fused, linear=number, last=number, scale=behind.op)
        if isinstance(step.op, Conv | Scale) and follows(Relu):
            fused = replace(fused, last=steps.pop(0)[0])
        yield fused


class _Quantiser:
    """Writes the steps, one after another, and runs each on the calibration images."""

    def __init__(self, program: Program, pixels: torch.Tensor) -> None:
        self.steps: list[IntegerStep] = []
        self._shapes = program.shapes
        self._observed = _observe(program, pixels)
        self._maps = [pixels]
        """In whole numbers; uint8, as all but the logits are."""
        self._grids = [PIXELS]
        self._numbers = {0: 0}
        """Of the maps in whole numbers, by their number in the program."""
        self._weights: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        """int8 weights and their scales, by the id of the convolution they belong to."""

    def add(self, fused: _Fused) -> None:
        inputs = tuple(self._numbers[each] for each in fused.inputs)
        sources = [self._grids[each] for each in inputs]
        op, grid, requantisation = self._op(fused, sources)
        step = IntegerStep(op, inputs, self._shapes[fused.last], grid, requantisation)
        self.steps.append(step)
        self._grids.append(grid)
        self._numbers[fused.last] = len(self.steps)
        if grid is not LOGITS:
            made = [step.run(batch).to(torch.uint8) for batch in self._batches(inputs)]
            self._maps.append(torch.cat(made))

    def _batches(self, inputs: tuple[int, ...]) -> Iterator[list[torch.Tensor]]:
        """Maps less their zero points, int64, of a few calibration images at a time."""
        maps = [torch.split(self._maps[each], BATCH) for each in inputs]
        for batch in zip(*maps, strict=True):
            yield [
                each.to(torch.int64) - self._grids[number].zero_point
                for number, each in zip(inputs, batch, strict=True)
            ]

    def _op(
        self, fused: _Fused, sources: list[Grid]
    ) -> tuple[IntegerConv | Scale | Pool | Add, Grid, Requantisation | None]:
        """The operation, the grid of its map, and how its sums come to that grid."""
        op = fused.op
        if isinstance(op, Pool) and op.kind == "max":
            return op, sources[0], None
        is_last = fused.last == len(self._shapes) - 1
        seen = self._observed[fused.last]
        grid = LOGITS if is_last else _grid(seen.lowest, seen.highest)
        scales = torch.tensor([each.scale for each in sources], dtype=torch.float64).view(-1, 1)
        zero = torch.zeros(1, dtype=torch.float64)
        if isinstance(op, Conv):
            conv = self._conv(op, fused.scale)
            factors = scales * conv.weight_scale
            conv = replace(conv, bias=self._corrected(conv.bias, conv, factors, fused))
            return conv, grid, _requantisation(factors, conv.bias, grid)
        if isinstance(op, Scale):
            factors = scales * op.factor
            op = replace(op, shift=self._corrected(op.shift, op, factors, fused))
            return op, grid, _requantisation(factors, op.shift, grid)
        if isinstance(op, Pool):
            return op, grid, _requantisation(scales / math.prod(op.window), zero, grid)
        assert isinstance(op, Add)
        return op, grid, _requantisation(scales, zero, grid)

    def _corrected(
        self,
        shift: torch.Tensor,
        op: IntegerConv | Scale,
        factors: torch.Tensor,
        fused: _Fused,
    ) -> torch.Tensor:
        """The shift (channels,) with which the map before the ReLU keeps its means."""
        total = torch.zeros(1, dtype=torch.float64)
        inputs = tuple(self._numbers[each] for each in fused.inputs)
        for batch in self._batches(inputs):
            (found,) = sums(op, batch)
            total = total + found.double().mean((2, 3)).sum(0)
        means = factors[0] * total / len(self._maps[0]) + shift
        return shift + self._observed[fused.linear].means - means

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


@dataclass
class _Observed:
    """Of a map: lowest (at most 0) and highest value (at least 0), and the means (channels,)."""

    means: torch.Tensor
    lowest: float = 0.0
    highest: float = 0.0


def _observe(program: Program, pixels: torch.Tensor) -> list[_Observed]:
    """What the maps of the program hold for these images, by their number."""
    network = ProgramNetwork(program)
    seen = [_Observed(torch.zeros(shape[0], dtype=torch.float64)) for shape in program.shapes]
    with torch.no_grad():
        for batch in torch.split(pixels, BATCH):
            for each, values in zip(seen, network.maps(batch.float() / 255), strict=True):
                low, high = (float(value) for value in torch.aminmax(values))
                each.lowest, each.highest = min(each.lowest, low), max(each.highest, high)
                each.means += values.double().mean((2, 3)).sum(0) / len(pixels)
    return seen
