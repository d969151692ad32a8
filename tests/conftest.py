"""What several test files share: a small finished study, made once by the real command."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest
import torch

from tests.fuzzing import INPUTS
from tests.postgres import postgres as postgres
from tests.postgres import postgres_url as postgres_url

# Tests run side by side, a process each: more threads would only get in each other's way.
torch.set_num_threads(1)

# Under nohup it is ignored, by the commands that tests start too: what they do about it is tested.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# People explore new examples at every run; CI judges a change, not the luck of the draw.
hypothesis.settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Notes with a test how many inputs it fuzzed with: its report also leaves other processes."""
    before = Counter(INPUTS)
    yield
    if tried := INPUTS - before:
        item.user_properties.append(("fuzzed", dict(tried)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    tried: Counter[str] = Counter()
    for report in terminalreporter.getreports(""):
        for name, value in report.user_properties:
            if name == "fuzzed" and report.when == "teardown":
                tried.update(value)
    if tried:
        each = ", ".join(f"{reader} {count:,}" for reader, count in sorted(tried.items()))
        terminalreporter.write_line(
            f"fuzz: {tried.total():,} inputs for {len(tried)} readers: {each}"
        )


SMALL_SEARCH = (
    *("--dataset", "mnist-sample", "--max-params", "2000", "--no-baselines", "--seed", "3"),
    *("--epochs", "2", "--sustain", "2", "--target", "5", "--device", "cpu"),
    *("--precision", "float32"),  # the choice is measured otherwise, which takes seconds
)


@dataclass(frozen=True)
class CommandLine:
    """Runs `nas-search` in a folder of its own, as a person would."""

    folder: Path

    def __call__(self, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(arguments),
            cwd=self.folder,
            env=environment(self.folder),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """In a process group of its own, so that all of it can be killed at once."""
        return subprocess.Popen(
            command(arguments),
            cwd=self.folder,
            env=environment(self.folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # Tests run in the background of a script inherit an ignored SIGINT; a terminal's don't.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )


def command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-P", "-m", "search.cli", *arguments]


def environment(folder: Path) -> dict[str, str]:
    """Nothing of the person's own data or cache; one thread a process."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NAS_SEARCH_")}
    return {
        **kept,
        "XDG_CACHE_HOME": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
        "PYTHONFAULTHANDLER": "1",
    }


@pytest.fixture
def nas_search(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A study of four trained trials with a finalist confirmed over two seeds; read it only."""
    line = CommandLine(tmp_path_factory.mktemp("finished"))
    done = line(
        *SMALL_SEARCH,
        *("--trials", "4", "--workers", "2", "--finalists", "1", "--confirm-seeds", "2"),
        *("--sampler", "tpe"),  # which draws over the budget too
    )
    assert done.returncode == 0, done.stderr
    return line
