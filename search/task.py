"""What a worker is asked to do."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SearchTask:
    """Train trials until the study has as many as the plan asks for, the best to their end."""


@dataclass(frozen=True)
class QueueTask:
    """Train the trials that wait in the queue of the study, which come with their configuration."""


@dataclass(frozen=True)
class ConfirmTask:
    """Retrain finalists on all training images from some seeds and measure them on the test images.

    `wanted`: trials and seeds, until each is stored, by whoever did it.
    """

    wanted: tuple[tuple[int, int], ...]


Task = SearchTask | QueueTask | ConfirmTask
