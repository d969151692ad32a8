"""Memory runs out in one of several trainings of a process, as on a GPU; here it is said to."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.simulation import SimulatedTraining
from results.record import confirmations, records
from results.storage import default_url, open_storage
from search import confirm, objective, process
from search.crew import Crew
from search.data import DataSource
from search.events import CutOff, Event
from search.lane import CudaGraph
from search.memory import is_out_of_memory
from search.places import OutOfMemory, Places
from search.progress import cut_off
from search.study import DeadTrials, make_or_resume
from search.task import ConfirmTask, SearchTask, Task
from search.train import EpochMetrics
from space import BASELINES, Configuration, baseline
from tests.plans import make_plan
from tests.test_crew import OneProcess

FAULTS = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB"),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
)
DIGITS = DataSource("mnist-sample").load()
WORKERS, FITTING = 4, 2
TOO_LARGE = baseline("1.3")


class Crowded(SimulatedTraining):
    """There is memory for `FITTING` at once, and for one that is too large never."""

    SECONDS = 0.05
    at_once = 0
    refused = 0
    changed = threading.Condition()

    def __init__(self, configuration: Configuration, *_: object, epochs: int, seed: int, **__: Any):
        super().__init__(configuration, epochs=epochs, seed=seed)
        self._is_too_large = configuration == TOO_LARGE

    def __iter__(self) -> Iterator[EpochMetrics]:
        with self.changed:
            Crowded.at_once += 1
            self.changed.notify_all()
            # On a busy machine too they are to meet.
            self.changed.wait_for(self._have_met, timeout=20)
        for epoch in super().__iter__():
            with self.changed:
                if Crowded.at_once > FITTING or self._is_too_large:
                    Crowded.at_once -= 1
                    Crowded.refused += 1
                    self.changed.notify_all()
                    raise FAULTS[0]
            yield epoch
        with self.changed:
            Crowded.at_once -= 1

    def _have_met(self) -> bool:
        enough = 1 if self._is_too_large else WORKERS - FITTING
        return Crowded.at_once > FITTING or Crowded.refused >= enough


class Bench:
    """A study, and a process that works on it with four trainings at once."""

    def __init__(self, folder: Path) -> None:
        url = default_url(folder)
        self.plan = make_plan(OneProcess, storage=url, out=folder, trials=8, workers=WORKERS)
        self.study = make_or_resume(open_storage(url, create=True), self.plan, baselines=False)
        self.told: list[Event] = []

    def work(self, tasks: Sequence[Task]) -> int:
        """Returns how many at once it ends with."""
        with Crew(self.plan, DeadTrials(self.study)) as working:
            self.told = list(working.work(tasks))
            (member,) = working._members
        return member.places

    @property
    def lost(self) -> list[CutOff]:
        return [each for each in self.told if isinstance(each, CutOff)]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(objective, "TrainingRun", Crowded)
    monkeypatch.setattr(confirm, "TrainingRun", Crowded)
    monkeypatch.setattr(objective, "keep_artifacts", lambda *_: None)
    monkeypatch.setattr(DataSource, "load", lambda *_: DIGITS)
    monkeypatch.setattr(process, "START_METHOD", "fork")
    return Bench(tmp_path)


def test_what_ran_out_of_memory_is_run_again_with_fewer_at_once(bench: Bench) -> None:
    assert bench.work([SearchTask()] * WORKERS) == FITTING
    assert len(bench.lost) == WORKERS - FITTING
    assert "cut off, as memory ran out" in cut_off(bench.lost[0])
    trials = records(bench.study)
    assert sum(each.was_trained for each in trials) == 8
    assert not any(each.state in ("failed", "running", "waiting") for each in trials)
    again = {each.attributes["retry_of"]: each for each in trials if "retry_of" in each.attributes}
    assert again.keys() == {each.trial for each in bench.lost}
    assert {each.attributes["attempt"] for each in again.values()} == {1}
    # Confirmations are in a process of their own here, which begins with four at once.
    (number, *_) = [each.number for each in trials if each.state == "complete"]
    wanted = tuple((number, seed) for seed in range(5))
    assert bench.work([ConfirmTask(wanted)] * WORKERS) == FITTING
    assert {each.seed for each in bench.lost} <= set(range(5))
    assert [each.seed for each in confirmations(bench.study)[number]] == [0, 1, 2, 3, 4]


def test_one_that_needs_more_than_there_is_fails_alone(bench: Bench) -> None:
    bench.study.enqueue_trial(BASELINES["1.3"])
    assert 1 <= bench.work([SearchTask()] * WORKERS) <= FITTING
    trials = records(bench.study)
    assert sum(each.was_trained for each in trials) == 8
    (failed,) = [each for each in trials if each.state == "failed"]
    assert failed.attributes["error"].startswith("OutOfMemoryError: CUDA out of memory")
    assert "retry_of" in failed.attributes


@pytest.mark.parametrize("fault", FAULTS, ids=lambda each: type(each).__name__)
def test_a_training_is_run_again_only_if_others_ran_beside_it(fault: Exception) -> None:
    places = Places(2)
    with pytest.raises(type(fault)), places.training():
        raise fault
    for gave_up in (True, False):  # the last place is kept
        with pytest.raises(OutOfMemory) as caught, places.training():
            with places.training():
                pass
            raise fault
        assert caught.value.gave_up == gave_up
    with pytest.raises(ValueError, match="other"), places.training(), places.training():
        raise ValueError("other")


def test_other_errors_are_not_about_memory() -> None:
    assert all(is_out_of_memory(each) for each in FAULTS)
    assert not is_out_of_memory(RuntimeError("size mismatch"))


class Unwilling:
    """A graph whose capture runs out of memory, as torch says so."""

    def capture_begin(self, **_: object) -> None:
        raise FAULTS[0]


def test_a_capture_that_runs_out_of_memory_is_not_called_instead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Unwilling)
    with pytest.raises(torch.OutOfMemoryError):
        CudaGraph(lambda: None)
