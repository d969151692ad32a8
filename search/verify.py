"""Measures exported model files on the test images, each loaded by its own runtime.

Run as a module it prints one JSON object; `nas-search export` starts it so in a fresh process.
"""

import copy
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import get_args

import torch
from torch import nn

from results.errors import NasSearchError
from results.models.c_program import c_compiler
from results.models.files import (
    CARD,
    CONFIG,
    FLOAT_FORMS,
    FORMS,
    HEADER,
    WEIGHTS,
    onnx_is_installed,
    seed_of,
)
from results.models.loading import (
    MOST_BYTES,
    PROGRAM_FORMS,
    Model,
    load_exported,
    open_model,
    read_file,
)
from results.models.promise import read_promise
from results.models.verified import Verified
from search.data import DatasetName, DataSource, Digits, Examples, find

BATCH = 50
"""Images at once: small enough for what they become to stay near the processor."""

COMPARED = 1_000
"""Test images whose logits are compared."""


@dataclass(frozen=True)
class Measured:
    """What exported files are, independently of what they say of themselves.

    `accuracies` in percent by file name; a header is left out where there is no C compiler.
    `differences` of the logits of float32 forms from those of the network: the largest;
    `largest_logit`: of the network, in size. Parameters and MACs as `thop` counts them.
    """

    accuracies: dict[str, float]
    differences: dict[str, float]
    largest_logit: float
    params: int
    macs: int

    def relative_difference(self, name: str) -> float:
        """As a part of the largest logit, or of 1 if that is larger."""
        return self.differences[name] / max(1.0, self.largest_logit)


def measure(folder: Path, test: Examples) -> Measured:
    """Test accuracy of every form in the folder, and the cost of its network."""
    network = load_exported(folder)[0]
    params, macs = count(network.network)
    models = {
        name: open_model(folder / name, trusted=True)
        for name in (*FORMS, *_seeds_in(folder))
        if (folder / name).exists() and (name != HEADER or c_compiler())
    }
    pixels = test.batch(torch.arange(min(COMPARED, len(test))))[0].unsqueeze(1).float() / 255
    with torch.inference_mode():
        expected = network(pixels)
        largest = float(expected.abs().max())
        differences = {
            name: float((model(pixels) - expected).abs().max())
            for name, model in models.items()
            if name in FLOAT_FORMS
        }
    accuracies = {name: accuracy(model, test) for name, model in models.items()}
    return Measured(accuracies, differences, largest, params, macs)


def _seeds_in(folder: Path) -> list[str]:
    seeds = {path.name: seed_of(path.name) for path in folder.iterdir()}
    found = {name: seed for name, seed in seeds.items() if seed is not None}
    return sorted(found, key=found.__getitem__)


def exported_in(folder: Path) -> list[Path]:
    """The folder itself if an export wrote it, or if there is none in it; else those in it."""
    inside = {
        *(path.parent for path in folder.rglob(WEIGHTS)),
        *(path.parent for path in folder.rglob(CONFIG) if (path.parent / CARD).exists()),
    }
    # What an export was writing when it was killed begins with a dot.
    found = sorted(each for each in inside if not each.name.startswith("."))
    return [folder] if folder in found or not found else found


def verify(
    folder: Path, data_dir: Path | None, warn: Callable[[str], None], *, trusted: bool
) -> Verified:
    """Holds the model files of a folder against what its card and config.json promise.

    `trusted`: whether its programs may be run.
    """
    try:
        _refuse_if_empty(folder)
        promise = read_promise(folder)
        _refuse_copies(folder)
        test = _test_images(promise.dataset, data_dir, warn)
        params, _ = count(load_exported(folder)[0].network)
        reasons = {name: _why_not(name, trusted) for name in promise.accuracies}
        accuracies = {
            name: None if why_not else accuracy(open_model(folder / name, trusted=trusted), test)
            for name, why_not in reasons.items()
        }
    except NasSearchError as error:
        return Verified(folder, error=str(error))
    unmeasured = {name: why_not for name, why_not in reasons.items() if why_not}
    return Verified(folder, promise, params, len(test), accuracies, unmeasured)


def _refuse_if_empty(folder: Path) -> None:
    if not folder.is_dir():
        raise NasSearchError("not a folder: name one that nas-search export wrote")
    if not (folder / CONFIG).exists():
        raise NasSearchError(f"no model in it: nas-search export writes {CONFIG} and {WEIGHTS}")


def _refuse_copies(folder: Path) -> None:
    """Raises NasSearchError if the weights of two seeds are the same."""
    names = [WEIGHTS, *_seeds_in(folder)]
    first: dict[str, str] = {}
    for name in names:
        digest = hashlib.sha256(read_file(folder / name, MOST_BYTES)).hexdigest()
        if digest in first:
            raise NasSearchError(f"{name} has the same weights as {first[digest]}")
        first[digest] = name


def _test_images(dataset: str, data_dir: Path | None, warn: Callable[[str], None]) -> Examples:
    for name in get_args(DatasetName):
        if name == dataset:
            return _loaded(find(name, data_dir, warn)).test
    known = ", ".join(get_args(DatasetName))
    raise NasSearchError(f"nothing is known of the dataset {dataset[:99]!r}; there are {known}")


@cache
def _loaded(data: DataSource) -> Digits:
    return data.load()


def _why_not(name: str, trusted: bool) -> str:
    """Why a file can't be measured here; empty if it can."""
    if name.endswith(PROGRAM_FORMS) and not trusted:
        return "a program, which --trust runs, if you know who made it"
    if name.endswith(".onnx") and not onnx_is_installed(to_write=False):
        return "needs pip install '.[onnx]' in the folder of nas-search"
    if name == HEADER and not c_compiler():
        return "needs a C compiler: install gcc or clang"
    return ""


def count(network: nn.Module) -> tuple[int, int]:
    """Trainable parameters and MACs of the convolutions for one 28x28 image, counted by `thop`."""
    import thop

    def nothing(*_: object) -> None:
        pass

    leaves = [each for each in network.modules() if not list(each.children())]
    others = {type(each) for each in leaves if not isinstance(each, nn.Conv2d)}
    image = torch.zeros(1, 1, 28, 28)
    # A copy, because thop leaves counters in the modules it profiles.
    macs, params = thop.profile(
        copy.deepcopy(network), (image,), dict.fromkeys(others, nothing), verbose=False
    )
    return int(params), int(macs)


@torch.inference_mode()
def accuracy(model: Model, examples: Examples) -> float:
    """Accuracy in percent of a model that takes pixels 0..1 (N, 1, 28, 28)."""
    correct = 0
    for positions in torch.split(torch.arange(len(examples)), BATCH):
        images, labels = examples.batch(positions)
        logits = model(images.unsqueeze(1).float() / 255)
        correct += int((logits.argmax(1) == labels).sum())
    return 100 * correct / len(examples)


def measure_in_fresh_process(folder: Path, data: DataSource) -> Measured:
    """The same as `measure`, by another process that has nothing but the files.

    Raises NasSearchError with the last line that process said if it fails.
    """
    arguments = [str(folder), data.name, str(data.folder or "")]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "search.verify", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise NasSearchError(f"the exported files could not be loaded again: {said[-1]}")
    return Measured(**json.loads(done.stdout))


def _main(folder: str, dataset: str, data_folder: str) -> None:
    name: DatasetName = next(each for each in get_args(DatasetName) if each == dataset)
    source = DataSource(name, Path(data_folder) if data_folder else None)
    sys.stdout.write(json.dumps(asdict(measure(Path(folder), source.load().test))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
