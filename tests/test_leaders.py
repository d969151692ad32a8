"""The best network of each size: who is trained again, who leads, what is said of it."""

import datetime
import json
from collections.abc import Sequence

import pytest

from results.charts.leaders import leaders_chart
from results.leaders import COLUMNS, candidates, described, leaders, rows, trained_again
from results.record import Confirmation, Given, TrialRecord, drawn_attributes
from results.replayed import replayed
from results.report.leaders import headline, make_leaders_report, note
from results.report.page import page
from results.settings import StudySettings
from space import Configuration, SearchSpace, footprint
from tests.conftest import CommandLine
from tests.studies import DRAWS
from tests.test_replay import RUNS as REPLAYED
from tests.test_replay import run as replayed_run

SETTINGS = StudySettings(
    dataset="mnist", space=SearchSpace.for_budget(10_000).without_dimensions(), trials="given"
)
BY_SIZE = sorted((made for _, made in DRAWS), key=lambda each: footprint(each.architecture).params)
SMALL, LARGER, LARGE = (
    next(each for each in BY_SIZE if footprint(each.architecture).params > least)
    for least in (1_500, 2_500, 5_000)
)


def searched(number: int, configuration: Configuration, sustained: float) -> TrialRecord:
    cost = footprint(configuration.architecture)
    attributes = {**drawn_attributes(configuration, cost), "sustained": sustained}
    return TrialRecord(number, "complete", sustained, {}, attributes)


def again(number: int, configuration: Configuration, seed: int, sustained: float) -> TrialRecord:
    record = replayed_run(number, "1.3", seed, [sustained] * 15)
    given = Given(f"of {number}", seed, configuration)
    cost = footprint(configuration.architecture)
    attributes = {
        **record.attributes,
        **given.attributes(),
        **drawn_attributes(configuration, cost),
    }
    return TrialRecord(number, "complete", sustained, {}, attributes)


def confirmation(trial: int, seed: int, sustained: float) -> Confirmation:
    return Confirmation(
        trial, seed, [sustained] * 15, sustained, 99.0, 1.0, "w", "cpu", "float32", {"torch": "2"}
    )


TRAINED = [
    again(0, SMALL, 0, 99.2),
    again(1, SMALL, 1, 99.3),
    again(2, LARGER, 0, 99.6),
    again(3, LARGER, 1, 98.8),
    again(4, LARGE, 0, 99.5),
    again(5, LARGE, 1, 99.4),
]
CONFIRMED = {
    0: [confirmation(0, 0, 99.38), confirmation(0, 1, 99.46)],
    4: [confirmation(4, 0, 99.45), confirmation(4, 1, 99.47)],
}


def test_candidates_are_the_first_of_all_searches_up_to_each_size() -> None:
    searches = {
        "a": [searched(0, SMALL, 99.0), searched(1, LARGE, 99.3)],
        "b": [searched(0, LARGER, 98.5), searched(1, SMALL, 99.1)],
    }
    (first, second) = candidates(searches, 1)
    # The better of two of the same configuration names it; what a smaller one beats leads nothing.
    assert (first.name, first.configuration) == ("b trial 1", SMALL)
    assert (second.name, second.configuration) == ("a trial 1", LARGE)
    assert {each.seed for each in (first, second)} == {0}
    assert [each.name for each in candidates(searches, 2)] == [
        "b trial 1",
        "b trial 0",
        "a trial 1",
    ]
    pruned = TrialRecord(0, "pruned", None, {}, searched(0, SMALL, 99.9).attributes)
    assert candidates({"a": [pruned]}, 3) == candidates({}, 3) == []


def test_the_highest_mean_leads_not_the_luckiest_run() -> None:
    found = trained_again(TRAINED, CONFIRMED)
    assert [each.number for each in found] == [0, 2, 4]
    small, large = leaders(found)
    sizes = [footprint(each.architecture).params for each in (SMALL, LARGER, LARGE)]
    assert (small.candidate.number, large.candidate.number) == (0, 4)
    assert small.limits[0] - 500 < sizes[0] <= small.limits[0]
    assert small.limits[1] + 500 == large.limits[0] == large.limits[1]
    assert large.limits[0] - 500 < sizes[2] <= large.limits[0]
    assert small.candidate.test == [99.38, 99.46]


def test_of_equals_the_smallest_leads() -> None:
    equal = [again(0, LARGE, 0, 99.0), again(1, SMALL, 0, 99.0)]
    (only,) = leaders(trained_again(equal, {}))
    assert only.candidate.number == 1


def test_all_are_compared_over_the_same_seeds() -> None:
    half = [*TRAINED[:5], again(6, LARGE, 2, 99.9)]
    assert [each.number for each in trained_again(half, {}, 2)] == [0, 2]
    assert [len(each.runs) for each in trained_again(TRAINED, {}, 1)] == [1, 1, 1]
    assert trained_again(TRAINED, {}, 3) == trained_again([], {}) == []


def test_published_networks_stand_among_them() -> None:
    found, published = leaders(trained_again(TRAINED, CONFIRMED)), replayed(REPLAYED)
    shown = [dict(zip(COLUMNS, each, strict=True)) for each in rows(found, published, SETTINGS)]
    sizes = [int(each["parameters"].replace(",", "")) for each in shown]
    assert sizes == sorted(sizes)
    assert len(shown) == 4
    by_name = {each["network"]: each for each in shown}
    assert by_name["published 1.3"]["test"] == "99.35 ± 0.07"
    assert by_name["published 2.2*"]["seeds that hold"] == "0 of 1"
    assert by_name["of 0"]["test"] == "99.42 ± 0.06"
    assert by_name["of 0"]["worst seed"] == "99.38"
    assert by_name["of 0"]["seeds that hold"] == "1 of 2"
    told = described(found, published, SETTINGS)
    assert told["leaders"][1]["test"] == {
        "seeds": 2,
        "mean": 99.46,
        "sd": 0.0141,
        "worst": 99.45,
        "holding": 2,
    }
    assert told["published"][0] == {"id": "1.3", "params": 5_760, "sustained": [99.3, 99.4]}


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ({}, "No network of the front is measured"),
        (CONFIRMED, "hold 99.4% on test images from each of 2 seeds; the highest mean is 99.46%"),
        ({0: CONFIRMED[0]}, "on average, none from every seed"),
        ({0: [confirmation(0, 0, 99.1)]}, "No network holds 99.4%"),
    ],
)
def test_the_headline_is_the_smallest_that_holds(
    runs: dict[int, Sequence[Confirmation]], said: str
) -> None:
    assert said in headline(leaders(trained_again(TRAINED, runs)), SETTINGS)
    assert said in note(TRAINED, runs, SETTINGS)


def test_the_report_has_every_leader_and_every_candidate() -> None:
    made = make_leaders_report(
        "a front",
        trained_again(TRAINED, CONFIRMED),
        replayed(REPLAYED),
        SETTINGS,
        datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
    )
    assert "nas-search export DIR --study a front --trial 4 --seeds" in made.markdown
    assert made.markdown.count("## ") == 4  # the front, two leaders, candidates
    assert "of 2 | 99.20 ± 0.57 | 98.80" in made.markdown
    assert page(made).count("data:image/svg+xml") == 3
    chart = leaders_chart(leaders(trained_again(TRAINED, CONFIRMED)), (), SETTINGS)
    assert "2 networks" in chart.summary
    nothing = make_leaders_report(
        "a front", [], (), SETTINGS, datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    )
    assert "No candidate is trained" in nothing.markdown
    assert page(nothing)


def test_a_dry_run_says_who_is_tried(finished: CommandLine) -> None:
    options = ("--candidates", "1", "--seeds", "2", "--workers", "1", "--precision", "float32")
    dry = finished("front", "--dry-run", *options)
    assert dry.returncode == 0, dry.stderr
    assert "of study front-mnist-sample-" in dry.stdout
    assert "mnist-sample-accuracy-2000 trial" in dry.stdout
    assert "of 2 epochs without what is trained already, at most" in dry.stdout
    assert not (finished.folder / "runs" / "fronts").exists()


def test_a_front_is_trained_once_and_reported_by_whoever_asks(nas_search: CommandLine) -> None:
    search = (
        *("--dataset", "mnist-sample", "--max-params", "1000", "--no-baselines", "--seed", "3"),
        *("--epochs", "1", "--sustain", "1", "--target", "5", "--precision", "float32"),
        *("--trials", "2", "--workers", "1", "--finalists", "0"),
    )
    assert "no studies in" in nas_search("front").stderr
    assert nas_search(*search).returncode == 0
    options = (
        *("--candidates", "1", "--seeds", "1", "--confirm-seeds", "1"),
        *("--workers", "1", "--precision", "float32"),
    )
    done = nas_search("front", "here", *options, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [each["test"]["seeds"] for each in told["leaders"]] == [1] * len(told["leaders"])
    assert "confirm on test images" in done.stderr
    again = nas_search("front", *options)
    assert "seed 0" not in again.stderr
    told_headline = again.stdout.splitlines()[-3]
    report = nas_search("report", "there")
    assert report.stdout.splitlines()[0] == told_headline
    first = str(told["leaders"][0]["trial"])
    study = next((nas_search.folder / "runs" / "fronts").iterdir()).name
    exported = nas_search("export", "model", "--study", study, "--trial", first, "--seeds")
    assert exported.returncode == 0, exported.stderr
    verified = nas_search("verify", "model")
    assert verified.returncode == 0, verified.stderr
    other = nas_search("front", "--study", study)
    assert other.returncode == 1
    assert "is no search" in other.stderr
