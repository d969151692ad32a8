"""Trials as rows of Optuna's tables, read and written many at a time.

Optuna has no call that stores several parameters, attributes or reported values at once: each is a
transaction of its own, some 130 for a trial of this search. So this file, and no other, knows the
tables (`optuna.storages._rdb.models`, schema version 12, which Optuna compares with that of the
database whenever it opens one). A test reads with Optuna what was written here, and the other way
round.
"""

import datetime
import json
import operator
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import delete, func, insert, select, update

from results.errors import NasSearchError, refuses_foreign_rows

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Table

SCHEMA_VERSION = 12

ROWS_OF = 500
"""Trials whose rows are read at once."""

_STUDIES: "Table" = models.StudyModel.__table__
STUDY_USER_ATTRIBUTES: "Table" = models.StudyUserAttributeModel.__table__
STUDY_SYSTEM_ATTRIBUTES: "Table" = models.StudySystemAttributeModel.__table__
_TRIALS: "Table" = models.TrialModel.__table__
_PARAMS: "Table" = models.TrialParamModel.__table__
_VALUES: "Table" = models.TrialValueModel.__table__
USER_ATTRIBUTES: "Table" = models.TrialUserAttributeModel.__table__
SYSTEM_ATTRIBUTES: "Table" = models.TrialSystemAttributeModel.__table__
_REPORTS: "Table" = models.TrialIntermediateValueModel.__table__
_HEARTBEATS: "Table" = models.TrialHeartbeatModel.__table__


def refuse_another_schema() -> None:
    """Raises NasSearchError if the installed Optuna has other tables."""
    if models.SCHEMA_VERSION != SCHEMA_VERSION:
        raise NasSearchError(
            f"this nas-search does not know the tables of the installed Optuna (schema "
            f"{models.SCHEMA_VERSION}, not {SCHEMA_VERSION}): pip install 'optuna==5.0.*'"
        )


_json_to_distribution = lru_cache(maxsize=1_000)(json_to_distribution)


Key = tuple["Table", int, object]
"""What tells a row from others: its table, its trial, and its name or number there."""


class Rows:
    """Rows that wait to be inserted. Of two with the same key the later one counts."""

    def __init__(self) -> None:
        self._rows: dict[Key, dict[str, Any]] = {}

    def keys(self) -> set[Key]:
        return set(self._rows)

    def update(self, others: "Rows") -> None:
        self._rows.update(others._rows)

    def _add(self, table: "Table", key: object, /, **row: Any) -> None:
        self._rows[table, row["trial_id"], key] = row

    def add_param(
        self, trial_id: int, name: str, internal_value: float, distribution: BaseDistribution
    ) -> None:
        self._add(
            _PARAMS,
            name,
            trial_id=trial_id,
            param_name=name,
            param_value=internal_value,
            distribution_json=distribution_to_json(distribution),
        )

    def add_attribute(self, table: "Table", trial_id: int, key: str, value: Any) -> None:
        """`table`: that of the user's or of the system's attributes."""
        self._add(table, key, trial_id=trial_id, key=key, value_json=json.dumps(value))

    def add_report(self, trial_id: int, step: int, value: float) -> None:
        stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
        self._add(
            _REPORTS,
            step,
            trial_id=trial_id,
            step=step,
            intermediate_value=stored,
            intermediate_value_type=kind,
        )

    def add_value(self, trial_id: int, objective: int, value: float) -> None:
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        self._add(
            _VALUES,
            objective,
            trial_id=trial_id,
            objective=objective,
            value=stored,
            value_type=kind,
        )

    def add_heartbeat(self, trial_id: int) -> None:
        self._add(_HEARTBEATS, None, trial_id=trial_id)

    def add_contents(self, trial_id: int, trial: FrozenTrial) -> None:
        """All that a trial holds besides its state and times."""
        for name, value in trial.params.items():
            distribution = trial.distributions[name]
            self.add_param(trial_id, name, distribution.to_internal_repr(value), distribution)
        for key, value in trial.user_attrs.items():
            self.add_attribute(USER_ATTRIBUTES, trial_id, key, value)
        for key, value in trial.system_attrs.items():
            self.add_attribute(SYSTEM_ATTRIBUTES, trial_id, key, value)
        for step, value in trial.intermediate_values.items():
            self.add_report(trial_id, step, value)
        for objective, value in enumerate(trial.values or ()):
            self.add_value(trial_id, objective, value)

    def insert(self, connection: "Connection") -> None:
        tables: dict[Table, list[dict[str, Any]]] = {}
        for (table, _, _), row in self._rows.items():
            tables.setdefault(table, []).append(row)
        for table, several in tables.items():
            connection.execute(insert(table), several)


def insert_trial(connection: "Connection", study_id: int, trial: FrozenTrial) -> tuple[int, int]:
    """Makes a trial with the state and times of this one; returns its id and number."""
    lock_study(connection, study_id)  # numbers are counted, so of two at once one has to wait
    row = {
        "study_id": study_id,
        "state": trial.state,
        "datetime_start": _to_utc(trial.datetime_start),
        "datetime_complete": _to_utc(trial.datetime_complete),
    }
    key = connection.execute(insert(_TRIALS).values(row)).inserted_primary_key
    assert key is not None
    trial_id = int(key[0])
    number = connection.execute(
        select(func.count())
        .select_from(_TRIALS)
        .where(_TRIALS.c.study_id == study_id, _TRIALS.c.trial_id < trial_id)
    ).scalar_one()
    connection.execute(update(_TRIALS).where(_TRIALS.c.trial_id == trial_id).values(number=number))
    return trial_id, number


def lock_study(connection: "Connection", study_id: int) -> None:
    """Until the transaction ends. Writing to the study's row locks it on every database; Optuna
    itself locks the same row (SQLite has one writer at most)."""
    of_study = _STUDIES.c.study_id == study_id
    connection.execute(update(_STUDIES).where(of_study).values(study_name=_STUDIES.c.study_name))


@refuses_foreign_rows
def study_attributes(connection: "Connection", table: "Table", study_id: int) -> dict[str, Any]:
    """`table`: that of the user's or of the system's attributes."""
    return _from_json(connection.execute(select(table).where(table.c.study_id == study_id)))


def set_study_attributes(
    connection: "Connection", table: "Table", study_id: int, attributes: Mapping[str, Any]
) -> None:
    """Writes attributes of a locked study, in the place of those with the same keys.

    `table`: that of the user's or of the system's attributes.
    """
    if not attributes:
        return
    connection.execute(
        delete(table).where(table.c.study_id == study_id, table.c.key.in_(list(attributes)))
    )
    connection.execute(
        insert(table),
        [
            {"study_id": study_id, "key": key, "value_json": json.dumps(value)}
            for key, value in attributes.items()
        ],
    )


def make_receipt(connection: "Connection", study_id: int, name: str) -> None:
    """Makes the place where one process signs its transactions."""
    place = {"study_id": study_id, "key": f"receipt:{name}", "value_json": "0"}
    connection.execute(insert(STUDY_SYSTEM_ATTRIBUTES).values(place))


def sign(connection: "Connection", study_id: int, name: str, number: int) -> bool:
    """Signs a transaction with its number; False if one with this number was committed already.

    While an earlier attempt at the same transaction is being committed, on a connection that was
    lost, this waits for it: both write to the same row.
    """
    table = STUDY_SYSTEM_ATTRIBUTES
    signed = connection.execute(
        update(table)
        .where(
            table.c.study_id == study_id,
            table.c.key == f"receipt:{name}",
            table.c.value_json != str(number),
        )
        .values(value_json=str(number))
    )
    return signed.rowcount == 1


def move_trial(
    connection: "Connection",
    trial_id: int,
    *,
    before: Iterable[TrialState],
    after: TrialState,
    time: datetime.datetime,
) -> bool:
    """Changes the state of a trial if it is one of `before`; of any number of callers one wins."""
    column = "datetime_complete" if after.is_finished() else "datetime_start"
    moved = connection.execute(
        update(_TRIALS)
        .where(_TRIALS.c.trial_id == trial_id, _TRIALS.c.state.in_(list(before)))
        .values({"state": after, column: _to_utc(time)})
    )
    return moved.rowcount == 1


def still_running(connection: "Connection", trial_ids: Iterable[int]) -> set[int]:
    """Those of the trials that nobody has ended."""
    wanted = _TRIALS.c.trial_id.in_(list(trial_ids)) & (_TRIALS.c.state == TrialState.RUNNING)
    return set(connection.execute(select(_TRIALS.c.trial_id).where(wanted)).scalars())


def beat(connection: "Connection", trial_ids: Iterable[int]) -> None:
    """Renews the heartbeats of trials."""
    connection.execute(
        update(_HEARTBEATS)
        .where(_HEARTBEATS.c.trial_id.in_(list(trial_ids)))
        .values(heartbeat=func.current_timestamp())
    )


def read_beats(connection: "Connection", study_id: int) -> dict[int, datetime.datetime]:
    """The last heartbeat of each running trial, by its id."""
    rows = connection.execute(
        select(_HEARTBEATS.c.trial_id, _HEARTBEATS.c.heartbeat)
        .join(_TRIALS, _TRIALS.c.trial_id == _HEARTBEATS.c.trial_id)
        .where(_TRIALS.c.study_id == study_id, _TRIALS.c.state == TrialState.RUNNING)
    )
    return {row.trial_id: row.heartbeat for row in rows}


@refuses_foreign_rows
def read_trials(
    connection: "Connection", study_id: int, *, after: int, also: Iterable[int]
) -> list[FrozenTrial]:
    """The trials of a study with an id above `after`, or one of `also`, in the order of creation.

    A trial that is read as finished is read whole. Only `ROWS_OF` at a time are in memory as rows,
    which take more than what is made of them.
    """
    wanted = (_TRIALS.c.study_id == study_id) & (
        (_TRIALS.c.trial_id > after) | _TRIALS.c.trial_id.in_(list(also))
    )
    trials = connection.execute(select(_TRIALS).where(wanted).order_by(_TRIALS.c.trial_id)).all()
    return [
        each
        for first in range(0, len(trials), ROWS_OF)
        for each in _read_contents(connection, wanted, trials[first : first + ROWS_OF])
    ]


def _read_contents(
    connection: "Connection", wanted: "ColumnElement[bool]", trials: Sequence[Any]
) -> list[FrozenTrial]:
    """What is to be known of some of the wanted trials, which follow each other."""
    wanted &= _TRIALS.c.trial_id.between(trials[0].trial_id, trials[-1].trial_id)
    params = _by_trial(connection, _PARAMS, wanted)
    values = _by_trial(connection, _VALUES, wanted)
    user_attributes = _by_trial(connection, USER_ATTRIBUTES, wanted)
    system_attributes = _by_trial(connection, SYSTEM_ATTRIBUTES, wanted)
    reports = _by_trial(connection, _REPORTS, wanted)
    return [
        FrozenTrial(
            number=operator.index(trial.number),  # SQLite lets any column hold a text
            state=trial.state,
            value=None,
            values=[
                models.TrialValueModel.stored_repr_to_value(row.value, row.value_type)
                for row in sorted(values.get(trial.trial_id, ()), key=lambda row: row.objective)
            ]
            or None,
            datetime_start=_from_utc(trial.datetime_start),
            datetime_complete=_from_utc(trial.datetime_complete),
            params={
                row.param_name: _json_to_distribution(row.distribution_json).to_external_repr(
                    row.param_value
                )
                for row in params.get(trial.trial_id, ())
            },
            distributions={
                row.param_name: _json_to_distribution(row.distribution_json)
                for row in params.get(trial.trial_id, ())
            },
            user_attrs=_from_json(user_attributes.get(trial.trial_id, ())),
            system_attrs=_from_json(system_attributes.get(trial.trial_id, ())),
            intermediate_values={
                row.step: models.TrialIntermediateValueModel.stored_repr_to_intermediate_value(
                    row.intermediate_value, row.intermediate_value_type
                )
                for row in reports.get(trial.trial_id, ())
            },
            trial_id=trial.trial_id,
        )
        for trial in trials
    ]


def _by_trial(
    connection: "Connection", table: "Table", wanted: "ColumnElement[bool]"
) -> Mapping[int, list[Any]]:
    """The rows of the wanted trials, in the order they were written."""
    chosen = table.c.trial_id.in_(select(_TRIALS.c.trial_id).where(wanted))
    found: dict[int, list[Any]] = {}
    for row in connection.execute(select(table).where(chosen).order_by(*table.primary_key)):
        found.setdefault(row.trial_id, []).append(row)
    return found


def _from_json(rows: Iterable[Any]) -> dict[str, Any]:
    return {row.key: json.loads(row.value_json) for row in rows}


def _to_utc(time: datetime.datetime | None) -> datetime.datetime | None:
    return time and time.astimezone(datetime.UTC).replace(tzinfo=None)


def _from_utc(time: datetime.datetime | None) -> datetime.datetime | None:
    return time and time.replace(tzinfo=datetime.UTC).astimezone().replace(tzinfo=None)
