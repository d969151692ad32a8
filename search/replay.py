"""The command that trains published networks again."""

from typing import TYPE_CHECKING, Any

import click

from results.errors import NasSearchError
from search.options import (
    BUDGET,
    EPOCHS,
    MOST_SEEDS,
    RUN_OPTIONS,
    SUSTAIN,
    make_plan,
    study_options,
    training_options,
)

if TYPE_CHECKING:
    from search.plan import Plan
    from space import Published


@click.command()
@click.argument("ids", metavar="[ID...]", nargs=-1)
@click.option("--list", "list_only", is_flag=True, help="List what there is, and train nothing.")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option(
    "--seeds",
    type=click.IntRange(min=1, max=MOST_SEEDS),
    default=1,
    show_default=True,
    help="Train each from the seeds 0, 1, ...; what is trained already is not trained again.",
)
@click.option("--json", "as_json", is_flag=True, help="As one JSON list on stdout.")
@study_options
@training_options
@click.option(
    "--epochs",
    type=click.IntRange(min=1, max=10_000),
    default=EPOCHS,
    show_default=True,
    help="Epochs of a training; with fewer the figures don't compare with the published ones.",
)
def replay(
    ids: tuple[str, ...],
    list_only: bool,
    everything: bool,
    seeds: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Train published networks by their published protocol, and compare.

    ID is that of a row of a published drill-down, such as 1.3 (--list shows all). Trained on all
    training images and measured on the test images after each epoch, as the write-ups do; so what
    is measured is for comparison with them, and never for choosing. The same command goes on where
    it stopped.
    """
    import json

    from results.present import published_table, replay_table
    from results.record import Given, records
    from results.replayed import described, replayed
    from search.run import train_given
    from search.study import untrained

    chosen = _chosen(ids, everything=everything or (list_only and not ids))
    if list_only:
        if as_json:
            click.echo(json.dumps([described(each) for each in chosen], indent=2))
        else:
            published_table(chosen)
        return
    plan = _plan(**options)
    wanted = [Given(each.id, seed, each.configuration) for seed in range(seeds) for each in chosen]
    study = train_given(plan, lambda found: untrained(found, wanted))
    found = [each for each in replayed(records(study)) if each.published in chosen]
    if as_json:
        click.echo(json.dumps([each.described(plan.settings.target) for each in found], indent=2))
    else:
        replay_table(found, plan.settings)


def _chosen(ids: tuple[str, ...], *, everything: bool) -> "list[Published]":
    from space import PUBLISHED

    if everything:
        if ids:
            raise click.UsageError("give either --all or some ids")
        return list(PUBLISHED.values())
    if not ids:
        raise click.UsageError("give an id such as 1.3, or --all; --list shows what there is")
    unknown = [each for each in ids if each not in PUBLISHED]
    if unknown:
        raise NasSearchError(
            f"no published network {', '.join(unknown)}; there are: {', '.join(PUBLISHED)}"
        )
    return [PUBLISHED[each] for each in dict.fromkeys(ids)]


def _plan(**options: Any) -> "Plan":
    from results.settings import StudySettings
    from search.data import find
    from search.progress import say
    from space import SearchSpace

    data = find(options["dataset"], options["data_dir"], say)
    epochs = options["epochs"]
    if (data.name, epochs) != ("mnist", EPOCHS):
        say(f"not what was published: that is of all of MNIST and {EPOCHS} epochs")
    settings = StudySettings(
        dataset=data.name,
        space=SearchSpace.for_budget(BUDGET).without_dimensions(),
        epochs=epochs,
        sustain=min(SUSTAIN, epochs),
        trials="given",
        protocol="published",
    )
    return make_plan(
        settings,
        data,
        default_name=f"{data.name}-replay",
        **{name: options[name] for name in RUN_OPTIONS},
    )
