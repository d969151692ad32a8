"""Which trials of a study are the answer: chosen on validation accuracy alone, but for which of the
confirmed ones held on test images."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from results.errors import NasSearchError
from results.intervals import CLEAR, standard_error
from results.record import DUPLICATE_KEY, Confirmation, TrialRecord
from results.settings import ObjectiveName, StudySettings
from results.splits import SPLITS

Choice = Literal["best", "smallest"]

FINALISTS: Mapping[ObjectiveName, int] = {"accuracy": 3, "smallest": 5}
"""So many are confirmed if nothing else is said: steps down to what validation can't tell from the
target take some."""

STEP = 0.9
"""Each near miss has at most this part of the parameters of the one before."""

FEWEST_SEEDS = 2
"""A single run is no evidence, so it confirms nothing."""


def complete(records: list[TrialRecord]) -> list[TrialRecord]:
    """The trials that trained to their last epoch."""
    return [record for record in records if record.state == "complete"]


def merit(record: TrialRecord) -> tuple[float, int, int]:
    """What the most accurate has the highest of: accuracy; of equals the smallest, then first."""
    return record.sustained, -record.params, -record.number


def most_accurate(records: list[TrialRecord]) -> TrialRecord | None:
    """Highest sustained accuracy; of equals the smallest."""
    return max(complete(records), key=merit, default=None)


def smallest_holding(records: list[TrialRecord], target: float) -> TrialRecord | None:
    """Fewest parameters among those that hold the target; of equals the most accurate."""
    holding = [each for each in complete(records) if each.sustained >= target]
    return min(holding, key=lambda each: (each.params, -each.sustained, each.number), default=None)


def smallest_confirmed(
    records: Sequence[TrialRecord], runs: Mapping[int, Sequence[Confirmation]], target: float
) -> TrialRecord | None:
    """Fewest parameters among those that held the target on test images from every seed."""
    held = [
        records[number]
        for number, each in runs.items()
        if len(each) >= FEWEST_SEEDS and all(run.sustained >= target for run in each)
    ]
    return min(held, key=lambda each: (each.params, each.number), default=None)


def finalists(records: list[TrialRecord], settings: StudySettings, count: int) -> list[TrialRecord]:
    """What is worth a confirmation, the likeliest answer first.

    With the objective "accuracy": the most accurate, the smallest that holds the target, then the
    best by value. With "smallest": the smallest that holds (if none does, the most accurate), near
    misses of it step by step, the most accurate, then the best by value.
    """
    best, small = most_accurate(records), smallest_holding(records, settings.target)
    answers = [best, small]
    if settings.objective == "smallest":
        first = small or best
        answers = [first, *_near_misses(records, first, settings), best]
    by_value = sorted(
        complete(records), key=lambda each: (-(each.value or 0), each.params, each.number)
    )
    chosen: dict[int, TrialRecord] = {}
    for each in (*answers, *by_value):
        if each is not None:
            chosen.setdefault(each.number, each)
    return list(chosen.values())[:count]


def target_noise(settings: StudySettings) -> float:
    """Points from the target within which validation accuracies can't be told from it."""
    return CLEAR * standard_error(settings.target, SPLITS[settings.dataset].validation)


def _near_misses(
    records: list[TrialRecord], above: TrialRecord | None, settings: StudySettings
) -> Iterator[TrialRecord]:
    """Down the front in steps: what may hold the target when it is trained on all images."""
    least = settings.target - target_noise(settings)
    near = [each for each in complete(records) if each.sustained >= least]
    while above is not None:
        smaller = [each for each in near if each.params <= STEP * above.params]
        above = max(smaller, key=merit, default=None)
        if above is not None:
            yield above


def confirmed(runs: list[Confirmation], target: float) -> dict[str, Any] | None:
    """Seeds, mean, standard deviation, worst and how many hold, of sustained test accuracies.

    The standard deviation is the sample's (n - 1), None for a single seed. None without runs.
    """
    if not runs:
        return None
    values = [run.sustained for run in runs]
    return {
        "seeds": len(values),
        "mean": round(statistics.mean(values), 4),
        "sd": round(statistics.stdev(values), 4) if len(values) > 1 else None,
        "worst": min(values),
        "holding": sum(value >= target for value in values),
    }


def refuse_given(settings: StudySettings) -> None:
    """Raises NasSearchError if the study is no search: nothing may be chosen from it."""
    if settings.trials == "given":
        raise NasSearchError(
            "this study is no search, so nothing is chosen from it: name a search with --study, or "
            "a trial with --trial (nas-search trials lists them)"
        )


def choose(trials: list[TrialRecord], settings: StudySettings, choice: Choice | int) -> TrialRecord:
    """A complete trial: by number, or the best, or the smallest. Raises NasSearchError."""
    if isinstance(choice, str):
        refuse_given(settings)
    if choice == "best":
        record = most_accurate(trials)
        if record is None:
            raise NasSearchError("no trial of this study is complete yet: let the search go on")
        return record
    if choice == "smallest":
        record = smallest_holding(trials, settings.target)
        if record is None:
            raise NasSearchError(
                f"no trial holds {settings.target}% on validation images yet: let the search go "
                f"on, or use --best, or --trial with the number of one that did when confirmed"
            )
        return record
    if choice >= len(trials):
        raise NasSearchError(
            f"there is no trial {choice}, the last is {len(trials) - 1}: nas-search trials lists "
            f"them"
        )
    record = trials[choice]
    if record.state == "duplicate":
        raise NasSearchError(
            f"trial {choice} repeats trial {record.attributes[DUPLICATE_KEY]}: name that one"
        )
    if record.state == "promoted":
        later = choice
        while trials[later].state == "promoted":
            later = max(each.number for each in trials if each.promoted_from == later)
        raise NasSearchError(f"trial {choice} was gone on with as trial {later}: name that one")
    if record.state != "complete":
        raise NasSearchError(
            f"trial {choice} is {record.state}, and only complete trials can be taken: "
            f"nas-search trials lists them"
        )
    return record


def summary(
    study_name: str,
    settings: StudySettings,
    records: list[TrialRecord],
    runs: dict[int, list[Confirmation]],
) -> dict[str, Any]:
    """What `nas-search best` says, as a JSON-ready dictionary."""

    def entry(record: TrialRecord | None) -> dict[str, Any] | None:
        if record is None:
            return None
        return {
            "trial": record.number,
            "params": record.params,
            "macs": record.macs,
            "sustained": record.sustained,
            "confirmed": confirmed(runs.get(record.number, []), settings.target),
        }

    states = [record.state for record in records]
    trials: dict[str, int] = {
        state: states.count(state) for state in ("complete", "pruned", "infeasible", "failed")
    }
    trials["diverged"] = sum(record.diverged for record in records)
    trials["pruned"] -= trials["diverged"]
    return {
        "study": study_name,
        "dataset": settings.dataset,
        "target": settings.target,
        "trials": trials,
        "most_accurate": entry(most_accurate(records)),
        "smallest_holding": entry(smallest_holding(records, settings.target)),
        "finalists": [entry(records[number]) for number in sorted(runs)],
    }
