"""A drawing of a network: from the image at the top to the logits at the bottom, a row a layer.

On the left the map that leaves the layer, as a block: its front grows with the pixels, its depth
with the channels. Beside it what the layer is, and what it costs.
"""

from typing import TYPE_CHECKING, Any

from results.charts.chart import BLUE, GREEN, GREY, ORANGE, RED
from results.charts.still import FAINT, SMALLEST_POINTS, WIDTH_INCHES, picture, svg_element
from space import Architecture, Conv, Layer, LayerCost, Pool, footprint, layer_costs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW_INCHES = 0.52
BLOCK_LEFT = 0.47
"""Inches from the edge to the middle of the blocks' fronts, all one below the other."""

BAR_LEFT, TEXT_LEFT = 1.0, 1.1
SMALLEST_INCHES, LARGEST_INCHES = 0.07, 0.34
"""Of the side of a block's front, for a map of one pixel and for the input."""

DEEPEST_INCHES = 0.33
"""Depth of the block with the most channels."""

_NAMES = {"conv": "convolution", "separable": "separable convolution"}
_HEADS = {
    "gap_conv": "global average, then 1x1 convolution",
    "conv_gap": "1x1 convolution, then global average",
    "full_conv": "convolution over the whole map",
}
_AFTER = {"norm": "BatchNorm", "relu": "ReLU", "dropout": "dropout"}
_COLOURS = {
    "conv": BLUE,
    "separable": "#56b4e9",
    "max_pool": ORANGE,
    "average_pool": ORANGE,
}


def network_png(architecture: Architecture, *, dots_per_inch: int = 120) -> bytes:
    """The drawing as a PNG file's content."""
    return picture(lambda: _figure(architecture), "png", dots_per_inch)


def network_svg(architecture: Architecture) -> str:
    """The drawing as an `<svg>` element, for a page."""
    return svg_element(picture(lambda: _figure(architecture), "svg", 120))


def _figure(architecture: Architecture) -> "Figure":
    from matplotlib.figure import Figure

    costs = layer_costs(architecture)
    rows = len(costs) + 2  # the input above, the sum below
    height = ROW_INCHES * (rows + 0.2)
    figure = Figure(figsize=(WIDTH_INCHES, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH_INCHES), ylim=(height, 0))
    axes.set_axis_off()
    drawing = _Drawing(axes, architecture)
    drawing.row(0, "input image", _map(architecture.input_shape), "parameters", GREY)
    drawing.block(0, architecture.input_shape, GREY)
    for row, (layer, cost) in enumerate(zip(architecture.layers, costs, strict=False), 1):
        drawing.layer(row, layer, cost)
    drawing.head(len(costs), costs[-1])
    drawing.sum(rows - 1)
    return figure


class _Drawing:
    """Draws in inches from the upper left corner."""

    def __init__(self, axes: "Axes", architecture: Architecture) -> None:
        self._axes = axes
        self._architecture = architecture
        self._channels = max(shape[0] for shape in architecture.shapes())
        self._pixels = max(architecture.input_shape[1:])

    def row(self, row: int, name: str, details: str, params: str, colour: str) -> None:
        """The words of a row, and the arrow from the row above."""
        middle = _middle(row)
        text = self._axes.text
        text(TEXT_LEFT, middle - 0.03, name, va="bottom", fontsize=9.2, fontweight="bold")
        small: dict[str, Any] = {"va": "top", "fontsize": SMALLEST_POINTS, "color": FAINT}
        text(TEXT_LEFT, middle + 0.01, details, **small)
        text(WIDTH_INCHES - 0.1, middle - 0.03, params, va="bottom", ha="right", fontsize=9.2)
        self._axes.plot([BAR_LEFT] * 2, [middle - 0.16, middle + 0.16], color=colour, linewidth=3)
        if row:
            self._axes.annotate(
                "",
                (BLOCK_LEFT, middle - 0.2),
                (BLOCK_LEFT, middle - ROW_INCHES + 0.2),
                arrowprops={"arrowstyle": "-|>", "color": GREY, "shrinkA": 0, "shrinkB": 0},
            )

    def layer(self, row: int, layer: Layer, cost: LayerCost) -> None:
        colour = _COLOURS[layer.kind]
        if isinstance(layer, Pool):
            kind = "max" if layer.kind == "max_pool" else "average"
            name, after = f"{kind} pooling {layer.size}x{layer.size}", ""
        else:
            name = f"{_NAMES[layer.kind]} {layer.kernel_size}x{layer.kernel_size}"
            norm = {} if layer.norm_scale else {"norm": "BatchNorm without scale"}
            after = ", ".join((_AFTER | norm)[each] for each in layer.then)
            if layer.stride > 1:
                name += f", stride {layer.stride}"
            if layer.repeats > 1:
                name += f", {layer.repeats} times"
        details = _map(cost.output_shape) + (f", then {after}" if after else "")
        self.row(row, name, details, f"{cost.params:,}" if cost.params else "", colour)
        self.block(row, cost.output_shape, colour)
        if isinstance(layer, Conv) and layer.residual:
            self._arc(row)

    def head(self, row: int, cost: LayerCost) -> None:
        name = _HEADS[self._architecture.head.kind]
        details = f"{cost.output_shape[0]} numbers, the largest is the answer"
        if (views := self._architecture.views) > 1:
            details = f"the mean of {views} views of the image; {details}"
        self.row(row, name, details, f"{cost.params:,}", GREEN)
        self.block(row, cost.output_shape, GREEN)

    def sum(self, row: int) -> None:
        cost = footprint(self._architecture)
        top = ROW_INCHES * row
        self._axes.plot([TEXT_LEFT, WIDTH_INCHES - 0.1], [top, top], color=GREY, linewidth=0.8)
        text = self._axes.text
        bold: dict[str, Any] = {"va": "top", "fontsize": 10, "fontweight": "bold"}
        text(WIDTH_INCHES - 0.1, top + 0.06, f"{cost.params:,} parameters", ha="right", **bold)
        text(
            WIDTH_INCHES - 0.1,
            top + 0.25,
            f"{cost.macs / 1e6:.2f} million multiplications an image;\nthe head's inputs see "
            f"{cost.receptive_field_pixels}x{cost.receptive_field_pixels} pixels",
            ha="right",
            va="top",
            fontsize=SMALLEST_POINTS,
            color=FAINT,
        )

    def block(self, row: int, shape: tuple[int, int, int], colour: str) -> None:
        """A block whose front is in scale with the map, its depth with the channels."""
        from matplotlib.patches import Polygon

        channels, *sides = shape
        side = SMALLEST_INCHES + (LARGEST_INCHES - SMALLEST_INCHES) * max(sides) / self._pixels
        depth = max(0.02, DEEPEST_INCHES * channels / max(self._channels, 16))
        left, top = BLOCK_LEFT - side / 2, _middle(row) - side / 2
        right, bottom = left + side, top + side
        across, up = depth, -0.25 * depth
        faces = [
            ([(left, top), (right, top), (right, bottom), (left, bottom)], 0.9),
            (
                [(left, top), (left + across, top + up), (right + across, top + up), (right, top)],
                0.5,
            ),
            (
                [
                    (right, top),
                    (right + across, top + up),
                    (right + across, bottom + up),
                    (right, bottom),
                ],
                0.65,
            ),
        ]
        for corners, strength in faces:
            self._axes.add_patch(
                Polygon(
                    corners,
                    facecolor=_pale(colour, strength),
                    edgecolor="white",
                    linewidth=0.5,
                    zorder=3,
                )
            )

    def _arc(self, row: int) -> None:
        """From what enters the layer around it to what leaves it, where the two are added."""
        self._axes.annotate(
            "",
            (BLOCK_LEFT - 0.2, _middle(row) + 0.1),
            (BLOCK_LEFT - 0.2, _middle(row - 1) + 0.05),
            arrowprops={
                "arrowstyle": "-|>",
                "color": RED,
                "connectionstyle": "arc3,rad=0.55",
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )
        self._axes.text(0.22, _middle(row) + 0.22, "+", color=RED, fontsize=12, ha="center")


def _middle(row: int) -> float:
    return ROW_INCHES * (row + 0.5)


def _map(shape: tuple[int, int, int]) -> str:
    channels, height, width = shape
    return f"{channels} map{'' if channels == 1 else 's'} of {height}x{width}"


def _pale(colour: str, strength: float) -> tuple[float, float, float]:
    """The colour mixed with white, of which there is 1 - `strength`."""
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (1 - strength * (1 - part) for part in parts)
    return red, green, blue
