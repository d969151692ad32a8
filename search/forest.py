"""A sampler that learns the error of a configuration with a forest of regression trees.

Sequential model-based optimisation with random forests (Hutter, Hoos and Leyton-Brown, Sequential
Model-Based Optimization for General Algorithm Configuration, LION 2011), with what a search for
small networks knows beforehand: what a network costs follows from what is drawn. So nothing over
the budget is proposed, parameters and multiply-accumulates are inputs of the forest, and of the
score only the error has to be learnt: with the objective "smallest" the gain is that of the size
times the probability to hold the target.

The Parzen estimator looks at each parameter by itself and moves all of them at once; trees see
which go together, and a candidate changes a few parameters of a good trial.
"""

import math
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import TrialState
from scipy.special import ndtri

from results.lessons import Lesson, lessons_of
from results.record import promoted_from
from results.settings import StudySettings
from search.outlook import (
    CHANCE_ERROR,
    LEAST_ERROR,
    Outlook,
    final_log_error,
    log_error,
    log_errors,
)
from search.settling import Settling
from space import Configuration, Footprint, SearchSpace, configuration, footprint
from space.search_space import Choice, FloatRange, IntRange

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial
    from sklearn.ensemble import ExtraTreesRegressor

Array = NDArray[np.float64]
Drawn = dict[str, Any]

FEWEST_TRAINED = 10
"""Before so many trials are trained there is little to learn from: what fits is drawn at random."""

TREES = 60
MOST_ROWS = 1_000
"""Trials that the forest is fitted to: the best quarter of them, and the latest."""

PARENTS = 10
"""Of the best trials: candidates are near these."""

CANDIDATES = 250
REFINED = 10
"""The best candidates, near each of which as many others are tried."""

CHANGES = (1, 3, 8)
"""Parameters that a candidate has not from its parent, on average."""

NOT_NEAR = 0.1
"""Part of the candidates that are drawn at random."""

REACH = 0.2
"""Standard deviation of a changed number around its parent's, as a part of the range."""

_QUANTILES = ndtri((np.arange(16) + 0.5) / 16)


class ForestSampler(BaseSampler):
    """Draws one trial: all its parameters at once, from what `experience` has of the others.

    Trials that others have running are not looked at: what differs between trials drawn at the same
    time is the luck of trees and candidates.
    """

    def __init__(self, seed: int, experience: "Experience") -> None:
        self._experience = experience
        self._space = experience.settings.space
        self._rng = np.random.RandomState(seed)
        self._random = RandomSampler(seed)

    def infer_relative_search_space(
        self, study: "optuna.Study", trial: "FrozenTrial"
    ) -> dict[str, "BaseDistribution"]:
        return {name: _distribution(each) for name, each in self._space.dimensions.items()}

    def sample_relative(
        self,
        study: "optuna.Study",
        trial: "FrozenTrial",
        search_space: dict[str, "BaseDistribution"],
    ) -> Drawn:
        experience = self._experience
        if experience.look(study) < FEWEST_TRAINED:
            return next((made for made, _ in self._affordable(self._random_draw, 1)), {})
        table, errors, scores, drawn = experience.learnt()
        forest = _fitted(table, errors, self._rng.randint(2**31))
        order = np.argsort(-scores)[:PARENTS]
        if np.isfinite(scores[order[0]]):
            order = order[np.isfinite(scores[order])]
        parents = [drawn[place] for place in order]
        params = table[order, -2]
        best = float(np.max(_expected_score(forest, table[order], params, experience.settings)))

        def near(around: Sequence[Drawn], count: int, far: float) -> list[tuple[Drawn, Footprint]]:
            def make() -> Drawn:
                if self._rng.uniform() < far:
                    return self._random_draw()
                return self._changed(around[self._rng.randint(len(around))])

            return self._affordable(make, count)

        def gains(candidates: list[tuple[Drawn, Footprint]]) -> Array:
            rows = np.array([as_numbers(self._space, *each) for each in candidates])
            return _gain(forest, rows, best, experience.settings)

        candidates = near(parents, CANDIDATES, NOT_NEAR)
        if not candidates:
            return {}
        first = np.argsort(-gains(candidates))[:REFINED]
        candidates += near([candidates[place][0] for place in first], REFINED**2, 0.0)
        return candidates[int(np.argmax(gains(candidates)))][0]

    def _affordable(self, make: Callable[[], Drawn], count: int) -> list[tuple[Drawn, Footprint]]:
        """So many, if they can be had, that are under the budget and mean what no trial was yet."""
        seen = self._experience.seen()
        found: list[tuple[Drawn, Footprint]] = []
        for _ in range(30 * count):  # a budget that nothing made fits must not hang the search
            if len(found) == count:
                break
            made = make()
            meant = configuration(made)
            cost = footprint(meant.architecture)
            if cost.params < self._space.max_params and meant not in seen:
                found.append((made, cost))
        return found

    def _random_draw(self) -> Drawn:
        return {name: self._any(each) for name, each in self._space.dimensions.items()}

    def _changed(self, parent: Drawn) -> Drawn:
        dimensions = self._space.dimensions
        share = CHANGES[self._rng.randint(len(CHANGES))] / len(dimensions)
        changed = self._rng.uniform(size=len(dimensions)) < share
        changed[self._rng.randint(len(dimensions))] = True
        return {
            name: self._near(each, parent[name]) if is_changed else parent[name]
            for (name, each), is_changed in zip(dimensions.items(), changed, strict=True)
        }

    def _any(self, dimension: IntRange | FloatRange | Choice) -> Any:
        if isinstance(dimension, Choice):
            return dimension.choices[self._rng.randint(len(dimension.choices))]
        low, high = _ends(dimension)
        return _value(dimension, self._rng.uniform(low, high))

    def _near(self, dimension: IntRange | FloatRange | Choice, value: Any) -> Any:
        """Another value: any other choice, or a number near this one."""
        if isinstance(dimension, Choice):
            others = [each for each in dimension.choices if each != value] or [value]
            return others[self._rng.randint(len(others))]
        low, high = _ends(dimension)
        width = high - low
        centre = math.log(value) if dimension.log else value
        # What would lie beyond an end is mirrored at it.
        turned = (centre - low + self._rng.normal(0, REACH * width)) % (2 * width)
        return _value(dimension, low + min(turned, 2 * width - turned))

    def sample_independent(
        self,
        study: "optuna.Study",
        trial: "FrozenTrial",
        param_name: str,
        param_distribution: "BaseDistribution",
    ) -> Any:
        return self._random.sample_independent(study, trial, param_name, param_distribution)


class Experience:
    """What the trained trials of a study drew, what they cost, and their error.

    Shared by the samplers of all trials of a process. It looks at each trial once. A pruned trial
    gets the error that it would be expected to have had at the end (see `Outlook`), unless it was
    that of chance. It begins with the lessons that the study was made with.
    """

    def __init__(self, settings: StudySettings) -> None:
        self.settings = settings
        self._settling = Settling()
        self._numbers: list[int | None] = []
        """Of the trials; None for a lesson."""
        self._drawn: list[Drawn] = []
        self._rows: list[list[float]] = []
        self._scores: list[float] = []
        self._ends: list[tuple[int | None, float]] = []
        """The epoch from which the error falls (None: it stays), and the log error there."""
        self._outlooks: defaultdict[int, Outlook] = defaultdict(Outlook)
        """How complete trials went on, by epoch."""
        self._seen: set[Configuration] = set()
        self._taught = False
        self._lock = threading.Lock()

    def look(self, study: "optuna.Study") -> int:
        """Takes in what has ended since; returns how many trials are trained."""
        with self._lock:
            if not self._taught:
                for lesson in lessons_of(study):
                    self._take_over(lesson)
                self._taught = True
            # As Optuna's samplers do: `get_trials` under hyperband shows one ladder alone.
            ended, _ = self._settling.split(study._get_trials(deepcopy=False))
            for trial in ended:
                self._take_in(trial)
            return len(self._rows)

    def _take_in(self, trial: "FrozenTrial") -> None:
        if not self.settings.space.contains(trial.params):
            return
        meant = configuration(trial.params)
        self._seen.add(meant)
        if any(value > 0 for value in trial.constraints.values()):
            return
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            if (stopped := promoted_from(trial)) is not None:
                self._forget(stopped)
            self._numbers.append(trial.number)
            is_complete = trial.state == TrialState.COMPLETE
            self._learn(
                trial.params,
                footprint(meant.architecture),
                log_errors(trial, self.settings),
                final_log_error(trial, self.settings) if is_complete else None,
                trial.value if is_complete else None,
            )

    def _forget(self, number: int) -> None:
        """It is known better under another number."""
        if number not in self._numbers:
            return
        place = self._numbers.index(number)
        for each in (self._numbers, self._drawn, self._rows, self._scores, self._ends):
            del each[place]

    def _take_over(self, lesson: Lesson) -> None:
        self._numbers.append(None)
        settings = self.settings
        errors = dict(enumerate(map(log_error, lesson.accuracies), 1))
        cost = footprint(configuration(lesson.drawn).architecture)
        end = score = None
        if lesson.complete:
            sustained = settings.sustained(list(lesson.accuracies))
            end = log_error(sustained)
            # What is over the budget teaches, and candidates are not near it.
            if cost.params < settings.max_params:
                score = settings.score(sustained, cost.params)
        self._learn(lesson.drawn, cost, errors, end, score)

    def _learn(
        self,
        drawn: Drawn,
        cost: Footprint,
        errors: dict[int, float],
        end: float | None,
        value: float | None,
    ) -> None:
        """From log errors after each epoch; with that at the end and its score if there are."""
        space = self.settings.space
        if end is None:
            epoch = max(errors, default=0)
            error = errors.get(epoch, math.log(CHANCE_ERROR))
            # What diverged or learned nothing is not taken to fall from there on.
            falls = error < math.log(CHANCE_ERROR)
            self._ends.append((epoch if falls else None, error))
        else:
            for epoch, error in errors.items():
                # An error of the target may be that of any accuracy above it.
                if self.settings.objective == "accuracy" or error > log_error(self.settings.target):
                    self._outlooks[epoch].add(error, end)
            self._ends.append((None, end))
        self._scores.append(-math.inf if value is None else value)
        self._rows.append(as_numbers(space, drawn, cost))
        self._drawn.append(
            {name: _nearest(each, drawn[name]) for name, each in space.dimensions.items()}
        )

    def learnt(self) -> tuple[Array, Array, Array, list[Drawn]]:
        """Inputs, log errors, scores (minus infinity if pruned) and draws of trained trials."""
        with self._lock:
            scores = np.array(self._scores)
            kept = np.arange(len(scores))
            if len(kept) > MOST_ROWS:
                best = np.argsort(-scores, kind="stable")[: MOST_ROWS // 4]
                kept = np.union1d(best, kept[-(MOST_ROWS - len(best)) :])
            ends = [self._ends[place] for place in kept]
            errors = np.array([error for _, error in ends])
            stopped_at = np.array([epoch or 0 for epoch, _ in ends])
            for epoch in set(stopped_at.tolist()) - {0}:
                errors[stopped_at == epoch] = self._outlooks[epoch].expected(
                    errors[stopped_at == epoch]
                )
            drawn = [self._drawn[place] for place in kept]
            return np.array(self._rows)[kept], errors, scores[kept], drawn

    def seen(self) -> set[Configuration]:
        """What has been drawn: draws that differ in parameters of no use there mean the same."""
        return self._seen


def _fitted(table: Array, errors: Array, seed: int) -> "ExtraTreesRegressor":
    from sklearn.ensemble import ExtraTreesRegressor

    forest = ExtraTreesRegressor(TREES, min_samples_leaf=2, max_features=0.5, random_state=seed)
    forest.fit(table, errors)
    return forest


def _accuracies(forest: "ExtraTreesRegressor", table: Array) -> Array:
    """Accuracies in percent at evenly spread quantiles of what the trees expect: (rows, 16)."""
    told = table.astype(np.float32)
    trees = np.stack([tree.predict(told, check_input=False) for tree in forest.estimators_])
    errors = trees.mean(axis=0)[:, None] + trees.std(axis=0)[:, None] * _QUANTILES
    return np.asarray(100 - np.clip(np.exp(errors), LEAST_ERROR, 100))


def _score(accuracies: Array, params: Array, settings: StudySettings) -> Array:
    score = np.vectorize(settings.score, otypes=[float])
    return np.asarray(score(accuracies, np.exp(params)[:, None]))


def _expected_score(
    forest: "ExtraTreesRegressor", table: Array, params: Array, settings: StudySettings
) -> Array:
    return np.asarray(_score(_accuracies(forest, table), params, settings).mean(axis=1))


def _gain(
    forest: "ExtraTreesRegressor", table: Array, best: float, settings: StudySettings
) -> Array:
    """Expected improvement of the score over `best`; where there is none, how near it comes."""
    scores = _score(_accuracies(forest, table), table[:, -2], settings)
    gain = np.maximum(scores - best, 0).mean(axis=1)
    return np.asarray(gain + 1e-6 * (scores.mean(axis=1) - 100))


def as_numbers(space: SearchSpace, drawn: Drawn, cost: Footprint) -> list[float]:
    """A draw as numbers: choices as ones and zeros, numbers on their scale, costs as logarithms.

    Last come the logarithms of parameters and of multiply-accumulates.
    """
    row: list[float] = []
    for name, each in space.dimensions.items():
        value = drawn[name]
        if isinstance(each, Choice):
            row += [float(value == choice) for choice in each.choices[1:]]
        else:
            row.append(math.log(value) if each.log else float(value))
    return [*row, math.log(cost.params), math.log(cost.macs)]


def _ends(dimension: IntRange | FloatRange) -> tuple[float, float]:
    """Of the range on its scale; whole numbers have half a step on either side."""
    half = 0.5 if isinstance(dimension, IntRange) else 0.0
    low, high = dimension.low - half, dimension.high + half
    return (math.log(low), math.log(high)) if dimension.log else (low, high)


def _value(dimension: IntRange | FloatRange, place: float) -> int | float:
    """The value at a place on the scale of the range."""
    value = math.exp(place) if dimension.log else place
    if isinstance(dimension, IntRange):
        value = round(value)
    return min(max(value, dimension.low), dimension.high)


def _nearest(dimension: IntRange | FloatRange | Choice, value: Any) -> Any:
    """The value, or what comes nearest to it in a range that does not have it."""
    if dimension.contains(value):
        return value
    if isinstance(dimension, Choice):
        return dimension.choices[0]
    return min(max(value, dimension.low), dimension.high)


def _distribution(dimension: IntRange | FloatRange | Choice) -> "BaseDistribution":
    if isinstance(dimension, Choice):
        return CategoricalDistribution(dimension.choices)
    if isinstance(dimension, IntRange):
        return IntDistribution(dimension.low, dimension.high, log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)
