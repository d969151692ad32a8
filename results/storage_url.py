"""The URL of a database, and what of it may be shown: never its password."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from results.errors import NasSearchError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

HIDDEN = "***"


def parse_url(url: str) -> "URL":
    """Raises NasSearchError, without a word of the URL, if it is none."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url.encode()
    except UnicodeEncodeError:
        raise NasSearchError(
            "the name of the database has bytes that are no UTF-8: name another place with --out "
            "or --storage"
        ) from None
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # ValueError: what should be a port is no number
        parsed = None
    if parsed is not None and parsed.get_backend_name() == "postgres":
        raise NasSearchError("--storage begins with postgres://: write postgresql:// there")
    if parsed is None or _is_torn(parsed):
        raise NasSearchError(
            "--storage is not a database URL: write for example sqlite:///runs/my.db or "
            "postgresql://user@host/name (in a password / is %2F, @ is %40, : is %3A and ? is %3F)"
        )
    return parsed


def _is_torn(parsed: "URL") -> bool:
    """Whether a piece of a password was taken for host, name or options."""
    options = [value for name, value in parsed.query.items() if not _is_secret(name)]
    pieces = (parsed.host, parsed.database, *options)
    return parsed.get_backend_name() != "sqlite" and any("@" in str(each) for each in pieces)


def shown_url(url: str) -> str:
    """The URL with its passwords hidden. Raises NasSearchError if it is none."""
    parsed = parse_url(url)
    query = {name: HIDDEN if _is_secret(name) else value for name, value in parsed.query.items()}
    shown = parsed.set(query=query).render_as_string(hide_password=True)
    return shown.replace(quote_plus(HIDDEN), HIDDEN)


def without_secrets(text: str, url: str) -> str:
    """What a driver says about a URL, with its passwords hidden: some repeat what they got."""
    for secret in sorted(set(_secrets(url)), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def hide_in(text: str) -> str:
    """Text with the password of whatever URL stands in it hidden."""
    return re.sub(r"(//[^/\s:@]*:)\S*@", rf"\1{HIDDEN}@", text)


def _secrets(url: str) -> Iterator[str]:
    """Every password of a URL, as it is and as it may be written."""
    parsed = parse_url(url)
    found = [str(parsed.password or "")]
    found += [str(value) for name, value in parsed.query.items() if _is_secret(name)]
    found += re.findall(r"//[^/:@]*:(.*)@", url)
    for secret in filter(None, found):
        yield from (secret, quote(secret, safe=""), quote_plus(secret))


def _is_secret(name: str) -> bool:
    return "password" in name.lower()
