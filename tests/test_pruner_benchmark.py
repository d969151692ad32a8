"""Recorded learning curves, and pruners replayed on them."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from benchmarks.curves import Curve, curve_of, read_curves, write_curves
from benchmarks.pruners import CANDIDATES, final_score, measure, replay
from results.record import records
from results.settings import StudySettings
from results.storage import settings_of
from search.options import open_study
from search.pruner import HalvingPruner
from space import SearchSpace
from tests.conftest import CommandLine

ROOT = Path(__file__).parents[1]
EPOCHS = 15
SETTINGS = StudySettings(
    dataset="mnist", space=SearchSpace.for_budget(10_000), epochs=EPOCHS, target=99.4
)


def curve(number: int, accuracy: float, *, params: int = 5_000, seconds: float = 1.0) -> Curve:
    """One that is as accurate after each epoch."""
    return Curve(number, "mnist", 10_000, params, 1_000_000, seconds, (accuracy,) * EPOCHS, {})


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def test_without_pruning_everything_is_trained_and_kept() -> None:
    curves = [curve(number, 90 + number / 10) for number in range(20)]
    row = measure("none", curves, SETTINGS, workers=3, orders=4)
    assert row.spent == (100.0, 0.0)
    assert row.kept == (10, 10)
    assert (row.almost_all, row.best) == (1.0, 1.0)


def test_halving_spends_what_it_says() -> None:
    """The best first: what is stopped and is of the better half in the end is gone on with, from
    where it was stopped."""
    curves = [curve(number, 99 - number / 10) for number in range(12)]
    outcome = replay(HalvingPruner({3: 0.5}, SETTINGS), curves, SETTINGS, workers=1)
    assert outcome.kept == set(range(6))
    assert outcome.epochs == 12 * 3 + 6 * (EPOCHS - 3)


def test_the_worst_first_costs_more_and_keeps_the_better_half() -> None:
    curves = [curve(number, 90 + number / 10) for number in range(12)]
    outcome = replay(HalvingPruner({3: 0.5}, SETTINGS), curves, SETTINGS, workers=1)
    assert outcome.kept > set(range(6, 12))
    assert outcome.epochs == 12 * 3 + len(outcome.kept) * (EPOCHS - 3)


def test_workers_are_asked_as_time_goes_by() -> None:
    """A slow trial reports its third epoch when quick ones have ended theirs."""
    slow = curve(0, 95.0, seconds=100.0)
    quick = [curve(number, 97 - number / 10) for number in range(1, 10)]
    alone = replay(HalvingPruner({3: 0.5}, SETTINGS), [slow, *quick], SETTINGS, workers=1)
    assert alone.kept == {0, 1, 2, 3, 4, 5}
    together = replay(HalvingPruner({3: 0.5}, SETTINGS), [slow, *quick], SETTINGS, workers=2)
    assert together.kept == {1, 2, 3, 4, 5}
    assert together.epochs == 10 * 3 + 5 * (EPOCHS - 3)


def test_the_smallest_of_those_that_hold_are_the_best() -> None:
    smallest = SETTINGS.model_copy(update={"objective": "smallest"})
    curves = [curve(1, 99.5, params=9_000), curve(2, 99.4, params=3_000), curve(3, 99.3)]
    best = max(curves, key=lambda each: final_score(each, smallest))
    assert best.number == 2
    assert max(curves, key=lambda each: final_score(each, SETTINGS)).number == 1


def test_one_that_diverges_ends_there() -> None:
    """It is not kept, and no later epoch is spent on it, also where nothing is pruned."""
    broken = replace(curve(4, 99.5), accuracies=(99.5, 99.5, 0.0, *[0.0] * (EPOCHS - 3)))
    curves = [*(curve(number, 90 + number) for number in range(4)), broken]
    outcome = replay(optuna.pruners.NopPruner(), curves, SETTINGS, workers=1)
    assert outcome.kept == {0, 1, 2, 3}
    assert outcome.epochs == 4 * EPOCHS + 3
    assert broken.epochs == 3


def test_curves_of_other_kinds_are_not_compared(tmp_path: Path) -> None:
    write_curves(tmp_path / "a.csv", [curve(0, 90.0)])
    write_curves(tmp_path / "b.csv", [replace(curve(0, 90.0), images="12,500 of mnist")])
    with pytest.raises(ValueError, match="12,500 of mnist under 10,000 parameters and mnist under"):
        read_curves(tmp_path / "a.csv", tmp_path / "b.csv")


def test_a_target_that_few_hold_is_refused(tmp_path: Path) -> None:
    write_curves(tmp_path / "a.csv", [curve(number, 90 + number / 10) for number in range(50)])
    command = [sys.executable, ROOT / "benchmarks" / "pruners.py", tmp_path / "a.csv"]
    smallest = [*command, "--objective", "smallest", "--orders", "1", "--workers", "1"]
    done = subprocess.run(smallest, capture_output=True, text=True)
    assert done.returncode == 2
    assert "0 curves hold 99.4%" in done.stderr
    few = [*smallest, "--target", "94", "--pruners", "halving"]
    assert "halving" in subprocess.run(few, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("name", CANDIDATES)
def test_every_candidate_can_be_replayed(name: str) -> None:
    curves = [curve(number, 90 + number % 7) for number in range(15)]
    row = measure(name, curves, SETTINGS, workers=2, orders=2)
    assert 0 < row.spent[0] <= 100
    assert 0 <= row.kept[1] <= row.kept[0] <= 10


def test_curves_are_written_and_read(tmp_path: Path, finished: CommandLine) -> None:
    study = open_study("mnist-sample-accuracy-2000", None, finished.folder / "runs")
    settings = settings_of(study)
    curves = [curve_of(each, settings) for each in records(study) if each.state == "complete"]
    assert curves
    path = tmp_path / "curves.csv"
    write_curves(path, curves)
    again = read_curves(path)
    twice = read_curves(path, path)
    assert [each.number for each in twice] == list(range(2 * len(curves)))
    for one, other in zip(curves, again, strict=True):
        assert other.accuracies == pytest.approx(one.accuracies, abs=0.005)
        assert (other.params, other.macs) == (one.params, one.macs)
        assert other.drawn.keys() == one.drawn.keys()
        for name, value in one.drawn.items():
            expected = pytest.approx(value, rel=1e-5) if isinstance(value, float) else value
            assert other.drawn[name] == expected


def test_too_few_curves_are_told(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    write_curves(path, [curve(1, 99.0)])
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "pruners.py", path], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "1 curves are too few" in done.stderr


def test_short_curves_go_on_where_they_were_cut_off(tmp_path: Path) -> None:
    """What a number leads to does not depend on what was recorded before."""

    def record(file: Path, *what: str | Path) -> list[Curve]:
        command = [sys.executable, ROOT / "benchmarks" / "short_curves.py", file]
        given = ("--dataset", "mnist-sample", "--training-images", "300", "--epochs", "2")
        sizes = ("--validation-images", "200")
        subprocess.run([*command, *given, *sizes, *what], check=True, capture_output=True)
        return [replace(each, seconds=0) for each in read_curves(file)]

    first = record(tmp_path / "a.csv", "--curves", "1")
    both = record(tmp_path / "a.csv", "--curves", "2")
    assert record(tmp_path / "b.csv", "--curves", "2") == both != first
    with pytest.raises(subprocess.CalledProcessError) as other:
        record(tmp_path / "a.csv", "--curves", "2", "--max-params", "4000")
    assert b"was recorded with other options" in other.value.stderr
    like = record(tmp_path / "c.csv", "--like", tmp_path / "a.csv")
    assert [each.drawn for each in like] == [each.drawn for each in both]
    assert first[0].params < 10_000
    assert len(first[0].accuracies) == 2
