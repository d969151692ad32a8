"""How much of an axis is worth showing."""

import math
from collections.abc import Sequence

from results.charts.chart import Axis
from results.charts.scale import MARGIN, position
from results.settings import StudySettings

_ACCURACY = Axis(scale="accuracy")

SHARE = 0.9

_LEAST = 1e-3
"""Of the axis below the lowest that is shown, so that there is something to see: a decade is 1."""

DOTS = 3.0
"""Size of the dots on a learning curve, which may have a single epoch."""

_ROUND = (
    *(0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 85.0, 90.0, 92.0, 94.0, 95.0, 96.0),
    *(97.0, 97.5, 98.0, 98.5, 98.8, 99.0, 99.2, 99.4, 99.6, 99.8),
)


def epoch_axis(settings: StudySettings) -> Axis:
    """From the first to the last epoch of a training."""
    return Axis("epoch", "whole", (0.5, settings.epochs + 0.5))


def accuracy_limits(
    accuracies: Sequence[float], target: float, *, factor: float = math.inf
) -> tuple[float, float]:
    """Limits in percent that show the target, the best and most of the accuracies (at least one).

    The lowest others would press the better ones together: the best `SHARE` of them are shown, and
    errors up to `factor` times the least. The lower limit is a round number, below the lowest that
    is shown by the room that its mark takes.
    """
    best = max(*accuracies, target)
    ordered = sorted(accuracies, reverse=True)
    lowest = ordered[math.ceil(SHARE * len(ordered)) - 1]
    lowest = min(target, ordered[0], max(lowest, 100 - factor * (100 - best)))
    place, highest = position(_ACCURACY, lowest), position(_ACCURACY, best)
    below = max(
        value
        for value in _ROUND
        if value == 0
        or place - position(_ACCURACY, value)
        > max(MARGIN * (highest - position(_ACCURACY, value)), _LEAST)
    )
    span = highest - position(_ACCURACY, below)
    top = 100 - 10 ** -(highest + 0.08 * span)
    return below, top
