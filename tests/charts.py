"""Made-up trials for tests of charts and texts."""

from typing import Any

from results.record import Epoch, TrialRecord, drawn_attributes, trained_attributes
from results.settings import StudySettings
from space import BASELINES, SearchSpace, configuration, footprint

SETTINGS = StudySettings(
    dataset="mnist", space=SearchSpace.for_budget(10_000), target=99.4, epochs=6, sustain=2
)


def trial(
    number: int, params: int, accuracies: list[float], *, state: Any = "complete", **attributes: Any
) -> TrialRecord:
    """A trained trial that says it has `params` parameters; `accuracies` by epoch, in percent."""
    drawn = configuration(BASELINES["1.3"])
    history = [
        Epoch(epoch, 0.1, accuracy - 0.5, 0.1, accuracy, 1.0, 0.1)
        for epoch, accuracy in enumerate(accuracies, 1)
    ]
    described = drawn_attributes(drawn, footprint(drawn.architecture))
    described |= trained_attributes(history, SETTINGS, images_per_epoch=1_000)
    value = SETTINGS.sustained(accuracies) if state == "complete" else None
    return TrialRecord(
        number, state, value, BASELINES["1.3"], {**described, "params": params, **attributes}
    )


STUDY = [
    trial(0, 9_000, [97.0, 98.0, 99.0, 99.2, 99.45, 99.5]),
    trial(1, 4_000, [95.0, 97.0, 98.0, 98.5, 99.1, 99.0]),
    trial(2, 6_000, [96.0, 97.0, 98.0, 98.5, 98.9, 98.8]),
    trial(3, 2_000, [90.0, 95.0, 97.0], state="pruned"),
    trial(4, 3_000, [11.0, 11.3, 9.8], state="pruned"),
    trial(5, 8_000, [96.0, 98.0, 99.0, 99.3, 99.42, 99.41]),
    trial(6, 8_000, [96.0, 98.0, 99.0, 99.3, 99.42, 99.41], state="duplicate"),
    trial(7, 7_000, [20.0, 30.0, 40.0, 50.0, 60.0, 61.0]),
]
"""The most accurate is 0, the smallest that holds is 5, the front is 1, 5, 0; 7 lies far below."""
