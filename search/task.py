"""What a worker is asked to do."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SearchTask:
    """Train trials until the study has as many as the plan asks for."""


@dataclass(frozen=True)
class QueueTask:
    """Train the trials that wait in the queue of the study, which come with their configuration."""


@dataclass(frozen=True)
class ConfirmTask:
    """Retrain a finalist on all training images from one seed and measure it on the test images."""

    trial: int
    seed: int


Task = SearchTask | QueueTask | ConfirmTask
