"""The report of the best networks of each size, as Markdown with its pictures."""

import datetime
import statistics
from collections.abc import Mapping, Sequence

from results.charts.leaders import leaders_chart
from results.charts.seeds import seeds_chart
from results.leaders import COLUMNS, Candidate, Leader, leaders, rows, trained_again
from results.markdown import capital, count, mean_sd, table
from results.record import Confirmation, TrialRecord
from results.replayed import Replayed
from results.report.configuration import basics, ingredient_table
from results.report.finalist import layers
from results.report.pictures import Pictures
from results.report.report import Report, made_with
from results.settings import StudySettings
from results.splits import SPLITS


def make_leaders_report(
    study: str,
    found: Sequence[Candidate],
    published: Sequence[Replayed],
    settings: StudySettings,
    made: datetime.datetime,
) -> Report:
    """The front in a table and a chart, each of its networks in full, and who else was tried."""
    pictures = Pictures()
    leading = leaders(found)
    answer = headline(leading, settings)
    title = f"{study}: the best of each size"
    parts = [
        f"# {title}",
        f"**{answer}**",
        "## The front",
        *_overview(leading, published, settings, pictures),
        *(part for each in leading for part in _network(study, each, settings, pictures)),
        "## Candidates",
        _candidates(found),
        made_with(
            [run for each in found for run in each.runs],
            [run for each in found for run in each.confirmations],
        ),
        f"Written by nas-search on {made:%Y-%m-%d at %H:%M} UTC.",
    ]
    text = "\n\n".join(each for each in parts if each) + "\n"
    return Report(title, answer, text, pictures.made)


def headline(leading: Sequence[Leader], settings: StudySettings) -> str:
    """The smallest network that holds the target from every seed, in a sentence."""
    measured = [each.candidate for each in leading if each.candidate.test]
    if not measured:
        return "No network of the front is measured on test images yet."
    target = f"{settings.target:g}%"
    best = max(measured, key=lambda each: statistics.mean(each.test))
    said = f"the highest mean is {statistics.mean(best.test):.2f}% with {best.params:,} parameters."
    holding = [each for each in measured if min(each.test) >= settings.target]
    on_average = [each for each in measured if statistics.mean(each.test) >= settings.target]
    if holding:
        smallest = holding[0]
        return (
            f"{smallest.params:,} parameters hold {target} on test images from each of "
            f"{count(len(smallest.test), 'seed')}; {said}"
        )
    if on_average:
        return (
            f"{on_average[0].params:,} parameters hold {target} on test images on average, none "
            f"from every seed; {said}"
        )
    return f"No network holds {target} on test images on average; {said}"


def note(
    records: Sequence[TrialRecord],
    runs: Mapping[int, Sequence[Confirmation]],
    settings: StudySettings,
) -> str:
    """What the dashboard says of the study."""
    leading = leaders(trained_again(records, runs))
    if not leading:
        return "No candidate is trained from all its seeds yet."
    return "\n\n".join(
        [f"**{headline(leading, settings)}**", table(COLUMNS, rows(leading, (), settings))]
    )


def _overview(
    leading: Sequence[Leader],
    published: Sequence[Replayed],
    settings: StudySettings,
    pictures: Pictures,
) -> list[str]:
    if not leading:
        return ["No candidate is trained from all its seeds yet."]
    return [
        table(COLUMNS, rows(leading, published, settings)),
        pictures.chart("leaders", leaders_chart(leading, published, settings)),
        _protocol(leading, published, settings),
    ]


def _protocol(
    leading: Sequence[Leader], published: Sequence[Replayed], settings: StudySettings
) -> str:
    split = SPLITS[settings.dataset]
    seeds = count(len(leading[0].candidate.runs), "seed")
    again = (
        " Published networks were trained by their own recipes, measured the same way as leaders; "
        "an asterisk: layers that were not published, reconstructed."
        if published
        else ""
    )
    return capital(
        f"accuracies are *sustained* ones, the lowest of the last "
        f"{count(settings.sustain, 'epoch')} of {settings.epochs}, in percent, mean ± standard "
        f"deviation over seeds. *Validation*: candidates, the first of all searches by single "
        f"runs, were trained again on {split.training - split.validation:,} images from {seeds} "
        f"each and measured on {split.validation:,} others. The highest mean of at most so many "
        f"parameters leads. *Test*: leaders alone were then trained on all {split.training:,} "
        f"and measured on {split.test:,} test images, which chose nothing. A seed *holds* if it "
        f"sustains {settings.target:g}%.{again}"
    )


def _network(study: str, leader: Leader, settings: StudySettings, pictures: Pictures) -> list[str]:
    each = leader.candidate
    measured = f", on test images {mean_sd(each.test)}%" if each.test else ""
    shown = [
        pictures.chart(f"seeds-{each.number}", seeds_chart(each.confirmations, settings)),
        f"As model files: `nas-search export DIR --study {study} --trial {each.number} --seeds`",
    ]
    return [
        f"## {each.params:,} parameters: {each.name}",
        f"Sustained on validation images {mean_sd(each.validation)}%{measured}.",
        *(shown if each.confirmations else ()),
        f"Trained with {basics(each.configuration.recipe)}.",
        ingredient_table(each.configuration),
        layers(each.configuration.architecture),
    ]


def _candidates(found: Sequence[Candidate]) -> str:
    if not found:
        return "None yet."
    return table(
        ("parameters", "network", "validation", "lowest"),
        [
            (
                f"{each.params:,}",
                each.name,
                mean_sd(each.validation),
                f"{min(each.validation):.2f}",
            )
            for each in found
        ],
    )
