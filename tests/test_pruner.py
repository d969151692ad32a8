"""When a trial is stopped early."""

import math
from typing import Any, get_args

import optuna
import pytest

from results.settings import ObjectiveName, StudySettings
from search.pruner import FEWEST_OTHERS, HalvingPruner
from search.strategy import PRUNERS, SAMPLERS, make_pruner, make_sampler
from space import SearchSpace

SETTINGS = StudySettings(dataset="mnist", space=SearchSpace.for_budget(10_000))


def ask_with(study: optuna.Study, values: list[float], params: int = 5_000) -> optuna.Trial:
    trial = study.ask()
    trial.set_user_attr("params", params)
    for epoch, value in enumerate(values, 1):
        trial.report(value, epoch)
    return trial


@pytest.fixture
def study() -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(direction="maximize", pruner=HalvingPruner({2: 0.5}, SETTINGS))


def test_lower_half_is_stopped_at_its_epochs_alone(study: optuna.Study) -> None:
    for value in range(FEWEST_OTHERS):
        ask_with(study, [50.0, 90.0 + value])
    assert ask_with(study, [99.0, 91.4]).should_prune()
    assert not ask_with(study, [0.0, 91.4]).should_prune()
    assert not ask_with(study, [0.0]).should_prune()
    assert not ask_with(study, [0.0, 0.0, 0.0]).should_prune()


@pytest.mark.parametrize(("part", "least"), [(0.8, 92), (0.4, 96)])
def test_the_part_that_goes_on_is_the_most_promising(part: float, least: int) -> None:
    study = optuna.create_study(direction="maximize", pruner=HalvingPruner({1: part}, SETTINGS))
    for value in range(90, 101):
        study.tell(ask_with(study, [float(value)]), state=optuna.trial.TrialState.PRUNED)
    stopped = []
    for value in range(90, 100):
        trial = ask_with(study, [value + 0.5])
        stopped.append(trial.should_prune())
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    assert stopped == [value + 0.5 < least for value in range(90, 100)]


@pytest.mark.parametrize(
    ("epochs", "parts"),
    [(15, {2: 0.6, 4: 0.6, 6: 0.4}), (8, {2: 0.6, 3: 0.4}), (5, {2: 0.6})],
)
def test_halving_is_after_a_part_of_the_epochs(epochs: int, parts: dict[int, float]) -> None:
    pruner = make_pruner("halving", SETTINGS.model_copy(update={"epochs": epochs}))
    assert isinstance(pruner, HalvingPruner)
    assert pruner.parts == parts


def test_pruned_trials_are_compared_with_too(study: optuna.Study) -> None:
    for _ in range(FEWEST_OTHERS):
        study.tell(ask_with(study, [0.0, 10.0]), state=optuna.trial.TrialState.PRUNED)
    study.tell(ask_with(study, [0.0, 99.0]), 99.0)
    assert not ask_with(study, [0.0, 11.0]).should_prune()


def test_what_was_cut_off_counts_once_when_it_is_run_again(study: optuna.Study) -> None:
    for value in range(FEWEST_OTHERS):
        ask_with(study, [0.0, 90.0 + value])
    for _ in range(FEWEST_OTHERS):
        study.tell(ask_with(study, [0.0, 99.0]), state=optuna.trial.TrialState.FAIL)
    assert not ask_with(study, [0.0, 92.0]).should_prune()


def test_nothing_is_stopped_with_few_to_compare_with(study: optuna.Study) -> None:
    for _ in range(FEWEST_OTHERS - 1):
        ask_with(study, [99.0, 99.0])
    assert not ask_with(study, [0.0, 0.0]).should_prune()


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
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            trial.set_user_attr("sustained", last)
            study.tell(trial, settings.score(last, params))
        return not stopped

    sizes = {8_000: (99.0, 99.5), 2_000: (98.9, 99.45), 500: (90.0, 95.0)}
    for _ in range(FEWEST_OTHERS):
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
    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    return stopped


def test_what_a_size_is_worth_counts_as_it_is_likely_to_be_reached(smallest: optuna.Study) -> None:
    """Errors of 1.24 have to be halved; half of the complete trials did, or one of eight."""
    for last in (99.45, 99.42, 99.0, 98.9):
        complete(smallest, 98.8, last)
    assert not is_stopped(smallest, 98.76, 1_000)
    assert is_stopped(smallest, 98.76, 9_000)
    for _ in range(12):
        complete(smallest, 98.8, 98.9)
    assert is_stopped(smallest, 98.76, 1_000)


def test_one_that_broke_down_at_its_end_decides_nothing(smallest: optuna.Study) -> None:
    for last in (99.5, 99.5, 99.5, 99.5, 99.5, 20.0):
        complete(smallest, 99.0, last)
    assert not is_stopped(smallest, 98.9, 4_000)


def test_what_has_reached_the_target_promises_its_score(smallest: optuna.Study) -> None:
    for _ in range(FEWEST_OTHERS):
        complete(smallest, 99.0, 99.1)
    assert not is_stopped(smallest, SMALLEST.score(99.5, 9_900), 9_900)
    assert is_stopped(smallest, 98.9, 9_900)


def test_what_may_reach_the_target_is_not_ahead_of_what_has(smallest: optuna.Study) -> None:
    for last in (99.5, 99.5, 98.7, 98.7):
        complete(smallest, 99.0, last)
    for _ in range(6):
        ask_with(smallest, [SMALLEST.score(99.5, 5_000)])
    assert is_stopped(smallest, 99.39, 1_000)


def test_nothing_is_stopped_before_its_end_can_be_guessed(smallest: optuna.Study) -> None:
    for _ in range(2 * FEWEST_OTHERS):
        ask_with(smallest, [99.0])  # running
    for _ in range(FEWEST_OTHERS):
        complete(smallest, SMALLEST.score(99.5, 5_000), 99.5)  # from the target on no fall is seen
    for _ in range(FEWEST_OTHERS - 1):
        complete(smallest, 99.0, 99.5)
    assert not is_stopped(smallest, 10.0, 5_000)
    complete(smallest, 99.0, 99.5)
    assert is_stopped(smallest, 10.0, 5_000)


@pytest.mark.parametrize("objective", get_args(ObjectiveName))
def test_trials_of_other_programs_are_borne(objective: ObjectiveName) -> None:
    """They may lack every attribute, and report what is no number."""
    settings = SETTINGS.model_copy(update={"objective": objective})
    pruner = HalvingPruner({1: 0.5}, settings)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for score in (90.0, 91.0, math.nan, -math.inf, -math.inf, 92.0, 93.0, 94.0):
        trial = study.ask()
        trial.report(score, 1)
        trial.set_user_attr("sustained", "high")
        study.tell(trial, 95.0)
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
