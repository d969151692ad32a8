"""Who of several processes does what is to be done once, where it is not a trial.

A claim is an attribute of the study: the mark of the process, and how often its heart has beaten
since. It is free again when that process is known to be gone, or its heart is seen to have stopped
(see `results.pulse`), or it was given back. What was done is not the claim's to say.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from results.database import HEARTBEAT_SECONDS, StorageFault
from results.errors import changed
from results.ledger import at_once
from results.pulse import Pulse
from results.stored import StoredClaim
from search.mark import is_gone, this_process
from space.value import one_line

if TYPE_CHECKING:
    import optuna

CLAIM_KEY = "confirming"
"""What the names of claims begin with."""


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
            for key, each in pairs:
                if self._is_free(now, key, each):
                    self._study.set_user_attr(key, _claim(0))
                    return key
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
                    self._write(key, _claim(beats))

        heart = threading.Thread(target=beat, daemon=True)
        heart.start()
        try:
            yield
        finally:
            ended.set()
            heart.join()
            self._write(key, None)

    def _write(self, key: str, claim: Any) -> None:
        """Unless it is another's by now, who took this process for dead."""

        def write() -> None:
            if _owner(self._study.user_attrs, key) == this_process():
                self._study.set_user_attr(key, claim)

        at_once(self._study, write)

    def _is_free(self, attributes: dict[str, Any], key: str, done: str) -> bool:
        if done in attributes:
            return False
        owner = _owner(attributes, key)
        return owner is None or is_gone(owner) or self._stopped.get(key) == attributes[key]


def release_dead(study: "optuna.Study") -> None:
    """Frees the claims of processes of this machine that are gone."""

    def write() -> None:
        attributes = study.user_attrs
        for key in attributes:
            if key.startswith(f"{CLAIM_KEY}:") and is_gone(_owner(attributes, key)):
                study.set_user_attr(key, None)

    at_once(study, write)


def _claim(beats: int) -> dict[str, Any]:
    return StoredClaim(process=this_process(), beats=beats).model_dump()


def _owner(attributes: dict[str, Any], key: str) -> str | None:
    """The mark of who claims it. Raises NasSearchError."""
    if attributes.get(key) is None:
        return None
    try:
        return StoredClaim.model_validate(attributes[key]).process
    except ValidationError as error:
        raise changed(key, one_line(error)) from None
