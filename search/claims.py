"""Who of several processes does what is to be done once, where it is not a trial.

A claim is an attribute of the study: the mark of the process, and how often its heart has beaten
since. It is free again when that process is known to be gone, or its heart is seen to have stopped
(see `results.pulse`), or it was given back. What was done is not the claim's to say.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from results.database import HEARTBEAT_SECONDS, StorageFault
from results.ledger import at_once
from results.pulse import Pulse
from search.study import is_gone, this_worker

if TYPE_CHECKING:
    import optuna


class Claims:
    """As one thread sees and takes them. The study is kept in a ledger."""

    def __init__(self, study: "optuna.Study") -> None:
        self._study = study
        self._pulse = Pulse[str]()
        self._stopped: dict[str, Any] = {}
        """The last beat of each heart that has stopped."""

    def take(self, keys: Iterable[str], done: Iterable[str]) -> str | None:
        """Takes the first key that is free, unless what is beside it in `done` is an attribute of
        the study by now; None if all are taken or done. Call it again and again."""
        pairs = list(zip(keys, done, strict=True))
        attributes = self._study.user_attrs
        if self._pulse.is_due:
            beats = {key: attributes[key] for key, _ in pairs if attributes.get(key)}
            self._stopped |= {key: beats[key] for key in self._pulse.look(beats)}
        if not any(self._is_free(attributes, *each) for each in pairs):
            return None

        def take() -> str | None:
            now = self._study.user_attrs
            for pair in pairs:
                if self._is_free(now, *pair):
                    self._write(pair[0], 0)
                    return pair[0]
            return None

        return at_once(self._study, take)

    @contextmanager
    def held(self, key: str) -> Iterator[None]:
        """A context in which a claim of this process's stays its own; given back at the end."""
        ended = threading.Event()

        def beat() -> None:
            beats = 0
            with suppress(StorageFault):  # who works on it will notice
                while not ended.wait(HEARTBEAT_SECONDS):
                    beats += 1
                    self._write(key, beats)

        heart = threading.Thread(target=beat, daemon=True)
        heart.start()
        try:
            yield
        finally:
            ended.set()
            heart.join()
            self._study.set_user_attr(key, None)

    def _write(self, key: str, beats: int) -> None:
        self._study.set_user_attr(key, [this_worker(), beats])

    def _is_free(self, attributes: dict[str, Any], key: str, done: str) -> bool:
        claim = attributes.get(key)
        if done in attributes:
            return False
        return not claim or is_gone(claim[0]) or self._stopped.get(key) == claim
