"""Where the MNIST files are: found in torchvision's layout, or downloaded once, and checked.

The files are torchvision's (`<folder>/MNIST/raw/*-ubyte`, uncompressed IDX), so a folder that
torchvision filled works here and the other way round.
"""

import hashlib
import http.client
import os
import shutil
import socket
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from results.errors import NasSearchError

FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""SHA-256 of each uncompressed file."""

MOST_BYTES = 16 + 60_000 * 28 * 28
"""No file of MNIST is larger, and a larger one is not read."""

MIRROR_VARIABLE = "NAS_SEARCH_MNIST_URL"
"""Environment variable: a folder URL with the four .gz files, tried before torchvision's."""


def raw_folder(folder: Path) -> Path:
    """Where torchvision keeps the files below its root folder."""
    return folder / "MNIST" / "raw"


def is_present(folder: Path) -> bool:
    """Whether all four files are there, unchecked."""
    return all((raw_folder(folder) / name).is_file() for name in FILES)


def damaged_files(folder: Path) -> list[Path]:
    """The files whose content is not MNIST's: torn, changed or unreadable."""
    return [
        path
        for name, digest in FILES.items()
        if _sha256(path := raw_folder(folder) / name) != digest
    ]


def check(folder: Path) -> Path:
    """Returns the folder if its files are MNIST's; else raises NasSearchError naming one."""
    if damaged := damaged_files(folder):
        raise NasSearchError(
            f"{damaged[0]} is damaged or of another dataset (its checksum is not MNIST's): delete "
            f"it and download MNIST again, or name another folder with --data-dir"
        )
    return folder


def download(folder: Path) -> Path:
    """Downloads MNIST into `folder` unless it is there and whole.

    Safe for several processes at once: one downloads, the others wait. Files appear in their place
    only once they are complete and checked. Raises OSError where the network or disk gives out.
    """
    from filelock import FileLock

    if is_present(folder) and not damaged_files(folder):  # also where nothing may be written
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "mnist.lock"):
        if is_present(folder) and not damaged_files(folder):
            return folder
        for left_behind in folder.glob("mnist-*/"):  # by a download that was killed
            shutil.rmtree(left_behind, ignore_errors=True)
        staging = Path(tempfile.mkdtemp(prefix="mnist-", dir=folder))
        try:
            _fetch(staging)
            if damaged := damaged_files(staging):
                raise OSError(f"the downloaded {damaged[0].name} is torn or is not MNIST's")
            raw_folder(folder).mkdir(parents=True, exist_ok=True)
            for name in FILES:
                (raw_folder(staging) / name).replace(raw_folder(folder) / name)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return folder


def _fetch(folder: Path) -> None:
    """Downloads into `folder` from the first server that gives all files; else raises OSError."""
    from torchvision.datasets import MNIST

    reasons = []
    for mirror in (*_own_mirror(), *MNIST.mirrors):
        # torchvision names its folder after the class, so the subclass has the same name.
        source = type("MNIST", (MNIST,), {"mirrors": [mirror]})
        try:
            with _socket_timeout(seconds=20):
                source(str(folder), download=True)
            return
        except (OSError, RuntimeError, EOFError, http.client.HTTPException, zlib.error) as error:
            reasons.append(" ".join(str(error).split()) or type(error).__name__)
    raise OSError("; ".join(dict.fromkeys(reasons)) or "no server to download from")


def _own_mirror() -> list[str]:
    url = os.environ.get(MIRROR_VARIABLE)
    if url and not url.startswith(("http://", "https://")):
        raise OSError(f"{MIRROR_VARIABLE} has no address that begins with http:// or https://")
    return [url.rstrip("/") + "/"] if url else []


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _sha256(path: Path) -> str | None:
    try:
        if path.stat().st_size > MOST_BYTES:
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
