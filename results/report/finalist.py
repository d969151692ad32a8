"""A finalist in full: its layers, its recipe, its curves, and what it takes for what."""

from results.charts.curves import trial_chart
from results.charts.seeds import seeds_chart
from results.choices import choice_words, effective, level_words
from results.markdown import count, table
from results.record import Confirmation, TrialRecord
from results.report import digits
from results.report.findings import Findings
from results.report.pictures import Pictures
from results.report.seeds import outcome
from space import Architecture, layer_costs

BUILDS = (
    *("stage", "transition", "last_padding", "repeats", "residual", "order", "norm_scale", "head"),
    "views",
)
"""How parameters begin that the table of layers shows already."""


def finalist(found: Findings, record: TrialRecord, pictures: Pictures) -> list[str]:
    """The finalist's section, without its heading, as paragraphs of Markdown."""
    runs = found.runs.get(record.number, [])
    name = f"trial-{record.number}"
    return [
        outcome(found, record)
        or "Not confirmed with seeds on test images yet: one run is no evidence.",
        "#### Layers",
        layers(record.configuration.architecture),
        "Sizes are channels x height x width. The receptive field of a layer is the side, in "
        "pixels, of the square of the image that one of its values depends on. MACs are "
        "multiplications with addition for one image.",
        pictures.network(
            f"{name}-network",
            record.configuration.architecture,
            f"The layers of trial {record.number} from the image to the ten digits, as blocks of "
            f"the size of their maps.",
        ),
        "#### Recipe",
        _recipe(found, record),
        "#### Learning curves",
        "In the search, on validation images (by these it was chosen):",
        pictures.chart(f"{name}-search", trial_chart(record, found.settings)),
        *_seeds(found, runs, name, pictures),
        *_mistakes(found, record, runs, pictures),
    ]


def layers(architecture: Architecture) -> str:
    """The table of layers as the write-ups have it."""
    costs = layer_costs(architecture)
    rows = [
        (
            each.name,
            "x".join(str(size) for size in each.output_shape),
            f"{each.params:,}",
            str(each.receptive_field_pixels),
            f"{each.macs:,}",
        )
        for each in costs
    ]
    whole = (
        "**all**",
        "",
        f"**{sum(each.params for each in costs):,}**",
        "",
        f"**{sum(each.macs for each in costs):,}**",
    )
    header = ("layer", "output", "parameters", "receptive field", "MACs")
    return table(header, [*rows, whole])


def _recipe(found: Findings, record: TrialRecord) -> str:
    made = effective(record.parameters)
    rows = [
        (choice_words(name), level_words(name, made[name]))
        for name in found.settings.space.dimensions
        if name in made and not name.startswith(BUILDS)
    ]
    return table(("setting", "value"), rows)


def _seeds(found: Findings, runs: list[Confirmation], name: str, pictures: Pictures) -> list[str]:
    if not runs:
        return []
    split, sustain = found.split, found.settings.sustain
    last = f"last {count(sustain, 'epoch')}, test %"
    rows = [
        (
            str(run.seed),
            f"{run.sustained:.2f}",
            " ".join(f"{each:.2f}" for each in run.accuracies[-sustain:]),
            f"{run.train_accuracy:.2f}",
        )
        for run in runs
    ]
    return [
        f"Confirmed: trained again on all {split.training:,} training images from "
        f"{count(len(runs), 'seed')}, measured on the {split.test:,} test images:",
        pictures.chart(f"{name}-seeds", seeds_chart(runs, found.settings)),
        table(("seed", "sustained, test %", last, "last epoch, training %"), rows),
    ]


def _mistakes(
    found: Findings, record: TrialRecord, runs: list[Confirmation], pictures: Pictures
) -> list[str]:
    if not runs:
        return []
    name = f"trial-{record.number}"
    taken_for = digits.predicted(runs, found.test)
    if taken_for is None or found.test is None:
        return ["#### Mistakes", _why_no_mistakes(found, runs)]
    test = found.test
    matrix = digits.confusion_matrix(taken_for, test.labels)
    common = ", ".join(
        f"{_a(true)} for {_a(seen)} ({count(times, 'time')})"
        for true, seen, times in digits.commonest_confusions(matrix)
    )
    wrong = digits.wrong_by_all(taken_for, test.labels)
    errors = int((taken_for != test.labels).sum())
    seeds = count(len(runs), "seed")
    parts = [
        "#### Mistakes",
        f"With the weights of the last epoch {seeds} made {count(errors, 'mistake')} in all, each "
        f"on the same {len(test.labels):,} test images."
        + (f" Most often they took {common}." if common else ""),
        pictures.drawing(
            f"{name}-confusion",
            lambda: digits.draw_confusion(matrix),
            f"Confusion matrix of trial {record.number}, all seeds added up. Most frequent: "
            f"{common or 'none'}.",
        ),
        f"Rows: the digit it is; columns: what it was taken for; numbers: images, of {seeds} added "
        f"up. Mistakes are shaded.",
    ]
    if not wrong:
        return [*parts, f"No test image was taken for another digit by all of {seeds}."]
    shown = min(len(wrong), digits.MOST_SHOWN)
    which = f"The first {shown} of them" if shown < len(wrong) else "They are"
    return [
        *parts,
        f"{count(len(wrong), 'test image')} of {len(test.labels):,} no seed got right. {which}, "
        f"with what they are → what the seeds took them for:",
        pictures.drawing(
            f"{name}-digits",
            lambda: digits.draw_digits(test, wrong, taken_for),
            f"{shown} test digits that all seeds of trial {record.number} got wrong.",
        ),
    ]


def _a(digit: int) -> str:
    return f"an {digit}" if digit == 8 else f"a {digit}"


def _why_no_mistakes(found: Findings, runs: list[Confirmation]) -> str:
    if not all(run.predictions for run in runs):
        return (
            "Which digits are confused is not known: this confirmation was made before that was "
            "kept."
        )
    if found.test is None:
        return (
            "Which digits are confused is left out, because the test images are not at hand: name "
            "their folder with `--data-dir`."
        )
    return (
        "Which digits are confused is left out: these are not the test images it was measured on."
    )
