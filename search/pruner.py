"""Stops a trial early when it promises less than most of all that came as far."""

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from optuna.pruners import BasePruner
from optuna.trial import TrialState

from results.settings import StudySettings
from search.outlook import LEAST_ERROR, final_log_error, is_accuracy, log_error
from search.settling import Settling

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

FEWEST_OTHERS = 4
"""With fewer trials to compare with nothing is pruned, nor with fewer falls to guess from."""


@dataclass
class _Rung:
    """What the trials that ended told at an epoch."""

    scores: list[float] = field(default_factory=list)
    holding: list[float] = field(default_factory=list)
    """The score of each if it held the target."""
    falls: list[float] = field(default_factory=list)
    """Of complete trials: log error at the end minus that here."""


class HalvingPruner(BasePruner):
    """After each epoch of `parts`: that part of all trials goes on, the most promising ones.

    All trials means also those that were pruned there, running or not. Optuna's own pruners
    do one of two things that hurt a study of some dozen trials: the median and percentile pruners
    compare with complete trials alone, which are the good ones, and successive halving goes on
    halving to the last epochs, where it stops one of the best two to save a fifth of its training.

    With the objective "accuracy" a trial promises its accuracy so far. With "smallest" that would
    stop what is small, because it learns more slowly. There a trial promises the accuracy that it
    comes to, up to the target, if its error falls from here on by the median factor of complete
    trials; and what its size is worth above the target, times the part of complete trials whose
    fall would do. One that has reached the target already promises its score; no other is pruned
    before a few complete trials have shown a fall from that epoch.

    Serves one study, in all threads of a process.
    """

    def __init__(self, parts: Mapping[int, float], settings: StudySettings) -> None:
        self._settings = settings
        self.parts = parts
        self._settling = Settling()
        self._rungs = {epoch: _Rung() for epoch in parts}
        self._lock = threading.Lock()

    def prune(self, study: "Study", trial: "FrozenTrial") -> bool:
        epoch = trial.last_step
        if epoch is None or epoch not in self._rungs:
            return False
        with self._lock:
            ended, unfinished = self._settling.split(study.get_trials(deepcopy=False))
            for each in ended:
                if each.state != TrialState.FAIL:  # what was cut off is run again
                    self._take_in(each)
            rung = self._rungs[epoch]
            here = [
                each
                for each in unfinished
                if each.number != trial.number and epoch in each.intermediate_values
            ]
            if len(rung.scores) + len(here) < FEWEST_OTHERS:
                return False
            if self._is_to_be_guessed(_score(trial, epoch)) and len(rung.falls) < FEWEST_OTHERS:
                return False
            here.append(trial)
            scores = np.array([*rung.scores, *(_score(each, epoch) for each in here)])
            holding = np.array([*rung.holding, *map(self._score_if_holding, here)])
            falls = np.sort(rung.falls)
        promises = self._promises(scores, holding, falls)
        return bool(promises[-1] < np.quantile(promises[:-1], 1 - self.parts[epoch]))

    def _take_in(self, trial: "FrozenTrial") -> None:
        for epoch, rung in self._rungs.items():
            if epoch not in trial.intermediate_values:
                continue
            score = _score(trial, epoch)
            rung.scores.append(score)
            rung.holding.append(self._score_if_holding(trial))
            if trial.state == TrialState.COMPLETE and self._is_to_be_guessed(score):
                rung.falls.append(final_log_error(trial, self._settings) - log_error(score))

    def _is_to_be_guessed(self, score: float) -> bool:
        settings = self._settings
        return settings.objective == "smallest" and is_accuracy(score, settings)

    def _score_if_holding(self, trial: "FrozenTrial") -> float:
        params: Any = trial.user_attrs.get("params")
        if not isinstance(params, int):  # another program's: its size is worth nothing
            params = self._settings.max_params
        return self._settings.score(100, params)

    def _promises(
        self,
        scores: NDArray[np.float64],
        holding: NDArray[np.float64],
        falls: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        settings = self._settings
        if settings.objective == "accuracy" or not len(falls):
            return scores
        target = settings.target
        least = max(100 - target, LEAST_ERROR)
        errors = np.log(np.maximum(100 - scores, least))
        comes_to = np.minimum(100 - np.exp(errors + np.median(falls)), target)
        # The part of falls that lead to the target or beyond.
        holds = np.searchsorted(falls, math.log(least) - errors, "right") / len(falls)
        expected = comes_to + holds * (holding - target)
        return np.where(scores >= target, scores, expected)


def _score(trial: "FrozenTrial", epoch: int) -> float:
    """As reported; what is no number is the worst."""
    score = trial.intermediate_values[epoch]
    return score if math.isfinite(score) else 0.0
