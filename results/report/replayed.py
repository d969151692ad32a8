"""The report of published networks that were trained again, as Markdown with its pictures."""

import datetime
from collections.abc import Sequence

from results.charts.seeds import seeds_chart
from results.markdown import capital, count, table
from results.record import TrialRecord
from results.replayed import (
    RUN_COLUMNS,
    Replayed,
    is_as_published,
    replay_markdown,
    replayed,
    run_cells,
)
from results.report.finalist import layers
from results.report.pictures import Pictures
from results.report.report import Report, made_with
from results.settings import StudySettings

NEAR = 0.15
"""Points: a larger difference asks for an explanation. Chance alone is one: two accuracies of 99.4%
on 10,000 images lie 0.22 apart in one of 20 cases (twice the standard error of their difference),
and seeds differ besides."""


def make_replay_report(
    study: str, records: Sequence[TrialRecord], settings: StudySettings, made: datetime.datetime
) -> Report:
    """Published against measured, and each network in full."""
    pictures = Pictures()
    found = replayed(records)
    title = f"{study}: published against measured"
    parts = [
        f"# {title}",
        f"**{headline(found, settings)}**",
        replay_markdown(found, settings),
        *(part for each in found for part in _network(each, settings, pictures)),
        made_with(records, ()),
        f"Written by nas-search on {made:%Y-%m-%d at %H:%M} UTC.",
    ]
    text = "\n\n".join(each for each in parts if each) + "\n"
    return Report(title, headline(found, settings), text, pictures.made)


def headline(found: Sequence[Replayed], settings: StudySettings) -> str:
    """How many came out as published, in a sentence."""
    if not found:
        return "Nothing is trained yet."
    if not is_as_published(settings):
        return (
            f"{capital(count(len(found), 'published network'))} trained again, but not as "
            f"published: the figures don't compare."
        )
    near = sum(abs(each.difference) <= NEAR for each in found)
    return (
        f"Of {count(len(found), 'published network')} trained again, {near} came within {NEAR:g} "
        f"points of the published best test accuracy."
    )


def _network(each: Replayed, settings: StudySettings, pictures: Pictures) -> list[str]:
    published = each.published
    name = published.id.replace(".", "-")
    return [
        f"## {published.id}: {published.title}",
        published.reconstruction,
        f"Published: best test accuracy {published.best_test:.2f}%, best training accuracy "
        f"{published.best_train:.2f}%"
        + (f" ({published.note})" if published.note else "")
        + f". Measured: {each.difference:+.2f} points from that, on average.",
        table(RUN_COLUMNS, run_cells(each)),
        pictures.chart(f"replay-{name}", seeds_chart(each.curves, settings)),
        "### Layers",
        layers(published.configuration.architecture),
    ]
