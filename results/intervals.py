"""How sure a number is: intervals and standard errors of accuracies."""

import math
import statistics
from collections.abc import Sequence

CONFIDENCE = 0.95


def standard_error(accuracy: float, images: int) -> float:
    """Of an accuracy in percent that was measured on so many images once (binomial)."""
    share = accuracy / 100
    return 100 * math.sqrt(share * (1 - share) / images)


def resolution(images: int) -> float:
    """What one image more or less is of an accuracy in percent."""
    return 100 / images


def mean_interval(values: Sequence[float], least_sd: float) -> tuple[float, float] | None:
    """Where the mean of more values like these lies (Student's t). None for fewer than two.

    `least_sd`: the least standard deviation that is believed, in the unit of the values.
    """
    if len(values) < 2:
        return None
    reach = _reach(_sd(values, least_sd), len(values))
    mean = statistics.mean(values)
    return mean - reach, mean + reach


def difference_interval(
    values: Sequence[float], others: Sequence[float], least_sd: float, comparisons: int = 1
) -> tuple[float, float] | None:
    """Where the mean of values like these lies above that of the others (Welch, 1947).

    `least_sd` as for `mean_interval`. It holds for so many `comparisons` at once (Bonferroni). None
    if there are fewer than two of either.
    """
    from scipy.stats import t

    if min(len(values), len(others)) < 2:
        return None
    parts = [(_sd(each, least_sd) ** 2 / len(each), len(each) - 1) for each in (values, others)]
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / own for part, own in parts)
    reach = float(t.ppf(1 - (1 - CONFIDENCE) / 2 / comparisons, freedom)) * math.sqrt(variance)
    difference = statistics.mean(values) - statistics.mean(others)
    return difference - reach, difference + reach


def share_interval(count: int, of: int) -> tuple[float, float]:
    """Where a share of which `count` of `of` were seen lies, 0 to 1 (Wilson, 1927)."""
    from scipy.stats import binomtest

    found = binomtest(count, of).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def values_needed(
    values: Sequence[float], border: float, least_sd: float, most: int = 100
) -> int | None:
    """How many values it takes until the interval of their mean leaves out the border.

    Provided that mean and scatter stay as they are. None if `most` are not enough, or if fewer than
    two values tell no scatter. `least_sd` as for `mean_interval`.
    """
    if len(values) < 2:
        return None
    distance = abs(statistics.mean(values) - border)
    sd = _sd(values, least_sd)
    enough = (n for n in range(len(values), most + 1) if _reach(sd, n) < distance)
    return next(enough, None)


def _sd(values: Sequence[float], least: float) -> float:
    return max(statistics.stdev(values), least)


def _reach(sd: float, count: int) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * sd / math.sqrt(count)
