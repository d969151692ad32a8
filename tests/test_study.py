"""The study's rules: what a trial is worth, how many are trained, which are the answer."""

import contextlib
import dataclasses
import datetime
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState, create_trial

from results.errors import NasSearchError
from results.handback import MOST_ATTEMPTS, end_and_hand_back, hand_back
from results.ledger import with_ledger
from results.pulse import Pulse
from results.record import Confirmation, State, TrialRecord
from results.selection import confirmed, finalists, most_accurate, smallest_holding
from results.settings import FORMAT, StudySettings
from results.splits import SPLITS, Split
from results.storage import default_url, open_storage
from search.data import DataSource
from search.mark import this_process
from search.plan import Plan
from search.register import Register
from search.strategy import make_sampler
from search.study import (
    UNCLAIMED_SECONDS,
    DeadTrials,
    load,
    make_or_resume,
)
from search.worker import _was_taken_for_dead
from space import BASELINES, SearchSpace, baselines_in
from space.search_space import Choice
from tests.plans import make_plan


def settings(**changes: Any) -> StudySettings:
    space = SearchSpace.for_budget(10_000)
    return StudySettings(**{"dataset": "mnist-sample", "space": space, **changes})


def record(number: int, params: int, sustained: float, state: State = "complete") -> TrialRecord:
    return TrialRecord(
        number, state, sustained, {}, {"params": params, "macs": 1, "sustained": sustained}
    )


accuracies = st.floats(0, 100)
sizes = st.integers(1, 9_999)


@given(accuracies, sizes)
def test_accuracy_objective_is_the_accuracy(accuracy: float, params: int) -> None:
    assert settings().score(accuracy, params) == accuracy


@given(accuracies, accuracies, sizes, sizes)
def test_smallest_objective_ranks_holding_first_then_small(
    one: float, other: float, size_of_one: int, size_of_other: int
) -> None:
    rules = settings(objective="smallest")
    ahead = rules.score(one, size_of_one) > rules.score(other, size_of_other)
    if one >= rules.target and other >= rules.target:
        assert ahead == (size_of_one < size_of_other)
    elif one < rules.target and other < rules.target:
        assert ahead == (one > other)
    else:
        assert ahead == (one >= rules.target)


def test_sustained_is_the_lowest_of_the_last_epochs() -> None:
    assert settings(sustain=3).sustained([99.9, 10.0, 98.0, 97.0, 99.0]) == 97.0
    assert settings(sustain=3).sustained([50.0]) == 50.0


def test_the_answer_is_chosen_among_complete_trials_by_validation() -> None:
    trials = [
        record(0, 9_000, 99.5),
        record(1, 5_000, 99.41),
        record(2, 4_000, 99.3),
        record(3, 3_000, 99.9, "pruned"),
        record(4, 5_000, 99.42),
        record(5, 8_000, 99.5),
    ]
    best, small = most_accurate(trials), smallest_holding(trials, 99.4)
    assert best is not None and best.number == 5
    assert small is not None and small.number == 4
    assert smallest_holding(trials, 99.95) is None
    assert [each.number for each in finalists(trials, settings(), 3)] == [5, 4, 0]
    assert finalists(trials, settings(), 0) == []


def test_confirmation_is_summed_up_over_seeds() -> None:
    run = Confirmation(7, 0, [99.0], 99.0, 99.0, 1.0, "file", "cpu", "float32", {})
    values = (99.5, 99.3, 99.4)
    runs = [
        dataclasses.replace(run, seed=seed, sustained=value) for seed, value in enumerate(values)
    ]
    assert confirmed(runs, 99.4) == {
        "seeds": 3,
        "mean": 99.4,
        "sd": 0.1,
        "worst": 99.3,
        "holding": 2,
    }
    assert confirmed(runs[:1], 99.4) == {
        "seeds": 1,
        "mean": 99.5,
        "sd": None,
        "worst": 99.5,
        "holding": 1,
    }
    assert confirmed([], 99.4) is None


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    storage = open_storage(default_url(tmp_path), create=True)
    made = with_ledger(optuna.create_study(storage=storage, direction="maximize"))
    made.set_user_attr("settings", settings().model_dump(mode="json"))
    return made


def test_places_go_to_the_earliest_turns(study: optuna.Study) -> None:
    for state in (TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED):
        value = 1.0 if state == TrialState.COMPLETE else None
        study.add_trial(create_trial(state=state, value=value))
    running = study.ask()
    late = study.ask()
    register = Register(study)
    assert not register.is_surplus(running.number, trials=3)
    assert register.is_surplus(late.number, trials=3)
    assert not register.is_surplus(late.number, trials=4)


def test_a_trial_that_is_begun_again_keeps_its_turn(study: optuna.Study) -> None:
    queued = list(BASELINES.values())[:4]
    for params in queued:
        study.enqueue_trial(params)

    def queued_as(trial: optuna.Trial) -> int:
        return queued.index(study.trials[trial.number].system_attrs["fixed_params"])

    first, second = study.ask(), study.ask()
    for trial in (second, first):
        end_and_hand_back(study, trial.number, blamed=False)
    again = study.ask()
    assert (again.number, queued_as(again)) == (5, 0)
    end_and_hand_back(study, again.number, blamed=False)
    asked = [study.ask() for _ in range(4)]
    assert [queued_as(trial) for trial in asked] == [0, 1, 2, 3]
    register = Register(study)
    surplus = [register.is_surplus(trial.number, trials=2) for trial in asked]
    assert surplus == [False, False, True, True]


def test_a_trial_that_is_being_handed_back_takes_one_place(study: optuna.Study) -> None:
    study.enqueue_trial(BASELINES["1.3"])
    first, second = study.ask(), study.ask()
    hand_back(study, first.number)
    assert not Register(study).is_surplus(second.number, trials=2)


def test_what_may_have_ended_its_process_goes_behind_the_others(study: optuna.Study) -> None:
    for params in list(BASELINES.values())[:3]:
        study.enqueue_trial(params)
    blamed, memory = study.ask(), study.ask()
    end_and_hand_back(study, blamed.number, blamed=True)
    hand_back(study, memory.number, behind=True)
    assert [study.ask().number for _ in range(3)] == [2, 3, 4]


def test_no_more_are_trained_when_fewer_are_asked_for_than_had_begun(study: optuna.Study) -> None:
    for params in list(BASELINES.values())[:4]:
        study.enqueue_trial(params)
    asked = [study.ask() for _ in range(4)]
    for trial in asked[:2]:
        end_and_hand_back(study, trial.number, blamed=False)
    for trial in asked[2:]:
        study.tell(trial, 1.0)
    again = [study.ask() for _ in range(2)]
    register = Register(study)
    assert [register.is_surplus(trial.number, trials=3) for trial in again] == [False, True]


def test_trials_of_dead_processes_are_handed_back_and_of_living_ones_left(
    study: optuna.Study,
) -> None:
    space = settings().space
    alive, dead = study.ask(), study.ask()
    params = {name: each.suggest(dead, name) for name, each in space.dimensions.items()}
    alive.set_user_attr("worker", this_process())
    host, pid, _ = this_process().rsplit("/", 2)
    # The process number is in use again, by a process that started at another time.
    dead.set_user_attr("worker", f"{host}/{pid}/1.00")
    DeadTrials(study).hand_back()
    states = [trial.state for trial in study.get_trials()]
    assert states == [TrialState.RUNNING, TrialState.FAIL, TrialState.WAITING]
    again = study.ask()
    assert {name: each.suggest(again, name) for name, each in space.dimensions.items()} == params
    assert again.user_attrs == {"retry_of": dead.number, "attempt": 1, "turn": dead.number}


def test_trials_of_other_machines_are_left_to_their_heartbeat(study: optuna.Study) -> None:
    study.ask().set_user_attr("worker", "elsewhere/1/1.00")
    DeadTrials(study).hand_back()
    assert study.trials[0].state == TrialState.RUNNING


def test_a_trial_without_a_heartbeat_is_handed_back(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.enqueue_trial(BASELINES["1.3"])
    with_ledger(study).ask().set_user_attr("worker", "elsewhere/1/1.00")
    for name, seconds in (("HEARTBEAT_SECONDS", 0.0), ("GRACE_SECONDS", 0.5)):
        monkeypatch.setattr(f"results.pulse.{name}", seconds)
    dead = DeadTrials(study)
    started = time.monotonic()
    while study.trials[0].state == TrialState.RUNNING:
        optuna.storages.fail_stale_trials(study)  # as Optuna does before it asks
        dead.hand_back()
        time.sleep(0.1)
    assert time.monotonic() - started > 0.5
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]


def test_a_heart_that_beats_is_heard_whatever_the_clocks_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("results.pulse.time", SimpleNamespace(monotonic=lambda: now))
    pulse = Pulse()
    assert pulse.is_due
    long_ago = datetime.datetime(1970, 1, 1)
    for beats in range(20):
        now = 15.0 * beats
        changing = {1: long_ago - datetime.timedelta(hours=beats % 3), 2: long_ago}
        assert pulse.look(changing) == ([2] if now > 60 else [])
    assert not pulse.is_due
    # The database was away: nobody's heart could beat.
    now += 100
    assert pulse.look(changing) == []
    now += 59
    assert pulse.look({1: long_ago - datetime.timedelta(hours=5), 2: long_ago}) == []
    now += 2
    assert pulse.look({1: long_ago - datetime.timedelta(hours=5), 2: long_ago}) == [2]


def test_a_trial_that_never_said_whose_it_is_is_given_time(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.ask()
    dead = DeadTrials(study)
    dead.hand_back()
    assert study.trials[0].state == TrialState.RUNNING
    later = time.monotonic() + UNCLAIMED_SECONDS + 1
    monkeypatch.setattr("search.study.time.monotonic", lambda: later)
    dead.hand_back()
    assert study.trials[0].state == TrialState.FAIL


def test_parameters_from_the_queue_survive_a_death_before_they_are_drawn(
    study: optuna.Study,
) -> None:
    study.enqueue_trial(BASELINES["1.3"])
    end_and_hand_back(study, study.ask().number, blamed=False)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]
    assert study.trials[-1].system_attrs["fixed_params"] == BASELINES["1.3"]


@pytest.mark.parametrize(("blamed", "most"), [(True, MOST_ATTEMPTS), (False, 50)])
def test_a_configuration_is_left_alone_only_if_it_keeps_ending_its_worker(
    study: optuna.Study, blamed: bool, most: int
) -> None:
    study.enqueue_trial(BASELINES["1.3"])
    attempts = 0
    while attempts < 50 and study.trials[-1].state == TrialState.WAITING:
        attempts += 1
        end_and_hand_back(study, study.ask().number, blamed=blamed)
    assert attempts == most


def test_a_trial_is_handed_back_once_whoever_ends_it(study: optuna.Study) -> None:
    study.enqueue_trial(BASELINES["1.3"])
    study.enqueue_trial(BASELINES["plain-wide"])
    by_itself, by_others = study.ask(), study.ask()
    hand_back(study, by_itself.number)  # and its process is gone before it ends it
    for _ in range(2):
        for trial in (by_itself, by_others):
            end_and_hand_back(study, trial.number, blamed=True)
    again = [trial.user_attrs["retry_of"] for trial in study.trials[2:]]
    assert again == [by_itself.number, by_others.number]


def test_a_trial_is_ended_and_queued_again_or_neither(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.enqueue_trial(BASELINES["1.3"])
    number = study.ask().number

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("results.ledger.rows.insert_trial", killed)
        with pytest.raises(KeyboardInterrupt):
            end_and_hand_back(study, number, blamed=False)
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING]


def test_draws_depend_on_seed_and_number_alone() -> None:
    def draws(seed: int, count: int) -> list[float]:
        made = optuna.create_study(sampler=make_sampler("tpe", seed, settings()))
        return [made.ask().suggest_float("x", 0, 1) for _ in range(count)]

    assert draws(1, 3) == draws(1, 3)
    assert len(set(draws(1, 3))) == 3
    assert draws(1, 3) != draws(2, 3)


def test_the_smallest_is_confirmed_first_when_it_is_what_is_sought() -> None:
    trials = [record(0, 9_000, 99.6), record(1, 5_000, 99.5)]
    for objective, first in (("accuracy", 0), ("smallest", 1)):
        chosen = finalists(trials, settings(objective=objective), 1)
        assert [each.number for each in chosen] == [first]


def test_near_misses_of_the_smallest_are_confirmed_too() -> None:
    trials = [
        record(0, 9_000, 99.6),
        record(1, 3_000, 99.4),
        record(2, 2_900, 99.39),  # hardly smaller: no step
        record(3, 2_700, 99.3),
        record(4, 2_600, 99.35),
        record(5, 2_300, 99.25),
        record(6, 2_000, 99.2),  # too far off to be lifted
    ]
    sought = settings(objective="smallest", dataset="mnist")
    assert [each.number for each in finalists(trials, sought, 4)] == [1, 4, 5, 0]
    # If none holds, they are those of the most accurate.
    assert [each.number for each in finalists(trials[2:6], sought, 3)] == [2, 4, 5]
    assert [each.number for each in finalists(trials, settings(dataset="mnist"), 3)] == [0, 1, 2]


def test_a_budget_too_tight_for_the_space_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 500"):
        SearchSpace.for_budget(499)
    assert SearchSpace.for_budget(500).max_params == 500


class OneStudy:
    """A storage in a folder and a plan for a study in it."""

    def __init__(self, out: Path, **changes: Any) -> None:
        self.storage = open_storage(default_url(out), create=True)
        self.plan = make_plan(
            Plan, study="one", settings=settings(**changes), sampler="tpe", pruner="halving"
        )

    def open(self, *, baselines: bool = True) -> optuna.Study:
        return make_or_resume(self.storage, self.plan, baselines=baselines)


def test_baselines_are_queued_once_also_after_an_interruption(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = OneStudy(tmp_path)
    whole = optuna.Study.enqueue_trial
    queued = []

    def cut_off(study: optuna.Study, *arguments: Any, **options: Any) -> None:
        if len(queued) == 2:
            raise KeyboardInterrupt
        queued.append(arguments)
        whole(study, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(optuna.Study, "enqueue_trial", cut_off)
        with pytest.raises(KeyboardInterrupt):
            one.open()
    feasible = [params for name, params in BASELINES.items() if name != "1.0"]
    filling = baselines_in(SearchSpace.for_budget(10_000))["separable-unpadded of width 39"]
    for _ in range(2):
        study = one.open()
        assert [trial.system_attrs["fixed_params"] for trial in study.trials] == [
            filling,
            *feasible,
        ]


def test_a_baseline_that_is_handed_back_is_still_known(tmp_path: Path) -> None:
    study = OneStudy(tmp_path).open()
    first = study.ask()
    hand_back(study, first.number)
    assert study.trials[first.number].user_attrs["known"] == "separable-unpadded of width 39"
    (again,) = [each for each in study.trials if each.user_attrs.get("retry_of") == first.number]
    assert again.user_attrs["known"] == "separable-unpadded of width 39"


def test_a_study_made_without_baselines_never_gets_them(tmp_path: Path) -> None:
    one = OneStudy(tmp_path)
    one.open(baselines=False)
    assert one.open(baselines=True).trials == []


def test_a_study_about_another_space_is_refused(tmp_path: Path) -> None:
    one = OneStudy(tmp_path)
    one.open()
    dimensions = {**one.plan.settings.space.dimensions, "head": Choice(choices=("gap_conv",))}
    space = SearchSpace(max_params=10_000, dimensions=dimensions)
    one.plan = dataclasses.replace(one.plan, settings=settings(space=space))
    with pytest.raises(NasSearchError, match="head differs"):
        one.open()


def test_a_study_of_another_program_is_refused(tmp_path: Path) -> None:
    one = OneStudy(tmp_path)
    optuna.create_study(study_name="one", storage=one.storage, direction="maximize").ask()
    with pytest.raises(NasSearchError, match="not made by nas-search"):
        one.open()


def test_a_study_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    one = OneStudy(tmp_path)
    stored = {**settings().model_dump(mode="json"), "format": FORMAT + 1, "unheard_of": 1}
    one.open().set_user_attr("settings", stored)
    with pytest.raises(NasSearchError, match="newer nas-search"):
        one.open()


def test_the_sizes_of_the_data_are_as_stated() -> None:
    digits = DataSource("mnist-sample").load()
    sizes = Split(len(digits.all_training), len(digits.validation), len(digits.test))
    assert SPLITS["mnist-sample"] == sizes


def test_a_fresh_database_can_be_opened_by_several_processes_at_once(tmp_path: Path) -> None:
    url = default_url(tmp_path / "runs")
    script = f"from results.storage import open_storage; open_storage({url!r}, create=True)"
    several = [
        subprocess.Popen([sys.executable, "-P", "-c", script], stderr=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    for process in several:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said


def test_reading_a_database_while_it_is_made_does_not_disturb_it(tmp_path: Path) -> None:
    url = default_url(tmp_path / "runs")
    script = f"from results.storage import open_storage; open_storage({url!r}, create=True)"
    maker = subprocess.Popen(
        [sys.executable, "-P", "-c", script], stderr=subprocess.PIPE, text=True
    )
    while maker.poll() is None:
        with contextlib.suppress(NasSearchError):  # not there yet
            open_storage(url, create=False)
    assert maker.returncode == 0, maker.communicate()[1]


def test_words_for_a_trial_that_was_taken_for_dead_are_understood() -> None:
    lost = UpdateFinishedTrialError("gone")
    told = AssertionError("Should not reach.")
    told.__context__ = lost
    for error in (lost, ValueError("Cannot tell a FAIL trial."), told):
        assert _was_taken_for_dead(error)
    for error in (ValueError("other"), AssertionError("other"), RuntimeError("other")):
        assert not _was_taken_for_dead(error)


def test_trial_that_another_process_ended_meanwhile_does_not_end_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `optimize` raises when its trial was told by others, with the storage of a worker."""
    one = OneStudy(tmp_path)
    one.open(baselines=False)
    ours, theirs = (
        load(one.storage, one.plan),
        optuna.load_study(study_name="one", storage=one.storage),
    )

    def objective(trial: optuna.Trial) -> float:
        theirs.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        return 1.0

    with pytest.raises((UpdateFinishedTrialError, ValueError, AssertionError)) as caught:
        ours.optimize(objective, n_trials=1)
    assert _was_taken_for_dead(caught.value)
