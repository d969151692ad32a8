"""Studies that something else has written to: shown as far as they are right, or one line."""

import dataclasses
import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.errors import NasSearchError
from results.record import Confirmation, Epoch
from results.stored import StoredConfirmation, StoredTrained
from search.dashboard import Server
from search.data import DataSource
from tests.fuzzing import Raw, answer_of_command, fuzzed, mutated_json, odd_values
from tests.stored import DIGITS, store_studies

COMMANDS = (
    ("best",),
    ("best", "--json"),
    ("trials",),
    ("trials", "--format", "csv"),
    ("trials", "--format", "json"),
    ("report", "page"),
    ("export", "model"),
    ("export", "model", "--trial", "2"),
    ("dashboard", "--port", "0"),
    ("drilldown", "--dry-run"),
    ("front", "--dry-run"),
)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two studies; read them only."""
    out = tmp_path_factory.mktemp("stored") / "runs"
    store_studies(out)
    return out


@pytest.fixture(scope="module")
def changed(out: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The same, to be changed. What takes long behind the reading is left out."""
    copy = shutil.copytree(out, tmp_path_factory.mktemp("changed") / "runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(copy.parent)
        patch.setattr(Server, "serve_forever", lambda server: None)
        patch.setattr("search.estimate.seconds_per_training", lambda *_: 1.0)
        patch.setattr("search.export.accuracy", _stop)
        patch.setattr(DataSource, "load", lambda _: DIGITS)
        for module in ("still", "network"):
            patch.setattr(f"results.charts.{module}.picture", lambda *_: b"<svg></svg>")
        yield copy


class HasRead(NasSearchError):  # noqa: N818
    """A command has read all that it reads of a study."""


def _stop(*_: object) -> None:
    raise HasRead("read")


@pytest.mark.parametrize("study", ["search", "replay"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_what_was_stored_is_shown(changed: Path, command: tuple[str, ...], study: str) -> None:
    said = answer_of_command("storage", [*command, "--study", study])
    assert said.code == 0 or command[0] == "export" or study == "replay", said
    assert "not up to date" not in said.err


@st.composite
def changes(draw: st.DrawFn, file: Path) -> list[tuple[str, tuple[Any, ...]]]:
    """Statements of SQL that change some values of a database, whatever they are."""
    with sqlite3.connect(file) as database:
        return [draw(_change(database)) for _ in range(draw(st.integers(1, 3)))]


TABLES = {
    "study_user_attributes": ("value_json", "key"),
    "trial_user_attributes": ("value_json", "value_json", "value_json", "key"),
    "trial_params": ("param_value", "param_name", "distribution_json"),
    "trial_values": ("value", "value_type"),
    "trial_intermediate_values": ("step", "intermediate_value", "intermediate_value_type"),
    "trials": ("number", "state", "datetime_start", "datetime_complete"),
    "studies": ("study_name",),
}


@st.composite
def _change(draw: st.DrawFn, database: sqlite3.Connection) -> tuple[str, tuple[Any, ...]]:
    table = draw(st.sampled_from([*TABLES, "trial_user_attributes", "study_user_attributes"]))
    column = draw(st.sampled_from(TABLES[table]))
    rows = database.execute(f"SELECT rowid, {column} FROM {table} ORDER BY rowid").fetchall()
    row, value = draw(st.sampled_from(rows))
    if draw(st.integers(0, 9)) == 0:
        return f"DELETE FROM {table} WHERE rowid = ?", (row,)
    if column.endswith("json") and draw(st.integers(0, 9)):
        new: Any = draw(_json(json.loads(value)))
    else:
        new = draw(odd_values().filter(lambda each: isinstance(each, str | int | float | None)))
        if isinstance(new, int) and abs(new) >= 2**63:
            new = float(new)
    if isinstance(new, str):
        new = new.encode(errors="replace").decode()
    return f"UPDATE OR IGNORE {table} SET {column} = ? WHERE rowid = ?", (new, row)


@st.composite
def _json(draw: st.DrawFn, value: Any) -> str:
    """The JSON changed; where it is a text that holds JSON, in that."""
    if isinstance(value, str) and value.startswith("{"):
        return json.dumps(draw(_json(json.loads(value))))
    if not isinstance(value, dict | list):
        value = draw(odd_values())
        return value if isinstance(value, Raw) else json.dumps(value)
    return draw(mutated_json(value)).decode(errors="replace")


@fuzzed(60)
@given(data=st.data())
def test_contents(out: Path, changed: Path, data: st.DataObject) -> None:
    file = changed / "nas-search.db"
    statements = data.draw(changes(out / "nas-search.db"))
    shutil.copy(out / "nas-search.db", file)
    with sqlite3.connect(file) as database:
        for statement in statements:
            database.execute(*statement)
    database.close()
    command = data.draw(st.sampled_from(COMMANDS))
    study = data.draw(st.sampled_from([["--study", "search"], ["--study", "replay"], []]))
    answer_of_command("storage", [*command, *study])


def test_what_is_checked_is_what_is_kept() -> None:
    """A field that a record gets is checked too: what has one more would be refused."""
    assert set(StoredConfirmation.model_fields) == {
        field.name for field in dataclasses.fields(Confirmation)
    }
    epoch = StoredTrained.model_fields["history"].annotation.__args__[0]
    assert set(epoch.model_fields) == {field.name for field in dataclasses.fields(Epoch)}
