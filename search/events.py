"""What a worker tells the process that shows the progress."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Started:
    """Training of a trial, or of a confirmation (with its seed), has begun."""

    trial: int
    params: int
    seed: int | None = None


@dataclass(frozen=True)
class EpochDone:
    """An epoch of the running training is over. Accuracy in percent."""

    trial: int
    epoch: int
    accuracy: float
    seed: int | None = None


@dataclass(frozen=True)
class Finished:
    """A training is over. `sustained` in percent; None where there is none."""

    trial: int
    state: Literal["complete", "pruned", "failed", "duplicate"]
    params: int
    sustained: float | None
    note: str = ""
    seed: int | None = None


@dataclass(frozen=True)
class CutOff:
    """The process of a training is gone; the training will be begun again."""

    trial: int
    seed: int | None = None


@dataclass(frozen=True)
class TaskDone:
    """A worker has finished what it was given and waits for more."""


@dataclass(frozen=True)
class TaskFailed:
    """A worker can't go on; `message` is one line for the user."""

    message: str


Event = Started | EpochDone | Finished | CutOff | TaskDone | TaskFailed
