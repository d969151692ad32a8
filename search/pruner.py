"""Stops a trial early when it promises less than half of all that came as far."""

import threading
from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
from optuna.pruners import BasePruner
from optuna.trial import TrialState

from results.settings import StudySettings
from search.outlook import (
    QUANTILES,
    Array,
    expected_score,
    final_log_error,
    reported_log_error,
)
from search.settling import Settling

if TYPE_CHECKING:
    import optuna

FEWEST_OTHERS = 4
"""With fewer trials to compare with nothing is pruned."""


class HalvingPruner(BasePruner):
    """At the given epochs: prunes what promises less than the median of all other trials there.

    All other trials means also those that were pruned there, running or not. Optuna's own pruners
    do one of two things that hurt a study of some dozen trials: the median and percentile pruners
    compare with complete trials alone, which are the good ones, and successive halving goes on
    halving to the last epochs, where it stops one of the best two to save a fifth of its training.

    With the objective "accuracy" a trial promises its accuracy so far. With "smallest" that would
    stop what is small, because it learns more slowly: there a trial promises the score that it is
    expected to end with, if its error falls from here on as that of one of the complete trials did.

    Serves one study, in all threads of a process.
    """

    def __init__(self, epochs: Collection[int], settings: StudySettings) -> None:
        self._settings = settings
        self._settling = Settling()
        self._ended: dict[int, list[tuple[float, int]]] = {epoch: [] for epoch in epochs}
        """By epoch, the score that the trials that ended had reported there, and their size."""
        self._falls: dict[int, list[float]] = {epoch: [] for epoch in epochs}
        """By epoch, of complete trials: log error at the end minus that at the epoch."""
        self._lock = threading.Lock()

    def prune(self, study: "optuna.Study", trial: "optuna.trial.FrozenTrial") -> bool:
        epoch = trial.last_step
        if epoch is None or epoch not in self._ended:
            return False
        with self._lock:
            ended, unfinished = self._settling.split(study.get_trials(deepcopy=False))
            for each in ended:
                self._take_in(each)
            reported, falls = list(self._ended[epoch]), list(self._falls[epoch])
        reported += (
            _reported(each, epoch)
            for each in unfinished
            if each.number != trial.number and epoch in each.intermediate_values
        )
        if len(reported) < FEWEST_OTHERS:
            return False
        promises = self._promises([*reported, _reported(trial, epoch)], falls)
        return bool(promises[-1] < np.median(promises[:-1]))

    def _take_in(self, trial: "optuna.trial.FrozenTrial") -> None:
        for epoch, reported in self._ended.items():
            if epoch in trial.intermediate_values:
                reported.append(_reported(trial, epoch))
                if trial.state == TrialState.COMPLETE:
                    now = reported_log_error(trial.intermediate_values[epoch], self._settings)
                    self._falls[epoch].append(final_log_error(trial, self._settings) - now)

    def _promises(self, reported: list[tuple[float, int]], falls: list[float]) -> Array:
        settings = self._settings
        if settings.objective == "accuracy" or len(falls) < FEWEST_OTHERS:
            return np.array([score for score, _ in reported])
        errors = np.array([reported_log_error(score, settings) for score, _ in reported])
        ends = errors[:, None] + np.quantile(falls, QUANTILES)
        return expected_score(ends, np.array([params for _, params in reported]), settings)


def _reported(trial: "optuna.trial.FrozenTrial", epoch: int) -> tuple[float, int]:
    """Score and parameters."""
    return trial.intermediate_values[epoch], trial.user_attrs["params"]
