"""Files cut short, overwritten, on a full disk or where nothing may be written."""

import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy

from results.errors import NasSearchError
from results.ledger import Ledger, refresh
from results.settings import StudySettings
from results.storage import default_file, default_url, load_study, open_storage
from search.cli import run_command
from space import SearchSpace
from tests.conftest import SMALL_SEARCH
from tests.studies import stored


def begin(out: Path) -> optuna.Study:
    """A study whose write-ahead log is never written back, so that it holds everything."""
    storage = open_storage(default_url(out), create=True)

    def keep_log(connection: Any, _: object) -> None:
        connection.execute("PRAGMA wal_autocheckpoint = 0")

    sqlalchemy.event.listen(storage.engine, "connect", keep_log)
    storage.engine.dispose()
    study = optuna.create_study(study_name="one", storage=storage)
    settings = StudySettings(dataset="mnist-sample", space=SearchSpace.for_budget(2_000))
    study.set_user_attr("settings", settings.model_dump(mode="json"))
    return optuna.load_study(study_name="one", storage=Ledger(storage, "one"))


def tell(study: optuna.Study, value: float) -> None:
    trial = study.ask()
    for name in "abcdef":
        trial.suggest_float(name, 0, 1)
    for step in range(5):
        trial.report(value, step)
    for name, attribute in stored(value).items():
        trial.set_user_attr(name, attribute)
    study.tell(trial, value)


def known(study: optuna.Study) -> list[dict[str, Any]]:
    return [vars(trial) for trial in study.get_trials()]


def test_a_log_cut_short_loses_the_last_trials_alone(tmp_path: Path) -> None:
    """As a power cut leaves it: what was told before the cut is there and whole."""
    study = begin(tmp_path / "whole")
    log = default_file(tmp_path / "whole").with_name("nas-search.db-wal")
    made_at, told_at = log.stat().st_size, []
    for number in range(25):
        tell(study, number)
        told_at.append(log.stat().st_size)
    whole, parts = known(study), log.read_bytes()
    assert default_file(tmp_path / "whole").stat().st_size + len(parts) > told_at[-1]
    dice = random.Random(0)
    cuts = [0, *(dice.randrange(len(parts)) for _ in range(27)), told_at[3], len(parts)]
    for cut in cuts:
        out = tmp_path / str(cut)
        out.mkdir()
        shutil.copy(default_file(tmp_path / "whole"), out)
        (out / log.name).write_bytes(parts[:cut])
        if cut < made_at:
            with contextlib.suppress(NasSearchError):  # of a study that was not made yet
                load_study(open_storage(default_url(out), create=False), None)
            continue
        storage = open_storage(default_url(out), create=False)
        left = optuna.load_study(study_name="one", storage=Ledger(storage, "one"))
        found = known(left)
        told = sum(size <= cut for size in told_at)
        assert found[:told] == whole[:told]
        assert [trial["_number"] for trial in found] == list(range(len(found)))
        assert not any(trial.state.is_finished() for trial in left.trials[told:])
        tell(left, 1.0)
        assert left.trials[-1].number == len(found)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("damage", ["cut short", "overwritten"])
def test_a_damaged_file_is_named_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: int, damage: str
) -> None:
    study = begin(tmp_path)
    for number in range(5):
        tell(study, number)
    study._storage._backend.engine.dispose()  # type: ignore[attr-defined]
    path = default_file(tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    dice, whole = random.Random(seed), path.read_bytes()
    if damage == "cut short":
        path.write_bytes(whole[: dice.randrange(100, len(whole))])
    else:
        first = 0 if seed == 0 else dice.randrange(len(whole))
        length = min(20_000, len(whole) - first)
        path.write_bytes(whole[:first] + dice.randbytes(length) + whole[first + length :])
    code = run_command(["trials", "--study", "one", "--storage", default_url(tmp_path)])
    said = capsys.readouterr().err
    assert code in (0, 1)
    if code:
        assert said.startswith("error: ")
        assert said.count("\n") == 1
        assert "a fault of nas-search" not in said
        if seed == 0:
            assert "the file is damaged" in said


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, of 3 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mounting, capture_output=True).returncode:
        pytest.skip("may not mount a disk here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize(
    "change",
    [
        "trials SET number = ' '",
        "trials SET number = NULL",
        "trials SET number = 1.5",
        "trials SET state = 'DONE'",
        "trial_values SET value = NULL",
    ],
)
def test_a_row_that_another_program_changed_is_said_in_one_line(
    tmp_path: Path, change: str
) -> None:
    tell(begin(tmp_path), 1.0)
    with sqlite3.connect(default_file(tmp_path)) as database:
        database.execute(f"UPDATE {change}")
    storage = open_storage(default_url(tmp_path), create=False)
    with pytest.raises(NasSearchError, match="another program changed it") as refused:
        refresh(optuna.load_study(study_name="one", storage=Ledger(storage, "one")))
    assert len(str(refused.value).splitlines()) == 1


def test_a_full_disk_is_said_in_one_line_and_what_was_told_is_kept(small_disk: Path) -> None:
    study = begin(small_disk)
    told = 0
    with pytest.raises(NasSearchError, match="disk is full") as caught:
        while True:
            tell(study, told)
            told += 1
    assert len(str(caught.value).splitlines()) == 1
    assert told > 3

    def stored() -> list[float | None]:
        again = load_study(open_storage(default_url(small_disk), create=True), None)
        return [trial.value for trial in again.trials if trial.state.is_finished()]

    subprocess.run(["mount", "-o", "remount,size=30m", str(small_disk)], check=True)
    assert stored() == list(range(told))
    tell(study, told)
    assert stored() == list(range(told + 1))


@pytest.mark.parametrize("has_log", [False, True])
def test_what_may_not_be_written_can_be_read(
    small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], has_log: bool
) -> None:
    study = begin(tmp_path)
    tell(study, 98.0)
    if not has_log:
        study._storage._backend.engine.dispose()  # type: ignore[attr-defined]
        with contextlib.closing(sqlite3.connect(default_file(tmp_path))) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for path in tmp_path.glob("nas-search.db*"):
        shutil.copy(path, small_disk)
    assert (small_disk / "nas-search.db-wal").exists() == has_log
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert not os.access(small_disk, os.W_OK)
    url = default_url(small_disk)
    assert run_command(["trials", "--storage", url]) == 0, capsys.readouterr().err
    assert "98.00" in capsys.readouterr().out
    search = [*SMALL_SEARCH, "--storage", url, "--out", str(tmp_path)]
    assert run_command(search) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("error: storage sqlite")
    assert "check that it can be reached and written" in said[-1]
