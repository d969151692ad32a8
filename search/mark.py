"""Marks of processes, by which others tell whether they still live."""

import os
import socket
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil


def this_process() -> str:
    """Names this process so that another on the same machine can tell whether it still lives."""
    import psutil

    return f"{_this_host()}/{os.getpid()}/{_started(psutil.Process()):.2f}"


def _started(process: "psutil.Process") -> float:
    """Seconds from the machine's start to that of the process: the clock may be set meanwhile."""
    import psutil

    return float(process.create_time() - psutil.boot_time())


def _this_host() -> str:
    """Within it a process number means one process: machines and containers of one name are
    several, and so is a machine that was started again."""
    try:
        start = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115
    except OSError:
        return f"{socket.gethostname()}-{uuid.getnode():x}"
    return f"{socket.gethostname()}-{start}-{namespace}"


def is_gone(mark: str | None) -> bool:
    """Whether a process of this machine, as `this_process` named it, has ended; false of others."""
    import psutil

    if mark is None:
        return False
    host, pid, created = mark.rsplit("/", 2)
    if host != _this_host():
        return False
    try:
        process = psutil.Process(int(pid))
        alive = process.status() != psutil.STATUS_ZOMBIE
        return not alive or abs(_started(process) - float(created)) > 1
    except psutil.NoSuchProcess:
        return True
