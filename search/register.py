"""What a search asks of the trials before: how many there are, and whether one is new."""

import threading
from typing import TYPE_CHECKING, NamedTuple

from results.record import State, TrialRecord, promoted_from, turn_of
from search.settling import Settling

if TYPE_CHECKING:
    import optuna

    from space import Configuration


class Counts(NamedTuple):
    """Of trials: `running` are new ones; `promoted`: running or waiting, going on with others."""

    trained: int
    running: int
    promoted: int


class Register:
    """The trials of a study, summed up. Each is looked at once when it has ended."""

    def __init__(self, study: "optuna.Study") -> None:
        self._study = study
        self._settling = Settling()
        self._lock = threading.Lock()
        self._states: list[State] = []
        self._turns: list[int] = []
        self._trained = 0
        self._unfinished: list[int] = []
        """Without the promoted ones: their place is that of the stopped trial."""
        self._promoted = 0
        self._by_configuration: dict[tuple[object, object], tuple[int, TrialRecord]] = {}
        """The first trained trial of each, and the number that it began with."""

    def states(self) -> list[State]:
        """Of every trial, by number."""
        with self._lock:
            self._look()
            return list(self._states)

    def counts(self) -> Counts:
        """How many trials are trained, and how many will be."""
        with self._lock:
            self._look()
            running = sum(self._states[number] == "running" for number in self._unfinished)
            return Counts(self._trained, running, self._promoted)

    def is_surplus(self, number: int, trials: int) -> bool:
        """Whether others fill all the places that `--trials` gives.

        A trained trial has a place, and a running or waiting one whose turn is earlier may yet.
        Turns are given out in order, and what is begun again takes that of what was cut off, which
        is then nobody else's: so any number of workers on any number of machines train exactly
        `trials`, without a lock.
        """
        with self._lock:
            self._look()
            # A set: one that is being handed back waits already while it still runs.
            unfinished = {self._turns[each] for each in self._unfinished}
            earlier = sum(each < self._turns[number] for each in unfinished)
            return self._trained + earlier >= trials

    def trained_before(self, number: int, configuration: "Configuration") -> TrialRecord | None:
        """The first trained trial of this configuration, if its number is lower."""
        with self._lock:
            self._look()
            ids = (configuration.architecture.id, configuration.recipe.id)
            origin, found = self._by_configuration.get(ids, (number, None))
            return found if origin < number else None

    def _look(self) -> None:
        ended, unfinished = self._settling.split(self._study.get_trials(deepcopy=False))
        for trial in sorted((*ended, *unfinished), key=lambda trial: trial.number):
            record = TrialRecord.from_trial(trial)
            self._states[record.number : record.number + 1] = [record.state]
            self._turns[record.number : record.number + 1] = [turn_of(trial)]
        new = [trial.number for trial in unfinished if promoted_from(trial) is None]
        self._unfinished, self._promoted = new, len(unfinished) - len(new)
        for record in map(TrialRecord.from_trial, ended):
            if not record.was_trained:
                continue
            stopped = record.promoted_from
            if stopped is None:
                self._trained += 1
            else:
                self._states[stopped] = "promoted"
            ids = (record.attributes.get("architecture_id"), record.attributes.get("recipe_id"))
            origin, first = self._by_configuration.get(ids, (record.number, None))
            if first is not None and first.number == stopped:
                self._by_configuration[ids] = origin, record
            elif record.history and (first is None or record.number < origin):
                self._by_configuration[ids] = record.number, record
