"""Charts as still pictures, drawn with matplotlib: SVG for pages, PNG for everywhere else."""

import io
import textwrap
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from results.charts.chart import GREY, Bars, Chart, Intervals, Line, Mark, Points, Rule
from results.charts.scale import Scale, scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_INCHES = 4.6
"""Small, so that letters of `SMALLEST_POINTS` can still be read on a telephone: there a picture is
some 340 pixels wide, and they are 9 pixels high."""

SMALLEST_POINTS = 9.0
TITLE_CHARACTERS, TEXT_CHARACTERS = 48, 62
"""Of a line of the title, and of smaller text, that fits the width."""

LEGEND_INCHES = 0.18
"""Height of a row of the legend."""

MANY = 500
"""More points than these are pixels within an SVG, as a browser would labour at as many shapes."""

DRAWING = threading.Lock()
"""matplotlib's font caches are not for several threads at once."""

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": SMALLEST_POINTS,
    "legend.columnspacing": 1.2,
    "legend.handlelength": 1.6,
    "svg.hashsalt": "nas-search",
    "svg.fonttype": "path",
}

FAINT = "#555555"

_SHAPES = {"circle": "o", "diamond": "D", "cross": "x", "ring": "o"}


def png(chart: Chart, *, dots_per_inch: int = 150) -> bytes:
    """The chart as a PNG file's content."""
    return picture(lambda: _figure(chart), "png", dots_per_inch)


def svg(chart: Chart) -> str:
    """The chart as an `<svg>` element, for a page."""
    return svg_element(picture(lambda: _figure(chart), "svg", 150))


def svg_element(file: bytes) -> str:
    """The element within an SVG file, without what only stands before it in files."""
    text = file.decode()
    return text[text.index("<svg") :]


def picture(draw: "Callable[[], Figure]", kind: Literal["png", "svg"], dots_per_inch: int) -> bytes:
    """What `draw` returns, a matplotlib figure, as a file's content. Safe from any thread."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with DRAWING, mpl.rc_context(_STYLE):  # type: ignore[arg-type]
        content = io.BytesIO()
        figure = draw()
        if kind == "svg":  # without a date the same chart is the same file
            figure.savefig(content, format="svg", dpi=dots_per_inch, metadata={"Date": None})
        else:  # what savefig does with a PNG, in one pass instead of two
            figure.set_dpi(dots_per_inch)
            FigureCanvasAgg(figure).print_png(content)  # type: ignore[no-untyped-call]
    return content.getvalue()


def _figure(chart: Chart) -> "Figure":
    labels = [mark.label for mark in chart.marks if mark.label]
    columns = _legend_columns(labels)
    height = 0.24 * chart.rows + 0.8 if chart.rows else 3.0
    figure = _titled(chart, height + LEGEND_INCHES * -(-len(labels) // columns))
    axes = figure.add_subplot()
    if not chart.marks:
        axes.set_axis_off()
        axes.text(0.5, 0.5, textwrap.fill(chart.empty, 44), ha="center", va="center", color=GREY)
        return figure
    x, y = scale(chart, "x"), scale(chart, "y")
    for mark in chart.marks:
        _DRAW[type(mark)](axes, x, y, mark)
    _axis(axes, "x", x)
    _axis(axes, "y", y)
    if labels:
        handles, named = axes.get_legend_handles_labels()
        figure.legend(handles, named, loc="outside lower center", ncols=columns)
    return figure


def _legend_columns(labels: Sequence[str]) -> int:
    """As many as fit the width."""
    longest = 5 + max(map(len, labels), default=0)
    return max(1, min(len(labels), TEXT_CHARACTERS // longest))


def _titled(chart: Chart, height: float) -> "Figure":
    """A figure with title and subtitle, and `height` in inches below them for the rest.

    They belong to the whole: above the axes alone long ones are cut off.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    title = textwrap.wrap(chart.title, TITLE_CHARACTERS)
    subtitle = textwrap.wrap(chart.subtitle, TEXT_CHARACTERS)
    top, middle = 0.05, 0.05 + 0.19 * len(title)
    above = middle + 0.16 * len(subtitle)
    whole = height + above
    layout = ConstrainedLayoutEngine(rect=(0, 0, 1, height / whole))
    figure = Figure(figsize=(WIDTH_INCHES, whole), layout=layout)
    looks: dict[str, Any] = {"x": 0.01, "ha": "left", "va": "top"}
    bold: dict[str, Any] = {"fontsize": 10.5, "fontweight": "bold"}
    small: dict[str, Any] = {"fontsize": SMALLEST_POINTS, "color": FAINT}
    figure.text(y=1 - top / whole, s="\n".join(title), **looks, **bold)
    figure.text(y=1 - middle / whole, s="\n".join(subtitle), **looks, **small)
    return figure


def _points(axes: "Axes", x: Scale, y: Scale, mark: Points) -> None:
    colours: dict[str, Any] = (
        {"facecolors": "none", "edgecolors": mark.colour}
        if mark.shape == "ring"
        else {"c": mark.colour}
    )
    axes.scatter(
        [x.within(value) for value in mark.x],
        [y.within(value) for value in mark.y],
        s=mark.size**2,
        marker=_SHAPES[mark.shape],
        alpha=mark.opacity,
        linewidths=1.3 if mark.shape in ("cross", "ring") else 0,
        label=mark.label or None,
        rasterized=len(mark.x) > MANY,
        clip_on=False,
        zorder=3,
        **colours,
    )


def _line(axes: "Axes", x: Scale, y: Scale, mark: Line) -> None:
    axes.plot(
        [x.position(value) for value in mark.x],
        [y.position(value) for value in mark.y],
        color=mark.colour,
        linewidth=mark.width,
        alpha=mark.opacity,
        linestyle="--" if mark.dashed else "-",
        drawstyle="steps-post" if mark.stepped else "default",
        marker="o" if mark.dots else None,
        markersize=mark.dots,
        label=mark.label or None,
        zorder=2,
    )


def _bars(axes: "Axes", x: Scale, y: Scale, mark: Bars) -> None:
    axes.barh(
        mark.positions,
        mark.lengths,
        left=list(mark.starts) or 0,
        height=0.7,
        color=mark.colour,
        label=mark.label or None,
    )


def _intervals(axes: "Axes", x: Scale, y: Scale, mark: Intervals) -> None:
    low, middle, high = (
        [x.position(value) for value in values] for values in (mark.low, mark.middle, mark.high)
    )
    axes.hlines(mark.positions, low, high, color=mark.colour, linewidth=1.6, zorder=2)
    dots: dict[str, Any] = {"s": 26, "c": mark.colour, "zorder": 3, "clip_on": False}
    axes.scatter(middle, mark.positions, label=mark.label or None, **dots)


def _rule(axes: "Axes", x: Scale, y: Scale, mark: Rule) -> None:
    looks: dict[str, Any] = {
        "color": mark.colour,
        "linewidth": 1.2,
        "linestyle": ":",
        "label": mark.label or None,
        "zorder": 1,
    }
    if mark.axis == "y":
        axes.axhline(y.position(mark.at), **looks)
    else:
        axes.axvline(x.position(mark.at), **looks)


_DRAW: dict[type[Mark], Callable[..., None]] = {
    Points: _points,
    Line: _line,
    Bars: _bars,
    Intervals: _intervals,
    Rule: _rule,
}


def _axis(axes: "Axes", name: str, each: Scale) -> None:
    along = getattr(axes, f"{name}axis")
    along.set_label_text(each.axis.label)
    if name == "x":  # it may be longer than the axis beside long names of rows
        along.label.set(x=1, ha="right")
    if each.ticks:
        along.set_ticks([place for place, _ in each.ticks], [label for _, label in each.ticks])
    if each.axis.categories:
        along.set_tick_params(length=0)
        along.grid(False)
    getattr(axes, f"set_{name}lim")(each.low, each.high)
