"""What is to be done once is done once, by whomever, and done at all if somebody dies over it."""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from results import pulse
from results.errors import NasSearchError
from results.ledger import Ledger
from results.record import confirmations
from results.storage import default_url, load_study, open_storage
from search import claims as module
from search import confirm
from search.claims import Claims
from search.mark import this_process
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
    host, _, started = this_process().rsplit("/", 2)
    study.set_user_attr("a", {"process": f"{host}/{2**22 + 1}/{started}", "beats": 7})
    assert Claims(study).take(("a",), ("done a",)) == "a"


def test_a_claim_of_another_machine_is_free_when_its_heart_has_stopped(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("HEARTBEAT_SECONDS", 0.05), ("GRACE_SECONDS", 0.4)):
        monkeypatch.setattr(pulse, name, seconds)
    study, claims = a_study(url), Claims(a_study(url))
    began = time.monotonic()
    for beats in range(20):  # a heart that beats for a second, which is longer than the grace
        study.set_user_attr("a", {"process": ELSEWHERE, "beats": beats})
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
        while study.user_attrs["a"]["beats"] < 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert study.user_attrs["a"] is None


def test_who_was_taken_for_dead_leaves_the_claim_of_its_successor(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.05)
    study, successor = a_study(url), {"process": ELSEWHERE, "beats": 3}
    claims = Claims(study)
    assert claims.take(("a",), ("done a",)) == "a"
    with claims.held("a"):
        study.set_user_attr("a", successor)
        time.sleep(0.3)  # some beats
    assert study.user_attrs["a"] == successor


def test_only_claims_of_the_dead_are_given_back(url: str) -> None:
    study = a_study(url)
    host, _, started = this_process().rsplit("/", 2)
    of_the_dead = {"process": f"{host}/{2**22 + 1}/{started}", "beats": 7}
    others = {"process": ELSEWHERE, "beats": 7}
    for key, claim in (("confirming:1:0", of_the_dead), ("confirming:1:1", others), ("a", 1)):
        study.set_user_attr(key, claim)
    module.release_dead(study)
    assert study.user_attrs == {"confirming:1:0": None, "confirming:1:1": others, "a": 1}


@pytest.mark.parametrize("claim", [5, "x", {"a": 1}, ["x", 1], {"process": "x", "beats": 1}])
def test_what_no_claim_looks_like_is_said_in_one_line(tmp_path: Path, claim: Any) -> None:
    url = default_url(tmp_path)
    optuna.create_study(study_name="one", storage=open_storage(url, create=True))
    study = a_study(url)
    study.set_user_attr("a", claim)
    with pytest.raises(NasSearchError, match="a is not as nas-search stores it"):
        Claims(study).take(("a",), ("done a",))


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
            file.write(f"{os.getpgid(0)} {trial} {seed}\n")
        time.sleep(1)
        one(context, trial, seed)

    def prepare() -> None:
        setattr(confirm, "confirm", slowly)  # noqa: B010

    def lines() -> list[tuple[int, str]]:
        said = begun.read_text().splitlines() if begun.exists() else []
        return [(int(group), what) for group, _, what in (each.partition(" ") for each in said)]

    commands = [start(CONFIRMED, prepare) for _ in range(3)]
    by_group = {each.process.pid: each for each in commands}
    deadline = time.monotonic() + 60
    while not lines():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    group, cut_off = lines()[0]
    by_group[group].kill()
    for each in commands:
        if each is by_group[group]:
            continue
        each.process.join(60)
        assert each.process.exitcode == 0
    runs = confirmations(
        load_study(open_storage(default_url(tmp_path / "runs"), create=False), None)
    )
    assert [[run.seed for run in each] for each in runs.values()] == [[0, 1, 2]] * 2
    by_the_killed = {what for group_, what in lines() if group_ == group}
    times = Counter(what for _, what in lines())
    assert times[cut_off] == 2
    assert {what: 2 if what in by_the_killed else 1 for what in times} == times
