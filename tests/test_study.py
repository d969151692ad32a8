"""The study's rules: what a trial is worth, how many are trained, which are the answer."""

import dataclasses
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial

from results.record import Confirmation, State, TrialRecord
from results.selection import confirmed, finalists, most_accurate, smallest_holding
from results.settings import StudySettings
from search.study import hand_back_dead_trials, is_surplus, this_worker
from space import SearchSpace


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
    run = Confirmation(7, 0, [99.0], 99.0, 99.0, 1.0, "file", {})
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
def study() -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    made = optuna.create_study(direction="maximize")
    made.set_user_attr("settings", settings().model_dump(mode="json"))
    return made


def test_places_go_to_the_lowest_numbers(study: optuna.Study) -> None:
    for state in (TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED):
        value = 1.0 if state == TrialState.COMPLETE else None
        study.add_trial(create_trial(state=state, value=value))
    running = study.ask()
    late = study.ask()
    assert not is_surplus(study, running.number, trials=3)
    assert is_surplus(study, late.number, trials=3)
    assert not is_surplus(study, late.number, trials=4)


def test_trials_of_dead_processes_are_handed_back_and_of_living_ones_left(
    study: optuna.Study,
) -> None:
    space = settings().space
    alive, dead = study.ask(), study.ask()
    params = {name: each.suggest(dead, name) for name, each in space.dimensions.items()}
    alive.set_user_attr("worker", this_worker())
    host, pid, _ = this_worker().rsplit("/", 2)
    # The process number is in use again, by a process that started at another time.
    dead.set_user_attr("worker", f"{host}/{pid}/1.00")
    assert hand_back_dead_trials(study) == 1
    states = [trial.state for trial in study.get_trials()]
    assert states == [TrialState.RUNNING, TrialState.FAIL, TrialState.WAITING]
    again = study.ask()
    assert {name: each.suggest(again, name) for name, each in space.dimensions.items()} == params
    assert again.user_attrs == {"retry_of": dead.number}


def test_trials_of_other_machines_are_left_to_their_heartbeat(study: optuna.Study) -> None:
    study.ask().set_user_attr("worker", "elsewhere/1/1.00")
    assert hand_back_dead_trials(study) == 0


def test_a_budget_too_tight_for_the_space_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 500"):
        SearchSpace.for_budget(499)
    assert SearchSpace.for_budget(500).max_params == 500
