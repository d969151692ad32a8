"""Where the time of a study went."""

import datetime
from collections import defaultdict
from typing import TYPE_CHECKING

from results.charts.chart import Axis, Bars, Chart
from results.record import TIMING_KEY, confirmations

if TYPE_CHECKING:
    import optuna

NAMES = {
    "training": "training",
    "evaluation": "measuring accuracy",
    "confirmation": "confirming finalists",
    "sampling": "choosing what to try",
    "storage": "keeping the study",
    "drawing": "drawing pictures",
    "capture": "capturing GPU graphs",
    "waiting": "start, waiting, cut off",
}
"""By kind of time, as people say it."""


def time_chart(study: "optuna.Study") -> Chart:
    """Seconds by kind of all workers together, in minutes or hours."""
    title = "Where the time went"
    spent = _spent(study)
    ordered = sorted((kind for kind in spent if spent[kind] > 0), key=lambda kind: -spent[kind])
    if not ordered:
        return Chart(title, Axis(), Axis(), (), title, empty="No trial has ended yet.")
    whole = sum(spent.values())
    unit, length = next(
        (name, length)
        for name, length in (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))
        if whole > 2 * length or length == 1
    )
    said = [f"{NAMES[kind]}: {_share(spent[kind] / whole)}" for kind in ordered]
    return Chart(
        title,
        Axis(f"{unit}, all workers"),
        Axis(categories=tuple(said)),
        (Bars([spent[kind] / length for kind in ordered], list(range(len(ordered))), names=said),),
        f"Of {whole / length:.1f} {unit} of all workers: {', '.join(said[:3])}.",
    )


def _share(part: float) -> str:
    return f"{100 * part:.1f}%" if part >= 0.001 else "under 0.1%"


def _spent(study: "optuna.Study") -> dict[str, float]:
    """Seconds by kind: of the runs that ended as they counted them, of a run that goes on as its
    trials have them, and of the confirmations.

    Of two runs at once that do not end together, what the longer one did before the other's end
    is counted when it ends too.
    """
    spent: defaultdict[str, float] = defaultdict(float)
    last_end = datetime.datetime.min.replace(tzinfo=datetime.UTC)
    for key, totals in study.user_attrs.items():
        if key.startswith(f"{TIMING_KEY}:"):
            for kind, seconds in totals["seconds"].items():
                spent[kind] += seconds
            started = datetime.datetime.fromisoformat(key.removeprefix(f"{TIMING_KEY}:"))
            ended = started + datetime.timedelta(seconds=totals["wall_seconds"])
            last_end = max(last_end, ended)
    for trial in study.get_trials(deepcopy=False):
        if trial.datetime_start and trial.datetime_start.astimezone(datetime.UTC) > last_end:
            for kind in NAMES:
                spent[kind] += trial.user_attrs.get(f"{kind}_seconds", 0.0)
    for runs in confirmations(study).values():
        spent["confirmation"] += sum(run.seconds for run in runs)
    return spent
