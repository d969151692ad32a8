"""The plain script: net, loaders and loop as a write-up has them, one model at a time, float32.

It owes the engine nothing but the wiring of the layers: torchvision's dataset, PIL images rotated
one by one (nearest pixel, torchvision's default), a `DataLoader`, torch's own dropout, optimiser
and scheduler.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Subset

from benchmarks import digits
from benchmarks.speed import MOST_EPOCHS, Epoch, Speed, time_epochs
from search.data import MEAN, STD, DataSource, Examples
from space import Architecture, Augmentation, Configuration, Recipe
from space.dropout import Dropout
from space.network import build_network

Transform = Callable[[Any], torch.Tensor]
"""From a PIL image to network input (1, 28, 28)."""
Batches = DataLoader[tuple[torch.Tensor, torch.Tensor]]


def train(
    configuration: Configuration,
    source: DataSource,
    training: Examples,
    evaluation: Examples,
    *,
    epochs: int,
    seed: int,
    device: str,
    loader_processes: int = 0,
) -> Iterator[Epoch]:
    """Trains from one seed on the CPU or a GPU; `training` and `evaluation` name the images.

    Of a recipe it knows what the write-ups use: SGD with plain momentum, a step schedule, rotation,
    dropout. Raises ValueError for another one.
    """
    recipe = configuration.recipe
    rotation = recipe.augmentation.rotation_degrees
    if recipe != _of_a_write_up(recipe):
        raise ValueError("the plain script knows only the recipes of the write-ups")
    from torchvision import transforms  # takes as long as torch, and the engine needs it nowhere

    torch.manual_seed(seed)
    to_input = [transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))]
    rotate = transforms.RandomRotation((-rotation, rotation), fill=(0,))
    train_batches = _batches(
        _dataset(source, training, transforms.Compose([rotate, *to_input])),
        recipe.batch_size,
        device,
        loader_processes,
    )
    test_batches = _batches(
        _dataset(source, evaluation, transforms.Compose(to_input)),
        recipe.batch_size,
        device,
        loader_processes,
    )
    model = plain_network(configuration.architecture, recipe.dropout).to(device)
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )
    scheduler = torch.optim.lr_scheduler.StepLR(
        optimizer, step_size=recipe.step_epochs, gamma=recipe.step_factor
    )
    for _ in range(epochs):
        started = time.perf_counter()
        _train_epoch(model, device, train_batches, optimizer)
        scheduler.step()
        trained = time.perf_counter()
        accuracy = _test(model, device, test_batches)
        yield Epoch(
            images=len(training),
            train_seconds=trained - started,
            evaluation_images=len(evaluation),
            evaluation_seconds=time.perf_counter() - trained,
            accuracy=accuracy,
        )


def measure(
    configuration: Configuration,
    source: DataSource,
    device: str,
    *,
    images: int,
    seconds: float,
    loader_processes: int,
) -> Speed:
    """The speed of the script in this process on so many images, timed for so long."""
    training, evaluation = digits.some(source, "cpu", images)
    epochs = train(
        configuration,
        source,
        training,
        evaluation,
        epochs=MOST_EPOCHS,
        seed=0,
        device=device,
        loader_processes=loader_processes,
    )
    return time_epochs(epochs, seconds=seconds, device=device)


def plain_network(architecture: Architecture, dropout: float = 0.0) -> nn.Module:
    """The network of an architecture with torch's own dropout."""
    network = build_network(architecture, dropout=dropout)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, Dropout):
                setattr(module, name, nn.Dropout(child.p))
    return network


def _of_a_write_up(recipe: Recipe) -> Recipe:
    """The part of a recipe that the script follows."""
    return Recipe(
        learning_rate=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=False,
        weight_decay=recipe.weight_decay,
        schedule="step",
        step_epochs=recipe.step_epochs,
        step_factor=recipe.step_factor,
        batch_size=recipe.batch_size,
        dropout=recipe.dropout,
        augmentation=Augmentation(rotation_degrees=recipe.augmentation.rotation_degrees),
    )


def _train_epoch(
    model: nn.Module, device: str, batches: Batches, optimizer: torch.optim.Optimizer
) -> float:
    """Accuracy (percent) while training, which the write-ups show."""
    model.train()
    correct = 0
    for data, target in batches:
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        output = F.log_softmax(model(data), dim=-1)
        loss = F.nll_loss(output, target)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        correct += int(output.argmax(dim=1).eq(target).sum().item())
    return 100 * correct / len(batches.dataset)  # type: ignore[arg-type]


def _test(model: nn.Module, device: str, batches: Batches) -> float:
    model.eval()
    correct = 0
    with torch.no_grad():
        for data, target in batches:
            data, target = data.to(device), target.to(device)
            correct += int(model(data).argmax(dim=1).eq(target).sum().item())
    return 100 * correct / len(batches.dataset)  # type: ignore[arg-type]


def _batches(
    dataset: Dataset[tuple[torch.Tensor, torch.Tensor]],
    batch_size: int,
    device: str,
    processes: int,
) -> Batches:
    return DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=True,
        num_workers=processes,
        # Kept for all epochs, which flatters the script: its short epochs here would pay for
        # starting them more often than 50,000 images do.
        persistent_workers=processes > 0,
        pin_memory=device.startswith("cuda"),
    )


def _dataset(
    source: DataSource, examples: Examples, transform: Transform
) -> Dataset[tuple[torch.Tensor, torch.Tensor]]:
    from torchvision import datasets

    if source.folder is None:
        return _Sample(examples, transform)
    whole = datasets.MNIST(str(source.folder), train=True, transform=transform)
    return Subset(whole, examples.indices.tolist())


class _Sample(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """What torchvision's MNIST does, for digits that are in no file of its layout."""

    def __init__(self, examples: Examples, transform: Transform) -> None:
        self._images = examples.images[examples.indices]
        self._labels = examples.labels[examples.indices]
        self._transform = transform

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:  # type: ignore[override]
        from PIL import Image

        image = Image.fromarray(self._images[index].numpy())
        return self._transform(image), int(self._labels[index])
