"""Waiting for a database that can't be reached for a while: restarted, or behind a cut network."""

import re
import threading
import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_SECONDS = 300.0
"""Of a search, from the moment on that a call fails. A server's restart takes some of them."""

RETRY_SECONDS = 0.5
SILENT_SECONDS = 2.0
"""A shorter interruption is nothing to tell a person about."""

_REFUSED = re.compile(
    'no password supplied|authentication failed|(role|database) "[^"]*" does not exist'
)

Result = TypeVar("Result")


class Patience:
    """Repeats calls to a database whose connection is lost, for `seconds` each.

    `notice` is called with True when the database has been away for `SILENT_SECONDS`, and with
    False when it is back; once each, whatever the number of threads that wait.
    """

    def __init__(
        self, seconds: float = 0.0, notice: Callable[[bool], None] = lambda is_away: None
    ) -> None:
        self._seconds = seconds
        self._notice = notice
        self._guard = threading.Lock()
        self._is_away = False
        self._returned_at = -float("inf")

    def end(self) -> None:
        """From now on what can't be reached at once is an error."""
        self._seconds = 0.0

    def repeat(self, call: Callable[[], Result]) -> Result:
        """What the call returns; it has to be safe to repeat. Raises what it raises last."""
        started = time.monotonic()
        while True:
            try:
                result = call()
            except Exception as error:
                waited = time.monotonic() - started
                if not _is_lost(error) or waited >= self._seconds:
                    raise
                if waited >= SILENT_SECONDS:
                    self.notice(True)
                time.sleep(RETRY_SECONDS)
            else:
                self.notice(False)
                return result

    def notice(self, is_away: bool, at: float | None = None) -> None:
        """Also takes what another process of this machine noticed that this one speaks for.

        `at`: when, by `time.monotonic`. That the database was away before it was back is no news.
        """
        at = time.monotonic() if at is None else at
        with self._guard:
            if self._is_away == is_away or at <= self._returned_at:
                return
            self._is_away = is_away
            if not is_away:
                self._returned_at = at
        self._notice(is_away)


def _is_lost(error: BaseException) -> bool:
    """Whether the connection is lost, or can't be made.

    What fails without a statement fails at connecting, or at the end of a transaction. A server
    that refuses a login is there.
    """
    from sqlalchemy.exc import DBAPIError, OperationalError

    cause = error if isinstance(error, DBAPIError) else error.__cause__
    if not isinstance(cause, DBAPIError) or _REFUSED.search(str(cause.orig)):
        return False
    return cause.connection_invalidated or (
        isinstance(cause, OperationalError) and cause.statement is None
    )
