"""What the confirmation says of a finalist: sentences about its seeds on the test images."""

import statistics
from collections.abc import Sequence

from results.intervals import CONFIDENCE, mean_interval, share_interval, standard_error
from results.markdown import count
from results.record import Confirmation, TrialRecord
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
        f"; from that, of all seeds it would be {100 * low_share:.0f} to {100 * high_share:.0f}% "
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


def scatter(found: Findings, record: TrialRecord) -> str:
    """How far the seeds of a finalist lie apart. Empty with fewer than two."""
    values = [run.sustained for run in found.runs.get(record.number, [])]
    if len(values) < 2:
        return ""
    noise = standard_error(statistics.mean(values), found.split.test)
    return (
        f"Its {len(values)} seeds scatter by {statistics.stdev(values):.3f} points (standard "
        f"deviation), from {min(values):.2f} to {max(values):.2f}%; one standard error of a single "
        f"measurement on {found.split.test:,} images is {noise:.2f}."
    )


def against_validation(found: Findings, record: TrialRecord) -> str:
    """What became of the validation figure by which a finalist was chosen. Empty without seeds."""
    runs = found.runs.get(record.number, [])
    if not runs:
        return ""
    change = statistics.mean(run.sustained for run in runs) - record.sustained
    side = "below" if change < 0 else "above"
    split = found.split
    return (
        f"Confirmed, it is {abs(change):.2f} points {side} the validation figure it was chosen by "
        f"({_test_figure(runs)} after {record.sustained:.2f}% on validation images). Two things "
        f"work against each other here: what is chosen from "
        f"{count(len(found.complete), 'complete trial')} tends to have been lucky, and the "
        f"confirmation trains on {split.training:,} images where the search had "
        f"{split.training - split.validation:,}."
    )


def _test_figure(runs: Sequence[Confirmation]) -> str:
    mean = statistics.mean(run.sustained for run in runs)
    return f"mean of {count(len(runs), 'seed')} {mean:.2f}% on test images"
