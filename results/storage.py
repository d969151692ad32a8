"""Opens studies: the embedded SQLite file by default, or any database Optuna can use."""

import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from results.errors import NasSearchError, refuses_foreign_rows
from results.record import Given
from results.settings import SETTINGS_KEY, StudySettings

if TYPE_CHECKING:
    import optuna
    from sqlalchemy.engine import URL

CREATED_KEY = "created"
HEARTBEAT_SECONDS = 15
GRACE_SECONDS = 60
MOST_ATTEMPTS = 5


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


def open_storage(url: str, *, create: bool) -> "optuna.storages.RDBStorage":
    """Connects to a storage; an SQLite file that is missing is made only if `create`.

    Raises NasSearchError where it is missing or can't be reached.
    """
    import optuna

    parsed = _parse(url)
    is_file = parsed.get_backend_name() == "sqlite"
    path = Path(parsed.database or ":memory:")
    if is_file and path.name == ":memory:":
        raise NasSearchError("--storage names no file: an in-memory database can't be shared")
    if is_file and not create and not path.is_file():
        raise NasSearchError(
            f"no studies in {path}: run nas-search first, or name its place with --out or --storage"
        )
    # Heartbeats, their callback and metric names are what Optuna calls experimental.
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with _connection_errors(shown_url(url)):
        if not is_file:
            return _connect(url, {})
        arguments = {"connect_args": {"timeout": 60, "factory": _Connection}}
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path.with_suffix(".lock")):
            return _connect(url, arguments)


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


def _connect(url: str, engine_arguments: dict[str, Any]) -> "optuna.storages.RDBStorage":
    import optuna

    return optuna.storages.RDBStorage(
        url,
        engine_kwargs=engine_arguments,
        heartbeat_interval=HEARTBEAT_SECONDS,
        grace_period=GRACE_SECONDS,
        heartbeat_stale_trial_callback=enqueue_again,
    )


def enqueue_again(study: "optuna.Study", trial: "optuna.trial.FrozenTrial") -> None:
    """Queues the parameters of a trial that was cut off, without anything else of it.

    Parameters that came from the queue are known before they are drawn; others only if the trial
    had drawn all of them. A trial that came with its configuration keeps it. A trial that was cut
    off `MOST_ATTEMPTS` times is left alone: it may be what ends its process.
    """
    attempt = trial.user_attrs.get("attempt", 1) + 1
    given = Given.of(trial.user_attrs)
    params = trial.system_attrs.get("fixed_params") or trial.params
    is_known = given is not None or set(params) == set(settings_of(study).space.dimensions)
    if attempt <= MOST_ATTEMPTS and is_known:
        attributes = {"retry_of": trial.number, "attempt": attempt}
        study.enqueue_trial(params, user_attrs=attributes | (given.attributes() if given else {}))


@contextmanager
def storage_errors(shown: str) -> Iterator[None]:
    """Turns what a database raises into one line. `shown` is its URL without the password."""
    import optuna
    import sqlalchemy.exc

    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        cause = getattr(error, "orig", None) or getattr(error.__cause__, "orig", None) or error
        lines = str(cause).strip().splitlines() or [type(error).__name__]
        raise NasSearchError(
            f"storage {shown}: {lines[0]} (what was stored is kept; check that it can be reached "
            f"and written, then run the same command again)"
        ) from None


@contextmanager
def _connection_errors(shown: str) -> Iterator[None]:
    """As `storage_errors`, and what only connecting raises."""
    try:
        with storage_errors(shown):
            yield
    except ImportError as error:
        raise NasSearchError(
            f"storage {shown} needs a driver that is not installed ({error.name or error}): "
            f"for PostgreSQL, pip install '.[postgres]' in the folder of nas-search"
        ) from None
    except RuntimeError as error:  # Optuna's word for a schema it does not know
        raise NasSearchError(f"storage {shown}: {(str(error).splitlines() or ['?'])[0]}") from None


def shown_url(url: str) -> str:
    """The URL with its password hidden. Raises NasSearchError if it is none."""
    return _parse(url).render_as_string(hide_password=True)


def _parse(url: str) -> "URL":
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url.encode()
    except UnicodeEncodeError:
        raise NasSearchError(
            "the name of the database has bytes that are no UTF-8: name another place with --out "
            "or --storage"
        ) from None
    try:
        return make_url(url)
    except (ArgumentError, ValueError):  # the latter of a port that is no number
        raise NasSearchError(
            "--storage is not a database URL: write for example sqlite:///runs/my.db or "
            "postgresql://user@host/name"
        ) from None


@refuses_foreign_rows
def load_study(storage: "optuna.storages.RDBStorage", name: str | None) -> "optuna.Study":
    """The study of that name, or the newest one. Raises NasSearchError if there is none."""
    import optuna

    # Optuna's summaries of studies would read all their trials.
    studies = {
        each.study_name: each
        for each in storage.get_all_studies()
        if SETTINGS_KEY in each.user_attrs
    }
    if not studies:
        raise NasSearchError("no studies of nas-search here yet: run nas-search first")
    if name is None:
        name = max(studies, key=lambda each: str(studies[each].user_attrs.get(CREATED_KEY)))
    if name not in studies:
        raise NasSearchError(f"no study {name} here; there is: {', '.join(sorted(studies))}")
    return optuna.load_study(study_name=name, storage=storage)


def settings_of(study: "optuna.Study") -> StudySettings:
    """What a study is about. Raises NasSearchError if a newer version or a stranger wrote it."""
    return StudySettings.of(study.user_attrs[SETTINGS_KEY], study.study_name)
