"""Options that several commands take, and what they mean."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from results.errors import NasSearchError

if TYPE_CHECKING:
    import optuna


STUDY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""Also names a folder. Studies can be given other names by other programs."""


def study_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that name a study, for every command."""
    options = [
        click.option(
            "--study",
            metavar="NAME",
            help="Name of the study. Searching: made if missing, resumed if it is there (default: "
            "named after dataset, objective and budget). Elsewhere: default is the newest.",
        ),
        click.option(
            "--storage",
            metavar="URL",
            help="Database of the studies, any URL Optuna takes, such as "
            "postgresql://user@host/name. Default: an SQLite file in --out.",
        ),
        click.option(
            "--out",
            type=click.Path(file_okay=False, path_type=Path),
            default=Path("runs"),
            show_default=True,
            help="Folder for the default database, checkpoints and records.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def open_study(study: str | None, storage: str | None, out: Path) -> "optuna.Study":
    """The study of the options, or the newest one; raises NasSearchError if there is none.

    Its trials are read all at once and kept, for a command that looks at them again and again.
    """
    from results.ledger import with_ledger
    from results.storage import default_url, load_study, open_storage, shown_url, storage_errors

    url = storage or default_url(out)
    opened = open_storage(url, create=False)
    with storage_errors(shown_url(url)):
        return with_ledger(load_study(opened, study))


def report_folder(out: Path, study: str) -> Path:
    """Where the report of a study goes. Raises NasSearchError if its name can't name a folder."""
    if not STUDY_NAME.fullmatch(study):
        raise NasSearchError(
            "the name of this study can't name a folder: name one for the report, as in "
            "nas-search report myreport"
        )
    return out / "reports" / study
