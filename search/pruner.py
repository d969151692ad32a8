"""Stops a trial early when it is in the lower half of all that came as far."""

import bisect
import statistics
import threading
from collections.abc import Collection
from typing import TYPE_CHECKING

from optuna.pruners import BasePruner

from search.settling import Settling

if TYPE_CHECKING:
    import optuna

FEWEST_OTHERS = 4
"""With fewer trials to compare with nothing is pruned."""


class HalvingPruner(BasePruner):
    """At the given epochs: prunes what is below the median of all other trials at that epoch.

    All other trials means also those that were pruned there, running or not. Optuna's own pruners
    do one of two things that hurt a study of some dozen trials: the median and percentile pruners
    compare with complete trials alone, which are the good ones, and successive halving goes on
    halving to the last epochs, where it stops one of the best two to save a fifth of its training.

    Serves one study, in all threads of a process.
    """

    def __init__(self, epochs: Collection[int]) -> None:
        self._settling = Settling()
        self._ended: dict[int, list[float]] = {epoch: [] for epoch in epochs}
        """By epoch, what the trials that ended had reported there, in ascending order."""
        self._lock = threading.Lock()

    def prune(self, study: "optuna.Study", trial: "optuna.trial.FrozenTrial") -> bool:
        epoch = trial.last_step
        if epoch is None or epoch not in self._ended:
            return False
        with self._lock:
            ended, unfinished = self._settling.split(study.get_trials(deepcopy=False))
            for each in ended:
                for rung, values in self._ended.items():
                    if rung in each.intermediate_values:
                        bisect.insort(values, each.intermediate_values[rung])
            others = list(self._ended[epoch])
        others += (
            each.intermediate_values[epoch]
            for each in unfinished
            if each.number != trial.number and epoch in each.intermediate_values
        )
        if len(others) < FEWEST_OTHERS:
            return False
        return trial.intermediate_values[epoch] < statistics.median(others)
