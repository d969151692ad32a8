"""Several trainings at once in one worker process, as on a GPU; here on the CPU."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.simulation import SimulatedTraining
from results.errors import NasSearchError
from results.handback import MOST_ATTEMPTS
from results.ledger import refresh
from results.record import Given, TrialRecord, records
from results.settings import StudySettings
from results.storage import default_url, open_storage
from search import objective, worker
from search import process as module
from search.crew import Crew
from search.data import DataSource
from search.events import CutOff, Event, Finished, Joined, TaskDone
from search.plan import Plan
from search.process import LocalProcess
from search.run import run
from search.study import DeadTrials, make_or_resume, queue
from search.task import QueueTask, SearchTask
from search.train import EpochMetrics
from space import Configuration, SearchSpace, baseline
from tests.plans import make_plan

DIGITS = DataSource("mnist-sample").load()


class OneProcess(Plan):
    """A plan whose trainings share one process, though they are on the CPU."""

    @property
    def processes(self) -> tuple[tuple[str, int], ...]:
        return (("cpu", self.workers),)


def _plan(out: Path, **changes: Any) -> OneProcess:
    # A random sampler draws by trial number alone, so trials do not depend on who is first.
    small = StudySettings(
        dataset="mnist-sample", space=SearchSpace.for_budget(2_000), epochs=2, sustain=2
    )
    given = {"settings": small, "storage": default_url(out), "out": out, "trials": 4, "workers": 3}
    return make_plan(OneProcess, **{**given, **changes})


def _trained(trials: list[TrialRecord]) -> dict[str, float]:
    """Accuracy by what was trained, with which seed."""
    return {
        f"{each.attributes['seed']} {each.attributes['architecture']}": each.sustained
        for each in trials
        if each.was_trained
    }


@pytest.mark.parametrize(
    ("devices", "workers", "processes"),
    [
        (("cpu",), 3, (("cpu", 1), ("cpu", 1), ("cpu", 1))),
        (("cuda:0",), 8, (("cuda:0", 8),)),
        (("cuda:0", "cuda:2"), 5, (("cuda:0", 3), ("cuda:2", 2))),
        (("cuda:0", "cuda:1"), 1, (("cuda:0", 1),)),
        (("cpu", "cuda:0"), 4, (("cpu", 1), ("cpu", 1), ("cuda:0", 2))),
        (("cuda:1",), 70, (("cuda:1", 32), ("cuda:1", 32), ("cuda:1", 6))),
    ],
)
def test_workers_are_dealt_out_over_the_devices(
    tmp_path: Path, devices: tuple[str, ...], workers: int, processes: tuple[tuple[str, int], ...]
) -> None:
    plan = Plan(**vars(_plan(tmp_path, devices=devices, workers=workers)))
    assert plan.processes == processes


def test_trainings_in_one_process_give_what_each_gives_alone(tmp_path: Path) -> None:
    together = run(_plan(tmp_path / "together"), baselines=False)
    alone = run(_plan(tmp_path / "alone", workers=1), baselines=False)
    found = _trained(records(together))
    assert len(found) == 4
    assert found == _trained(records(alone))


def test_killed_process_with_several_trainings_is_replaced_and_nothing_is_lost(
    tmp_path: Path,
) -> None:
    plan = _plan(tmp_path, trials=5)
    study = make_or_resume(open_storage(plan.storage, create=True), plan, baselines=False)
    events: list[Event] = []
    killed = None
    with Crew(plan, DeadTrials(study)) as crew:
        for event in crew.work([SearchTask()] * plan.workers):
            events.append(event)
            if not killed and len(crew._members[0].training) == plan.workers:
                killed = crew._members[0].process
                assert isinstance(killed, LocalProcess)
                os.kill(killed.pid, signal.SIGKILL)
        (member,) = crew._members
        assert member.places == plan.workers // 2  # what may be to blame shall soon be alone
    trials = records(study)
    cut_off = {each.trial for each in events if isinstance(each, CutOff)}
    assert {each.number for each in trials if each.state == "cut off"} == cut_off
    assert 1 <= len(cut_off) <= plan.workers
    assert sum(each.was_trained for each in trials) == plan.trials
    assert sum(isinstance(each, Finished) for each in events) >= plan.trials
    assert not any(each.state in ("running", "waiting") for each in trials)


class Poison(SimulatedTraining):
    """Ends its process, if it is of one configuration."""

    def __init__(self, configuration: Configuration, *_: object, epochs: int, seed: int, **__: Any):
        super().__init__(configuration, epochs=epochs, seed=seed)
        self._is_deadly = configuration == baseline("1.3")

    def __iter__(self) -> Iterator[EpochMetrics]:
        if self._is_deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        yield from super().__iter__()


def test_a_training_that_ends_its_process_is_left_alone_however_many_others_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objective, "TrainingRun", Poison)
    monkeypatch.setattr(objective, "keep_artifacts", lambda *_: None)
    monkeypatch.setattr(DataSource, "load", lambda *_: DIGITS)
    monkeypatch.setattr(module, "START_METHOD", "fork")
    settings = StudySettings(
        dataset="mnist-sample",
        space=SearchSpace.for_budget(10_000),
        epochs=2,
        sustain=2,
        trials="given",
    )
    plan = make_plan(
        Plan, settings=settings, storage=default_url(tmp_path), out=tmp_path, workers=10
    )
    database = open_storage(plan.storage, create=True)
    study = make_or_resume(database, plan, baselines=False)
    queue(study, [Given("deadly", 0, baseline("1.3")), Given("harmless", 0, baseline("1.2"))])
    database.engine.dispose()  # what is forked must not share it
    with Crew(plan, DeadTrials(study)) as crew:
        list(crew.work([QueueTask()] * plan.workers))
    refresh(study)
    found = [(each.title, each.state, each.attributes.get("attempt", 1)) for each in records(study)]
    deadly = [each for each in found if "deadly" in each[0]]
    assert [(state, attempt) for _, state, attempt in deadly] == [
        ("cut off", attempt) for attempt in range(1, MOST_ATTEMPTS + 1)
    ]
    assert [state for title, state, _ in found if "harmless" in title][-1] == "complete"


class Blame:
    """Stands for the trials of dead processes: whether each death was blamed on a training."""

    def __init__(self) -> None:
        self.blamed: list[bool] = []

    def hand_back(self, *, blamed: bool = False) -> None:
        self.blamed.append(blamed)


def _with_worker(monkeypatch: pytest.MonkeyPatch, main: Callable[[Any, list[int]], None]) -> None:
    """`main` gets the pipe and the numbers of the processes that were started before."""
    before: list[int] = []

    def started(_plan: Plan, _device: str, _places: int, connection: Any) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))  # as a real one does
        connection.send(Joined())
        main(connection, before)

    start = Crew._start

    def counted(crew: Crew, *arguments: Any) -> Any:
        member = start(crew, *arguments)
        assert isinstance(member.process, LocalProcess)
        before.append(member.process.pid)
        return member

    monkeypatch.setattr(module, "START_METHOD", "fork")  # so that it runs what is put in here
    monkeypatch.setattr(worker, "main", started)
    monkeypatch.setattr(Crew, "_start", counted)


def test_processes_that_die_before_they_end_a_training_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_worker(monkeypatch, lambda connection, before: os._exit(7))
    blame = Blame()
    with (
        pytest.raises(NasSearchError, match="keep dying"),
        Crew(_plan(tmp_path, workers=1), blame) as crew,  # type: ignore[arg-type]
    ):
        list(crew.work([SearchTask()]))
    assert blame.blamed[:-1] == [True] * (MOST_ATTEMPTS + 1)  # the last is for leaving the crew


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_fifty_deaths_between_trainings_end_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    killed = 50

    def train_one_and_be_killed(connection: Any, before: list[int]) -> None:
        task = connection.recv()
        if len(before) == killed:
            connection.send(TaskDone(task))
        elif name == "SIGKILL":  # who is asked to end need not have done anything before
            connection.send(Finished(len(before), "complete", 1_000, 50.0))
        os.kill(os.getpid(), signal.Signals[name])

    _with_worker(monkeypatch, train_one_and_be_killed)
    blame = Blame()
    with Crew(_plan(tmp_path, workers=2), blame) as crew:  # type: ignore[arg-type]
        list(crew.work([SearchTask()]))
    assert blame.blamed == [name == "SIGKILL"] * killed
