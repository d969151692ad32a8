"""The search's own cost does not grow with the study, and its time is accounted for."""

import json
import time
from collections import Counter
from typing import Any, get_args

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from results.record import STATE_KEPT, TIMING_KEY, TrialRecord, time_attributes
from results.settings import ObjectiveName, StudySettings
from results.storage import default_url, load_study, open_storage
from search.clock import KINDS, Clock, Lap, TimeAccount
from search.progress import time_line
from search.pruner import HalvingPruner
from search.register import Register
from search.settling import Settling
from space import SearchSpace
from tests.conftest import CommandLine


def ended(value: float) -> Any:
    return create_trial(
        value=value, intermediate_values={1: value}, user_attrs={"sustained": value}
    )


def test_each_trial_is_looked_at_until_it_has_ended() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study, settling = optuna.create_study(), Settling()
    asked = [study.ask() for _ in range(3)]

    def split() -> tuple[list[int], list[int]]:
        gone, open_ = settling.split(study.get_trials(deepcopy=False))
        return [each.number for each in gone], [each.number for each in open_]

    assert split() == ([], [0, 1, 2])
    study.tell(asked[1], 1.0)
    assert split() == ([1], [0, 2])
    study.tell(asked[0], state=TrialState.FAIL)
    study.ask()
    assert split() == ([0], [2, 3])
    assert split() == ([], [2, 3])


def test_the_register_looks_at_new_trials_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    study.add_trials([ended(1.0) for _ in range(500)])
    register = Register(study)
    assert register.counts() == (500, 0, 0)
    looks: Counter[int] = Counter()
    whole = TrialRecord.from_trial

    def counted(trial: optuna.trial.FrozenTrial) -> TrialRecord:
        looks[trial.number] += 1
        return whole(trial)

    monkeypatch.setattr(TrialRecord, "from_trial", counted)
    trial = study.ask()
    assert register.counts() == (500, 1, 0)
    assert register.is_surplus(trial.number, trials=500)
    assert not register.is_surplus(trial.number, trials=501)
    study.tell(trial, 1.0)
    assert register.counts() == (501, 0, 0)
    assert looks.keys() == {500}


@pytest.mark.parametrize("objective", get_args(ObjectiveName))
def test_a_pruner_decides_the_same_however_often_it_was_asked(objective: ObjectiveName) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = SearchSpace.for_budget(10_000)
    settings = StudySettings(dataset="mnist", space=space, objective=objective, target=20)
    often = HalvingPruner({1: 0.5}, settings)
    study = optuna.create_study(direction="maximize")
    promotable = set()
    for number in range(16):
        trial = study.ask()
        trial.set_user_attr("params", 1_000 * (number % 5 + 1))
        trial.report(12 + (7 * number) % 11, 1)
        frozen = study.get_trials(deepcopy=False)[trial.number]
        assert often.prune(study, frozen) == HalvingPruner({1: 0.5}, settings).prune(study, frozen)
        if number % 3 == 1:
            study.tell(trial, 15.0 + number)
        elif number % 3 == 2:
            trial.set_user_attr(STATE_KEPT, True)
            study.tell(trial, state=TrialState.PRUNED)
        for is_last in (False, True):
            once = HalvingPruner({1: 0.5}, settings).promotable(study, is_last=is_last)
            assert often.promotable(study, is_last=is_last) == once
            promotable.add(once)
    assert None in promotable
    assert len(promotable) > 1


def test_a_clock_gives_every_moment_to_one_kind() -> None:
    clock = Clock()
    lap, other = Lap(clock), Lap(clock)
    started = time.perf_counter()
    with clock.measuring("storage"):
        time.sleep(0.01)
        with clock.measuring("training"):
            time.sleep(0.03)
        clock.move(0.01, "training", "evaluation")
        seconds = lap()
    whole = time.perf_counter() - started
    assert seconds["storage"] >= 0.01
    assert seconds["training"] >= 0.02
    assert seconds["evaluation"] == pytest.approx(0.01)
    assert whole - 0.01 < sum(seconds.values()) <= whole
    assert all(each >= 0 for each in seconds.values())
    assert sum(lap().values()) < 0.01
    assert sum(other().values()) >= sum(seconds.values())


def test_no_more_is_moved_than_there_is() -> None:
    clock = Clock()
    clock.move(5.0, "training", "evaluation")
    assert set(clock.read().values()) == {0.0}


def test_an_account_adds_up_to_the_time_of_all_workers() -> None:
    account = TimeAccount(workers=2)
    time.sleep(0.1)
    for _ in range(3):
        account.add(
            {**dict.fromkeys(KINDS, 0.0), "training": 0.02, "storage": 0.01, "waiting": 0.01}
        )
    totals = account.totals(trials=2)
    assert (totals["trials"], totals["draws"], totals["workers"]) == (2, 3, 2)
    assert sum(totals["seconds"].values()) == pytest.approx(2 * totals["wall_seconds"], abs=0.03)
    assert totals["seconds"]["training"] == pytest.approx(0.06)
    said = time_line(totals)
    assert said.startswith("time of the search: 0 s on 2 workers; start, waiting and work cut off ")
    assert "training 3" in said or "training 2" in said


def test_a_trial_has_no_seconds_of_what_it_did_not_do() -> None:
    seconds = {**dict.fromkeys(KINDS, 0.0), "sampling": 0.01234567, "waiting": 3.0}
    assert time_attributes(seconds) == {"sampling_seconds": 0.0123}


def test_a_search_says_and_keeps_where_its_time_went(finished: CommandLine) -> None:
    study = load_study(open_storage(default_url(finished.folder / "runs"), create=False), None)
    (totals,) = [each for key, each in study.user_attrs.items() if key.startswith(TIMING_KEY)]
    assert totals["trials"] == 4
    assert totals["draws"] == len(study.trials)
    whole = totals["wall_seconds"] * totals["workers"]
    assert sum(totals["seconds"].values()) == pytest.approx(whole, rel=0.01)
    assert all(each >= 0 for each in totals["seconds"].values())
    of_trials: Counter[str] = Counter()
    for row in json.loads(finished("trials", "--format", "json").stdout):
        spent = {kind: row[f"{kind}_seconds"] or 0.0 for kind in ("sampling", "storage")}
        assert all(each > 0 for each in spent.values())
        if row["state"] in ("complete", "pruned"):
            spent |= {kind: row[f"{kind}_seconds"] for kind in ("training", "evaluation")}
            epochs = sum(each["train_seconds"] for each in row["history"])
            assert spent["training"] >= epochs - 0.01
        of_trials.update(spent)
    for kind, seconds in of_trials.items():
        assert seconds <= totals["seconds"][kind] + 0.1
