"""Takes passwords off the command line, which everyone on a machine can read."""

import os
import re
import sys
from collections.abc import Sequence

STORAGE_VARIABLE = "NAS_SEARCH_STORAGE"
"""The environment variable that names the storage where `--storage` does not. A process's
environment can be read by its user alone."""

_PASSWORD = re.compile(r"//[^/@]*:.*@|password=", re.IGNORECASE)


def hide_passwords() -> None:
    """Starts this program anew without the storage URL among its words, if it has a password.

    Call it before anything that takes time is imported: until then the password can be seen.
    """
    words, url = without_passwords(sys.argv[1:])
    if url is not None:
        os.environ[STORAGE_VARIABLE] = url
        options = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]
        os.execv(sys.executable, [sys.executable, *options, *words])


def without_passwords(words: Sequence[str]) -> tuple[list[str], str | None]:
    """The words of a command line without storage URLs that have a password, and the last such."""
    kept: list[str] = []
    url = None
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        name, equals, value = word.partition("=")
        if word == "--storage" and waiting and _PASSWORD.search(waiting[0]):
            url = waiting.pop(0)
        elif name == "--storage" and equals and _PASSWORD.search(value):
            url = value
        else:
            kept.append(word)
    return kept, url
