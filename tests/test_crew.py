"""Several trainings at once in one worker process, as on a GPU; here on the CPU."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from results.record import TrialRecord, records
from results.settings import StudySettings
from results.storage import default_url, open_storage
from search.crew import Crew
from search.events import CutOff, Event, Finished
from search.plan import Plan
from search.run import run
from search.study import DeadTrials, make_or_resume
from search.task import SearchTask
from space import SearchSpace
from tests.plans import make_plan


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
    with Crew(plan, on_death=DeadTrials(study).hand_back) as crew:
        for event in crew.work([SearchTask()] * plan.workers):
            events.append(event)
            if not killed and len(crew._members[0].training) == plan.workers:
                killed = crew._members[0].process
                assert killed.pid is not None
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
