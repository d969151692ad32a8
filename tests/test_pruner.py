"""When a trial is stopped early."""

import math
import random
from typing import Any, get_args

import optuna
import pytest
from optuna.trial import TrialState

from results.record import PROMOTED_KEY, STATE_KEPT
from results.settings import ObjectiveName, StudySettings
from search.pruner import HalvingPruner
from search.strategy import PRUNERS, SAMPLERS, make_pruner, make_sampler
from space import BASELINES, SearchSpace, configuration

SETTINGS = StudySettings(dataset="mnist", space=SearchSpace.for_budget(10_000))


def ask_with(study: optuna.Study, values: list[float], params: int = 5_000) -> optuna.Trial:
    trial = study.ask()
    trial.set_user_attr("params", params)
    for epoch, value in enumerate(values, 1):
        trial.report(value, epoch)
    return trial


def told(study: optuna.Study, values: list[float], params: int = 5_000) -> bool:
    """Runs a trial with these reports; whether it was stopped after one of them."""
    trial = study.ask()
    trial.set_user_attr("params", params)
    go_on(study, trial, values)
    return study.get_trials(deepcopy=False)[trial.number].state == TrialState.PRUNED


def go_on(study: optuna.Study, trial: optuna.Trial, values: list[float]) -> None:
    reported = trial.storage.get_trial(trial._trial_id).last_step or 0
    for epoch, value in enumerate(values[reported:], reported + 1):
        trial.report(value, epoch)
        if trial.should_prune():
            trial.set_user_attr(STATE_KEPT, True)
            study.tell(trial, state=TrialState.PRUNED)
            return
    trial.set_user_attr("sustained", values[-1])
    study.tell(trial, values[-1])


def promote(study: optuna.Study, number: int) -> optuna.Trial:
    """A trial that goes on with that one, with its reports."""
    study.enqueue_trial({}, user_attrs={PROMOTED_KEY: number})
    trial = study.ask()
    for epoch, value in study.trials[number].intermediate_values.items():
        trial.report(value, epoch)
    return trial


def promotable(study: optuna.Study, *, is_last: bool = False) -> int | None:
    assert isinstance(study.pruner, HalvingPruner)
    return study.pruner.promotable(study, is_last=is_last)


@pytest.fixture
def study() -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(direction="maximize", pruner=HalvingPruner({2: 0.5}, SETTINGS))


def test_lower_half_is_stopped_at_its_epochs_alone(study: optuna.Study) -> None:
    for value in range(8):
        study.tell(ask_with(study, [50.0, 90.0 + value]), 90.0)
    assert ask_with(study, [99.0, 91.5]).should_prune()
    assert not ask_with(study, [0.0, 96.5]).should_prune()
    assert not ask_with(study, [0.0]).should_prune()
    assert not ask_with(study, [0.0, 0.0, 0.0]).should_prune()


@pytest.mark.parametrize(("part", "places"), [(0.8, 77), (0.4, 36), (0.5, 46)])
def test_what_goes_on_will_probably_be_of_that_part_in_the_end(part: float, places: int) -> None:
    """Of 100 a part, less 0.7 of the standard deviation of a binomial number."""
    made = optuna.create_study(direction="maximize", pruner=HalvingPruner({1: part}, SETTINGS))
    for value in range(99):
        made.tell(ask_with(made, [value / 2]), value / 2)
    kept = []
    for value in range(99):
        trial = ask_with(made, [value / 2 + 0.1])
        kept.append(not trial.should_prune())
        made.tell(trial, state=TrialState.FAIL)
    assert sum(kept) == places
    assert kept == sorted(kept)


def test_the_first_goes_on_and_others_when_it_has_shown_the_way(study: optuna.Study) -> None:
    first = ask_with(study, [0.0, 90.0])
    assert not first.should_prune()
    assert told(study, [0.0, 99.0, 99.0])  # it is better, but one is on its way
    assert promotable(study) is None
    study.tell(first, 91.0)
    assert told(study, [0.0, 80.0, 80.0])
    assert not told(study, [0.0, 99.5, 99.5])


def test_another_shows_the_way_when_the_first_breaks_down(study: optuna.Study) -> None:
    first = ask_with(study, [0.0, 90.0])
    assert not first.should_prune()
    assert told(study, [0.0, 95.0, 95.0])
    study.tell(first, state=TrialState.PRUNED)
    assert promotable(study) == 1


def test_what_was_stopped_is_gone_on_with_when_it_is_among_the_best(study: optuna.Study) -> None:
    assert not told(study, [0.0, 98.0, 98.0])
    assert told(study, [0.0, 97.0, 97.5])
    assert promotable(study) is None
    for value in (91.0, 92.0, 93.0, 94.0):
        assert told(study, [0.0, value, value])
    assert promotable(study) == 1
    again = promote(study, 1)
    assert promotable(study) is None  # it is on its way
    go_on(study, again, [0.0, 97.0, 97.5])
    assert study.trials[again.number].value == 97.5
    assert promotable(study) is None
    # It counts once: of eight trials three may go on, of nine too.
    assert told(study, [0.0, 96.0, 96.0])
    assert promotable(study) is None
    assert told(study, [0.0, 95.0, 95.0])
    assert promotable(study) == 7


def test_what_fails_when_it_is_gone_on_with_is_not_tried_again(study: optuna.Study) -> None:
    told(study, [0.0, 98.0, 98.0])
    for value in (97.0, 91.0, 92.0, 93.0, 94.0):
        told(study, [0.0, value, value])
    assert promotable(study) == 1
    study.tell(promote(study, 1), state=TrialState.FAIL)
    assert promotable(study) != 1


@pytest.mark.parametrize("is_kept", [False, True])
def test_only_what_has_kept_its_state_is_gone_on_with(study: optuna.Study, is_kept: bool) -> None:
    """Not what diverged, repeats another, or was stopped by another pruner or version."""
    told(study, [0.0, 98.0, 98.0])
    for _ in range(8):
        trial = ask_with(study, [0.0, 90.0])
        trial.set_user_attr(STATE_KEPT, is_kept)
        study.tell(trial, state=TrialState.PRUNED)
    assert (promotable(study, is_last=True) is not None) == is_kept


def test_trials_that_say_to_go_on_with_what_is_not_there_are_borne(study: optuna.Study) -> None:
    for number, named in enumerate((0, 99, -1, "first", 2.5, True)):
        trial = ask_with(study, [0.0, 90.0 + number])
        trial.set_user_attr(PROMOTED_KEY, named)
        study.tell(trial, state=TrialState.PRUNED)
    assert promotable(study) is None
    assert ask_with(study, [0.0, 99.0]).should_prune() in (True, False)


def test_in_the_end_the_best_half_has_gone_on_and_four_at_least(study: optuna.Study) -> None:
    told(study, [0.0, 90.0, 90.0])
    for value in range(4):
        told(study, [0.0, 80.0 + value, 80.0])
    gone_on = []
    while (number := promotable(study, is_last=True)) is not None:
        gone_on.append(number)
        go_on(study, promote(study, number), [0.0, study.trials[number].intermediate_values[2], 80])
    assert gone_on == [4, 3, 2]
    for value in range(15):
        told(study, [0.0, 60.0 - value, 60.0])
    while (number := promotable(study, is_last=True)) is not None:
        go_on(study, promote(study, number), [0.0, study.trials[number].intermediate_values[2], 80])
    complete = [each for each in study.trials if each.state == TrialState.COMPLETE]
    assert len(complete) == 10


def test_what_is_nearest_to_the_end_is_gone_on_with_first() -> None:
    pruner = HalvingPruner({1: 0.5, 2: 0.5}, SETTINGS)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    told(study, [90.0, 90.0, 90.0])
    told(study, [80.0, 80.0, 80.0])
    told(study, [70.0, 70.0, 70.0])
    first = promotable(study, is_last=True)
    assert first == 1
    go_on(study, promote(study, 1), [80.0, 80.0, 80.0])
    assert study.trials[3].last_step == 2
    assert promotable(study, is_last=True) == 3
    go_on(study, promote(study, 3), [80.0, 80.0, 80.0])
    assert study.trials[4].state == TrialState.COMPLETE
    assert promotable(study, is_last=True) == 2


@pytest.mark.parametrize("objective", get_args(ObjectiveName))
def test_another_pruner_of_the_same_study_comes_to_the_same(objective: ObjectiveName) -> None:
    """That of another process, which sees all at once what this one saw as it came."""
    settings = SETTINGS.model_copy(update={"objective": objective})
    study = optuna.create_study(direction="maximize", pruner=HalvingPruner({2: 0.5}, settings))
    rng = random.Random(0)
    for _ in range(40):
        number = promotable(study)
        other = HalvingPruner({2: 0.5}, settings)
        assert other.promotable(study, is_last=False) == number
        value = round(rng.uniform(80, 99), 1)
        if number is None:
            told(study, [0.0, value, value])
        else:
            again = promote(study, number)
            end = rng.choice([99.0, 99.3, 99.5, 99.7])
            go_on(study, again, [*study.trials[again.number].intermediate_values.values(), end])


@pytest.mark.parametrize(
    ("epochs", "parts"),
    [(15, {2: 0.5, 4: 0.5, 6: 0.5}), (8, {2: 0.5, 3: 0.5}), (5, {2: 0.5})],
)
def test_halving_is_after_a_part_of_the_epochs(epochs: int, parts: dict[int, float]) -> None:
    pruner = make_pruner("halving", SETTINGS.model_copy(update={"epochs": epochs}))
    assert isinstance(pruner, HalvingPruner)
    assert pruner.parts == parts


def test_pruned_trials_are_compared_with_too(study: optuna.Study) -> None:
    study.tell(ask_with(study, [0.0, 99.0]), 99.0)
    for _ in range(4):
        study.tell(ask_with(study, [0.0, 10.0]), state=TrialState.PRUNED)
    assert not ask_with(study, [0.0, 11.0]).should_prune()


def test_what_was_cut_off_counts_once_when_it_is_run_again(study: optuna.Study) -> None:
    study.tell(ask_with(study, [0.0, 99.0]), 99.0)
    for value in range(4):
        ask_with(study, [0.0, 90.0 + value])
    for _ in range(4):
        study.tell(ask_with(study, [0.0, 99.0]), state=TrialState.FAIL)
    assert not ask_with(study, [0.0, 95.0]).should_prune()


@pytest.mark.parametrize("name", PRUNERS)
@pytest.mark.parametrize("epochs", [1, 2, 5, 15])
def test_every_pruner_can_be_asked_at_every_epoch(name: str, epochs: int) -> None:
    settings = SETTINGS.model_copy(update={"epochs": epochs})
    made = optuna.create_study(direction="maximize", pruner=make_pruner(name, settings))
    for _ in range(3):
        trial = ask_with(made, [])
        for epoch in range(1, epochs + 1):
            trial.report(50.0, epoch)
            assert trial.should_prune() in (True, False)


def halved(objective: ObjectiveName) -> set[int]:
    """Sizes that come to their end: large ones are ahead at first, and hold 99.4% in the end as
    small ones do; the smallest do not come near it."""
    settings = SETTINGS.model_copy(update={"objective": objective})
    pruner = HalvingPruner({1: 0.5}, settings)
    study = optuna.create_study(direction="maximize", pruner=pruner)

    def run(params: int, first: float, last: float) -> bool:
        trial = ask_with(study, [settings.score(first, params)], params)
        if stopped := trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
        else:
            trial.set_user_attr("sustained", last)
            study.tell(trial, settings.score(last, params))
        return not stopped

    sizes = {8_000: (99.0, 99.5), 2_000: (98.9, 99.45), 500: (90.0, 95.0)}
    for _ in range(4):
        run(8_000, *sizes[8_000])
    for _ in range(3):
        for params, curve in sizes.items():
            run(params, *curve)
    return {params for params, curve in sizes.items() if run(params, *curve)}


def complete(study: optuna.Study, first: float, last: float, **attributes: Any) -> None:
    """One whose error falls from `first` to `last`."""
    trial = study.ask()
    trial.report(first, 1)
    for name, value in {"sustained": last, "params": 5_000, **attributes}.items():
        trial.set_user_attr(name, value)
    study.tell(trial, SMALLEST.score(last, 5_000))


SMALLEST = SETTINGS.model_copy(update={"objective": "smallest"})


@pytest.fixture
def smallest() -> optuna.Study:
    return optuna.create_study(direction="maximize", pruner=HalvingPruner({1: 0.5}, SMALLEST))


def is_stopped(study: optuna.Study, score: float, params: int) -> bool:
    """It stays among those that are compared with, and is no complete one."""
    trial = ask_with(study, [score], params)
    stopped = trial.should_prune()
    study.tell(trial, state=TrialState.PRUNED)
    return stopped


def test_what_a_size_is_worth_counts_as_it_is_likely_to_be_reached(smallest: optuna.Study) -> None:
    """Errors of 1.24 have to fall to 0.75; half of the complete trials did, or one of 17."""
    for last in (99.45, 99.42, 99.0, 98.9):
        complete(smallest, 98.8, last)
    assert not is_stopped(smallest, 98.76, 1_000)
    assert is_stopped(smallest, 98.76, 9_000)
    for _ in range(30):
        complete(smallest, 98.8, 98.9)
    assert is_stopped(smallest, 98.76, 1_000)


def test_one_that_broke_down_at_its_end_decides_nothing(smallest: optuna.Study) -> None:
    for last in (99.5, 99.5, 99.5, 99.5, 99.5, 20.0):
        complete(smallest, 99.0, last)
    assert not is_stopped(smallest, 98.9, 4_000)


def test_what_has_reached_the_target_promises_its_score(smallest: optuna.Study) -> None:
    for _ in range(4):
        complete(smallest, 99.0, 99.1)
    assert not is_stopped(smallest, SMALLEST.score(99.5, 9_900), 9_900)
    assert is_stopped(smallest, 98.9, 9_900)


def test_what_may_reach_the_target_is_not_ahead_of_what_has(smallest: optuna.Study) -> None:
    for last in (99.5, 99.5, 98.7, 98.7):
        complete(smallest, 99.0, last)
    for _ in range(6):
        ask_with(smallest, [SMALLEST.score(99.5, 5_000)])
    assert is_stopped(smallest, 99.39, 1_000)


def test_what_has_further_to_fall_is_expected_to_fall_further(smallest: optuna.Study) -> None:
    """Errors of 1.1 ended at 0.61, of 0.8 at 0.52, of 0.61 at 0.45: 1.05 may come to 0.6."""
    for first, last in (
        (98.9, 99.39),
        (99.2, 99.48),
        (99.22, 99.49),
        (99.39, 99.55),
        (99.38, 99.54),
    ):
        complete(smallest, SMALLEST.score(first, 5_000), last)
        complete(smallest, SMALLEST.score(first - 0.01, 5_000), last)
    assert not is_stopped(smallest, 98.95, 1_000)
    assert is_stopped(smallest, 98.95, 6_000)


def test_what_may_come_so_near_that_it_may_be_a_finalist_is_gone_on_with(
    smallest: optuna.Study,
) -> None:
    """Complete trials fall by a quarter: errors of 0.9 to 0.68, of 1.2 to 0.9."""
    for _ in range(9):
        complete(smallest, 99.1, 99.325)
    for _ in range(8):
        is_stopped(smallest, 99.1, 6_000)
    assert not is_stopped(smallest, 99.05, 1_000)
    assert is_stopped(smallest, 98.8, 1_000)


def test_what_is_larger_than_ten_that_hold_gains_nothing_by_holding(smallest: optuna.Study) -> None:
    for _ in range(9):
        complete(smallest, 99.0, 99.5)
    for _ in range(20):
        is_stopped(smallest, 98.4, 4_000)  # they come to 99.2 or so
    assert not is_stopped(smallest, SMALLEST.score(99.5, 9_000), 9_000)
    complete(smallest, 99.0, 99.5)
    assert is_stopped(smallest, SMALLEST.score(99.5, 9_000), 9_000)
    assert not is_stopped(smallest, SMALLEST.score(99.5, 4_000), 4_000)


@pytest.mark.parametrize("objective", get_args(ObjectiveName))
def test_trials_of_other_programs_are_borne(objective: ObjectiveName) -> None:
    """They may lack every attribute, and report what is no number."""
    settings = SETTINGS.model_copy(update={"objective": objective})
    pruner = HalvingPruner({1: 0.5}, settings)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for score in (90.0, 91.0, math.nan, -math.inf, -math.inf, *[92.0] * 8, 93.0, 94.0):
        trial = study.ask()
        trial.report(score, 1)
        trial.set_user_attr("sustained", "high")
        study.tell(trial, math.inf if score == 92 else 95.0)
    assert is_stopped(study, 10.0, 5_000)
    assert is_stopped(study, math.nan, 5_000)
    assert not is_stopped(study, 99.0, 5_000)


def test_what_is_small_and_may_hold_is_not_stopped_for_being_behind() -> None:
    assert 2_000 not in halved("accuracy")
    assert 2_000 in halved("smallest")
    assert 500 not in halved("smallest")


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_draws(name: str) -> None:
    made = optuna.create_study(direction="maximize", sampler=make_sampler(name, 0, SETTINGS))
    for _ in range(30):
        trial = made.ask()
        made.tell(trial, trial.suggest_float("x", 0, 1))
    assert len({trial.params["x"] for trial in made.trials}) > 20


@pytest.mark.parametrize("name", SAMPLERS)
def test_nothing_is_proposed_for_what_is_known(name: str) -> None:
    """A proposal takes longer than asking for what waits in the queue."""
    made = optuna.create_study(direction="maximize", sampler=make_sampler(name, 0, SETTINGS))
    known = BASELINES["1.3"]
    made.enqueue_trial(known)
    trial = made.ask()
    assert trial.relative_params == {}
    assert SETTINGS.space.sample(trial) == configuration(known)
