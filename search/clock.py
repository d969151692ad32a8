"""Where the time of a search goes: measured by each worker, summed up for the whole."""

import datetime
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, get_args

Kind = Literal["sampling", "capture", "training", "evaluation", "drawing", "storage", "waiting"]
"""sampling: proposing a configuration. capture: of CUDA graphs. training: with the building of the
network. drawing: of the pictures kept with a trial. storage: asking for trials, reporting, telling,
checkpoints, looking at the trials before. waiting: for others to end theirs."""

KINDS: tuple[Kind, ...] = get_args(Kind)


class Clock:
    """A stopwatch with a dial for each kind, of which one runs at a time. Belongs to one thread."""

    def __init__(self) -> None:
        self._seconds = dict.fromkeys(KINDS, 0.0)
        self._kind: Kind | None = None
        self._since = time.perf_counter()

    @contextmanager
    def measuring(self, kind: Kind) -> Iterator[None]:
        """What happens within belongs to this kind, and not to the one outside of it."""
        outside = self._switch(kind)
        try:
            yield
        finally:
            self._switch(outside)

    def move(self, seconds: float, source: Kind, target: Kind) -> None:
        """So much time of one kind, if there is as much, was time of another."""
        moved = min(seconds, self._seconds[source])
        self._seconds[source] -= moved
        self._seconds[target] += moved

    def read(self) -> dict[Kind, float]:
        """Seconds by kind since the clock was made."""
        self._switch(self._kind)
        return dict(self._seconds)

    def _switch(self, kind: Kind | None) -> Kind | None:
        now = time.perf_counter()
        if self._kind is not None:
            self._seconds[self._kind] += now - self._since
        self._since, before, self._kind = now, self._kind, kind
        return before


class Lap:
    """Seconds by kind on a clock since it was last called. Of one clock there may be several."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = clock.read()

    def __call__(self) -> dict[Kind, float]:
        last, self._last = self._last, self._clock.read()
        return {kind: seconds - last[kind] for kind, seconds in self._last.items()}


class TimeAccount:
    """The time of all workers of a run, from its first moment on."""

    def __init__(self, workers: int) -> None:
        self.started = datetime.datetime.now(datetime.UTC)
        self._since = time.perf_counter()
        self._workers = workers
        self._seconds = dict.fromkeys(KINDS, 0.0)
        self._draws = 0

    def add(self, seconds: Mapping[Kind, float]) -> None:
        """What a worker spent on one draw, whatever became of it."""
        self._draws += 1
        for kind, each in seconds.items():
            self._seconds[kind] += each

    def totals(self, trials: int) -> dict[str, Any]:
        """As a JSON-ready dictionary. `trials`: how many were trained.

        `seconds` by kind are those of all workers together and sum up to `wall_seconds` times
        `workers`: the waiting includes the start of the processes and what was cut off.
        """
        wall = time.perf_counter() - self._since
        working = sum(self._seconds.values()) - self._seconds["waiting"]
        spent = self._seconds | {"waiting": max(0.0, wall * self._workers - working)}
        return {
            "wall_seconds": round(wall, 2),
            "workers": self._workers,
            "trials": trials,
            "draws": self._draws,
            "seconds": {kind: round(each, 3) for kind, each in spent.items()},
        }
