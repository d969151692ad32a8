"""An exported folder's promise, held against what was measured of its files."""

import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from results.models.files import WEIGHTS, seed_of
from results.models.promise import Confirmed, Promise

ROUNDED = 2
"""Images. Other kernels round differently: one or two of 10,000 may change sides."""


def tolerance(images: int) -> float:
    """Percent of so many images that may come out otherwise elsewhere."""
    return 100 * ROUNDED / images + 1e-9


@dataclass(frozen=True)
class Verified:
    """What a folder promises, and what was measured of it.

    `params`: counted. `accuracies` in percent of `images` by file name, for all files that an
    accuracy is promised of; None: not measured, for the reason in `unmeasured`. `error`: why
    nothing of the folder was measured, else "".
    """

    folder: Path
    promise: Promise | None = None
    params: int | None = None
    images: int = 0
    accuracies: dict[str, float | None] = field(default_factory=dict)
    unmeasured: dict[str, str] = field(default_factory=dict)
    error: str = ""

    def keeps(self, promised: float, measured: float) -> bool:
        """Whether no more was promised than was measured, both in percent; never of no number."""
        return promised <= measured + tolerance(self.images)

    def rows(self) -> list[tuple[str, float, float | None]]:
        """For each file: its name, the accuracy that is promised of it, and the measured one."""
        promised = self.promise.accuracies if self.promise else {}
        return [(name, promised[name], value) for name, value in self.accuracies.items()]

    @property
    def over_seeds(self) -> Confirmed | None:
        """The weights of all confirmation seeds; None where the folder does not have them all.

        They are those of the last epoch. The sustained accuracy, the lowest of some last epochs, is
        no higher than theirs.
        """
        if self.promise is None or self.promise.confirmed is None:
            return None
        values = [
            value
            for name, value in self.accuracies.items()
            if value is not None and (name == WEIGHTS or seed_of(name) is not None)
        ]
        if len(values) < self.promise.confirmed.seeds:
            return None
        return Confirmed(len(values), statistics.mean(values), min(values))

    @property
    def broken(self) -> list[str]:
        """In a line each, what is promised and not so; none if all is well."""
        if self.promise is None or self.params is None:
            return [self.error]
        found = []
        if self.params > self.promise.params:
            found.append(f"promises {self.promise.params:,} parameters and has {self.params:,}")
        found += [
            f"{name} promises {promised:.2f}% of the test images and classifies {value:.2f}%"
            for name, promised, value in self.rows()
            if value is not None and not self.keeps(promised, value)
        ]
        said, last = self.promise.confirmed, self.over_seeds
        if said is None or last is None:
            return found
        pairs = {"mean": (said.mean, last.mean), "worst": (said.worst, last.worst)}
        found += [
            f"promises a sustained accuracy of {promised:.2f}% as the {what} of {said.seeds} "
            f"seeds, whose weights have {value:.2f}%"
            for what, (promised, value) in pairs.items()
            if not self.keeps(promised, value)
        ]
        return found

    def described(self) -> dict[str, Any]:
        """For programs; `promised` and `measured` are those of the float32 weights."""
        promise, last = self.promise, self.over_seeds
        said = promise.confirmed if promise else None
        return {
            "folder": str(self.folder),
            "error": self.error or None,
            "params": self.params,
            "promised_params": promise.params if promise else None,
            "promised": promise.accuracies[WEIGHTS] if promise else None,
            "measured": self.accuracies.get(WEIGHTS),
            "files": {
                name: {
                    "promised": promised,
                    "measured": value,
                    "why_not_measured": self.unmeasured.get(name),
                }
                for name, promised, value in self.rows()
            },
            "seeds": said
            and {"promised_sustained": asdict(said), "measured_last_epoch": last and asdict(last)},
            "broken": self.broken,
        }
