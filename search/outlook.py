"""What scores say of errors, and errors of scores: for what guesses how a trial ends."""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from results.settings import StudySettings

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

Array = NDArray[np.float64]

LEAST_ERROR = 0.02
"""Percent: where the logarithm of errors ends."""

CHANCE_ERROR = 90.0
"""Percent: that of a network which learned nothing, or of a training that diverged."""

QUANTILES = (np.arange(16) + 0.5) / 16
"""At which a guessed distribution of errors is looked at: evenly spread."""

_ROUNDED = 1e-6
"""Percent: what an accuracy loses on its way through a logarithm."""


def log_error(accuracy: float) -> float:
    """The natural logarithm of the error in percent."""
    if math.isnan(accuracy):
        return math.log(CHANCE_ERROR)
    return math.log(min(max(100 - accuracy, LEAST_ERROR), CHANCE_ERROR))


def reported_log_error(score: float, settings: StudySettings) -> float:
    """That of the score after an epoch.

    With the objective "smallest" scores above the target tell the size: the error is then at most
    that of the target.
    """
    return log_error(min(score, settings.target) if settings.objective == "smallest" else score)


def final_log_error(trial: "FrozenTrial", settings: StudySettings) -> float:
    """That of the sustained accuracy of a complete trial, also above the target.

    Of one that was told a score alone, what that tells.
    """
    if (sustained := trial.user_attrs.get("sustained")) is not None:
        return log_error(sustained)
    return reported_log_error(math.nan if trial.value is None else trial.value, settings)


def expected_score(log_errors: Array, params: Array, settings: StudySettings) -> Array:
    """The mean over equally likely log errors (n, k) of networks with `params` (n,): (n,)."""
    return np.asarray(scores_of(log_errors, params, settings).mean(axis=1))


def scores_of(log_errors: Array, params: Array, settings: StudySettings) -> Array:
    """Those of accuracies with these log errors (n, k), of networks with `params` (n,): (n, k)."""
    accuracies = 100 - np.clip(np.exp(log_errors), LEAST_ERROR, 100)
    if settings.objective == "accuracy":
        return np.asarray(accuracies)
    holding = np.array([settings.score(100, each) for each in params])
    return np.where(accuracies >= settings.target - _ROUNDED, holding[:, None], accuracies)
