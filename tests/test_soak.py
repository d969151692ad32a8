"""A search that is killed at random moments loses nothing, and a loss would be seen."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy

from benchmarks.soak import STUDY, Search, Watcher, faults_of
from results.ledger import database_of
from results.storage import default_url, load_study, open_storage
from tests.conftest import environment

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "soak.py"
KILLS = 50


@pytest.fixture(scope="module")
def soaked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a search that was killed 50 times and then ended."""
    folder = tmp_path_factory.mktemp("soaked")
    done = subprocess.run(
        [sys.executable, SCRIPT, "--simulate", "--kills", str(KILLS), "--folder", folder],
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"| Killed | {KILLS} times" in done.stdout
    assert "No fault." in done.stdout
    return folder


def test_fifty_kills_at_random_moments_lose_nothing(soaked: Path) -> None:
    study = load_study(open_storage(default_url(soaked), create=False), STUDY)
    assert any("retry_of" in trial.user_attrs for trial in study.trials)
    assert "Traceback" not in (soaked / "said.txt").read_text()


def _lose_checkpoints(folder: Path, _: sqlalchemy.Connection) -> None:
    for each in folder.rglob("checkpoints/*.safetensors"):
        each.unlink()


def _change(statement: str) -> Callable[[Path, sqlalchemy.Connection], None]:
    return lambda _, connection: connection.execute(sqlalchemy.text(statement)) and None


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (_lose_checkpoints, "is missing"),
        (_change("UPDATE trial_values SET value = 1"), "was told, and is another now"),
        (_change("UPDATE trials SET state = 'RUNNING' WHERE number = 0"), "is still running"),
        (_change("DELETE FROM trials WHERE number = 1"), "have gaps"),
        (_change("DELETE FROM trial_user_attributes WHERE key = 'retry_of'"), "not queued again"),
        (_change("DELETE FROM trial_user_attributes WHERE key = 'turn'"), "out of its turn"),
        (_change("DELETE FROM trial_intermediate_values"), "reports of other epochs"),
    ],
)
def test_a_loss_would_be_seen(
    soaked: Path,
    tmp_path: Path,
    harm: Callable[[Path, sqlalchemy.Connection], None],
    said: str,
) -> None:
    folder = shutil.copytree(soaked, tmp_path / "copy")
    search = Search(folder, default_url(folder), 2, 2, 0, True)
    watcher = Watcher(search.storage)
    goal = sum(each.was_trained for each in watcher.look())
    assert faults_of(search, watcher, goal) == []
    study = load_study(open_storage(search.storage, create=False), STUDY)
    with database_of(study).engine.begin() as connection:
        harm(folder, connection)
    assert any(said in fault for fault in faults_of(search, watcher, goal))
