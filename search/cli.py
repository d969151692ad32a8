"""The command line. Imports nothing heavy before it is needed: `--help` answers at once."""

import io
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from results.errors import NasSearchError
from results.storage_url import hide_in
from search.commands import COMMANDS
from search.interruption import INTERRUPTED, STOPPED, Interruption
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
from search.secrets import hide_passwords
from search.strategy import PRUNERS, SAMPLERS

if TYPE_CHECKING:
    from search.plan import Plan


@click.group(invoke_without_command=True, context_settings={"max_content_width": 100})
@study_options
@training_options
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Trained trials the study shall have in all; running again goes on up to that number.",
)
@click.option(
    "--max-params",
    type=click.IntRange(max=10_000_000),
    default=BUDGET,
    show_default=True,
    help="Parameter budget: every network has fewer trainable parameters than this (500 at least).",
)
@click.option(
    "--target",
    type=click.FloatRange(0, 100, min_open=True),
    default=99.4,
    show_default=True,
    help="Accuracy in percent that a network has to hold in its last epochs.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1, max=10_000),
    default=EPOCHS,
    show_default=True,
    help="Epochs a trial that is not stopped early is trained.",
)
@click.option(
    "--sustain",
    type=click.IntRange(min=1),
    help="The sustained accuracy is the lowest of this many last epochs. Default: 4, or all if "
    "there are fewer.",
)
@click.option(
    "--objective",
    type=click.Choice(["accuracy", "smallest"]),
    default="accuracy",
    show_default=True,
    help="accuracy: the highest sustained accuracy within the budget. smallest: the fewest "
    "parameters that hold the target.",
)
@click.option(
    "--sampler",
    type=click.Choice(SAMPLERS),
    default="forest",
    show_default=True,
    help="How configurations are proposed. forest: by trees that learn which parameters go "
    "together, and nothing over the budget. tpe: near good ones, each parameter by itself. gp: by "
    "a Gaussian process, which leaves pruned trials out.",
)
@click.option(
    "--learn-from",
    metavar="NAME",
    multiple=True,
    help="Begin with what the trials of another search in this storage tell, of another budget, "
    "say. Several times: of several. The study keeps them. With --sampler forest alone.",
)
@click.option(
    "--pruner",
    type=click.Choice(PRUNERS),
    default="halving",
    show_default=True,
    help="How poor trials are stopped early. halving: after 2, 4 and 6 of 15 epochs (of other "
    "numbers of epochs after as large a part, two at least) the more promising half goes on, at "
    "once or later; none: all are trained to the end.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Decides every draw and training of the search: with one worker on a CPU the same seed "
    "gives the same trials.",
)
@click.option(
    "--finalists",
    type=click.IntRange(min=0),
    default=None,
    help="How many are confirmed on the test images at the end: the most accurate, the smallest "
    "that holds, then the next best. With --objective smallest: the smallest that holds, smaller "
    "ones so near the target that validation images can't tell them from there, the most accurate, "
    "then the next best. 0: none. Default: 3; with --objective smallest 5.",
)
@click.option(
    "--confirm-seeds",
    type=click.IntRange(min=0, max=MOST_SEEDS),
    default=3,
    show_default=True,
    help="How often each finalist is retrained on all training images; 0: no confirmation.",
)
@click.option(
    "--baselines/--no-baselines",
    default=True,
    show_default=True,
    help="Whether known-good networks are tried first.",
)
@click.version_option(package_name="nas-search", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context, /, **options: Any) -> None:
    """Find the smallest convolutional networks that reliably do a job.

    Without a command: searches. Poor trials are stopped early, the best are confirmed over several
    seeds, and everything is kept, so that the same command goes on where it stopped.
    """
    if context.invoked_subcommand is None:
        _search(**options)
        return
    for parameter in context.params:
        if context.get_parameter_source(parameter) == click.core.ParameterSource.COMMANDLINE:
            _refuse_misplaced(context, "--" + parameter.replace("_", "-"))


def _refuse_misplaced(context: click.Context, option: str) -> None:
    name = context.invoked_subcommand or ""
    command = cli.get_command(context, name)
    takes = {opt for parameter in command.params for opt in parameter.opts} if command else set()
    if option in takes:
        raise click.UsageError(f"{option} goes behind the command: nas-search {name} {option} ...")
    raise click.UsageError(f"{option} is an option of the search; nas-search {name} has none such")


for each in COMMANDS:
    cli.add_command(each)


def _search(**options: Any) -> None:
    from results.present import summary_table
    from results.record import confirmations, records
    from results.selection import summary
    from search.progress import say
    from search.run import run

    plan = _plan(**options)
    try:
        study = run(plan, baselines=options["baselines"])
    except KeyboardInterrupt:
        say(f"{STOPPED}; {_next(plan, 'best')}")
        raise click.exceptions.Exit(INTERRUPTED) from None
    summary_table(summary(plan.study, plan.settings, records(study), confirmations(study)))
    say("; ".join(_next(plan, command) for command in ("report", "trials", "export DIR")))


def _next(plan: "Plan", command: str) -> str:
    """The command line that shows more of this study."""
    from results.storage import default_url
    from results.storage_url import shown_url

    words = ["nas-search", command, "--study", plan.study]
    if plan.out != Path("runs"):
        words += ["--out", str(plan.out)]
    if plan.storage != default_url(plan.out):
        shown = shown_url(plan.storage)
        words += ["--storage", "URL" if shown != plan.storage else shown]
    purpose = {
        "best": "shows what was found",
        "report": "writes a page about it",
        "trials": "lists the trials",
        "export DIR": "writes the best as model files",
    }[command]
    return f"{' '.join(words)} {purpose}"


def _plan(**options: Any) -> "Plan":
    from results.selection import FINALISTS
    from results.settings import StudySettings
    from search.data import find
    from search.progress import say
    from space import SearchSpace

    sustain = options["sustain"] or min(SUSTAIN, options["epochs"])
    if sustain > options["epochs"]:
        raise click.UsageError(f"--sustain {sustain} is more than --epochs {options['epochs']}")
    if math.isnan(options["target"]):
        raise click.UsageError("--target is not a number")
    if options["learn_from"] and options["sampler"] != "forest":
        raise click.UsageError("--learn-from needs --sampler forest: no other learns from them")
    try:
        space = SearchSpace.for_budget(options["max_params"])
    except ValueError as error:
        raise click.UsageError(f"--max-params: {error}") from None
    data = find(options["dataset"], options["data_dir"], say)
    settings = StudySettings(
        dataset=data.name,
        space=space,
        objective=options["objective"],
        target=options["target"],
        epochs=options["epochs"],
        sustain=sustain,
    )
    return make_plan(
        settings,
        data,
        default_name=f"{data.name}-{settings.objective}-{settings.max_params}",
        trials=options["trials"],
        seed=options["seed"],
        sampler=options["sampler"],
        learn_from=tuple(dict.fromkeys(options["learn_from"])),
        pruner=options["pruner"],
        finalists=FINALISTS[settings.objective]
        if options["finalists"] is None
        else options["finalists"],
        confirm_seeds=options["confirm_seeds"],
        **{name: options[name] for name in RUN_OPTIONS},
    )


def main() -> None:
    """Entry point of the `nas-search` script.

    Exit codes: 0; 1 after an error; 2 where the command line is wrong; 130 after Ctrl-C (SIGINT),
    143 after SIGTERM.
    """
    hide_passwords()
    from search.progress import say

    interruption = Interruption(say)
    interruption.install()
    code = run_command(sys.argv[1:])
    if code == INTERRUPTED:
        # Everything is stored and no worker is left; what else an interpreter does at its end, with
        # torch loaded, is not worth a person's waiting or a scheduler's patience.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(interruption.exit_code(code))
    sys.exit(code)


def run_command(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code; says one line about whatever went wrong."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name can have what no terminal shows
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        result = cli.main(args=arguments, prog_name="nas-search", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except (KeyboardInterrupt, click.Abort):
        click.echo(STOPPED, err=True)
        return INTERRUPTED
    except click.ClickException as error:
        hint = " (nas-search without a command searches)" if _is_unknown_command(error) else ""
        return _fail(error.format_message() + hint, error.exit_code)
    except NasSearchError as error:
        return _fail(str(error), 1)
    except BrokenPipeError:
        # Whoever read stdout has closed it; say nothing, and keep Python from saying it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _fail(f"{error.strerror or error}{where}", 1)
    except Exception as error:
        if os.environ.get("NAS_SEARCH_DEBUG"):
            raise
        first = (str(error).splitlines() or [""])[0]
        return _fail(
            f"{type(error).__name__}: {first} (a fault of nas-search; set NAS_SEARCH_DEBUG=1 to "
            f"see where)",
            1,
        )


def _is_unknown_command(error: click.ClickException) -> bool:
    return error.format_message().startswith("No such command")


def _fail(message: str, code: int) -> int:
    click.echo("error: " + hide_in(" ".join(message.split())), err=True)
    return code


if __name__ == "__main__":
    main()
