"""What made a difference: sentences about size and choices, over the complete trials."""

import math
from dataclasses import dataclass

from results.effects import CAVEAT, FEWEST_TRIALS, Effect, Effects
from results.intervals import CONFIDENCE
from results.markdown import count
from results.report.findings import Findings

FEWEST_SIZES = 10
"""Complete trials from which the worth of parameters is estimated; the largest has to be at least
twice as large as the smallest."""

MOST_SAID = 5
FRONT_SAID = 4


@dataclass(frozen=True)
class Doubling:
    """By what factor the errors change when the parameters double, with its interval."""

    ratio: float
    low: float
    high: float


def doubling(found: Findings) -> Doubling | None:
    """What twice the parameters go with.

    None with too few trials or sizes too near each other, and if the trials lie on one line, which
    leaves no scatter to tell how sure that is.
    """
    import numpy as np
    from scipy.stats import linregress, t

    trials = found.complete
    sizes = [each.params for each in trials]
    if len(trials) < FEWEST_SIZES or max(sizes) < 2 * min(sizes):
        return None
    errors = [max(100 - each.sustained, 50 / found.split.validation) for each in trials]
    line = linregress(np.log2(sizes), np.log2(errors))
    if not (math.isfinite(line.stderr) and line.stderr > 0):
        return None
    reach = float(t.ppf((1 + CONFIDENCE) / 2, len(trials) - 2)) * line.stderr
    return Doubling(2**line.slope, 2 ** (line.slope - reach), 2 ** (line.slope + reach))


def size(found: Findings) -> str:
    """What parameters are worth. Empty without a complete trial."""
    if not found.complete:
        return ""
    said = f"{_front(found)} "
    worth = doubling(found)
    over = count(len(found.complete), "complete trial")
    if worth is None:
        return f"{said}What more parameters are worth can't be told from {over}."
    if len(found.trained) > len(found.complete):
        over += " (those that were not trained to the end are missing)"
    if worth.low <= 1 <= worth.high:
        return said + (
            f"Over {over}, size made no clear difference: twice the parameters went with between "
            f"{_change(worth.low)} and {_change(worth.high)} errors ({CONFIDENCE:.0%} interval)."
        )
    nearer, further = sorted((worth.low, worth.high), key=lambda each: abs(each - 1))
    return said + (
        f"Over {over}, twice the parameters went with {_change(worth.ratio)} errors "
        f"({CONFIDENCE:.0%} interval {100 * abs(nearer - 1):.0f} to {_change(further)})."
    )


def choices(found: Findings) -> list[str]:
    """Which choices mattered and by how much, or that the trials don't tell."""
    effects = found.effects
    if not effects.trials:
        return []
    if not effects.effects:
        return [
            f"Which choices mattered can't be told: evidence is thin with "
            f"{count(effects.trials, 'complete trial')}, and a comparison needs {FEWEST_TRIALS} "
            f"trials with a level and {FEWEST_TRIALS} without."
        ]
    clear = [each for each in effects.effects if each.is_clear]
    if not clear:
        return [
            f"No choice made a clear difference among "
            f"{count(effects.trials, 'complete trial')}: evidence is thin for all "
            f"{len(effects.effects)} levels compared.",
            f"Levels were compared at equal size, in {CONFIDENCE:.0%} intervals that hold for all "
            f"comparisons at once. The chart shows the largest differences.",
        ]
    more = len(clear) - MOST_SAID
    return [
        *(_difference(each, effects) for each in clear[:MOST_SAID]),
        *([f"{more} more of {len(effects.effects)} differ clearly as well."] if more > 0 else []),
        f"These are {CONFIDENCE:.0%} intervals for all {len(effects.effects)} comparisons at once, "
        f"each at equal size. {CAVEAT}",
    ]


def _change(ratio: float) -> str:
    """A ratio of errors, as so many percent fewer or more."""
    return f"{100 * abs(ratio - 1):,.0f}% {'fewer' if ratio < 1 else 'more'}"


def _difference(effect: Effect, effects: Effects) -> str:
    against = effect.others if effect.others != "another" else "other levels"
    low, high = sorted(100 * abs(each - 1) for each in (effect.low, effect.high))
    points = effects.points(effect.ratio)
    return (
        f"**{effect.choice}: {effect.level}** went with "
        f"{_change(effect.ratio)} errors than {against} ({low:.0f} to {high:.0f}%; "
        f"{effect.with_level} trials with, {effect.without} without): at the typical accuracy of "
        f"{100 - effects.typical_error:.2f}%, {points:+.2f} points."
    )


def _front(found: Findings) -> str:
    front = found.front
    step = max(1, -(-(len(front) - 1) // (FRONT_SAID - 1)))
    shown = [*front[:-1:step], front[-1]]
    only = front[0]
    if len(found.complete) == 1:
        return (
            f"The one network that was trained to its end has {only.params:,} parameters and "
            f"sustained {only.sustained:.2f}% on validation images."
        )
    if len(front) == 1:
        return (
            f"The smallest of the complete networks is also the most accurate: {only.params:,} "
            f"parameters, {only.sustained:.2f}% sustained on validation images."
        )
    steps = ", ".join(f"{each.sustained:.2f}% with {each.params:,}" for each in shown)
    return (
        f"The fewest parameters that sustained an accuracy on validation images: {steps} "
        f"({len(front)} networks on the front)."
    )
