"""What a run of the search was asked to do: a value that every process of it gets a copy of."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from results.settings import StudySettings
from search.data import DataSource

Precision = Literal["float32", "bfloat16"]


MOST_AT_ONCE = 32
"""Trainings of one process: torch has 32 streams for a GPU, and each training needs its own."""


@dataclass(frozen=True)
class Plan:
    """Everything about a run that is not a property of its study."""

    study: str
    storage: str
    settings: StudySettings
    data: DataSource
    out: Path
    devices: tuple[str, ...]
    workers: int
    precision: Precision | None
    artifacts: str | None = None
    trials: int = 0
    seed: int = 0
    sampler: str = "random"
    learn_from: tuple[str, ...] = ()
    """Studies that a new one learns from."""
    pruner: str = "none"
    finalists: int = 0
    confirm_seeds: int = 0
    ray: str | None = None
    """Address of the Ray cluster that trains; None: this machine does."""
    crew: str = ""
    """Mark of the process that starts the workers."""
    at_once: int = MOST_AT_ONCE
    """Trainings of one process on a GPU at most; a Ray cluster gives it a GPU for so many."""

    @property
    def processes(self) -> tuple[tuple[str, int], ...]:
        """The device of each worker process, and how many trainings it runs at once.

        Workers are dealt out over the devices. Those of a GPU share a process, up to `at_once` of
        them, as its memory and its time are shared best within one; on the CPU each is a process,
        as threads of Python would wait for each other.
        """
        dealt = [self.devices[n % len(self.devices)] for n in range(self.workers)]
        return tuple(
            (name, min(most, dealt.count(name) - first))
            for name in dict.fromkeys(dealt)
            for most in (1 if name == "cpu" else self.at_once,)
            for first in range(0, dealt.count(name), most)
        )

    @property
    def most_draws(self) -> int:
        """Draws after which a search that finds nothing to train gives up."""
        return 1_000 + 20 * self.trials


def derived_seed(*parts: object) -> int:
    """A 31-bit seed that depends on all the parts and on nothing else."""
    text = ":".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) >> 1
