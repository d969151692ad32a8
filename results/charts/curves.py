"""Learning curves: accuracy after each epoch, of one trial and of a study's best and stopped."""

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
from results.charts.limits import DOTS, accuracy_limits, epoch_axis
from results.markdown import capital, count
from results.record import TrialRecord
from results.selection import complete, merit
from results.settings import StudySettings

BEST = 3
STOPPED = 30
"""Most stopped trials drawn: evenly spread over the study."""


def curves_chart(records: Sequence[TrialRecord], settings: StudySettings) -> Chart:
    """Accuracy after each epoch: the most accurate trials against the pruned ones."""
    title = "Learning curves: best and stopped"
    epoch, accuracy = epoch_axis(settings), Axis(f"{settings.measured_on} accuracy, %", "accuracy")
    ended = complete(list(records))
    best = sorted(ended, key=merit, reverse=True)[:BEST]
    stopped = [each for each in records if each.state == "pruned" and each.history]
    if not best and not stopped:
        return Chart(title, epoch, accuracy, (), title, empty="No trial has been trained yet.")
    shown = stopped[:: -(-len(stopped) // STOPPED)] if stopped else []
    marks: list[Mark] = []
    for place, each in enumerate(shown):
        marks += _stopped(each, labelled=place == 0, shown=len(shown), of=len(stopped))
    for each, colour in zip(best, (BLUE, GREEN, ORANGE), strict=False):
        epochs, accuracies = _accuracies(each)
        marks.append(
            Line(
                epochs,
                accuracies,
                f"{each.title}: {each.params:,} parameters, {each.sustained:.2f}%",
                colour,
                width=2.2,
                dots=DOTS,
                name=f"{each.title}: {each.params:,} parameters",
            )
        )
    marks.append(Rule(settings.target, f"target {settings.target:g}%", colour=RED))
    seen = [value for each in best or shown for value in _accuracies(each)[1]]
    limits = accuracy_limits(seen, settings.target)
    groups = []
    if best:
        groups.append(f"the best of {count(len(ended), 'complete trial')} ({len(best)} shown)")
    if shown:
        groups.append(f"{len(shown)} of {count(len(stopped), 'trial')} that ended early")
    return Chart(
        title,
        epoch,
        Axis(accuracy.label, accuracy.scale, limits),
        tuple(marks),
        f"{settings.measured_on.capitalize()} accuracy by epoch of {' and of '.join(groups)}.",
    )


def trial_chart(record: TrialRecord, settings: StudySettings) -> Chart:
    """Accuracy on training images, and on those it is measured on, after each epoch."""
    title = capital(record.title)
    epoch, accuracy = epoch_axis(settings), Axis("accuracy, %", "accuracy")
    history = record.history
    if not history:
        return Chart(title, epoch, accuracy, (), title, empty="This trial has not been trained.")
    title = f"{capital(record.title)}, {record.params:,} parameters"
    if record.state == "pruned":
        title += f": stopped after epoch {len(history)}"
    epochs, measured = _accuracies(record)
    training = [each.train_accuracy for each in history]
    window = epochs[-settings.sustain :]
    sustained = settings.sustained(measured)
    marks = (
        Rule(settings.target, f"target {settings.target:g}%", colour=RED),
        Line(epochs, training, "training images (distorted)", GREY, dashed=True, dots=DOTS),
        Line(epochs, measured, f"{settings.measured_on} images", BLUE, width=2.2, dots=DOTS),
        Line(
            [window[0] - 0.3, window[-1] + 0.3],
            [sustained, sustained],
            f"sustained {sustained:.2f}%: lowest of the last {len(window)}",
            ORANGE,
            width=3,
        ),
    )
    limits = accuracy_limits([*measured, *training], settings.target)
    return Chart(
        title,
        epoch,
        Axis(accuracy.label, accuracy.scale, limits),
        marks,
        f"Accuracy of {record.title} by epoch; it sustained {sustained:.2f}% on "
        f"{settings.measured_on} images over its last {len(window)} epochs.",
    )


def _accuracies(record: TrialRecord) -> tuple[list[int], list[float]]:
    history = record.history
    return [each.epoch for each in history], [each.accuracy for each in history]


def _stopped(record: TrialRecord, *, labelled: bool, shown: int, of: int) -> list[Mark]:
    epochs, accuracies = _accuracies(record)
    share = f"{of:,}" if shown == of else f"{shown} of {of:,} drawn"
    name = f"trial {record.number}: stopped after epoch {epochs[-1]}"
    return [
        Line(epochs, accuracies, "", GREY, width=1, opacity=0.45),
        Points(
            epochs[-1:],
            accuracies[-1:],
            f"ended early ({share})" if labelled else "",
            GREY,
            shape="cross",
            size=4.5,
            opacity=0.8,
            names=[name],
        ),
    ]
