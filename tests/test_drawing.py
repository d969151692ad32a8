"""Pictures that other processes draw are those that this one would, whatever becomes of them."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from results.artifacts import contents_of
from results.record import records
from results.storage import default_url, open_storage
from search import drawing as module
from search.crew import Crew
from search.drawing import DrawingProcesses
from search.process import LocalProcess
from search.study import DeadTrials, make_or_resume
from search.task import SearchTask
from tests.plans import make_plan
from tests.studies import SETTINGS, trained
from tests.test_crew import OneProcess

RECORD = trained(0, [97.0, 98.0, 98.5] * 5)


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> Iterator[DrawingProcesses]:
    """By one process at a time."""
    monkeypatch.setattr(module, "usable_cores", lambda: 1)
    yield DrawingProcesses(8)
    for process in children():
        process.kill()


def children(of: int | None = None) -> list[psutil.Process]:
    """The processes that draw."""
    return [
        each
        for each in psutil.Process(of).children(recursive=True)
        if each.status() != psutil.STATUS_ZOMBIE and "spawn_main" in str(each.cmdline())
    ]


def test_another_process_draws_the_same(drawing: DrawingProcesses) -> None:
    assert drawing(RECORD, SETTINGS) == drawing(RECORD, SETTINGS) == contents_of(RECORD, SETTINGS)
    (process,) = children()
    assert process.cpu_times().user > 0


def test_none_is_started_beside_an_idle_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "usable_cores", lambda: 16)
    drawing = DrawingProcesses(8)
    for _ in range(3):
        drawing(RECORD, SETTINGS)
    (process,) = children()
    process.kill()


def test_one_that_is_killed_is_done_without_and_replaced(drawing: DrawingProcesses) -> None:
    drawing(RECORD, SETTINGS)
    for _ in range(2):
        (process,) = children()
        process.kill()
        process.wait()
        assert len(drawing(RECORD, SETTINGS)) == 3
        assert not children()
        assert len(drawing(RECORD, SETTINGS)) == 3


def test_what_cannot_be_drawn_is_raised_where_it_was_asked_for(drawing: DrawingProcesses) -> None:
    broken = dataclasses.replace(RECORD, attributes={**RECORD.attributes, "history": "none"})
    with pytest.raises((TypeError, ValueError, AttributeError)):
        drawing(broken, SETTINGS)
    assert len(drawing(RECORD, SETTINGS)) == 3


def test_trainings_of_one_process_have_their_pictures(tmp_path: Path) -> None:
    """And whatever ends the process that trains, none that draws is left."""
    url = default_url(tmp_path)
    plan = make_plan(OneProcess, storage=url, out=tmp_path, trials=4, workers=2)
    study = make_or_resume(open_storage(url, create=True), plan, baselines=False)
    with Crew(plan, DeadTrials(study)) as crew:
        list(crew.work([SearchTask()] * plan.workers))
        (member,) = crew._members
        assert isinstance(member.process, LocalProcess)
        drawing = children(member.process.pid)
        assert drawing
    assert gone(drawing)
    for each in records(study):
        if each.was_trained:
            assert "pictures_error" not in each.attributes
            assert len(_artifacts(study.trials[each.number].system_attrs)) == 4


def _artifacts(attributes: dict[str, object]) -> list[str]:
    return [each for each in attributes if each.startswith("artifacts:")]


def gone(processes: list[psutil.Process]) -> bool:
    _, left = psutil.wait_procs(processes, timeout=10)
    return not left
