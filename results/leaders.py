"""The best network of each size, over all searches of a storage.

Searches rank by single runs, and the best of many single runs is a lucky one. So for each limit of
parameters the first few of all searches are candidates: they are trained again, each from the same
seeds and on the same images as in a search. The one with the highest mean leads its limit; leaders
alone are measured on the test images. Two other ways were left: confirming the finalists of each
search, where the test images would have to choose between searches, and more seeds for every
trial, which pays for those that nobody will look at again.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from results.markdown import mean_sd
from results.record import KNOWN_KEY, Confirmation, Given, TrialRecord, given_runs
from results.replayed import Replayed
from results.selection import complete, confirmed, merit
from results.settings import StudySettings
from space import Configuration

STEP = 500
"""Parameters between limits: the best of at most 500, of at most 1,000, and so on."""


def candidates(searches: Mapping[str, Sequence[TrialRecord]], first: int) -> list[Given]:
    """The `first` trials of each limit by sustained validation accuracy, each once, seed 0.

    `searches`: the records of each by its name. The smallest come first.
    """
    ranked = sorted(
        ((name, trial) for name, trials in searches.items() for trial in complete(list(trials))),
        key=lambda each: merit(each[1]),
        reverse=True,
    )
    chosen: dict[Configuration, tuple[int, str]] = {}
    for limit in _limits([trial.params for _, trial in ranked]):
        fitting: set[Configuration] = set()
        for name, trial in ranked:
            if len(fitting) == first:
                break
            if trial.params <= limit:
                fitting.add(trial.configuration)
                chosen.setdefault(
                    trial.configuration, (trial.params, f"{name} {trial.title}{_known(trial)}")
                )
    return [
        Given(name, 0, configuration)
        for configuration, (_, name) in sorted(chosen.items(), key=lambda each: each[1])
    ]


def _known(trial: TrialRecord) -> str:
    """Says of what searches begin with that no search found it."""
    name = trial.attributes.get(KNOWN_KEY)
    return f" (known: {name})" if name else ""


@dataclass(frozen=True)
class Candidate:
    """A network trained again from the seeds 0, 1, ..., and what it did on the test images.

    `runs`: by seed; `confirmations`: none unless it has led a limit.
    """

    name: str
    configuration: Configuration
    runs: tuple[TrialRecord, ...]
    confirmations: tuple[Confirmation, ...]

    @property
    def number(self) -> int:
        """The trial that stands for it: that of seed 0."""
        return self.runs[0].number

    @property
    def params(self) -> int:
        """Trainable parameters."""
        return self.runs[0].params

    @property
    def diverged(self) -> int:
        """How many of its runs did."""
        return sum(each.diverged for each in self.runs)

    @property
    def validation(self) -> list[float]:
        """Sustained validation accuracy of each run, percent."""
        return [each.sustained for each in self.runs]

    @property
    def test(self) -> list[float]:
        """Sustained test accuracy of each confirmation, percent."""
        return [each.sustained for each in self.confirmations]


@dataclass(frozen=True)
class Leader:
    """A candidate and the limits that it leads: the lowest and the highest of them."""

    candidate: Candidate
    limits: tuple[int, int]


def trained_again(
    records: Sequence[TrialRecord], runs: Mapping[int, Sequence[Confirmation]]
) -> list[Candidate]:
    """The candidates, the smallest first, over the seeds that all of them were trained from.

    `runs`: the confirmations by trial.
    """
    found = given_runs(records)
    if not found:
        return []
    seeds = sorted(set.intersection(*(set(by_seed) for by_seed in found.values())))
    if not seeds:
        return []
    made = []
    for configuration, by_seed in found.items():
        trials = tuple(by_seed[seed] for seed in seeds)
        given = Given.of(trials[0].attributes)
        assert given is not None
        confirmations = tuple(runs.get(trials[0].number, ()))
        made.append(Candidate(given.name, configuration, trials, confirmations))
    return sorted(made, key=lambda each: (each.params, each.number))


def leaders(found: Sequence[Candidate]) -> list[Leader]:
    """Who has the highest mean validation accuracy of each limit, the smallest first.

    Of equals the smallest. One that leads several limits stands there once; one that diverged from
    some seed leads none.
    """
    steady = [each for each in found if not each.diverged]
    led: dict[int, list[int]] = {}
    by_number = {each.number: each for each in steady}
    for limit in _limits([each.params for each in steady]):
        fitting = [each for each in steady if each.params <= limit]
        best = max(fitting, key=lambda each: (statistics.mean(each.validation), -each.params))
        led.setdefault(best.number, []).append(limit)
    return [Leader(by_number[number], (min(limits), max(limits))) for number, limits in led.items()]


def _limits(params: Iterable[int]) -> range:
    """The multiples of `STEP` from the first that a network fits in to the first for all."""
    sizes = list(params)
    if not sizes:
        return range(0)
    return range(-(-min(sizes) // STEP) * STEP, -(-max(sizes) // STEP) * STEP + 1, STEP)


COLUMNS = (
    "parameters",
    "network",
    "best of at most",
    "validation",
    "test",
    "worst seed",
    "seeds that hold",
)


def rows(
    found: Sequence[Leader], published: Sequence[Replayed], settings: StudySettings
) -> list[tuple[str, ...]]:
    """The leaders and the published networks, by parameters, in the order of `COLUMNS`."""
    sized = [(each.candidate.params, _cells(each, settings)) for each in found]
    sized += [(each.params, _published_cells(each, settings)) for each in published]
    return [cells for _, cells in sorted(sized, key=lambda each: each[0])]


def _cells(leader: Leader, settings: StudySettings) -> tuple[str, ...]:
    candidate = leader.candidate
    return (
        f"{candidate.params:,}",
        candidate.name,
        " to ".join(dict.fromkeys(f"{each:,}" for each in leader.limits)),
        mean_sd(candidate.validation),
        *_measured(candidate.test, settings),
    )


def _published_cells(each: Replayed, settings: StudySettings) -> tuple[str, ...]:
    name = f"published {each.published.id}{'*' if each.published.reconstruction else ''}"
    return (f"{each.params:,}", name, "", "", *_measured(each.sustained, settings))


def _measured(test: Sequence[float], settings: StudySettings) -> tuple[str, str, str]:
    if not test:
        return "not measured", "", ""
    holding = sum(each >= settings.target for each in test)
    return mean_sd(test), f"{min(test):.2f}", f"{holding} of {len(test)}"


def described(
    study: str, found: Sequence[Leader], published: Sequence[Replayed], settings: StudySettings
) -> dict[str, Any]:
    """All of it as one JSON object; accuracies in percent, `test` as `nas-search best` says it."""
    return {
        "study": study,
        "target": settings.target,
        "leaders": [
            {
                "trial": each.candidate.number,
                "name": each.candidate.name,
                "params": each.candidate.params,
                "best_of_at_most": list(each.limits),
                "validation": each.candidate.validation,
                "test": confirmed(list(each.candidate.confirmations), settings.target),
            }
            for each in found
        ],
        "published": [
            {
                "id": each.published.id,
                "reconstruction": bool(each.published.reconstruction),
                "params": each.params,
                "sustained": each.sustained,
            }
            for each in published
        ],
    }
