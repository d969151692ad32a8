"""What the next search should change: sentences, each with the figure it follows from."""

import math
from collections.abc import Iterator

from results.choices import choice_words, effective, level_words
from results.intervals import CONFIDENCE, resolution, standard_error, values_needed
from results.markdown import count
from results.record import TrialRecord
from results.report.course import improvements
from results.report.findings import Findings
from results.report.fit import still_rising
from results.report.mattered import doubling
from results.selection import target_noise
from results.splits import SPLITS
from space.search_space import SMALLEST_BUDGET, Choice, FloatRange, IntRange

FEWEST_LEADING = 5
EDGE = 0.05
"""The part of a range that is its end."""

MOST_EDGES = 4
FEWEST_COMPLETE = 10
"""Fewer complete trials make the advice to go on, and nothing about the course of the search."""

NEAR_BUDGET = 0.8


def advice(found: Findings) -> list[str]:
    """What to change, most useful first; empty without a complete trial."""
    if found.best is None:
        return []
    said = (
        *(images(found), trials(found), seeds(found), goal(found)),
        *(target(found), budget(found), epochs(found)),
    )
    return [*(each for each in said if each), *levels(found), *edges(found)]


def images(found: Findings) -> str:
    """More images, if the study had the sample and missed its target or can't tell."""
    best, dataset, target = found.best, found.settings.dataset, found.settings.target
    if best is None or dataset == "mnist" or best.sustained > target + target_noise(found.settings):
        return ""
    if best.sustained < target - target_noise(found.settings):
        whole = SPLITS["mnist"]
        return (
            f"Search all of MNIST (`--dataset mnist`): the best is {target - best.sustained:.2f} "
            f"points short of {target:g}%, and trained on "
            f"{found.split.training - found.split.validation:,} images where MNIST has "
            f"{whole.training - whole.validation:,}."
        )
    return (
        f"Search all of MNIST (`--dataset mnist`): one standard error of {target:g}% at the "
        f"{found.split.validation:,} validation images of the sample is "
        f"{standard_error(target, found.split.validation):.2f} points, so they can't tell whether "
        f"{best.sustained:.2f}% is above or below the target."
    )


def trials(found: Findings) -> str:
    """More trials, if they are few or the best came late."""
    complete, places = len(found.complete), improvements(found)
    if complete < FEWEST_COMPLETE:
        return (
            f"More trials: {count(complete, 'complete trial')} {'is' if complete == 1 else 'are'} "
            f"thin evidence for anything said here (`--trials`; the same study goes on)."
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
        enough = values_needed(values, found.settings.target, resolution(found.split.test))
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
    holding = [each for each in (found.smallest, found.smallest_confirmed) if each]
    smallest = min(holding, key=lambda each: each.params, default=None)
    if smallest is None or smallest.params <= SMALLEST_BUDGET:
        return ""
    params, target = smallest.params, found.settings.target
    images = "validation" if smallest is found.smallest else "test"
    tighter = f"a tighter budget (`--max-params {params}`)"
    if found.settings.objective == "accuracy":
        tighter = f"for size (`--objective smallest`), or with {tighter}"
    else:
        tighter = f"with {tighter}"
    return (
        f"Search {tighter}: {target:g}% is held on {images} images with {params:,} parameters, "
        f"so fewer may do."
    )


def target(found: Findings) -> str:
    """A target within reach, if many trials on all images stay clearly below the present one."""
    best, wanted = found.best, found.settings.target
    if best is None or found.settings.dataset != "mnist" or len(found.complete) < FEWEST_COMPLETE:
        return ""
    if found.smallest_confirmed or best.sustained >= wanted - target_noise(found.settings):
        return ""
    within = math.floor(10 * best.sustained) / 10
    return (
        f"A target within reach (`--target {within:g}` and another `--study`), to see how small a "
        f"network can hold that: the best is {wanted - best.sustained:.2f} points short of "
        f"{wanted:g}%, where one standard error at {found.split.validation:,} validation images is "
        f"{standard_error(wanted, found.split.validation):.2f}."
    )


def budget(found: Findings) -> str:
    """A wider budget, if the target is missed by the largest and size clearly pays."""
    best, worth = found.best, doubling(found)
    if (
        best is None
        or found.smallest
        or found.smallest_confirmed
        or worth is None
        or worth.high >= 1
    ):
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
    """Ranges at whose end the leading trials lie clearly more often than the other complete ones.

    Held against those, as the sampler itself draws near the ends (Fisher's exact test, one-sided,
    Bonferroni over all ends).
    """
    from scipy.stats import hypergeom

    leading = {each.number for each in _leading(found)}
    if len(leading) < FEWEST_LEADING:
        return
    made = [(effective(each.parameters), each.number in leading) for each in found.complete]
    ends = [
        (name, dimension, end)
        for name, dimension in found.settings.space.dimensions.items()
        if not isinstance(dimension, Choice)
        for end in _ends(dimension)
    ]
    crowded = []
    for name, dimension, end in ends:
        drawn = [
            (_is_at(dimension, each[name], end), leads) for each, leads in made if name in each
        ]
        at_end, of = sum(at for at, _ in drawn), sum(leads for _, leads in drawn)
        both = sum(at and leads for at, leads in drawn)
        chance = float(hypergeom.sf(both - 1, len(drawn), at_end, of))
        if chance * len(ends) < 1 - CONFIDENCE:
            others = f"{at_end - both} of {len(drawn) - of} others"
            crowded.append((chance, name, getattr(dimension, end), end, both, of, others))
    for _, name, value, end, both, of, others in sorted(crowded)[:MOST_EDGES]:
        yield (
            f"Widen the range of {choice_words(name)}: {both} of {of} leading trials lie at its "
            f"{end} end, {level_words(name, value)}, against {others} (`space/search_space.py`)."
        )


def _leading(found: Findings) -> list[TrialRecord]:
    """The best fifth of the complete trials."""
    ordered = sorted(found.complete, key=lambda each: -(each.value or 0))
    return ordered[: len(ordered) // 5]


def _ends(dimension: IntRange | FloatRange) -> list[str]:
    """The ends of a range that could be moved.

    None is below 0, and nothing can be done fewer times than once.
    """
    floor = 1 if isinstance(dimension, IntRange) else 0
    return ["low", "high"] if dimension.low > floor else ["high"]


def _is_at(dimension: IntRange | FloatRange, value: float, end: str) -> bool:
    if isinstance(dimension, IntRange):
        return bool(value == getattr(dimension, end))
    low, high, at = dimension.low, dimension.high, value
    if dimension.log:
        low, high, at = math.log(low), math.log(high), math.log(at)
    place = (at - low) / (high - low)
    return bool(place <= EDGE if end == "low" else place >= 1 - EDGE)
