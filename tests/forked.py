"""The real commands in processes forked from this one, with something in them changed.

That saves the seconds in which a fresh one imports what they need. Trainings are simulated.
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
from contextlib import contextmanager
from pathlib import Path

from benchmarks.simulation import SimulatedTraining
from results import publish
from results.record import TrialRecord, records
from results.storage import default_url, load_study, open_storage
from search import cli, confirm, objective, process
from search.data import DATA_VARIABLE, DataSource
from tests.conftest import SMALL_SEARCH

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
        setattr(process, "START_METHOD", "fork")  # noqa: B010
        setattr(objective, "TrainingRun", SimulatedTraining)  # noqa: B010
        setattr(confirm, "TrainingRun", SimulatedTraining)  # noqa: B010
        # Pictures and plots, which take long to import, are not what this is about.
        setattr(objective, "keep_artifacts", lambda *_: None)  # noqa: B010
        setattr(publish, "publish", lambda *_: None)  # noqa: B010
        prepare()
        sys.argv = ["nas-search", *arguments]
        cli.main()

    def ended(self, seconds: float = 10) -> list[str]:
        """The lines it said, once it has ended."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"it did not end within {seconds} s"
        said = self._said.read_text()
        self._said.unlink()
        assert "Traceback" not in said, said
        return [line for line in said.splitlines() if line]

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid or 0, signal.SIGKILL)
        self.process.join()

    def trials(self, storage: str | None = None) -> list[TrialRecord]:
        url = storage or default_url(self.folder / "runs")
        return records(load_study(open_storage(url, create=False), None))


Start = Callable[..., Command]


@contextmanager
def commands(folder: Path) -> Iterator[Start]:
    """Starts commands in a folder; none of them outlives it."""
    started: list[Command] = []

    def start_one(arguments: tuple[str, ...], prepare: Callable[[], object]) -> Command:
        started.append(Command(folder, arguments, prepare))
        return started[-1]

    try:
        yield start_one
    finally:
        for command in started:
            command.kill()


def put(path: str, value: object) -> Callable[[], None]:
    """Puts something in the place of what has this name."""
    owner, _, name = path.rpartition(".")
    module = importlib.import_module(owner)
    return lambda: setattr(module, name, value)
