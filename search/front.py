"""The command that finds the best network of each size in all searches, and confirms it."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from results.errors import NasSearchError
from search.options import (
    BUDGET,
    MOST_SEEDS,
    RUN_OPTIONS,
    make_plan,
    open_study,
    study_options,
    training_options,
)

if TYPE_CHECKING:
    import optuna

    from results.record import Given, TrialRecord
    from search.plan import Plan


@click.command()
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--candidates",
    type=click.IntRange(min=1, max=1_000),
    default=3,
    show_default=True,
    help="How many of each size are trained again: the first of all searches.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1, max=MOST_SEEDS),
    default=3,
    show_default=True,
    help="Trainings of each candidate, measured on validation images.",
)
@click.option(
    "--confirm-seeds",
    type=click.IntRange(min=0, max=MOST_SEEDS),
    default=5,
    show_default=True,
    help="Trainings of the best of each size on all training images, measured on the test images.",
)
@click.option("--dry-run", is_flag=True, help="Print the candidates and the expected time alone.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object on stdout.")
@study_options
@training_options
def front(
    folder: Path | None,
    candidates: int,
    seeds: int,
    confirm_seeds: int,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Confirm the best network of each size, and write the front to DIR.

    For every 500 parameters the first candidates of all searches in the storage that are like
    --study (default: the newest search; like it means dataset, epochs, sustained epochs and target)
    are trained again from several seeds. Who has the highest mean on validation images leads, and
    leaders are measured on the test images. Published networks that nas-search replay trained stand
    in the same table. DIR (default: fronts/NAME in --out) gets a page and Markdown. The same
    command goes on where it stopped.
    """
    from results.alike import alike, published_like
    from results.leaders import candidates as first_of_each_size
    from search.progress import say

    if dry_run and options["ray"] is not None:
        raise click.UsageError("--dry-run times trainings on this machine: leave out --ray")
    opened = open_study(options["study"], options["storage"], options["out"], of_search=True)
    plan = _plan(opened, confirm_seeds, **options)
    searches, left_out = alike(opened, plan.settings, "search")
    published, unread = published_like(opened, plan.settings)
    for line in (*left_out, *unread):
        say(line)
    chosen = first_of_each_size(searches, candidates)
    if not chosen:
        raise NasSearchError("no trial is complete yet: let the search go on")
    if dry_run:
        _explain(plan, chosen, seeds)
        return

    import datetime
    import json

    from results.leaders import described, leaders, trained_again
    from results.present import leaders_table
    from results.record import confirmations, records
    from results.report.leaders import make_leaders_report, protocol
    from results.report.write import write_report
    from search.run import train_given

    where = folder or plan.out / "fronts" / plan.study
    where.mkdir(parents=True, exist_ok=True)  # what can't be written shall be known before hours

    def leading(found: "list[TrialRecord]") -> list[int]:
        return [each.candidate.number for each in leaders(trained_again(found, {}))]

    study = train_given(plan, lambda found: _missing(found, chosen, seeds), chosen=leading)
    again, settings = trained_again(records(study), confirmations(study)), plan.settings
    best = leaders(again)
    now = datetime.datetime.now(datetime.UTC)
    report = make_leaders_report(plan.study, again, published, settings, now)
    written = write_report(report, where)
    if as_json:
        click.echo(json.dumps(described(plan.study, best, published, settings), indent=2))
        return
    leaders_table(best, published, settings)
    if best:
        click.echo(protocol(best, published, settings))
    click.echo(report.headline)
    for path in written:
        click.echo(f"  {path}")


def _missing(
    found: "Sequence[TrialRecord]", chosen: "Sequence[Given]", seeds: int
) -> "Sequence[Given]":
    """What is to be trained: also of what was chosen when the searches had found less, as it may
    have led by right."""
    from results.record import Given
    from search.study import untrained

    known = [given for each in found if (given := Given.of(each.attributes))]
    every = {each.configuration: each for each in (*known, *chosen)}.values()
    wanted = [Given(each.name, seed, each.configuration) for seed in range(seeds) for each in every]
    return untrained(found, wanted)


def _plan(opened: "optuna.Study", confirm_seeds: int, **options: Any) -> "Plan":
    """How to train: as the searches do, and the same whatever their budgets and objectives are."""
    from results.settings import StudySettings
    from results.storage import settings_of
    from search.data import find
    from search.progress import say
    from space import SearchSpace

    of_search = settings_of(opened)
    if of_search.about != "search":
        raise NasSearchError(
            f"study {opened.study_name} is no search: name one with --study, or leave it out"
        )
    if options["dataset"] not in (None, of_search.dataset):
        raise NasSearchError(
            f"study {opened.study_name} is of {of_search.dataset}: leave out --dataset, or name "
            f"another search with --study"
        )
    data = find(of_search.dataset, options["data_dir"], say)
    settings = StudySettings(
        dataset=data.name,
        space=SearchSpace.for_budget(BUDGET).without_dimensions(),
        target=of_search.target,
        epochs=of_search.epochs,
        sustain=of_search.sustain,
        trials="given",
    )
    run = {name: options[name] for name in RUN_OPTIONS} | {"study": None}
    name = f"front-{settings.dataset}-{settings.id}"
    return make_plan(settings, data, default_name=name, **run, confirm_seeds=confirm_seeds)


def _macs_of_a_view(given: "Given") -> int:
    """Trainings see one view."""
    from space import footprint

    architecture = given.configuration.architecture
    return footprint(architecture).macs // architecture.views


def _batch_size(given: "Given") -> int:
    return given.configuration.recipe.batch_size


def _explain(plan: "Plan", chosen: "Sequence[Given]", seeds: int) -> None:
    from results.markdown import count
    from search.estimate import seconds_per_training, trained
    from search.progress import duration
    from space import footprint

    click.echo(f"{count(len(chosen), 'candidate')} of study {plan.study}:")
    for each in chosen:
        params = footprint(each.configuration.architecture).params
        click.echo(f"  {params:,} parameters: {each.name}")
    missing = _missing(trained(plan), chosen, seeds)
    said = f"{count(len(missing), 'training')} of {count(plan.settings.epochs, 'epoch')} to do"
    if missing:
        # What takes long has much to compute, or many steps.
        most = (max(missing, key=_macs_of_a_view), min(missing, key=_batch_size))
        timed = {each.name: each.configuration for each in most}.values()
        waves = math.ceil(len(missing) / plan.workers)
        seconds = max(seconds_per_training(plan, each) for each in timed) * waves
        said += (
            f", about {duration(seconds)} on {count(plan.workers, 'worker')} if all were like the "
            f"slowest (a few batches of which were timed now)"
        )
    click.echo(f"{said}; then {count(plan.confirm_seeds, 'training')} of each that leads")
