"""How far the means of two groups of trainings lie apart, and how sure that is."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from results.intervals import CONFIDENCE, difference_interval, resolution, scatter_of
from results.ladder import Ladder, Tried
from results.settings import StudySettings
from results.splits import SPLITS
from space.ingredients import Ingredient


@dataclass(frozen=True)
class Difference:
    """`points`: percentage points between two means. `interval`: Welch's, over seeds, for so many
    `comparisons` at once; None if either group is a single run, which tells no scatter."""

    points: float
    interval: tuple[float, float] | None
    comparisons: int = 1

    @property
    def is_clear(self) -> bool:
        """The interval leaves out 0."""
        return self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)

    @property
    def cell(self) -> str:
        """For a table."""
        if self.interval is None:
            return f"{self.points:+z.2f}"
        return f"{self.points:+z.2f} ({self.interval[0]:+z.2f} to {self.interval[1]:+z.2f})"

    @property
    def evidence(self) -> str:
        """The interval in words; empty without one."""
        if self.interval is None:
            return ""
        at_once = f" for {self.comparisons} comparisons at once" if self.comparisons > 1 else ""
        low, high = self.interval
        return f"{CONFIDENCE:.0%} interval {low:+z.2f} to {high:+z.2f}{at_once}"


def difference(
    values: Sequence[float],
    others: Sequence[float],
    settings: StudySettings,
    comparisons: int = 1,
    groups: Sequence[Sequence[float]] = (),
) -> Difference:
    """The mean of accuracies (or gaps between them) minus that of others, all in percent.

    `groups`: values of the same kind, whose scatter says something of that of these.
    """
    least_sd = resolution(SPLITS[settings.dataset].validation)
    scatter = scatter_of(groups, least_sd)
    interval = difference_interval(values, others, least_sd, comparisons, scatter)
    if interval is not None:  # of two runs, one of which broke down, it can reach into the absurd
        interval = (max(interval[0], -100.0), min(interval[1], 100.0))
    points = statistics.mean(values) - statistics.mean(others)
    return Difference(points, interval, comparisons)


def of_sustained(
    ladder: Ladder, one: Tried, other: Tried, settings: StudySettings, comparisons: int = 1
) -> Difference:
    """Of the sustained accuracies of two configurations of a ladder.

    The interval ends where the other would have to be better than 100% or worse than 0.
    """
    groups = [each.sustained for each in ladder.every]
    found = difference(one.sustained, other.sustained, settings, comparisons, groups)
    if found.interval is None:
        return found
    low, high = found.interval
    return replace(found, interval=(max(low, -other.mean), min(high, 100 - other.mean)))


def step(ladder: Ladder, place: int, settings: StudySettings) -> Difference:
    """What the rung at `place` (1 or above) has more than the one before it.

    It was chosen among all that were tried there, so the interval holds for all of them at once.
    """
    rung, before = ladder.rungs[place], ladder.rungs[place - 1]
    return of_sustained(ladder, rung.here, before.here, settings, 1 + len(rung.others))


def worths(ladder: Ladder, settings: StudySettings) -> list[tuple[Ingredient, Tried, Difference]]:
    """Each ingredient, the whole configuration without it, and what the whole has more.

    The most first. The intervals hold for all of them at once.
    """
    found = [
        (
            each,
            without,
            of_sustained(ladder, ladder.rungs[-1].here, without, settings, len(ladder.removals)),
        )
        for each, without in ladder.removals
    ]
    return sorted(found, key=lambda row: -row[2].points)
