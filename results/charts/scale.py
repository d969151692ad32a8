"""Where values stand on the axes of a chart: the same for whatever draws it."""

import itertools
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
"""Of the range, on either side of the marks: room for the whole of them."""

CLEAR = {"x": 0.13, "y": 0.09}
"""Ticks are this part of an axis apart, or more: their labels touch otherwise."""

CLEAR_BESIDE_ROWS = 0.19
"""The names of rows take their part of the width."""

FEWEST_TICKS = 4
"""Where familiar numbers give fewer, others are taken too."""

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
        """Where a value stands, or the limit it is beyond."""
        place = self.position(value)
        if self.axis.limits:
            low, high = (self.position(limit) for limit in self.axis.limits)
            place = min(max(place, low), high)
        return place


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
    ticks: list[tuple[float, str]] = []
    if axis.limits:
        bottom, top = (position(axis, limit) for limit in axis.limits)
        if min(places, default=bottom) < bottom:
            ticks.append((bottom, f"≤ {axis.limits[0]:,.6g}"))
        low, high = _with_room(chart, side, bottom, top)
    else:
        low, high = min(places), max(places)
        margin = MARGIN * (high - low) or 0.05
        starts_at_zero = any(isinstance(mark, Bars) for mark in chart.marks) and low == 0
        low, high = low - (0 if starts_at_zero else margin), high + margin
    if axis.scale == "linear":
        return Scale(axis, low, high)
    clear = CLEAR_BESIDE_ROWS if chart.rows and side == "x" else CLEAR[side]
    room = clear * (high - low)
    for value in _familiar(axis, low, high, room):
        _add_if_clear(ticks, position(axis, value), value, low, high, room)
    for value in _round_numbers(_value(axis, low), _value(axis, high)):
        if len(ticks) < FEWEST_TICKS and axis.scale != "whole":
            _add_if_clear(ticks, position(axis, value), value, low, high, room)
    return Scale(axis, low, high, tuple(sorted(ticks)))


def _with_room(chart: Chart, side: str, low: float, high: float) -> tuple[float, float]:
    """The range that shows whole the points that stand at its limits, or beyond and are put there.

    All in positions.
    """
    axis = chart.x if side == "x" else chart.y
    room = MARGIN * (high - low)
    places = [
        min(max(position(axis, value), low), high)
        for mark in chart.marks
        if isinstance(mark, Points)
        for value in _values(mark, side)
    ]
    return (
        min([low, *(place - room for place in places)]),
        max([high, *(place + room for place in places)]),
    )


def _add_if_clear(
    ticks: list[tuple[float, str]],
    place: float,
    value: float,
    low: float,
    high: float,
    room: float,
) -> None:
    if low <= place <= high and all(abs(place - other) > room for other, _ in ticks):
        ticks.append((place, f"{value:,.6g}"))


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


def _familiar(axis: Axis, low: float, high: float, room: float) -> Iterator[float]:
    """What to label between two positions, the most important first; whole numbers so far apart
    that each has room."""
    if axis.scale == "accuracy":
        yield from (value for tier in _ACCURACIES for value in tier)
    elif axis.scale == "log":
        powers = range(math.floor(low), math.ceil(high))
        for digits in _LOG_DIGITS:
            yield from (digit * 10.0**power for power in powers for digit in digits)
    else:
        steps = (step * 10**power for power in itertools.count() for step in (1, 2, 5))
        step = next(step for step in steps if room < step)
        yield from range(step * math.ceil(low / step), math.floor(high) + 1, step)


def _round_numbers(low: float, high: float) -> Iterator[float]:
    """Multiples of powers of ten between two values, coarse ones first, down to some dozens."""
    power = math.floor(math.log10(high - low))
    for step in (factor * 10.0**each for each in (power, power - 1) for factor in (5, 2, 1)):
        first, last = math.ceil(low / step), math.floor(high / step)
        yield from (step * number for number in range(first, last + 1))


def _value(axis: Axis, place: float) -> float:
    """What stands at a position."""
    if axis.scale == "log":
        return float(10.0**place)
    return 100 - 10.0**-place if axis.scale == "accuracy" else place
