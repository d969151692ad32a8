"""Passwords in storage URLs: seen by nobody else, written nowhere."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from results.errors import NasSearchError
from results.storage import open_storage
from results.storage_url import HIDDEN, hide_in, shown_url, without_secrets
from search.cli import cli
from search.secrets import without_passwords
from tests.conftest import SMALL_SEARCH, CommandLine
from tests.postgres import PASSWORD, Server

URL = "postgresql://me:secret@host:5432/db"


@pytest.mark.parametrize("words", [["--storage", URL], [f"--storage={URL}"]])
def test_a_url_with_a_password_leaves_the_words(words: list[str]) -> None:
    assert without_passwords(["best", *words, "--json"]) == (["best", "--json"], URL)


@pytest.mark.parametrize(
    "url", ["postgresql://me@host/db", "postgresql://host:5432/db", "sqlite:////tmp/a:b.db"]
)
def test_a_url_without_one_stays(url: str) -> None:
    assert without_passwords(["--storage", url]) == (["--storage", url], None)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:pa/ss@host/db",
        "postgresql://me:p@ss@host/db",
        "postgresql://host/db?user=me&password=secret",
        "postgresql://:secret@host/db",
    ],
)
def test_unusual_ways_to_write_a_password_are_seen(url: str) -> None:
    assert without_passwords(["--storage", url]) == ([], url)


def test_what_is_shown_has_no_password() -> None:
    assert shown_url(URL) == f"postgresql://me:{HIDDEN}@host:5432/db"
    query = "postgresql://host/db?password=secret&user=me&sslpassword=secret"
    assert "secret" not in shown_url(query)
    assert "user=me" in shown_url(query)
    assert hide_in(f"no such command {URL}") == f"no such command {shown_url(URL)}"


passwords = st.text(
    st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=12
).filter(lambda text: "*" not in text)


@settings(deadline=None, max_examples=60)
@given(passwords)
def test_no_error_about_a_url_repeats_its_password(password: str) -> None:
    """Written as it is, which is wrong for some, and as it should be."""
    for written in (password, quote(password, safe="")):
        url = f"postgresql://somebody:{written}@127.0.0.1:1/name"
        with pytest.raises(NasSearchError) as caught:
            open_storage(url, create=False)
        assert password not in str(caught.value)
        assert quote(password, safe="") not in str(caught.value)


def test_what_a_driver_says_is_shown_without_the_password() -> None:
    said = f"invalid dsn: password={quote('p@ss')} or p@ss in {URL}"
    url = "postgresql://me:p%40ss@host/db"
    assert "p@ss" not in without_secrets(said, url)
    assert "p%40ss" not in without_secrets(said, url)


def test_the_storage_can_be_named_by_a_variable(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/nowhere.db"
    done = CliRunner().invoke(cli, ["best"], env={"NAS_SEARCH_STORAGE": url})
    assert f"no studies in {tmp_path}/nowhere.db" in str(done.exception)


def command_lines(group: int) -> Iterator[str]:
    """Of all processes of a group, as anyone on the machine can read them."""
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group:
                yield Path(f"/proc/{process.pid}/cmdline").read_text(errors="replace")
        except (ProcessLookupError, FileNotFoundError):
            continue


def rows(postgres: Server, url: str) -> Iterator[str]:
    """All there is in a database, a row at a time."""
    import psycopg

    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall()
        for (table,) in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):  # type: ignore[call-overload]
                yield str(row)


def test_a_search_outlives_its_server_and_tells_its_password_to_nobody(
    postgres: Server, nas_search: CommandLine, tmp_path: Path
) -> None:
    """The server is stopped in the midst of it, and started again when that was noticed."""
    url = postgres.new_database()
    search = (*SMALL_SEARCH, "--trials", "3", "--confirm-seeds", "0", "--workers", "2")
    process = nas_search.start(*search, "--storage", url)
    seen: set[str] = set()
    time.sleep(2)  # in the first moments it is still there
    said = ""
    assert process.stderr is not None
    try:
        for line in process.stderr:
            said += line
            seen.update(command_lines(process.pid))
            if line.startswith("[1/3]"):
                postgres.stop()
            if "can't be reached" in line:
                postgres.start()
        assert process.wait(timeout=60) == 0, said
    finally:
        if not postgres.is_running:
            postgres.start()
    assert len(re.findall("can't be reached", said)) == len(re.findall("is back", said)) == 1
    assert len([each for each in seen if "spawn_main" in each]) >= 2
    shown = nas_search("trials", "--storage", url)
    written = [shown.stdout, shown.stderr, said, process.stdout.read() if process.stdout else ""]
    for command in ("report", "export"):
        done = nas_search(command, str(tmp_path / command), "--storage", url)
        assert done.returncode == 0, done.stderr
        written += [done.stdout, done.stderr]
    written += list(rows(postgres, url))
    assert len(written) > 300
    for text in (*seen, *written):
        assert PASSWORD not in text
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes(), path
