"""Studies for tests, as records: drawn at random, with accuracies of known causes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from results.record import TrialRecord, drawn_attributes
from results.settings import StudySettings
from space import Configuration, SearchSpace, configuration, footprint
from tests.strategies import RandomTrial

SPACE = SearchSpace.for_budget(10_000)
SETTINGS = StudySettings(dataset="mnist", space=SPACE)

Cause = Callable[[dict[str, Any]], float]


def drawn(seed: int) -> tuple[dict[str, Any], Configuration]:
    """Parameters within the budget, and what they mean."""
    for attempt in range(1_000):
        parameters = SPACE.draw(RandomTrial(1_000 * seed + attempt))
        made = configuration(parameters)
        if footprint(made.architecture).params < SPACE.max_params:
            return parameters, made
    raise AssertionError("no draw within the budget")


DRAWS = [drawn(seed) for seed in range(400)]


def nothing(_: dict[str, Any]) -> float:
    return 0.0


def complete_trials(
    count: int, seed: int, cause: Cause = nothing, *, per_decade: float = -0.5, noise: float = 0.1
) -> list[TrialRecord]:
    """Complete trials; log10 of their error is -0.1 at 3,162 parameters, plus what is given."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(DRAWS), count, replace=False)
    found = []
    for number, (parameters, made) in enumerate(DRAWS[each] for each in chosen):
        cost = footprint(made.architecture)
        level = -0.1 + per_decade * (np.log10(cost.params) - 3.5) + cause(parameters)
        sustained = 100 - min(10 ** (level + rng.normal(0, noise)), 90)
        attributes = {**drawn_attributes(made, cost), "sustained": sustained}
        found.append(TrialRecord(number, "complete", sustained, parameters, attributes))
    return found
