"""Options that several commands take, and what they mean."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from results.errors import NasSearchError
from search.secrets import STORAGE_VARIABLE

if TYPE_CHECKING:
    import optuna

    from results.settings import StudySettings
    from search.data import DataSource
    from search.plan import Plan


STUDY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""Also names a folder. Studies can be given other names by other programs."""


RUNS = Path("runs")
"""Where everything is written by default."""

BUDGET = 10_000
"""Parameters that networks stay below by default."""

EPOCHS = 15
"""Of a training by default, as in the published drill-downs."""

MOST_SEEDS = 1_000
"""Trainings of one configuration that can be asked for."""

SUSTAIN = 4
"""Last epochs that a sustained accuracy is the lowest of, by default."""


def study_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that name a study, for every command."""
    options = [
        click.option(
            "--study",
            metavar="NAME",
            help="Name of the study. Searching: made if missing, resumed if it is there (default: "
            "named after dataset, objective and budget). Elsewhere: default is the newest, or the "
            "newest search where something is chosen from it.",
        ),
        click.option(
            "--storage",
            metavar="URL",
            envvar=STORAGE_VARIABLE,
            help="Database of the studies, any URL Optuna takes, such as "
            "postgresql://user@host/name. Default: $NAS_SEARCH_STORAGE, else an SQLite file in "
            "--out. A password stays off the command line in that variable, in $PGPASSWORD or in "
            "~/.pgpass.",
        ),
        click.option(
            "--out",
            type=click.Path(file_okay=False, path_type=Path),
            default=RUNS,
            show_default=True,
            help="Folder for the default database, checkpoints and records.",
        ),
    ]
    return _with(options, command)


def artifacts_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option of every command that writes or reads the weights and pictures of a study."""
    option = click.option(
        "--artifacts",
        metavar="PATH_OR_URL",
        envvar="NAS_SEARCH_ARTIFACTS",
        show_envvar=True,
        help="Folder or bucket for weights and pictures that all machines reach, such as "
        "/mnt/share/nas or s3://bucket/nas (whatever fsspec knows). The study remembers it. "
        "Default: --out, on each machine its own.",
    )
    return _with([option], command)


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that trains: on what data, with which devices, and whereto."""
    options = [
        click.option(
            "--dataset",
            type=click.Choice(["mnist", "mnist-sample"]),
            help="mnist: all 70,000 digits, or an error if they can't be had. mnist-sample: 5,000 "
            "of them, always at hand. Default: mnist, and the sample with a warning where it can't "
            "be had.",
        ),
        click.option(
            "--data-dir",
            type=click.Path(path_type=Path),
            help="Folder with MNIST in torchvision's layout (MNIST/raw/...). Then looked for in "
            "$NAS_SEARCH_DATA, then in the user's cache, where it is downloaded to if missing.",
        ),
        click.option(
            "--device",
            default="auto",
            show_default=True,
            help="auto, cpu, cuda, cuda:1, or several such as cuda:0,cuda:2.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=1, max=256),
            help="Trials trained at once. Default: one a CPU core, or 8 a GPU.",
        ),
        click.option(
            "--ray",
            metavar="ADDRESS",
            help="Train in a Ray cluster: auto, host:port or ray://host:10001. --workers is of the "
            "whole cluster; --storage names a server that all its machines reach.",
        ),
        click.option(
            "--precision",
            type=click.Choice(["auto", "float32", "bfloat16"]),
            default="auto",
            show_default=True,
            help="Number format of training (measuring is always float32); auto: the faster, "
            "measured.",
        ),
        artifacts_option,
    ]
    return _with(options, command)


def trial_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that pick a trial of a study: `trial` and `choice`, each None if not given."""
    options = [
        click.option("--trial", type=click.IntRange(min=0), help="The trial with this number."),
        click.option("--best", "choice", flag_value="best", help="The most accurate (default)."),
        click.option(
            "--smallest", "choice", flag_value="smallest", help="The smallest that holds."
        ),
    ]
    return _with(options, command)


def refuse_several(trial: int | None, choice: str | None) -> None:
    """Raises click.UsageError if a trial is picked in more than one way."""
    if trial is not None and choice is not None:
        raise click.UsageError("give one of --trial, --best and --smallest")


def _with(options: Sequence[Callable[..., Any]], command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(options):
        command = option(command)
    return command


def open_study(
    study: str | None, storage: str | None, out: Path, *, of_search: bool = False
) -> "optuna.Study":
    """The study of the options, or the newest one; with `of_search` the newest that a search made.

    Raises NasSearchError if there is none.

    Its trials are read all at once and kept, for a command that looks at them again and again.
    """
    from results.ledger import refresh, with_ledger
    from results.storage import default_url, load_study, open_storage

    opened = open_storage(storage or default_url(out), create=False)
    found = with_ledger(load_study(opened, study, of_search=of_search))
    refresh(found)
    return found


def holds_studies(out: Path) -> bool:
    """Whether a search without `--storage` wrote to this folder."""
    from results.storage import default_file

    return default_file(out).exists()


def report_folder(out: Path, study: str) -> Path:
    """Where the report of a study goes. Raises NasSearchError if its name can't name a folder."""
    if not STUDY_NAME.fullmatch(study):
        raise NasSearchError(
            "the name of this study can't name a folder: name one for the report, as in "
            "nas-search report myreport"
        )
    return out / "reports" / study


RUN_OPTIONS = ("study", "storage", "out", "artifacts", "device", "workers", "precision", "ray")
"""Options of `study_options` and `training_options` that say how a run is run."""


def make_plan(
    settings: "StudySettings",
    data: "DataSource",
    *,
    default_name: str,
    study: str | None,
    storage: str | None,
    out: Path,
    device: str,
    workers: int | None,
    precision: str,
    artifacts: str | None,
    ray: str | None,
    **others: Any,
) -> "Plan":
    """The plan of a run, from its options. Raises click.UsageError and NasSearchError."""
    from results.storage import default_url
    from results.store import full_address
    from search.device import default_workers, resolve_devices
    from search.plan import Plan

    if study is not None and not STUDY_NAME.fullmatch(study):
        raise click.UsageError(
            "--study: use letters, digits, dots, dashes and underscores, starting with a letter "
            "or digit, at most 100"
        )
    where: dict[str, Any] = {}
    if ray is None:
        devices = resolve_devices(device)
        workers = workers or default_workers(devices)
    else:
        from search.cluster import connect

        _refuse_file(storage)
        room = connect(ray)
        devices = (room.device(device),)
        workers = workers or room.default_workers(devices[0])
        where = {"ray": ray, "at_once": room.at_once(workers)}
    return Plan(
        study=study or default_name,
        storage=storage or default_url(out),
        settings=settings,
        data=data,
        out=out,
        artifacts=full_address(artifacts) if artifacts else None,
        devices=devices,
        workers=workers,
        precision=None if precision == "auto" else precision,  # type: ignore[arg-type]
        **where,
        **others,
    )


def _refuse_file(storage: str | None) -> None:
    """Raises NasSearchError if a storage is a file, which one machine alone has."""
    from results.storage_url import parse_url

    if storage is None or parse_url(storage).get_backend_name() == "sqlite":
        raise NasSearchError(
            "--ray needs a database server that all machines of the cluster reach: name it with "
            "--storage postgresql://user@host/name, or in $NAS_SEARCH_STORAGE"
        )
