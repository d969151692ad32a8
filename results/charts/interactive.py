"""Charts a person can point at, as plotly figures for optuna-dashboard."""

from typing import TYPE_CHECKING, Any

from results.charts.chart import (
    ACCURACY_TICKS,
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
    import plotly.graph_objects as go


def figure(chart: Chart) -> "go.Figure":
    """The chart as a plotly figure."""
    import plotly.graph_objects as go

    drawn = go.Figure()
    for mark in chart.marks:
        _DRAW[type(mark)](drawn, chart, mark)
    drawn.update_layout(
        title=chart.title,
        template="plotly_white",
        xaxis=_axis(chart.x),
        yaxis=_axis(chart.y),
        legend={"orientation": "h", "y": -0.2},
        margin={"l": 60, "r": 20, "t": 50, "b": 60},
        height=max(420, 26 * chart.rows + 160),
    )
    if not chart.marks:
        drawn.add_annotation(text=chart.empty, x=0.5, y=0.5, xref="paper", yref="paper")
        drawn.update_layout(xaxis_visible=False, yaxis_visible=False)
    return drawn


def _points(drawn: "go.Figure", chart: Chart, mark: Points) -> None:
    symbols = {"circle": "circle", "diamond": "diamond", "cross": "x-thin"}
    drawn.add_scatter(
        x=_places(chart.x, mark.x),
        y=_places(chart.y, mark.y),
        mode="markers",
        name=mark.label,
        text=list(mark.names),
        hovertemplate="%{text}<extra></extra>" if mark.names else None,
        marker={
            "color": mark.colour,
            "symbol": symbols[mark.shape],
            "size": mark.size * 1.4,
            "opacity": mark.opacity,
            "line": {"width": 1.5 if mark.shape == "cross" else 0, "color": mark.colour},
        },
    )


def _line(drawn: "go.Figure", chart: Chart, mark: Line) -> None:
    drawn.add_scatter(
        x=_places(chart.x, mark.x),
        y=_places(chart.y, mark.y),
        mode="lines",
        name=mark.name or mark.label,
        showlegend=bool(mark.label),
        opacity=mark.opacity,
        hoverinfo="name" if mark.name else "skip",
        line={
            "color": mark.colour,
            "width": mark.width,
            "dash": "dash" if mark.dashed else "solid",
            "shape": "hv" if mark.stepped else "linear",
        },
    )


def _bars(drawn: "go.Figure", chart: Chart, mark: Bars) -> None:
    drawn.add_bar(
        x=list(mark.lengths),
        y=list(mark.positions),
        base=list(mark.starts) or None,
        orientation="h",
        name=mark.label,
        showlegend=bool(mark.label),
        marker_color=mark.colour,
        text=list(mark.names),
        hovertemplate="%{text}<extra></extra>" if mark.names else None,
        textposition="none",
    )


def _intervals(drawn: "go.Figure", chart: Chart, mark: Intervals) -> None:
    pairs = list(zip(mark.low, mark.middle, mark.high, strict=True))
    drawn.add_scatter(
        x=list(mark.middle),
        y=list(mark.positions),
        mode="markers",
        name=mark.label,
        showlegend=bool(mark.label),
        text=list(mark.names),
        hovertemplate="%{text}<extra></extra>" if mark.names else None,
        marker={"color": mark.colour, "size": 8},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [high - middle for _, middle, high in pairs],
            "arrayminus": [middle - low for low, middle, _ in pairs],
        },
    )


def _rule(drawn: "go.Figure", chart: Chart, mark: Rule) -> None:
    axis = chart.y if mark.axis == "y" else chart.x
    (at,) = _places(axis, [mark.at])
    draw = drawn.add_hline if mark.axis == "y" else drawn.add_vline
    draw(at, line={"color": mark.colour, "dash": "dot", "width": 1.5}, annotation_text=mark.label)


_DRAW: dict[type[Mark], Any] = {
    Points: _points,
    Line: _line,
    Bars: _bars,
    Intervals: _intervals,
    Rule: _rule,
}


def _places(axis: Axis, values: Any) -> list[float]:
    if axis.scale == "accuracy":
        return [accuracy_position(value) for value in values]
    return [float(value) for value in values]


def _axis(axis: Axis) -> dict[str, Any]:
    described: dict[str, Any] = {"title": axis.label}
    if axis.scale == "log":
        described |= {"type": "log", "dtick": "D2" if not axis.limits else None}
    if axis.scale == "accuracy":
        described["tickvals"] = [accuracy_position(tick) for tick in ACCURACY_TICKS]
        described["ticktext"] = [f"{tick:g}" for tick in ACCURACY_TICKS]
    if axis.limits:
        import math

        low, high = _places(axis, axis.limits)
        described["range"] = (
            [math.log10(low), math.log10(high)] if axis.scale == "log" else [low, high]
        )
    if axis.categories:
        described |= {
            "tickvals": list(range(len(axis.categories))),
            "ticktext": list(axis.categories),
            "range": [len(axis.categories) - 0.4, -0.6],
            "automargin": True,
        }
    return described
