"""The benchmark measures what its README says."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import accuracy, digits, plain
from benchmarks.ceiling import Ceilings, Cost, training_cost
from benchmarks.comparison import Speeds
from benchmarks.networks import BUDGET, configurations, median_draw
from benchmarks.speed import Epoch, Speed, time_epochs
from search.data import DataSource
from space import Augmentation, Recipe, baseline, footprint
from space.dropout import Dropout
from tests.conftest import environment

ROOT = Path(__file__).parents[1]
SAMPLE = DataSource("mnist-sample")


def run(folder: Path, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "throughput.py", "--quick", "--json", *arguments],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return {**found, "progress": done.stderr}


def test_quick_run_prints_one_object(tmp_path: Path) -> None:
    arguments = (
        *("--dataset", "mnist-sample", "--network", "1.3", "--images", "256", "--seconds", "0"),
        *("--device", "cpu", "--workers", "2", "--accuracy-images", "128"),
        *("--accuracy-log", "log.jsonl"),
    )
    found = run(tmp_path, *arguments)
    assert found["dataset"] == "mnist-sample"
    assert set(found["ceilings"]["flops"]) == {"float32", "bfloat16"}
    (result,) = found["results"]
    assert (result["architecture"], result["params"]) == ("1.3", 5_760)
    assert result["plain_images_per_second"] > 0
    assert result["ratio"] == pytest.approx(
        result["engine_images_per_second"] / result["plain_images_per_second"]
    )
    assert result["ratio"] == min(result["ratios"]) and len(result["ratios"]) == 2
    assert result["engine_trainings_at_once"] == 2
    assert 0 < result["share_of_flops"] <= result["share_of_ceiling"] < 1
    assert 0 < result["share_of_bandwidth"] <= result["share_of_ceiling"]
    assert 0 < result["plain_share_of_ceiling"] < 1
    for side in ("plain", "engine"):
        assert result[f"{side}_seconds_per_trial"] > 15 * 50_000 / 1e9
        assert result[f"{side}_peak_bytes"] > 1 << 26
        assert 0 <= result[f"{side}_accuracy"] <= 100
    assert result["engine_trials_per_minute"] == pytest.approx(
        2 * 60 / result["engine_seconds_per_trial"]
    )
    kept = (tmp_path / "log.jsonl").read_text()
    assert len(kept.splitlines()) == 2 and "seed 0" in found["progress"]


def test_plain_script_learns() -> None:
    configuration = configurations()["1.3"]
    training, evaluation = digits.some(SAMPLE, "cpu", 2_500)
    assert (len(training), len(evaluation)) == (2_500, 500)
    epochs = plain.train(
        configuration, SAMPLE, training, evaluation, epochs=2, seed=0, device="cpu"
    )
    assert [epoch.accuracy for epoch in epochs][-1] > 50


def test_plain_script_refuses_a_recipe_it_does_not_follow() -> None:
    training, evaluation = digits.some(SAMPLE, "cpu", 64)
    known = configurations()["1.3"]
    for change in ({"ema_decay": 0.9}, {"augmentation": Augmentation(shift_pixels=1)}):
        other = known.model_copy(
            update={"recipe": Recipe(**{**known.recipe.model_dump(), **change})}
        )
        with pytest.raises(ValueError, match="write-ups"):
            next(plain.train(other, SAMPLE, training, evaluation, epochs=1, seed=0, device="cpu"))


def test_plain_network_owes_nothing_to_the_engine() -> None:
    configuration = configurations()["1.0"]
    kinds = [type(module) for module in plain.plain_network(configuration.architecture).modules()]
    assert Dropout not in kinds and kinds.count(nn.Dropout) == 6


@pytest.mark.parametrize("name", ["1.0", "1.3", "plain-wide"])
def test_operations_are_those_torch_counts_in_a_step(name: str) -> None:
    """Networks without depthwise convolutions: torch counts their backward pass as if full."""
    configuration = baseline(name)
    network = plain.plain_network(configuration.architecture)
    images, labels = torch.zeros(3, 1, 28, 28), torch.zeros(3, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        F.cross_entropy(network(images), labels).backward()  # type: ignore[no-untyped-call]
    assert training_cost(configuration, "float32").flops == counter.get_total_flops() / 3


def test_kept_accuracies_are_of_the_same_training_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def training(side: accuracy.Side, seed: int = 0) -> accuracy.Training:
        return accuracy.Training(
            side, configurations()["1.3"], SAMPLE, "cpu", "float32", images=64, epochs=1, seed=seed
        )

    log = accuracy.Log(tmp_path / "log.jsonl")
    for side in accuracy.SIDES:
        log.add(training(side), 98.5)
    read = accuracy.Log(tmp_path / "log.jsonl")
    assert read[training("plain")] == read[training("engine")] == 98.5
    assert training("plain", seed=1) not in read
    monkeypatch.setattr(accuracy, "versions", lambda: {"commit": "another"})
    assert training("plain") in read
    assert training("engine") not in read


def test_share_of_the_roofline() -> None:
    ceilings = Ceilings({"float32": 100.0, "bfloat16": 200.0}, bandwidth=50.0)
    assert Cost(flops=2, bytes=1).shares(10, ceilings, "float32") == (0.2, 0.2)
    assert Cost(flops=2, bytes=1).shares(10, ceilings, "bfloat16") == (0.1, 0.2)


def test_median_network_is_feasible_and_always_the_same() -> None:
    drawn = median_draw()
    assert drawn == median_draw()
    assert footprint(drawn.architecture).params < BUDGET
    median = configurations()["median"]
    assert (median.architecture, median.recipe) == (
        drawn.architecture,
        configurations()["1.3"].recipe,
    )


def test_first_epoch_is_not_timed() -> None:
    epochs = iter([Epoch(100, 50.0, 20, 50.0, 0.0), Epoch(100, 0.5, 20, 0.1, 0.0)])
    waited: list[str] = []
    speed = time_epochs(epochs, seconds=0, device="cpu", start=lambda: waited.append("once"))
    assert (speed.train, speed.evaluation, waited) == (200, 200, ["once"])
    both = Speed.together([speed, speed])
    assert (both.train, both.peak_bytes) == (400, speed.peak_bytes)


@pytest.mark.parametrize(("ratios", "median"), [([3, 1, 2], 2), ([3, 1], 1), ([5], 5)])
def test_reported_pair_has_the_median_ratio(ratios: list[int], median: int) -> None:
    pairs = [(Speed(1, 1, 1), Speed(ratio, 1, 1)) for ratio in ratios]
    assert Speeds(pairs, 0, 1, {}).median_pair[1].train == median


def test_many_workers_are_counted_from_when_all_have_begun(tmp_path: Path) -> None:
    """Three, of which two share a process."""
    program = ROOT / "benchmarks" / "many_workers.py"
    options = ("--at", "3", "--workers", "3", "--per-process", "2", "--seconds", "3")
    done = subprocess.run(
        [sys.executable, program, *options, "--epoch-seconds", "0.02"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "leaked" not in done.stderr
    head, row = (
        [cell.strip() for cell in line.strip("| ").split("|")]
        for line in done.stdout.splitlines()
        if line.startswith(("| storage", "| SQLite"))
    )
    found = dict(zip(head, row, strict=True))
    assert (found["storage"], found["trials before"], found["workers"]) == ("SQLite", "3", "3")
    assert float(found["trials/s"]) > 0
    assert 0 < float(found["training, %"]) < 100
    assert float(found["opening, s"]) > 0
