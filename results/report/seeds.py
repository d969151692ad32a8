"""What the confirmation says of a finalist: sentences about its seeds on the test images."""

import statistics

from results.intervals import (
    CONFIDENCE,
    difference_interval,
    mean_interval,
    resolution,
    share_interval,
    standard_error,
)
from results.markdown import count
from results.record import TrialRecord
from results.report.findings import Findings


def holds(found: Findings, record: TrialRecord) -> str:
    """Whether a finalist holds the target: seeds, their mean, and how sure that is.

    Empty if it was not confirmed.
    """
    runs = found.runs.get(record.number, [])
    if not runs:
        return ""
    target = found.settings.target
    values = [run.sustained for run in runs]
    holding = sum(each >= target for each in values)
    said = (
        f"Trial {record.number} ({record.params:,} parameters) held {target:g}% of the test images "
        f"in {holding} of {count(len(values), 'seed')}"
    )
    image = resolution(found.split.test)
    interval = mean_interval(values, image)
    if interval is None:
        return f"{said} ({values[0]:.2f}%). Evidence is thin: one seed tells no scatter."
    low, high = interval
    mean = (
        f"The mean is {statistics.mean(values):.3f}% ({CONFIDENCE:.0%} t interval {low:.3f} to "
        f"{min(high, 100):.3f}%"
    )
    if statistics.stdev(values) < image:
        mean += f", from a standard deviation of one image, {image:g}, as the seeds differ by less"
    if low > target:
        return f"{said}. {mean}), so on average over seeds it is above the target on these images."
    if high < target:
        return f"{said}. {mean}), so on average over seeds it is below the target on these images."
    low_share, high_share = share_interval(holding, len(values))
    return (
        f"{said}; of all seeds there are, {100 * low_share:.0f} to {100 * high_share:.0f}% would "
        f"hold it ({CONFIDENCE:.0%} Wilson interval). {mean}), so whether it is on average above "
        f"or below the target can't be told from {count(len(values), 'seed')}."
    )


def reversals(found: Findings) -> list[str]:
    """Finalists that did clearly better on test images than the most accurate on validation did."""
    best = found.best
    if best is None:
        return []
    others = [each for each in found.finalists if each.number != best.number]
    return [said for each in others if (said := _reversal(found, best, each, len(others)))]


def outcome(found: Findings, record: TrialRecord) -> str:
    """What the seeds of a finalist measured, and how far they lie apart. Empty without seeds."""
    values = [run.sustained for run in found.runs.get(record.number, [])]
    if not values:
        return ""
    holding = sum(each >= found.settings.target for each in values)
    said = (
        f"{holding} of {count(len(values), 'seed')} held {found.settings.target:g}% on the test "
        f"images. "
    )
    if len(values) < 2:
        return f"{said}Sustained test accuracy {values[0]:.2f}%: one seed tells no scatter."
    noise = standard_error(statistics.mean(values), found.split.test)
    return (
        f"{said}Sustained test accuracy: mean {statistics.mean(values):.3f}%, standard deviation "
        f"{statistics.stdev(values):.3f}, from {min(values):.2f} to {max(values):.2f}%; one "
        f"standard error of a single measurement on {found.split.test:,} images is {noise:.2f}."
    )


def against_validation(found: Findings) -> str:
    """What became of the validation figures that finalists were chosen by. Empty without any."""
    changes = [
        f"{_mean(found, each) - each.sustained:+.2f} points (trial {each.number})"
        for each in found.finalists
        if each.number in found.runs
    ]
    if not changes:
        return ""
    split = found.split
    luck = (
        f"what is chosen from {len(found.complete):,} complete trials tends to have been lucky, "
        if len(found.complete) > 1
        else ""
    )
    return (
        f"From sustained validation accuracy in the search to the mean of the seeds on test images "
        f"it is {', '.join(changes)}. Several things are in this and can't be told apart: "
        f"{luck}the confirmation trains on {split.training:,} images where the search had "
        f"{split.training - split.validation:,}, and test images may be easier or harder."
    )


def _reversal(
    found: Findings, best: TrialRecord, other: TrialRecord, comparisons: int
) -> str | None:
    values, bests = (
        [run.sustained for run in found.runs.get(each.number, [])] for each in (other, best)
    )
    interval = difference_interval(values, bests, resolution(found.split.test), comparisons)
    if interval is None or interval[0] <= 0:
        return None
    low, high = interval
    at_once = f" for {comparisons} comparisons at once" if comparisons > 1 else ""
    return (
        f"On test images trial {other.number} ({other.params:,} parameters) did better than trial "
        f"{best.number} ({best.params:,}), the most accurate on validation images: by "
        f"{statistics.mean(values) - statistics.mean(bests):.3f} points on average "
        f"({CONFIDENCE:.0%} Welch interval over seeds {low:.3f} to {high:.3f}{at_once}). Nothing "
        f"is chosen by that: a choice by test images would need other images to be measured on."
    )


def _mean(found: Findings, record: TrialRecord) -> float:
    return statistics.mean(run.sustained for run in found.runs[record.number])
