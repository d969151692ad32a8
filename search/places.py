"""How many trainings a process may run at once, which are fewer once memory has run out."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from search.memory import is_out_of_memory


class OutOfMemory(Exception):  # noqa: N818
    """Memory ran out in a training that others ran beside: with fewer at once it may be enough.

    `gave_up`: the place it ran in is not to be used any more.
    """

    def __init__(self, left: int, *, gave_up: bool) -> None:
        super().__init__(f"memory ran out (trainings at once in that process now: {left})")
        self.gave_up = gave_up


class Places:
    """Of one process. `count` is one at least."""

    def __init__(self, count: int = 1) -> None:
        self.count = count
        self._lock = threading.Lock()
        self._had_others: dict[object, bool] = {}
        """Of each training that runs: whether another one ran at any time since it began."""

    @contextmanager
    def training(self) -> Iterator[None]:
        """A training runs within. Raises OutOfMemory in the place of what says that there is none
        left; but if it was alone all the time, with fewer at once it would be no better."""
        this = object()
        with self._lock:
            self._had_others = dict.fromkeys(self._had_others, True)
            self._had_others[this] = len(self._had_others) > 0
        try:
            yield
        except Exception as error:
            if not (self._had_others[this] and is_out_of_memory(error)):
                raise
            raise self._give_up() from error
        finally:
            with self._lock:
                del self._had_others[this]

    def _give_up(self) -> OutOfMemory:
        with self._lock:
            gave_up = self.count > 1
            self.count -= gave_up
            return OutOfMemory(self.count, gave_up=gave_up)
