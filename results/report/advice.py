"""What the next search should change: sentences, each with the figure it follows from."""

import math
from collections.abc import Iterator
from typing import Any

from results.choices import choice_words, effective, level_words
from results.intervals import CONFIDENCE, values_needed
from results.markdown import count
from results.record import TrialRecord
from results.report.course import improvements
from results.report.findings import Findings
from results.report.fit import still_rising
from results.report.mattered import doubling
from space.search_space import SMALLEST_BUDGET, Choice, FloatRange, IntRange

FEWEST_LEADING = 5
EDGE = 0.05
"""The outermost part of a range, by which draws at random would fall there."""

MOST_EDGES = 4
FEWEST_COMPLETE = 10
"""Fewer complete trials make the advice to go on, and nothing about the course of the search."""

NEAR_BUDGET = 0.8


def advice(found: Findings) -> list[str]:
    """What to change, most useful first; empty without a complete trial."""
    if found.best is None:
        return []
    said = (trials(found), seeds(found), goal(found), budget(found), epochs(found))
    return [*(each for each in said if each), *levels(found), *edges(found)]


def trials(found: Findings) -> str:
    """More trials, if they are few or the best came late."""
    complete, places = len(found.complete), improvements(found)
    if complete < FEWEST_COMPLETE:
        return (
            f"More trials: {count(complete, 'complete trial')} is thin evidence for anything "
            f"said here (`--trials`; the same study goes on)."
        )
    if places[-1] > len(found.trained) * 2 / 3:
        return (
            f"More trials: the search was still getting better, number {places[-1]:,} of "
            f"{len(found.trained):,} trained trials was the best (`--trials`; the same study goes "
            f"on)."
        )
    return ""


def seeds(found: Findings) -> str:
    """More seeds, if they would tell whether a finalist holds; how many."""
    needed = []
    for record in found.finalists:
        values = [run.sustained for run in found.runs.get(record.number, [])]
        enough = values_needed(values, found.settings.target)
        if enough is not None and enough > len(values):
            needed.append((record, len(values), enough))
    if needed:
        said = ", ".join(
            f"{enough} for trial {record.number} (now {have})" for record, have, enough in needed
        )
        return (
            f"More seeds (`--confirm-seeds`): until the {CONFIDENCE:.0%} interval of the mean "
            f"leaves out {found.settings.target:g}%, it takes {said}, if mean and scatter stay as "
            f"they are."
        )
    if not found.runs:
        return (
            "Seeds: nothing is confirmed yet, and a single run is no evidence "
            "(`--confirm-seeds 3`)."
        )
    if any(len(runs) == 1 for runs in found.runs.values()):
        return "More seeds (`--confirm-seeds 3`): one seed tells no scatter."
    return ""


def goal(found: Findings) -> str:
    """A tighter goal, if the present one is reached."""
    if found.smallest is None or found.smallest.params <= SMALLEST_BUDGET:
        return ""
    params, target = found.smallest.params, found.settings.target
    tighter = f"a tighter budget (`--max-params {params}`)"
    if found.settings.objective == "accuracy":
        tighter = f"for size (`--objective smallest`), or with {tighter}"
    else:
        tighter = f"with {tighter}"
    return (
        f"Search {tighter}: {target:g}% is held on validation images with {params:,} parameters, "
        f"so fewer may do."
    )


def budget(found: Findings) -> str:
    """A wider budget, if the target is missed by the largest and size clearly pays."""
    best, worth = found.best, doubling(found)
    if best is None or found.smallest is not None or worth is None or worth.high >= 1:
        return ""
    limit = found.settings.max_params
    if best.params < NEAR_BUDGET * limit:
        return ""
    return (
        f"A wider budget (`--max-params {2 * limit}`): the most accurate network, "
        f"{best.params:,} parameters, is close to the budget of {limit:,} and "
        f"{found.settings.target - best.sustained:.2f} points short, and twice the parameters went "
        f"with {100 * (1 - worth.ratio):.0f}% fewer errors."
    )


def epochs(found: Findings) -> str:
    """More epochs, if the best was still getting better."""
    last = still_rising(found)
    if not last:
        return ""
    return (
        f"More epochs (`--epochs {2 * found.settings.epochs}` and another `--study`): the most "
        f"accurate network was still rising over its last {count(len(last), 'epoch')}, from "
        f"{last[0]:.2f} to {last[-1]:.2f}%."
    )


def levels(found: Findings) -> Iterator[str]:
    """Levels that went with clearly more errors."""
    clear = [each for each in found.effects.effects if each.is_clear]
    poor = [
        f"{each.choice}: {each.others}" if each.ratio < 1 else f"{each.choice}: {each.level}"
        for each in clear
        if each.ratio > 1 or each.others != "another"
    ]
    if poor:
        yield (
            f"Leave out what went with clearly more errors at equal size: {'; '.join(poor)} (the "
            f"ranges stand in `space/search_space.py`)."
        )


def edges(found: Findings) -> Iterator[str]:
    """Ranges at whose end the leading trials crowd, as draws at random would hardly do.

    The share of the leading trials at an end is held against the share of the range that is near
    it (binomial test, Bonferroni over all ends).
    """
    from scipy.stats import binom

    leading = _leading(found)
    if len(leading) < FEWEST_LEADING:
        return
    made = [effective(each.parameters) for each in leading]
    ends = [
        (name, end, share)
        for name, dimension in found.settings.space.dimensions.items()
        for end, share in _ends(dimension)
    ]
    crowded = []
    for name, end, share in ends:
        values = [each[name] for each in made if name in each]
        at_end = sum(_is_at(found.settings.space.dimensions[name], value, end) for value in values)
        chance = float(binom.sf(at_end - 1, len(values), share)) if values else 1.0
        if chance * len(ends) < 1 - CONFIDENCE:
            crowded.append((chance, name, end, at_end, len(values)))
    for _, name, end, at_end, of in sorted(crowded)[:MOST_EDGES]:
        yield (
            f"Widen the range of {choice_words(name)}: {at_end} of {of} leading trials lie at its "
            f"{'low' if end == 'low' else 'high'} end, "
            f"{level_words(name, getattr(found.settings.space.dimensions[name], end))} "
            f"(`space/search_space.py`)."
        )


def _leading(found: Findings) -> list[TrialRecord]:
    """The best fifth of the complete trials."""
    ordered = sorted(found.complete, key=lambda each: -(each.value or 0))
    return ordered[: len(ordered) // 5]


def _ends(dimension: IntRange | FloatRange | Choice) -> Iterator[tuple[str, float]]:
    """The ends of a range that could be moved, with the share of random draws that lie at them.

    None is below 0, and nothing can be done fewer times than once.
    """
    if isinstance(dimension, Choice):
        return
    share = EDGE
    if isinstance(dimension, IntRange):
        share = _share_of_one(dimension)
    floor = 1 if isinstance(dimension, IntRange) else 0
    if dimension.low > floor:
        yield "low", share
    yield "high", share


def _share_of_one(dimension: IntRange) -> float:
    """The larger share that one of its two outermost numbers has."""
    if dimension.log:
        low, high = math.log(dimension.low - 0.5), math.log(dimension.high + 0.5)
        return (math.log(dimension.low + 0.5) - low) / (high - low)
    return 1 / (dimension.high - dimension.low + 1)


def _is_at(dimension: Any, value: float, end: str) -> bool:
    if isinstance(dimension, IntRange):
        return bool(value == getattr(dimension, end))
    low, high, at = dimension.low, dimension.high, value
    if dimension.log:
        low, high, at = math.log(low), math.log(high), math.log(at)
    place = (at - low) / (high - low)
    return bool(place <= EDGE if end == "low" else place >= 1 - EDGE)
