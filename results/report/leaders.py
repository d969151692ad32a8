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
from results.selection import FEWEST_SEEDS
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
    """The smallest network that holds the target from every seed, in a sentence or two."""
    if not leading:
        return "No candidate is trained from any seed yet."
    most = max(len(each.candidate.test) for each in leading)
    if most < FEWEST_SEEDS:
        return (
            f"{capital(count(len(leading), 'network'))} of the front, not confirmed: that takes "
            f"{FEWEST_SEEDS} seeds on test images, or more."
        )
    measured = [each.candidate for each in leading if len(each.candidate.test) == most]
    so_far = "" if len(measured) == len(leading) else "So far: "
    target, seeds = f"{settings.target:g}%", count(most, "seed")
    best = measured[-1]
    said = f"; {best.params:,} sustain {statistics.mean(best.test):.2f}% on average."
    holding = [each for each in measured if min(each.test) >= settings.target]
    on_average = [each for each in measured if statistics.mean(each.test) >= settings.target]
    if holding:
        held = f"{holding[0].params:,} parameters hold {target} on test images from each of {seeds}"
    elif on_average:
        held = (
            f"{on_average[0].params:,} parameters hold {target} on test images on average of "
            f"{seeds}, none from each"
        )
    else:
        held = f"no network holds {target} on test images on average of {seeds}"
    return capital(f"{so_far}{held}{said}")


def note(
    records: Sequence[TrialRecord],
    runs: Mapping[int, Sequence[Confirmation]],
    settings: StudySettings,
) -> str:
    """What the dashboard says of the study."""
    leading = leaders(trained_again(records, runs))
    said = f"**{headline(leading, settings)}**"
    if not leading:
        return said
    shown = [said, table(COLUMNS, rows(leading, (), settings)), protocol(leading, (), settings)]
    return "\n\n".join(shown)


def _overview(
    leading: Sequence[Leader],
    published: Sequence[Replayed],
    settings: StudySettings,
    pictures: Pictures,
) -> list[str]:
    if not leading:
        return ["There is nothing to show yet."]
    return [
        table(COLUMNS, rows(leading, published, settings)),
        pictures.chart("leaders", leaders_chart(leading, published, settings)),
        protocol(leading, published, settings),
    ]


def protocol(
    leading: Sequence[Leader], published: Sequence[Replayed], settings: StudySettings
) -> str:
    """How the figures of the table came about, and what they can't say. One or more leaders."""
    split = SPLITS[settings.dataset]
    seeds = count(len(leading[0].candidate.runs), "seed")
    said = [
        f"- Accuracies are *sustained* ones, the lowest of the last "
        f"{count(settings.sustain, 'epoch')} of {settings.epochs}, in percent, mean ± standard "
        f"deviation over seeds. A seed *holds* if it sustains {settings.target:g}%.",
        f"- *Validation*: candidates, the first of all searches by single runs, were trained again "
        f"on {split.training - split.validation:,} images from {seeds} each and measured on "
        f"{split.validation:,} others. The highest mean of at most so many parameters leads. As "
        f"searches and this choice went by these images, the figures are slightly optimistic.",
        f"- *Test*: leaders alone are trained on all {split.training:,} images and measured on "
        f"{split.test:,} test images, which choose no leader. To name the smallest that holds is "
        f"to choose by them, among {count(len(leading), 'leader')}.",
        "- *Known* networks are those that searches begin with: people picked them, "
        "some by what they had once scored on test images."
        if any("(known: " in each.candidate.name for each in leading)
        else "",
        "- Published networks were trained by their own recipes and measured as leaders are. An "
        "asterisk: layers that were not published, reconstructed."
        if published
        else "",
    ]
    return "\n".join(each for each in said if each)


def _network(study: str, leader: Leader, settings: StudySettings, pictures: Pictures) -> list[str]:
    each = leader.candidate
    measured = f", on test images {mean_sd(each.test)}%" if each.test else ""
    shown = [
        pictures.chart(f"seeds-{each.number}", seeds_chart(each.confirmations, settings)),
        f"As model files: `nas-search export DIR --study {study} --trial {each.number} --seeds` "
        f"(with the `--out` or `--storage` of the front, if it had one).",
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
        ("parameters", "network", "validation", "lowest", "diverged"),
        [
            (
                f"{each.params:,}",
                each.name,
                mean_sd(each.validation),
                f"{min(each.validation):.2f}",
                f"{each.diverged} of {len(each.runs)}",
            )
            for each in found
        ],
    )
