"""Fewer points where more can't be told apart."""

from collections.abc import Sequence

from results.charts.chart import Axis
from results.charts.scale import position
from results.record import TrialRecord

MOST = 600
"""Points of one kind in a chart: as many more would make it slow, and look the same."""


def thinned(records: Sequence[TrialRecord], x: Axis, y: Axis) -> list[TrialRecord]:
    """At most `MOST` of the trials: the first one in each cell of a grid over size and accuracy.

    The grid is as fine as that allows, so crowds are thinned and lone points stay.
    """
    chosen = list(records)
    cells = 200
    while len(chosen) > MOST:
        places = [(position(x, each.params), position(y, each.sustained)) for each in records]
        lows, highs = map(min, zip(*places, strict=True)), map(max, zip(*places, strict=True))
        spans = [(low, (high - low) or 1.0) for low, high in zip(lows, highs, strict=True)]
        first: dict[tuple[int, ...], TrialRecord] = {}
        for each, place in zip(records, places, strict=True):
            cell = tuple(
                int(cells * (value - low) / span)
                for value, (low, span) in zip(place, spans, strict=True)
            )
            first.setdefault(cell, each)
        chosen = list(first.values())
        cells = int(cells * 0.8)
    return chosen
