"""What is to be done once is done once, by whomever, and done at all if somebody dies over it."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from results import pulse
from results.ledger import Ledger
from results.record import confirmations
from results.storage import default_url, load_study, open_storage
from search import claims as module
from search import confirm
from search.claims import Claims
from search.study import this_worker
from tests.forked import QUIET_SEARCH, Start, commands

KEYS = ("a", "b", "c")
DONE = ("done a", "done b", "done c")
ELSEWHERE = "another-host/1/0.00"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a study in a database of each kind."""
    if request.param == "sqlite":
        url = default_url(tmp_path)
    else:
        url = request.getfixturevalue("postgres_url")
    optuna.create_study(study_name="one", storage=open_storage(url, create=True))
    return str(url)


def a_study(url: str) -> optuna.Study:
    """As another process has it."""
    ledger = Ledger(open_storage(url, create=False), "one")
    return optuna.load_study(study_name="one", storage=ledger)


def test_each_is_taken_once_and_free_when_given_back(url: str) -> None:
    first, second = (Claims(a_study(url)) for _ in range(2))
    assert [each.take(KEYS, DONE) for each in (first, second, first, second)] == [*KEYS, None]
    with first.held("a"):
        assert second.take(KEYS, DONE) is None
    assert second.take(KEYS, DONE) == "a"


def test_what_is_done_is_not_taken(url: str) -> None:
    study = a_study(url)
    claims = Claims(study)
    study.set_user_attr("done b", 1)
    assert claims.take(KEYS, DONE) == "a"
    assert claims.take(KEYS, DONE) == "c"
    assert claims.take(KEYS, DONE) is None


def test_of_many_at_one_moment_one_takes_it(url: str) -> None:
    together, taken = threading.Barrier(6), []
    several = [Claims(a_study(url)) for _ in range(6)]

    def take(claims: Claims) -> None:
        together.wait()
        while key := claims.take(KEYS, DONE):
            taken.append(key)

    threads = [threading.Thread(target=take, args=(each,)) for each in several]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(KEYS)


def test_a_claim_of_a_process_that_is_gone_is_free(url: str) -> None:
    study = a_study(url)
    host, _, started = this_worker().rsplit("/", 2)
    study.set_user_attr("a", [f"{host}/{2**22 + 1}/{started}", 7])
    assert Claims(study).take(("a",), ("done a",)) == "a"


def test_a_claim_of_another_machine_is_free_when_its_heart_has_stopped(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("HEARTBEAT_SECONDS", 0.05), ("GRACE_SECONDS", 0.4)):
        monkeypatch.setattr(pulse, name, seconds)
    study, claims = a_study(url), Claims(a_study(url))
    began = time.monotonic()
    for beats in range(20):  # a heart that beats for a second, which is longer than the grace
        study.set_user_attr("a", [ELSEWHERE, beats])
        assert claims.take(("a",), ("done a",)) is None
        time.sleep(0.05)
    stopped = time.monotonic()
    while claims.take(("a",), ("done a",)) is None:
        assert time.monotonic() - stopped < 10
        time.sleep(0.05)
    assert stopped - began > 0.4
    assert time.monotonic() - stopped > 0.35


def test_a_claim_that_is_held_beats(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.05)
    study = a_study(url)
    claims = Claims(study)
    assert claims.take(("a",), ("done a",)) == "a"
    with claims.held("a"):
        deadline = time.monotonic() + 10
        while study.user_attrs["a"][1] < 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert study.user_attrs["a"] is None


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with commands(tmp_path) as start_one:
        yield start_one


CONFIRMED = (*QUIET_SEARCH[:-1], "2", "--confirm-seeds", "3")


def test_two_commands_share_the_confirmations(start: Start, tmp_path: Path) -> None:
    """And what one had begun when it was killed is done by the other."""
    begun = tmp_path / "begun.txt"
    one = confirm.confirm

    def slowly(context: Any, trial: int, seed: int) -> None:
        with begun.open("a") as file:
            file.write(f"{trial} {seed}\n")
        time.sleep(1)
        one(context, trial, seed)

    def prepare() -> None:
        setattr(confirm, "confirm", slowly)  # noqa: B010

    def lines() -> list[str]:
        return begun.read_text().splitlines() if begun.exists() else []

    first, second, third = (start(CONFIRMED, prepare) for _ in range(3))
    deadline = time.monotonic() + 60
    while len(lines()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    third.kill()
    for each in (first, second):
        each.process.join(60)
        assert each.process.exitcode == 0
    runs = confirmations(
        load_study(open_storage(default_url(tmp_path / "runs"), create=False), None)
    )
    assert [[run.seed for run in each] for each in runs.values()] == [[0, 1, 2]] * 2
    assert set(Counter(lines()).values()) <= {1, 2}
    assert len(lines()) <= 6 + 2  # what the killed one had begun, again
