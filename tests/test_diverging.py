"""A training that explodes, for real: nothing of it is taken for a result, or is not a number."""

import datetime
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import sqlalchemy

from benchmarks.simulation import SimulatedTraining, context_here, search_here
from results.ledger import database_of, with_ledger
from results.publish import publish
from results.record import Given, confirmations, records
from results.report.of_study import report_of
from results.report.write import write_report
from results.settings import StudySettings
from results.storage import default_url, open_storage, settings_of
from results.table import trials_json
from search import objective
from search.confirm import confirm
from search.data import DataSource, Digits, Examples
from search.objective import GivenObjective
from search.plan import Plan, Precision
from search.study import load, make_or_resume, queue
from search.train import EpochMetrics, TrainingRun
from space import Configuration, Conv, Recipe, SearchSpace, baseline
from tests.plans import make_plan

SOUND = baseline("separable-residual-small")
UNSTABLE = SOUND.architecture.model_copy(
    update={
        "layers": tuple(
            each.model_copy(update={"then": ("relu",)}) if isinstance(each, Conv) else each
            for each in SOUND.architecture.layers
        )
    }
)
"""Without normalisation."""


def exploding(ema_decay: float = 0.0) -> Configuration:
    recipe = Recipe(learning_rate=10, schedule="constant", ema_decay=ema_decay)
    return Configuration(architecture=UNSTABLE, recipe=recipe)


@pytest.fixture(scope="module")
def digits() -> Digits:
    sample = DataSource("mnist-sample").load()

    def few(examples: Examples) -> Examples:
        return replace(examples, indices=examples.indices[::10])

    return Digits(
        few(sample.train), few(sample.validation), few(sample.all_training), few(sample.test)
    )


@pytest.mark.parametrize("ema_decay", [0.0, 0.99])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_training_that_explodes_ends_there_and_knows_nothing(
    digits: Digits, precision: Precision, ema_decay: float
) -> None:
    configuration = exploding(ema_decay)
    *before, last = TrainingRun(
        configuration, digits.train, digits.validation, epochs=9, seed=0, precision=precision
    )
    assert len(before) < 8
    assert all(each.is_finite for each in before)
    assert not math.isfinite(last.loss)
    assert (last.accuracy, last.train_accuracy) == (0.0, 0.0)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> optuna.Study:
    """A replay of a training that explodes, and its confirmation."""
    folder = tmp_path_factory.mktemp("diverging")
    settings = StudySettings(
        dataset="mnist-sample",
        space=SearchSpace.for_budget(10_000),
        epochs=4,
        sustain=2,
        target=5.0,
        trials="given",
    )
    url = default_url(folder)
    plan = make_plan(Plan, storage=url, out=folder, settings=settings)
    made = make_or_resume(open_storage(url, create=True), plan, baselines=False)
    queue(made, [Given("exploding", 0, exploding())])
    loaded = load(open_storage(url, create=False), plan)
    context = context_here(loaded, plan, digits)
    loaded.optimize(GivenObjective(context), n_trials=1)
    confirm(context, 0, 0)
    return with_ledger(made)


def test_the_trial_is_pruned_with_the_reason(study: optuna.Study) -> None:
    (record,) = records(study)
    assert record.diverged
    assert record.sustained == 0.0
    assert record.history[-1].loss is None


def test_the_confirmation_holds_nothing(study: optuna.Study) -> None:
    ((run,),) = confirmations(study).values()
    assert run.sustained == run.accuracies[-1] == 0.0
    assert len(run.accuracies) < settings_of(study).epochs


def _strings(study: optuna.Study) -> Sequence[str]:
    """All JSON in the database."""
    found: list[str] = []
    with database_of(study).engine.connect() as connection:
        for table in ("trial_user_attributes", "study_user_attributes", "trial_system_attributes"):
            query = sqlalchemy.text(f"SELECT value_json FROM {table}")
            found += connection.execute(query).scalars()
        numbers = sqlalchemy.text(
            "SELECT intermediate_value_type FROM trial_intermediate_values "
            "UNION ALL SELECT value_type FROM trial_values"
        )
        assert set(connection.execute(numbers).scalars()) == {"FINITE"}
    return found


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def test_nothing_that_is_not_a_number_is_stored_or_shown(
    study: optuna.Study, tmp_path: Path
) -> None:
    publish(study)
    texts = _strings(study)
    assert len(texts) > 20
    for text in (*texts, trials_json(records(study))):
        json.loads(text, parse_constant=_refuse)
    now = datetime.datetime.now(datetime.UTC)
    settings = settings_of(study)
    made = report_of("test", settings, records(study), {}, None, now)
    for path in write_report(made, tmp_path):
        if path.suffix in (".html", ".md"):
            assert not re.search(r"\b(nan|inf)\b", path.read_text(), re.IGNORECASE)


@pytest.mark.parametrize("loss", [8.1e22, 3.4e38])
def test_a_loss_about_to_explode_can_be_read_again(
    digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: float
) -> None:
    """The accuracies of such an epoch may be there yet."""

    class Huge(SimulatedTraining):
        def __iter__(self) -> Iterator[EpochMetrics]:
            for each in super().__iter__():
                yield replace(each, train_loss=loss, loss=loss)

    monkeypatch.setattr(objective, "TrainingRun", Huge)
    url = default_url(tmp_path)
    plan = make_plan(Plan, storage=url, out=tmp_path, trials=2)
    made = make_or_resume(open_storage(url, create=True), plan, baselines=False)
    search_here(load(open_storage(url, create=False), plan), plan, digits)
    study = with_ledger(made)
    found = records(study)
    assert {each.history[0].loss for each in found if each.was_trained} == {loss}
    publish(study)
    report_of("test", settings_of(study), found, {}, None, datetime.datetime.now(datetime.UTC))
