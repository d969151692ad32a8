"""Many workers and several machines: the trials asked for, each once, whoever comes and goes."""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from results.errors import NasSearchError
from results.record import Given, TrialRecord, records
from results.storage import default_url, load_study, open_storage
from search.study import make_or_resume, queue
from space import BASELINES, baseline
from tests.crowd import Crowd

ROOT = Path(__file__).parents[1]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a database without tables, of each kind."""
    if request.param == "sqlite":
        return default_url(tmp_path / "runs")
    return str(request.getfixturevalue("postgres_url"))


def start(crowd: Crowd, *before: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*before, *crowd.command()],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def end(*several: "subprocess.Popen[str]") -> None:
    try:
        for process in several:
            _, said = process.communicate(timeout=120)
            assert (process.returncode, said) == (0, "")
    finally:
        for process in several:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def trials(url: str) -> list[TrialRecord]:
    return records(load_study(open_storage(url, create=False), None))


def check(found: list[TrialRecord], count: int) -> None:
    """Exactly so many are trained, each once; nothing failed, and nobody is at work any more."""
    assert [each.number for each in found] == list(range(len(found)))
    assert sum(each.was_trained for each in found) == count
    assert not {each.state for each in found} & {"running", "failed"}
    for each in found:
        if each.was_trained:
            history = each.attributes["history"]
            assert [epoch["epoch"] for epoch in history] == list(range(1, len(history) + 1))
    trained = Counter(
        (each.attributes["architecture_id"], each.attributes["recipe_id"])
        for each in found
        if each.was_trained and "duplicate_of" not in each.attributes
    )
    assert set(trained.values()) == {1}


def taken_for_dead(found: list[TrialRecord]) -> list[TrialRecord]:
    """Ended in the midst of their training; what is ended before was one too many."""
    return [each for each in found if each.state == "cut off" and "seed" in each.attributes]


def test_32_workers_share_a_file(tmp_path: Path) -> None:
    url = default_url(tmp_path / "runs")
    end(start(Crowd(url, str(tmp_path), "here", workers=32, trials=64)))
    found = trials(url)
    check(found, 64)
    assert not taken_for_dead(found)
    assert len({each.attributes["worker"] for each in found if each.was_trained}) > 16


def test_two_machines_share_a_server(postgres_url: str, tmp_path: Path) -> None:
    """Both start at the same moment, in a database without tables."""
    several = [
        Crowd(postgres_url, str(tmp_path), machine, workers=6, trials=36)
        for machine in ("here", "there")
    ]
    end(*[start(crowd) for crowd in several])
    found = trials(postgres_url)
    check(found, 36)
    assert not taken_for_dead(found)
    queued = [each for each in found if "known" in each.attributes]
    assert len({each.attributes["known"] for each in queued}) == len(BASELINES)  # one is too large
    assert len({str(each.parameters) for each in queued}) == len(queued)


def at_the_same_time(count: int, work: Callable[[int], None]) -> None:
    """Each call in a thread of its own, from one moment on."""
    failures: list[BaseException] = []
    together = threading.Barrier(count)

    def call(number: int) -> None:
        together.wait()
        try:
            work(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_searches_of_one_name_that_start_at_the_same_moment_make_one_study(
    url: str, tmp_path: Path
) -> None:
    plan = Crowd(url, str(tmp_path), "here", workers=1, trials=1).plan
    folders = []

    def make(_: int) -> None:
        study = make_or_resume(open_storage(url, create=True), plan, baselines=True)
        folders.append(study.user_attrs["folder"])

    at_the_same_time(5, make)
    assert len(folders) == 5
    assert len(set(folders)) == 1
    study = load_study(open_storage(url, create=False), None)
    queued = [str(each.system_attrs["fixed_params"]) for each in study.trials]
    assert len(queued) == len(set(queued)) > 3


def test_what_several_queue_at_the_same_moment_is_queued_once(url: str, tmp_path: Path) -> None:
    plan = Crowd(url, str(tmp_path), "here", workers=1, trials=1).plan
    studies = [
        make_or_resume(open_storage(url, create=True), plan, baselines=False) for _ in range(4)
    ]
    wanted = [Given("one", seed, baseline("1.3")) for seed in range(5)]
    at_the_same_time(4, lambda number: queue(studies[number], wanted))
    queued = [Given.of(each.user_attrs) for each in studies[0].get_trials()]
    assert sorted(each.seed for each in queued if each) == list(range(5))


def wait_for(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.1)


needs_faketime = pytest.mark.skipif(
    shutil.which("faketime") is None, reason="needs faketime (Debian: apt-get install faketime)"
)


@needs_faketime
@pytest.mark.parametrize(
    ("url", "offset"), [("sqlite", "+1h"), ("postgresql", "-1h")], indirect=["url"]
)
def test_a_clock_that_is_wrong_ends_no_living_trial_and_keeps_no_dead_one(
    url: str, tmp_path: Path, offset: str
) -> None:
    quick: dict[str, Any] = {"heartbeat_seconds": 1, "grace_seconds": 5.0}
    right = Crowd(url, str(tmp_path), "right", 2, trials=10, epoch_seconds=1.0, **quick)
    wrong = Crowd(url, str(tmp_path), "wrong", 1, trials=999, epoch_seconds=1.0, **quick)
    leaves = start(wrong, "faketime", "-f", offset)
    stays = start(right)

    def of(machine: str, *states: str) -> list[TrialRecord]:
        with suppress(NasSearchError):
            return [
                each
                for each in trials(url)
                if each.attributes.get("worker", "").startswith(machine) and each.state in states
            ]
        return []

    try:
        wait_for(lambda: bool(of("wrong", "complete")) and bool(of("right", "complete")))
        wait_for(lambda: any("seed" in each.attributes for each in of("wrong", "running")))
    finally:
        os.killpg(leaves.pid, signal.SIGKILL)
        leaves.communicate()
    end(stays)
    found = trials(url)
    assert sum(each.was_trained for each in found) == 10
    assert not any(each.state == "running" for each in found)
    (dead,) = taken_for_dead(found)
    assert dead.attributes["worker"].startswith("wrong")
    (again,) = [each for each in found if each.attributes.get("retry_of") == dead.number]
    assert again.parameters in (dead.parameters, {})  # {}: it waits still
