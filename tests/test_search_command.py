"""The search as a person runs it: counts, resuming, determinism, refusals, interruptions."""

import json
import os
import signal
import subprocess
import time
from io import StringIO
from pathlib import Path

import optuna
import pandas as pd
import pytest

from results.errors import NasSearchError
from results.record import TrialRecord, records
from results.storage import default_url, load_study, open_storage
from tests.conftest import SMALL_SEARCH, CommandLine

NO_CONFIRMATION = ("--finalists", "0")
ONE_WORKER = (*SMALL_SEARCH, *NO_CONFIRMATION, "--workers", "1")


def trials_of(line: CommandLine) -> list[TrialRecord]:
    return records(load_study(open_storage(default_url(line.folder / "runs"), create=False), None))


def trained(trials: list[TrialRecord]) -> list[TrialRecord]:
    return [trial for trial in trials if trial.was_trained]


def outcome(line: CommandLine) -> list[tuple[object, ...]]:
    """What must be the same in two runs: everything but times."""
    return [
        (
            trial.number,
            trial.state,
            trial.value,
            tuple(sorted(trial.parameters.items())),
            tuple(
                (epoch.train_loss, epoch.train_accuracy, epoch.accuracy) for epoch in trial.history
            ),
        )
        for trial in trials_of(line)
    ]


def wait_for_a_running_epoch(line: CommandLine, process: subprocess.Popen[str]) -> None:
    """Until a trial is in the midst of training."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        if _is_training(line):
            return
        time.sleep(0.05)
    raise AssertionError("no trial began to train")


def _is_training(line: CommandLine) -> bool:
    try:
        study = load_study(open_storage(default_url(line.folder / "runs"), create=False), None)
    except NasSearchError:  # not made yet
        return False
    running = study.get_trials(states=(optuna.trial.TrialState.RUNNING,))
    return any(trial.intermediate_values for trial in running)


LONG_SEARCH = tuple("8" if option == "2" else option for option in SMALL_SEARCH)


def test_search_trains_exactly_the_trials_asked_for(finished: CommandLine) -> None:
    trials = trials_of(finished)
    assert len(trained(trials)) == 4
    assert all(trial.params < 2_000 for trial in trained(trials))
    assert not any(trial.state in ("running", "failed", "cut off") for trial in trials)


def test_every_trained_trial_has_its_attributes(finished: CommandLine) -> None:
    wanted = {
        *("params", "macs", "receptive_field_pixels", "sustained", "best_accuracy"),
        *("last_accuracy", "train_accuracy", "gap", "epochs_run", "seconds"),
        *("images_per_second", "architecture_id", "recipe_id", "dataset", "history", "seed"),
        *("architecture", "recipe", "device", "precision", "versions"),
    }
    for trial in trained(trials_of(finished)):
        assert wanted <= trial.attributes.keys()
        assert trial.attributes["dataset"] == "mnist-sample"
        assert len(trial.history) == trial.attributes["epochs_run"]
        assert trial.sustained == min(each.accuracy for each in trial.history)
        if trial.state == "complete":
            assert (finished.folder / "runs" / trial.attributes["checkpoint"]).is_file()


def test_infeasible_draws_are_never_trained(finished: CommandLine) -> None:
    infeasible = [trial for trial in trials_of(finished) if trial.state == "infeasible"]
    assert infeasible
    for trial in infeasible:
        assert trial.params >= 2_000
        assert "history" not in trial.attributes


def test_same_seed_same_trials_also_when_resumed(tmp_path: Path) -> None:
    lines = [CommandLine(tmp_path / name) for name in ("whole", "parts")]
    for line in lines:
        line.folder.mkdir()
    assert lines[0](*ONE_WORKER, "--trials", "3").returncode == 0
    for count in ("1", "3"):
        assert lines[1](*ONE_WORKER, "--trials", count).returncode == 0
    assert outcome(lines[0]) == outcome(lines[1])


def test_another_seed_gives_other_trials(finished: CommandLine, nas_search: CommandLine) -> None:
    done = nas_search(*ONE_WORKER, "--trials", "1", "--seed", "4", "--sampler", "tpe")
    assert done.returncode == 0, done.stderr
    assert trials_of(nas_search)[0].parameters != trials_of(finished)[0].parameters


def test_running_again_trains_nothing_more(finished: CommandLine) -> None:
    before = len(trials_of(finished))
    done = finished(*ONE_WORKER, "--trials", "4")
    assert done.returncode == 0, done.stderr
    assert len(trials_of(finished)) == before


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--max-params", "3000", "--max-params 2000, not 3000"),
        ("--epochs", "3", "--epochs 2, not 3"),
        ("--objective", "smallest", "--objective accuracy, not smallest"),
        ("--target", "30", "--target 5.0, not 30.0"),
    ],
)
def test_resuming_with_other_settings_is_refused(
    finished: CommandLine, option: str, value: str, said: str
) -> None:
    done = finished(*ONE_WORKER, "--study", "mnist-sample-accuracy-2000", option, value)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_kill_9_of_everything_loses_nothing(nas_search: CommandLine) -> None:
    process = nas_search.start(*LONG_SEARCH, *NO_CONFIRMATION, "--workers", "2", "--trials", "50")
    wait_for_a_running_epoch(nas_search, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    cut_off = [trial for trial in trials_of(nas_search) if trial.state == "running"]
    kept = [trial for trial in trials_of(nas_search) if trial.was_trained]
    assert cut_off
    goal = len(kept) + len(cut_off)
    done = nas_search(
        *LONG_SEARCH, *NO_CONFIRMATION, "--workers", "2", "--trials", str(goal), timeout=240
    )
    assert done.returncode == 0, done.stderr
    trials = trials_of(nas_search)
    assert len(trained(trials)) == goal
    assert not any(trial.state == "running" for trial in trials)
    for trial in cut_off:
        again = [each for each in trials if each.attributes.get("retry_of") == trial.number]
        assert [each.parameters for each in again] == [trial.parameters]
        assert trials[trial.number].state == "cut off"
    for trial in kept:
        assert trials[trial.number] == trial


def words_at_the_end(process: subprocess.Popen[str]) -> str:
    """What it said on stderr; if it does not end, where each of its threads was."""
    try:
        return process.communicate(timeout=60)[1]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        raise AssertionError(process.communicate(timeout=60)[1]) from None


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_interrupted_search_keeps_everything_and_says_how_to_go_on(
    nas_search: CommandLine, name: str, code: int
) -> None:
    process = nas_search.start(*LONG_SEARCH, *NO_CONFIRMATION, "--workers", "2", "--trials", "50")
    wait_for_a_running_epoch(nas_search, process)
    started = time.monotonic()
    os.killpg(process.pid, signal.Signals[name])
    said = words_at_the_end(process)
    assert time.monotonic() - started < 10
    assert process.returncode == code
    assert "the same command goes on" in said
    assert "Traceback" not in said
    trials = trials_of(nas_search)
    assert not any(trial.state == "running" for trial in trials)
    assert any(trial.state == "waiting" for trial in trials)


def test_two_searches_of_one_study_at_once_share_its_trials(nas_search: CommandLine) -> None:
    arguments = (*SMALL_SEARCH, *NO_CONFIRMATION, "--workers", "1", "--trials", "4")
    both = [nas_search.start(*arguments) for _ in range(2)]
    for process in both:
        _, said = process.communicate(timeout=240)
        assert process.returncode == 0, said
    assert len(trained(trials_of(nas_search))) == 4


def test_default_dataset_falls_back_to_the_sample_and_says_so(nas_search: CommandLine) -> None:
    arguments = [each for each in ONE_WORKER if each not in ("--dataset", "mnist-sample")]
    done = nas_search(*arguments, "--trials", "1", "--study", "mine", timeout=240)
    if "MNIST NOT FOUND" not in done.stderr:
        pytest.skip("MNIST can be downloaded here")
    assert done.returncode == 0, done.stderr
    best = json.loads(nas_search("best", "--json").stdout)
    assert best["study"] == "mine"
    assert best["dataset"] == "mnist-sample"


def test_trials_as_a_table_for_programs(finished: CommandLine) -> None:
    frame = pd.read_csv(StringIO(finished("trials", "--format", "csv").stdout))
    rows = json.loads(finished("trials", "--format", "json").stdout)
    assert len(frame) == len(rows) == len(trials_of(finished))
    assert {"trial", "state", "value", "params", "param_head"} <= set(frame.columns)
    assert set(frame.columns) == set(rows[0])
