"""Where files are kept: a folder of this machine, or a folder or bucket that several reach.

What has a URL is reached through fsspec, with the credentials its own library finds.
"""

import errno
import os
import re
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from results.atomic import write_atomically
from results.errors import NasSearchError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_URL = re.compile(r"[a-z][a-z0-9+.-]*://(?P<authority>[^/]*)(?:/.*)?", re.IGNORECASE | re.DOTALL)

_WITHOUT_PASSWORD = re.compile(r"([^@:]*@)?(\[[0-9a-f:.]+\]|[^@:]*)(:\d+)?", re.IGNORECASE)
"""User, host or bucket, port."""


class File(Protocol):
    """A file of a store, as a `pathlib.Path` is one. Its text is its full address.

    Every operation raises OSError.
    """

    def read_bytes(self) -> bytes: ...

    def exists(self) -> bool: ...

    def unlink(self) -> None: ...


class Store(ABC):
    """Keeps whole files by name. A name is a relative path with `/` between its parts.

    `is_shared`: it is meant to be reached by several machines.
    """

    is_shared = True

    @property
    @abstractmethod
    def place(self) -> str:
        """Where it is, in words that hold on every machine."""

    @abstractmethod
    def file(self, name: str) -> File:
        """The file of that name, whether it is there or not."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Keeps `content` under the name, in place of what was there. Raises OSError."""

    def mark(self, folder: str) -> None:
        """Says in a folder of the store that it is its own. Raises OSError."""
        self.write(_marker(folder), b"nas-search keeps files here\n")

    def is_marked(self, folder: str) -> bool:
        """Whether `folder` was marked in this store. Raises OSError."""
        return self.file(_marker(folder)).exists()

    def name_again(self, name: str, file: str) -> None:
        """Keeps a file under a second name. Raises OSError."""
        self.write(name, self.file(file).read_bytes())


class Folder(Store):
    """A folder of this machine, made when something is written. Files appear whole."""

    is_shared = False

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def place(self) -> str:
        """As `scp` and `rsync` take it."""
        return f"{socket.gethostname()}:{self._path.absolute()}"

    def file(self, name: str) -> Path:
        return self._path / name

    def write(self, name: str, content: bytes) -> None:
        write_atomically(self._room_for(name), content)

    def name_again(self, name: str, file: str) -> None:
        """Without another copy, where the file system can do that."""
        path = self._room_for(name)
        try:
            os.link(self._path / file, path)
        except OSError:
            super().name_again(name, file)

    def _room_for(self, name: str) -> Path:
        path = self._path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


class SharedFolder(Folder):
    """A folder that several machines mount.

    Where it is not mounted, perhaps since a moment ago, an empty folder of its name may stand. So
    nothing is written but into folders that `mark` made.
    """

    is_shared = True

    @property
    def place(self) -> str:
        return str(self._path)

    def mark(self, folder: str) -> None:
        (self._path / folder).mkdir(parents=True, exist_ok=True)
        super().mark(folder)

    def _room_for(self, name: str) -> Path:
        marked = self._path / name.partition("/")[0]
        if not marked.is_dir():
            reason = "not there any more; mount it and run the same command again"
            raise FileNotFoundError(errno.ENOENT, reason, str(marked))
        return super()._room_for(name)


class Remote(Store):
    """A place with a URL. A bucket has whole files alone; elsewhere (sftp) a broken connection may
    leave a part of a file that nothing refers to."""

    def __init__(self, url: str) -> None:
        """Raises NasSearchError if nothing here can reach such URLs, and OSError."""
        from fsspec.core import url_to_fs

        self._url = url
        with _os_errors(url):
            try:
                self._files, root = url_to_fs(url)
            except ImportError as error:
                raise NasSearchError(
                    f"--artifacts {url} needs a package that is not installed: {error}"
                ) from None
            except ValueError as error:
                raise NasSearchError(
                    f"--artifacts {url}: {error}; write a folder, or a URL such as "
                    f"s3://bucket/folder"
                ) from None
        self._root = root.rstrip("/")

    @property
    def place(self) -> str:
        return self._url

    def file(self, name: str) -> "RemoteFile":
        return RemoteFile(self._files, f"{self._root}/{name}", f"{self._url}/{name}")

    def write(self, name: str, content: bytes) -> None:
        path = f"{self._root}/{name}"
        with _os_errors(f"{self._url}/{name}"):
            try:
                self._files.pipe_file(path, content)
            except FileNotFoundError:
                # Some have folders, which must be there. A bucket that is gone is not made anew.
                if not self._files.isdir(self._root):
                    raise
                self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
                self._files.pipe_file(path, content)


class RemoteFile:
    """A file at a URL."""

    def __init__(self, files: "AbstractFileSystem", path: str, url: str) -> None:
        self._files, self._path, self._url = files, path, url

    def __str__(self) -> str:
        return self._url

    def read_bytes(self) -> bytes:
        with _os_errors(self._url):
            content: bytes = self._files.cat_file(self._path)
            return content

    def exists(self) -> bool:
        # fsspec's own `exists` takes every fault for an absence.
        try:
            with _os_errors(self._url):
                self._files.info(self._path)
        except FileNotFoundError:
            return False
        return True

    def unlink(self) -> None:
        with _os_errors(self._url):
            self._files.rm_file(self._path)


def open_store(address: str) -> Store:
    """The store that `--artifacts` names. Raises NasSearchError and OSError."""
    address = full_address(address)
    return Remote(address) if "://" in address else SharedFolder(Path(address))


def full_address(text: str) -> str:
    """An address as all machines understand it: an absolute path, or a URL.

    Raises NasSearchError if it is neither, or has a password in it.
    """
    if "\0" in text:
        raise NasSearchError("--artifacts: a zero byte can't be part of a folder's name")
    if "://" not in text:
        return _absolute(text)
    url = _URL.fullmatch(text)
    if url is None or text.count("://") > 1:
        raise NasSearchError(
            "--artifacts takes a folder, or one URL such as s3://bucket/folder (fsspec's chains "
            "of several are not taken)"
        )
    if not _WITHOUT_PASSWORD.fullmatch(url["authority"]) or "?" in text:
        raise NasSearchError(
            "--artifacts is kept with the study, where others read it: leave passwords, keys and "
            "what follows a ? out, and put them where the library of the store looks (for s3:// "
            "AWS_PROFILE or ~/.aws/credentials)"
        )
    if text.lower().startswith("file://"):
        return _absolute(text[len("file://") :])
    return text.rstrip("/") if url["authority"] else text


def _absolute(folder: str) -> str:
    """With links as they are, which may lead elsewhere on each machine, but without `..`."""
    path = Path(folder).absolute()
    return str(path.resolve() if ".." in path.parts else path)


def _marker(folder: str) -> str:
    return f"{folder}/nas-search.txt"


@contextmanager
def _os_errors(address: str) -> Iterator[None]:
    """Whatever a library of a store raises, as the OSError that a local file would have raised."""
    try:
        yield
    except NasSearchError:
        raise
    except Exception as error:
        number = errno.ENOENT if isinstance(error, FileNotFoundError) else errno.EIO
        reason = getattr(error, "strerror", None) or (str(error).splitlines() or [""])[0]
        raise OSError(
            getattr(error, "errno", None) or number, reason or type(error).__name__, address
        ) from error
