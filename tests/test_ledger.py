"""The storage of a working process: Optuna reads what it keeps, and nothing told is lost."""

import math
import multiprocessing
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy.event
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages._rdb import models
from optuna.trial import TrialState

from results import ledger as module
from results import rows
from results.ledger import Ledger, write_out
from results.storage import default_url, open_storage

SPACE = {
    "width": IntDistribution(4, 32, log=True),
    "head": CategoricalDistribution(("a", "b")),
    "rate": FloatDistribution(0.01, 0.5, log=True),
}
MARKS = {"worker": "me"}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a study in a database of each kind."""
    if request.param == "sqlite":
        url = default_url(tmp_path)
    else:
        url = request.getfixturevalue("postgres_url")
    optuna.create_study(study_name="one", storage=open_storage(url, create=True))
    return url


def with_ledger(url: str) -> optuna.Study:
    database = open_storage(url, create=False)
    return optuna.load_study(study_name="one", storage=Ledger(database, "one", MARKS))


def with_optuna(url: str) -> optuna.Study:
    return optuna.load_study(study_name="one", storage=open_storage(url, create=False))


@pytest.fixture
def mine(url: str) -> optuna.Study:
    return with_ledger(url)


@pytest.fixture
def theirs(url: str) -> optuna.Study:
    return with_optuna(url)


def fill(study: optuna.Study) -> None:
    """A trial of every kind."""
    study.enqueue_trial({"width": 9}, user_attrs={"retry_of": 3})
    study.enqueue_trial({"width": 10})
    for number in range(5):
        trial = study.ask()
        trial.suggest_int("width", 4, 32, log=True)
        trial.suggest_categorical("head", ("a", "b"))
        trial.suggest_float("rate", 0.01, 0.5, log=True)
        trial.set_user_attr("history", [{"epoch": 1, "loss": None}])
        trial.set_constraint("budget", -3 + number)
        for step, value in enumerate((0.1, math.inf, -math.inf, 0.1 + 0.2)):
            trial.report(value, step)
        trial.set_user_attr("history", "rewritten")
        states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        if number < len(states):
            state = states[number]
            study.tell(trial, 0.1 + 0.2 if state == TrialState.COMPLETE else None, state)
    study.enqueue_trial({"width": 11})
    write_out(study)


def told(study: optuna.Study) -> list[dict[str, Any]]:
    """All that is known of the trials; without the marks, which Optuna's own does not set."""
    trials = [dict(vars(trial)) for trial in study.get_trials()]
    for trial in trials:
        trial["_user_attrs"] = {
            key: value for key, value in trial["_user_attrs"].items() if key not in MARKS
        }
    return trials


def test_optuna_reads_what_the_ledger_wrote(mine: optuna.Study, theirs: optuna.Study) -> None:
    assert rows.SCHEMA_VERSION == models.SCHEMA_VERSION
    fill(mine)
    assert len(mine.trials) == 6
    assert told(mine) == told(theirs)
    ends = [trial.datetime_complete for trial in theirs.trials]
    assert all(each is not None for each in ends[:3])


def test_the_ledger_reads_what_optuna_wrote(url: str, theirs: optuna.Study) -> None:
    fill(theirs)
    assert told(with_ledger(url)) == told(theirs)


def test_the_ledger_keeps_a_trial_as_optuna_does(url: str, mine: optuna.Study) -> None:
    def timeless(study: optuna.Study) -> list[dict[str, Any]]:
        hidden = {"datetime_start", "_datetime_start", "datetime_complete", "_trial_id"}
        return [{key: trial[key] for key in trial.keys() - hidden} for trial in told(study)]

    other = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    mine.sampler = optuna.samplers.RandomSampler(seed=0)
    fill(other)
    fill(mine)
    assert timeless(mine) == timeless(other)


def test_what_others_write_is_seen(
    mine: optuna.Study, theirs: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READ_SECONDS", 0.0)
    trial = theirs.ask()
    assert mine.trials[0].state == TrialState.RUNNING
    trial.report(5.0, 1)
    assert mine.trials[0].intermediate_values == {1: 5.0}
    theirs.tell(trial, 1.0)
    assert mine.trials[0].value == 1.0


def test_numbers_have_no_gaps_whoever_asks(mine: optuna.Study, theirs: optuna.Study) -> None:
    asked = [study.ask().number for _ in range(3) for study in (mine, theirs)]
    assert asked == list(range(6))
    assert [trial.number for trial in mine.trials[:5]] == asked[:5]


def test_a_told_trial_is_whole_in_the_database(mine: optuna.Study, theirs: optuna.Study) -> None:
    trial = mine.ask(SPACE)
    trial.report(1.0, 1)
    trial.set_user_attr("sustained", 1.0)
    mine.tell(trial, 2.0)
    (stored,) = theirs.trials
    assert (stored.params, stored.value) == (trial.params, 2.0)
    assert stored.user_attrs == {**MARKS, "sustained": 1.0}
    assert stored.intermediate_values == {1: 1.0}


def test_a_trial_that_another_process_ended_can_not_be_told(
    mine: optuna.Study, theirs: optuna.Study
) -> None:
    trial = mine.ask(SPACE)
    theirs.tell(trial.number, state=TrialState.FAIL)
    with pytest.raises(UpdateFinishedTrialError):
        mine.tell(trial, 1.0)
    assert mine.trials[0].state == theirs.trials[0].state == TrialState.FAIL
    with pytest.raises(UpdateFinishedTrialError):
        trial.report(1.0, 1)


def test_a_running_trial_learns_at_a_report_that_it_was_ended(
    mine: optuna.Study, theirs: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WRITE_SECONDS", 0.0)
    trial = mine.ask(SPACE)
    trial.report(1.0, 1)
    theirs.tell(trial.number, state=TrialState.FAIL)
    with pytest.raises(UpdateFinishedTrialError):
        for step in (2, 3):
            trial.report(1.0, step)
    with pytest.raises(ValueError, match="Cannot tell"):
        mine.tell(trial, 1.0)


def test_every_running_trial_has_a_heartbeat_from_its_beginning(
    url: str, mine: optuna.Study
) -> None:
    mine.enqueue_trial({})
    running = [mine.ask(), mine.ask()]
    database = open_storage(url, create=False)

    def beats() -> list[Any]:
        with database.engine.connect() as connection:
            return list(
                connection.execute(sqlalchemy.select(rows._HEARTBEATS.c.trial_id)).scalars()
            )

    assert beats() == [trial._trial_id for trial in running]
    with database.engine.begin() as connection:
        long_ago = "UPDATE trial_heartbeats SET heartbeat = '2020-01-01 00:00:00'"
        connection.execute(sqlalchemy.text(long_ago))
    assert len(database._get_stale_trial_ids(1)) == 2
    mine._storage.record_heartbeat(running[0]._trial_id)  # type: ignore[attr-defined]
    assert database._get_stale_trial_ids(1) == []


def _draw_all(url: str, start: Any, drawn: Any) -> None:
    study = with_ledger(url)
    start.wait()
    while study.get_trials(states=(TrialState.WAITING,)):
        trial = study.ask()
        drawn.put((trial.number, trial.suggest_int("width", 0, 1_000)))
        study.tell(trial, 0.0)
    drawn.put(None)


def test_no_waiting_trial_is_drawn_twice(url: str, theirs: optuna.Study) -> None:
    count = 40
    for width in range(count):
        theirs.enqueue_trial({"width": width})
    context = multiprocessing.get_context("spawn")
    start, drawn = context.Barrier(3), context.Queue()
    several = [context.Process(target=_draw_all, args=(url, start, drawn)) for _ in range(3)]
    for process in several:
        process.start()
    ends, found = 0, []
    while ends < len(several):
        each = drawn.get(timeout=60)
        ends += each is None
        found += [each] if each else []
    for process in several:
        process.join()
    numbers = [number for number, _ in found]
    assert len(set(numbers)) == len(numbers)
    assert sorted(each for each in found if each[0] < count) == [(n, n) for n in range(count)]


def test_threads_share_a_ledger(mine: optuna.Study, theirs: optuna.Study) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        def objective(trial: optuna.Trial) -> float:
            width = trial.suggest_int("width", 4, 32)
            write_out(mine)
            for step in range(5):
                trial.report(width, step)
                trial.should_prune()
            trial.set_user_attr("double", 2 * width)
            return width

        try:
            mine.optimize(objective, n_trials=10)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(theirs.trials) == 80
    assert told(mine) == told(theirs)
    for trial in theirs.trials:
        assert trial.user_attrs["double"] == 2 * trial.params["width"] == 2 * (trial.value or 0)
        assert len(trial.intermediate_values) == 5


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    counted: Counter[str] = Counter()

    def count(*_: object) -> None:
        counted["statements"] += 1

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", count)
    yield counted
    sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", count)


def test_a_trial_takes_few_statements_however_many_there_are(
    mine: optuna.Study, statements: Counter[str]
) -> None:
    def objective(trial: optuna.Trial) -> float:
        for name in range(50):
            trial.suggest_float(str(name), 0, 1)
        write_out(mine)
        for step in range(15):
            trial.report(1.0, step)
            trial.should_prune()
        for name in range(20):
            trial.set_user_attr(str(name), name)
        return 1.0

    mine.sampler = optuna.samplers.RandomSampler(seed=0)
    mine.optimize(objective, n_trials=1)
    for _ in range(3):
        statements.clear()
        mine.optimize(objective, n_trials=30)
        assert statements["statements"] < 30 * 20
