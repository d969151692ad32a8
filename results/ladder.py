"""A drill-down: from the plainest ancestor of a configuration to it, an ingredient at a time.

At each rung every ingredient that is not there yet is tried; the one that helps most is added. What
counts is the sustained validation accuracy, its mean over the same seeds for all. Ingredients whose
means lie within one standard error of the best's are a tie, which the cheapest wins: fewer
parameters, then fewer multiply-accumulates. At the end each ingredient is taken out by itself.

All of it follows from what is trained: a drill-down that is cut off goes on where it was.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from math import sqrt

from results.errors import NasSearchError
from results.record import Given, TrialRecord, given_runs
from results.settings import Goal
from space import Configuration, footprint
from space.ingredients import RULES, Ingredient, ingredients, with_only

PLAIN = "plain"
"""The name of the configuration without any ingredient."""


@dataclass(frozen=True)
class Tried:
    """The configuration with some of its ingredients, trained from the seeds 0, 1, ..."""

    names: frozenset[str]
    runs: tuple[TrialRecord, ...]

    @property
    def params(self) -> int:
        """Trainable parameters."""
        return self.runs[0].params

    @property
    def macs(self) -> int:
        """Multiply-accumulates per image."""
        return self.runs[0].macs

    @property
    def sustained(self) -> list[float]:
        """Sustained validation accuracy of each run, percent."""
        return [each.sustained for each in self.runs]

    @cached_property
    def mean(self) -> float:
        """Of the sustained accuracies."""
        return statistics.mean(self.sustained)

    @property
    def standard_error(self) -> float:
        """Of the mean; zero for one run, which tells no scatter."""
        if len(self.runs) < 2:
            return 0.0
        return statistics.stdev(self.sustained) / sqrt(len(self.runs))


@dataclass(frozen=True)
class Rung:
    """A step of the ladder: what was added, what came of it, and what else was tried there.

    `added` is None at the first rung, the plainest ancestor.
    """

    added: Ingredient | None
    here: Tried
    others: tuple[tuple[Ingredient, Tried], ...] = ()


@dataclass(frozen=True)
class Ladder:
    """A drill-down as far as it is trained.

    `ingredients`: what the whole ladder adds. `removals`: the whole configuration without each of
    them. `missing`: what is to be trained next; empty if the drill-down is complete.
    """

    configuration: Configuration
    ingredients: tuple[Ingredient, ...]
    rungs: tuple[Rung, ...]
    removals: tuple[tuple[Ingredient, Tried], ...]
    missing: tuple[Given, ...]

    @property
    def every(self) -> list[Tried]:
        """Everything that was trained for it, once each."""
        found: dict[frozenset[str], Tried] = {}
        for rung in self.rungs:
            for each in (rung.here, *(other for _, other in rung.others)):
                found[each.names] = each
        return list((found | {each.names: each for _, each in self.removals}).values())


def climb(
    configuration: Configuration, max_params: int, seeds: int, records: Sequence[TrialRecord]
) -> Ladder:
    """The ladder of a configuration from what is trained of it."""
    trained = given_runs(records)
    parts = {each.name: each for each in ingredients(configuration, max_params)}
    rungs: list[Rung] = []

    @cache
    def made(names: frozenset[str]) -> Configuration:
        return with_only(configuration, names, max_params)

    def tried(names: frozenset[str]) -> Tried | None:
        runs = trained.get(made(names), {})
        if not all(seed in runs for seed in range(seeds)):
            return None
        return Tried(names, tuple(runs[seed] for seed in range(seeds)))

    def ladder(
        removals: Sequence[tuple[Ingredient, Tried]], lacking: Sequence[frozenset[str]]
    ) -> Ladder:
        missing = [
            Given(name_of(names), seed, made(names))
            for seed in range(seeds)
            for names in lacking
            if seed not in trained.get(made(names), {})
        ]
        return Ladder(
            configuration,
            tuple(parts.values()),
            tuple(rungs),
            tuple(removals),
            tuple(missing),
        )

    names: frozenset[str] = frozenset()
    plain = tried(names)
    if plain is None:
        return ladder((), [names])
    rungs.append(Rung(None, plain))
    while len(names) < len(parts):
        nexts = {name: names | {name} for name in parts if name not in names}
        found = {name: tried(each) for name, each in nexts.items()}
        lacking = [nexts[name] for name, each in found.items() if each is None]
        if lacking:
            return ladder((), lacking)
        candidates = {name: each for name, each in found.items() if each is not None}
        chosen = choose(candidates)
        others = [(parts[name], each) for name, each in candidates.items() if name != chosen]
        rungs.append(Rung(parts[chosen], candidates[chosen], tuple(others)))
        names = nexts[chosen]
    without = {name: names - {name} for name in parts}
    outcomes = {name: tried(each) for name, each in without.items()}
    lacking = [without[name] for name, each in outcomes.items() if each is None]
    removals = [(parts[name], each) for name, each in outcomes.items() if each is not None]
    return ladder(removals, lacking)


def furthest(goal: Goal, max_params: int, records: Sequence[TrialRecord]) -> Ladder:
    """The ladder that has come furthest; of equals that with more seeds.

    How many were asked for is not stored: a finished ladder may be on its way to more of them.
    Raises NasSearchError if its rungs were made by other rules.
    """
    if goal.rules != RULES:
        raise NasSearchError(
            f"the rungs of the drill-down to {goal.title} were made by an earlier nas-search "
            f"(rules {goal.rules}, now {RULES}): look at it with that one, or run it anew"
        )
    given = (Given.of(each.attributes) for each in records)
    asked = 1 + max((each.seed for each in given if each), default=0)
    ladders = [
        climb(goal.configuration, max_params, 1 + n, records) for n in reversed(range(asked))
    ]
    return max(ladders, key=lambda each: (not each.missing, len(each.rungs)))


def choose(candidates: Mapping[str, Tried]) -> str:
    """The one that helps most; of those within a standard error of it the cheapest."""
    best = max(candidates.values(), key=lambda each: each.mean)
    ties = {
        name: each
        for name, each in candidates.items()
        if each.mean >= best.mean - best.standard_error
    }
    return min(ties, key=lambda name: (ties[name].params, ties[name].macs, -ties[name].mean))


def rounds(configuration: Configuration, max_params: int, seeds: int) -> list[int]:
    """How many trainings each rung takes, then the removals, of which the last rungs have two.

    What a round is about is known when the one before is trained.
    """
    count = len(ingredients(configuration, max_params))
    return [seeds * each for each in (1, *range(count, 0, -1), max(0, count - 2))]


def name_of(names: frozenset[str]) -> str:
    """What a configuration with these ingredients is called among the trials."""
    return "+".join(sorted(names)) or PLAIN


def describe(configuration: Configuration, max_params: int) -> list[tuple[str, int]]:
    """The plainest ancestor, then each ingredient added to it: words and parameters."""
    plain = with_only(configuration, (), max_params)
    rows = [("plainest ancestor", footprint(plain.architecture).params)]
    for each in ingredients(configuration, max_params):
        made = with_only(configuration, {each.name}, max_params)
        rows.append((f"with {each.words}", footprint(made.architecture).params))
    return rows
