"""What trials tell of the error of their network: for what guesses how another one ends."""

import math
from typing import TYPE_CHECKING

from results.settings import StudySettings

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

LEAST_ERROR = 0.02
"""Percent: where the logarithm of errors ends."""

CHANCE_ERROR = 90.0
"""Percent: that of a network which learned nothing, or of a training that diverged."""


def log_error(accuracy: float) -> float:
    """The natural logarithm of the error in percent, of an accuracy in percent."""
    if math.isnan(accuracy):
        return math.log(CHANCE_ERROR)
    return math.log(min(max(100 - accuracy, LEAST_ERROR), CHANCE_ERROR))


def is_accuracy(score: float, settings: StudySettings) -> bool:
    """Whether a score is an accuracy: with the objective "smallest" not from the target on."""
    return settings.objective == "accuracy" or not score >= settings.target


def log_errors(trial: "FrozenTrial", settings: StudySettings) -> dict[int, float]:
    """By epoch, of a trial with reports: that of the target where the score is no accuracy."""
    return {
        epoch: log_error(score if is_accuracy(score, settings) else settings.target)
        for epoch, score in trial.intermediate_values.items()
    }


def final_log_error(trial: "FrozenTrial", settings: StudySettings) -> float:
    """That of the sustained accuracy of a complete trial, also of one that holds the target.

    Of a trial that was told a score alone, which other programs do, what this says.
    """
    sustained = trial.user_attrs.get("sustained")
    if isinstance(sustained, int | float):
        return log_error(sustained)
    score = math.nan if trial.value is None else trial.value
    return log_error(score if is_accuracy(score, settings) else settings.target)
