"""The worker processes of a run: started, given tasks, listened to, replaced."""

import multiprocessing.connection
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

from results.database import StorageFault
from results.errors import NasSearchError
from results.handback import MOST_ATTEMPTS
from results.patience import Patience
from search.events import (
    CutOff,
    Event,
    Finished,
    Joined,
    PlaceGivenUp,
    Started,
    StorageNoticed,
    TaskDone,
    TaskFailed,
)
from search.mark import this_process
from search.plan import Plan
from search.process import ThisMachine, WorkerProcess, Workplace
from search.study import DeadTrials
from search.task import Task

JOIN_SECONDS = 300.0
"""In which one worker at least has to join. A cluster may start machines first."""


@dataclass
class _Member:
    device: str
    places: int
    process: WorkerProcess
    has_joined: bool = False
    tasks: list[Task] = field(default_factory=list)
    training: set[tuple[int, int | None]] = field(default_factory=set)
    """Trial and seed of what has started and not ended."""
    deaths: int = 0
    """Of processes in this place, since one of them ended a training."""


class Crew:
    """A context in which `work` runs tasks on `plan.processes`, started when first needed.

    Tasks are given to those that have joined; others may do so at any time, or never.
    Leaving it ends the processes at once: what they had begun is handed back through `dead`, as it
    is whenever one of them dies by itself.
    """

    def __init__(
        self,
        plan: Plan,
        dead: DeadTrials,
        patience: Patience | None = None,
        workplace: Workplace | None = None,
    ) -> None:
        self.plan = replace(plan, crew=this_process())
        self.patience = patience or Patience()
        self._dead = dead
        self._workplace = workplace or ThisMachine()
        self._members: list[_Member] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        busy = any(member.tasks for member in self._members)
        for member in self._members:
            member.process.kill()
        for member in self._members:
            member.process.join()
        if busy:
            with suppress(StorageFault):  # else it is handed back when the same command goes on
                self._dead.hand_back()

    def work(self, tasks: Iterable[Task]) -> Iterator[Event]:
        """Gives the tasks to workers with a place, in their order; yields what the workers tell.

        Raises NasSearchError when a worker can't go on, or workers keep dying.
        """
        waiting = deque(tasks)
        self._members = self._members or [self._start(*each) for each in self.plan.processes]
        while True:
            # One place each in turn, so that no device gets its second task before all have one.
            joined = [member for member in self._members if member.has_joined]
            for place in range(self.plan.workers):
                for member in joined:
                    if len(member.tasks) == place < member.places and waiting:
                        self._give(member, waiting.popleft())
            is_busy = any(member.tasks for member in joined)
            if not is_busy and not waiting:
                return
            for member in self._heard(None if is_busy else JOIN_SECONDS):
                try:
                    event = member.process.recv()
                except (EOFError, OSError):
                    yield from (CutOff(trial, seed) for trial, seed in member.training)
                    waiting.extendleft(reversed(self._replace(member)))
                    continue
                if isinstance(event, Joined):
                    member.has_joined = True
                    continue
                if isinstance(event, TaskFailed):
                    raise NasSearchError(event.message)
                if isinstance(event, PlaceGivenUp):
                    member.places -= 1
                    waiting.appendleft(event.task)
                if isinstance(event, TaskDone | PlaceGivenUp):
                    member.tasks.remove(event.task)
                    continue
                if isinstance(event, StorageNoticed):
                    self.patience.notice(event.is_away, event.at)
                    continue
                if isinstance(event, Started):
                    member.training.add((event.trial, event.seed))
                if isinstance(event, Finished | CutOff):
                    member.training.discard((event.trial, event.seed))
                    member.deaths = 0
                yield event

    def _heard(self, seconds: float | None) -> list[_Member]:
        """The members that have something to tell, or are gone, of those that may; when one has.

        Raises NasSearchError if none has within the seconds.
        """
        heeded = {
            member.process: member
            for member in self._members
            if member.tasks or not member.has_joined
        }
        ready = multiprocessing.connection.wait(list(heeded), seconds)  # type: ignore[arg-type]
        if not ready:
            raise NasSearchError(
                f"no worker process has started within {JOIN_SECONDS:.0f} s: look for what the "
                f"machine lacks (with --ray, `ray status` says what the cluster lacks), then run "
                f"the same command again"
            )
        return [heeded[process] for process in ready]  # type: ignore[index]

    def _give(self, member: _Member, task: Task) -> None:
        member.tasks.append(task)
        try:
            member.process.send(task)
        except OSError:  # it is gone; reading from it will say so
            return

    def _start(self, device: str, places: int, deaths: int = 0) -> _Member:
        process = self._workplace.start(self.plan, device, places)
        return _Member(device, places, process, deaths=deaths)

    def _replace(self, member: _Member) -> list[Task]:
        """Starts a process in the place of one that died; returns what that one had to do.

        One training can end its process `MOST_ATTEMPTS` times before it is left alone; where more
        die in a row the fault is elsewhere. Who asked a process to end is not a fault at all.
        """
        member.process.join()
        was_asked = member.process.was_asked
        self._dead.hand_back(blamed=not was_asked)
        places, deaths = member.places, member.deaths
        if not was_asked:
            # Fewer at once: memory may have been short, and a training that ends its process shall
            # soon do so alone.
            places, deaths = max(1, places // 2), deaths + 1
        if deaths > MOST_ATTEMPTS:
            raise NasSearchError(
                f"worker processes keep dying (the last with {member.process.ending}): perhaps "
                f"too little memory; try fewer --workers"
            )
        self._members[self._members.index(member)] = self._start(member.device, places, deaths)
        return member.tasks
