"""How fast something trains: epochs are timed after a first one that does not count."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

MOST_EPOCHS = 1_000
"""More than are ever timed."""


@dataclass(frozen=True)
class Epoch:
    """What one epoch took, and its accuracy (percent) on the evaluation images."""

    images: int
    train_seconds: float
    evaluation_images: int
    evaluation_seconds: float
    accuracy: float


@dataclass(frozen=True)
class Speed:
    """Images per second while training and while evaluating; the most memory a process held."""

    train: float
    evaluation: float
    peak_bytes: int

    @classmethod
    def together(cls, speeds: Iterable["Speed"]) -> "Speed":
        """What several reach that run at once."""
        each = list(speeds)
        return cls(
            train=sum(one.train for one in each),
            evaluation=sum(one.evaluation for one in each),
            peak_bytes=max(one.peak_bytes for one in each),
        )


def time_epochs(
    epochs: Iterator[Epoch],
    *,
    seconds: float,
    device: str,
    start: Callable[[], object] = lambda: None,
) -> Speed:
    """The speed of the epochs that begin within `seconds` after the first one.

    The first compiles kernels, captures graphs and starts processes. `start` is called after it:
    those that shall run at once wait for each other there.
    """
    next(epochs)
    start()
    end = time.perf_counter() + seconds
    timed = []
    for epoch in epochs:
        timed.append(epoch)
        if time.perf_counter() >= end:
            break
    return Speed(
        train=sum(each.images for each in timed) / sum(each.train_seconds for each in timed),
        evaluation=sum(each.evaluation_images for each in timed)
        / sum(each.evaluation_seconds for each in timed),
        peak_bytes=_peak_bytes(device),
    )


def _peak_bytes(device: str) -> int:
    """The most memory this process has held since it began: of the GPU, else resident.

    On a GPU what torch had reserved there; resident memory counts the mapped data files, which
    worker processes share.
    """
    if device.startswith("cuda"):
        return torch.cuda.max_memory_reserved(device)
    # Not getrusage: its maximum survives exec and begins with the memory of the parent process.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))
