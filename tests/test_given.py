"""Trials that come with their configuration and seed."""

from pathlib import Path

import optuna
import pytest

from results.errors import NasSearchError
from results.handback import MOST_ATTEMPTS, end_and_hand_back
from results.ledger import with_ledger
from results.record import Given, TrialRecord, records
from results.settings import StudySettings
from results.storage import default_url, load_study, open_storage
from search.data import DataSource
from search.mark import this_process
from search.plan import Plan
from search.run import run, train_given
from search.study import failures, make_or_resume, queue, untrained
from space import SearchSpace, baseline
from tests.plans import make_plan

SMALL = baseline("separable-residual-small")
OTHER = SMALL.model_copy(update={"recipe": SMALL.recipe.model_copy(update={"nesterov": False})})


def plan(out: Path, **changes: object) -> Plan:
    settings = StudySettings(
        dataset="mnist-sample",
        space=SearchSpace.for_budget(2_000),
        **{"epochs": 1, "sustain": 1, "trials": "given", "protocol": "published", **changes},
    )
    return make_plan(
        Plan,
        study="given",
        storage=default_url(out),
        settings=settings,
        data=DataSource("mnist-sample"),
        out=out,
        workers=2,
        pruner="none",
        precision="float32",
    )


def train(out: Path, wanted: list[Given]) -> optuna.Study:
    return train_given(plan(out), lambda found: untrained(found, wanted))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[TrialRecord]:
    """Of a run that had half of it to do again: two networks, two seeds."""
    out = tmp_path_factory.mktemp("given")
    wanted = [Given(name, seed, each) for seed in (0, 1) for name, each in networks().items()]
    train(out, wanted[:2])
    study = train(out, wanted)
    found = records(study)
    train(out, wanted)
    assert len(load_study(open_storage(default_url(out), create=False), None).trials) == len(found)
    return found


def networks() -> dict[str, object]:
    return {"small": SMALL, "other": OTHER}


def test_what_is_found_missing_later_is_trained_too(tmp_path: Path) -> None:
    def missing(found: list[TrialRecord]) -> list[Given]:
        every = [Given(name, 0, each) for name, each in networks().items()]
        return untrained(found, every[: len(found) + 1])

    found = records(train_given(plan(tmp_path), missing))
    assert [each.attributes["name"] for each in found] == ["small", "other"]
    assert {each.state for each in found} == {"complete"}


def test_each_is_trained_once_whatever_was_there_before(trained: list[TrialRecord]) -> None:
    assert [(each.attributes["name"], each.attributes["seed"]) for each in trained] == [
        ("small", 0),
        ("other", 0),
        ("small", 1),
        ("other", 1),
    ]
    assert {each.state for each in trained} == {"complete"}
    assert [each.configuration for each in trained] == [SMALL, OTHER, SMALL, OTHER]


def test_the_published_protocol_measures_on_the_test_images(trained: list[TrialRecord]) -> None:
    from search.train import TrainingRun

    digits = DataSource("mnist-sample").load()
    run = TrainingRun(SMALL, digits.all_training, digits.test, epochs=1, seed=1)
    (metrics,) = run
    assert trained[2].sustained == metrics.accuracy
    assert trained[2].sustained != trained[0].sustained


def test_what_was_cut_off_keeps_its_configuration(tmp_path: Path) -> None:
    storage = open_storage(default_url(tmp_path), create=True)
    study = with_ledger(optuna.create_study(study_name="given", storage=storage))
    study.set_user_attr("settings", plan(tmp_path).settings.model_dump(mode="json"))
    queue(study, [Given("small", 7, SMALL)])
    end_and_hand_back(study, study.ask().number, blamed=True)
    again = study.trials[1]
    assert Given.of(again.user_attrs) == Given("small", 7, SMALL)
    assert again.user_attrs["attempt"] == 2
    queue(study, [Given("small", 7, SMALL)])
    assert len(study.trials) == 2


def test_a_search_does_not_go_on_in_a_study_of_given_trials(tmp_path: Path) -> None:
    train(tmp_path, [])
    with pytest.raises(NasSearchError, match="made by another command"):
        run(plan(tmp_path, trials="drawn", protocol="search"), baselines=False)


def test_what_a_command_that_is_gone_left_is_not_trained_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_or_resume(
        open_storage(default_url(tmp_path), create=True), plan(tmp_path), baselines=False
    )
    queue(study, [Given("other", 0, OTHER)])
    host, pid, _ = this_process().rsplit("/", 2)
    with monkeypatch.context() as patched:
        patched.setattr("search.study.this_process", lambda: f"{host}/{pid}/1.00")
        queue(study, [Given("other", seed, OTHER) for seed in (1, 2)])
        end_and_hand_back(study, study.ask().number, blamed=False)
    queue(study, [Given("small", 0, SMALL), Given("other", 2, OTHER)])
    found = [(each.title, each.state) for each in records(study)]
    assert found == [
        ("other, seed 0", "cut off"),
        ("other, seed 1", "cut off"),
        ("other, seed 2", "waiting"),
        ("other, seed 0", "waiting"),  # handed back; who queued it lives
        ("small, seed 0", "waiting"),
    ]


def test_what_keeps_ending_its_process_has_failed(tmp_path: Path) -> None:
    study = make_or_resume(
        open_storage(default_url(tmp_path), create=True), plan(tmp_path), baselines=False
    )
    wanted = [Given("small", 0, SMALL), Given("other", 0, OTHER)]
    queue(study, wanted[:1])
    for attempt in range(MOST_ATTEMPTS):
        assert not failures(records(study), wanted), attempt
        end_and_hand_back(study, study.ask().number, blamed=True)
    (failed,) = failures(records(study), wanted)
    assert failed.title == "small, seed 0"
    assert not failures(records(study), wanted[1:])
