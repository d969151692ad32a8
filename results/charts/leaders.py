"""Accuracy on the test images against parameters: the best network of each size."""

import statistics
from collections.abc import Sequence

from results.charts.chart import BLUE, GREY, ORANGE, RED, Axis, Chart, Line, Mark, Points, Rule
from results.charts.limits import accuracy_limits
from results.leaders import Leader
from results.markdown import count
from results.replayed import Replayed
from results.settings import StudySettings

LARGEST_FACTOR = 30
"""Of the errors that are shown, in the least ones."""


def leaders_chart(
    found: Sequence[Leader], published: Sequence[Replayed], settings: StudySettings
) -> Chart:
    """Mean and worst sustained test accuracy of each leader, and of published networks."""
    title = "The best network of each size, on test images"
    measured = [each.candidate for each in found if each.candidate.test]
    if not measured:
        return Chart(title, Axis(), Axis(), (), title, empty="No leader is measured yet.")
    means = [statistics.mean(each.test) for each in measured]
    others = [statistics.mean(each.sustained) for each in published]
    limits = accuracy_limits([*means, *others], settings.target, factor=LARGEST_FACTOR)
    marks: list[Mark] = [
        Rule(settings.target, f"target {settings.target:g}%", colour=RED),
        Line([each.params for each in measured], means, "", BLUE, width=1.2),
        Points(
            [each.params for each in measured],
            means,
            "found here, mean of its seeds",
            BLUE,
            names=[
                f"{each.name}: {each.params:,} parameters, {mean:.2f}%"
                for each, mean in zip(measured, means, strict=True)
            ],
        ),
        Points(
            [each.params for each in measured],
            [min(each.test) for each in measured],
            "its worst seed",
            ORANGE,
            shape="cross",
            size=5,
            names=[f"{each.name}: worst seed {min(each.test):.2f}%" for each in measured],
        ),
    ]
    if published:
        marks.append(
            Points(
                [each.params for each in published],
                others,
                "published, trained again",
                GREY,
                shape="diamond",
                names=[
                    f"published {each.published.id}: {each.params:,} parameters, {mean:.2f}%"
                    for each, mean in zip(published, others, strict=True)
                ],
            )
        )
    return Chart(
        title=title,
        x=Axis("parameters (trainable weights)", "log"),
        y=Axis("sustained test accuracy, %", "accuracy", limits),
        marks=tuple(marks),
        summary=f"{count(len(measured), 'network')} of {measured[0].params:,} to "
        f"{measured[-1].params:,} parameters; the mean sustained test accuracy goes from "
        f"{means[0]:.2f} to {means[-1]:.2f}%.",
    )
