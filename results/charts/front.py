"""Accuracy against parameters: every trained trial, and the front of the best of each size."""

from collections.abc import Sequence

from results.charts.chart import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    Axis,
    Chart,
    Line,
    Mark,
    Points,
    Rule,
)
from results.charts.limits import accuracy_limits
from results.charts.thin import thinned
from results.front import pareto_front
from results.markdown import count
from results.record import TrialRecord
from results.selection import complete, most_accurate, smallest_holding
from results.settings import StudySettings

LARGEST_FACTOR = 30
"""Of the errors that are shown, in the least ones: the front is at the top."""


def front_chart(records: Sequence[TrialRecord], settings: StudySettings) -> Chart:
    """Sustained accuracy by number of parameters, of complete and of pruned trials."""
    title = "Accuracy against size"
    size = Axis("parameters (trainable weights)", "log")
    accuracy = Axis(f"sustained {settings.measured_on} accuracy, %", "accuracy")
    ended = complete(list(records))
    pruned = [each for each in records if each.state == "pruned"]
    if not ended and not pruned:
        return Chart(title, size, accuracy, (), title, empty="No trial has been trained yet.")
    limits = accuracy_limits(
        [each.sustained for each in ended or pruned], settings.target, factor=LARGEST_FACTOR
    )
    marks: list[Mark] = [
        *_cloud(pruned, "ended early, lowest so far", GREY, 0.6, size, accuracy),
        *_cloud(ended, "trained to the end", BLUE, 0.6, size, accuracy),
        Rule(settings.target, f"target {settings.target:g}%", colour=RED),
    ]
    front = pareto_front(records)
    if front:
        largest = max(each.params for each in (*ended, *pruned))
        marks += [
            Line(
                [*(each.params for each in front), largest],
                [*(each.sustained for each in front), front[-1].sustained],
                "front: the best of each size",
                GREEN,
                stepped=True,
            ),
            Points(
                [each.params for each in front],
                [each.sustained for each in front],
                "",
                GREEN,
                size=5,
                names=[_name(each) for each in front],
            ),
        ]
    best, smallest = most_accurate(list(records)), smallest_holding(list(records), settings.target)
    if best:
        marks.append(_marked(best, "most accurate", ORANGE, "diamond", 8))
    if smallest:
        marks.append(_marked(smallest, "smallest that holds the target", RED, "ring", 12))
    chart_y = Axis(accuracy.label, accuracy.scale, limits)
    return Chart(title, size, chart_y, tuple(marks), _summary(front, best, smallest, settings))


def _cloud(
    records: list[TrialRecord], label: str, colour: str, opacity: float, x: Axis, y: Axis
) -> list[Mark]:
    if not records:
        return []
    shown = thinned(records, x, y)
    share = f"{len(records):,}"
    if len(shown) < len(records):
        share = f"{len(shown):,} of {len(records):,} drawn"
    return [
        Points(
            [each.params for each in shown],
            [each.sustained for each in shown],
            f"{label} ({share})",
            colour,
            size=4.5,
            opacity=opacity,
            names=[_name(each) for each in shown],
        )
    ]


def _marked(record: TrialRecord, label: str, colour: str, shape: str, size: float) -> Points:
    return Points(
        [record.params],
        [record.sustained],
        label,
        colour,
        shape="diamond" if shape == "diamond" else "ring",
        size=size,
        names=[_name(record)],
    )


def _name(record: TrialRecord) -> str:
    return f"{record.title}: {record.params:,} parameters, {record.sustained:.2f}%"


def _summary(
    front: list[TrialRecord],
    best: TrialRecord | None,
    smallest: TrialRecord | None,
    settings: StudySettings,
) -> str:
    if not best:
        return "No trial has been trained to its end yet; all ended early."
    held = (
        f"the smallest that holds {settings.target:g}% has {smallest.params:,} parameters"
        if smallest
        else f"none holds {settings.target:g}%"
    )
    sizes = " to ".join(dict.fromkeys(f"{each.params:,}" for each in (front[0], front[-1])))
    return (
        f"The front has {count(len(front), 'network')} of {sizes} parameters; the most accurate "
        f"sustains {best.sustained:.2f}% on {settings.measured_on} images, and {held}."
    )
