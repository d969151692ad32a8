"""The drilldown command: the ladder trained, written, and found again."""

import json
from collections.abc import Sequence

import pytest

from tests.conftest import CommandLine

# Global average pooling is all that 4.2 has beyond the plainest network: two trainings.
SHORT = (
    *("--from", "4.2", "--seeds", "1", "--epochs", "1"),
    *("--workers", "1", "--dataset", "mnist-sample", "--precision", "float32"),
)


def test_a_ladder_is_trained_once_and_reported_by_whoever_asks(nas_search: CommandLine) -> None:
    done = nas_search("drilldown", "here", *SHORT)
    assert done.returncode == 0, done.stderr
    assert "pooling, seed 0: 9,032 parameters" in done.stderr
    here, there = nas_search.folder / "here", nas_search.folder / "there"
    assert "## Rung 2: + global average pooling" in (here / "report.md").read_text()
    assert json.loads((here / "drilldown.ipynb").read_text())["cells"]
    headline = done.stdout.splitlines()[0]
    again = nas_search("drilldown", *SHORT)
    assert "seed 0" not in again.stderr
    assert again.stdout.splitlines()[0] == headline
    dry = nas_search("drilldown", "--dry-run", *SHORT)
    assert "2 trainings of 1 epoch in all; all of them are trained" in dry.stdout
    more = nas_search("drilldown", "--dry-run", *SHORT, "--seeds", "2")
    assert "4 trainings of 1 epoch in all; about" in more.stdout
    report = nas_search("report", "there")
    assert report.returncode == 0, report.stderr
    assert report.stdout.splitlines()[0] == headline
    assert "## Rung 2: + global average pooling" in (there / "report.md").read_text()
    assert "no search here yet" in nas_search("drilldown", "--best", "--dry-run").stderr
    assert "no search here yet" in nas_search("best").stderr
    other = nas_search("drilldown", *SHORT, "--precision", "bfloat16")
    assert "was trained in float32" in other.stderr


def test_a_dry_run_says_what_it_would_take(nas_search: CommandLine) -> None:
    done = nas_search("drilldown", "--dry-run", *SHORT)
    assert done.returncode == 0, done.stderr
    assert "with global average pooling: 9,032 parameters" in done.stdout
    assert "2 trainings of 1 epoch in all; about" in done.stdout
    assert not (nas_search.folder / "runs").exists()


def test_a_ladder_to_a_trial_of_a_search(finished: CommandLine) -> None:
    done = finished("drilldown", "--best", "--dry-run", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "the ladder to mnist-sample-accuracy-2000, trial" in done.stdout
    assert "fewer than 2,000 parameters" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "9.9"), "nothing known is called 9.9"),
        (("--from", "1.3", "--trial", "2"), "--from needs no study"),
        (("--from", "1.3", "--study", "x"), "--from needs no study"),
        (("--best", "--trial", "2"), "give one of"),
        ((), "no studies in"),
    ],
)
def test_what_can_not_be_is_one_line(
    nas_search: CommandLine, arguments: Sequence[str], said: str
) -> None:
    done = nas_search("drilldown", *arguments)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
