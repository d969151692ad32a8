"""Training of one network: a run yields the metrics of each epoch, who listens decides.

Knows neither Optuna nor the terminal. Everything of a step happens on the device: the batch is
picked by index from the resident pixels, augmented, trained on, averaged; nothing is read back
before the epoch ends.
"""

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from search.augment import Augment, normalise
from search.data import Examples
from search.flat import FlatNetwork
from search.fused import accelerate
from search.memory import keep_freed_memory
from search.plan import Precision, derived_seed
from search.schedule import learning_rates
from space import Configuration, Recipe
from space.dropout import Dropout
from space.network import build_network

EVALUATION_BATCH = 250


@dataclass(frozen=True)
class EpochMetrics:
    """What one epoch gave. Accuracies in percent, losses in nats per image.

    `train_*` are running averages over the epoch, with augmentation and dropout, of the network
    being trained; `accuracy` and `loss` are those of the measured weights (averaged ones, if the
    recipe averages) on the evaluation images, in float32.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    loss: float
    accuracy: float
    train_seconds: float
    evaluation_seconds: float

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.train_loss) and math.isfinite(self.loss)


def best_precision(device: str) -> Precision:
    """bfloat16 where the device multiplies it natively and it was measured to be faster.

    Measured on CPU (AVX-512 BF16, one thread, batch 64 to 256): 1.2 to 1.7 times float32. On GPUs
    networks of this size are bound by launches, not by arithmetic.
    """
    if device == "cpu" and torch.cpu.get_capabilities().get("avx512_bf16"):
        return "bfloat16"
    return "float32"


class TrainingRun:
    """Trains a configuration from one seed; iterate over it once.

    The same arguments give the same numbers on a CPU, whatever else draws random numbers. Each
    epoch is a new permutation of the training images, cut into full batches; the incomplete last
    batch is left out.
    """

    def __init__(
        self,
        configuration: Configuration,
        train: Examples,
        evaluation: Examples,
        *,
        epochs: int,
        seed: int,
        precision: Precision = "float32",
    ) -> None:
        recipe = configuration.recipe
        device = train.images.device
        if device.type == "cpu":
            keep_freed_memory()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(seed, "weights"))
            network = build_network(configuration.architecture, dropout=recipe.dropout)
        self._live = FlatNetwork(network, device)
        self._trained = accelerate(network)
        self._measured = self._live
        if recipe.ema_decay:
            self._measured = FlatNetwork(copy.deepcopy(network), device)
            self._measured.copy_from(self._live)
        self._recipe = recipe
        self._train, self._evaluation = train, evaluation
        self._epochs = epochs
        self._batch_size, self._steps = full_batches(recipe, train)
        self._autocast = precision == "bfloat16"
        self._generator = torch.Generator(device).manual_seed(derived_seed(seed, "batches"))
        self._augment = Augment(recipe.augmentation, self._generator)
        for module in network.modules():
            if isinstance(module, Dropout):
                module.generator = self._generator
        self._learning_rate = torch.zeros((), device=device)
        self._average_fraction = torch.zeros((), device=device)
        self._optimizer = _optimizer(recipe, self._live.weights, self._learning_rate)
        self._loss_sum = torch.zeros((), device=device)
        self._correct = torch.zeros((), device=device)

    @property
    def network(self) -> nn.Module:
        """The network with the weights that are measured, in evaluation mode."""
        return self._measured.network.eval()

    def __iter__(self) -> Iterator[EpochMetrics]:
        device = self._learning_rate.device
        rates = torch.tensor(
            learning_rates(self._recipe, epochs=self._epochs, steps_per_epoch=self._steps),
            device=device,
        )
        steps = torch.arange(1, len(rates) + 1, device=device)
        fractions = 1 - torch.clamp((1 + steps) / (10 + steps), max=self._recipe.ema_decay)
        for epoch in range(1, self._epochs + 1):
            started = time.perf_counter()
            self._trained.train()
            self._loss_sum.zero_()
            self._correct.zero_()
            order = torch.randperm(len(self._train), generator=self._generator, device=device)
            first = (epoch - 1) * self._steps
            for step, positions in enumerate(
                torch.split(order, self._batch_size)[: self._steps], first
            ):
                self._learning_rate.copy_(rates[step])
                self._average_fraction.copy_(fractions[step])
                self._step(positions)
            images = self._steps * self._batch_size
            train_loss = self._loss_sum.item() / images
            train_accuracy = 100 * self._correct.item() / images
            trained = time.perf_counter()
            loss, accuracy = evaluate(self.network, self._evaluation)
            metrics = EpochMetrics(
                epoch=epoch,
                train_loss=train_loss,
                train_accuracy=train_accuracy,
                loss=loss,
                accuracy=accuracy,
                train_seconds=trained - started,
                evaluation_seconds=time.perf_counter() - trained,
            )
            yield metrics
            if not metrics.is_finite:
                return

    def _step(self, positions: torch.Tensor) -> None:
        pixels, labels = self._train.batch(positions)
        images = self._augment(pixels)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self._autocast):
            logits = self._trained(images)
        logits = logits.float()
        loss = F.cross_entropy(logits, labels, label_smoothing=self._recipe.label_smoothing)
        assert self._live.weights.grad is not None
        self._live.weights.grad.zero_()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        if self._measured is not self._live:
            self._measured.move_towards(self._live, self._average_fraction)
        with torch.no_grad():
            self._loss_sum += loss * len(labels)
            self._correct += (logits.argmax(1) == labels).sum()


def full_batches(recipe: Recipe, train: Examples) -> tuple[int, int]:
    """Size and number of the batches of an epoch."""
    size = min(recipe.batch_size, len(train))
    return size, len(train) // size


@torch.inference_mode()
def evaluate(network: nn.Module, examples: Examples) -> tuple[float, float]:
    """Mean cross-entropy (nats) and accuracy (percent) of a network in evaluation mode."""
    network = accelerate(network)
    loss = torch.zeros((), device=examples.images.device)
    correct = torch.zeros((), device=examples.images.device)
    positions = torch.arange(len(examples), device=examples.images.device)
    for chunk in torch.split(positions, EVALUATION_BATCH):
        pixels, labels = examples.batch(chunk)
        logits = network(normalise(pixels))
        loss += F.cross_entropy(logits, labels, reduction="sum")
        correct += (logits.argmax(1) == labels).sum()
    return loss.item() / len(examples), 100 * correct.item() / len(examples)


def _optimizer(
    recipe: Recipe, weights: torch.Tensor, learning_rate: torch.Tensor
) -> torch.optim.Optimizer:
    """Fused, with the learning rate read from a tensor: no host value changes between steps."""
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(
            [weights],
            lr=learning_rate,
            betas=(recipe.momentum, 0.999),
            weight_decay=recipe.weight_decay,
            fused=True,
        )
    return torch.optim.SGD(
        [weights],
        lr=learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov and recipe.momentum > 0,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
