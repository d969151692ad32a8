"""Learning curves of one network: test accuracy after each epoch, a line a seed."""

from collections.abc import Sequence
from typing import Protocol

from results.charts.chart import BLUE, GREEN, GREY, ORANGE, RED, Axis, Chart, Line, Rule
from results.charts.limits import DOTS, accuracy_limits, epoch_axis
from results.settings import StudySettings

COLOURS = (BLUE, ORANGE, GREEN)
"""Of the first seeds; further ones are grey."""


class Run(Protocol):
    """A training on all training images from one seed. Accuracies in percent, by epoch."""

    @property
    def seed(self) -> int: ...
    @property
    def accuracies(self) -> Sequence[float]: ...
    @property
    def sustained(self) -> float: ...


def seeds_chart(runs: Sequence[Run], settings: StudySettings) -> Chart:
    """Test accuracy by epoch of every seed that a network was trained from."""
    seen = [value for run in runs for value in run.accuracies]
    lines = [
        Line(
            range(1, len(run.accuracies) + 1),
            run.accuracies,
            f"seed {run.seed}: sustains {run.sustained:.2f}%" if place < len(COLOURS) else "",
            COLOURS[place] if place < len(COLOURS) else GREY,
            dots=DOTS,
            name=f"seed {run.seed}",
        )
        for place, run in enumerate(runs)
    ]
    title = "Test accuracy, a line a seed"
    return Chart(
        title=title,
        x=epoch_axis(settings),
        y=Axis(
            "test accuracy, %", "accuracy", accuracy_limits(seen, settings.target) if seen else None
        ),
        marks=(Rule(settings.target, f"target {settings.target:g}%", colour=RED), *lines)
        if lines
        else (),
        summary=f"Test accuracy after each epoch of {len(runs)} seeds, and the target of "
        f"{settings.target:g}%.",
        empty="Not confirmed yet.",
    )
