"""A worker process, wherever it runs: started, told tasks, listened to, ended."""

import multiprocessing
import multiprocessing.connection
import signal
from collections.abc import Container
from typing import Final, Protocol

from search import worker
from search.events import Event
from search.interruption import held_back
from search.plan import Plan
from search.task import Task

START_METHOD: Final = "spawn"
"""Of a worker process: a forked one would share what must not be, such as a GPU's context."""


class WorkerProcess(Protocol):
    """A process that runs `search.worker.Worker`."""

    def fileno(self) -> int:
        """Of what can be read when there is an event, or when the process is gone."""

    def send(self, task: Task) -> None:
        """Raises OSError where it is known to be gone."""

    def recv(self) -> Event:
        """The next event. Raises EOFError or OSError when there is none and the process is gone."""

    def kill(self) -> None:
        """Ends it at once."""

    def join(self) -> None:
        """Returns when it has ended."""

    @property
    def was_asked(self) -> bool:
        """Whether it ended for a reason that has nothing to do with what it trained."""

    @property
    def ending(self) -> str:
        """What is known of how it ended, in words."""


class Workplace(Protocol):
    """Where worker processes run."""

    @property
    def ended(self) -> Container[str]:
        """Marks (`search.mark.this_process`) of processes elsewhere that are known to be gone."""

    def start(self, plan: Plan, device: str, places: int) -> WorkerProcess:
        """A process that works on as many tasks at once as it has places. It need not run yet: it
        tells `Joined` when it does."""


class ThisMachine:
    """The workplace of a search on one machine."""

    ended: Container[str] = frozenset()

    def start(self, plan: Plan, device: str, places: int) -> WorkerProcess:
        return LocalProcess(plan, device, places)


class LocalProcess:
    """A child process, and the pipe to it."""

    def __init__(self, plan: Plan, device: str, places: int) -> None:
        context = multiprocessing.get_context(START_METHOD)
        ours, theirs = context.Pipe()
        self._process = context.Process(
            target=worker.main,
            args=(plan, device, places, theirs),
            name=f"nas-search worker on {device}",
            # Not a daemon, which could have no children: it ends with this process by itself.
            daemon=False,
        )
        with held_back():  # half started it would complain
            self._process.start()
        theirs.close()
        self.fileno, self.send, self.recv = ours.fileno, ours.send, ours.recv
        self.kill, self.join = self._process.kill, self._process.join

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def was_asked(self) -> bool:
        """By SIGTERM."""
        return bool(self._process.exitcode == -signal.SIGTERM)

    @property
    def ending(self) -> str:
        return f"exit code {self._process.exitcode}"
