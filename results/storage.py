"""Opens studies: the embedded SQLite file by default, or any database Optuna can use."""

import logging
import os
import random
import sqlite3
import textwrap
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from filelock import FileLock

from results.errors import NasSearchError, NoStudyError, refuses_foreign_rows
from results.patience import Patience
from results.settings import SETTINGS_KEY, StudySettings
from results.storage_url import parse_url, shown_url

if TYPE_CHECKING:
    import optuna

    from results.database import Database

CREATED_KEY = "created"
MOST_NAMED = 500
"""Characters of the names of studies that a message tells."""


TABLE_SECONDS = 10.0
"""In which several processes that make the same tables in a server take turns."""

LIBPQ_DRIVERS = ("psycopg", "psycopg2")
LIBPQ_ARGUMENTS = {"connect_timeout": 10, "keepalives_idle": 30, "tcp_user_timeout": 30_000}
"""In seconds, and milliseconds: otherwise a network that was cut is noticed after a quarter of an
hour."""


class _Connection(sqlite3.Connection):
    """A write-ahead log lets readers and one writer work at once, and NORMAL syncs it at
    checkpoints only: a power cut can lose the last moments, never the database."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute("PRAGMA journal_mode=WAL")
        self.execute("PRAGMA synchronous=NORMAL")


def default_url(out: Path) -> str:
    """The URL of the SQLite file in the output folder."""
    return f"sqlite:///{default_file(out).absolute()}"


def default_file(out: Path) -> Path:
    """The SQLite file in the output folder."""
    return out / "nas-search.db"


def open_storage(
    url: str, *, create: bool, patience: Patience | None = None, waits: bool = False
) -> "Database":
    """Connects to a storage; an SQLite file that is missing is made only if `create`.

    A server that is lost later is waited for as long as the patience lasts, and with `waits` also
    one that can't be reached now. Raises NasSearchError where the storage is missing or can't be
    reached.
    """
    import optuna

    parsed = parse_url(url)
    is_file = parsed.get_backend_name() == "sqlite"
    path = Path(parsed.database or ":memory:")
    if is_file and path.name == ":memory:":
        raise NasSearchError("--storage names no file: an in-memory database can't be shared")
    if is_file and not create and not path.is_file():
        raise NoStudyError(
            f"no studies in {path}: run nas-search first, or name its place with --out or --storage"
        )
    # Heartbeats, their callback and metric names are what Optuna calls experimental.
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    patience = patience or Patience()
    with _connection_errors(url):
        if not is_file:
            connect = partial(_connect_to_server, url, patience)
            return patience.repeat(connect) if waits else connect()
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path.with_suffix(".lock")):
            # Waiting mends nothing that is wrong with a file, such as a full disk.
            return _connect(
                url if create else _readable(url, path),
                {"connect_args": {"timeout": 60, "factory": _Connection}},
                Patience(),
            )


def _readable(url: str, path: Path) -> str:
    """The URL with which a file can be read where nothing may be written.

    To read a write-ahead log SQLite makes files beside it. Where it may not, it has to be told that
    there is no log, or that another process has made them.
    """
    if os.access(path.parent, os.W_OK) and os.access(path, os.W_OK):
        return url
    log = path.with_name(path.name + "-wal")
    how = {"mode": "ro"} if log.exists() else {"immutable": "1"}
    parsed = parse_url(url).set(database=f"file:{quote(str(path.absolute()))}")
    return parsed.update_query_dict({**how, "uri": "true"}).render_as_string(hide_password=False)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time: all of them make what tables are missing, and would collide."""
    lock = FileLock(path)
    with suppress(OSError):  # where nothing may be written, nobody makes tables either
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _connect_to_server(url: str, patience: Patience) -> "Database":
    """Of several that make the missing tables at once each but one fails, and finds them then."""
    from sqlalchemy.exc import IntegrityError, InternalError, ProgrammingError

    # What it has to say about a lost connection is said in one line by whoever gives up.
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)
    arguments: dict[str, Any] = {
        "pool_pre_ping": True,
        # A connection for each thread that needs one, but only one is kept: servers have few.
        "pool_size": 1,
        "max_overflow": -1,
    }
    if parse_url(url).get_driver_name() in LIBPQ_DRIVERS:
        arguments["connect_args"] = dict(LIBPQ_ARGUMENTS)
    deadline = time.monotonic() + TABLE_SECONDS
    while True:
        try:
            return _connect(url, arguments, patience)
        except (ProgrammingError, IntegrityError, InternalError, AssertionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.05, 0.5))


def _connect(url: str, engine_arguments: dict[str, Any], patience: Patience) -> "Database":
    from results.database import Database

    return Database(url, engine_arguments, patience)


@contextmanager
def _connection_errors(url: str) -> Iterator[None]:
    """Turns what connecting raises into one line."""
    from results.database import faults

    shown = shown_url(url)
    try:
        with faults(url):
            yield
    except NasSearchError:
        raise
    except ImportError as error:
        raise NasSearchError(
            f"storage {shown} needs a driver that is not installed ({error.name or error}): "
            f"for PostgreSQL, pip install '.[postgres]' in the folder of nas-search"
        ) from None
    except RuntimeError as error:  # Optuna's word for a schema it does not know
        raise NasSearchError(f"storage {shown}: {(str(error).splitlines() or ['?'])[0]}") from None


@refuses_foreign_rows
def load_study(
    storage: "optuna.storages.RDBStorage", name: str | None, *, of_search: bool = False
) -> "optuna.Study":
    """The study of that name, or the newest one; with `of_search` the newest that a search made.

    Raises NasSearchError if there is none.
    """
    import optuna

    # Optuna's summaries of studies would read all their trials.
    studies = {
        each.study_name: each
        for each in storage.get_all_studies()
        if SETTINGS_KEY in each.user_attrs
    }
    if not studies:
        raise NoStudyError("no studies of nas-search here yet: run nas-search first")
    if name is None:
        eligible = [each for each in studies if not of_search or _is_search(studies[each])]
        if not eligible:
            raise NoStudyError(
                "no search here yet: run nas-search first, or name another study with --study"
            )
        # By number: the clocks of several machines differ.
        name = max(eligible, key=lambda each: studies[each]._study_id)
    if name not in studies:
        there = textwrap.shorten(", ".join(sorted(studies)), MOST_NAMED, placeholder=" ...")
        raise NasSearchError(f"no study {name} here; there is: {there}")
    return optuna.load_study(study_name=name, storage=storage)


def _is_search(study: "optuna.study._frozen.FrozenStudy") -> bool:
    return bool(study.user_attrs[SETTINGS_KEY].get("trials", "drawn") == "drawn")


def settings_of(study: "optuna.Study") -> StudySettings:
    """What a study is about. Raises NasSearchError if a newer version or a stranger wrote it."""
    return StudySettings.of(study.user_attrs[SETTINGS_KEY], study.study_name)
