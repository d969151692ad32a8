"""How sure a number is: intervals and standard errors of accuracies."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95

CLEAR = 2
"""Standard errors that a difference has to exceed to be called one."""

UNLIKE = 0.8
"""Of variances that are alike this share is smaller than what is called larger than the others."""


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


@dataclass(frozen=True)
class Scatter:
    """What groups of values tell of each other's variance: the `variance` that is expected of one,
    and of how many degrees of `freedom` that is worth; `most` is what all groups have together."""

    variance: float
    freedom: float
    most: int

    def moderated(self, variance: float, freedom: int) -> tuple[float, float]:
        """The variance of a group, drawn towards the expected one, and its degrees of freedom.

        One that is larger than chance makes it stays as it is: trainings that break down in some
        cases scatter far more than others.
        """
        from scipy.stats import f

        if variance > self.variance * f.ppf(UNLIKE, freedom, self.freedom):
            return variance, freedom
        both = self.freedom + freedom
        mixed = (self.freedom * self.variance + freedom * variance) / both
        return mixed, min(both, self.most)


def scatter_of(groups: Sequence[Sequence[float]], least_sd: float) -> Scatter | None:
    """From the variances within groups (empirical Bayes: Smyth, 2004, section 6.2).

    The more alike they are, the more one says of another. None for fewer than three groups with two
    values or more. `least_sd` as for `mean_interval`.
    """
    import numpy as np
    from scipy.optimize import brentq
    from scipy.special import digamma, polygamma

    found = [(_sd(each, least_sd) ** 2, len(each) - 1) for each in groups if len(each) > 1]
    if len(found) < 3:
        return None
    variances, freedoms = np.array(found).T
    logs = np.log(variances) - digamma(freedoms / 2) + np.log(freedoms / 2)
    beyond_chance = logs.var(ddof=1) - polygamma(1, freedoms / 2).mean()
    most = int(freedoms.sum())
    if beyond_chance <= polygamma(1, most / 2):  # no more unlike than chance makes them
        return Scatter(float(np.exp(logs.mean())), float(most), most)
    half = brentq(lambda each: polygamma(1, each) - beyond_chance, 1e-6, most / 2)
    expected = np.exp(logs.mean() + digamma(half) - np.log(half))
    return Scatter(float(expected), 2 * float(half), most)


def difference_interval(
    values: Sequence[float],
    others: Sequence[float],
    least_sd: float,
    comparisons: int = 1,
    scatter: Scatter | None = None,
) -> tuple[float, float] | None:
    """Where the mean of values like these lies above that of the others (Welch, 1947).

    `least_sd` as for `mean_interval`; `scatter`: what is known of the variances besides. It holds
    for so many `comparisons` at once (Bonferroni). None if there are fewer than two of either.
    """
    from scipy.stats import t

    if min(len(values), len(others)) < 2:
        return None
    parts = []
    for each in (values, others):
        own, freedom = _sd(each, least_sd) ** 2, float(len(each) - 1)
        if scatter is not None:
            own, freedom = scatter.moderated(own, len(each) - 1)
        parts.append((own / len(each), freedom))
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
