"""Where the pictures of trained trials are drawn: where nobody has to wait for it but their trial.

Drawing takes a quarter of a second in which Python lets no other thread of the process run. Where
several train in one process, as on a GPU, each would hold up all: there other processes do it.
Considered and left: drawing what the dashboard asks for when it does (what others serve of the
study would lack it), and by the process that started the workers (which a cluster's can't reach,
and whose end would leave trials without).
"""

import multiprocessing
import queue
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection

from results.artifacts import Contents, contents_of
from results.record import TrialRecord
from results.settings import StudySettings
from search.device import usable_cores

Drawing = Callable[[TrialRecord, StudySettings], Contents]


class DrawingProcesses:
    """Does `contents_of` in processes that start when first needed and end with this one.

    `most`: of them, but at most one for every two cores, as the others have to feed the GPU. Where
    such a process ends, whoever asked draws.
    """

    def __init__(self, most: int) -> None:
        # What was put back last is taken first, so none is started beside an idle one.
        self._idle: queue.LifoQueue[Connection | None] = queue.LifoQueue()
        for _ in range(max(1, min(most, usable_cores() // 2))):
            self._idle.put(None)

    def __call__(self, record: TrialRecord, settings: StudySettings) -> Contents:
        connection, idle = self._idle.get(), None
        try:
            connection = connection or _start()
            connection.send((record, settings))
            drawn: Contents = connection.recv()
            idle = connection
        except (EOFError, OSError):
            drawn = contents_of(record, settings)
        finally:
            self._idle.put(idle)
        return drawn


def _start() -> Connection:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    context.Process(target=_draw, args=(theirs,), name="nas-search drawing").start()
    theirs.close()
    return ours


def _draw(connection: Connection) -> None:
    """What is asked for, until nobody can ask any more, or it can't be done: who asked will see."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that began it all
    with suppress(Exception):
        while True:
            connection.send(contents_of(*connection.recv()))
