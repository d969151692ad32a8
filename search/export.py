"""Takes a trial of a study to model files that have been loaded again and measured."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from results.checkpoint import load_checkpoint, write_atomically
from results.errors import NasSearchError
from results.models.card import model_card
from results.models.files import CARD, write_model_files
from results.models.pixels import Normalisation, PixelNetwork
from results.record import Confirmation, TrialRecord, confirmations, records
from results.selection import confirmed, most_accurate, smallest_holding
from results.settings import StudySettings
from results.storage import settings_of
from results.versions import versions
from search.data import MEAN, STD, DataSource
from search.verify import accuracy, measure_in_fresh_process

if TYPE_CHECKING:
    import optuna

Choice = Literal["best", "smallest"]

TOLERANCE = 0.02
"""Percent. Other kernels round differently: one or two of 10,000 images may change sides."""


@dataclass(frozen=True)
class Exported:
    """What was written. Accuracies in percent, by file."""

    folder: Path
    trial: int
    params: int
    files: list[str]
    test_accuracy: float
    measured: dict[str, float]


def export(
    study: "optuna.Study",
    choice: Choice | int,
    out: Path,
    folder: Path,
    data: DataSource,
    say: Callable[[str], None],
) -> Exported:
    """Writes model files and card of a trial (by number, or the best, or the smallest) to `folder`.

    The weights are those of the lowest confirmation seed if the trial was confirmed (not chosen by
    what it measured), else those of the search. The folder appears only once everything in it
    was loaded again by a fresh process and measured what the card says. Raises NasSearchError.
    """
    if folder.exists() and not folder.is_dir():
        raise NasSearchError(f"{folder} is a file: name a folder")
    if folder.exists() and any(folder.iterdir()):
        raise NasSearchError(f"{folder} is there already and not empty: name another folder")
    settings = settings_of(study)
    record = _choose(records(study), settings, choice)
    runs = confirmations(study).get(record.number, [])
    weights, weights_from = _weights(record, runs, settings)
    network, configuration, made = load_checkpoint(out / weights)
    if configuration != record.configuration:
        raise NasSearchError(
            f"{out / weights} belongs to another network than trial {record.number}: name the "
            f"folder the search wrote to with --out"
        )
    say("writing the model files and loading them again in a fresh process ...")
    normalisation = Normalisation(MEAN, STD)
    test_accuracy = accuracy(PixelNetwork(network, normalisation), data.load().test)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        files = write_model_files(
            staging,
            network,
            configuration,
            normalisation,
            {
                "dataset": settings.dataset,
                "study": study.study_name,
                "trial": record.number,
                "accuracy": {
                    "test": test_accuracy,
                    "validation_sustained": record.sustained,
                    "target": settings.target,
                    "confirmed": confirmed(runs, settings.target),
                },
                "made_with": {name: made[name] for name in ("device", "precision", "versions")},
                "exported_with": versions(),
            },
        )
        card = model_card(
            title=f"{study.study_name}, trial {record.number}",
            settings=settings,
            record=record,
            runs=runs,
            weights_from=weights_from,
            test_accuracy=test_accuracy,
            files=files,
            made=made,
        )
        write_atomically(staging / CARD, card.encode())
        measured = measure_in_fresh_process(staging, data)
        if (measured.params, measured.macs) != (record.params, record.macs):
            raise NasSearchError(
                f"thop counts {measured.params} parameters and {measured.macs} MACs, not "
                f"{record.params} and {record.macs}: nothing was exported"
            )
        for name, value in measured.accuracies.items():
            if abs(value - test_accuracy) > TOLERANCE:
                raise NasSearchError(
                    f"{name}, loaded again, classifies {value:.2f}% of the test images and not "
                    f"{test_accuracy:.2f}%: nothing was exported"
                )
        staging.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Exported(
        folder,
        record.number,
        record.params,
        [*files, CARD],
        test_accuracy,
        measured.accuracies,
    )


def _choose(
    trials: list[TrialRecord], settings: StudySettings, choice: Choice | int
) -> TrialRecord:
    if choice == "best":
        record = most_accurate(trials)
        if record is None:
            raise NasSearchError("no trial of this study is complete yet: let the search go on")
        return record
    if choice == "smallest":
        record = smallest_holding(trials, settings.target)
        if record is None:
            raise NasSearchError(
                f"no trial holds {settings.target}% yet: let the search go on, or use --best"
            )
        return record
    if choice >= len(trials):
        raise NasSearchError(
            f"there is no trial {choice}, the last is {len(trials) - 1}: nas-search trials lists "
            f"them"
        )
    record = trials[choice]
    if record.state == "duplicate":
        raise NasSearchError(
            f"trial {choice} repeats trial {record.attributes['duplicate_of']}: export that one"
        )
    if record.state != "complete":
        raise NasSearchError(
            f"trial {choice} is {record.state}, and only complete trials keep their weights: "
            f"nas-search trials lists them"
        )
    return record


def _weights(
    record: TrialRecord, runs: list[Confirmation], settings: StudySettings
) -> tuple[str, str]:
    """The weights' file below the output folder, and where they come from in words."""
    if runs:
        first = runs[0]
        return first.weights, (
            f"after {settings.epochs} epochs on all training images from confirmation seed "
            f"{first.seed} (the lowest seed there is, whatever its accuracy)"
        )
    return record.attributes["checkpoint"], (
        f"after {settings.epochs} epochs of the search trial, trained without the validation images"
    )
