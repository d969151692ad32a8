"""When a trial is stopped early."""

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
    return optuna.create_study(direction="maximize", pruner=HalvingPruner({2}, SETTINGS))


def test_lower_half_is_stopped_at_its_epochs_alone(study: optuna.Study) -> None:
    for value in range(FEWEST_OTHERS):
        ask_with(study, [50.0, 90.0 + value])
    assert ask_with(study, [99.0, 91.4]).should_prune()
    assert not ask_with(study, [0.0, 91.5]).should_prune()
    assert not ask_with(study, [0.0]).should_prune()
    assert not ask_with(study, [0.0, 0.0, 0.0]).should_prune()


def test_pruned_trials_are_compared_with_too(study: optuna.Study) -> None:
    for _ in range(FEWEST_OTHERS):
        study.tell(ask_with(study, [0.0, 10.0]), state=optuna.trial.TrialState.PRUNED)
    study.tell(ask_with(study, [0.0, 99.0]), 99.0)
    assert not ask_with(study, [0.0, 11.0]).should_prune()


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
    pruner = HalvingPruner({1}, settings)
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
