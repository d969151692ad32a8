"""Command lines as people mistype them: done, or one line, for every option that is declared."""

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from results.errors import NasSearchError
from results.storage import open_storage
from search import data, mnist
from search.cli import cli
from search.dashboard import Server
from search.data import DataSource
from search.plan import Plan
from search.publisher import Publisher
from search.study import load
from tests.fuzzing import WHOLE_NUMBERS, answer_of_command, fuzzed
from tests.stored import DIGITS, store_studies

MODEL = Path(__file__).parents[1] / "results" / "mnist-30-trials-cpu" / "model"


class Started(NasSearchError):  # noqa: N818
    """All values were taken; what takes long would begin here."""


def start(*_: object, **__: object) -> None:
    raise Started("started")


class Crew:
    """Does what a worker does before it trains."""

    def __init__(self, plan: Plan, *_: object, **__: object) -> None:
        assert len(plan.processes) <= plan.workers
        load(open_storage(plan.storage, create=False), plan)
        start()


def no_network(*_: object) -> None:
    raise OSError("no network")


def numeric_addresses(host: str, *arguments: Any, **options: Any) -> Any:
    """Asks no name server."""
    return ask(host, *arguments, **options, flags=socket.AI_NUMERICHOST)


ask = socket.getaddrinfo


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working folder: two studies, a model, a picture. Nothing is trained or downloaded."""
    here = tmp_path_factory.mktemp("here")
    store_studies(here / "runs")
    shutil.copy(here / "runs" / "nas-search.db", here / "kept.db")
    shutil.copytree(MODEL, here / "model")
    for name in ("picture.png", f"{ODD}.png"):
        Image.effect_noise((28, 28), 90).save(here / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.delenv(data.DATA_VARIABLE, raising=False)
        patch.setattr(data, "_cache_folder", lambda: here / "cache")
        patch.setattr(mnist, "_fetch", no_network)
        patch.setattr(DataSource, "load", lambda _: DIGITS)
        patch.setattr("search.run.Crew", Crew)
        patch.setattr("search.run.precision_for", lambda *_: None)
        patch.setattr("search.study.baselines_in", lambda _: {})
        patch.setattr("search.estimate.seconds_per_training", lambda *_: 1.0)
        patch.setattr("search.export.accuracy", start)
        for module in ("still", "network"):
            patch.setattr(f"results.charts.{module}.picture", lambda *_: b"<svg></svg>")
        patch.setattr(Publisher, "publish", lambda _: None)
        patch.setattr(Server, "serve_forever", lambda _: None)
        patch.setattr(socket, "getaddrinfo", numeric_addresses)
        yield here


PATHS = (
    *("", ".", "runs", "model", "model/model.onnx", "model/config.json", "picture.png", "new/deep"),
    *("/dev/null", "/proc/nothing", "x" * 300, "a/" * 500, "\udcff\udc80", "a\nb", "é", " "),
)
URLS = (
    *("sqlite://", "sqlite:///", "sqlite:///runs/nas-search.db", "sqlite:///model", "sqlite:///."),
    *("sqlite:////dev/null", "sqlite:////proc/x/y.db", "sqlite:///picture.png", "sqlite:///a?b=c"),
    *("sqlite:///new.db?mode=ro&uri=true", f"sqlite:///{'x' * 300}", "sqlite:///\udcff.db"),
    *("postgresql://u:secret@127.0.0.1:1/x", "postgresql://127.0.0.1:port/x", "postgresql://[::1"),
    *("mysql://127.0.0.1/x", "nothing://x", "://", "redis://127.0.0.1:1", "sqlite+x:///a.db"),
)
WORDS = (
    *("search", "replay", "1.3", "0.1", "separable-residual", "auto", "cpu", "cuda", "cuda:99"),
    *("127.0.0.1", "0.0.0.0", "::1", "::", "256.1.1.1", "a..b", "x" * 300, "", "-", "--", "-1"),
    *("nan", "inf", "-inf", "1e400", "0x10", "1_000", "\udcff", "a\nb", "é", "[bold]", "%s", "{}"),
)


def texts() -> st.SearchStrategy[str]:
    """What an argument can be: it has no zero byte. None leads out of the working folder."""
    any_text = st.text(max_size=20).filter(
        lambda text: "\0" not in text and not text.startswith(("/", "~")) and ".." not in text
    )
    return st.one_of(st.sampled_from(WORDS), any_text)


def values(parameter: click.Parameter) -> st.SearchStrategy[str]:
    """What is right for a parameter, and what is not, by its declared type."""
    if isinstance(parameter.type, click.Choice):
        return st.one_of(st.sampled_from(parameter.type.choices), texts())
    if isinstance(parameter.type, click.types.IntParamType):
        numbers = st.one_of(st.sampled_from(WHOLE_NUMBERS), st.integers(0, 100), st.integers())
        return st.one_of(numbers.map(str), texts())
    if isinstance(parameter.type, click.types.FloatParamType):
        return st.one_of(st.floats().map(str), st.sampled_from(WHOLE_NUMBERS).map(str), texts())
    if isinstance(parameter.type, click.Path):
        return st.one_of(st.sampled_from(PATHS), texts())
    return st.one_of(texts(), st.sampled_from(URLS))


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A command with some of its options and arguments, and now and then what it has not."""
    name = draw(st.sampled_from(["", "", *cli.commands]))
    command = cli.commands[name] if name else cli
    line = []
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            count = (
                draw(st.integers(0, 3)) if parameter.nargs == -1 else draw(st.integers(0, 9)) > 0
            )
            line += [draw(values(parameter)) for _ in range(count)]
        elif draw(st.integers(0, 4)) == 0:
            line.append(draw(st.sampled_from([*parameter.opts, *parameter.secondary_opts])))
            if not parameter.is_flag:
                line.append(draw(values(parameter)))
    if not name and draw(st.booleans()):
        line += ["--dataset", "mnist-sample"]
    if draw(st.integers(0, 9)) == 0:
        line.insert(draw(st.integers(0, len(line))), draw(texts()))
    return [name, *line] if name else line


RIGHT = (
    ("--dataset", "mnist-sample", "--seed", "7"),
    ("best", "--study", "search"),
    ("trials",),
    ("export", "unwritten", "--study", "search"),
    ("predict", "model", "picture.png"),
    ("report", "page", "--study", "search"),
    ("dashboard", "--port", "0"),
    ("replay", "--list"),
    ("replay", "1.3", "--dataset", "mnist-sample"),
    ("drilldown", "--study", "search", "--dry-run"),
    ("front", "--study", "search", "--dry-run"),
)
"""A line for each command."""


ODD = "\udcff"
"""A byte of a file name that is no UTF-8, as Python hands it over."""


@fuzzed(60)
@example(line=["replay", "1.3", "--dataset", "mnist-sample", "--seeds", str(10**9)])
@example(line=["drilldown", "--from", "1.3", "--dataset", "mnist-sample", "--seeds", str(10**9)])
@example(line=["--dataset", "mnist-sample", "--confirm-seeds", str(10**9), "--seed", str(2**70)])
@example(line=["--dataset", "mnist-sample", "--trials", str(10**30), "--finalists", str(10**30)])
@example(line=["predict", "model", "picture.png", f"{ODD}.png", "nothing.png"])
@example(line=["predict", "model", f"{ODD}.png", "--json"])
@example(line=["report", f"folder{ODD}", "--study", "search"])
@example(line=["export", f"folder{ODD}", "--study", "search"])
@example(line=["--dataset", "mnist-sample", "--out", f"out{ODD}"])
@example(line=["dashboard", "--out", f"out{ODD}", "--port", "0"])
@example(line=["trials", "--storage", "postgresql://127.0.0.1:port/x"])
@example(line=["dashboard", "--host", "a..b", "--port", "0"])
@example(line=["dashboard", "--host", "x" * 300, "--port", "0"])
@example(line=["dashboard", "--host", "", "--port", "0"])
@given(line=command_lines())
def test_command_lines(here: Path, line: list[str]) -> None:
    shutil.copy(here / "kept.db", here / "runs" / "nas-search.db")
    said = answer_of_command("command lines", line)
    assert "secret" not in said.out + said.err


@pytest.mark.parametrize("line", RIGHT, ids=" ".join)
def test_what_is_right_gets_to_its_work(here: Path, line: tuple[str, ...]) -> None:
    shutil.copy(here / "kept.db", here / "runs" / "nas-search.db")
    said = answer_of_command("command lines", list(line))
    assert said.code == 0 or "error: started" in said.err, said
