"""MNIST's files, raw and packed, changed in any way: MNIST itself or one line that names a file."""

import gzip
import hashlib
import shutil
import struct
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torchvision
from hypothesis import given
from hypothesis import strategies as st

from search import data, mnist
from search.data import DataSource, find
from tests.fuzzing import TRAPS, Trap, answer_of, fuzzed, mutated_bytes

NAMES = sorted(mnist.FILES)


def idx(name: str) -> bytes:
    """A tiny file in MNIST's format."""
    shape = (3, 28, 28) if "images" in name else (3,)
    values = np.arange(np.prod(shape)) % 10
    header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
    return header + values.astype(np.uint8).tobytes()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


PACKED = {name: gzip.compress(idx(name), mtime=0) for name in NAMES}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Data, cache and a server's folder below it. The tiny files are taken for MNIST's."""
    folder = tmp_path_factory.mktemp("mnist")
    (folder / "served").mkdir()
    digests = {name: hashlib.sha256(idx(name)).hexdigest() for name in NAMES}
    sums = [(f"{name}.gz", hashlib.md5(PACKED[name]).hexdigest()) for name in NAMES]
    handler = partial(Quiet, directory=str(folder / "served"))
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        patch.chdir(folder)
        patch.setattr(mnist, "FILES", digests)
        patch.setattr(torchvision.datasets.MNIST, "resources", sums)
        patch.setattr(torchvision.datasets.MNIST, "mirrors", [])
        patch.setenv(mnist.MIRROR_VARIABLE, f"http://127.0.0.1:{server.server_port}")
        patch.setattr(data, "_cache_folder", lambda: folder / "cache")
        patch.delenv(data.DATA_VARIABLE, raising=False)
        yield folder
        server.shutdown()
    assert not (folder / Trap.FILE).exists()


def put(folder: Path, changed: dict[str, bytes]) -> None:
    """The raw files of a folder, some of them changed."""
    raw = mnist.raw_folder(folder)
    raw.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        (raw / name).write_bytes(changed.get(name, idx(name)))


def fail(line: str) -> None:
    raise AssertionError(line)


@fuzzed(100)
@given(data=st.data())
def test_raw_files(folder: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(NAMES))
    changed = data.draw(mutated_bytes(idx(name), heads=16))
    put(folder / "data", {name: changed})
    found = answer_of("IDX files", lambda: find("mnist", folder / "data", fail))
    assert (found == DataSource("mnist", folder / "data")) == (changed == idx(name))


@fuzzed(50)
@given(data=st.data())
def test_packed_files(folder: Path, data: st.DataObject) -> None:
    """Those of a server."""
    name = data.draw(st.sampled_from(NAMES))
    changed = data.draw(mutated_bytes(PACKED[name], heads=20))
    found = download(folder, {name: changed})
    assert (found is not None) == (changed == PACKED[name])


def download(folder: Path, changed: dict[str, bytes]) -> DataSource | None:
    for each, content in (PACKED | changed).items():
        (folder / "served" / f"{each}.gz").write_bytes(content)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    found = answer_of("packed IDX files", lambda: find("mnist", None, fail))
    assert found is None or mnist.damaged_files(folder / "cache") == []
    left = {path.name for path in (folder / "cache").iterdir()}
    assert left == ({"MNIST", "mnist.lock"} if found else {"mnist.lock"})
    return found


def test_what_is_right_is_found(folder: Path) -> None:
    put(folder / "data", {})
    assert find("mnist", folder / "data", fail) == DataSource("mnist", folder / "data")
    assert download(folder, {}) == DataSource("mnist", folder / "cache")


@pytest.mark.parametrize("content", [gzip.compress(bytes(1 << 28), 9), *TRAPS])
def test_a_bomb_or_a_pickle_of_a_server_is_not_opened(folder: Path, content: bytes) -> None:
    assert download(folder, dict.fromkeys(NAMES, content)) is None


def test_a_huge_file_is_not_read(folder: Path) -> None:
    put(folder / "data", {})
    with (mnist.raw_folder(folder / "data") / NAMES[0]).open("r+b") as file:
        file.truncate(1 << 40)  # takes no place on the disk
    assert answer_of("IDX files", lambda: find("mnist", folder / "data", fail)) is None
    (mnist.raw_folder(folder / "data") / NAMES[0]).unlink()


@pytest.mark.parametrize(
    "url", ["file:///tmp", "http://[::1", "nothing", "ftp://127.0.0.1:1", "\n"]
)
def test_a_server_that_is_none_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv(mnist.MIRROR_VARIABLE, url)
    assert download(folder, {}) is None
