"""Which devices a run uses, how many workers they carry, and what a thread on one needs."""

import os
import re
from pathlib import Path

from results.errors import NasSearchError
from search.memory import keep_freed_memory

NAME = re.compile(r"cpu|cuda(:\d+)?")


def resolve_devices(names: str) -> tuple[str, ...]:
    """Devices from "auto", "cpu", "cuda", or a list such as "cuda:0,cuda:2".

    "cuda" and "auto" with a GPU mean all visible ones. Raises NasSearchError for one that is not
    there.
    """
    if names == "cpu":
        return ("cpu",)
    import torch

    # The count alone also counts GPUs whose driver is too old for this torch.
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    visible = tuple(f"cuda:{index}" for index in range(count))
    if names == "auto":
        return visible or ("cpu",)
    chosen: list[str] = []
    for name in names.split(","):
        if not NAME.fullmatch(name):
            raise NasSearchError(
                f"--device {name}: write auto, cpu, cuda, cuda:1 or a list such as cuda:0,cuda:2"
            )
        if name != "cpu" and (not visible or (name != "cuda" and name not in visible)):
            raise NasSearchError(
                f"--device {name} is not there; there is: {', '.join(('cpu', *visible))}"
            )
        chosen += visible if name == "cuda" else [name]
    return tuple(dict.fromkeys(chosen))


WORKERS_PER_GPU = 8
"""Not measured yet. One network of this size leaves most of a GPU idle."""


def default_workers(devices: tuple[str, ...]) -> int:
    """Some for each GPU; on the CPU one for each physical core."""
    if devices != ("cpu",):
        return WORKERS_PER_GPU * len(devices)
    return usable_cores()


def usable_cores() -> int:
    """Physical cores that this process may use."""
    import psutil

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limits = (usable, psutil.cpu_count(logical=False), _container_limit())
    return max(1, min(limit for limit in limits if limit))


def prepare_thread(device: str) -> None:
    """Sets torch up for a thread that trains on a device."""
    import torch

    torch.set_num_threads(1)  # workers use a machine better than threads of torch do
    if device == "cpu":
        keep_freed_memory()
    else:
        torch.cuda.set_device(device)
        torch.backends.cudnn.allow_tf32 = False  # float32 is to mean float32


def _container_limit() -> int | None:
    """CPUs that a Linux control group allows; None without a limit."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else max(1, int(quota) // int(period))
