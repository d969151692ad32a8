"""Which devices a run uses and how many workers they carry."""

import os
import re

from results.errors import NasSearchError

NAME = re.compile(r"cpu|cuda(:\d+)?")


def resolve_devices(names: str) -> tuple[str, ...]:
    """Devices from "auto", "cpu", "cuda", or a list such as "cuda:0,cuda:2".

    "cuda" and "auto" with a GPU mean all visible ones. Raises NasSearchError for one that is not
    there.
    """
    if names == "cpu":
        return ("cpu",)
    import torch

    visible = tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
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


def default_workers(devices: tuple[str, ...]) -> int:
    """One worker a GPU; on the CPU one a physical core that this process may use."""
    if devices != ("cpu",):
        return len(devices)
    import psutil

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(usable or 1, psutil.cpu_count(logical=False) or usable or 1))
