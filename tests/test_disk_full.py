"""A full disk while weights are written: the trial waits again, and the same command goes on."""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from results.checkpoint import load_checkpoint
from tests.forked import QUIET_SEARCH, commands, put

SIZE = 400 * 1024
"""Bytes of a small disk."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        done = False
    if not done:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_small_disk_that_is_full(small_disk: Path, tmp_path: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(SIZE - 4 * 1024))
    _search_twice(tmp_path, small_disk, lambda: None, mend=filler.unlink)


def test_a_write_that_finds_no_space(tmp_path: Path) -> None:
    """As above, where nothing can be mounted."""
    disk, whole = tmp_path / "disk", os.fsync
    disk.mkdir()
    is_full = disk / "full"
    is_full.touch()

    def fsync(file: int) -> None:
        if is_full.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        whole(file)

    _search_twice(tmp_path, disk, put("os.fsync", fsync), mend=is_full.unlink)


def _search_twice(
    folder: Path, disk: Path, prepare: Callable[[], None], *, mend: Callable[[], None]
) -> None:
    """The database lies on another disk."""
    storage = f"sqlite:///{folder}/study.db"
    arguments = (*QUIET_SEARCH, "--out", str(disk / "runs"), "--storage", storage)
    with commands(folder) as start:
        full = start(arguments, prepare)
        said = full.ended(60)
        assert full.process.exitcode == 1
        (error,) = [line for line in said if line.startswith("error: ")]
        assert error.startswith("error: No space left on device: ")
        assert error.endswith("run the same command again)")
        states = {each.state for each in full.trials(storage)}
        assert "waiting" in states
        assert not states & {"running", "failed", "complete"}
        assert not [each for each in disk.rglob("*.safetensors*") if each.is_file()]
        mend()
        again = start(arguments, prepare)
        again.ended(60)
        assert again.process.exitcode == 0
        trained = [each for each in again.trials(storage) if each.was_trained]
        assert len(trained) == 3
        for each in trained:
            load_checkpoint(disk / "runs" / each.attributes["checkpoint"])
