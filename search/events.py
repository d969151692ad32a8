"""What a worker tells the process that shows the progress."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from search.clock import Kind
from search.task import Task


@dataclass(frozen=True)
class Joined:
    """The process runs and takes tasks."""


@dataclass(frozen=True)
class Started:
    """Training of a trial, or of a confirmation (with its seed), has begun.

    `title`: what a person calls it, if not by its number.
    """

    trial: int
    params: int
    seed: int | None = None
    title: str = ""


@dataclass(frozen=True)
class EpochDone:
    """An epoch of the running training is over. Accuracy in percent."""

    trial: int
    epoch: int
    accuracy: float
    seed: int | None = None


State = Literal["complete", "pruned", "failed", "duplicate"]


@dataclass(frozen=True)
class Finished:
    """A training is over. `sustained` in percent; None where there is none.

    `is_complete`: it went through all epochs; a duplicate may or may not. `title` as in `Started`.
    `was_promoted`: it went on with a stopped trial, in whose place it counts.
    """

    trial: int
    state: State
    params: int
    sustained: float | None
    note: str = ""
    seed: int | None = None
    is_complete: bool = False
    title: str = ""
    was_promoted: bool = False


@dataclass(frozen=True)
class CutOff:
    """A training was ended from outside; it will be begun again."""

    trial: int
    seed: int | None = None
    reason: str = "its process died or was suspended"


@dataclass(frozen=True)
class TimeSpent:
    """What a draw took, whatever became of it: seconds by kind."""

    seconds: Mapping[Kind, float]


@dataclass(frozen=True)
class TaskDone:
    """A task is done; the worker waits for more."""

    task: Task


@dataclass(frozen=True)
class PlaceGivenUp:
    """A task is not done, and given back with its place: memory ran out."""

    task: Task


@dataclass(frozen=True)
class TaskFailed:
    """A worker can't go on; `message` is one line for the user."""

    message: str


@dataclass(frozen=True)
class StorageNoticed:
    """The storage can't be reached, and is waited for; or it is back. `at`: by `time.monotonic`."""

    is_away: bool
    at: float


Event = (
    Joined
    | Started
    | EpochDone
    | Finished
    | CutOff
    | TimeSpent
    | TaskDone
    | PlaceGivenUp
    | TaskFailed
    | StorageNoticed
)
