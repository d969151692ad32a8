"""A chart: what it shows, apart from how it is drawn.

The dashboard wants charts a person can point at, reports and artifacts want still pictures. Each
chart is made once, as a value; `results.charts.interactive` and `results.charts.still` draw it.
Drawing one library's figure with the other was the alternative, and so was a browser that takes
pictures of the interactive ones: the first loses half of a chart, the second is a browser.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

BLUE, ORANGE, GREEN, RED, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#8c8c8c"
"""Told apart by colour-blind people too (Okabe and Ito, "Color Universal Design", 2008)."""

Scale = Literal["linear", "whole", "log", "accuracy"]
"""whole: linear, of whole numbers alone. accuracy: percent, drawn by the logarithm of what is
missing to 100, so that 99.4 and 99.5 lie as far apart as 94 and 95 of a hundred times the error;
100 itself is drawn as `BEST_SHOWN`."""

BEST_SHOWN = 99.99


@dataclass(frozen=True)
class Axis:
    """`limits` in the axis' own unit; None: what the marks need. Points outside of the limits stand
    at them, and whatever else is outside is cut off; the tick of the lower limit says so.

    With `categories` it has a row for each, and positions 0, 1, 2, ... on it.
    """

    label: str = ""
    scale: Scale = "linear"
    limits: tuple[float, float] | None = None
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class Points:
    """`names`: what to say of each point when a person points at it."""

    x: Sequence[float]
    y: Sequence[float]
    label: str
    colour: str = BLUE
    shape: Literal["circle", "diamond", "cross", "ring"] = "circle"
    size: float = 6
    opacity: float = 1.0
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Line:
    """Points joined in their order. `stepped`: level up to the next point."""

    x: Sequence[float]
    y: Sequence[float]
    label: str = ""
    """No entry in the legend if empty; so with every mark."""
    colour: str = BLUE
    width: float = 1.8
    opacity: float = 1.0
    dashed: bool = False
    stepped: bool = False
    dots: float = 0.0
    """Size of the dot at each of the points."""
    name: str = ""


@dataclass(frozen=True)
class Bars:
    """Horizontal bars on an axis of categories, from `starts` (0 without any) to the right."""

    lengths: Sequence[float]
    positions: Sequence[float]
    label: str = ""
    colour: str = BLUE
    starts: Sequence[float] = ()
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Intervals:
    """Horizontal intervals with a dot on an axis of categories."""

    low: Sequence[float]
    middle: Sequence[float]
    high: Sequence[float]
    positions: Sequence[float]
    label: str = ""
    colour: str = BLUE
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Rule:
    """A straight line across the chart: of one `y` (horizontal) or of one `x` (vertical)."""

    at: float
    label: str = ""
    axis: Literal["x", "y"] = "y"
    colour: str = RED


Mark = Points | Line | Bars | Intervals | Rule


@dataclass(frozen=True)
class Chart:
    """`summary` says in a sentence what is to be seen, for those who can't see it."""

    title: str
    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    summary: str
    empty: str = ""
    """What stands in the chart's place while it has nothing to show."""
    subtitle: str = ""
    """What has to be known to read the chart, in a sentence or two."""

    @property
    def rows(self) -> int:
        """Rows of categories; 0 on a chart of two measures."""
        return len(self.y.categories)
