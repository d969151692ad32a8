"""A real PostgreSQL server of the tests' own: no service, no network beyond this machine.

From Debian's package (`apt-get install postgresql`), run from a temporary folder on a free port.
"""

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

USER = "nas"
PASSWORD = "correct-horse-battery"
START_SECONDS = 60

FLAGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "16MB",
    "dynamic_shared_memory_type": "mmap",  # a container's /dev/shm may be tiny
    # Nothing here has to outlive a power cut; what was committed outlives the server's own end.
    "fsync": "off",
    "full_page_writes": "off",
    # Not started until a change is a while old; a stop would wait for it.
    "autovacuum": "off",
}


class Server:
    """A PostgreSQL server that can be stopped and started again on the same port."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._folder = programs, folder
        self._process: subprocess.Popen[bytes] | None = None
        self._names = itertools.count()
        self.port = _free_port()
        self._account = _unprivileged()
        if self._account:
            os.chown(folder, self._account.pw_uid, self._account.pw_gid)
        secret = folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._run(
            *("initdb", "--pgdata", folder / "data", "--username", USER, "--pwfile", secret),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"),
        )

    def start(self) -> None:
        """Returns when it answers."""
        flags = [word for name, value in FLAGS.items() for word in ("-c", f"{name}={value}")]
        self._process = self._popen(
            *("postgres", "-D", self._folder / "data", "-p", self.port, "-k", self._folder, *flags)
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise OSError(f"PostgreSQL does not start: {self.log()[-2_000:]}")
            time.sleep(0.05)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """At once, as if it had crashed: whoever is connected is cut off."""
        if self._process is not None and self.is_running:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(timeout=START_SECONDS)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The URL of a database without tables."""
        name = f"test_{next(self._names)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, statement: str, database: str = "postgres") -> None:
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def log(self) -> str:
        """What it wrote so far."""
        return (self._folder / "log").read_text(errors="replace")

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url(), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _popen(self, program: str, *words: object) -> "subprocess.Popen[bytes]":
        account = self._account
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [self._programs / program, *map(str, words)],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=() if account else None,
            )

    def _run(self, program: str, *words: object) -> None:
        if self._popen(program, *words).wait(timeout=START_SECONDS):
            raise OSError(f"{program} failed: {self.log()[-2_000:]}")


def _unprivileged() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to be run by root: who runs it then."""
    if os.geteuid() != 0:
        return None
    names = {each.pw_name: each for each in pwd.getpwall()}
    return names.get("postgres") or names.get("nobody") or pytest.skip("root alone lives here")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _programs() -> Path:
    """The folder of the newest server; skips the test if there is none."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: float(each.parent.name)
    )
    on_path = shutil.which("initdb")
    found = [each for each in found if (each / "initdb").exists()]
    if not found and on_path:
        found = [Path(on_path).resolve().parent]
    if not found:
        pytest.skip("no PostgreSQL server here (Debian: apt-get install postgresql)")
    return found[-1]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """One server for all tests of a process; a test that stops it starts it again."""
    pytest.importorskip("psycopg", reason="needs pip install '.[postgres]'")
    programs = _programs()
    # Of the system's own temporary folder: the path of a socket is short, and anyone gets there.
    folder = Path(tempfile.mkdtemp(prefix="nas-pg-", dir="/tmp"))
    folder.chmod(0o755)
    server = Server(programs, folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres: Server) -> str:
    """Of a new database without tables."""
    return postgres.new_database()
