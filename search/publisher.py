"""Keeps what the dashboard shows of a study up to date while a search goes on."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna

FEWEST_SECONDS = 30.0
"""Between two updates, and before the first that shows no trained trial."""

LARGEST_SHARE = 0.02
"""Of the time of the run."""

QUICK_SECONDS = 1.0
"""What a person who ended the search waits for one more update."""


class Publisher:
    """Publishes a study, kept in a `Ledger`, now and then.

    What goes wrong with that is said once and ends nothing.
    """

    def __init__(self, study: "optuna.Study", say: Callable[[str], None]) -> None:
        self._study = study
        self._say = say
        self._last_end = time.monotonic()
        self._last_took = 0.0
        self._has_failed = False
        self._has_shown_any = False

    def update(self, *, any_trained: bool = False) -> None:
        """Publishes if it is time, and at once when there is a first trained trial to show."""
        since = time.monotonic() - self._last_end
        is_first = any_trained and not self._has_shown_any
        if is_first or since >= max(FEWEST_SECONDS, self._last_took / LARGEST_SHARE):
            self._has_shown_any |= any_trained
            self.publish()

    def update_if_quick(self) -> None:
        """Publishes if the last time was no longer than a person waits."""
        if 0 < self._last_took <= QUICK_SECONDS:
            self.publish()

    def publish(self) -> None:
        """Publishes now."""
        started = time.monotonic()
        try:
            from results.publish import publish

            publish(self._study)
        except Exception as error:
            if not self._has_failed:
                reason = (str(error).splitlines() or [""])[0]
                self._say(f"the dashboard is not up to date: {type(error).__name__}: {reason}")
            self._has_failed = True
        self._last_end = time.monotonic()
        self._last_took = self._last_end - started
