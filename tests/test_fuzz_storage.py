"""Studies that something else has written to: shown as far as they are right, or one line."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from results.checkpoint import checkpoint_path, save_checkpoint
from results.errors import NasSearchError
from results.record import (
    TIMING_KEY,
    Confirmation,
    Epoch,
    Given,
    drawn_attributes,
    trained_attributes,
)
from results.settings import StudySettings
from results.storage import default_url, open_storage
from search.dashboard import Server
from search.data import DataSource, Digits, Examples
from search.plan import Plan
from search.study import make_or_resume, queue
from space import (
    BASELINES,
    PUBLISHED,
    Configuration,
    SearchSpace,
    configuration,
    footprint,
)
from space.network import build_network
from tests.fuzzing import Raw, answer_of_command, fuzzed, mutated_json, odd_values
from tests.plans import make_plan

SPACE = SearchSpace.for_budget(10_000)
SEARCH = StudySettings(dataset="mnist-sample", space=SPACE, epochs=2, sustain=2, target=90.0)
REPLAY = SEARCH.model_copy(update={"trials": "given", "protocol": "published"})


ENDS = (*(TrialState.COMPLETE,) * 3, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a search and a replay leave behind, as the product stores it, without training."""
    out = tmp_path_factory.mktemp("stored") / "runs"
    storage = open_storage(default_url(out), create=True)
    search = _study(storage, "search", SEARCH)
    for parameters in list(BASELINES.values())[1:]:
        search.enqueue_trial(parameters)
    for end in ENDS:
        trial = search.ask()
        made = configuration(SPACE.draw(trial))
        path = checkpoint_path(search.user_attrs["folder"], trial.number)
        more = {"checkpoint": str(path), "training_seconds": 1.4}
        if end == TrialState.PRUNED:
            more["reason"] = "pruned after epoch 2"
        if end == TrialState.FAIL:
            more["error"] = "RuntimeError: no"
        attributes = _train(search, trial, made, SEARCH, **more)
        save_checkpoint(out / path, build_network(made.architecture), made, attributes)
        if end != TrialState.RUNNING:
            value = attributes["sustained"] if end == TrialState.COMPLETE else None
            search.tell(trial, value, state=end)
    for seed in (0, 1):
        stored = Confirmation(
            **{"trial": 0, "seed": seed, "accuracies": [91.0, 92.0], "sustained": 91.0},
            **{"train_accuracy": 95.0, "seconds": 2.0, "weights": str(path), "device": "CPU"},
            **{"precision": "float32", "versions": {"torch": "2"}, "predictions": "7" * 1_000},
        )
        search.set_user_attr(Confirmation.key(0, seed), vars(stored))
    spent = {"seconds": {"training": 3.0}, "wall_seconds": 9.0}
    search.set_user_attr(f"{TIMING_KEY}:2026-01-01T00:00:00+00:00", spent)

    replay = _study(storage, "replay", REPLAY)
    published = [PUBLISHED["1.2"], PUBLISHED["1.3"]]
    wanted = [Given(each.id, seed, each.configuration) for each in published for seed in (0, 1)]
    queue(replay, wanted)
    for each in wanted[:-1]:
        trial = replay.ask()
        path = checkpoint_path(replay.user_attrs["folder"], trial.number)
        more = {"checkpoint": str(path), "name": each.name}
        attributes = _train(replay, trial, each.configuration, REPLAY, **more)
        replay.tell(trial, attributes["sustained"])
    storage.engine.dispose()
    return out


def _study(storage: optuna.storages.RDBStorage, name: str, settings: StudySettings) -> optuna.Study:
    return make_or_resume(storage, make_plan(Plan, settings=settings, study=name), baselines=False)


def _train(
    study: optuna.Study,
    trial: optuna.Trial,
    made: Configuration,
    settings: StudySettings,
    **more: Any,
) -> dict[str, Any]:
    """Stores what a training of two epochs would have."""
    first = 90.0 + trial.number
    history = [Epoch(each, 0.1, 95.0, 0.1, first + each, 0.7, 0.2) for each in (1, 2)]
    attributes = {
        **drawn_attributes(made, footprint(made.architecture)),
        **{"seed": 0, "device": "CPU", "precision": "float32", "versions": {"torch": "2"}},
        **trained_attributes(history, settings, images_per_epoch=3_000),
        **more,
    }
    for name, value in attributes.items():
        trial.set_user_attr(name, value)
    for each in history:
        trial.report(each.accuracy, each.epoch)
    return attributes


EXAMPLES = Examples(
    torch.zeros(1_000, 28, 28, dtype=torch.uint8), torch.arange(1_000) % 10, torch.arange(1_000)
)
DIGITS = Digits(EXAMPLES, EXAMPLES, EXAMPLES, EXAMPLES)
"""In the place of the sample, which takes seconds to read."""

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
)


@pytest.fixture(scope="module")
def changed(out: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The same, to be changed. What takes long behind the reading is left out."""
    copy = shutil.copytree(out, tmp_path_factory.mktemp("changed") / "runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(copy.parent)
        patch.setattr(Server, "serve_forever", lambda server: None)
        patch.setattr("search.drilldown.seconds_per_training", lambda *_: 1.0)
        patch.setattr("search.export.accuracy", _stop)
        patch.setattr(DataSource, "load", lambda _: DIGITS)
        for module in ("still", "network"):
            patch.setattr(f"results.charts.{module}.picture", lambda *_: b"<svg></svg>")
        yield copy


class HasRead(NasSearchError):
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


@fuzzed(100)
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
