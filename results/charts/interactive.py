"""Charts a person can point at, as plotly figures for optuna-dashboard."""

import html
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from results.charts.chart import GREY, Bars, Chart, Intervals, Line, Mark, Points, Rule
from results.charts.scale import Scale, scale

if TYPE_CHECKING:
    import plotly.graph_objects as go

HEIGHT_PIXELS = 450
"""The dashboard's room for a chart, whatever is in it."""

CHARACTERS, SMALL_CHARACTERS = 36, 56
"""Of a line; more do not fit a telephone."""

FAINT = "#666666"

LINE_PIXELS, TITLE_TOP_PIXELS = 16, 40
"""Height of a line of title and subtitle, and where they begin: below the buttons, which are always
there."""

_SYMBOLS = {"circle": "circle", "diamond": "diamond", "cross": "x-thin", "ring": "circle-open"}


def figure(chart: Chart, *, stamp: str = "") -> "go.Figure":
    """The chart as a plotly figure. A point says its name when a person points at it.

    `stamp` stands in small letters below the title: when it was drawn, say.
    """
    import plotly.graph_objects as go

    titles = [f"<b>{line}</b>" for line in _lines(chart.title, CHARACTERS)]
    small = [*_lines(chart.subtitle, SMALL_CHARACTERS), *_lines(stamp, SMALL_CHARACTERS)]
    heading = _sized(titles, 15, "#333333") + (f"<br>{_sized(small, 11, FAINT)}" if small else "")
    # Of the usual template, seven kilobytes with each figure, this is what shows.
    layout: dict[str, Any] = {
        "template": go.layout.Template(),
        "title": {
            "text": heading,
            "x": 0.02,
            "y": 1 - TITLE_TOP_PIXELS / HEIGHT_PIXELS,
            "yanchor": "top",
            "font": {"size": 12},
        },
        "modebar": {"remove": ["select", "lasso", "zoomin", "zoomout", "autoscale"]},
        "height": HEIGHT_PIXELS,
        "margin": {
            "l": 10,
            "r": 15,
            "t": TITLE_TOP_PIXELS + 12 + LINE_PIXELS * len([*titles, *small]),
            "b": 10,
        },
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "hovermode": "closest",
        "font": {"size": 12, "color": "#333333"},
        "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
    }
    if not chart.marks:
        nothing = {"visible": False}
        drawn = go.Figure(layout={**layout, "xaxis": nothing, "yaxis": nothing})
        drawn.add_annotation(
            text="<br>".join(_lines(chart.empty, CHARACTERS)),
            x=0.5,
            y=0.5,
            xref="paper",
            yref="paper",
            showarrow=False,
            font_color=GREY,
        )
        return drawn
    x, y = scale(chart, "x"), scale(chart, "y")
    drawn = go.Figure(layout={**layout, "xaxis": _axis(x), "yaxis": _axis(y)})
    if chart.rows:
        _name_below(drawn, chart.x.label)
    for mark in chart.marks:
        _DRAW[type(mark)](drawn, x, y, mark)
    return drawn


def _name_below(drawn: "go.Figure", label: str) -> None:
    """Names the axis below rows from the right edge on: its middle may be further to the right
    than a long name has room, as the names of the rows are to the left of it."""
    drawn.update_layout(xaxis_title=None, margin_b=100)
    drawn.add_annotation(
        text=label,
        showarrow=False,
        xref="paper",
        x=1,
        xanchor="right",
        yref="paper",
        y=0,
        yanchor="top",
        yshift=-22,
    )


def _points(drawn: "go.Figure", x: Scale, y: Scale, mark: Points) -> None:
    open_shape = mark.shape in ("cross", "ring")
    drawn.add_scatter(
        x=_rounded(map(x.within, mark.x)),
        y=_rounded(map(y.within, mark.y)),
        mode="markers",
        cliponaxis=False,
        marker={
            "color": mark.colour,
            "symbol": _SYMBOLS[mark.shape],
            "size": mark.size * 1.4,
            "opacity": mark.opacity,
            "line": {"width": 1.5 if open_shape else 0, "color": mark.colour},
        },
        **_named(mark.label, mark.names),
    )


def _line(drawn: "go.Figure", x: Scale, y: Scale, mark: Line) -> None:
    drawn.add_scatter(
        x=_rounded(map(x.position, mark.x)),
        y=_rounded(map(y.position, mark.y)),
        mode="lines+markers" if mark.dots else "lines",
        marker={"size": mark.dots * 1.4},
        opacity=mark.opacity,
        line={
            "color": mark.colour,
            "width": mark.width,
            "dash": "dash" if mark.dashed else "solid",
            "shape": "hv" if mark.stepped else "linear",
        },
        **_named(mark.label, [mark.name] * len(mark.x) if mark.name else ()),
    )


def _bars(drawn: "go.Figure", x: Scale, y: Scale, mark: Bars) -> None:
    drawn.add_bar(
        x=list(mark.lengths),
        y=list(mark.positions),
        base=list(mark.starts) or None,
        orientation="h",
        width=0.7,
        marker_color=mark.colour,
        textposition="none",
        **_named(mark.label, mark.names),
    )
    drawn.update_layout(barmode="overlay")


def _intervals(drawn: "go.Figure", x: Scale, y: Scale, mark: Intervals) -> None:
    middle = [x.position(value) for value in mark.middle]
    drawn.add_scatter(
        x=middle,
        y=list(mark.positions),
        mode="markers",
        marker={"color": mark.colour, "size": 8},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [x.position(a) - b for a, b in zip(mark.high, middle, strict=True)],
            "arrayminus": [b - x.position(a) for a, b in zip(mark.low, middle, strict=True)],
        },
        **_named(mark.label, mark.names),
    )


def _rule(drawn: "go.Figure", x: Scale, y: Scale, mark: Rule) -> None:
    at = (y if mark.axis == "y" else x).position(mark.at)
    ends = {"x0": 0, "x1": 1, "y0": at, "y1": at, "xref": "paper"}
    if mark.axis == "x":
        ends = {"y0": 0, "y1": 1, "x0": at, "x1": at, "yref": "paper"}
    drawn.add_shape(
        type="line",
        layer="below",
        line={"color": mark.colour, "dash": "dot", "width": 1.5},
        name=mark.label,
        showlegend=bool(mark.label),
        **ends,
    )


_DRAW: dict[type[Mark], Callable[..., None]] = {
    Points: _points,
    Line: _line,
    Bars: _bars,
    Intervals: _intervals,
    Rule: _rule,
}


def _named(label: str, names: Sequence[str]) -> dict[str, Any]:
    """Name in the legend, and what is said when a person points at it."""
    pointed_at: dict[str, Any] = {"hoverinfo": "skip"}
    if names:
        pointed_at = {"text": list(names), "hovertemplate": "%{text}<extra></extra>"}
    return {"name": label, "showlegend": bool(label), **pointed_at}


def _axis(each: Scale) -> dict[str, Any]:
    described: dict[str, Any] = {
        "title": {"text": "<br>".join(_lines(each.axis.label, CHARACTERS))},
        "range": [each.low, each.high],
        "automargin": True,
        "zeroline": False,
        "showgrid": not each.axis.categories,
        "gridcolor": "#e6e6e6",
        "linecolor": "#8c8c8c",
        "showline": not each.axis.categories,
        "tickfont": {"size": 11},
    }
    if each.ticks:
        described["tickvals"] = [place for place, _ in each.ticks]
        described["ticktext"] = [label for _, label in each.ticks]
    else:
        described |= {"tickangle": 0, "nticks": 5}
    return described


def _rounded(places: Any) -> list[float]:
    """Digits that no eye can see would be half of a figure."""
    return [round(place, 5) for place in places]


def _lines(text: str, characters: int) -> list[str]:
    return textwrap.wrap(html.escape(text, quote=False), characters)


def _sized(lines: Sequence[str], pixels: int, colour: str) -> str:
    return f'<span style="font-size:{pixels}px;color:{colour}">{"<br>".join(lines)}</span>'
