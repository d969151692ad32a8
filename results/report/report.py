"""The report of a study, as Markdown with its pictures."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from results.charts.curves import curves_chart
from results.charts.front import front_chart
from results.leaderboard import protocol, tables
from results.markdown import bullets, count
from results.record import Confirmation, TrialRecord
from results.report.analysis import analysis, results, target
from results.report.answer import answer_table, glance, headline, smallness, state
from results.report.finalist import finalist
from results.report.findings import Findings
from results.report.pictures import Picture, Pictures

WORDS = (
    ("accuracy", "the share of images whose digit is named correctly, in percent."),
    ("parameters", "the numbers a network learns; the fewer, the smaller it is."),
    ("epoch", "one pass over all training images."),
    ("trial", "one network with one way to train it, tried once by the search."),
    ("validation images", "held out while training; the search chooses by them."),
    ("test images", "seen by nothing in the search; finalists alone are measured on them."),
    ("sustained accuracy", "the lowest accuracy of the last epochs of a single training."),
    ("holds", "a network holds a target if its sustained accuracy reaches it."),
    ("seed", "the start of all chance in a training; another seed is another try."),
    ("confirmed", "trained again from several seeds and measured on the test images."),
    ("front", "the networks that no smaller one is as accurate as (Pareto front)."),
    ("finalists", "chosen by validation images: they are trained again to be confirmed."),
    ("pruned, stopped early", "ended before the last epoch, as others were better by then."),
    ("diverged", "ended before the last epoch, as the training broke down."),
)


@dataclass(frozen=True)
class Report:
    """`headline`: the answer in a sentence, which the Markdown begins with as well. `pictures` by
    the address that the Markdown names them by."""

    title: str
    headline: str
    markdown: str
    pictures: dict[str, Picture]


def make_report(found: Findings, made: datetime.datetime) -> Report:
    """The report of what was found up to `made`."""
    pictures = Pictures()
    title = f"{found.study}: what was found"
    parts = [
        f"# {title}",
        f"**{headline(found)}**",
        state(found),
        answer_table(found),
        bullets(glance(found)),
        "## How small can it get?",
        smallness(found),
        *_front(found, pictures),
        "## Leaderboard",
        *(tables(found.records, found.runs, found.settings) or ["Empty so far."]),
        protocol(found.settings),
        "## Target",
        bullets(target(found)),
        "## Results",
        bullets(results(found)),
        "## Analysis",
        *analysis(found, pictures),
        "## Learning curves",
        pictures.chart("curves", curves_chart(found.records, found.settings)),
        "## Finalists" if found.runs else "## Leading trials",
        *_finalists(found, pictures),
        "## Words",
        bullets([f"**{word}**: {meaning}" for word, meaning in WORDS]),
        made_with(found.trained, [run for runs in found.runs.values() for run in runs]),
        f"Written by nas-search on {made:%Y-%m-%d at %H:%M} UTC, from "
        f"{count(len(found.records), 'draw')}.",
    ]
    text = "\n\n".join(each for each in parts if each) + "\n"
    return Report(title, headline(found), text, pictures.made)


def _front(found: Findings, pictures: Pictures) -> list[str]:
    if not found.trained:
        return []
    return [
        pictures.chart("front", front_chart(found.records, found.settings)),
        "Every dot is a network that was tried: further left is smaller, further up is better. "
        "Accuracy is that on validation images.",
    ]


def _finalists(found: Findings, pictures: Pictures) -> list[str]:
    if not found.finalists:
        return ["There are none before a trial has been trained to its end."]
    return [
        part
        for each in found.finalists
        for part in (
            f"### Trial {each.number}: {each.params:,} parameters",
            *finalist(found, each, pictures),
        )
    ]


def made_with(trained: Sequence[TrialRecord], runs: Sequence[Confirmation]) -> str:
    """Devices, number formats and versions that the figures were made with."""
    made = [(run.device, run.precision, run.versions) for run in runs]
    made += [
        (each.attributes["device"], each.attributes["precision"], each.attributes["versions"])
        for each in trained
        if "device" in each.attributes
    ]
    commits: dict[str, dict[str, None]] = {}
    for device, precision, versions in made:
        others = [f"{name} {version}" for name, version in versions.items() if name != "commit"]
        words = f"{device} in {precision} with {', '.join(others)}"
        commits.setdefault(words, {}).update(
            dict.fromkeys(version for name, version in versions.items() if name == "commit")
        )
    said = [
        words + (f", commit {' and '.join(found)}" if found else "")
        for words, found in commits.items()
    ]
    return f"Trained on {'; '.join(said)}." if said else ""
