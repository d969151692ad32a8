"""Studies for tests, as records: drawn at random, with accuracies of known causes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from results.record import (
    Confirmation,
    Epoch,
    TrialRecord,
    drawn_attributes,
    trained_attributes,
)
from results.report.findings import Findings
from results.settings import StudySettings
from space import BASELINES, Configuration, SearchSpace, configuration, footprint
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
        found.append(TrialRecord(number, "complete", sustained, dict(parameters), attributes))
    return found


def trained(
    number: int,
    accuracies: Sequence[float],
    *,
    training: float = 98.0,
    parameters: dict[str, Any] = BASELINES["1.3"],
    reason: str = "",
    settings: StudySettings = SETTINGS,
) -> TrialRecord:
    """A trial with these validation accuracies, a second an epoch; pruned if there is a reason."""
    made = configuration(parameters)
    history = [
        Epoch(epoch, 0.1, training, 0.1, each, 0.75, 0.25)
        for epoch, each in enumerate(accuracies, 1)
    ]
    attributes = {
        **drawn_attributes(made, footprint(made.architecture)),
        **trained_attributes(history, settings, images_per_epoch=50_000),
        **({"reason": reason} if reason else {}),
    }
    value = settings.score(attributes["sustained"], attributes["params"])
    if reason:
        return TrialRecord(number, "pruned", None, parameters, attributes)
    return TrialRecord(number, "complete", value, parameters, attributes)


def stored(accuracy: float) -> dict[str, Any]:
    """All attributes that a trial of this accuracy has when it is complete."""
    made_with = {"seed": 0, "device": "CPU", "precision": "float32", "versions": {"torch": "2"}}
    return {**trained(0, [accuracy]).attributes, **made_with, "checkpoint": "x.safetensors"}


def confirmed(trial: int, sustained: Sequence[float], predictions: str = "") -> list[Confirmation]:
    """A run for each sustained test accuracy, which it has after every epoch."""
    return [
        Confirmation(
            trial=trial,
            seed=seed,
            accuracies=[each] * SETTINGS.epochs,
            sustained=each,
            train_accuracy=99.0,
            seconds=1.0,
            weights="file",
            device="CPU",
            precision="float32",
            versions={"torch": "2"},
            predictions=predictions,
        )
        for seed, each in enumerate(sustained)
    ]


def findings(
    records: list[TrialRecord],
    runs: Sequence[list[Confirmation]] = (),
    settings: StudySettings = SETTINGS,
) -> Findings:
    """Findings of a study called `test`, without test images."""
    return Findings("test", settings, records, {each[0].trial: each for each in runs})
