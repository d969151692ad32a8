"""What happens inside one trial, with a real study in memory and a few real digits."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from results import artifacts
from results.checkpoint import load_checkpoint
from results.errors import NasSearchError
from results.ledger import with_ledger
from results.record import TrialRecord, confirmations, records
from results.settings import StudySettings
from results.storage import default_url, open_storage
from results.store import open_store
from results.whereabouts import settle
from search import objective as module
from search.confirm import confirm
from search.context import Context
from search.data import DataSource, Digits, Examples
from search.events import Event, Finished
from search.lane import make_lane
from search.objective import SearchObjective, TrialError
from search.plan import Plan, derived_seed
from search.progress import describe
from search.register import Register
from search.strategy import make_pruner, make_sampler
from search.train import EpochMetrics, evaluate
from search.worker import FAILURES_IN_A_ROW, _give_up_if_hopeless
from space import BASELINES, Configuration, SearchSpace
from space.network import build_network
from tests.plans import make_plan
from tests.stores import Failing


@pytest.fixture(scope="module")
def digits() -> Digits:
    """Two hundred for training, one hundred for validation."""
    sample = DataSource("mnist-sample").load()

    def few(examples: Examples, count: int) -> Examples:
        return Examples(
            examples.images, examples.labels, examples.indices[:: len(examples) // count]
        )

    return Digits(
        few(sample.train, 200), few(sample.validation, 100), sample.all_training, sample.test
    )


class Bench:
    """An objective over a study in memory, and what it told."""

    def __init__(self, out: Path, digits: Digits, **changes: Any) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.settings = StudySettings(
            dataset="mnist-sample",
            space=SearchSpace.for_budget(10_000),
            **{"epochs": 2, "sustain": 2, **changes},
        )
        self.plan = make_plan(Plan, study="bench", settings=self.settings, out=out, trials=50)
        beside = out.with_name(f"{out.name}-storage")
        beside.mkdir()
        storage = open_storage(default_url(beside), create=True)
        self.study = with_ledger(optuna.create_study(storage=storage, direction="maximize"))
        self.study.sampler = make_sampler("random", 0, self.settings)
        self.study.pruner = make_pruner("none", self.settings)
        self.study.set_user_attr("folder", "bench")
        self.study.set_user_attr("settings", self.settings.model_dump(mode="json"))
        self.told: list[Event] = []
        self.context = Context(
            plan=self.plan,
            study=self.study,
            register=Register(self.study),
            digits=digits,
            device="cpu",
            lane=make_lane("cpu"),
            precision="float32",
            tell=self.told.append,
        )
        self.objective = SearchObjective(self.context)

    def run(self, params: dict[str, Any] | None = None) -> TrialRecord:
        if params is not None:
            self.study.enqueue_trial(params)
        self.study.optimize(self.objective, n_trials=1, catch=(TrialError,))
        return records(self.study)[-1]


@pytest.fixture
def bench(tmp_path: Path, digits: Digits) -> Bench:
    return Bench(tmp_path, digits)


SMALL = BASELINES["separable-residual-small"]


class Poor:
    """A run whose accuracy never rises."""

    capture_seconds = 0.0
    eager_reason = ""

    def __init__(self, configuration: Configuration, *_: object, **__: object) -> None:
        self.network = build_network(configuration.architecture)

    def __iter__(self) -> Iterator[EpochMetrics]:
        for epoch in range(1, 7):
            yield EpochMetrics(epoch, 2.3, 10.0, 2.3, 11.0, 1.0, 1.0)


def test_complete_trial_keeps_the_weights_that_were_measured(bench: Bench, digits: Digits) -> None:
    record = bench.run(SMALL)
    assert record.state == "complete"
    assert record.value == record.sustained
    path = bench.plan.out / record.attributes["checkpoint"]
    network, configuration, about = load_checkpoint(path)
    assert configuration == record.configuration
    assert about["history"] == record.attributes["history"]
    _, accuracy = evaluate(network, digits.validation)
    assert accuracy == pytest.approx(record.history[-1].accuracy, abs=1e-6)


def test_over_the_budget_is_refused_before_training(bench: Bench) -> None:
    record = bench.run(BASELINES["1.0"])
    assert record.state == "infeasible"
    assert record.params == 13_808
    assert bench.told == []


def test_the_same_configuration_is_not_trained_twice(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bench.run(SMALL)
    monkeypatch.setattr(module, "TrainingRun", None)  # any training would fail
    second = bench.run(SMALL)
    assert second.state == "duplicate"
    assert second.attributes["duplicate_of"] == first.number
    assert (second.value, second.history) == (first.value, first.history)


def test_another_recipe_of_the_same_architecture_is_trained(bench: Bench) -> None:
    bench.run(SMALL)
    assert bench.run({**SMALL, "momentum": 0.85}).state == "complete"


def test_diverging_trial_is_pruned_with_the_reason(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Exploding(Poor):
        def __iter__(self) -> Iterator[EpochMetrics]:
            yield EpochMetrics(1, math.nan, 10.0, math.inf, 0.0, 1.0, 1.0)

    monkeypatch.setattr(module, "TrainingRun", Exploding)
    record = bench.run(SMALL)
    assert record.state == "pruned"
    assert record.attributes["reason"] == "diverged in epoch 1"
    assert record.history[0].train_loss is None
    assert bench.study.trials[-1].intermediate_values == {1: 0.0}
    assert json.loads(json.dumps(record.attributes)) == record.attributes


def test_exception_in_a_trial_is_recorded_and_the_study_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the convolution\nhas a headache")

    with monkeypatch.context() as patched:
        patched.setattr(module, "TrainingRun", broken)
        record = bench.run(SMALL)
    assert record.state == "failed"
    assert record.attributes["error"] == "RuntimeError: the convolution"
    assert [each.state for each in bench.told if isinstance(each, Finished)] == ["failed"]
    assert bench.run(SMALL).state == "complete"


@pytest.mark.parametrize("fault", [ValueError("no ink\nat all"), OSError(28, "No space left")])
def test_a_trained_trial_outlives_its_pictures(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def draw(*_: object, **__: object) -> bytes:
        raise fault

    monkeypatch.setattr(artifacts, "network_png", draw)
    record = bench.run(SMALL)
    assert record.state == "complete"
    assert type(fault).__name__ in record.attributes["pictures_error"]
    load_checkpoint(bench.plan.out / record.attributes["checkpoint"])
    said = [describe(each) for each in bench.told if isinstance(each, Finished)]
    assert "without pictures" in said[0]
    monkeypatch.undo()
    assert "pictures_error" not in bench.run(BASELINES["1.3"]).attributes


def test_full_disk_ends_the_run_and_hands_the_trial_back(bench: Bench) -> None:
    blocked = bench.plan.out / "bench"
    blocked.touch()
    with pytest.raises(OSError, match="bench"):
        bench.run(SMALL)
    assert [each.state for each in records(bench.study)] == ["cut off", "waiting"]
    blocked.unlink()
    bench.study.optimize(bench.objective, n_trials=1)
    again = records(bench.study)[-1]
    assert again.state == "complete"
    assert again.attributes["retry_of"] == 0
    assert again.attributes["seed"] == derived_seed(bench.plan.seed, 0), "as if nothing had been"


def test_a_bucket_that_fails_ends_the_run_and_hands_the_trial_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(bench.study, "bench", "failing://bucket")
    objective = SearchObjective(bench.context)
    monkeypatch.setattr(module, "TrainingRun", Poor)
    bench.study.enqueue_trial(SMALL)
    with monkeypatch.context() as patched:
        patched.setattr(Failing, "fault", RuntimeError("no route to the bucket"))
        with pytest.raises(OSError, match="no route to the bucket"):
            bench.study.optimize(objective, n_trials=1, catch=(TrialError,))
    assert [each.state for each in records(bench.study)] == ["cut off", "waiting"]
    bench.study.optimize(objective, n_trials=1)
    again = records(bench.study)[-1]
    assert again.was_trained
    assert again.attributes["kept_in"] == "failing://bucket"
    assert "pictures_error" not in again.attributes
    load_checkpoint(open_store("failing://bucket").file(again.attributes["checkpoint"]))
    assert list(bench.plan.out.iterdir()) == []


def test_pruned_trial_keeps_its_history(
    tmp_path: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, digits, epochs=6)
    bench.study.pruner = optuna.pruners.ThresholdPruner(lower=60.0, n_warmup_steps=3)

    monkeypatch.setattr(module, "TrainingRun", Poor)
    record = bench.run(SMALL)
    assert record.state == "pruned"
    assert record.attributes["reason"] == "pruned after epoch 3"
    assert record.attributes["epochs_run"] == len(record.history) == 3
    load_checkpoint(bench.plan.out / record.attributes["checkpoint"])


def test_smallest_objective_is_reported_and_valued_by_one_formula(
    tmp_path: Path, digits: Digits
) -> None:
    bench = Bench(tmp_path, digits, objective="smallest", target=5.0)
    record = bench.run(SMALL)
    trial = bench.study.trials[0]
    assert record.value == bench.settings.score(record.sustained, record.params)
    assert list(trial.intermediate_values.values()) == [
        bench.settings.score(epoch.accuracy, record.params) for epoch in record.history
    ]


def test_search_that_finds_nothing_gives_up(bench: Bench) -> None:
    with pytest.raises(NasSearchError, match="failed"):
        _give_up_if_hopeless(bench.plan, ["complete", *["failed"] * FAILURES_IN_A_ROW])
    with pytest.raises(NasSearchError, match="over the parameter budget"):
        _give_up_if_hopeless(bench.plan, ["infeasible"] * bench.plan.most_draws)
    _give_up_if_hopeless(bench.plan, ["infeasible", "failed", "complete"] * 20)


def test_damaged_checkpoint_is_refused(bench: Bench) -> None:
    path = bench.plan.out / str(bench.run(SMALL).attributes["checkpoint"])
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", whole.replace(b'"width', b'"wodth')):
        path.write_bytes(damaged)
        with pytest.raises(NasSearchError, match="damaged"):
            load_checkpoint(path)
    path.unlink()
    with pytest.raises(NasSearchError, match="missing"):
        load_checkpoint(path)


def test_confirmation_trains_on_all_training_images_and_reads_the_test_images(
    tmp_path: Path, digits: Digits
) -> None:
    bench = Bench(tmp_path, digits, epochs=1, sustain=1)
    number = bench.run(SMALL).number

    database = open_storage(default_url(tmp_path), create=True)
    name = bench.study.study_name
    optuna.copy_study(from_study_name=name, from_storage=bench.study._storage, to_storage=database)
    study = with_ledger(optuna.load_study(study_name=name, storage=database))
    confirm(replace(bench.context, study=study), number, 0)
    (run,) = confirmations(study)[number]
    network, _, _ = load_checkpoint(tmp_path / run.weights)
    assert evaluate(network, digits.test)[1] == pytest.approx(run.sustained, abs=1e-4)
    assert len(digits.all_training) == 4_000
    labels = "".join(str(int(label)) for label in digits.test.labels)
    assert len(run.predictions) == len(labels)
    right = sum(ours == theirs for ours, theirs in zip(run.predictions, labels, strict=True))
    assert 100 * right / len(labels) == pytest.approx(run.accuracies[-1], abs=1e-4)
    assert 10 < run.accuracies[-1] < 100
