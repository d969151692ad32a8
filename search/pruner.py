"""Stops a trial early when it promises less than most of all that came as far, and takes it up
again when it no longer does.

Asynchronous successive halving (Li et al., A System for Massively Parallel Hyperparameter Tuning,
MLSys 2020). Optuna's stops a trial for good by what is known when it comes: of the first ones too
few, and among good ones good ones. As nothing is lost here by stopping a trial too early, it goes
on only if it is likely to be among the best of its rung in the end as well.
"""

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from optuna.pruners import BasePruner
from optuna.trial import TrialState

from results.record import STATE_KEPT, origin_of, promoted_from
from results.selection import target_noise
from results.settings import StudySettings
from search.outlook import Outlook, final_log_error, is_accuracy, log_error
from search.settling import Settling

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

MARGIN = 0.7
"""Of n trials not n times their part go on at once, but so many standard deviations of a binomial
number less: the others wait until more have come."""

TOP = 10
"""Of the trials that hold so many count as found, with the objective "smallest"."""

FEWEST_AT_THE_END = 4
"""When no more are begun, so many go on from each epoch, however small a part of all they are."""


class _Standing(NamedTuple):
    """Of a trial at an epoch: its score there, and the one that it would have if it held."""

    score: float
    if_it_held: float


@dataclass
class _Rung:
    """What the trials that ended told at an epoch; by the number that each began with."""

    standings: dict[int, _Standing] = field(default_factory=dict)
    stopped: dict[int, int] = field(default_factory=dict)
    """Those that were stopped here: the number of the trial that was."""
    outlook: Outlook = field(default_factory=Outlook)


class HalvingPruner(BasePruner):
    """After each epoch of `parts`: that part of all trials goes on, the most promising ones.

    All trials means also those that were stopped there, running or not. One that is stopped can be
    gone on with later (see `promotable`). As long as no trial has come from an epoch to its end,
    and none is on its way, the next goes on whatever it promises: samplers learn from what is
    complete.

    With the objective "accuracy" a trial promises its accuracy so far. With "smallest" that would
    stop what is small, because it learns more slowly. There a trial promises the accuracy that it
    is expected to come to, up to the target (at once if it has reached it), and what its size is
    worth: a gain over the target, times the probability that it holds, or comes so near that
    validation images can't tell it from there, as a finalist may. Once `TOP` trials hold it is the
    gain over the last of the best of them, and what is larger loses, whether it holds or not.

    Serves one study, in all threads of a process.
    """

    def __init__(self, parts: Mapping[int, float], settings: StudySettings) -> None:
        self._settings = settings
        self.parts = parts
        self._settling = Settling()
        self._rungs = {epoch: _Rung() for epoch in parts}
        self._best: list[float] = []
        """Scores of the complete trials that hold the target, no more than `TOP`, descending."""
        self._lock = threading.Lock()

    def prune(self, study: "Study", trial: "FrozenTrial") -> bool:
        epoch = trial.last_step
        if epoch is None or epoch not in self._rungs:
            return False
        with self._lock:
            trials = study.get_trials(deepcopy=False)
            origin = origin_of(trial, trials)
            unfinished = self._look(trials) | {origin: trial}
            standings = self._standings(epoch, unfinished)
            promises = self._promises(epoch, standings)
            return not self._goes_on(origin, epoch, unfinished, standings, promises)

    def promotable(self, study: "Study", *, is_last: bool) -> int | None:
        """The number of the stopped trial to go on with before a new one is begun, None if there is
        none.

        Of the epoch that is nearest to the end it is the most promising, and one that would not be
        stopped now. `is_last`: no new one will be begun.
        """
        with self._lock:
            unfinished = self._look(study.get_trials(deepcopy=False))
            for epoch in sorted(self._rungs, reverse=True):
                stopped = self._rungs[epoch].stopped
                candidates = stopped.keys() - unfinished.keys()
                if not candidates:
                    continue
                standings = self._standings(epoch, unfinished)
                promises = self._promises(epoch, standings)
                best = max(candidates, key=lambda origin: (promises[origin], -origin))
                if self._goes_on(best, epoch, unfinished, standings, promises, is_last=is_last):
                    return stopped[best]
        return None

    def _look(self, trials: Sequence["FrozenTrial"]) -> "dict[int, FrozenTrial]":
        """Takes in what has ended since; returns the unfinished trials by their origin."""
        ended, unfinished = self._settling.split(trials)
        for each in ended:
            origin = origin_of(each, trials)
            if promoted_from(each) is not None:  # or failed to: it is not tried again
                for rung in self._rungs.values():
                    rung.stopped.pop(origin, None)
            if each.state != TrialState.FAIL:  # what was cut off is run again
                self._take_in(each, origin)
        return {origin_of(each, trials): each for each in unfinished}

    def _take_in(self, trial: "FrozenTrial", origin: int) -> None:
        value = trial.value
        if trial.state == TrialState.COMPLETE and value and self._settings.target <= value <= 100:
            self._best = sorted([*self._best, value], reverse=True)[:TOP]
        for epoch in trial.intermediate_values.keys() & self._rungs.keys():
            rung = self._rungs[epoch]
            standing = rung.standings[origin] = self._standing(trial, epoch)
            if trial.state == TrialState.COMPLETE and is_accuracy(standing.score, self._settings):
                rung.outlook.add(log_error(standing.score), final_log_error(trial, self._settings))
            was_stopped = trial.state == TrialState.PRUNED and epoch == trial.last_step
            if was_stopped and trial.user_attrs.get(STATE_KEPT):
                rung.stopped[origin] = trial.number

    def _standing(self, trial: "FrozenTrial", epoch: int) -> _Standing:
        score = trial.intermediate_values[epoch]
        params: Any = trial.user_attrs.get("params")
        if not isinstance(params, int):  # another program's: its size is worth nothing
            params = self._settings.max_params
        # What is no number is as bad as chance.
        return _Standing(score if math.isfinite(score) else 0.0, self._settings.score(100, params))

    def _standings(
        self, epoch: int, unfinished: "Mapping[int, FrozenTrial]"
    ) -> dict[int, _Standing]:
        """Of all trials that came to an epoch."""
        going = {
            origin: self._standing(trial, epoch)
            for origin, trial in unfinished.items()
            if epoch in trial.intermediate_values
        }
        return self._rungs[epoch].standings | going

    def _goes_on(
        self,
        origin: int,
        epoch: int,
        unfinished: "Mapping[int, FrozenTrial]",
        standings: Mapping[int, _Standing],
        promises: Mapping[int, float],
        *,
        is_last: bool = False,
    ) -> bool:
        if not self._rungs[epoch].outlook and is_accuracy(standings[origin].score, self._settings):
            others = (trial for each, trial in unfinished.items() if each != origin)
            return not any((trial.last_step or 0) >= epoch for trial in others)
        own = promises[origin]
        better = sum(each > own for each in promises.values())
        return better + 1 <= self._places(epoch, len(promises), is_last=is_last)

    def _places(self, epoch: int, trials: int, *, is_last: bool) -> float:
        """How many of so many trials that came to an epoch go on."""
        part = self.parts[epoch]
        if is_last:
            return max(math.ceil(part * trials), FEWEST_AT_THE_END)
        return part * trials - MARGIN * math.sqrt(part * (1 - part) * trials)

    def _promises(self, epoch: int, standings: Mapping[int, _Standing]) -> dict[int, float]:
        settings, outlook = self._settings, self._rungs[epoch].outlook
        if settings.objective == "accuracy" or not outlook:
            return {origin: each.score for origin, each in standings.items()}
        target = settings.target
        scores = np.fromiter((each.score for each in standings.values()), float)
        gains = np.fromiter((each.if_it_held for each in standings.values()), float) - self._bar()
        here = [log_error(score) for score in scores]
        comes_to = np.minimum(100 - np.exp(outlook.expected(here)), target)
        holds = outlook.chance(here, log_error(target - target_noise(settings)))
        promises = comes_to + np.where(gains > 0, holds * gains, gains)
        promises = np.where(scores >= target, target + gains, promises)
        return dict(zip(standings, promises.tolist(), strict=True))

    def _bar(self) -> float:
        """The score over which one that holds has gained something."""
        return self._best[-1] if len(self._best) == TOP else self._settings.target
