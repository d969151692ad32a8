"""Where values stand on the axes of a chart: the same for whatever draws it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from results.charts.chart import (
    BEST_SHOWN,
    Axis,
    Bars,
    Chart,
    Intervals,
    Line,
    Mark,
    Points,
    Rule,
)

MARGIN = 0.05
"""Of the range of the marks, on either side of them."""

CLEAR = 0.1
"""Ticks are this part of an axis apart, or more: their labels touch otherwise."""

_ACCURACIES = (
    (50.0, 90.0, 99.0, 99.9),
    (10.0, 80.0, 95.0, 98.0, 99.5, 99.8, 99.95, 99.99),
    (70.0, 97.0, 98.5, 99.2, 99.4, 99.6, 99.7),
    (20.0, 30.0, 40.0, 60.0, 85.0, 92.0, 94.0, 96.0, 97.5, 98.8, 99.3, 99.85),
    (88.0, 91.0, 93.0, 94.5, 95.5, 96.5, 98.2, 98.4, 98.6, 99.1, 99.15, 99.25, 99.35, 99.45, 99.55),
)
_LOG_DIGITS = ((1.0,), (2.0, 5.0), (1.5, 3.0, 7.0), (4.0, 6.0, 8.0, 9.0))
"""What to label first on an axis, then where room is left, and so on."""


@dataclass(frozen=True)
class Scale:
    """An axis with its range: positions are numbers on a line, `ticks` label some of them.

    No `ticks`: what draws it chooses them, as on any axis of plain numbers.
    """

    axis: Axis
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...] = ()

    def position(self, value: float) -> float:
        """Where a value stands."""
        return position(self.axis, value)

    def within(self, value: float) -> float:
        """Where a value stands, or the edge it is beyond."""
        return min(max(self.position(value), min(self.low, self.high)), max(self.low, self.high))


def position(axis: Axis, value: float) -> float:
    """Where a value stands on an axis. Any finite accuracy has a place."""
    if axis.scale == "log":
        return math.log10(value)
    if axis.scale == "accuracy":
        return -math.log10(100 - min(value, BEST_SHOWN))
    return float(value)


def scale(chart: Chart, side: Literal["x", "y"]) -> Scale:
    """The scale of one axis of a chart that has marks."""
    axis = chart.x if side == "x" else chart.y
    if axis.categories:
        names = tuple((float(row), name) for row, name in enumerate(axis.categories))
        return Scale(axis, len(axis.categories) - 0.4, -0.6, names)
    places = [position(axis, value) for mark in chart.marks for value in _values(mark, side)]
    if axis.limits:
        low, high = (position(axis, limit) for limit in axis.limits)
    else:
        low, high = min(places), max(places)
        margin = MARGIN * (high - low) or 0.05
        starts_at_zero = any(isinstance(mark, Bars) for mark in chart.marks) and low == 0
        low, high = low - (0 if starts_at_zero else margin), high + margin
    if axis.scale == "linear":
        return Scale(axis, low, high)
    tiers = _ACCURACIES if axis.scale == "accuracy" else _log_tiers(low, high)
    ticks: list[tuple[float, str]] = []
    below = any(
        position(axis, value) < low
        for mark in chart.marks
        if isinstance(mark, Points)
        for value in _values(mark, side)
    )
    if axis.limits and below:
        ticks.append((low, f"≤ {axis.limits[0]:,.6g}"))
    for value in (value for tier in tiers for value in tier):
        place = position(axis, value)
        clear = all(abs(place - other) > CLEAR * (high - low) for other, _ in ticks)
        if low <= place <= high and clear:
            ticks.append((place, f"{value:,.6g}"))
    return Scale(axis, low, high, tuple(sorted(ticks)))


def _values(mark: Mark, side: str) -> Sequence[float]:
    """All that a mark needs to have its place on an axis."""
    if isinstance(mark, Rule):
        return [mark.at] if mark.axis == side else []
    if isinstance(mark, Points | Line):
        return mark.x if side == "x" else mark.y
    if side == "y":
        return mark.positions
    if isinstance(mark, Bars):
        starts = mark.starts or [0.0] * len(mark.lengths)
        return [*starts, *(a + b for a, b in zip(starts, mark.lengths, strict=True))]
    assert isinstance(mark, Intervals)
    return [*mark.low, *mark.high]


def _log_tiers(low: float, high: float) -> Iterator[list[float]]:
    powers = range(math.floor(low), math.ceil(high))
    for digits in _LOG_DIGITS:
        yield [digit * 10.0**power for power in powers for digit in digits]
