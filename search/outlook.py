"""What trials tell of the error of their network, and of how that of another one will end."""

import math
from dataclasses import dataclass
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

PARALLELS = 3
"""So many lines of slope 1 are added to those through the trials: that all fall by the same factor,
whatever the error is, is outvoted from four trials on."""

FLATTEST = 0.1
"""Slope: what is ahead is always expected to end ahead, if by little."""

MOST = 100
"""Lines are laid through each two of so many trials: of more, of evenly spread ones."""

ROUNDING = 1e-9


@dataclass(frozen=True)
class _Line:
    """`heights`: by how much each trial ended above the line through the origin, ascending."""

    slope: float
    worst: float
    heights: NDArray[np.float64]
    height: float

    def rise(self, here: ArrayLike) -> NDArray[np.float64]:
        """From the origin; parallel to the diagonal where no trial was."""
        errors = np.asarray(here, float)
        further = np.maximum(errors - self.worst, 0)
        return np.asarray(self.slope * np.minimum(errors, self.worst) + further)


class Outlook:
    """How complete trials went on from an epoch, which tells where others come to from there.

    Log errors at the end lie around a line over those at the epoch: what has further to fall falls
    further, and a small network that learns slowly comes nearer to a large one. Its slope is the
    median of those of the lines through each two trials (Theil 1950, Sen 1968: one trial that broke
    down does not turn it), between `FLATTEST` and 1; its height is the median of what is left. What
    has a larger error than all of them is expected to fall by the same factor as the last of them.
    Without a trial nothing falls.
    """

    def __init__(self) -> None:
        self._trials: list[tuple[float, float]] = []
        self._line: _Line | None = None

    def __len__(self) -> int:
        return len(self._trials)

    def add(self, here: float, end: float) -> None:
        """A complete trial: its log error at the epoch, and at the end."""
        self._trials.append((here, end))
        self._line = None

    def expected(self, here: ArrayLike) -> NDArray[np.float64]:
        """Log errors at the end, of those at the epoch: the same shape."""
        line = self._fitted()
        return line.rise(here) + line.height

    def chance(self, here: ArrayLike, end: float) -> NDArray[np.float64]:
        """With which probability each comes to that log error at the end, or below.

        By Laplace's rule of succession: few trials never say that it is impossible, or certain.
        """
        line = self._fitted()
        enough = np.searchsorted(line.heights, end - line.rise(here) + ROUNDING, "right")
        return (enough + 1) / (len(line.heights) + 2)

    def _fitted(self) -> _Line:
        if self._line is None:
            self._line = _fit(sorted(self._trials))
        return self._line


def _fit(trials: list[tuple[float, float]]) -> _Line:
    """Of trials in ascending order."""
    if not trials:
        return _Line(slope=1.0, worst=0.0, heights=np.empty(0), height=0.0)
    here, end = np.array(trials[:: math.ceil(len(trials) / MOST)]).T
    one, other = np.triu_indices(len(here), 1)
    apart = here[one] != here[other]
    one, other = one[apart], other[apart]
    slopes = np.append((end[one] - end[other]) / (here[one] - here[other]), [1.0] * PARALLELS)
    slope = float(np.clip(np.median(slopes), FLATTEST, 1))
    here, end = np.array(trials).T
    heights = np.sort(end - slope * here)
    return _Line(slope, float(here[-1]), heights, float(np.median(heights)))


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
