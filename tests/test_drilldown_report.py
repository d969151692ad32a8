"""The report of a drill-down and its notebook: right about the ladder, however far it is."""

import datetime
import random
from collections.abc import Collection, Iterable
from itertools import chain, combinations

import pytest

from results.charts.ladder import ladder_chart, worth_chart
from results.difference import difference, step, worths
from results.ladder import Ladder, climb, name_of
from results.record import Epoch, Given, TrialRecord, drawn_attributes, trained_attributes
from results.report.drilldown import headline, make_drilldown_report
from results.report.page import page
from results.settings import StudySettings
from space import PUBLISHED, SearchSpace, footprint
from space.ingredients import ingredients, with_only

SETTINGS = StudySettings(
    dataset="mnist", space=SearchSpace.for_budget(10_000), epochs=6, sustain=3, trials="given"
)
WHOLE = PUBLISHED["1.3"].configuration
PARTS = [each.name for each in ingredients(WHOLE)]
GAINS = {"norm": 1.2, "schedule": 0.5, "augmentation": 0.25, "pooling": 0.0, "dropout": 0.0}
NOW = datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC)


def run(names: Collection[str], seed: int, *, state: str = "complete") -> TrialRecord:
    """A training whose sustained accuracy is 97.3 and the gains of its ingredients, and chance."""
    configuration = with_only(WHOLE, names, SETTINGS.max_params)
    chance = random.Random(f"{sorted(names)} {seed}").uniform(-0.04, 0.04)
    end = 97.3 + sum(GAINS[name] for name in names) + chance
    accuracies = [end - 3, end - 1, end - 0.2, end + 0.06, end, end + 0.03]
    if state == "pruned":
        accuracies = [9.8]
    history = [
        Epoch(epoch, 0.1, accuracy + 0.2, 0.1, accuracy, 9.0, 1.0)
        for epoch, accuracy in enumerate(accuracies, 1)
    ]
    attributes = {
        **Given(name_of(frozenset(names)), seed, configuration).attributes(),
        **drawn_attributes(configuration, footprint(configuration.architecture)),
        **trained_attributes(history, SETTINGS, images_per_epoch=50_000),
        **({"reason": "diverged in epoch 1"} if state == "pruned" else {}),
    }
    return TrialRecord(0, state, None, {}, attributes)  # type: ignore[arg-type]


def every(seeds: int) -> list[TrialRecord]:
    """All that a drill-down could train."""
    sizes = range(len(PARTS) + 1)
    chosen: Iterable[tuple[str, ...]] = chain(*(combinations(PARTS, size) for size in sizes))
    return [run(names, seed) for names in chosen for seed in range(seeds)]


def ladder(records: list[TrialRecord], seeds: int) -> Ladder:
    return climb(WHOLE, SETTINGS.max_params, seeds, records)


@pytest.fixture(scope="module")
def whole() -> Ladder:
    made = ladder(every(3), 3)
    assert not made.missing
    return made


def text_of(made: Ladder) -> str:
    report = make_drilldown_report("1.3", made, SETTINGS, NOW)
    assert page(report).count("data:image/svg+xml") == len(report.pictures)
    return report.markdown
