"""Published networks trained again: the command, its table, its report."""

import datetime
import json
from pathlib import Path

import pytest

from results.record import Epoch, Given, TrialRecord, drawn_attributes, trained_attributes
from results.replayed import COLUMNS, cells, replay_markdown, replayed
from results.report.page import page
from results.report.replayed import headline, make_replay_report
from results.settings import StudySettings
from space import PUBLISHED, SearchSpace, footprint
from tests.conftest import CommandLine

SETTINGS = StudySettings(
    dataset="mnist",
    space=SearchSpace.for_budget(10_000),
    trials="given",
    protocol="published",
)


def run(number: int, name: str, seed: int, accuracies: list[float]) -> TrialRecord:
    configuration = PUBLISHED[name].configuration
    history = [
        Epoch(epoch, 0.1, 99.0 - 0.1 / epoch, 0.1, each, 1.0, 0.1)
        for epoch, each in enumerate(accuracies, 1)
    ]
    attributes = {
        **Given(name, seed, configuration).attributes(),
        "name": name,
        "seed": seed,
        "precision": "float32",
        **drawn_attributes(configuration, footprint(configuration.architecture)),
        **trained_attributes(history, SETTINGS, images_per_epoch=60_000),
    }
    return TrialRecord(number, "complete", attributes["sustained"], {}, attributes)


RUNS = [
    run(0, "2.2", 0, [90.0] * 11 + [98.9, 98.8, 99.0, 98.7]),
    run(1, "1.3", 1, [90.0] * 11 + [99.40, 99.41, 99.42, 99.43]),
    run(2, "1.3", 0, [90.0] * 11 + [99.30, 99.36, 99.50, 99.45]),
]


def test_each_is_held_against_what_was_published() -> None:
    first, second = replayed(RUNS)
    assert (first.published.id, second.published.id) == ("1.3", "2.2")
    assert first.best_test == [99.50, 99.43]
    assert first.difference == pytest.approx((99.50 + 99.43) / 2 - 99.44)
    row = dict(zip(COLUMNS, cells(first, SETTINGS), strict=True))
    assert row["params"] == "5,760"
    assert row["test"] == "99.47 ± 0.05"
    assert row["sustained"] == "99.35 ± 0.07"
    assert row["hold"] == "1 of 2"
    assert cells(second, SETTINGS)[0] == "2.2*"
    assert "1 to 2 seeds" in replay_markdown([first, second], SETTINGS)


def test_the_report_shows_every_network_and_its_assumptions() -> None:
    made = make_replay_report(
        "again", RUNS, SETTINGS, datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    )
    assert headline(replayed(RUNS), SETTINGS) in made.markdown
    assert "2 came within" in made.headline
    assert "## 1.3: fewer early channels" in made.markdown
    assert PUBLISHED["2.2"].reconstruction in made.markdown
    assert "| 1.3 | published | 99.44 | 99.38 99.39 99.38 99.44 99.41 |" in made.markdown
    assert "| 1.3 | 1 | 99.43 | 90.00 99.40 99.41 99.42 99.43 | 99.40 |" in made.markdown
    assert "validation" not in made.markdown
    assert page(made).count("data:image/svg+xml") == 2


def test_nothing_trained_is_said() -> None:
    assert replay_markdown([], SETTINGS) == headline([], SETTINGS) == "Nothing is trained yet."


def test_the_list_is_what_was_published(nas_search: CommandLine) -> None:
    listed = json.loads(nas_search("replay", "--list", "--json").stdout)
    assert [each["id"] for each in listed] == list(PUBLISHED)
    by_id = {each["id"]: each for each in listed}
    assert by_id["1.3"]["params"] == 5_760
    assert by_id["1.3"]["published_best_test"] == 99.44
    assert not by_id["1.3"]["reconstruction"]
    assert by_id["3.1"]["reconstruction"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--list shows"),
        (["9.9"], "no published network 9.9"),
        (["1.3", "--all"], "either --all or some ids"),
        (["1.3", "--seeds", "0"], "--seeds"),
    ],
)
def test_what_can_not_be_replayed_is_one_line(
    nas_search: CommandLine, arguments: list[str], said: str
) -> None:
    done = nas_search("replay", *arguments)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_replay_goes_on_where_it_stopped(nas_search: CommandLine) -> None:
    options = ("--dataset", "mnist-sample", "--epochs", "1", "--workers", "1", "--json")
    first = json.loads(nas_search("replay", "4.2", *options).stdout)
    both = nas_search("replay", "4.2", *options, "--seeds", "2")
    (second,) = json.loads(both.stdout)
    assert second["seeds"] == [0, 1]
    assert second["accuracies"][:1] == first[0]["accuracies"]
    assert "not what was published" in both.stderr
    assert "4.2, seed 1: 9,032 parameters" in both.stderr
    again = nas_search("replay", "4.2", *options, "--seeds", "2")
    assert json.loads(again.stdout) == [second]
    assert "seed" not in again.stderr
    report = nas_search("report", "here")
    assert report.returncode == 0
    assert "published network" in report.stdout
    text = Path(nas_search.folder / "here" / "report.md").read_text()
    assert "4.2" in text
    assert "no search here yet" in nas_search("best").stderr
    assert (
        "nothing is chosen from it" in nas_search("best", "--study", "mnist-sample-replay").stderr
    )
    assert "test accuracies" in (listed := nas_search("trials").stdout)
    assert "4.2" in listed
