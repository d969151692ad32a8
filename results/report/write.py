"""The report on disk: the page, the Markdown and its pictures, each file whole or not there."""

import re
from pathlib import Path

from results.atomic import write_atomically
from results.errors import NasSearchError
from results.report.page import page
from results.report.pictures import FOLDER
from results.report.report import Report

PAGE, TEXT = "report.html", "report.md"


def write_report(report: Report, folder: Path) -> list[Path]:
    """Writes the report to `folder`, over an older one; returns the page and the Markdown.

    The page needs no other file, and is written last. Pictures of the older report that the new one
    has not are removed; nothing else is touched. Raises NasSearchError if `folder` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise NasSearchError(f"{folder} is a file: name a folder")
    before = _pictures_of(folder / TEXT)
    for address, picture in report.pictures.items():
        write_atomically(folder / address, picture.png)
    write_atomically(folder / TEXT, report.markdown.encode())
    write_atomically(folder / PAGE, page(report).encode())
    for address in before - report.pictures.keys():
        (folder / address).unlink(missing_ok=True)
    return [folder / PAGE, folder / TEXT]


def _pictures_of(text: Path) -> set[str]:
    """The addresses of the pictures that an older report shows."""
    try:
        older = text.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return set()
    return set(re.findall(rf"\]\(({FOLDER}/[a-z0-9-]+\.png)\)", older))
