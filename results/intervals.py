"""How sure a number is: intervals and standard errors of accuracies."""

import math
import statistics
from collections.abc import Sequence

CONFIDENCE = 0.95


def standard_error(accuracy: float, images: int) -> float:
    """Of an accuracy in percent that was measured on so many images once (binomial)."""
    share = accuracy / 100
    return 100 * math.sqrt(share * (1 - share) / images)


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Where the mean of more values like these lies (Student's t). None for fewer than two."""
    if len(values) < 2:
        return None
    reach = _reach(statistics.stdev(values), len(values))
    mean = statistics.mean(values)
    return mean - reach, mean + reach


def share_interval(count: int, of: int) -> tuple[float, float]:
    """Where a share of which `count` of `of` were seen lies, 0 to 1 (Wilson, 1927)."""
    from scipy.stats import binomtest

    found = binomtest(count, of).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def values_needed(values: Sequence[float], border: float, most: int = 100) -> int | None:
    """How many values it takes until the interval of their mean leaves out the border.

    Provided that mean and scatter stay as they are. None if `most` are not enough, or if fewer than
    two values tell no scatter.
    """
    if len(values) < 2:
        return None
    distance = abs(statistics.mean(values) - border)
    sd = statistics.stdev(values)
    enough = (n for n in range(len(values), most + 1) if _reach(sd, n) < distance)
    return next(enough, None)


def _reach(sd: float, count: int) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * sd / math.sqrt(count)
