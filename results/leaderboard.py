"""Who leads a study, in Markdown: by validation, and, apart from that, by confirmation."""

from collections.abc import Mapping, Sequence

from results.markdown import count, table
from results.record import Confirmation, TrialRecord
from results.selection import (
    complete,
    confirmed,
    most_accurate,
    smallest_confirmed,
    smallest_holding,
)
from results.settings import StudySettings
from results.splits import SPLITS

SHOWN = 10
"""Trials in the table of the best by validation."""


def leaderboard(
    records: Sequence[TrialRecord],
    confirmations: Mapping[int, Sequence[Confirmation]],
    settings: StudySettings,
) -> str:
    """The target and what holds it, how numbers are made, the best trials, the finalists."""
    trials = list(records)
    runs = {number: list(each) for number, each in sorted(confirmations.items()) if each}
    parts = [
        f"**Target: {settings.target:g}%** of the images right, held over the last "
        f"{count(settings.sustain, 'epoch')}, with fewer than {settings.max_params:,} parameters.",
        f"**{answer(trials, runs, settings)}** {progress(trials)}",
        *tables(trials, runs, settings),
        protocol(settings),
    ]
    return "\n\n".join(parts) + "\n"


def tables(
    trials: list[TrialRecord], runs: dict[int, list[Confirmation]], settings: StudySettings
) -> list[str]:
    """The best trials and the finalists, each with a heading, as far as there are any."""
    parts = []
    best = _leading(trials, settings)
    if best:
        parts += ["### Best trials, on validation images", _best_table(best, settings)]
    if runs:
        parts += ["### Finalists, on test images", _finalists_table(trials, runs, settings)]
    return parts


def answer(
    trials: list[TrialRecord], runs: dict[int, list[Confirmation]], settings: StudySettings
) -> str:
    """What holds the target, in a sentence."""
    target = f"{settings.target:g}%"
    held = smallest_confirmed(trials, runs, settings.target)
    if held:
        picked = f"; of {len(runs)} finalists it is the smallest that does" if len(runs) > 1 else ""
        return (
            f"Confirmed: trial {held.number} with {held.params:,} parameters holds {target} "
            f"on test images, from each of {len(runs[held.number])} seeds{picked}."
        )
    smallest = smallest_holding(trials, settings.target)
    if smallest:
        so_far = "no finalist held it from every seed on test images"
        if any(len(each) == 1 and each[0].sustained >= settings.target for each in runs.values()):
            so_far = "one seed held it on test images, which is too few to confirm it"
        elif not runs:
            so_far = "not confirmed yet"
        return (
            f"Trial {smallest.number} with {smallest.params:,} parameters is the smallest that "
            f"holds {target} on validation images; {so_far}."
        )
    best = most_accurate(trials)
    if best:
        return (
            f"No trial holds {target} so far; the best sustains {best.sustained:.2f}% on "
            f"validation images (trial {best.number}, {best.params:,} parameters)."
        )
    return "No trial has been trained to its end yet."


def progress(trials: list[TrialRecord]) -> str:
    """How many trials have come how far, in a sentence."""
    states = [each.state for each in trials]
    said = (
        f"{count(len(complete(trials)), 'trial')} trained to the end, "
        f"{sum(each.was_stopped for each in trials):,} stopped early"
    )
    others = [
        f"{number:,} {words}"
        for number, words in (
            (sum(each.diverged for each in trials), "diverged"),
            (states.count("running"), "running now"),
            (states.count("failed"), "failed"),
        )
        if number
    ]
    return ", ".join([said, *others]) + "."


def _leading(trials: list[TrialRecord], settings: StudySettings) -> list[TrialRecord]:
    """The best by the study's own score, and the smallest that holds the target."""
    best = sorted(
        complete(trials), key=lambda each: (-(each.value or 0.0), each.params, each.number)
    )[:SHOWN]
    smallest = smallest_holding(trials, settings.target)
    if smallest and smallest not in best:
        best[-1:] = [smallest]
    return best


def _best_table(best: list[TrialRecord], settings: StudySettings) -> str:
    rows = [
        (
            str(each.number),
            f"{each.params:,}",
            f"{each.sustained:.2f}",
            f"{each.attributes['best_accuracy']:.2f}",
            f"{each.attributes['gap']:+.2f}",
            "yes" if each.sustained >= settings.target else "no",
        )
        for each in best
    ]
    header = ("trial", "parameters", "sustained %", "best epoch %", "gap", "holds")
    return table(header, rows)


def _finalists_table(
    trials: list[TrialRecord], runs: dict[int, list[Confirmation]], settings: StudySettings
) -> str:
    rows = []
    for number in sorted(runs, key=lambda each: (trials[each].params, each)):
        outcome = confirmed(runs[number], settings.target)
        assert outcome is not None
        spread = f" ± {outcome['sd']:.3f}" if outcome["sd"] is not None else ""
        rows.append(
            (
                str(number),
                f"{trials[number].params:,}",
                f"{outcome['mean']:.3f}{spread}",
                f"{outcome['worst']:.2f}",
                f"{outcome['holding']} of {outcome['seeds']}",
            )
        )
    header = ("trial", "parameters", "sustained %, mean ± sd", "worst seed %", "seeds that hold")
    return table(header, rows)


def protocol(settings: StudySettings) -> str:
    """How the numbers are made, and what their names mean."""
    split = SPLITS[settings.dataset]
    return (
        f"*Sustained* is the lowest accuracy of the last {count(settings.sustain, 'epoch')} of "
        f"{settings.epochs}; *gap* is training minus validation accuracy at the end (training "
        f"images may be distorted, so it can be below 0). Dataset {settings.dataset}: trials train "
        f"on {split.training - split.validation:,} images and are compared on {split.validation:,} "
        f"others (validation); finalists are chosen by validation, trained again on all "
        f"{split.training:,} and measured on {split.test:,} test images. The one called confirmed "
        f"is the smallest of them that held there, so these images picked it."
    )
