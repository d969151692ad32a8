"""What a person sees while a search runs: bars on a terminal, lines elsewhere. All on stderr."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from search.events import CutOff, EpochDone, Event, Finished, Started

FEWEST_FOR_ETA = 4


class Tally:
    """The counts behind the display, from the study's trials so far and the events since.

    `compares` is off where nothing is chosen: then no best is shown.
    """

    def __init__(
        self,
        goal: int,
        complete: int,
        pruned: int = 0,
        best: float | None = None,
        *,
        compares: bool = True,
    ) -> None:
        self._compares = compares
        self.goal = goal
        self.complete = complete
        self.pruned = pruned
        self.best = best
        self._first = complete + pruned
        self._started = time.monotonic()

    @property
    def done(self) -> int:
        return self.complete + self.pruned

    def count(self, event: Finished) -> None:
        self.complete += event.state == "complete"
        self.pruned += event.state == "pruned"
        if event.was_promoted and event.state in ("complete", "pruned"):
            self.pruned = max(0, self.pruned - 1)  # another crew may have counted it
        if event.state == "complete" and event.sustained is not None:
            self.best = max(event.sustained, self.best or 0.0)

    @property
    def eta_seconds(self) -> float | None:
        """Seconds to the goal at the pace since the start; None before a few have ended."""
        done = self.done - self._first
        if done < FEWEST_FOR_ETA:
            return None
        return (time.monotonic() - self._started) / done * max(0, self.goal - self.done)

    def __str__(self) -> str:
        parts = []
        if self._compares:
            best = f"{self.best:.2f}%" if self.best is not None else "-"
            parts.append(f"{self.complete} complete, {self.pruned} pruned, best {best}")
        if eta := self.eta_seconds:
            parts.append(f"ETA {duration(eta)}")
        return ", ".join(parts)


class Display(Protocol):
    """Shows a phase (the search, or the confirmation) while it runs."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def show(self, event: Event) -> None: ...


def make_display(title: str, tally: Tally, epochs: int) -> Display:
    """Bars if stderr is a terminal, else lines."""
    return (Bars if sys.stderr.isatty() else Lines)(title, tally, epochs)


def say(line: str) -> None:
    """One line on stderr."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


class Lines:
    """A line whenever a training ends."""

    def __init__(self, title: str, tally: Tally, epochs: int) -> None:
        self._title, self._tally = title, tally

    def __enter__(self) -> Self:
        say(f"{self._title}: {self._tally.done} of {self._tally.goal} done")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    def show(self, event: Event) -> None:
        if isinstance(event, CutOff):
            say(cut_off(event))
        if not isinstance(event, Finished):
            return
        self._tally.count(event)
        so_far = str(self._tally)
        say(
            f"[{self._tally.done}/{self._tally.goal}] {describe(event)}"
            + (f" ({so_far})" if so_far else "")
        )


class Bars:
    """One bar for the whole, and one for each running training with its epoch and accuracy."""

    def __init__(self, title: str, tally: Tally, epochs: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._tally = tally
        self._epochs = epochs
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[said]}"),
            console=Console(stderr=True),
            transient=False,
        )
        self._whole = self._progress.add_task(title, total=tally.goal, said="")
        self._running: dict[tuple[int, int | None], object] = {}

    def __enter__(self) -> Self:
        self._update()
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for task in self._running.values():
            self._progress.remove_task(task)  # type: ignore[arg-type]
        self._progress.stop()

    def show(self, event: Event) -> None:
        if isinstance(event, Started):
            self._running[event.trial, event.seed] = self._progress.add_task(
                f"  {label(event)}, {event.params:,} parameters", total=self._epochs, said=""
            )
        elif isinstance(event, EpochDone):
            self._progress.update(
                self._running[event.trial, event.seed],  # type: ignore[arg-type]
                completed=event.epoch,
                said=f"{event.accuracy:.2f}%",
            )
        elif isinstance(event, CutOff):
            self._remove(event)
            self._progress.console.print(f"  {cut_off(event)}", highlight=False)
        elif isinstance(event, Finished):
            self._remove(event)
            self._tally.count(event)
            self._progress.console.print(f"  {describe(event)}", highlight=False)
            self._update()

    def _remove(self, event: Finished | CutOff) -> None:
        task = self._running.pop((event.trial, event.seed), None)
        if task is not None:
            self._progress.remove_task(task)  # type: ignore[arg-type]

    def _update(self) -> None:
        self._progress.update(self._whole, completed=self._tally.done, said=str(self._tally))


def label(event: Started | EpochDone | Finished | CutOff) -> str:
    """The training an event is about."""
    if isinstance(event, Started | Finished) and event.title:
        return event.title
    return f"trial {event.trial}" + (f" seed {event.seed}" if event.seed is not None else "")


def describe(event: Finished) -> str:
    """The end of a training in a few words."""
    accuracy = f"{event.sustained:.2f}%" if event.sustained is not None else ""
    ending = {
        "complete": f"sustained {accuracy}" + (f", {event.note}" if event.note else ""),
        "pruned": f"{event.note}, lowest so far {accuracy}",
        "failed": f"failed, {event.note}",
        "duplicate": event.note,
    }[event.state]
    return f"{label(event)}: {event.params:,} parameters, {ending}"


def cut_off(event: CutOff) -> str:
    """The unexpected end of a training in a few words."""
    return f"{label(event)}: cut off, as {event.reason}; it is begun again"


def time_line(totals: Mapping[str, Any]) -> str:
    """Where the time of a search went (see `TimeAccount.totals`), the largest share first."""
    whole = sum(totals["seconds"].values()) or 1.0
    shares = sorted(totals["seconds"].items(), key=lambda each: -each[1])
    names = {"waiting": "start, waiting and work cut off"}
    said = ", ".join(
        f"{names.get(kind, kind)} {100 * seconds / whole:.1f}%"
        for kind, seconds in shares
        if seconds
    )
    workers = f"{totals['workers']} worker" + ("s" if totals["workers"] > 1 else "")
    return f"time of the search: {duration(totals['wall_seconds'])} on {workers}; {said}"


def duration(seconds: float) -> str:
    """A length of time as a person says it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
