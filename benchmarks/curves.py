"""Unpruned learning curves of configurations: recorded once, replayed many times.

    nas-search --sampler random --pruner none --no-baselines --finalists 0 --trials 100 \\
        --study curves --out runs
    python benchmarks/curves.py --study curves --out runs benchmarks/curves-mnist.csv

The file has a row a trial that was trained to its end: its parameters as drawn, what it costs, and
its validation accuracy after each epoch, in percent.
"""

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))  # of this checkout, installed or not

from results.record import TrialRecord, records
from results.storage import settings_of
from search.options import open_study

_EPOCH = "epoch"
_DRAWN = "param"


@dataclass(frozen=True)
class Curve:
    """A configuration that was trained to its end.

    `number` of its trial; `params` and `macs` of its network; `seconds` of one epoch, measured;
    `accuracies` after each epoch in percent; `drawn`: the parameters of the search space.
    """

    number: int
    params: int
    macs: int
    seconds: float
    accuracies: tuple[float, ...]
    drawn: dict[str, Any]


def curve_of(record: TrialRecord) -> Curve:
    """What a complete trial tells."""
    history = record.history
    seconds = sum(each.train_seconds + each.evaluation_seconds for each in history)
    return Curve(
        number=record.number,
        params=record.params,
        macs=record.macs,
        seconds=seconds / len(history),
        accuracies=tuple(each.accuracy for each in history),
        drawn=record.parameters,
    )


def write_curves(path: Path, curves: Iterable[Curve]) -> None:
    rows = [
        {
            "trial": each.number,
            "params": each.params,
            "macs": each.macs,
            "epoch_seconds": round(each.seconds, 2),
            **{f"{_EPOCH} {n}": f"{value:.2f}" for n, value in enumerate(each.accuracies, 1)},
            **{
                f"{_DRAWN} {name}": f"{value:.6g}" if isinstance(value, float) else value
                for name, value in each.drawn.items()
            },
        }
        for each in curves
    ]
    pd.DataFrame(rows).to_csv(path, index=False)


def read_curves(path: Path) -> list[Curve]:
    frame = pd.read_csv(path)
    return [_curve(row) for row in frame.to_dict("records")]


def _curve(row: dict[Any, Any]) -> Curve:
    return Curve(
        number=row["trial"],
        params=row["params"],
        macs=row["macs"],
        seconds=row["epoch_seconds"],
        accuracies=tuple(_starting_with(_EPOCH, row).values()),
        drawn=_starting_with(_DRAWN, row),
    )


def _starting_with(word: str, row: dict[Any, Any]) -> dict[str, Any]:
    return {name.split(" ", 1)[1]: row[name] for name in row if name.startswith(f"{word} ")}


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes the learning curves of a study to a file.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--study", default="curves")
    parser.add_argument("--storage")
    parser.add_argument("--out", type=Path, default=Path("runs"))
    options = parser.parse_args()
    study = open_study(options.study, options.storage, options.out)
    epochs = settings_of(study).epochs
    curves = [
        curve_of(each)
        for each in records(study)
        if each.state == "complete" and len(each.history) == epochs
    ]
    write_curves(options.file, curves)
    sys.stdout.write(f"{len(curves)} curves of {epochs} epochs in {options.file}\n")


if __name__ == "__main__":
    main()
