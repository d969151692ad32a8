"""The command that trains the ladder of a configuration."""

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from results.errors import NasSearchError, NoStudyError
from search.options import (
    BUDGET,
    MOST_SEEDS,
    RUN_OPTIONS,
    make_plan,
    open_study,
    refuse_several,
    study_options,
    training_options,
    trial_options,
)

if TYPE_CHECKING:
    from results.ladder import Ladder
    from results.record import TrialRecord
    from results.settings import Goal, StudySettings
    from search.plan import Plan
    from space import Configuration


@click.command()
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@trial_options
@click.option(
    "--from",
    "known",
    metavar="ID",
    help="No trial but a published network (nas-search replay --list), or a known-good one that "
    "searches begin with, such as separable-residual.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1, max=MOST_SEEDS),
    default=3,
    show_default=True,
    help="Trainings of each configuration, from the seeds 0, 1, ...",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1, max=10_000),
    help="Epochs of a training. Default: as in the study, or 15 with --from.",
)
@click.option("--dry-run", is_flag=True, help="Print the rungs and the expected time alone.")
@study_options
@training_options
def drilldown(
    folder: Path | None,
    trial: int | None,
    choice: str | None,
    known: str | None,
    seeds: int,
    dry_run: bool,
    **options: Any,
) -> None:
    """Write how a configuration comes about, one change at a time, to DIR.

    From its plainest ancestor (no normalisation, a large final kernel if one fits, no augmentation,
    a constant learning rate of a tenth of its highest) to itself: at each rung every change that is
    left is tried from several seeds, and the one that helps most (or hurts least) on validation
    images is added. At the end each is taken out again by itself. DIR (default: drilldowns/NAME in
    --out) gets a page, Markdown and a notebook. The same command goes on where it stopped.
    """
    refuse_several(trial, choice)
    if known is not None and (trial, choice, options["study"]) != (None, None, None):
        raise click.UsageError("--from needs no study: leave out --study, --trial and the like")
    if dry_run and options["ray"] is not None:
        raise click.UsageError("--dry-run times trainings on this machine: leave out --ray")
    plan, goal = _plan(trial, choice or "best", known, **options)
    if dry_run:
        _explain(plan, goal, seeds)
        return

    import datetime

    from results.ladder import climb, rounds
    from results.record import records
    from results.report.drilldown import make_drilldown_report
    from results.report.notebook import make_notebook, write_notebook
    from results.report.write import write_report
    from search.run import train_given

    max_params = plan.settings.max_params
    where = folder or plan.out / "drilldowns" / plan.study
    where.mkdir(parents=True, exist_ok=True)  # what can't be written shall be known before hours

    def ladder_of(found: "list[TrialRecord]") -> "Ladder":
        return climb(goal.configuration, max_params, seeds, found)

    total = sum(rounds(goal.configuration, max_params, seeds))
    study = train_given(plan, lambda found: ladder_of(found).missing, total)
    ladder = ladder_of(records(study))
    now = datetime.datetime.now(datetime.UTC)
    made = make_drilldown_report(goal.title, ladder, plan.settings, now)
    written = [
        *write_report(made, where),
        write_notebook(make_notebook(goal.title, ladder, plan.settings), where),
    ]
    click.echo(made.headline)
    for path in written:
        click.echo(f"  {path}")


def _plan(trial: int | None, choice: str, known: str | None, **options: Any) -> "tuple[Plan, Goal]":
    """How to train, and what the ladder leads to."""
    from results.settings import FORMAT, Goal, StudySettings
    from search.data import find
    from search.progress import say
    from space import SearchSpace, footprint
    from space.ingredients import RULES

    if known is not None:
        goal = Goal(title=known, configuration=_known(known), rules=RULES)
        data = find(options["dataset"], options["data_dir"], say)
        params = footprint(goal.configuration.architecture).params
        space = SearchSpace.for_budget(max(BUDGET, params + 1))
        settings = StudySettings(dataset=data.name, space=space)
    else:
        goal, settings = _of_a_study(trial, choice, **options)
        data = find(options["dataset"] or settings.dataset, options["data_dir"], say)
    epochs = options["epochs"] or settings.epochs
    settings = settings.model_copy(
        update={
            "dataset": data.name,
            "space": settings.space.without_dimensions(),
            "epochs": epochs,
            "sustain": min(settings.sustain, epochs),
            "objective": "accuracy",
            "trials": "given",
            "goal": goal,
            "format": FORMAT,
        }
    )
    run = {name: options[name] for name in RUN_OPTIONS} | {"study": None}
    return make_plan(settings, data, default_name=_name(goal.title, settings), **run), goal


def _name(title: str, settings: "StudySettings") -> str:
    """Of the study: another for each goal and protocol, so that none is refused for another's."""
    words = re.sub(r"[^A-Za-z0-9.]+", "-", title)[:60]
    return f"drilldown-{words}-{settings.id}"


def _known(name: str) -> "Configuration":
    from space import BASELINES, PUBLISHED, baseline

    if name in PUBLISHED:
        return PUBLISHED[name].configuration
    if name in BASELINES:
        return baseline(name)
    names = dict.fromkeys((*PUBLISHED, *BASELINES))
    raise NasSearchError(f"nothing known is called {name}; there are: {', '.join(names)}")


def _of_a_study(trial: int | None, choice: str, **options: Any) -> "tuple[Goal, StudySettings]":
    from results.record import records
    from results.selection import choose
    from results.settings import Goal
    from results.storage import settings_of
    from space.ingredients import RULES

    named = [options[name] for name in ("study", "storage", "out")]
    try:
        opened = open_study(*named, of_search=True)
    except NoStudyError as error:
        raise NasSearchError(f"{error}; with --from ID no search is needed") from None
    settings = settings_of(opened)
    if settings.trials == "given":
        raise NasSearchError(
            f"study {opened.study_name} is no search: name one with --study, or use --from"
        )
    chosen: Any = choice if trial is None else trial
    record = choose(records(opened), settings, chosen)
    title = f"{opened.study_name}, {record.title}"
    return Goal(title=title, configuration=record.configuration, rules=RULES), settings


def _explain(plan: "Plan", goal: "Goal", seeds: int) -> None:
    from results.ladder import climb, describe, rounds
    from results.markdown import count
    from search.estimate import seconds_per_training, trained
    from search.progress import duration

    configuration, max_params = goal.configuration, plan.settings.max_params
    click.echo(f"the ladder to {goal.title}, with fewer than {max_params:,} parameters:")
    for words, params in describe(configuration, max_params):
        click.echo(f"  {words}: {params:,} parameters")
    every = rounds(configuration, max_params, seeds)
    said = (
        f"at each rung all that are left are tried: {count(sum(every), 'training')} of "
        f"{count(plan.settings.epochs, 'epoch')} in all"
    )
    ladder = climb(configuration, max_params, seeds, trained(plan))
    if not ladder.missing:
        click.echo(f"{said}; all of them are trained")
        return
    done = seeds * len(ladder.every)
    left = [max(0, each - max(0, done - sum(every[:n]))) for n, each in enumerate(every)]
    if done:
        said += f", {done} of them trained"
    waves = sum(math.ceil(each / plan.workers) for each in left)
    seconds = seconds_per_training(plan, configuration) * waves
    click.echo(
        f"{said}; about {duration(seconds)} on {count(plan.workers, 'worker')} (from a few batches "
        f"of the whole network timed now)"
    )
