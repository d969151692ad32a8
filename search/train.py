"""Training of one network: a run yields the metrics of each epoch, who listens decides.

Knows neither Optuna nor the terminal. Everything of a step happens on the device and is read from
tensors there: the images by index from the resident pixels, their random maps, the learning rate.
So a step is the same work every time, and many of them can be launched as one (see
`search.lane`). What is random for each image is drawn on the device once per epoch, what is random
for each activation in the step; nothing is read back before the epoch ends.
"""

import copy
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from search.augment import augment, basis, normalise, random_maps
from search.data import Examples
from search.flat import FlatNetwork
from search.fused import accelerate
from search.lane import CaptureError, Lane, Repeated, make_lane
from search.optimizer import make_optimizer
from search.plan import Precision, derived_seed
from search.recalibrate import recalibrate
from search.schedule import learning_rates
from search.state import TrainingState
from space import Configuration, Recipe
from space.dropout import Dropout
from space.network import Network, build_network

EVALUATION_BATCH = {"cpu": 250, "cuda": 1_000}
"""Images at once, by kind of device: on a CPU as many as its caches hold."""

STEPS_PER_LAUNCH = 16
"""More make an epoch fewer launches, and the capture of a trial's graphs longer."""

_OPTIMIZER, _GENERATOR = "optimizer", "generator"

_BUILDING = threading.Lock()
"""Networks are initialised from torch's global random state."""


@dataclass(frozen=True)
class EpochMetrics:
    """What one epoch gave. Accuracies in percent, losses in nats per image.

    `train_*` are running averages over the epoch, with augmentation and dropout, of the network
    being trained; `accuracy` and `loss` are those of the measured weights (averaged ones, if the
    recipe averages) on the evaluation images, in float32. Where a loss is not finite, which ends
    the training, `accuracy` is 0.
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


class TrainingRun:
    """Trains a configuration from one seed, or from a `state` of that; iterate over it once.

    The same arguments give the same numbers on a CPU, whatever else draws random numbers. Each
    epoch is a new permutation of the training images, cut into full batches; the incomplete last
    batch is left out.

    `eager_reason`: why its steps could not be captured though the lane captures; "" if all went
    well. `capture_seconds`: what capturing took; no part of any epoch's seconds.
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
        lane: Lane | None = None,
        state: TrainingState | None = None,
    ) -> None:
        self._configuration = configuration
        self._train, self._evaluation = train, evaluation
        self._epochs = epochs
        self._seed = seed
        self._autocast = precision == "bfloat16"
        self._batch_size, self._steps = full_batches(configuration.recipe, train)
        self._lane = lane or make_lane(train.images.device)
        self._begins_with = state
        self._epochs_done = state.epoch if state else 0
        self.eager_reason = ""
        self.capture_seconds = 0.0
        with self._lane.active():
            self._prepare()

    @property
    def network(self) -> nn.Module:
        """The network with the weights that are measured, in evaluation mode."""
        return self._measured.network.eval()

    def state(self) -> TrainingState:
        """The state after the last epoch that was yielded, on the CPU."""
        with self._lane.active():
            kept = {name: tensor.cpu().clone() for name, tensor in self._named().items()}
        return TrainingState(self._epochs_done, {**kept, _GENERATOR: self._generator.get_state()})

    def __iter__(self) -> Iterator[EpochMetrics]:
        try:
            yield from self._run()
        except CaptureError as error:
            self.eager_reason = str(error)
        if self.eager_reason:
            # All is captured before the first epoch is yielded, so the run can begin again.
            self._lane = self._lane.without_captures()
            with self._lane.active():
                self._prepare()
            yield from self._run()

    def _prepare(self) -> None:
        """Makes every tensor of the run, from its seed."""
        recipe, device = self._configuration.recipe, self._lane.device
        with _BUILDING, torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derived_seed(self._seed, "weights"))
            network = build_network(self._configuration.architecture, dropout=recipe.dropout)
        self._live = FlatNetwork(network, device)
        self._measured = self._live
        if recipe.ema_decay:
            self._measured = FlatNetwork(copy.deepcopy(network), device)
            self._measured.copy_from(self._live)
        self._generator = torch.Generator(device).manual_seed(derived_seed(self._seed, "batches"))
        for module in network.modules():
            if isinstance(module, Dropout):
                module.generator = self._generator
        # What runs: on a CPU faster forms of the two networks, which share their numbers.
        self._trained = accelerate(self._live.network).train()
        self._evaluated = accelerate(self._measured.network)
        self._schedule = _schedule(recipe, self._epochs, self._steps).to(device)
        # Of the epoch, a row for each step:
        shape = (self._steps, self._batch_size)
        self._chosen = torch.zeros(shape, dtype=torch.int64, device=device)
        self._basis = basis(recipe.augmentation, self._train.images.shape[-1]).to(device)
        self._maps = torch.zeros(*shape, 2, len(self._basis), device=device)
        self._rates = torch.zeros(self._steps, 2, device=device)
        # Of the step:
        self._step_index = torch.zeros(1, dtype=torch.int64, device=device)
        self._now = torch.zeros(1, 2, device=device)
        self._optimizer = make_optimizer(recipe, self._live, self._now[0, 0])
        self._training_sums = Sums(device)
        self._evaluation_sums = Sums(device)
        self._training = Repeated(self._step, self._lane, self._generator, at_once=STEPS_PER_LAUNCH)
        self._evaluating = Repeated(self._evaluate, self._lane, self._generator)
        if self._begins_with:
            self._take_over(self._begins_with)

    def _named(self) -> dict[str, torch.Tensor]:
        """What changes from step to step, by name."""
        momenta = self._optimizer.state[self._live.weights]
        parts = {
            "live": self._live.network.state_dict(),
            "measured": self._measured.network.state_dict(),
            _OPTIMIZER: {name: each for name, each in momenta.items() if torch.is_tensor(each)},
        }
        return {f"{part}.{name}": each for part in parts for name, each in parts[part].items()}

    def _take_over(self, state: TrainingState) -> None:
        """Into the tensors that are there: what runs, and what will be captured, reads those."""
        momenta = self._optimizer.state[self._live.weights]
        for name, kept in state.tensors.items():
            part, _, within = name.partition(".")
            if part == _OPTIMIZER and within not in momenta:  # some are made by the first step
                momenta[within] = torch.empty_like(kept, device=self._lane.device)
        with torch.no_grad():
            for name, tensor in self._named().items():
                tensor.copy_(state.tensors[name])
        self._generator.set_state(state.tensors[_GENERATOR])

    def _run(self) -> Iterator[EpochMetrics]:
        try:
            for epoch in range(self._epochs_done + 1, self._epochs + 1):
                with self._lane.active():
                    metrics = self._epoch(epoch)
                self._epochs_done = epoch
                yield metrics
                if not metrics.is_finite:
                    return
        finally:
            self._training.forget()
            self._evaluating.forget()

    def _epoch(self, epoch: int) -> EpochMetrics:
        lane = self._lane
        started = lane.mark()
        self._draw(epoch)
        self._trained.train()
        self._training_sums.zero()
        self._training.run(self._steps)
        trained = lane.mark()
        self._evaluating.run()
        evaluated = lane.mark()
        train_loss, train_accuracy = self._training_sums.read(self._steps * self._batch_size)
        loss, accuracy = self._evaluation_sums.read(len(self._evaluation))
        if not math.isfinite(train_loss):
            accuracy = 0.0  # it goes no further, and is not to seem to have sustained anything
        # What captures took, in the first epoch.
        of_training = self._training.take_capture_seconds()
        of_evaluation = self._evaluating.take_capture_seconds()
        self.capture_seconds += of_training + of_evaluation
        return EpochMetrics(
            epoch=epoch,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            loss=loss,
            accuracy=accuracy,
            train_seconds=lane.seconds_between(started, trained) - of_training,
            evaluation_seconds=lane.seconds_between(trained, evaluated) - of_evaluation,
        )

    def _draw(self, epoch: int) -> None:
        """Fills the tables of an epoch."""
        images = self._train.images
        order = torch.randperm(len(self._train), generator=self._generator, device=images.device)
        positions = order[: self._chosen.numel()].view_as(self._chosen)
        torch.take(self._train.indices, positions, out=self._chosen)
        strengths = self._configuration.recipe.augmentation
        if not strengths.is_off:
            maps = random_maps(strengths, positions.numel(), images.shape[-1], self._generator)
            self._maps.copy_(maps.view_as(self._maps))
        self._rates.copy_(self._schedule[epoch - 1])
        self._step_index.zero_()

    def _step(self) -> None:
        recipe, live = self._configuration.recipe, self._live
        chosen = self._chosen.index_select(0, self._step_index)[0]
        pixels, labels = self._train.images[chosen], self._train.labels[chosen].long()
        if recipe.augmentation.is_off:
            images = normalise(pixels)
        else:
            images = augment(pixels, self._maps.index_select(0, self._step_index)[0], self._basis)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self._autocast):
            logits = self._trained(images)
        logits = logits.float()
        loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
        live.set_gradients(torch.autograd.grad(loss, live.parameters))
        torch.index_select(self._rates, 0, self._step_index, out=self._now)
        self._optimizer.step()
        if self._measured is not live:
            self._measured.move_towards(live, self._now[0, 1])
        self._training_sums.add(loss * len(labels), logits, labels)
        self._step_index += 1

    def _evaluate(self) -> None:
        if self._configuration.recipe.recalibration:
            recalibrate(self._measured.network, self._train)
        self._evaluation_sums.zero()
        _add_up(self._evaluated.eval(), self._evaluation, self._evaluation_sums)


class Sums:
    """Loss and correct answers added up on the device, read once."""

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros(2, device=device)

    def zero(self) -> None:
        self._sums.zero_()

    @torch.no_grad()
    def add(self, loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """A batch: its summed loss (0-dimensional), logits (B, classes) and labels (B,)."""
        self._sums += torch.stack((loss, (logits.argmax(1) == labels).sum()))

    def read(self, count: int) -> tuple[float, float]:
        """Mean loss and accuracy in percent over `count` images. Waits for the device.

        The accuracy is zero where the loss is not finite: of logits that are no numbers the first
        would count as the largest, and every zero as recognised.
        """
        loss, correct = self._sums.tolist()
        return loss / count, 100 * correct / count if math.isfinite(loss) else 0.0


def _schedule(recipe: Recipe, epochs: int, steps: int) -> torch.Tensor:
    """Learning rate and averaging fraction of every step, (epochs, steps, 2)."""
    rates = torch.tensor(learning_rates(recipe, epochs=epochs, steps_per_epoch=steps))
    step = torch.arange(1, len(rates) + 1)
    fractions = 1 - torch.clamp((1 + step) / (10 + step), max=recipe.ema_decay)
    return torch.stack((rates, fractions), dim=1).view(epochs, steps, 2)


def full_batches(recipe: Recipe, train: Examples) -> tuple[int, int]:
    """Size and number of the batches of an epoch."""
    size = min(recipe.batch_size, len(train))
    return size, len(train) // size


def evaluate(network: nn.Module, examples: Examples) -> tuple[float, float]:
    """Mean cross-entropy (nats) and accuracy (percent) of a network in evaluation mode."""
    sums = Sums(examples.images.device)
    _add_up(accelerate(network), examples, sums)
    return sums.read(len(examples))


@torch.no_grad()
def predict(network: nn.Module, examples: Examples) -> torch.Tensor:
    """The class that a network in evaluation mode takes each image for, (N,)."""
    evaluated = accelerate(network)
    return torch.cat(
        [
            evaluated(normalise(examples.images[chosen])).argmax(1)
            for chosen in _evaluation_batches(examples, network)
        ]
    )


@torch.no_grad()
def _add_up(network: nn.Module, examples: Examples, sums: Sums) -> None:
    for chosen in _evaluation_batches(examples, network):
        labels = examples.labels[chosen].long()
        logits = network(normalise(examples.images[chosen]))
        sums.add(F.cross_entropy(logits, labels, reduction="sum"), logits, labels)


def _evaluation_batches(examples: Examples, network: nn.Module) -> tuple[torch.Tensor, ...]:
    views = network.views if isinstance(network, Network) else 1
    return torch.split(examples.indices, EVALUATION_BATCH[examples.images.device.type] // views)
