"""Tells which running trials have nobody any more who works on them."""

import time
from collections.abc import Mapping

from results.database import GRACE_SECONDS, HEARTBEAT_SECONDS


class Pulse:
    """Watches heartbeats: one that does not change while it is watched has stopped.

    Heartbeats are written with the clock of the database and only compared with themselves, so a
    clock that is wrong, or jumps, ends nothing that lives. And while the database can't be reached
    nobody's heart beats, so after a gap between two looks the watch begins anew.
    """

    def __init__(self) -> None:
        self._since: dict[int, tuple[object, float]] = {}
        self._last_look = -float("inf")

    @property
    def is_due(self) -> bool:
        """Whether it is time to look again."""
        return time.monotonic() - self._last_look >= HEARTBEAT_SECONDS

    def look(self, beats: Mapping[int, object]) -> list[int]:
        """Takes the last heartbeat of each running trial; returns those that have stopped."""
        now = time.monotonic()
        before = self._since if now - self._last_look < GRACE_SECONDS else {}
        self._last_look = now
        self._since = {
            trial_id: before[trial_id]
            if trial_id in before and before[trial_id][0] == beat
            else (beat, now)
            for trial_id, beat in beats.items()
        }
        return [
            trial_id for trial_id, (_, since) in self._since.items() if now - since > GRACE_SECONDS
        ]
