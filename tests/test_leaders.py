"""The best network of each size: who is trained again, who leads, what is said of it."""

import datetime
import json
import shutil
from pathlib import Path

import optuna
import pytest

from results.alike import alike
from results.charts.chart import Points
from results.charts.leaders import leaders_chart
from results.leaders import COLUMNS, candidates, described, leaders, rows, trained_again
from results.ledger import with_ledger
from results.models import card
from results.record import KNOWN_KEY, Confirmation, Given, TrialRecord, drawn_attributes
from results.replayed import replayed
from results.report.leaders import headline, make_leaders_report, note
from results.report.page import page
from results.settings import SETTINGS_KEY, StudySettings
from results.storage import default_url, load_study, open_storage, settings_of
from search.front import _missing
from space import Configuration, SearchSpace, baseline, footprint
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
    part = [*TRAINED[:5], again(6, LARGE, 2, 99.9)]
    assert [each.validation for each in trained_again(part, {})] == [[99.2], [99.6], [99.5]]
    assert trained_again([again(0, SMALL, 0, 99.0), again(1, LARGE, 1, 99.0)], {}) == []
    assert trained_again([], {}) == []


def test_what_was_a_candidate_before_is_trained_from_all_seeds_too() -> None:
    missing = _missing(TRAINED, candidates({"a": [searched(0, LARGE, 99.0)]}, 1), 3)
    assert {(each.configuration, each.seed) for each in missing} == {
        (each, 2) for each in (SMALL, LARGER, LARGE)
    }
    assert _missing(TRAINED, (), 2) == []


def test_what_diverged_from_a_seed_leads_nothing() -> None:
    broken = again(1, SMALL, 1, 99.9)
    broken = TrialRecord(
        1, "pruned", None, {}, {**broken.attributes, "reason": "diverged in epoch 2"}
    )
    found = trained_again([again(0, SMALL, 0, 99.9), broken, *TRAINED[2:]], {})
    assert [each.diverged for each in found] == [1, 0, 0]
    assert [each.candidate.number for each in leaders(found)] == [2, 4]
    assert leaders(found[:1]) == []


def test_a_card_says_that_a_search_found_it() -> None:
    said = card._origin(SETTINGS, TRAINED[0])
    assert "a trial of a search. Chosen on validation accuracy over several seeds." in said
    assert card._budget(SETTINGS) == ""
    replayed_settings = SETTINGS.model_copy(update={"protocol": "published"})
    assert "a published network" in card._origin(replayed_settings, REPLAYED[0])


def test_what_searches_begin_with_is_marked() -> None:
    trial = searched(0, baseline("1.3"), 99.0)
    trial.attributes[KNOWN_KEY] = "1.3"
    (only,) = candidates({"a": [trial]}, 1)
    assert only.name == "a trial 0 (known: 1.3)"
    search = SETTINGS.model_copy(update={"trials": "drawn"})
    assert "1.3, one of the known networks" in card._origin(search, trial)
    assert "Found by nas-search" in card._origin(search, searched(1, baseline("1.3"), 99.0))


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
    told = described("a front", found, published, SETTINGS)
    assert told["leaders"][1]["test"] == {
        "seeds": 2,
        "mean": 99.46,
        "sd": 0.0141,
        "worst": 99.45,
        "holding": 2,
    }
    assert told["study"] == "a front"
    assert [each["reconstruction"] for each in told["published"]] == [False, True]
    assert told["published"][0]["sustained"] == [99.3, 99.4]


LOW = [confirmation(0, seed, 99.1) for seed in range(2)]


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ({}, "2 networks of the front, not confirmed"),
        ({0: CONFIRMED[0][:1]}, "2 networks of the front, not confirmed"),
        (CONFIRMED, "hold 99.4% on test images from each of 2 seeds; {large} sustain 99.46% on"),
        (
            {0: CONFIRMED[0], 4: CONFIRMED[4][:1]},
            "So far: {small} parameters hold 99.4% on test images on average of 2 seeds, none from "
            "each; {small} sustain 99.42% on",
        ),
        ({**CONFIRMED, 4: LOW, 0: LOW}, "No network holds 99.4% on test images on average"),
    ],
)
def test_the_headline_is_the_smallest_that_holds(
    runs: dict[int, list[Confirmation]], said: str
) -> None:
    sizes = {
        "small": f"{footprint(SMALL.architecture).params:,}",
        "large": f"{footprint(LARGE.architecture).params:,}",
    }
    assert said.format(**sizes) in headline(leaders(trained_again(TRAINED, runs)), SETTINGS)
    assert said.format(**sizes) in note(TRAINED, runs, SETTINGS)


def test_no_published_network_is_drawn_below_its_place() -> None:
    low = {0: LOW, 4: [confirmation(4, seed, 99.0) for seed in range(2)]}
    target = SETTINGS.model_copy(update={"target": 98.5})
    chart = leaders_chart(leaders(trained_again(TRAINED, low)), replayed(REPLAYED), target)
    assert chart.y.limits is not None
    highest = max(value for mark in chart.marks if isinstance(mark, Points) for value in mark.y)
    assert highest == pytest.approx(99.35)
    assert highest < chart.y.limits[1]


def test_the_report_has_every_leader_and_every_candidate() -> None:
    made = make_leaders_report(
        "a front",
        trained_again(TRAINED, CONFIRMED),
        replayed(REPLAYED),
        SETTINGS,
        datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
    )
    assert "among 2 leaders" in made.markdown
    assert "(known: " not in made.markdown
    assert "nas-search export DIR --study a front --trial 4 --seeds" in made.markdown
    assert made.markdown.count("## ") == 4  # the front, two leaders, candidates
    assert "of 2 | 99.20 ± 0.57 | 98.80 | 0 of 2 |" in made.markdown
    assert page(made).count("data:image/svg+xml") == 3
    chart = leaders_chart(leaders(trained_again(TRAINED, CONFIRMED)), (), SETTINGS)
    assert "2 networks" in chart.summary
    nothing = make_leaders_report(
        "a front", [], (), SETTINGS, datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    )
    assert "No candidate is trained from any seed yet." in nothing.markdown
    assert note([], {}, SETTINGS) == "**No candidate is trained from any seed yet.**"
    assert page(nothing)


def test_a_dry_run_says_who_is_tried(finished: CommandLine) -> None:
    options = ("--candidates", "1", "--seeds", "2", "--workers", "1", "--precision", "float32")
    dry = finished("front", "--dry-run", *options)
    assert dry.returncode == 0, dry.stderr
    assert "of study front-mnist-sample-" in dry.stdout
    assert "mnist-sample-accuracy-2000 trial" in dry.stdout
    assert "of 2 epochs to do, about" in dry.stdout
    assert "then 5 trainings of each that leads" in dry.stdout
    assert not (finished.folder / "runs" / "fronts").exists()


def test_a_front_is_trained_once_and_reported_by_whoever_asks(
    finished: CommandLine, nas_search: CommandLine
) -> None:
    shutil.copytree(finished.folder / "runs", nas_search.folder / "runs")
    options = (
        *("--candidates", "1", "--confirm-seeds", "1"),
        *("--workers", "1", "--precision", "float32"),
    )
    done = nas_search("front", "here", *options, "--seeds", "1", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [each["test"]["seeds"] for each in told["leaders"]] == [1] * len(told["leaders"])
    assert "confirm on test images" in done.stderr
    report = nas_search("report", "there")
    headline_of = (nas_search.folder / "here" / "report.md").read_text().splitlines()[2]
    assert f"**{report.stdout.splitlines()[0]}**" == headline_of
    assert "is no search" in nas_search("front", "--study", told["study"]).stderr


def test_only_studies_that_compare_are_read(finished: CommandLine, tmp_path: Path) -> None:
    shutil.copytree(finished.folder / "runs", tmp_path / "runs")
    storage = open_storage(default_url(tmp_path / "runs"), create=False)
    study = load_study(storage, None)
    settings = settings_of(study)
    for name, changed in (
        ("another", {}),
        ("epochs", {"epochs": 3}),
        ("sustain", {"sustain": 1}),
        ("target", {"target": 98.0}),
        ("data", {"dataset": "mnist"}),
        ("given", {"trials": "given"}),
        ("again", {"trials": "given", "protocol": "published", "target": 98.0}),
        ("newer", {"format": 1_000}),
    ):
        other = optuna.create_study(study_name=name, storage=storage)
        stored = {**settings.model_dump(mode="json"), **changed}
        other.set_user_attr(SETTINGS_KEY, stored)
    optuna.create_study(study_name="of others", storage=storage)
    found, left_out = alike(with_ledger(study), settings, "search")
    assert list(found) == [study.study_name, "another"]
    assert len(found[study.study_name]) >= 4
    assert list(alike(with_ledger(study), settings, "replay")[0]) == ["again"]
    assert left_out == [
        "study newer is left out: study newer was written by a newer nas-search: upgrade this one"
    ]
