"""The sampler draws what Optuna's own draws from the same trials."""

import math
import random
import time
from typing import Any

import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.tpe import MOST_COMPARED, History, TreeParzenSampler

SPACE: dict[str, BaseDistribution] = {
    "width": IntDistribution(4, 32, log=True),
    "depth": IntDistribution(0, 3),
    "even": IntDistribution(2, 10, step=2),
    "kernel": CategoricalDistribution((3, 5)),
    "head": CategoricalDistribution(("a", "b", "c")),
    "residual": CategoricalDistribution((False, True)),
    "rate": FloatDistribution(0.01, 0.5, log=True),
    "momentum": FloatDistribution(0.8, 0.97),
    "tenths": FloatDistribution(0.0, 1.0, step=0.1),
}
STARTUP = 24


def any_trial(luck: random.Random, *, may_run: bool) -> FrozenTrial:
    """Complete, pruned (also with nothing or a NaN reported), infeasible, failed or running."""
    params = {
        name: each.to_external_repr(each.to_internal_repr(_draw(each, luck)))
        for name, each in SPACE.items()
    }
    which = luck.choice(["complete"] * 3 + ["pruned", "infeasible", "failed", "running"])
    reports = {step: luck.choice([luck.random(), math.nan]) for step in range(luck.randint(0, 3))}
    state = {
        "complete": TrialState.COMPLETE,
        "failed": TrialState.FAIL,
        "running": TrialState.RUNNING if may_run else TrialState.FAIL,
    }.get(which, TrialState.PRUNED)
    return create_trial(
        state=state,
        value=round(luck.random(), 1) if state == TrialState.COMPLETE else None,
        params=params,
        distributions=SPACE,
        intermediate_values=reports,
        system_attrs={"constraints:budget": luck.uniform(1, 9) if which == "infeasible" else -1.0},
    )


def _draw(distribution: BaseDistribution, luck: random.Random) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return luck.choice(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return luck.randrange(distribution.low, distribution.high + 1, distribution.step)
    assert isinstance(distribution, FloatDistribution)
    if distribution.step:
        return distribution.step * luck.randint(0, 10)
    return luck.uniform(distribution.low, distribution.high)


def draws(sampler: optuna.samplers.BaseSampler, trials: list[FrozenTrial], way: str) -> Any:
    made = optuna.create_study(direction=way, sampler=sampler)
    made.add_trials(trials)
    return made.ask(SPACE).params


@pytest.mark.parametrize("way", ["maximize", "minimize"])
@pytest.mark.parametrize("count", [0, STARTUP - 1, 40, 300, MOST_COMPARED])
def test_draws_are_those_of_optuna(count: int, way: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for seed in range(8):
        luck = random.Random(seed)
        trials = [any_trial(luck, may_run=True) for _ in range(count)]
        wanted = draws(TPESampler(seed=seed, n_startup_trials=STARTUP), trials, way)
        found = draws(TreeParzenSampler(seed, STARTUP, History()), trials, way)
        for name, value in wanted.items():
            smooth = isinstance(SPACE[name], FloatDistribution)
            assert found[name] == (pytest.approx(value, rel=1e-6) if smooth else value)


def test_a_history_that_grows_is_as_good_as_a_new_one() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    luck = random.Random(0)
    history = History()
    study = optuna.create_study(direction="maximize")
    for seed in range(60):
        study.sampler = TreeParzenSampler(seed, STARTUP, history)
        trial = study.ask(SPACE)
        others = study.get_trials(deepcopy=False)[: trial.number]
        again = draws(TreeParzenSampler(seed, STARTUP, History()), others, "maximize")
        assert trial.params == again
        if luck.random() < 0.8:  # else it goes on running
            study.tell(trial, luck.random())


def test_the_time_of_a_draw_does_not_grow_with_the_study() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    luck = random.Random(0)
    drawn = create_trial(state=TrialState.RUNNING)
    seconds = {}
    for count in (MOST_COMPARED, 10 * MOST_COMPARED):
        study, history = optuna.create_study(direction="maximize"), History()
        study.add_trials([any_trial(luck, may_run=False) for _ in range(count)])
        history.look(study)

        def once(seed: int, study: optuna.Study = study, history: History = history) -> float:
            sampler = TreeParzenSampler(seed, STARTUP, history)
            started = time.perf_counter()
            space = sampler.infer_relative_search_space(study, drawn)
            assert sampler.sample_relative(study, drawn, space).keys() == SPACE.keys()
            return time.perf_counter() - started

        seconds[count] = min(once(seed) for seed in range(5))
    assert seconds[10 * MOST_COMPARED] < 2 * seconds[MOST_COMPARED]
