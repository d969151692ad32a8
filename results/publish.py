"""What optuna-dashboard shows of a study as a whole: a note that says who leads, and five plots."""

import datetime
from dataclasses import replace
from typing import TYPE_CHECKING

from results.charts.curves import curves_chart
from results.charts.effects import effects_chart
from results.charts.front import front_chart
from results.charts.importance import importance_chart
from results.charts.interactive import figure
from results.charts.time import time_chart
from results.ladder import furthest
from results.leaderboard import answer, leaderboard
from results.ledger import at_once, refresh
from results.markdown import count
from results.record import confirmations, records
from results.replayed import replay_markdown, replayed
from results.report.drilldown import note as ladder_note
from results.report.leaders import note as leaders_note
from results.storage import settings_of

if TYPE_CHECKING:
    import optuna

PLOTS = ("front", "curves", "effects", "importance", "time")
"""Ids of the plots, the same at every update, so that each takes the place of the one before. Where
trials come with their configuration nothing was chosen, so effects and importance are left out."""


def publish(study: "optuna.Study") -> None:
    """Writes note and plots anew, in one transaction: nobody reads half a plot.

    The study is kept in a `Ledger`.
    """
    from optuna_dashboard import save_note, save_plotly_graph_object

    refresh(study)
    trials, runs, settings = records(study), confirmations(study), settings_of(study)
    front = front_chart(trials, settings)
    charts = {"front": front, "curves": curves_chart(trials, settings)}
    if settings.trials == "drawn":
        charts["front"] = replace(front, subtitle=answer(trials, runs, settings))
        charts["effects"] = effects_chart(trials, settings)
        charts["importance"] = importance_chart(trials, settings)
    charts["time"] = time_chart(study)
    if settings.about == "replay":
        note = replay_markdown(replayed(trials), settings)
    elif goal := settings.goal:
        ladder = furthest(goal, settings.max_params, trials)
        note = ladder_note(goal.title, ladder, settings)
    elif settings.about == "front":
        note = leaders_note(trials, runs, settings)
    else:
        note = leaderboard(trials, runs, settings)
    now = datetime.datetime.now(datetime.UTC)
    trained = count(sum(each.was_trained for each in trials), "trained trial")
    stamp = f"drawn at {now:%H:%M:%S} UTC, {trained}"
    figures = {name: figure(chart, stamp=stamp) for name, chart in charts.items()}

    def save() -> None:
        save_note(study, _spaced(note))
        for name, drawn in figures.items():
            save_plotly_graph_object(study, drawn, graph_object_id=name)

    at_once(study, save)


def _spaced(markdown: str) -> str:
    """With room between the columns of tables, which the dashboard sets without any."""
    return "\n".join(
        line.replace(" |", "&nbsp;&nbsp;&nbsp;|")
        if line.startswith("|") and "--" not in line
        else line
        for line in markdown.splitlines()
    )
