"""Looks at each trial of a study once it has ended, and never again."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


class Settling:
    """Tells which trials of a growing study have ended since it was last asked.

    A trial that has ended does not change any more: what is summed up of it once stays true, and
    the cost of a look at a study does not grow with its trials.
    """

    def __init__(self) -> None:
        self._open: list[int] = []
        self._seen = 0

    def split(
        self, trials: Sequence["FrozenTrial"]
    ) -> tuple[list["FrozenTrial"], list["FrozenTrial"]]:
        """Of all trials of the study, by number: those that ended since, and the unfinished."""
        looked_at = [trials[number] for number in (*self._open, *range(self._seen, len(trials)))]
        ended = [trial for trial in looked_at if trial.state.is_finished()]
        unfinished = [trial for trial in looked_at if not trial.state.is_finished()]
        self._open = [trial.number for trial in unfinished]
        self._seen = len(trials)
        return ended, unfinished
