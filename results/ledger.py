"""A storage for a process that works on one study: all its trials in memory, few transactions.

It takes the place of Optuna's own cache between a study and its database. What is written about a
running trial waits in memory and goes into the database together with what other threads have
waiting: when the trial is drawn (`write_out`), with a report if the last time was more than
`WRITE_SECONDS` ago, and at the latest in the very transaction that ends the trial. So a finished
trial is always whole, and what may be lost with the process belongs to trials that have to begin
again anyway.
"""

import copy
import datetime
import threading
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import _CachedStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError

from results import rows

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from sqlalchemy import Connection, Table

WRITE_SECONDS = 1.0
"""Reports wait no longer than this for the next one."""

READ_SECONDS = 0.5
"""What other processes wrote may be this old when it is read here."""

_UNFINISHED = (TrialState.RUNNING, TrialState.WAITING)


@dataclass
class _Begun:
    """What of a trial that is begun here is to be written yet, and what has been."""

    waiting: rows.Rows = field(default_factory=rows.Rows)
    written: set[rows.Key] = field(default_factory=set)


class NothingWaits(Exception):  # noqa: N818
    """There is no queued trial, and none may be made."""


class Ledger(_CachedStorage):
    """The storage of one study for all threads of one process.

    `marks`: user attributes that every trial begun here has from its first moment. With
    `queue_only` trials are taken from the queue alone; asking for one where nothing waits raises
    NothingWaits. A trial that is
    begun here is written by this process alone; if another one ended it, UpdateFinishedTrialError
    is raised at a write after that was seen, and by its end at the latest.
    """

    def __init__(
        self,
        database: "optuna.storages.RDBStorage",
        study: str,
        marks: Mapping[str, Any] | None = None,
        *,
        queue_only: bool = False,
    ) -> None:
        rows.refuse_another_schema()
        super().__init__(database)
        self._study_id = database.get_study_id_from_name(study)
        self._marks = dict(marks or {})
        self._queue_only = queue_only
        self._guard = threading.RLock()
        self._trials: list[FrozenTrial] = []
        self._numbers: dict[int, int] = {}
        self._begun: dict[int, _Begun] = {}
        self._together: dict[str, Any] | None = None
        """Attributes of the study that wait for the end of `at_once`."""
        self._foreign: set[int] = set()
        """Unfinished trials that are not begun here: to be read again."""
        self._last_read = self._last_write = self._last_beat = -float("inf")

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        if template_trial is None and self._queue_only:
            raise NothingWaits
        new = template_trial or create_trial(state=TrialState.RUNNING, user_attrs=self._marks)
        contents = rows.Rows()
        with self._guard:
            with self._transaction() as connection:
                trial_id, number = rows.insert_trial(connection, study_id, new)
                contents.add_contents(trial_id, new)
                if template_trial is None:
                    contents.add_heartbeat(trial_id)
                contents.insert(connection)
            if number > len(self._trials):
                self._read()
            else:
                new = copy.deepcopy(new)
                new.number, new._trial_id = number, trial_id
                self._keep(new)
            if template_trial is None:
                self._begin(trial_id, contents)
        return trial_id

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        now = datetime.datetime.now()
        begins = state == TrialState.RUNNING
        with self._guard:
            begun = self._begun.get(trial_id)
            contents = begun.waiting if begun else rows.Rows()
            if begins:
                contents.add_heartbeat(trial_id)
                for key, value in self._marks.items():
                    contents.add_attribute(rows.USER_ATTRIBUTES, trial_id, key, value)
            for objective, each in enumerate(values or ()):
                contents.add_value(trial_id, objective, each)
            before = (TrialState.WAITING,) if begins else _UNFINISHED
            with self._transaction() as connection:
                moved = rows.move_trial(connection, trial_id, before=before, after=state, time=now)
                if moved:
                    contents.insert(connection)
            if moved and (begun or begins):
                trial = self._replace(trial_id)
                trial.state = state
                if begins:
                    trial.datetime_start = now
                    trial.user_attrs = {**trial.user_attrs, **self._marks}
                    self._begin(trial_id, contents)
                else:
                    trial.datetime_complete = now
                    trial.values = None if values is None else list(values)
                    del self._begun[trial_id]
            else:
                self._lose(trial_id)
            if not moved and not begins:
                raise UpdateFinishedTrialError(f"trial {trial_id} was ended by another process")
            return moved

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: "BaseDistribution",
    ) -> None:
        with self._guard:
            if begun := self._begun.get(trial_id):
                begun.waiting.add_param(trial_id, param_name, param_value_internal, distribution)
                trial = self._replace(trial_id)
                value = distribution.to_external_repr(param_value_internal)
                trial.params = {**trial.params, param_name: value}
                trial.distributions = {**trial.distributions, param_name: distribution}
                return
        self._backend.set_trial_param(trial_id, param_name, param_value_internal, distribution)

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        with self._guard:
            if begun := self._begun.get(trial_id):
                begun.waiting.add_report(trial_id, step, intermediate_value)
                trial = self._replace(trial_id)
                trial.intermediate_values = {**trial.intermediate_values, step: intermediate_value}
                if time.monotonic() - self._last_write > WRITE_SECONDS:
                    self.write_out()
                return
        self._backend.set_trial_intermediate_value(trial_id, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        if not self._keep_attribute(rows.USER_ATTRIBUTES, trial_id, key, value):
            self._backend.set_trial_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        if not self._keep_attribute(rows.SYSTEM_ATTRIBUTES, trial_id, key, value):
            self._backend.set_trial_system_attr(trial_id, key, value)

    def _keep_attribute(self, table: "Table", trial_id: int, key: str, value: Any) -> bool:
        """Whether the attribute waits to be written: it is of a trial begun here, and new."""
        with self._guard:
            begun = self._begun.get(trial_id)
            if begun is None:
                return False
            trial = self._replace(trial_id)
            name = "user_attrs" if table is rows.USER_ATTRIBUTES else "system_attrs"
            setattr(trial, name, {**getattr(trial, name), key: value})
            if (table, trial_id, key) in begun.written:
                return False
            begun.waiting.add_attribute(table, trial_id, key, value)
            return True

    def write_out(self) -> None:
        """Writes what waits, of all threads, in one transaction."""
        with self._guard:
            self._last_write = time.monotonic()
            contents = rows.Rows()
            writing = [trial_id for trial_id, begun in self._begun.items() if begun.waiting.keys()]
            with self._transaction() as connection:
                alive = rows.still_running(connection, writing)
            for trial_id in alive:
                contents.update(self._begun[trial_id].waiting)
            with self._transaction() as connection:
                contents.insert(connection)
            for trial_id in writing:
                if trial_id in alive:
                    begun = self._begun[trial_id]
                    begun.written |= begun.waiting.keys()
                    begun.waiting = rows.Rows()
                else:
                    self._lose(trial_id)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """System attributes of the study that are set within are written together at the end, so
        that others read either all of them or none. For one thread.

        Of several processes at once one waits for the other, so what is read within is what will be
        replaced.
        """
        with self._transaction() as connection:
            rows.lock_study(connection, self._study_id)
            self._together = {}
            try:
                yield
                rows.set_study_attributes(connection, self._study_id, self._together)
            finally:
                self._together = None

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        if self._together is None:
            self._backend.set_study_system_attr(study_id, key, value)
        else:
            self._together[key] = value

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return {**self._backend.get_study_system_attrs(study_id), **(self._together or {})}

    def get_trial(self, trial_id: int) -> FrozenTrial:
        with self._guard:
            if trial_id not in self._numbers:
                self._read()
            if trial_id not in self._numbers:
                raise KeyError(f"No trial with trial_id {trial_id} exists.")
            trial = self._trials[self._numbers[trial_id]]
            return trial if trial.state.is_finished() else _detached(trial)

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        trials = self.get_all_trials(study_id, deepcopy=False)
        if not 0 <= trial_number < len(trials):
            raise KeyError(f"No trial with trial number {trial_number} exists.")
        return trials[trial_number]._trial_id

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        with self._guard:
            if time.monotonic() - self._last_read > READ_SECONDS:
                self._read()
            if states is None:
                trials = list(self._trials)
            elif any(state in states for state in TrialState if state.is_finished()):
                trials = [trial for trial in self._trials if trial.state in states]
            else:  # no need to look at all the finished ones
                numbers = sorted(self._numbers[each] for each in (*self._begun, *self._foreign))
                unfinished = (self._trials[number] for number in numbers)
                trials = [trial for trial in unfinished if trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def record_heartbeat(self, trial_id: int) -> None:
        """One beat is that of all trials begun here: it says that the process lives."""
        with self._guard:
            if time.monotonic() - self._last_beat < (self.get_heartbeat_interval() or 0) / 2:
                return
            with self._transaction() as connection:
                rows.beat(connection, self._begun)
            self._last_beat = time.monotonic()

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        """None, for Optuna: it would end them, and queue them again in another transaction.

        See `search.study.DeadTrials`.
        """
        return []

    def refresh(self) -> None:
        """Reads what others wrote up to now."""
        with self._guard:
            self._read()

    def _read(self) -> None:
        """Reads what is new, and what may have changed."""
        last = self._trials[-1]._trial_id if self._trials else -1
        with self._transaction() as connection:
            found = rows.read_trials(connection, self._study_id, after=last, also=self._foreign)
        for trial in found:
            self._keep(trial)
        self._last_read = time.monotonic()

    def _keep(self, trial: FrozenTrial) -> None:
        self._numbers[trial._trial_id] = trial.number
        self._trials[trial.number : trial.number + 1] = [trial]
        if trial.state.is_finished():
            self._foreign.discard(trial._trial_id)
        else:
            self._foreign.add(trial._trial_id)

    def _begin(self, trial_id: int, written: rows.Rows) -> None:
        self._foreign.discard(trial_id)
        self._begun[trial_id] = _Begun(written=written.keys())

    def _lose(self, trial_id: int) -> None:
        """Reads a trial again that is another process's now."""
        self._begun.pop(trial_id, None)
        self._foreign.add(trial_id)
        self._read()

    def _replace(self, trial_id: int) -> FrozenTrial:
        """Puts a copy in the place of a trial, to be changed: others may be reading the old one."""
        number = self._numbers[trial_id]
        self._trials[number] = copy.copy(self._trials[number])
        return self._trials[number]

    @contextmanager
    def _transaction(self) -> "Iterator[Connection]":
        try:
            with self._backend.engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StorageInternalError(str(error)) from error


def with_ledger(study: "optuna.Study") -> "optuna.Study":
    """The same study, kept in a ledger of its own."""
    import optuna

    ledger = Ledger(database_of(study), study.study_name)
    return optuna.load_study(study_name=study.study_name, storage=ledger)


def database_of(study: "optuna.Study") -> "optuna.storages.RDBStorage":
    """The database of a study, without what stands between them to be faster."""
    storage = study._storage
    return storage._backend if isinstance(storage, _CachedStorage) else storage  # type: ignore


def refresh(study: "optuna.Study") -> None:
    """Reads what others wrote of a study up to now, if it is kept in a ledger."""
    if isinstance(study._storage, Ledger):
        study._storage.refresh()


def write_out(study: "optuna.Study") -> None:
    """Writes what waits of a study's running trials, if it is kept in a ledger."""
    if isinstance(study._storage, Ledger):
        study._storage.write_out()


def _detached(trial: FrozenTrial) -> FrozenTrial:
    """Optuna changes the unfinished trial it gets: not the one that others read."""
    alone = copy.copy(trial)
    for name in ("params", "distributions", "user_attrs", "system_attrs", "intermediate_values"):
        setattr(alone, name, dict(getattr(alone, name)))
    return alone
