"""The one exception that reaches a person."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class NasSearchError(Exception):
    """A fault the user can mend. The message is one line: what is wrong and what to do."""


def changed(what: str, why: str) -> NasSearchError:
    """What to say of something in a storage that is not as it was stored."""
    return NasSearchError(
        f"{what} is not as nas-search stores it, so another program changed it ({why}): go back to "
        f"an earlier copy of the storage, or name another study with --study"
    )


_UNREADABLE = (
    ArithmeticError,
    AssertionError,  # Optuna's, that a number is of the kind its row says
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)


def refuses_foreign_rows(read: Callable[P, T]) -> Callable[P, T]:
    """For what reads rows of a database: those that can't be decoded are said in one line."""

    @wraps(read)
    def reading(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            return read(*arguments, **options)
        except _UNREADABLE as error:
            lines = str(error).splitlines() or [""]
            raise changed("a row", f"{type(error).__name__}: {lines[0][:200]}") from error

    return reading


class NoStudyError(NasSearchError):
    """There is no study, or no search, to take anything from."""
