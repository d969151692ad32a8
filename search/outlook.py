"""What trials tell of the error of their network, and of how that of another one will end."""

import math
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from results.settings import StudySettings

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

LEAST_ERROR = 0.02
"""Percent: where the logarithm of errors ends."""

CHANCE_ERROR = 90.0
"""Percent: that of a network which learned nothing, or of a training that diverged."""

LATEST = 100
"""So many complete trials, the latest, say how others end: lines are laid through each two."""

PARALLELS = 3
"""Lines that few trials are outvoted by: whatever the error is, it falls by the same factor."""

FLATTEST = 0.1
"""Slope: what is ahead is always expected to end ahead, if by little."""


class Outlook:
    """How complete trials went on from an epoch, which tells where others come to from there.

    Log errors at the end lie around a line over those at the epoch: what has further to fall falls
    further, and a small network that learns slowly comes nearer to a large one. Its slope is the
    median of those of the lines through each two trials (Theil 1950, Sen 1968: one trial that broke
    down does not turn it), its height the median of what is left. Without a trial nothing falls.
    """

    def __init__(self) -> None:
        self._trials: list[tuple[float, float]] = []
        self._slope = 1.0
        self._heights: NDArray[np.float64] | None = None
        """Of each trial: by how much its end is above a line of that slope through the origin;
        ascending, None while there are trials that it was not taken from."""

    def __len__(self) -> int:
        return len(self._trials)

    def add(self, here: float, end: float) -> None:
        """A complete trial: its log error at the epoch, and at the end."""
        self._trials.append((here, end))
        self._heights = None

    def expected(self, here: ArrayLike) -> NDArray[np.float64]:
        """Log errors at the end, of those at the epoch: the same shape."""
        heights = self._fitted()
        return self._slope * np.asarray(here, float) + (np.median(heights) if len(heights) else 0.0)

    def chance(self, here: ArrayLike, end: float) -> NDArray[np.float64]:
        """With which probability each comes to that log error at the end, or below.

        By Laplace's rule of succession: few trials never say that it is impossible, or certain.
        """
        heights = self._fitted()
        needed = end - self._slope * np.asarray(here, float)
        return (np.searchsorted(heights, needed + 1e-9, "right") + 1) / (len(heights) + 2)

    def _fitted(self) -> NDArray[np.float64]:
        if self._heights is None:
            latest = islice(reversed(self._trials), LATEST)
            here, end = np.array(list(latest), float).reshape(-1, 2).T
            one, other = np.triu_indices(len(here), 1)
            apart = here[one] != here[other]
            one, other = one[apart], other[apart]
            slopes = (end[one] - end[other]) / (here[one] - here[other])
            self._slope = float(np.clip(np.median([*slopes, *[1.0] * PARALLELS]), FLATTEST, 1))
            self._heights = np.sort(end - self._slope * here)
        return self._heights


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
