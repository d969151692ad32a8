"""What made a figure: versions of the packages that decide it, and the device."""

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@cache
def versions() -> dict[str, str]:
    """Versions by package name, Python included, and the commit if this is a Git checkout."""
    found = {name: _version(name) for name in ("nas-search", "torch", "optuna")}
    commit = _commit()
    return {"python": platform.python_version(), **found, **({"commit": commit} if commit else {})}


@cache
def device_name(device: str) -> str:
    """What a person calls the device: the GPU's name, or the processor's."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    return f"CPU ({_processor()})"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str | None:
    checkout = Path(__file__).parent.parent
    if not (checkout / ".git").exists():
        return None
    try:
        said = subprocess.run(
            ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--exclude=*"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return said.stdout.strip() or None


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
