"""What the confirmation says of a finalist: sentences about its seeds on the test images."""

import statistics

from results.intervals import CONFIDENCE, mean_interval, share_interval, standard_error
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
    interval = mean_interval(values)
    if interval is None:
        return f"{said} ({values[0]:.2f}%). Evidence is thin: one seed tells no scatter."
    low, high = interval
    low_share, high_share = share_interval(holding, len(values))
    said += (
        f"; of all seeds there are, {100 * low_share:.0f} to {100 * high_share:.0f}% would hold it "
        f"({CONFIDENCE:.0%} Wilson interval). The mean is {statistics.mean(values):.3f}% "
        f"({CONFIDENCE:.0%} t interval {low:.3f} to {min(high, 100):.3f}%), so "
    )
    if low > target:
        return said + "on average it is above the target."
    if high < target:
        return said + "on average it is below the target."
    return (
        said + f"whether it is on average above or below the target can't be told from "
        f"{count(len(values), 'seed')}."
    )


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
    return (
        f"From sustained validation accuracy in the search to the mean of the seeds on test images "
        f"it is {', '.join(changes)}. Several things are in this and can't be told apart: "
        f"what is chosen from {count(len(found.complete), 'complete trial')} tends to have been "
        f"lucky, the confirmation trains on {split.training:,} images where the search had "
        f"{split.training - split.validation:,}, and test images may be easier or harder."
    )


def _mean(found: Findings, record: TrialRecord) -> float:
    return statistics.mean(run.sustained for run in found.runs[record.number])
