"""The sampler that learns errors with a forest: what it takes in, and what it proposes."""

import math
import statistics
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from results.record import BUDGET_CONSTRAINT
from results.settings import ObjectiveName, StudySettings
from search import forest
from search.forest import CHANCE_ERROR, FEWEST_TRAINED, Experience
from search.strategy import make_sampler
from space import Footprint, SearchSpace, configuration, footprint

SETTINGS = StudySettings(dataset="mnist", space=SearchSpace.for_budget(3_000), epochs=4, sustain=2)

Error = Callable[[dict[str, Any], Footprint], float]


@pytest.fixture(autouse=True)
def _few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    monkeypatch.setattr(forest, "TREES", 20)
    monkeypatch.setattr(forest, "CANDIDATES", 80)


def by_choices(drawn: dict[str, Any], cost: Footprint) -> float:
    """Percent. Five of the parameters decide, one of them together with another."""
    error = 0.6 * math.sqrt(3_000 / cost.params)
    error *= 1 + 2 * (math.log(drawn["sgd_learning_rate"] / 0.1) / 2) ** 2
    error *= 1.5 if drawn["residual"] != (drawn["stage1_kind"] == "separable") else 1.0
    return error * (2.0 if drawn["order"] == "relu" else 1.0)


def studied(
    name: str, trials: int, seed: int, error: Error = by_choices, **changes: Any
) -> optuna.Study:
    """A study of so many trained trials whose errors are known."""
    settings = SETTINGS.model_copy(update=changes)
    study = optuna.create_study(direction="maximize", sampler=make_sampler(name, seed, settings))
    trained = 0
    while trained < trials:
        trial = study.ask()
        drawn = settings.space.draw(trial)
        cost = footprint(configuration(drawn).architecture)
        excess = cost.params - settings.max_params + 1
        trial.set_constraint(BUDGET_CONSTRAINT, excess)
        if excess > 0:
            study.tell(trial, state=TrialState.PRUNED)
            continue
        trained += 1
        accuracy = 100 - error(drawn, cost)
        trial.set_user_attr("sustained", accuracy)
        study.tell(trial, settings.score(accuracy, cost.params))
    return study


def test_what_it_proposes_is_better_than_chance() -> None:
    late = {
        name: statistics.mean(
            100 - value for seed in range(2) for value in values(studied(name, 30, seed))[-12:]
        )
        for name in ("forest", "random")
    }
    assert late["forest"] < 0.5 * late["random"]


def values(study: optuna.Study) -> list[float]:
    """Of the trained trials, in their order."""
    return [each.value for each in study.trials if each.value is not None]


def test_nothing_over_the_budget_is_proposed() -> None:
    trials = studied("forest", FEWEST_TRAINED + 10, 0).trials
    assert {each.state for each in trials} == {TrialState.COMPLETE}


def test_no_two_proposals_mean_the_same() -> None:
    study = studied("forest", 40, 3)
    drawn = [configuration(trial.params) for trial in study.trials]
    assert len(set(drawn)) == len(drawn)


def test_the_same_seed_draws_the_same() -> None:
    one, again, other = (
        [each.params for each in studied("forest", 14, seed).trials] for seed in (0, 0, 1)
    )
    assert one == again
    assert one != other


def test_of_what_holds_it_looks_for_the_smallest() -> None:
    def error(drawn: dict[str, Any], cost: Footprint) -> float:
        return by_choices(drawn, cost) / 3

    found = {
        objective: statistics.mean(
            footprint(configuration(each.params).architecture).params
            for each in studied("forest", 32, 0, error, objective=objective).trials[-12:]
        )
        for objective in ("accuracy", "smallest")
    }
    assert found["smallest"] < 0.7 * found["accuracy"]


def test_a_pruned_trial_is_expected_to_end_where_such_errors_do() -> None:
    """Errors of 4% and 1% ended at 2 and 1%: so one of 2% at the square root of 2, but one of 64%,
    which nothing complete was near, at 32%."""
    study = optuna.create_study(direction="maximize")
    experience = Experience(SETTINGS)

    def tell(error: float, end: float | None) -> None:
        trial = study.ask()
        SETTINGS.space.draw(trial)
        trial.report(100 - error, 1)
        if end is not None:
            trial.set_user_attr("sustained", 100 - end)
        state = TrialState.PRUNED if end is None else TrialState.COMPLETE
        study.tell(trial, None if end is None else 100 - end, state=state)

    for place in range(9):
        tell(4.0 ** (place / 8), 2.0 ** (place / 8))
    tell(2.0, None)
    tell(64.0, None)
    experience.look(study)
    errors = experience.learnt()[1]
    assert [math.exp(each) for each in errors[-2:]] == pytest.approx([math.sqrt(2), 32.0])


@pytest.mark.parametrize(("objective", "target"), [("accuracy", 99.4), ("smallest", 98.5)])
def test_a_pruned_trial_gets_the_error_it_would_have_had(
    objective: ObjectiveName, target: float
) -> None:
    settings = SETTINGS.model_copy(update={"objective": objective, "target": target})
    study = optuna.create_study(direction="maximize")
    experience = Experience(settings)

    def tell(state: TrialState, value: float | None, reports: dict[int, float]) -> None:
        trial = study.ask()
        SETTINGS.space.draw(trial)
        for epoch, accuracy in reports.items():
            trial.report(settings.score(accuracy, 1_000), epoch)
        if value is not None:
            trial.set_user_attr("sustained", value)
            value = settings.score(value, 1_000)
        study.tell(trial, value, state=state)

    tell(TrialState.COMPLETE, 99.0, {1: 96.0, 2: 98.0})
    tell(TrialState.COMPLETE, 98.0, {1: 92.0, 2: 96.0})
    tell(TrialState.PRUNED, None, {1: 90.0, 2: 94.0})
    tell(TrialState.PRUNED, None, {1: 90.0})
    tell(TrialState.PRUNED, None, {1: math.nan})
    tell(TrialState.PRUNED, None, {1: 97.0, 2: 0.0})
    tell(TrialState.PRUNED, None, {})
    tell(TrialState.FAIL, None, {1: 99.0})
    assert experience.look(study) == experience.look(study) == 7
    _, errors, scores, _ = experience.learnt()
    found = [math.exp(each) for each in errors]
    assert found == pytest.approx([1.0, 2.0, 3.0, 2.5, *[CHANCE_ERROR] * 3])
    assert list(scores[:2]) == [settings.score(99.0, 1_000), 98.0]
    assert all(each == -math.inf for each in scores[2:])
    if objective == "smallest":  # it had reached the target and is no worse
        tell(TrialState.PRUNED, None, {1: 98.0, 2: 98.8})
        experience.look(study)
        assert math.exp(experience.learnt()[1][-1]) <= 1.5 + 1e-9


def test_of_many_trials_the_best_and_the_latest_are_learnt_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = studied("random", 30, 0)
    experience = Experience(SETTINGS)
    experience.look(study)
    _, _, every, _ = experience.learnt()
    monkeypatch.setattr(forest, "MOST_ROWS", 12)
    table, errors, scores, drawn = experience.learnt()
    assert len(table) == len(errors) == len(scores) == len(drawn)
    assert {*sorted(every)[-3:], *every[-9:]} == set(scores)
