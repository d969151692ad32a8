"""SIGTERM and SIGINT at any moment: soon over, nothing lost, one line, the code of the signal.

The commands are the real ones, in processes forked from this one: that saves the seconds in which a
fresh one imports what they need. Trainings are simulated.
"""

import contextlib
import importlib
import multiprocessing
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks.simulation import SimulatedTraining
from results import publish
from results.record import TrialRecord, records
from results.storage import default_url, load_study, open_storage
from search import cli, confirm, crew, objective
from search.data import DATA_VARIABLE, DataSource
from search.interruption import PATIENCE_SECONDS, STOPPED
from search.train import EpochMetrics
from tests.conftest import SMALL_SEARCH, CommandLine

DIGITS = DataSource("mnist-sample").load()
LONG = 600.0
QUIET_SEARCH = (*SMALL_SEARCH, "--workers", "2", "--trials", "3", "--finalists", "0")


class Phase:
    """A moment of a command, which says that it has come and then lasts."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def reached(self) -> None:
        os.write(self._write, b".")

    def last(self, *_: object, **__: object) -> None:
        self.reached()
        time.sleep(LONG)

    def wait_for(self) -> None:
        assert select.select([self._read], [], [], 60)[0], "the moment did not come"
        assert os.read(self._read, 1) == b"."


class Command:
    """`nas-search` in a folder of its own, with something in it changed by `prepare`."""

    def __init__(self, folder: Path, arguments: tuple[str, ...], prepare: Callable[[], object]):
        self.folder, self._said = folder, folder / "said.txt"
        self.process = multiprocessing.get_context("fork").Process(
            target=self._run, args=(arguments, prepare)
        )
        self.process.start()

    def _run(self, arguments: tuple[str, ...], prepare: Callable[[], object]) -> None:
        os.setsid()
        os.chdir(self.folder)
        os.environ["XDG_CACHE_HOME"] = str(self.folder / "cache")
        os.environ.pop(DATA_VARIABLE, None)
        for signal_ in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signal_, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        said = os.open(self._said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(said, stream)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        setattr(DataSource, "load", lambda *_: DIGITS)  # noqa: B010
        setattr(crew, "START_METHOD", "fork")  # noqa: B010
        setattr(objective, "TrainingRun", SimulatedTraining)  # noqa: B010
        setattr(confirm, "TrainingRun", SimulatedTraining)  # noqa: B010
        # Pictures and plots, which take long to import, are not what this is about.
        setattr(objective, "keep_artifacts", lambda *_: None)  # noqa: B010
        setattr(publish, "publish", lambda *_: None)  # noqa: B010
        prepare()
        sys.argv = ["nas-search", *arguments]
        cli.main()

    def ended(self) -> list[str]:
        """The lines it said, once it has ended: soon."""
        self.process.join(timeout=10)
        assert self.process.exitcode is not None, "it did not end within 10 s"
        said = self._said.read_text()
        assert "Traceback" not in said and "error" not in said, said
        return [line for line in said.splitlines() if line]

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid or 0, signal.SIGKILL)
        self.process.join()

    def trials(self) -> list[TrialRecord]:
        url = default_url(self.folder / "runs")
        return records(load_study(open_storage(url, create=False), None))


Start = Callable[..., Command]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Command] = []

    def start_one(arguments: tuple[str, ...], prepare: Callable[[], object]) -> Command:
        started.append(Command(tmp_path, arguments, prepare))
        return started[-1]

    yield start_one
    for command in started:
        command.kill()


def put(path: str, value: object) -> Callable[[], None]:
    """Puts something in the place of what has this name."""
    owner, _, name = path.rpartition(".")
    module = importlib.import_module(owner)
    return lambda: setattr(module, name, value)


WITH_MNIST = tuple("mnist" if each == "mnist-sample" else each for each in QUIET_SEARCH)
NO_PRECISION = tuple("auto" if each == "float32" else each for each in QUIET_SEARCH)
BEFORE_THE_STUDY = ("search.cli._plan", "search.mnist._fetch", "search.run.make_or_resume")
CONFIRMING = (*QUIET_SEARCH, "--finalists", "1", "--confirm-seeds", "1")


REPLAY = ("replay", "1.3", "--seeds", "2", "--dataset", "mnist-sample", "--precision", "float32")
DRILLDOWN = ("drilldown", "--from", "1.3", *REPLAY[4:])


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
    *_, last = command.ended()
    assert time.monotonic() - began < PATIENCE_SECONDS
    assert last.startswith(STOPPED)
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
        phase.reached()
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
