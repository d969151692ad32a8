"""SIGTERM and SIGINT at any moment: soon over, nothing lost, one line, the code of the signal."""

import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks.simulation import SimulatedTraining
from results.record import records
from results.storage import default_url, load_study, open_storage
from search.interruption import PATIENCE_SECONDS, STOPPED
from search.train import EpochMetrics
from tests.conftest import CommandLine
from tests.forked import LONG, QUIET_SEARCH, Phase, Start, commands, put

WITH_MNIST = tuple("mnist" if each == "mnist-sample" else each for each in QUIET_SEARCH)
NO_PRECISION = tuple("auto" if each == "float32" else each for each in QUIET_SEARCH)
BEFORE_THE_STUDY = ("search.cli._plan", "search.mnist._fetch", "search.run.make_or_resume")
CONFIRMING = (*QUIET_SEARCH, "--finalists", "1", "--confirm-seeds", "1")
REPLAY = ("replay", "1.3", "--seeds", "2", "--dataset", "mnist-sample", "--precision", "float32")
DRILLDOWN = ("drilldown", "--from", "1.3", *REPLAY[4:])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with commands(tmp_path) as start_one:
        yield start_one


@pytest.mark.parametrize(
    ("name", "arguments", "lasting"),
    [
        ("SIGTERM", QUIET_SEARCH, "search.cli._plan"),
        ("SIGTERM", WITH_MNIST, "search.mnist._fetch"),
        ("SIGTERM", QUIET_SEARCH, "search.run.make_or_resume"),
        ("SIGTERM", NO_PRECISION, "search.run.precision_for"),
        ("SIGTERM", QUIET_SEARCH, "search.worker.make_context"),
        ("SIGINT", QUIET_SEARCH, "search.worker.make_context"),
        ("SIGTERM", QUIET_SEARCH, "search.objective.save_checkpoint"),
        ("SIGINT", QUIET_SEARCH, "search.objective.save_checkpoint"),
        ("SIGTERM", QUIET_SEARCH, "results.publish.publish"),
        ("SIGTERM", CONFIRMING, "search.confirm.predict"),
        ("SIGHUP", QUIET_SEARCH, "search.run.make_or_resume"),
        ("SIGHUP", QUIET_SEARCH, "search.objective.save_checkpoint"),
        ("SIGTERM", REPLAY, "search.objective.save_checkpoint"),
        ("SIGINT", DRILLDOWN, "search.objective.save_checkpoint"),
    ],
    ids=lambda each: each if isinstance(each, str) else each[0],
)
def test_a_signal_at_any_moment_ends_a_command_in_good_order(
    start: Start, name: str, arguments: tuple[str, ...], lasting: str
) -> None:
    phase = Phase()
    command = start(arguments, put(lasting, phase.last))
    phase.wait_for()
    began = time.monotonic()
    for _ in range(3):  # people press again, schedulers send again
        os.killpg(command.process.pid or 0, signal.Signals[name])
        time.sleep(0.02)
    said = command.ended()
    assert time.monotonic() - began < PATIENCE_SECONDS
    assert said[-1].startswith(STOPPED)
    assert not any("error" in line for line in said)
    assert command.process.exitcode == 128 + signal.Signals[name]
    if lasting not in BEFORE_THE_STUDY:
        assert not any(each.state == "running" for each in command.trials())


def test_trials_that_had_begun_are_handed_back_without_blame(start: Start) -> None:
    phase = Phase()
    command = start(QUIET_SEARCH, put("search.objective.save_checkpoint", phase.last))
    for _ in range(2):
        phase.wait_for()
    assert command.process.pid
    os.kill(command.process.pid, signal.SIGTERM)
    command.ended()
    trials = command.trials()
    assert [each.state for each in trials if each.state != "infeasible"] == [
        *("cut off", "cut off", "waiting", "waiting")
    ]
    assert [each.attributes["attempt"] for each in trials if each.state == "waiting"] == [1, 1]
    again = start(QUIET_SEARCH, lambda: None)
    again.process.join(timeout=60)
    assert sum(each.was_trained for each in command.trials()) == 3


def test_a_command_that_cannot_stop_is_ended(start: Start) -> None:
    phase = Phase()

    def lose_it(*_: object, **__: object) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            phase.last()
        while True:
            with contextlib.suppress(KeyboardInterrupt):
                time.sleep(LONG)

    command = start(QUIET_SEARCH, put("search.run.make_or_resume", lose_it))
    phase.wait_for()
    os.killpg(command.process.pid or 0, signal.SIGTERM)
    assert command.ended() == [STOPPED]
    assert command.process.exitcode == 143


def test_a_worker_that_is_asked_to_end_is_replaced(start: Start) -> None:
    phase = Phase()

    class Slow(SimulatedTraining):
        def __iter__(self) -> Iterator[EpochMetrics]:
            phase.reached()
            time.sleep(0.5)
            yield from super().__iter__()

    command = start(QUIET_SEARCH, put("search.objective.TrainingRun", Slow))
    phase.wait_for()
    (victim, *_) = psutil.Process(command.process.pid).children()
    victim.terminate()
    command.process.join(timeout=60)
    assert command.process.exitcode == 0
    trials = command.trials()
    assert sum(each.was_trained for each in trials) == 3
    assert all(each.attributes.get("attempt", 1) == 1 for each in trials)


@pytest.mark.parametrize("seconds", [0.3, 1.5])
def test_a_signal_while_everything_is_imported(nas_search: CommandLine, seconds: float) -> None:
    process = nas_search.start(*QUIET_SEARCH)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGTERM)
    _, said = process.communicate(timeout=10)
    assert "Traceback" not in said
    assert process.returncode in (143, -signal.SIGTERM)  # the latter before Python has begun


def test_a_terminal_that_is_closed_ends_a_search_in_good_order(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    arguments = (*QUIET_SEARCH, "--epochs", "500", "--out", str(tmp_path))
    search = subprocess.Popen(
        [sys.executable, "-m", "search.cli", *arguments],
        cwd=Path(__file__).parents[1],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # theirs is its terminal
    )
    os.close(theirs)
    said = b""
    while b"%" not in said:
        said += os.read(ours, 10_000)
    os.close(ours)
    assert search.wait(PATIENCE_SECONDS + 2) == 128 + signal.SIGHUP
    study = load_study(open_storage(default_url(tmp_path), create=False), None)
    states = [each.state for each in records(study)]
    assert "running" not in states
    assert "cut off" in states
    assert "waiting" in states


LOSING = """
import time
from search.interruption import Interruption

class Library:
    def __del__(self):
        print("working", flush=True)
        time.sleep(20)

Interruption(print).install()
library = Library()
try:
    del library
    time.sleep(20)
except KeyboardInterrupt:
    print("stopped")
"""


def test_a_signal_that_a_library_loses_is_raised_again() -> None:
    command = [sys.executable, "-c", LOSING]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_SECONDS - 2)
    assert (out, err, process.returncode) == ("stopped\n", "", 0)
