"""How a study bears many workers: trials a second, and what a worker waits for.

    python benchmarks/many_workers.py                                          # SQLite
    python benchmarks/many_workers.py --postgresql postgresql://user@host/name

The worker loop, its processes, the storage, checkpoints and pictures are the real ones; a training
sleeps for so many seconds an epoch (see `simulation.py`), so that what is not training shows. Each
row begins with a copy of the same study. The clock begins when the last worker has read the study
and been through a draw (opening), and runs for `--seconds`; what is told within counts.
"""

import multiprocessing
import shutil
import statistics
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import click
import optuna
import psutil
import sqlalchemy

sys.path.insert(0, str(Path(__file__).parents[1]))  # measures this checkout, installed or not

from benchmarks.filled import make_filled, plan_of
from benchmarks.simulation import simulate_forked
from results.storage import default_url, open_storage
from results.versions import device_name, versions
from search import worker
from search.clock import Kind
from search.crew import Crew
from search.events import EpochDone, Event, Finished, TimeSpent
from search.objective import Objective
from search.plan import Plan
from search.study import DeadTrials, load
from search.task import SearchTask

NEVER_REACHED = 1_000_000


class Backend(ABC):
    """Where copies of one study come from."""

    name: str

    @property
    @abstractmethod
    def original(self) -> str:
        """URL of the database that is filled."""

    @abstractmethod
    def copied(self) -> str:
        """URL of a new copy of it, in the place of the one before."""


class Sqlite(Backend):
    name = "SQLite"

    def __init__(self, folder: Path) -> None:
        self._first, self._second = folder / "first", folder / "second"
        self._first.mkdir()

    @property
    def original(self) -> str:
        return default_url(self._first)

    def copied(self) -> str:
        shutil.rmtree(self._second, ignore_errors=True)
        shutil.copytree(self._first, self._second)
        return default_url(self._second)


class Postgresql(Backend):
    """Databases of its own beside the one named, whose user may create them."""

    name = "PostgreSQL"

    def __init__(self, url: str) -> None:
        self._url = sqlalchemy.make_url(url)
        for name in ("first", "second"):
            self._tell(f"DROP DATABASE IF EXISTS {_NAMES[name]} WITH (FORCE)")
        self._tell(f"CREATE DATABASE {_NAMES['first']}")

    @property
    def original(self) -> str:
        return self._url_of("first")

    def copied(self) -> str:
        self._tell(f"DROP DATABASE IF EXISTS {_NAMES['second']} WITH (FORCE)")
        self._tell(f"CREATE DATABASE {_NAMES['second']} TEMPLATE {_NAMES['first']}")
        return self._url_of("second")

    def _url_of(self, name: str) -> str:
        return self._url.set(database=_NAMES[name]).render_as_string(hide_password=False)

    def _tell(self, statement: str) -> None:
        engine = sqlalchemy.create_engine(self._url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(statement))
        engine.dispose()


_NAMES = {each: f"nas_search_many_workers_{each}" for each in ("first", "second")}


class CrowdedPlan(Plan):
    """Several trainings in a process, as on a GPU."""

    @property
    def processes(self) -> tuple[tuple[str, int], ...]:
        full, rest = divmod(self.workers, self.at_once)
        return (("cpu", self.at_once),) * full + (("cpu", rest),) * (rest > 0)


@dataclass
class Window:
    """What was heard while the clock ran."""

    seconds: float = 0.0
    trials: int = 0
    epochs: int = 0
    cpu_percent: float = 0.0
    draws: list[dict[Kind, float]] = field(default_factory=list)

    def hear(self, event: Event) -> None:
        if isinstance(event, Finished):
            trained = event.state in ("complete", "pruned", "duplicate")
            self.trials += trained and not event.was_promoted
        elif isinstance(event, EpochDone):
            self.epochs += 1
        elif isinstance(event, TimeSpent):
            self.draws.append(dict(event.seconds))

    def per_trial(self, kind: Kind) -> float:
        """Milliseconds, what it takes to draw those that are not trained with it."""
        return 1e3 * sum(each[kind] for each in self.draws) / max(1, self.trials)

    def row(self, epoch_seconds: float, workers: int) -> list[str]:
        sampling = sorted(1e3 * each["sampling"] for each in self.draws) or [float("nan")]
        median, late = statistics.median(sampling), sampling[int(0.95 * len(sampling))]
        training = 100 * self.epochs * epoch_seconds / (workers * self.seconds)
        return [
            f"{self.trials / self.seconds:.2f}",
            f"{training:.0f}",
            *(f"{each:,.0f}" for each in (median, late)),
            *(f"{self.per_trial(kind):,.0f}" for kind in ("storage", "drawing")),
            f"{self.cpu_percent:.0f}",
        ]


@contextmanager
def counted() -> Iterator[Callable[[], int]]:
    """A context in which it is known how many workers have been through their first draw."""
    begun = multiprocessing.Value("i", 0)
    whole, thread = worker._train_one, threading.local()

    def train_one(study: optuna.Study, objective: Objective) -> None:
        whole(study, objective)
        if not hasattr(thread, "has_begun"):
            thread.has_begun = True
            with begun:
                begun.value += 1

    setattr(worker, "_train_one", train_one)  # noqa: B010
    try:
        yield lambda: int(begun.value)
    finally:
        setattr(worker, "_train_one", whole)  # noqa: B010


def measure(plan: Plan, seconds: float) -> tuple[float, Window]:
    """How long it took until all had begun, and what they did then."""
    database = open_storage(plan.storage, create=False)
    study = load(database, plan)
    dead = DeadTrials(study)
    database.engine.dispose()  # a forked process would share it
    window, begun, since = Window(), time.perf_counter(), 0.0
    opening = 0.0
    with counted() as begun_by, Crew(plan, dead) as crew:
        for event in crew.work([SearchTask()] * plan.workers):
            now = time.perf_counter()
            if not since:
                if begun_by() < plan.workers:
                    continue
                since, opening = now, now - begun
                psutil.cpu_percent()
            window.hear(event)
            window.seconds = now - since
            if window.seconds >= seconds:
                break
        window.cpu_percent = psutil.cpu_percent()
    return opening, window


HEAD = (
    *("storage", "trials before", "workers", "trials/s", "training, %", "sampling, median ms"),
    *("95% within, ms", "storage, ms", "pictures, ms", "CPU, %", "opening, s"),
)


@click.command()
@click.option("--postgresql", "url", help="Of a database; others are made beside it.")
@click.option("--at", type=int, multiple=True, default=(100, 1_000, 10_000), show_default=True)
@click.option("--workers", type=int, multiple=True, default=(1, 4, 16, 64), show_default=True)
@click.option("--per-process", type=int, default=1, show_default=True, help="Workers of a process.")
@click.option("--epoch-seconds", type=float, default=0.4, show_default=True)
@click.option("--seconds", type=float, default=30.0, show_default=True, help="For each row.")
def main(
    url: str | None,
    at: tuple[int, ...],
    workers: tuple[int, ...],
    per_process: int,
    epoch_seconds: float,
    seconds: float,
) -> None:
    """Measure how a study bears many workers."""
    simulate_forked(epoch_seconds)
    about = {"device": device_name("cpu"), "cores": psutil.cpu_count(), **versions()}
    click.echo(", ".join(f"{name} {text}" for name, text in about.items()) + "\n")
    click.echo("| " + " | ".join(HEAD) + " |\n|" + " --: |" * len(HEAD))
    for count in at:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            backend = Postgresql(url) if url else Sqlite(folder)
            make_filled(plan_of(backend.original, folder), count)
            for each in workers:
                plan = CrowdedPlan(**vars(plan_of(backend.copied(), folder, workers=each)))
                plan = replace(plan, at_once=min(each, per_process), trials=NEVER_REACHED)
                opening, window = measure(plan, seconds)
                cells = [backend.name, f"{count:,}", str(each)]
                cells += [*window.row(epoch_seconds, each), f"{opening:.1f}"]
                click.echo("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
