"""Charts of a drill-down: what each rung sustains, and what each ingredient is worth."""

import math
import statistics
from collections.abc import Sequence

from results.charts.chart import BLUE, ORANGE, RED, Axis, Chart, Intervals, Line, Mark, Points, Rule
from results.difference import worths
from results.intervals import CONFIDENCE
from results.ladder import Ladder, Rung
from results.markdown import count
from results.settings import StudySettings

LARGEST_FACTOR = 30
"""Of the errors that are shown, in the least ones: a network that learned nothing stands at the
edge, else all others would lie on one spot."""

WIDEST = 2.0
"""Points. What reaches further, as that of an ingredient without which nothing is learned, runs out
of the chart, unless most do."""


def rung_name(number: int, rung: Rung) -> str:
    """What a rung is called: its number, from 1, and what was added there."""
    return f"{number}: {change(rung)}"


def change(rung: Rung) -> str:
    """What was added at a rung."""
    return f"+ {rung.added.words}" if rung.added else "plainest ancestor"


def ladder_chart(ladder: Ladder, settings: StudySettings) -> Chart:
    """Sustained accuracy of each rung: the mean, and a dot a seed."""
    title = "Sustained accuracy, rung by rung"
    rungs = ladder.rungs
    names = tuple(rung_name(number, each) for number, each in enumerate(rungs, 1))
    if not rungs:
        return Chart(title, Axis(), Axis(), (), title, empty="No rung is trained yet.")
    seeds = [(value, row) for row, each in enumerate(rungs) for value in each.here.sustained]
    means = [each.here.mean for each in rungs]
    marks: tuple[Mark, ...] = (
        Rule(settings.target, f"target {settings.target:g}%", axis="x", colour=RED),
        Line(means, range(len(rungs)), "mean", BLUE, width=1.2, dots=5),
        Points(
            [value for value, _ in seeds],
            [row for _, row in seeds],
            "a seed",
            ORANGE,
            size=4,
            opacity=0.9,
            names=[f"{names[row]}: {value:.2f}%" for value, row in seeds],
        ),
    )
    limits = _limits([value for value, _ in seeds], settings.target)
    return Chart(
        title=title,
        x=Axis(f"sustained {settings.measured_on} accuracy, %", "accuracy", limits),
        y=Axis(categories=names),
        marks=marks,
        summary=f"Sustained {settings.measured_on} accuracy goes from {means[0]:.2f}% to "
        f"{means[-1]:.2f}% over {count(len(rungs), 'rung')}.",
    )


def _limits(accuracies: Sequence[float], target: float) -> tuple[float, float]:
    best = max(accuracies)
    shown = [each for each in accuracies if 100 - each <= LARGEST_FACTOR * (100 - best) + 1]
    return math.floor(10 * min(*shown, target) - 1) / 10, max(best, target)


def worth_chart(ladder: Ladder, settings: StudySettings) -> Chart:
    """What the whole configuration has more than without each ingredient, with intervals."""
    title = "What the whole loses without each ingredient"
    found = worths(ladder, settings)
    if not found:
        return Chart(title, Axis(), Axis(), (), title, empty="Not trained yet.")
    effects = [each for _, _, each in found]
    intervals = [each.interval or (each.points, each.points) for each in effects]
    low, high = zip(*intervals, strict=True)
    widest = max(WIDEST, 2 * statistics.median(abs(each.points) for each in effects))
    limits = (max(-widest, min(0.0, *low) - 0.05), min(widest, max(0.0, *high) + 0.05))
    of_one = all(each.interval is None for each in effects)
    clear = sum(each.is_clear for each in effects)
    label = (
        "difference of single runs"
        if of_one
        else f"{CONFIDENCE:.0%} interval, for all comparisons at once"
    )
    return Chart(
        title=title,
        x=Axis(
            "points of sustained accuracy",
            limits=limits,
        ),
        y=Axis(categories=tuple(f"{each.words} {effect.points:+.2f}" for each, _, effect in found)),
        marks=(
            Rule(0, "no difference", axis="x"),
            Intervals(
                low=low,
                middle=[min(max(each.points, limits[0]), limits[1]) for each in effects],
                high=high,
                positions=range(len(found)),
                label=label,
                names=[f"{each.words}: {effect.cell}" for each, _, effect in found],
            ),
        ),
        summary=f"A clear difference: {clear} of {count(len(found), 'ingredient')}.",
        subtitle=f"To the right: the whole is better with it. Cut off at {widest:.3g} points, "
        f"with what lies beyond at the edge."
        if max(map(abs, (*low, *high))) > widest
        else "To the right: the whole is better with it.",
    )
