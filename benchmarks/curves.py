"""Unpruned learning curves of configurations: recorded once, replayed many times.

    nas-search --sampler random --pruner none --no-baselines --finalists 0 --trials 100 \\
        --study curves --out runs
    python benchmarks/curves.py --study curves --out runs benchmarks/curves-mnist.csv

The file has a row a trial: its number in the study, its parameters as drawn, what its network
costs, and its validation accuracy after each epoch, in percent. A training that diverged stays,
with 0 from the epoch on in which it did: what explodes is part of what a search meets.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))  # of this checkout, installed or not

from results.atomic import write_atomically
from results.errors import NasSearchError
from results.record import TrialRecord, records
from results.settings import StudySettings
from results.storage import settings_of
from search.options import open_study

_EPOCH = "epoch"
_DRAWN = "param"


@dataclass(frozen=True)
class Curve:
    """A configuration that was trained as long as it can be.

    `number` among its like; `images` that it was trained on, in words, and `max_params`, the budget
    that it was drawn under: the same for all that are compared. `params` and `macs` of its network;
    `seconds` of one epoch, measured; `accuracies` after each epoch in percent; `drawn`: the
    parameters of the search space.
    """

    number: int
    images: str
    max_params: int
    params: int
    macs: int
    seconds: float
    accuracies: tuple[float, ...]
    drawn: dict[str, Any]

    @property
    def epochs(self) -> int:
        """That were trained: all of them, or up to the one in which it diverged."""
        return len(self.accuracies) - max(self.accuracies.count(0.0) - 1, 0)


def curves_of(study: optuna.Study) -> list[Curve]:
    """Of all trained trials. Raises NasSearchError if one was stopped early."""
    settings = settings_of(study)
    trained = [each for each in records(study) if each.was_trained]
    if stopped := [each for each in trained if each.was_stopped]:
        raise NasSearchError(
            f"{stopped[0].title} was stopped early: record curves with --pruner none"
        )
    return [curve_of(each, settings) for each in trained if each.history]


def curve_of(record: TrialRecord, settings: StudySettings) -> Curve:
    """What a trial of a study with these settings tells."""
    history = record.history
    accuracies = [each.accuracy for each in history]
    seconds = sum(each.train_seconds + each.evaluation_seconds for each in history)
    return Curve(
        number=record.number,
        images=settings.dataset,
        max_params=settings.max_params,
        params=record.params,
        macs=record.macs,
        seconds=seconds / len(history),
        accuracies=to_the_end(accuracies, settings.epochs),
        drawn=record.parameters,
    )


def to_the_end(accuracies: Sequence[float], epochs: int) -> tuple[float, ...]:
    """The accuracies of a training, with 0 for epochs that it did not reach as it diverged."""
    return (*accuracies, *[0.0] * (epochs - len(accuracies)))


def write_curves(path: Path, curves: Iterable[Curve]) -> None:
    rows = [
        {
            "trial": each.number,
            "images": each.images,
            "max_params": each.max_params,
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
    write_atomically(path, pd.DataFrame(rows).to_csv(index=False).encode())


def read_numbered(path: Path) -> list[Curve]:
    """Of one file, with the numbers that they have there; none if there is no file."""
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    return [_curve(row["trial"], row) for row in rows]


def read_curves(*paths: Path) -> list[Curve]:
    """Of several files, which have to be of one kind: images, budget, epochs and parameters.

    Raises ValueError if they are not.

    They are numbered anew: numbers of trials are those of a study.
    """
    frames = [pd.read_csv(path) for path in paths]
    for path, frame in zip(paths, frames, strict=True):
        if list(frame.columns) != list(frames[0].columns):
            raise ValueError(f"{path} has other columns than {paths[0]}: epochs, or parameters")
    rows = [row for frame in frames for row in frame.to_dict("records")]
    curves = [_curve(number, row) for number, row in enumerate(rows)]
    if len(kinds := {(each.images, each.max_params) for each in curves}) > 1:
        said = " and ".join(
            f"{images} under {budget:,} parameters" for images, budget in sorted(kinds)
        )
        raise ValueError(f"curves of {said} say nothing about each other: name one kind")
    return curves


def _curve(number: int, row: dict[Any, Any]) -> Curve:
    return Curve(
        number=number,
        images=row["images"],
        max_params=row["max_params"],
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
    curves = curves_of(study)
    write_curves(options.file, curves)
    sys.stdout.write(f"{len(curves)} curves of {epochs} epochs in {options.file}\n")


if __name__ == "__main__":
    main()
