"""Kills a search at random moments, again and again, and looks whether anything was lost.

    python benchmarks/soak.py --minutes 60 --workers 4       # trainings are real
    python benchmarks/soak.py --simulate --kills 50          # they are simulated: a minute

Starts `nas-search`, sends SIGKILL to one of its workers, to the process that started them, or to
all at once, and starts it again where that ended it. At last a search is left alone until it ends,
and the study has to be whole: see `faults_of`. Prints a summary as Markdown; exits 1 on a fault.

What is simulated (see `simulation.py`) begins at once: its processes are forked from this one, with
everything imported, where real ones take seconds to import it. The rest is as real: processes,
signals, storage, checkpoints.
"""

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from wsgiref.util import setup_testing_defaults

import click
import optuna
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))  # tests this checkout, installed or not

from benchmarks.simulation import simulate_forked
from results.artifacts import ArtifactStore
from results.checkpoint import load_checkpoint
from results.errors import NasSearchError
from results.handback import MOST_ATTEMPTS
from results.ledger import Ledger, database_of, refresh, with_ledger
from results.markdown import count
from results.record import TURN_KEY, TrialRecord, records, turn_of
from results.storage import default_url, load_study, open_storage
from results.store import Folder
from results.versions import device_name, versions
from search import cli
from search.dashboard import Server

STUDY = "soak"
KINDS = ("worker", "parent", "all")
PATIENCE_SECONDS = 600.0
"""For the last search, which nobody kills."""


@dataclass(frozen=True)
class Search:
    """The command that is killed, and where it writes."""

    folder: Path
    storage: str
    workers: int
    epochs: int
    seed: int
    simulated: bool

    def arguments(self, trials: int) -> list[str]:
        return [
            *("--study", STUDY, "--storage", self.storage, "--out", str(self.folder)),
            *("--dataset", "mnist-sample", "--max-params", "2000", "--device", "cpu"),
            *("--precision", "float32", "--finalists", "0", "--seed", str(self.seed)),
            *("--epochs", str(self.epochs), "--sustain", str(self.epochs)),
            *("--workers", str(self.workers), "--trials", str(trials)),
        ]


class Run:
    """The command, started once, in a process group of its own."""

    def __init__(self, search: Search, trials: int) -> None:
        self.log = search.folder / "said.txt"
        self._exit_code: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            _command(search.arguments(trials), self.log, search.simulated)

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        if self._exit_code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._exit_code = os.waitstatus_to_exitcode(status) if pid else None
        return self._exit_code

    def workers(self) -> list[psutil.Process]:
        try:
            children = psutil.Process(self.pid).children()
            return [each for each in children if "resource_tracker" not in str(each.cmdline())]
        except psutil.NoSuchProcess:
            return []

    def kill(self, kind: str, luck: random.Random) -> str:
        """What was killed: the parent where there is no worker (yet)."""
        workers = self.workers()
        if kind == "all":
            os.killpg(self.pid, signal.SIGKILL)
        elif kind == "worker" and workers:
            with suppress(psutil.NoSuchProcess):
                luck.choice(workers).kill()
            return kind
        else:
            kind = "parent"
            os.kill(self.pid, signal.SIGKILL)
        self.wait(10)
        _, left = psutil.wait_procs(workers, timeout=10)
        if left:
            raise AssertionError(f"{count(len(left), 'worker')} outlived what started them")
        return kind

    def wait(self, seconds: float) -> None:
        """Until it has ended, or so long."""
        until = time.monotonic() + seconds
        while self.exit_code is None and time.monotonic() < until:
            time.sleep(0.01)


def _command(arguments: list[str], log: Path, simulated: bool) -> NoReturn:
    """What the forked process does: it becomes the command."""
    code = 1
    try:
        os.setsid()
        said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(said, 1)
        os.dup2(said, 2)
        if not simulated:
            os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
            os.execv(sys.executable, [sys.executable, "-P", "-m", "search.cli", *arguments])
        sys.argv = ["nas-search", *arguments]
        cli.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        os._exit(code)


class Watcher:
    """Reads the study while it is worked on. A trial that it has seen told is never read again."""

    def __init__(self, storage: str) -> None:
        self._storage = storage
        self._study: optuna.Study | None = None

    def look(self) -> list[TrialRecord]:
        """All trials by now; none before there is a study.

        Leaves no connection open: a process that is forked from this one would share it.
        """
        try:
            self._study = self._study or with_ledger(
                load_study(open_storage(self._storage, create=False), STUDY)
            )
        except NasSearchError:
            return []
        refresh(self._study)
        database_of(self._study).engine.dispose()
        return records(self._study)

    def seen(self) -> list[optuna.trial.FrozenTrial]:
        """The trials as they were when they were last read."""
        if self._study is None:
            return []
        ledger = self._study._storage
        assert isinstance(ledger, Ledger)
        return list(ledger._trials)


@dataclass
class Soak:
    """What was done, and what was found."""

    search: Search
    goal: int = 0
    starts: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)
    found: list[TrialRecord] = field(default_factory=list)

    def summary(self) -> str:
        states = Counter(each.state for each in self.found)
        retried = sum("retry_of" in each.attributes for each in self.found)
        left = len(list(self.search.folder.rglob(".*.safetensors.*")))
        trainings = "simulated" if self.search.simulated else "real"
        backend = self.search.storage.partition(":")[0]
        kills = ", ".join(f"{kind} {self.kills[kind]}" for kind in KINDS)
        rows = {
            "Searches started": self.starts,
            "Killed": f"{self.kills.total()} times ({kills})",
            "Trained trials asked for": self.goal,
            "Trained trials": sum(each.was_trained for each in self.found),
            "Trials by state": ", ".join(f"{name} {each}" for name, each in states.items()),
            "Run again": retried,
            "Temporary files left by kills": left,
            "Seconds": round(self.seconds),
            "Workers": self.search.workers,
            "Trainings": f"{trainings}, {count(self.search.epochs, 'epoch')}",
            "Storage": backend,
            "Seed": self.search.seed,
            "Device": device_name("cpu"),
            "Versions": ", ".join(f"{name} {text}" for name, text in versions().items()),
        }
        lines = ["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows.items()), ""]
        verdict = "**Faults:**" if self.faults else "No fault."
        return "\n".join([*lines, verdict, *(f"- {fault}" for fault in self.faults)])


def soak(search: Search, *, kills: int, seconds: float, gap: float) -> Soak:
    """Kills up to `kills` times and for so long, at moments up to `gap` seconds apart."""
    done, luck, watcher = Soak(search), random.Random(search.seed), Watcher(search.storage)
    begun = time.monotonic()
    done.goal = 10 * search.workers
    run: Run | None = None
    try:
        while done.kills.total() < kills and time.monotonic() - begun < seconds:
            if run is None or run.exit_code is not None:
                if run is not None and run.exit_code == 0:
                    done.goal += 10 * search.workers
                elif run is not None and run.exit_code != -signal.SIGKILL:
                    raise AssertionError(f"the search ended: {_last_line(run.log)}")
                run = Run(search, done.goal)
                done.starts += 1
            kind, moment = luck.choice(KINDS), luck.uniform(0, gap)
            run.wait(moment)
            watcher.look()
            if run.exit_code is None:
                done.kills[run.kill(kind, luck)] += 1
        if run is None or run.exit_code is not None:
            run = Run(search, done.goal)
            done.starts += 1
        run.wait(PATIENCE_SECONDS)
        if run.exit_code != 0:
            raise AssertionError(f"the last search did not end well: {_last_line(run.log)}")
        done.faults = faults_of(search, watcher, done.goal)
    except AssertionError as fault:
        done.faults.append(str(fault))
    finally:
        if run is not None and run.exit_code is None:
            run.kill("all", luck)
    done.found = watcher.look()
    done.seconds = time.monotonic() - begun
    return done


def _last_line(log: Path) -> str:
    return (log.read_text().splitlines() or ["it said nothing"])[-1]


def faults_of(search: Search, watcher: Watcher, goal: int) -> list[str]:
    """What is not as it has to be in a study that has ended."""
    study = load_study(open_storage(search.storage, create=False), STUDY)
    stored = study.get_trials(deepcopy=False)
    if [each.number for each in stored] != list(range(len(stored))):
        return ["the numbers of the trials have gaps"]  # and what refers to them means others
    found = records(study)
    seen = [each for each in watcher.seen() if each.state.is_finished()]
    faults = [
        f"trial {each.number} was told, and is another now"
        for each in seen
        if stored[each.number : each.number + 1] != [each]
    ]
    trained = sum(each.was_trained for each in found)
    if trained != goal:
        faults.append(f"{trained} trained trials, where {goal} were asked for")
    again = {each.attributes["retry_of"]: each for each in found if "retry_of" in each.attributes}
    if len(again) != sum("retry_of" in each.attributes for each in found):
        faults.append("a trial was queued again more than once")
    for record, trial in zip(found, stored, strict=True):
        faults += [f"trial {record.number} {fault}" for fault in _faults(record, trial, again)]
        if record.was_trained:
            try:
                load_checkpoint(search.folder / record.attributes["checkpoint"])
            except NasSearchError as error:
                faults.append(f"trial {record.number}: {error}")
    return faults + _dashboard_faults(study, search.folder, len(stored))


def _faults(
    record: TrialRecord, trial: optuna.trial.FrozenTrial, again: dict[int, TrialRecord]
) -> list[str]:
    """Of one trial. `again`: the trials with parameters from an earlier one, by its number."""
    if record.state == "running":
        return ["is still running"]
    if record.state == "cut off":
        queued = trial.system_attrs.get("fixed_params")
        is_known = queued is not None or "params" in record.attributes
        left_alone = record.attributes.get("attempt", 1) >= MOST_ATTEMPTS
        later = again.get(record.number)
        if later is None:
            return ["was cut off, and not queued again"] if is_known and not left_alone else []
        wanted = queued or trial.params
        if any(wanted[name] != drawn for name, drawn in later.parameters.items()):
            return [f"was cut off, and run again with other parameters as trial {later.number}"]
        is_blamed = later.attributes["attempt"] > record.attributes.get("attempt", 1)
        turn = later.attributes.get(TURN_KEY)
        keeps_turn = not is_blamed or record.promoted_from is not None
        if turn != (turn_of(trial) if keeps_turn else None):
            return [f"was cut off, and run again out of its turn as trial {later.number}"]
    if record.was_trained:
        epochs = [each.epoch for each in record.history]
        if not epochs or epochs != list(range(1, len(epochs) + 1)):
            return [f"has the epochs {epochs}"]
        if list(trial.intermediate_values) != epochs:
            return [f"has reports of other epochs than it ran: {list(trial.intermediate_values)}"]
    return []


def _dashboard_faults(study: optuna.Study, folder: Path, trials: int) -> list[str]:
    """Asks the dashboard's own application for the study, without a network."""
    artifacts = ArtifactStore(lambda: [Folder(folder)])
    with Server(study, artifacts, "127.0.0.1", 0) as server:
        asked: dict[str, Any] = {}
        setup_testing_defaults(asked)
        asked |= {"PATH_INFO": f"/api/studies/{study._study_id}", "QUERY_STRING": "after=0"}
        answered: list[str] = []
        application: Any = server.get_app()
        body = b"".join(application(asked, lambda status, *_: answered.append(status)))
    if not answered[0].startswith("200"):
        return [f"the dashboard answers {answered[0]}"]
    shown = len(json.loads(body)["trials"])
    return [] if shown == trials else [f"the dashboard shows {shown} of {trials} trials"]


@click.command()
@click.option("--minutes", type=float, help="How long it kills. Default: until --kills are done.")
@click.option("--kills", type=int, help="How often. Default: 50, or any number with --minutes.")
@click.option("--workers", type=int, default=2, show_default=True)
@click.option("--epochs", type=int, default=4, show_default=True)
@click.option("--gap", type=float, help="Most seconds between kills. Default: 40, simulated 1.5.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the kills and the search.")
@click.option("--storage", help="Database for the study. Default: an SQLite file in --folder.")
@click.option("--folder", type=click.Path(path_type=Path), help="Default: a temporary one.")
@click.option("--simulate", "simulated", is_flag=True, help="Trainings that take no time.")
def main(
    minutes: float | None,
    kills: int | None,
    workers: int,
    epochs: int,
    gap: float | None,
    seed: int,
    storage: str | None,
    folder: Path | None,
    simulated: bool,
) -> None:
    """Kill a search at random moments, and look whether anything was lost."""
    if simulated:
        simulate_forked(epoch_seconds=0.1)
    with tempfile.TemporaryDirectory() as temporary:
        where = (folder or Path(temporary)).absolute()
        where.mkdir(parents=True, exist_ok=True)
        search = Search(where, storage or default_url(where), workers, epochs, seed, simulated)
        done = soak(
            search,
            kills=kills if kills is not None else (50 if minutes is None else 10**9),
            seconds=60 * minutes if minutes is not None else float("inf"),
            gap=gap if gap is not None else (1.5 if simulated else 40.0),
        )
        click.echo(done.summary())
    sys.exit(1 if done.faults else 0)


if __name__ == "__main__":
    main()
