"""Charts as still pictures, drawn with matplotlib: SVG for pages, PNG for everywhere else."""

import io
import threading
from typing import TYPE_CHECKING, Any

from results.charts.chart import (
    ACCURACY_TICKS,
    GREY,
    Axis,
    Bars,
    Chart,
    Intervals,
    Line,
    Mark,
    Points,
    Rule,
    accuracy_position,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_INCHES = 5.2
"""Small, so that the letters can still be read on a telephone."""

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
    "legend.fontsize": 8.5,
    "svg.hashsalt": "nas-search",
    "svg.fonttype": "path",
}


def png(chart: Chart, *, dots_per_inch: int = 150) -> bytes:
    """The chart as a PNG file's content."""
    return picture(lambda: _figure(chart), "png", dots_per_inch)


def svg(chart: Chart) -> str:
    """The chart as an `<svg>` element, for a page."""
    text = picture(lambda: _figure(chart), "svg", 150).decode()
    return text[text.index("<svg") :]


def picture(draw: Any, kind: str, dots_per_inch: int) -> bytes:
    """What `draw` returns, a matplotlib figure, as a file's content. Safe from any thread."""
    import matplotlib as mpl

    with DRAWING, mpl.rc_context(_STYLE):  # type: ignore[arg-type]
        content = io.BytesIO()
        # Without a date the same chart is the same file.
        metadata = {"Date": None} if kind == "svg" else None
        draw().savefig(content, format=kind, dpi=dots_per_inch, metadata=metadata)
    return content.getvalue()


def _figure(chart: Chart) -> "Figure":
    from matplotlib.figure import Figure

    height = 0.24 * chart.rows + 1.2 if chart.rows else 3.4
    figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(chart.title, fontweight="bold")
    if not chart.marks:
        axes.set_axis_off()
        axes.text(0.5, 0.5, chart.empty, ha="center", va="center", color=GREY, wrap=True)
        return figure
    for mark in chart.marks:
        _DRAW[type(mark)](axes, mark)
    _scale(axes, "x", chart.x)
    _scale(axes, "y", chart.y)
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)))
    return figure


def _points(axes: "Axes", mark: Points) -> None:
    shapes = {"circle": "o", "diamond": "D", "cross": "x"}
    axes.scatter(
        mark.x,
        mark.y,
        s=mark.size**2,
        c=mark.colour,
        marker=shapes[mark.shape],
        alpha=mark.opacity,
        linewidths=1 if mark.shape == "cross" else 0,
        label=mark.label,
        rasterized=len(mark.x) > MANY,
        zorder=3,
    )


def _line(axes: "Axes", mark: Line) -> None:
    axes.plot(
        mark.x,
        mark.y,
        color=mark.colour,
        linewidth=mark.width,
        alpha=mark.opacity,
        linestyle="--" if mark.dashed else "-",
        drawstyle="steps-post" if mark.stepped else "default",
        label=mark.label or None,
        zorder=2,
    )


def _bars(axes: "Axes", mark: Bars) -> None:
    axes.barh(
        mark.positions,
        mark.lengths,
        left=list(mark.starts) or 0,
        height=0.7,
        color=mark.colour,
        label=mark.label or None,
    )


def _intervals(axes: "Axes", mark: Intervals) -> None:
    axes.hlines(mark.positions, mark.low, mark.high, color=mark.colour, linewidth=1.6, zorder=2)
    axes.scatter(
        mark.middle, mark.positions, s=26, c=mark.colour, label=mark.label or None, zorder=3
    )


def _rule(axes: "Axes", mark: Rule) -> None:
    draw = axes.axhline if mark.axis == "y" else axes.axvline
    draw(
        mark.at, color=mark.colour, linewidth=1.2, linestyle=":", label=mark.label or None, zorder=1
    )


_DRAW: dict[type[Mark], Any] = {
    Points: _points,
    Line: _line,
    Bars: _bars,
    Intervals: _intervals,
    Rule: _rule,
}


def _scale(axes: "Axes", name: str, axis: Axis) -> None:
    import numpy as np

    along = getattr(axes, f"{name}axis")
    along.set_label_text(axis.label)
    if axis.scale == "accuracy":
        getattr(axes, f"set_{name}scale")(
            "function",
            functions=(np.vectorize(accuracy_position, otypes=[float]), lambda p: 100 - 10.0**-p),
        )
    elif axis.scale == "log":
        getattr(axes, f"set_{name}scale")("log")
        along.set_major_formatter("{x:,.0f}")
        along.set_minor_formatter("")
    if axis.limits:
        getattr(axes, f"set_{name}lim")(*axis.limits)
    if axis.scale == "accuracy":
        low, high = getattr(axes, f"get_{name}lim")()
        ticks = accuracy_ticks(low, high)
        along.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
        getattr(axes, f"set_{name}lim")(low, high)
    if axis.categories:
        along.set_ticks(range(len(axis.categories)), axis.categories)
        along.set_tick_params(length=0)
        along.grid(False)
        getattr(axes, f"set_{name}lim")(len(axis.categories) - 0.4, -0.6)


def accuracy_ticks(low: float, high: float) -> list[float]:
    """Those of `ACCURACY_TICKS` between two accuracies that stand clear of each other."""
    span = accuracy_position(high) - accuracy_position(low)
    chosen: list[float] = []
    for tick in ACCURACY_TICKS:
        clear = not chosen or (
            accuracy_position(tick) - accuracy_position(chosen[-1]) > 0.07 * span
        )
        if low <= tick <= high and clear:
            chosen.append(tick)
    return chosen
