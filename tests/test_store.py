"""Stores: local folders, mounted folders, and what fsspec reaches by a URL."""

import threading
import uuid
from pathlib import Path

import pytest
from fsspec.registry import known_implementations

from results.atomic import write_atomically
from results.errors import NasSearchError
from results.store import Folder, Remote, SharedFolder, Store, full_address, open_store
from tests.stores import Failing


@pytest.fixture(params=["folder", "mounted", "bucket", "remote folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return {
        "folder": lambda: Folder(tmp_path / "new"),
        "mounted": lambda: open_store(str(tmp_path / "new")),
        "bucket": lambda: open_store(f"memory://{uuid.uuid4()}/new/"),
        # What sftp is like: folders have to be made before there are files in them.
        "remote folder": lambda: open_store(f"local://{tmp_path}"),
    }[request.param]()


def test_what_is_written_is_read(store: Store) -> None:
    assert not store.is_marked("study-1")
    store.mark("study-1")
    assert store.is_marked("study-1")
    assert not store.is_marked("study-2")
    name = "study-1/checkpoints/a.safetensors"
    assert not store.file(name).exists()
    with pytest.raises(FileNotFoundError):
        store.file(name).read_bytes()
    for content in (b"first", b"second"):
        store.write(name, content)
        assert store.file(name).read_bytes() == content
    store.name_again("study-1/second", name)
    store.file(name).unlink()
    assert not store.file(name).exists()
    assert store.file("study-1/second").read_bytes() == b"second"


def test_a_folder_keeps_what_has_two_names_once(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("a/one", b"weights")
    folder.name_again("b/two", "a/one")
    assert folder.file("a/one").samefile(folder.file("b/two"))


def test_what_can_not_be_linked_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.link", refused)
    folder = Folder(tmp_path)
    folder.write("a/one", b"weights")
    folder.name_again("b/two", "a/one")
    folder.file("a/one").unlink()
    assert folder.file("b/two").read_bytes() == b"weights"


def test_a_mount_that_is_gone_is_not_written_over(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    store = open_store(str(mount))
    store.mark("study-1")
    store.write("study-1/checkpoints/a", b"1")
    mount.rename(tmp_path / "elsewhere")
    mount.mkdir()  # what is left of a mount
    for name in ("study-1/checkpoints/b", "artifacts/b"):
        with pytest.raises(FileNotFoundError, match="mount it"):
            store.write(name, b"2")
    assert list(mount.iterdir()) == []


def test_writers_with_the_same_process_number_do_not_mix(tmp_path: Path) -> None:
    """Containers on two machines often have the same; here two threads."""
    path = tmp_path / "file"
    contents = [bytes([65 + which]) * 1_000_000 for which in range(4)]
    faults: list[Exception] = []

    def write(content: bytes) -> None:
        try:
            for _ in range(5):
                write_atomically(path, content)
                assert path.read_bytes() in contents
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=write, args=(each,)) for each in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (PermissionError("Access Denied"), "Access Denied"),
        (FileNotFoundError("The specified bucket does not exist"), "does not exist"),
        (RuntimeError("no credentials\nat all"), "no credentials"),
        (NotImplementedError(), "NotImplementedError"),
    ],
)
def test_every_fault_of_a_library_is_an_os_error_that_names_the_file(
    monkeypatch: pytest.MonkeyPatch, fault: Exception, said: str
) -> None:
    store = open_store("failing://bucket")
    monkeypatch.setattr(Failing, "fault", fault)
    with pytest.raises(OSError, match=said) as raised:
        store.write("study/weights", b"")
    assert raised.value.filename == "failing://bucket/study/weights"
    assert "\n" not in str(raised.value)
    if not isinstance(fault, FileNotFoundError):
        with pytest.raises(OSError, match=said):
            store.file("study/weights").exists()  # not to be known is not to be missing


def test_a_bucket_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    store = open_store(f"local://{tmp_path}/bucket")
    store.mark("study-1")
    (tmp_path / "bucket").rename(tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        store.write("study-1/checkpoints/a", b"1")
    assert not (tmp_path / "bucket").exists()


@pytest.mark.parametrize(
    "address",
    [
        *(
            "s3://key:secret@bucket/nas",
            "s3://key:sec/ret@bucket/nas",
            "s3://bucket/nas?sig=secret",
        ),
        *("sftp://me:secret@host/nas", "SFTP://me:secret@host:22/nas", "https://:secret@host/"),
    ],
)
def test_a_password_is_refused_and_not_said(address: str) -> None:
    with pytest.raises(NasSearchError, match="leave passwords") as raised:
        full_address(address)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "address", ["simplecache::s3://bucket/nas", "zip://a::s3://bucket", "://", "a b://c", "a\0b"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(NasSearchError, match="--artifacts"):
        full_address(address)


def test_an_address_means_the_same_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(".")
    for text, address in (
        ("shared", str(tmp_path / "shared")),
        ("one/../link/./shared", str(tmp_path / "shared")),
        ("link/shared", str(tmp_path / "link" / "shared")),
        ("file:///mnt/nas", "/mnt/nas"),
        ("s3://bucket/nas/", "s3://bucket/nas"),
        ("sftp://me@host:22/nas", "sftp://me@host:22/nas"),
        ("hdfs://[::1]:8020/nas", "hdfs://[::1]:8020/nas"),
    ):
        assert full_address(text) == address
        assert full_address(address) == address
    assert isinstance(open_store("shared"), SharedFolder)
    assert isinstance(open_store("memory://x"), Remote)


def test_a_url_that_nothing_reaches_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NasSearchError, match="Protocol not known: nosuch"):
        open_store("nosuch://bucket")
    unheard = {"class": "no_such_package.Store", "err": "Install nosuchfs to access it"}
    monkeypatch.setitem(known_implementations, "unheard", unheard)
    with pytest.raises(NasSearchError, match="not installed: Install nosuchfs"):
        open_store("unheard://bucket")
