"""Results on a terminal, for reading. On stdout."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from space import footprint

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from results.leaders import Leader
    from results.models.prediction import Prediction
    from results.models.verified import Verified
    from results.replayed import Replayed
    from results.settings import StudySettings
    from space import Published

IN_A_PIPE = 1_000
"""Columns of a table that is not shown on a terminal."""


def summary_table(found: dict[str, Any]) -> None:
    """Prints what `selection.summary` found."""
    from rich.table import Table

    console = _console()
    trials = found["trials"]
    console.print(
        f"study {found['study']} on {found['dataset']}: {trials['complete']} complete, "
        f"{trials['pruned']} pruned, {trials['diverged']} diverged, "
        f"{trials['failed']} failed trials ({trials['infeasible']} draws over the budget)",
        soft_wrap=True,
    )
    table = Table("accuracies in percent")
    table.add_column("most accurate", justify="right")
    table.add_column(f"smallest holding {found['target']}%", justify="right")
    entries = [found["most_accurate"], found["smallest_holding"]]
    for name, cell in _SUMMARY_ROWS.items():
        missing = "none yet" if name == "trial" else ""
        table.add_row(name, *(cell(entry) if entry else missing for entry in entries))
    console.print(table)
    others = [each for each in found["finalists"] if each not in entries]
    if others:
        console.print("also confirmed, sustained on test images:")
    for each in others:
        runs = each["confirmed"]
        console.print(
            f"  trial {each['trial']}, {each['params']:,} parameters: mean {_mean(runs)}, "
            f"worst seed {runs['worst']:.2f}, {runs['holding']} of {runs['seeds']} seeds hold "
            f"the target",
            soft_wrap=True,
        )


_HIDDEN = {
    "infeasible": "more over the budget",
    "promoted": "gone on with under later numbers",
    "waiting": "waiting",
}
"""Trials that are counted alone, by state, in words."""


def trials_table(study: str, measured_on: str, frame: "pd.DataFrame") -> None:
    """Prints the main columns of the trials that were trained, failed or run, best first."""
    from rich.table import Table

    shown = frame[~frame["state"].isin([*_HIDDEN])]
    if "sustained" in shown:
        shown = shown.sort_values("sustained", ascending=False)
    table = Table(box=None, padding=(0, 2, 0, 0))
    hidden_columns = () if "name" in shown else _OF_GIVEN
    present = [name for name in _TRIAL_COLUMNS if name in shown and name not in hidden_columns]
    for name in present:
        justify: Literal["left", "right"] = "left" if name == "state" else "right"
        table.add_column(_TRIAL_COLUMNS[name], justify=justify, no_wrap=True)
    for row in shown[present].to_dict("records"):
        table.add_row(*(_cell(str(name), row[name]) for name in present))
    console = _console()
    console.print(f"{study}: {measured_on} accuracies in percent", soft_wrap=True)
    if len(shown):
        console.print(table)
    else:
        console.print("No trial is trained yet.")
    hidden = [
        f"{count} {words}"
        for state, words in _HIDDEN.items()
        if (count := int((frame["state"] == state).sum()))
    ]
    console.print(
        f"sustained: lowest of the last epochs; gap: training minus {measured_on}. "
        + "".join(f"{each}. " for each in hidden)
        + "--format csv has everything",
    )


def published_table(networks: "Sequence[Published]") -> None:
    """Prints what was published of networks."""
    from rich.table import Table

    table = Table("id", "what", box=None, padding=(0, 2, 0, 0))
    for name in ("parameters", "published", "best train", "best test"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("layers", no_wrap=True)
    for each in networks:
        table.add_row(
            each.id,
            each.title,
            f"{footprint(each.configuration.architecture).params:,}",
            f"{'' if each.is_exact else '~'}{each.params:,}",
            f"{each.best_train:.2f}",
            f"{each.best_test:.2f}",
            "reconstructed" if each.reconstruction else "published",
        )
    _console().print(table)


def replay_table(found: "Sequence[Replayed]", settings: "StudySettings") -> None:
    """Prints published against measured."""
    from rich.table import Table

    from results.replayed import COLUMNS, RUN_COLUMNS, cells, legend, run_cells

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in ("id", "what") else "right")
    for each in found:
        table.add_row(*cells(each, settings))
    runs = Table(*RUN_COLUMNS, box=None, padding=(0, 2, 0, 0))
    for each in found:
        for row in run_cells(each):
            runs.add_row(*row)
    console = _console()
    console.print(table)
    console.print()
    console.print(runs)
    console.print()
    console.print(legend(found, settings), soft_wrap=True)


def leaders_table(
    found: "Sequence[Leader]", published: "Sequence[Replayed]", settings: "StudySettings"
) -> None:
    """Prints the best network of each size, and published ones among them."""
    from rich.table import Table

    from results.leaders import COLUMNS, rows

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "network" else "right")
    for each in rows(found, published, settings):
        table.add_row(*each)
    _console().print(table)


def forms_table(forms: Mapping[str, Mapping[str, Any]]) -> None:
    """Prints what config.json tells of the files of an export."""
    from rich.table import Table

    from results.models.card import FORM_COLUMNS, form_cells

    table = Table("file", box=None, padding=(0, 2, 0, 0))
    for name in FORM_COLUMNS:
        table.add_column(name, justify="left" if name == "what" else "right", no_wrap=True)
    for name, about in forms.items():
        table.add_row(name, *form_cells(name, about))
    _console().print(table, soft_wrap=True)


def verified_table(outcomes: "Sequence[Verified]") -> None:
    """Prints, for each file of each folder, what its card promises and what was measured."""
    from rich.table import Table

    table = Table("folder", box=None, padding=(0, 2, 0, 0))
    table.add_column("file", no_wrap=True)
    for name in ("parameters", "promised", "measured", "holds"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in outcomes:
        if each.promise is None:
            table.add_row(str(each.folder), "", "", "", "not measured", "")
        for name, promised, value in each.rows():
            table.add_row(
                str(each.folder),
                name,
                f"{each.params:,}",
                f"{promised:.2f}%",
                "not measured" if value is None else f"{value:.2f}%",
                "" if value is None else "yes" if each.keeps(promised, value) else "no",
            )
    _console().print(table, soft_wrap=True)
    unmeasured: dict[str, set[str]] = {}
    for each in outcomes:
        for name, reason in each.unmeasured.items():
            unmeasured.setdefault(reason, set()).add(name)
    for reason, names in unmeasured.items():
        _console().print(f"not measured: {', '.join(sorted(names))} ({reason})", soft_wrap=True)
    for each in outcomes:
        said, last = each.promise and each.promise.confirmed, each.over_seeds
        if said:
            _console().print(
                f"{each.folder}: sustained accuracy of {said.seeds} seeds, {said.mean:.2f}% (worst "
                f"{said.worst:.2f}%) promised: "
                + (
                    f"their weights have {last.mean:.2f}% (worst {last.worst:.2f}%)"
                    if last
                    else "not checked, as the weights of all seeds are not there (export --seeds)"
                ),
                soft_wrap=True,
            )


def predictions_table(predictions: Sequence[tuple[str, "Prediction"]]) -> None:
    """Prints, for each image, its digit and the two likeliest others with their probabilities."""
    from rich.table import Table

    table = Table("image", box=None, padding=(0, 2, 0, 0))
    for name in ("digit", "probability", "or", "or"):
        table.add_column(name, justify="right", no_wrap=True)
    for image, prediction in predictions:
        (digit, first), *others = prediction.likeliest[:3]
        table.add_row(
            image, str(digit), f"{first:.1%}", *(f"{each} ({share:.1%})" for each, share in others)
        )
    _console().print(table, soft_wrap=True)


def _console() -> "Console":
    """Shows every string as it is: names of files and studies may look like markup.

    In a pipe lines are as long as they are: what reads them may look for a whole name.
    """
    from rich.console import Console

    width = None if sys.stdout.isatty() else IN_A_PIPE
    return Console(width=width, markup=False, emoji=False, highlight=False)


_OF_GIVEN = ("name", "seed")
"""Columns of trials that come with their configuration."""

_TRIAL_COLUMNS = {
    "trial": "trial",
    "state": "state",
    "name": "name",
    "seed": "seed",
    "params": "params",
    "macs": "MACs",
    "sustained": "sustained",
    "best_accuracy": "best",
    "gap": "gap",
    "epochs_run": "epochs",
    "seconds": "seconds",
}


def _mean(runs: dict[str, Any]) -> str:
    sd = f" ± {runs['sd']:.3f}" if runs["sd"] is not None else ""
    return f"{runs['mean']:.3f}{sd}"


def _confirmed(show: Callable[[dict[str, Any]], str]) -> Callable[[dict[str, Any]], str]:
    return lambda entry: show(entry["confirmed"]) if entry["confirmed"] else "not confirmed"


_SUMMARY_ROWS: dict[str, Callable[[dict[str, Any]], str]] = {
    "trial": lambda entry: str(entry["trial"]),
    "parameters": lambda entry: f"{entry['params']:,}",
    "MACs per image": lambda entry: f"{entry['macs']:,}",
    "sustained, validation (chooses)": lambda entry: f"{entry['sustained']:.2f}",
    "sustained, test, mean ± sd": _confirmed(_mean),
    "sustained, test, worst seed": _confirmed(lambda runs: f"{runs['worst']:.2f}"),
    "seeds that hold the target": _confirmed(lambda runs: f"{runs['holding']} of {runs['seeds']}"),
}


def _cell(name: str, value: Any) -> str:
    if str(value) in ("None", "nan", "<NA>"):  # what a frame has for "not there"
        return ""
    if name == "params":
        return f"{int(value):,}"
    if name == "macs":
        return f"{value / 1e6:.2f}M"
    if name in ("sustained", "best_accuracy", "gap"):
        return f"{value:.2f}"
    if name in ("epochs_run", "seconds"):
        return f"{value:.0f}"
    return str(value)
