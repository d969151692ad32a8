"""Target, results and analysis, in the form of a write-up; every sentence comes from the data."""

from collections.abc import Sequence

from results.charts.effects import effects_chart
from results.markdown import bullets, count
from results.record import TrialRecord
from results.report import advice, course, fit, mattered, seeds
from results.report.findings import Findings
from results.report.pictures import Pictures


def target(found: Findings) -> list[str]:
    """What was aimed at."""
    settings, split = found.settings, found.split
    goal = (
        "the highest sustained accuracy within the budget"
        if settings.objective == "accuracy"
        else "the fewest parameters that hold the target"
    )
    return [
        f"{settings.target:g}% of the images right in each of the last "
        f"{count(settings.sustain, 'epoch')} of {settings.epochs}.",
        f"Fewer than {settings.max_params:,} trainable parameters.",
        f"Sought: {goal}, on {settings.dataset} ({split.training - split.validation:,} training, "
        f"{split.validation:,} validation and {split.test:,} test images).",
    ]


def results(found: Findings) -> list[str]:
    """What came out: the most accurate network, and the smallest that holds the target."""
    if found.best is None:
        return ["No trial has been trained to its end yet."]
    said = [_result(found, "The most accurate on validation images", found.best)]
    if found.smallest is None:
        said.append(f"No trial held {found.settings.target:g}% on validation images.")
    elif found.smallest is not found.best:
        said.append(
            _result(
                found, "The smallest that holds the target on validation images", found.smallest
            )
        )
    return said


def analysis(found: Findings, pictures: Pictures) -> list[str]:
    """What the data say about it, as paragraphs of Markdown with headings."""
    if found.best is None:
        return [
            "There is nothing to analyse before a trial has been trained to its end.",
            *_part("The course of the search", [course.pruning(found), course.unused_draws(found)]),
        ]
    confirmed = [seeds.holds(found, each) for each in found.finalists]
    return [
        *_part("Fit", [fit.fit(found), fit.steadiness(found), fit.rising(found)]),
        *_part(
            "What the seeds say",
            [*confirmed, *seeds.reversals(found), seeds.against_validation(found)],
        ),
        *_part("Size", [mattered.size(found)]),
        *_part("What mattered", mattered.choices(found)),
        *_effects(found, pictures),
        *_part(
            "The course of the search",
            [course.progress(found), course.pruning(found), course.unused_draws(found)],
        ),
        *_part("What to try next", advice.advice(found)),
    ]


def _effects(found: Findings, pictures: Pictures) -> list[str]:
    if not found.effects.effects:
        return []
    return [pictures.chart("what-mattered", effects_chart(found.records, found.settings))]


def _part(title: str, sentences: Sequence[str]) -> list[str]:
    return [f"### {title}", bullets(sentences)] if any(sentences) else []


def _result(found: Findings, name: str, record: TrialRecord) -> str:
    history, sustain = record.history, found.settings.sustain
    last = " ".join(f"{each.accuracy:.2f}" for each in history[-sustain:])
    best = max(history, key=lambda each: each.accuracy)
    runs = found.runs.get(record.number, [])
    said = (
        f"{name} (trial {record.number}): **{record.params:,} parameters**. Best training accuracy "
        f"{max(each.train_accuracy for each in history):.2f}%. Best validation accuracy "
        f"{best.accuracy:.2f}% (epoch {best.epoch}); last "
        f"{count(sustain, 'epoch')} {last}, so {record.sustained:.2f}% sustained."
    )
    if runs:
        worst = min(run.sustained for run in runs)
        mean = sum(run.sustained for run in runs) / len(runs)
        said += (
            f" Test accuracy, sustained: mean {mean:.2f}% and worst {worst:.2f}% of "
            f"{count(len(runs), 'seed')}."
        )
    return said
