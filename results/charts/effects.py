"""Which levels of which choices go together with fewer errors, as intervals."""

from collections.abc import Sequence

from results.charts.chart import Axis, Chart, Intervals, Rule
from results.effects import FEWEST_TRIALS, Effect, estimate_effects
from results.intervals import CONFIDENCE
from results.record import TrialRecord
from results.settings import StudySettings

MOST_SHOWN = 12

WIDEST = 200
"""Percent. Intervals that reach further, those of few trials, run out of the chart."""


def effects_chart(records: Sequence[TrialRecord], settings: StudySettings) -> Chart:
    """The levels with the clearest difference, each with its interval."""
    found = estimate_effects(records, settings)
    shown = found.effects[:MOST_SHOWN]
    clear = sum(each.is_clear for each in found.effects)
    return Chart(
        title=f"Difference in errors at equal size, with {CONFIDENCE:.0%} intervals",
        x=Axis(
            "change in errors, %",
            limits=(-100, min(WIDEST, max(each.changes[2] for each in shown) + 5))
            if shown
            else None,
        ),
        y=Axis(categories=tuple(f"{each.choice}: {each.level}" for each in shown)),
        marks=_marks(shown) if shown else (),
        summary=f"{clear} of {len(found.effects)} compared levels differ clearly from the others "
        f"of their choice ({CONFIDENCE:.0%} intervals for all comparisons at once, "
        f"{found.trials} complete trials).",
        subtitle="Association, not cause: what went together.",
        empty="Too few complete trials yet: a comparison needs "
        f"{FEWEST_TRIALS} with a level and {FEWEST_TRIALS} without.",
    )


def _marks(shown: Sequence[Effect]) -> tuple[Intervals | Rule, ...]:
    low, middle, high = zip(*(each.changes for each in shown), strict=True)
    return (
        Rule(0, "no difference", axis="x"),
        Intervals(
            low=low,
            middle=middle,
            high=high,
            positions=range(len(shown)),
            label=f"{CONFIDENCE:.0%} interval, for all comparisons at once",
            names=[_words(each) for each in shown],
        ),
    )


def _words(effect: Effect) -> str:
    low, middle, high = effect.changes
    return (
        f"{effect.choice}: {effect.level} against {effect.others}, {middle:+.0f}% errors "
        f"({low:+.0f} to {high:+.0f}%), {effect.with_level} trials with, {effect.without} without"
    )
