"""A storage for a process that works on one study: all its trials in memory, few transactions.

It takes the place of Optuna's own cache between a study and its database. What is written about a
running trial waits in memory and goes into the database together with what other threads have
waiting: when the trial is drawn (`write_out`), with a report if the last time was more than
`WRITE_SECONDS` ago, and at the latest in the very transaction that ends the trial. So a finished
trial is always whole, and what may be lost with the process belongs to trials that have to begin
again anyway.

A transaction whose connection is lost is repeated when the database is back (see `Patience`). If it
was being committed just then nobody here knows whether it is: so each that changes something signs
a receipt, a row of this ledger's own, with its number. The receipt is committed with the rest or
not at all; one that is found signed with the number of what is to be repeated says that there is
nothing to repeat.
"""

import copy
import datetime
import threading
import time
import uuid
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import _CachedStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from results import rows
from results.database import Database, StorageFault
from results.pulse import Pulse
from results.record import turn_of

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from sqlalchemy import Connection, Table

Result = TypeVar("Result")

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


@dataclass
class _Together:
    """What is written in one transaction: the attributes of the study wait for its end."""

    connection: "Connection"
    attributes: "dict[Table, dict[str, Any]]" = field(
        default_factory=lambda: {rows.STUDY_USER_ATTRIBUTES: {}, rows.STUDY_SYSTEM_ATTRIBUTES: {}}
    )


class NothingWaits(Exception):  # noqa: N818
    """There is no queued trial, and none may be made."""


class Ledger(_CachedStorage):
    """The storage of one study for all threads of one process.

    `marks`: user attributes that every trial begun here has from its first moment. A trial that is
    begun here is written by this process alone; if another one ended it, UpdateFinishedTrialError
    is raised at a write after that was seen, and by its end at the latest.
    """

    def __init__(
        self,
        database: Database,
        study: str,
        marks: Mapping[str, Any] | None = None,
    ) -> None:
        rows.refuse_another_schema()
        super().__init__(database)
        self._database = database
        self._study_id = database.get_study_id_from_name(study)
        self._marks = dict(marks or {})
        self._thread = threading.local()
        self._guard = threading.RLock()
        self._trials: list[FrozenTrial] = []
        self._numbers: dict[int, int] = {}
        self._begun: dict[int, _Begun] = {}
        self._together: _Together | None = None
        """While `at_once` runs."""
        self._foreign: set[int] = set()
        """Unfinished trials that are not begun here: to be read again."""
        self._pulse = Pulse[int]()
        self._stopped: set[int] = set()
        """Running trials of others whose heart has stopped, and that nobody has asked for yet."""
        self._last_read = self._last_write = self._last_beat = -float("inf")
        self._receipt = ""
        self._signed = 0

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        if template_trial is None and getattr(self._thread, "queue_alone", False):
            raise NothingWaits
        new = template_trial or create_trial(state=TrialState.RUNNING, user_attrs=self._marks)

        def make(connection: "Connection") -> tuple[int, int, rows.Rows]:
            contents = rows.Rows()
            trial_id, number = rows.insert_trial(connection, study_id, new)
            contents.add_contents(trial_id, new)
            if template_trial is None:
                contents.add_heartbeat(trial_id)
            contents.insert(connection)
            return trial_id, number, contents

        with self._guard:
            trial_id, number, contents = self._change(make)
            if number > len(self._trials):
                self._read()
            else:
                made = copy.deepcopy(new)
                made.number, made._trial_id = number, trial_id
                self._keep(made)
            if template_trial is None:
                self._begin(trial_id, contents)
        return trial_id

    @contextmanager
    def queue_alone(self) -> Iterator[None]:
        """A context in which this thread takes trials from the queue alone."""
        self._thread.queue_alone = True
        try:
            yield
        finally:
            self._thread.queue_alone = False

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

            def move(connection: "Connection") -> bool:
                moved = rows.move_trial(connection, trial_id, before=before, after=state, time=now)
                if moved:
                    contents.insert(connection)
                return moved

            moved = self._change(move)
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
            writing = [trial_id for trial_id, begun in self._begun.items() if begun.waiting.keys()]
            if not writing:
                return

            def write(connection: "Connection") -> set[int]:
                alive = rows.still_running(connection, writing)
                contents = rows.Rows()
                for trial_id in alive:
                    contents.update(self._begun[trial_id].waiting)
                contents.insert(connection)
                return alive

            alive = self._change(write)
            for trial_id in writing:
                if trial_id in alive:
                    begun = self._begun[trial_id]
                    begun.written |= begun.waiting.keys()
                    begun.waiting = rows.Rows()
                else:
                    self._lose(trial_id)

    def at_once(self, work: Callable[[], Result]) -> Result:
        """What `work` returns. Attributes of the study that it sets, and trials that it makes or
        ends, are written in one transaction: others read all of it or nothing.

        Of several processes at once one waits for the other, so what is read within is what will be
        replaced. The work is begun again if the connection is lost meanwhile.
        """
        with self._guard:
            trials, numbers = list(self._trials), dict(self._numbers)
            foreign, begun = set(self._foreign), dict(self._begun)

            def forget() -> None:
                self._trials, self._numbers = list(trials), dict(numbers)
                self._foreign, self._begun = set(foreign), dict(begun)
                self._last_read = -float("inf")

            def whole(connection: "Connection") -> Result:
                forget()  # of an attempt before
                rows.lock_study(connection, self._study_id)
                together = self._together = _Together(connection)
                try:
                    self._read()
                    result = work()
                finally:
                    self._together = None
                for table, attributes in together.attributes.items():
                    rows.set_study_attributes(connection, table, self._study_id, attributes)
                return result

            try:
                return self._change(whole)
            except BaseException:
                forget()
                raise

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        with self._guard:
            if self._together:
                self._together.attributes[rows.STUDY_USER_ATTRIBUTES][key] = value
                return
        self._backend.set_study_user_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        with self._guard:
            if self._together:
                self._together.attributes[rows.STUDY_SYSTEM_ATTRIBUTES][key] = value
                return
        self._backend.set_study_system_attr(study_id, key, value)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        found = self._of_transaction(rows.STUDY_USER_ATTRIBUTES)
        return self._backend.get_study_user_attrs(study_id) if found is None else found

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        found = self._of_transaction(rows.STUDY_SYSTEM_ATTRIBUTES)
        return self._backend.get_study_system_attrs(study_id) if found is None else found

    def _of_transaction(self, table: "Table") -> dict[str, Any] | None:
        """Attributes of the study as they are within `at_once`: over its own connection, as others
        may be waiting for one while the study is locked. None outside of it."""
        with self._guard:
            if not self._together:
                return None
            stored = rows.study_attributes(self._together.connection, table, self._study_id)
            return {**stored, **self._together.attributes[table]}

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
        """By number. If all `states` are unfinished ones, by turn: Optuna begins the first that
        waits."""
        with self._guard:
            if time.monotonic() - self._last_read > READ_SECONDS:
                self._read()
            if states is None:
                trials = list(self._trials)
            elif any(state in states for state in TrialState if state.is_finished()):
                trials = [trial for trial in self._trials if trial.state in states]
            else:  # no need to look at all the finished ones
                numbers = (self._numbers[each] for each in (*self._begun, *self._foreign))
                unfinished = (self._trials[number] for number in numbers)
                trials = [trial for trial in unfinished if trial.state in states]
                trials.sort(key=lambda trial: (turn_of(trial), trial.number))
        return copy.deepcopy(trials) if deepcopy else trials

    def record_heartbeat(self, trial_id: int) -> None:
        """One beat is that of all trials begun here: it says that the process lives."""
        with self._guard:
            if time.monotonic() - self._last_beat < (self.get_heartbeat_interval() or 0) / 2:
                return
            self._repeat(lambda connection: rows.beat(connection, self._begun))
            self._last_beat = time.monotonic()
            self._look()

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        """None, for Optuna: it would end them, and queue them again in another transaction.

        See `search.study.DeadTrials`.
        """
        return []

    def stopped(self) -> set[int]:
        """Ids of running trials of others that nobody works on any more; each is named once."""
        with self._guard:
            self._look()
            stopped, self._stopped = self._stopped, set()
        return stopped

    def _look(self) -> None:
        """Looks for others that have stopped, if it is time."""
        if self._pulse.is_due:
            beats = self._repeat(lambda connection: rows.read_beats(connection, self._study_id))
            self._stopped = set(self._pulse.look(beats)) - self._begun.keys()

    def refresh(self) -> None:
        """Reads what others wrote up to now."""
        with self._guard:
            self._read()

    def _read(self) -> None:
        """Reads what is new, and what may have changed."""
        last = self._trials[-1]._trial_id if self._trials else -1
        found = self._repeat(
            lambda connection: rows.read_trials(
                connection, self._study_id, after=last, also=self._foreign
            )
        )
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

    def _repeat(self, work: "Callable[[Connection], Result]") -> Result:
        """Does in one transaction what is safe to repeat."""
        if self._together:
            return work(self._together.connection)

        def attempt() -> Result:
            with self._database.engine.begin() as connection:
                return work(connection)

        return self._database.repeat(attempt)

    def _change(self, work: "Callable[[Connection], Result]") -> Result:
        """Does in one transaction what must not be done twice."""
        if self._together:
            return work(self._together.connection)
        self._make_receipt()
        self._signed += 1
        results: list[Result] = []

        def attempt(connection: "Connection") -> None:
            if rows.sign(connection, self._study_id, self._receipt, self._signed):
                results.append(work(connection))

        self._repeat(attempt)
        if not results:
            raise StorageFault(
                "the storage lost what it had acknowledged (after a crash with synchronous_commit "
                "off, or put back from a copy?): run the same command again"
            )
        return results[-1]

    def _make_receipt(self) -> None:
        """Not before something is to be signed: who only reads leaves no trace."""
        if not self._receipt:

            def make(connection: "Connection") -> str:
                name = uuid.uuid4().hex  # another at each attempt: so none is in the way
                rows.make_receipt(connection, self._study_id, name)
                return name

            self._receipt = self._repeat(make)


def with_ledger(study: "optuna.Study") -> "optuna.Study":
    """The same study, kept in a ledger of its own."""
    import optuna

    ledger = Ledger(database_of(study), study.study_name)
    return optuna.load_study(study_name=study.study_name, storage=ledger)


def queue_alone(study: "optuna.Study") -> AbstractContextManager[None]:
    """A context in which this thread asks a study that is kept in a ledger for what waits alone;
    where nothing does, that raises NothingWaits."""
    assert isinstance(study._storage, Ledger)
    return study._storage.queue_alone()


def database_of(study: "optuna.Study") -> Database:
    """The database of a study, without what stands between them to be faster."""
    storage = study._storage
    return storage._backend if isinstance(storage, _CachedStorage) else storage  # type: ignore


def stopped(study: "optuna.Study") -> set[int]:
    """Running trials of others that nobody works on (see `Ledger.stopped`)."""
    assert isinstance(study._storage, Ledger)
    return study._storage.stopped()


def at_once(study: "optuna.Study", work: Callable[[], Result]) -> Result:
    """Does work on a study that is kept in a ledger in one transaction (see `Ledger.at_once`)."""
    assert isinstance(study._storage, Ledger)
    return study._storage.at_once(work)


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
