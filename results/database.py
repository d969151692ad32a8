"""Optuna's storage, as this tool uses it: it waits, and says in one line what is wrong."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._heartbeat import BaseHeartbeat
from sqlalchemy.exc import SQLAlchemyError

from results.errors import NasSearchError
from results.patience import Patience
from results.storage_url import shown_url, without_secrets

HEARTBEAT_SECONDS = 15
GRACE_SECONDS = 60

Result = TypeVar("Result")


class StorageFault(StorageInternalError, NasSearchError):  # noqa: N818
    """A database can't do what it was asked; the message is one line for the user."""


class Database(RDBStorage):
    """A database that can be reached, or will be within the patience of the process.

    Optuna's calls that read, and those that set an attribute, are safe to repeat and so wait; those
    that make or end a trial are not, and belong to a `Ledger`, which knows what it wrote. Whatever
    else goes wrong is a StorageFault.
    """

    def __init__(
        self,
        url: str,
        engine_arguments: dict[str, Any],
        patience: Patience,
    ) -> None:
        self.patience = patience
        self._url = url
        super().__init__(
            url.replace("{", "{{").replace("}", "}}"),  # Optuna takes it for a template
            engine_kwargs=engine_arguments,
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=GRACE_SECONDS,
        )

    def repeat(self, call: Callable[[], Result]) -> Result:
        """What a call to the database returns. It has to be safe to repeat."""
        with faults(self._url):
            return self.patience.repeat(call)


@contextmanager
def faults(url: str) -> Iterator[None]:
    """A context in which what a database raises becomes a StorageFault."""
    try:
        yield
    except StorageFault:
        raise
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = getattr(error, "orig", None) or getattr(error.__cause__, "orig", None) or error
        lines = str(cause).strip().splitlines() or [type(error).__name__]
        raise StorageFault(
            f"storage {shown_url(url)}: {without_secrets(lines[0], url)} ({_advice(cause)})"
        ) from None


def _advice(cause: BaseException) -> str:
    name = getattr(cause, "sqlite_errorname", "")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return (
            "the file is damaged: put a copy of it in its place, or move it away and begin anew; "
            "what is left of it may be had with sqlite3 FILE .recover"
        )
    return (
        "what was stored is kept; check that it can be reached and written, then run the same "
        "command again"
    )


def _waiting(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Database, *arguments: Any, **options: Any) -> Any:
        return self.repeat(lambda: method(self, *arguments, **options))

    return call


_NOT_REPEATED = {"create_new_trial", "set_trial_state_values"}
_OF_OPTUNAS_CACHE = {"_get_trials", "_set_trial_param", "_get_best_trial_id"}

for _name, _method in inspect.getmembers(RDBStorage, inspect.isfunction):
    _is_call = hasattr(BaseStorage, _name) or hasattr(BaseHeartbeat, _name)
    if (_is_call and not _name.startswith("__") and _name not in _NOT_REPEATED) or (
        _name in _OF_OPTUNAS_CACHE
    ):
        setattr(Database, _name, _waiting(_method))
