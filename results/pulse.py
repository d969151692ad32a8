"""Tells what has nobody any more who works on it: running trials, by their ids, and claims."""

import time
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

from results.database import GRACE_SECONDS, HEARTBEAT_SECONDS

Key = TypeVar("Key", bound=Hashable)


class Pulse(Generic[Key]):
    """Watches heartbeats: one that does not change while it is watched has stopped.

    Heartbeats are written with the clock of the database and only compared with themselves, so a
    clock that is wrong, or jumps, ends nothing that lives. And while the database can't be reached
    nobody's heart beats, so after a gap between two looks the watch begins anew.
    """

    def __init__(self) -> None:
        self._since: dict[Key, tuple[object, float]] = {}
        self._last_look = -float("inf")

    @property
    def is_due(self) -> bool:
        """Whether it is time to look again."""
        return time.monotonic() - self._last_look >= HEARTBEAT_SECONDS

    def look(self, beats: Mapping[Key, object]) -> list[Key]:
        """Takes the last heartbeat of each by its key; returns those that have stopped."""
        now = time.monotonic()
        before = self._since if now - self._last_look < GRACE_SECONDS else {}
        self._last_look = now
        self._since = {
            key: before[key] if key in before and before[key][0] == beat else (beat, now)
            for key, beat in beats.items()
        }
        return [key for key, (_, since) in self._since.items() if now - since > GRACE_SECONDS]
