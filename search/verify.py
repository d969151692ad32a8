"""Measures exported model files on the test images, each loaded by its own runtime.

Run as a module it prints one JSON object; `nas-search export` starts it so in a fresh process.
"""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

import torch
from torch import nn

from results.errors import NasSearchError
from results.models.files import ONNX, PROGRAM, WEIGHTS, load_exported
from search.data import DatasetName, DataSource, Examples

BATCH = 1_000

Model = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Measured:
    """What exported files are, independently of what they say of themselves.

    `accuracies` in percent by file name; parameters and MACs as `thop` counts them.
    """

    accuracies: dict[str, float]
    params: int
    macs: int


def measure(folder: Path, test: Examples) -> Measured:
    """Test accuracy of every form in the folder, and the cost of its network."""
    params, macs = count(load_exported(folder)[0].network)
    accuracies = {
        name: accuracy(load(folder / name), test)
        for name, load in LOADERS.items()
        if (folder / name).exists()
    }
    return Measured(accuracies, params, macs)


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


def _load_weights(path: Path) -> Model:
    return load_exported(path.parent)[0]


def _load_program(path: Path) -> Model:
    return torch.export.load(path).module()


def _load_onnx(path: Path) -> Model:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda pixels: torch.from_numpy(session.run(None, {"pixels": pixels.numpy()})[0])


LOADERS: dict[str, Callable[[Path], Model]] = {
    WEIGHTS: _load_weights,
    PROGRAM: _load_program,
    ONNX: _load_onnx,
}


def _main(folder: str, dataset: str, data_folder: str) -> None:
    name: DatasetName = next(each for each in get_args(DatasetName) if each == dataset)
    source = DataSource(name, Path(data_folder) if data_folder else None)
    sys.stdout.write(json.dumps(asdict(measure(Path(folder), source.load().test))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
