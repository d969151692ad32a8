"""The networks that are measured, all with a published recipe that both sides can run."""

import random
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Any

from space import PUBLISHED, Configuration, Conv, SearchSpace, footprint

BUDGET = 10_000
DRAWS = 301
"""Draws of which the median network is the middle one. They are normalised, since without BatchNorm
the recipe it borrows would often not train it."""


@cache
def configurations() -> dict[str, Configuration]:
    """The published networks 1.0 and 1.3, and the space's median network with the recipe of 1.3."""
    last = PUBLISHED["1.3"].configuration
    return {
        "1.0": PUBLISHED["1.0"].configuration,
        "1.3": last,
        "median": last.model_copy(update={"architecture": median_draw().architecture}),
    }


def median_draw() -> Configuration:
    """The draw with the median of the MACs of `DRAWS` suitable ones.

    Always the same until the search space changes.
    """
    found = [(footprint(each.architecture).macs, each) for each in islice(draws(), DRAWS)]
    return sorted(found, key=lambda each: each[0])[DRAWS // 2][1]


def draws() -> Iterator[Configuration]:
    """Random networks with BatchNorm below the budget, with their recipes.

    Always the same until the search space changes.
    """
    space = SearchSpace.for_budget(BUDGET)
    trial = _RandomTrial(random.Random(0))
    while True:
        drawn = space.sample(trial)
        normalised = any(
            isinstance(layer, Conv) and "norm" in layer.then for layer in drawn.architecture.layers
        )
        if normalised and footprint(drawn.architecture).params < BUDGET:
            yield drawn


class _RandomTrial:
    """Independent draws, uniform in value or logarithm: the same with any version of Optuna."""

    def __init__(self, source: random.Random) -> None:
        self._source = source

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        if not log:
            return self._source.randint(low, high)
        return round(self.suggest_float(name, low - 0.499, high + 0.499, log=True))

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        if not log:
            return self._source.uniform(low, high)
        return float(low * (high / low) ** self._source.random())

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._source.choice(choices)
