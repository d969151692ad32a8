"""Samplers on a surrogate of recorded trials."""

import math
import random

import optuna
import pytest

from benchmarks.curves import Curve
from benchmarks.samplers import Surrogate, measure, search
from results.settings import StudySettings
from space import SearchSpace, configuration, footprint
from tests.strategies import RandomTrial

SETTINGS = StudySettings(dataset="mnist", space=SearchSpace.for_budget(10_000), epochs=4, sustain=2)


def recorded(count: int) -> list[Curve]:
    """Trials whose error depends on the batch size and the number of parameters alone."""
    found: list[Curve] = []
    luck = random.Random(0)
    for seed in range(10 * count):
        drawn = SETTINGS.space.draw(RandomTrial(seed))
        cost = footprint(configuration(drawn).architecture)
        if cost.params >= SETTINGS.max_params or len(found) == count:
            continue
        error = (500 / cost.params + drawn["batch_size"] / 64) * math.exp(luck.gauss(0, 0.05))
        accuracies = (80.0, 90.0, 100 - error, 100 - error)
        found.append(Curve(seed, "mnist", 10_000, cost.params, cost.macs, 1.0, accuracies, drawn))
    assert len(found) == count
    return found


@pytest.fixture(scope="module")
def surrogate() -> Surrogate:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return Surrogate("trees", recorded(80), SETTINGS)


@pytest.mark.parametrize(("model", "least", "ratio"), [("trees", 0.8, 4), ("kernel", 0.4, 1.5)])
def test_surrogates_know_what_decides(model: str, least: float, ratio: float) -> None:
    surrogate = Surrogate(model, recorded(80), SETTINGS)
    assert surrogate.agreement > least
    drawn = recorded(1)[0].drawn
    errors = []
    for size in (32, 256):
        each = drawn | {"batch_size": size}
        cost = footprint(configuration(each).architecture)
        errors.append(math.exp(surrogate.log_error(each, cost)))
    assert ratio * errors[0] < errors[1]


@pytest.mark.parametrize("name", ["tpe", "forest", "random"])
def test_a_search_has_as_many_trained_trials(surrogate: Surrogate, name: str) -> None:
    found, draws = search(name, surrogate, SETTINGS, 12, seed=0)
    assert len(found) == 12
    assert draws >= 12
    assert found == search(name, surrogate, SETTINGS, 12, seed=0)[0]
    assert found != search(name, surrogate, SETTINGS, 12, seed=1)[0]


def test_more_trials_find_better_ones(surrogate: Surrogate) -> None:
    row = measure("random", surrogate, SETTINGS, at=[1, 20], seeds=3)
    assert row.errors[1][0] < row.errors[0][0]
    assert 25 <= row.feasible <= 100
