"""A server that goes away: nothing told is lost or doubled, and what can't go on says why."""

import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import optuna
import pytest
import sqlalchemy

from results import patience as module
from results import rows
from results.database import Database, StorageFault
from results.errors import NasSearchError
from results.ledger import Ledger, at_once
from results.patience import Patience
from results.storage import default_url, open_storage
from results.storage_url import parse_url
from tests.postgres import PASSWORD, Server
from tests.test_ledger import MARKS, fill, told


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)


@pytest.fixture
def storage(postgres_url: str) -> Database:
    storage = open_storage(postgres_url, create=True, patience=Patience(60))
    optuna.create_study(study_name="one", storage=storage)
    return storage


@pytest.fixture
def mine(storage: Database) -> optuna.Study:
    return optuna.load_study(study_name="one", storage=Ledger(storage, "one", MARKS))


@pytest.fixture
def theirs(postgres_url: str) -> optuna.Study:
    return optuna.load_study(study_name="one", storage=open_storage(postgres_url, create=False))


@pytest.fixture(params=["in the midst", "before the commit", "after the commit"])
def cuts(
    request: pytest.FixtureRequest, postgres: Server, storage: Database
) -> Iterator[list[int]]:
    """Cuts the connection of every second transaction or so at its commit, or of every fifth
    statement at its beginning.

    Who commits can't tell what happened: in one case it is stored, in the other it is not.
    """
    cut: list[int] = []
    dice = random.Random(1)

    def at_statement(connection: sqlalchemy.Connection, *_: object) -> None:
        if dice.random() < 0.2:
            driver: Any = connection.connection.dbapi_connection
            cut.append(driver.info.backend_pid)
            postgres.execute(f"SELECT pg_terminate_backend({cut[-1]}, 10000)")

    def at_commit(connection: sqlalchemy.Connection) -> None:
        driver: Any = connection.connection.dbapi_connection
        if dice.random() < 0.5:
            if request.param == "after the commit":
                driver.commit()
            cut.append(driver.info.backend_pid)
            postgres.execute(f"SELECT pg_terminate_backend({cut[-1]}, 10000)")

    in_the_midst = request.param == "in the midst"
    where: tuple[str, Any] = (
        ("before_cursor_execute", at_statement) if in_the_midst else ("commit", at_commit)
    )
    sqlalchemy.event.listen(storage.engine, *where)
    yield cut
    sqlalchemy.event.remove(storage.engine, *where)


def test_every_write_is_done_once_though_its_answer_is_lost(
    mine: optuna.Study, theirs: optuna.Study, cuts: list[int]
) -> None:
    fill(mine)
    assert len(cuts) >= 5
    assert [trial.number for trial in theirs.trials] == list(range(6))
    assert told(mine) == told(theirs)
    states = [trial.state.name for trial in theirs.trials]
    assert states == ["COMPLETE", "PRUNED", "FAIL", "RUNNING", "RUNNING", "WAITING"]


def test_what_is_done_at_once_is_done_once(
    mine: optuna.Study, theirs: optuna.Study, cuts: list[int]
) -> None:
    running = mine.ask()

    def work() -> None:
        mine.enqueue_trial({"width": len(mine.trials)})
        mine.enqueue_trial({"width": 7})
        mine.set_user_attr("times", mine.user_attrs.get("times", 0) + 1)

    at_once(mine, work)
    mine.tell(running, 1.0)
    assert told(mine) == told(theirs)
    queued = [trial.system_attrs["fixed_params"] for trial in theirs.trials[1:]]
    assert queued == [{"width": 1}, {"width": 7}]
    assert theirs.user_attrs == {"times": 1}


def test_optunas_own_calls_wait_too(
    storage: Database, theirs: optuna.Study, cuts: list[int]
) -> None:
    study = optuna.create_study(study_name="one", storage=storage, load_if_exists=True)
    study.set_user_attr("told", 1)
    made = optuna.create_study(study_name="two", storage=storage, load_if_exists=True)
    assert (theirs.user_attrs, made.study_name, len(storage.get_all_studies())) == (
        {"told": 1},
        "two",
        2,
    )
    assert cuts


def test_an_attempt_that_is_still_being_committed_is_waited_for(storage: Database) -> None:
    """The network was cut, not the server: it may commit after the repetition has begun."""
    study_id = storage.get_study_id_from_name("one")
    with storage.engine.begin() as connection:
        rows.make_receipt(connection, study_id, "mine")
    found: list[bool] = []

    def repeat() -> None:
        with storage.engine.begin() as connection:
            found.append(rows.sign(connection, study_id, "mine", 1))

    other = threading.Thread(target=repeat)
    with storage.engine.begin() as connection:
        assert rows.sign(connection, study_id, "mine", 1)
        other.start()
        time.sleep(0.2)
        assert found == []
    other.join()
    assert found == [False]


@pytest.fixture
def stopped(postgres: Server) -> Iterator[Callable[[], None]]:
    """Stops the server; it is started again in any case."""
    yield postgres.stop
    if not postgres.is_running:
        postgres.start()


def test_who_waits_says_so_once_and_goes_on(
    postgres: Server,
    postgres_url: str,
    stopped: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SILENT_SECONDS", 0.1)
    noticed: list[bool] = []
    storage = open_storage(postgres_url, create=True, patience=Patience(60, noticed.append))
    study = optuna.create_study(study_name="one", storage=storage)
    ledger = optuna.load_study(study_name="one", storage=Ledger(storage, "one", MARKS))
    trials = [ledger.ask() for _ in range(3)]
    stopped()
    ending = [threading.Thread(target=ledger.tell, args=(trial, trial.number)) for trial in trials]
    ending.append(threading.Thread(target=study.set_user_attr, args=("told", 1)))
    for thread in ending:
        thread.start()
    while not noticed:
        time.sleep(0.05)
    assert noticed == [True]
    postgres.start()
    for thread in ending:
        thread.join(60)
    assert noticed == [True, False]
    again = optuna.load_study(study_name="one", storage=open_storage(postgres_url, create=False))
    assert [trial.value for trial in again.trials] == [0, 1, 2]
    assert again.user_attrs == {"told": 1}


def test_what_is_noticed_late_is_not_said_again() -> None:
    noticed: list[bool] = []
    ours = Patience(60, noticed.append)
    for is_away, at in ((True, 5.0), (False, 9.0), (True, 8.0), (False, 10.0), (True, 11.0)):
        ours.notice(is_away, at)
    assert noticed == [True, False, True]


def test_after_its_time_it_is_one_line_and_what_was_begun_can_still_be_told(
    postgres: Server, storage: Database, mine: optuna.Study, stopped: Callable[[], None]
) -> None:
    trial = mine.ask()
    stopped()
    storage.patience.end()
    for call in (lambda: mine.tell(trial, 1.0), lambda: mine.user_attrs):
        with pytest.raises(StorageFault) as caught:
            call()
        (line,) = str(caught.value).splitlines()
        assert "the same command again" in line
        assert PASSWORD not in line
    postgres.start()
    mine.tell(trial, 1.0)
    assert mine.best_value == 1.0


def test_a_worker_that_is_started_meanwhile_waits_and_a_person_does_not(
    postgres: Server, postgres_url: str, storage: Database, stopped: Callable[[], None]
) -> None:
    stopped()
    started = time.monotonic()
    with pytest.raises(StorageFault, match="the same command again"):
        open_storage(postgres_url, create=True, patience=Patience(60))
    assert time.monotonic() - started < 5
    later = threading.Timer(0.3, postgres.start)
    later.start()
    opened = open_storage(postgres_url, create=False, patience=Patience(60), waits=True)
    later.join()
    assert [each.study_name for each in opened.get_all_studies()] == ["one"]


def test_what_waiting_does_not_mend_is_not_waited_for(tmp_path: Any) -> None:
    url = default_url(tmp_path)
    storage = open_storage(url, create=True, patience=Patience(600))
    study = optuna.create_study(study_name="one", storage=storage)

    def limit(connection: Any, _: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # of what it has no less is possible

    sqlalchemy.event.listen(storage.engine, "connect", limit)
    storage.engine.dispose()
    started = time.monotonic()
    with pytest.raises(StorageFault, match="database or disk is full"):
        study.set_user_attr("large", "x" * 1_000_000)
    assert time.monotonic() - started < 5
    assert study.user_attrs == {}


def test_a_wrong_password_is_not_repeated_to_anyone(postgres: Server) -> None:
    url = postgres.url().replace(PASSWORD, "wrong%40secret")
    with pytest.raises(StorageFault) as caught:
        open_storage(url, create=True)
    assert "password authentication failed" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("what", "wrong"), [("nas:[^@]*", "nas:wrong"), ("/[^/]*$", "/nowhere")])
def test_a_server_that_refuses_the_login_is_not_waited_for(
    postgres_url: str, what: str, wrong: str
) -> None:
    url = re.sub(what, wrong, postgres_url)
    assert url != postgres_url
    began = time.monotonic()
    with pytest.raises(NasSearchError, match=r"authentication failed|does not exist"):
        open_storage(url, create=False, patience=Patience(300), waits=True)
    assert time.monotonic() - began < 30


def test_the_common_spelling_of_the_url_is_mended() -> None:
    with pytest.raises(NasSearchError, match="write postgresql:// there"):
        parse_url("postgres://me@host/name")
