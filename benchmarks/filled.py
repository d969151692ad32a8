"""Studies that have as many ended trials as wanted, as a search leaves them behind."""

import random
from pathlib import Path
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from results.ledger import Ledger
from results.record import BUDGET_CONSTRAINT, Epoch, drawn_attributes, trained_attributes
from results.settings import StudySettings
from results.storage import open_storage
from search import study
from search.data import DataSource
from search.plan import Plan
from space import SearchSpace, footprint
from space.search_space import Choice, FloatRange, IntRange, configuration

EPOCHS = 15
SETTINGS = StudySettings(
    dataset="mnist-sample", space=SearchSpace.for_budget(10_000), epochs=EPOCHS
)


def _distribution(each: IntRange | FloatRange | Choice) -> BaseDistribution:
    if isinstance(each, Choice):
        return CategoricalDistribution(each.choices)
    if isinstance(each, FloatRange):
        return FloatDistribution(each.low, each.high, log=each.log)
    return IntDistribution(each.low, each.high, log=each.log)


DISTRIBUTIONS = {name: _distribution(each) for name, each in SETTINGS.space.dimensions.items()}


def plan_of(storage: str, folder: Path, *, seed: int = 0, workers: int = 1) -> Plan:
    """A search with TPE and halving; how many trials is to be said."""
    return Plan(
        study="filled",
        storage=storage,
        settings=SETTINGS,
        data=DataSource("mnist-sample"),
        out=folder,
        seed=seed,
        sampler="tpe",
        pruner="halving",
        devices=("cpu",),
        workers=workers,
        precision="float32",
    )


def make_filled(plan: Plan, trials: int) -> None:
    """Makes the study of the plan, or goes on to fill it; leaves no connection open."""
    database = open_storage(plan.storage, create=True)
    study.make_or_resume(database, plan, baselines=False)
    ledger = Ledger(database, plan.study)
    for number in range(len(ledger.get_all_trials(1, deepcopy=False)), trials):
        ledger.create_new_trial(1, ended_trial(number))
    database.engine.dispose()


def ended_trial(number: int) -> FrozenTrial:
    """A trial as a search leaves it behind."""
    luck = random.Random(number)
    params = {name: _draw(each, luck) for name, each in DISTRIBUTIONS.items()}
    drawn = configuration(params)
    cost = footprint(drawn.architecture)
    excess = cost.params - SETTINGS.max_params + 1
    attributes = {"worker": "none/0/0.00", "dataset": "mnist-sample"}
    attributes |= drawn_attributes(drawn, cost)
    reports: dict[int, float] = {}
    if excess <= 0:
        count = luck.choice([3, 3, 6, EPOCHS])
        accuracies = [luck.uniform(98, 99.5) for _ in range(count)]
        history = [
            Epoch(epoch, 0.1, 99.0, 0.1, each, 0.1, 0.1) for epoch, each in enumerate(accuracies, 1)
        ]
        attributes |= trained_attributes(history, SETTINGS, images_per_epoch=4_000)
        reports = dict(enumerate(accuracies, 1))
    complete = len(reports) == EPOCHS
    return create_trial(
        state=TrialState.COMPLETE if complete else TrialState.PRUNED,
        value=SETTINGS.sustained(list(reports.values())) if complete else None,
        params=params,
        distributions=DISTRIBUTIONS,
        user_attrs=attributes,
        system_attrs={f"constraints:{BUDGET_CONSTRAINT}": float(excess)},
        intermediate_values=reports,
    )


def _draw(distribution: Any, luck: random.Random) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return luck.choice(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return luck.randint(distribution.low, distribution.high)
    return luck.uniform(distribution.low, distribution.high)
