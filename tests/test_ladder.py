"""The ladder of a configuration: what it is made of, and in which order that is added."""

import itertools
from collections.abc import Callable

import pytest

from results.errors import NasSearchError
from results.ladder import Ladder, climb, furthest, name_of, rounds
from results.record import Epoch, Given, TrialRecord, drawn_attributes, trained_attributes
from results.settings import Goal, StudySettings
from space import (
    BASELINES,
    PUBLISHED,
    Configuration,
    Conv,
    SearchSpace,
    baseline,
    footprint,
    layer_costs,
)
from space.ingredients import RULES, ingredients, with_only
from tests.strategies import RandomTrial

BUDGET = 10_000
SETTINGS = StudySettings(
    dataset="mnist", space=SearchSpace.for_budget(BUDGET), epochs=4, trials="given"
)
KNOWN = {
    **{name: baseline(name) for name in BASELINES},
    **{name: each.configuration for name, each in PUBLISHED.items()},
}
TARGET = PUBLISHED["1.3"].configuration
GOAL = Goal(title="a network", configuration=TARGET, rules=RULES)

Worth = Callable[[frozenset[str]], float]


def trained(given: Given, accuracy: float) -> TrialRecord:
    cost = footprint(given.configuration.architecture)
    history = [Epoch(each, 0.1, 98.0, 0.1, accuracy, 1.0, 0.1) for each in range(1, 5)]
    attributes = {
        **given.attributes(),
        **drawn_attributes(given.configuration, cost),
        **trained_attributes(history, SETTINGS, images_per_epoch=50_000),
    }
    return TrialRecord(0, "complete", attributes["sustained"], {}, attributes)


def climbed(worth: Worth, seeds: int = 2, scatter: float = 0.0) -> tuple[Ladder, int]:
    """The complete ladder of 1.3 where sets of ingredients have these accuracies."""
    found: list[TrialRecord] = []
    for _ in range(100):
        ladder = climb(TARGET, BUDGET, seeds, found)
        if not ladder.missing:
            return ladder, len(found)
        for each in ladder.missing:
            names = frozenset() if each.name == "plain" else frozenset(each.name.split("+"))
            found.append(trained(each, worth(names) + scatter * (-1) ** each.seed))
    raise AssertionError("no end")


@pytest.mark.parametrize("name", KNOWN)
def test_every_part_can_be_taken_out_by_itself_and_within_the_budget(name: str) -> None:
    configuration = KNOWN[name]
    names = {each.name for each in ingredients(configuration)}
    for each in names:
        rest = with_only(configuration, names - {each}, BUDGET)
        of_norm = {"recalibration"} if each == "norm" else set()
        assert {part.name for part in ingredients(rest)} == names - {each} - of_norm
        assert footprint(rest.architecture).params < BUDGET
    plain = with_only(configuration, (), BUDGET)
    assert ingredients(plain) == []
    assert plain.recipe.schedule == "constant"
    share = 0.1 if "schedule" in names else 1
    assert plain.recipe.learning_rate == pytest.approx(share * configuration.recipe.learning_rate)
    assert plain.recipe.augmentation.is_off
    convs = [layer for layer in plain.architecture.layers if isinstance(layer, Conv)]
    assert not any("norm" in each.then for each in convs)
    assert plain.architecture.head.kind == "full_conv"


def test_a_network_within_the_budget_is_its_own_last_rung() -> None:
    names = {each.name for each in ingredients(TARGET)}
    assert with_only(TARGET, names, BUDGET) == TARGET


def test_whatever_a_search_finds_has_a_plain_ancestor_and_no_empty_part() -> None:
    space = SearchSpace.for_budget(BUDGET)
    maps = set()
    for seed in range(200):
        whole = space.sample(RandomTrial(seed))
        *_, last, _ = layer_costs(whole.architecture)
        maps.add(last.output_shape[1:] == (1, 1))
        parts = ingredients(whole)
        without = [with_only(whole, {p.name for p in parts} - {e.name}, BUDGET) for e in parts]
        fitted = with_only(whole, {each.name for each in parts}, BUDGET)
        shapes = {
            (tuple(layer_costs(each.architecture)), each.recipe) for each in (fitted, *without)
        }
        assert len(shapes) == 1 + len(parts)
        plain = with_only(whole, (), BUDGET)
        assert ingredients(plain) == []
        assert footprint(plain.architecture).params < BUDGET
    assert maps == {True, False}


def test_what_another_configuration_left_under_the_name_does_not_count() -> None:
    (first, *_) = climb(TARGET, BUDGET, 1, []).missing
    other = trained(Given(first.name, first.seed, TARGET), 98.0)
    assert climb(TARGET, BUDGET, 1, [other]).missing == (first,)


def test_of_several_trainings_of_the_same_the_first_counts() -> None:
    (given, *_) = climb(TARGET, BUDGET, 1, []).missing
    ladder = climb(TARGET, BUDGET, 1, [trained(given, 98.0), trained(given, 99.0)])
    assert ladder.rungs[0].here.mean == 98.0


def test_a_finished_ladder_is_shown_until_more_seeds_have_come_as_far() -> None:
    found: list[TrialRecord] = []
    while missing := climb(TARGET, BUDGET, 1, found).missing:
        found += [trained(each, 98.0) for each in missing]
    more = climb(TARGET, BUDGET, 2, found).missing
    shown = furthest(GOAL, BUDGET, [*found, trained(more[0], 98.0)])
    assert not shown.missing
    assert [len(each.here.runs) for each in shown.rungs] == [1] * 6


def test_a_ladder_of_other_rules_is_not_taken_for_one_that_has_not_begun() -> None:
    older = GOAL.model_copy(update={"rules": RULES - 1})
    with pytest.raises(NasSearchError, match="made by an earlier nas-search"):
        furthest(older, BUDGET, [])


def test_the_order_of_taking_out_does_not_matter() -> None:
    parts = ingredients(KNOWN["separable-residual"])
    for one, other in itertools.permutations(parts, 2):
        configuration: Configuration = KNOWN["separable-residual"]
        assert one.without(other.without(configuration)) == other.without(
            one.without(configuration)
        )


def test_each_rung_adds_what_helps_most_from_there() -> None:
    worths = {"norm": 0.5, "pooling": 0.1, "augmentation": 0.3, "schedule": 0.2, "dropout": -0.1}

    def worth(names: frozenset[str]) -> float:
        # Augmentation is worth more than BatchNorm once there is a schedule, and nothing before.
        bonus = 0.4 if {"augmentation", "schedule"} <= names else 0.0
        alone = 0.3 if "augmentation" in names and "schedule" not in names else 0.0
        return 98.0 + sum(worths[each] for each in names) + bonus - alone

    ladder, trainings = climbed(worth)
    added = [rung.added.name for rung in ladder.rungs if rung.added]
    assert added == ["norm", "schedule", "augmentation", "pooling", "dropout"]
    assert ladder.rungs[0].here.names == frozenset()
    assert [len(rung.others) for rung in ladder.rungs] == [0, 4, 3, 2, 1, 0]
    assert ladder.rungs[-1].here.runs[0].configuration == TARGET
    lost = {part.name: tried.mean - ladder.rungs[-1].here.mean for part, tried in ladder.removals}
    assert lost["norm"] == pytest.approx(-0.5)
    assert lost["dropout"] == pytest.approx(0.1)
    assert lost["schedule"] == pytest.approx(-0.9)
    assert trainings == sum(rounds(TARGET, BUDGET, 2))


def test_of_a_tie_the_cheapest_is_added() -> None:
    """Global average pooling saves parameters; the others scatter around the same mean."""

    def worth(names: frozenset[str]) -> float:
        return 98.0 + (0.05 if "norm" in names else 0.0)

    ladder, _ = climbed(worth, scatter=0.1)
    assert ladder.rungs[1].added is not None
    assert ladder.rungs[1].added.name == "pooling"
    sure, _ = climbed(worth, scatter=0.001)
    assert sure.rungs[1].added is not None
    assert sure.rungs[1].added.name == "norm"


def test_what_is_trained_already_is_not_asked_for_again() -> None:
    first = climb(TARGET, BUDGET, 3, [])
    assert [(each.name, each.seed) for each in first.missing] == [("plain", n) for n in range(3)]
    found = [trained(each, 98.0) for each in first.missing[:2]]
    assert [each.seed for each in climb(TARGET, BUDGET, 3, found).missing] == [2]
    nexts = climb(TARGET, BUDGET, 2, found)
    assert {each.name for each in nexts.missing} == {
        name_of(frozenset({each.name})) for each in ingredients(TARGET)
    }
    assert len(nexts.rungs) == 1


def test_pooling_stays_where_no_kernel_over_the_map_fits() -> None:
    """A map of 28 x 28 takes 7,840 parameters a channel."""
    (first, *_), head = TARGET.architecture.layers, TARGET.architecture.head
    layers = (first.model_copy(update={"padding": 1}),)
    whole = TARGET.model_copy(
        update={"architecture": TARGET.architecture.model_copy(update={"layers": layers})}
    )
    assert "pooling" in {each.name for each in ingredients(whole)}
    assert "pooling" in {each.name for each in ingredients(whole, 9_000)}
    names = {each.name for each in ingredients(whole, 2_000)}
    assert names and "pooling" not in names
    assert with_only(whole, (), 2_000).architecture.head == head
    assert with_only(whole, names, 2_000).architecture.head == head
    assert with_only(whole, (), 9_000).architecture.head.kind == "full_conv"
