"""Measures exported model files on the test images, each loaded by its own runtime.

Run as a module it prints one JSON object, file name to accuracy in percent; `nas-search export`
starts it so in a fresh process.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import torch

from results.errors import NasSearchError
from results.export import ONNX, PROGRAM, WEIGHTS, load_exported
from search.data import DatasetName, DataSource, Examples

BATCH = 1_000

Model = Callable[[torch.Tensor], torch.Tensor]


def measure(folder: Path, test: Examples) -> dict[str, float]:
    """Test accuracy in percent of every form in the folder."""
    return {
        name: accuracy(load(folder / name), test)
        for name, load in LOADERS.items()
        if (folder / name).exists()
    }


@torch.inference_mode()
def accuracy(model: Model, examples: Examples) -> float:
    """Accuracy in percent of a model that takes pixels 0..1 (N, 1, 28, 28)."""
    correct = 0
    for positions in torch.arange(len(examples)).split(BATCH):
        images, labels = examples.batch(positions)
        logits = model(images.unsqueeze(1).float() / 255)
        correct += int((logits.argmax(1) == labels).sum())
    return 100 * correct / len(examples)


def measure_in_fresh_process(folder: Path, data: DataSource) -> dict[str, float]:
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
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


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
    sys.stdout.write(json.dumps(measure(Path(folder), source.load().test)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
