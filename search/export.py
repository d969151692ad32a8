"""Takes a trial of a study to model files that have been loaded again and measured."""

import copy
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.atomic import write_atomically
from results.checkpoint import load_checkpoint
from results.errors import NasSearchError
from results.models.c_source import c_header, constant_bytes, static_bytes
from results.models.card import model_card
from results.models.files import (
    CARD,
    FLOAT_FORMS,
    HEADER,
    INTEGER_FORMS,
    Forms,
    add_measurements,
    onnx_is_installed,
    seed_weights,
    write_model_files,
)
from results.models.fold import Folded, fold
from results.models.pixels import Normalisation, PixelNetwork
from results.models.program import lower
from results.models.quantise import CALIBRATION_IMAGES, quantise
from results.models.verified import tolerance
from results.record import Confirmation, TrialRecord, confirmations, records
from results.selection import Choice, choose, confirmed
from results.settings import StudySettings
from results.storage import settings_of
from results.store import Store
from results.versions import versions
from results.whereabouts import KEPT_IN, refuse_if_missing
from search.data import MEAN, STD, DataSource, Examples
from search.verify import Measured, accuracy, measure_in_fresh_process

if TYPE_CHECKING:
    import optuna
    import torch

LOGITS_TOLERANCE = 1e-5
"""Of the largest logit: how far float32 forms may be from the network.

Not absolute: logits of 20 to 25, as trained networks have, are float32 numbers 2e-6 apart, and the
network itself is off by 7e-6 from what it would be in float64 (see results/LOG.md).
"""

INT8_LOSS = 0.1
"""Percent. An int8 form that loses more gets a warning."""

CALIBRATION_SEED = 0


@dataclass(frozen=True)
class Further:
    """Which forms are written besides the plain ones; `seeds`: of all confirmation seeds."""

    seeds: bool = False
    fold: bool = False
    int8: bool = False
    c_header: bool = False


@dataclass(frozen=True)
class Exported:
    """What was written.

    `forms`: for each form its bytes, peak activation memory in bytes, test accuracy in percent
    (None: not measured here) and, if it is a float32 one, the largest difference of a logit, also
    as a part of the largest logit.
    `remarks`: what a person should know of the forms.
    """

    folder: Path
    trial: int
    params: int
    forms: dict[str, dict[str, Any]]
    test_accuracy: float
    remarks: list[str]


def export(
    study: "optuna.Study",
    choice: Choice | int,
    store: Store,
    folder: Path,
    data: DataSource,
    say: Callable[[str], None],
    further: Further = Further(),
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
    if further.int8 and not onnx_is_installed():
        raise NasSearchError(
            "--int8 writes an ONNX file, which needs pip install '.[onnx]' in the folder of "
            "nas-search; --c-header needs nothing"
        )
    settings = settings_of(study)
    record = choose(records(study), settings, choice)
    runs = confirmations(study).get(record.number, [])
    if further.seeds and not runs:
        raise NasSearchError(
            f"{record.title} was not confirmed, so there are no other seeds: leave out --seeds"
        )
    weights, kept_in, weights_from = _weights(record, runs, settings)
    network, made = _network(record, store, weights, kept_in)
    others = runs[1:] if further.seeds else []
    normalisation = Normalisation(MEAN, STD)
    model = PixelNetwork(network, normalisation).eval()
    digits = data.load()
    test_accuracy = _accuracy(model, digits.test)
    if further.int8 or further.c_header:
        say("quantising, calibrated on training images ...")
    configuration = record.configuration
    folded = fold(lower(model, configuration.architecture.input_shape))
    title = f"{study.study_name}, trial {record.number}"
    calibration = calibration_images(digits.all_training)
    seeds = {run.seed: _network(record, store, run.weights, run.kept_in)[0] for run in others}
    of_seeds = {
        seed_weights(seed): _accuracy(PixelNetwork(each, normalisation).eval(), digits.test)
        for seed, each in seeds.items()
    }
    forms, integer_accuracy = _forms(
        folded,
        seeds,
        further,
        calibration,
        digits.test,
        f"{title}: {record.params:,} parameters, test accuracy {test_accuracy:.2f}% in float32",
    )
    say("writing the model files and loading them again in a fresh process ...")
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        write_model_files(
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
                    f"{settings.measured_on}_sustained": record.sustained,
                    "target": settings.target,
                    "confirmed": confirmed(runs, settings.target),
                },
                "made_with": {name: made[name] for name in ("device", "precision", "versions")},
                "exported_with": versions(),
            },
            forms,
        )
        measured = measure_in_fresh_process(staging, data)
        expected = {**dict.fromkeys(FLOAT_FORMS, test_accuracy), **of_seeds}
        if integer_accuracy is not None:
            expected[HEADER] = integer_accuracy
        _refuse_faults(measured, record, expected, len(digits.test))
        described = add_measurements(staging, _by_file(measured))
        remarks = [
            *(_fold_remarks(folded, record.params) if further.fold else []),
            *_int8_remarks(measured, test_accuracy),
        ]
        card = model_card(
            title=title,
            settings=settings,
            record=record,
            runs=runs,
            weights_from=weights_from,
            test_accuracy=test_accuracy,
            forms=described,
            remarks=remarks,
            made=made,
        )
        write_atomically(staging / CARD, card.encode())
        staging.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Exported(folder, record.number, record.params, described, test_accuracy, remarks)


def _network(
    record: TrialRecord, store: Store, weights: str, kept_in: str
) -> "tuple[torch.nn.Module, dict[str, Any]]":
    """The trial's network with these weights, and what they were made with."""
    refuse_if_missing(store, weights, f"the weights of trial {record.number}", kept_in)
    file = store.file(weights)
    network, configuration, made = load_checkpoint(file)
    if configuration != record.configuration:
        raise NasSearchError(
            f"{file} belongs to another network than trial {record.number}: name the folder the "
            f"search wrote to with --out"
        )
    return network, made


def _accuracy(model: PixelNetwork, test: Examples) -> float:
    """Test accuracy of a copy in the format that a CPU is fast at."""
    import torch

    return accuracy(copy.deepcopy(model).to(memory_format=torch.channels_last), test)


def _weights(
    record: TrialRecord, runs: list[Confirmation], settings: StudySettings
) -> tuple[str, str, str]:
    """The weights' name in the store, its place then, and where they come from in words."""
    if runs:
        first = runs[0]
        words = (
            f"after {settings.epochs} epochs on all training images from confirmation seed "
            f"{first.seed} (the lowest seed there is, whatever its accuracy)"
        )
        return first.weights, first.kept_in, words
    images = {
        "search": "without the validation images",
        "published": "on all training images",
    }[settings.protocol]
    words = f"after {settings.epochs} epochs of {record.title}, trained {images}"
    return record.attributes["checkpoint"], record.attributes.get(KEPT_IN, ""), words


def calibration_images(training: Examples) -> "torch.Tensor":
    """Training images that ranges are taken from, uint8 (N, 1, 28, 28), drawn from a fixed seed."""
    import torch

    generator = torch.Generator().manual_seed(CALIBRATION_SEED)
    drawn = torch.randperm(len(training), generator=generator)[:CALIBRATION_IMAGES]
    return training.batch(drawn)[0].unsqueeze(1)


def _forms(
    folded: Folded,
    seeds: "dict[int, torch.nn.Module]",
    further: Further,
    calibration: "torch.Tensor",
    test: Examples,
    title: str,
) -> tuple[Forms, float | None]:
    """The further forms, and the test accuracy of the network in whole numbers if there is one.

    `title` says in the header what network it is.
    """
    program = folded.program if further.fold else None
    if not (further.int8 or further.c_header):
        return Forms(folded=program, seeds=seeds), None
    integers = quantise(folded.program, calibration)
    correct = accuracy(integers, test)
    header = None
    if further.c_header:
        about = [
            f"{title}.",
            f"Quantised to int8 by nas-search {versions()['nas-search']}, calibrated on "
            f"{len(calibration):,} training images.",
            f"Test accuracy of this file: {correct:.2f}% of {len(test):,} images.",
        ]
        header = c_header(integers, about)
    forms = Forms(
        folded=program,
        seeds=seeds,
        integers=integers if further.int8 else None,
        header=header,
        static_bytes=static_bytes(integers),
        constant_bytes=constant_bytes(integers),
    )
    return forms, correct


def _refuse_faults(
    measured: Measured, record: TrialRecord, expected: dict[str, float], images: int
) -> None:
    """Raises NasSearchError if a file is not what was to be written.

    `expected`: accuracy in percent of so many test images, by name of the file.
    """
    if (measured.params, measured.macs) != (record.params, record.macs):
        raise NasSearchError(
            f"thop counts {measured.params} parameters and {measured.macs} MACs, not "
            f"{record.params} and {record.macs}: nothing was exported"
        )
    for name, value in measured.accuracies.items():
        # Whole numbers are the same everywhere.
        most = 0.0 if name == HEADER else tolerance(images)
        if name in expected and abs(value - expected[name]) > most:
            raise NasSearchError(
                f"{name}, loaded again, classifies {value:.2f}% of the test images and not "
                f"{expected[name]:.2f}%: nothing was exported"
            )
    for name in measured.differences:
        difference = measured.relative_difference(name)
        if not difference <= LOGITS_TOLERANCE:
            raise NasSearchError(
                f"a logit of {name}, loaded again, is off by {difference:.1e} of the largest: "
                f"nothing was exported"
            )


def _by_file(measured: Measured) -> dict[str, dict[str, float | None]]:
    return {
        name: {
            "test_accuracy": value,
            **(
                {
                    "logits_difference": measured.differences[name],
                    "relative_logits_difference": measured.relative_difference(name),
                }
                if name in measured.differences
                else {}
            ),
        }
        for name, value in measured.accuracies.items()
    }


def _fold_remarks(folded: Folded, before: int) -> list[str]:
    norms = sum("BatchNorm" in name for name in folded.kept)
    by_reason: dict[str, list[str]] = {}
    for name, why in folded.kept.items():
        by_reason.setdefault(why, []).append(name)
    stays = "".join(f" {why} ({', '.join(names)});" for why, names in by_reason.items())
    return [
        f"Folding: {before:,} parameters before, {folded.program.params:,} after, with the factors "
        f"and shifts that stay. BatchNorms that could not be folded: {norms}."
        + (f" What stays, and why:{stays.rstrip(';')}." if stays else "")
    ]


def _int8_remarks(measured: Measured, test_accuracy: float) -> list[str]:
    return [
        f"WARNING: {name} loses {test_accuracy - value:.2f} points of test accuracy to "
        f"quantisation, more than {INT8_LOSS}."
        for name, value in measured.accuracies.items()
        if name in INTEGER_FORMS and test_accuracy - value > INT8_LOSS + 1e-9
    ]
