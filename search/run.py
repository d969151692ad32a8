"""A whole run: the search, then the confirmation of the finalists."""

from typing import TYPE_CHECKING

from results.record import confirmations, records
from results.selection import complete, finalists
from results.storage import open_storage, shown_url, storage_errors
from search.crew import Crew
from search.plan import Plan
from search.progress import Tally, make_display
from search.study import hand_back_dead_trials, make_or_resume
from search.worker import ConfirmTask, SearchTask

if TYPE_CHECKING:
    import optuna


def run(plan: Plan, *, baselines: bool) -> "optuna.Study":
    """Runs the plan to its end and returns the study.

    Whatever ends it early, every told trial is kept, and the trials that had begun are handed
    back, so that the same plan goes on from there.
    """
    plan.out.mkdir(parents=True, exist_ok=True)
    with storage_errors(shown_url(plan.storage)):
        study = make_or_resume(open_storage(plan.storage, create=True), plan, baselines=baselines)

        def hand_back() -> None:
            hand_back_dead_trials(study)

        hand_back()
        with Crew(plan, on_death=hand_back) as crew:
            _search(plan, study, crew)
            _confirm(plan, study, crew)
        hand_back()
    return study


def _search(plan: Plan, study: "optuna.Study", crew: Crew) -> None:
    states = [each.state for each in records(study)]
    done = complete(records(study))
    tally = Tally(
        plan.trials,
        states.count("complete"),
        states.count("pruned"),
        max((each.sustained for each in done), default=None),
    )
    if tally.done >= plan.trials:
        return
    with make_display(f"search {plan.study}", tally, plan.settings.epochs) as display:
        for event in crew.work([SearchTask()] * plan.workers):
            display.show(event)


def _confirm(plan: Plan, study: "optuna.Study", crew: Crew) -> None:
    chosen = finalists(records(study), plan.settings, plan.finalists)
    seeds = range(plan.confirm_seeds)
    have = {(run.trial, run.seed) for runs in confirmations(study).values() for run in runs}
    tasks = [
        ConfirmTask(record.number, seed)
        for seed in seeds
        for record in chosen
        if (record.number, seed) not in have
    ]
    if not tasks:
        return
    goal = len(chosen) * len(seeds)
    tally = Tally(goal, goal - len(tasks), 0, None)
    with make_display("confirm on test images", tally, plan.settings.epochs) as display:
        for event in crew.work(tasks):
            display.show(event)
