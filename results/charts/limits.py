"""How much of an axis of accuracies is worth showing."""

import math
from collections.abc import Sequence

from results.charts.chart import Axis
from results.charts.scale import position

_ACCURACY = Axis(scale="accuracy")

_ROUND = (
    *(0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 85.0, 90.0, 92.0, 94.0, 95.0, 96.0),
    *(97.0, 97.5, 98.0, 98.5, 98.8, 99.0, 99.2, 99.4, 99.6, 99.8),
)


def accuracy_limits(
    accuracies: Sequence[float], target: float, *, share: float = 0.9, factor: float = 30
) -> tuple[float, float]:
    """Limits in percent that show the target, the best and most of the accuracies (at least one).

    The lowest others would press the better ones together: at most the best `share` of them are
    shown, and errors up to `factor` times the least. The lower limit is a round number.
    """
    best = max(*accuracies, target)
    ordered = sorted(accuracies, reverse=True)
    lowest = ordered[max(0, math.ceil(share * len(ordered)) - 1)]
    lowest = min(target, ordered[0], max(lowest, 100 - factor * (100 - best)))
    below = max(value for value in _ROUND if value < lowest or value == 0)
    span = position(_ACCURACY, best) - position(_ACCURACY, below)
    top = 100 - 10 ** -(position(_ACCURACY, best) + 0.08 * span)
    return below, top
