"""A training that computes nothing, in the place of the real one.

What trains is asked for by name where trials are evaluated, so putting another class there changes
that and nothing else: sampling, pruning, checkpoints, pictures and storage are the real ones.
"""

import random
import time
from collections.abc import Iterator

import optuna

from search import objective, worker
from search.context import Context
from search.data import Digits
from search.lane import make_lane
from search.plan import Plan
from search.register import Register
from search.train import EpochMetrics
from space import Configuration
from space.network import build_network


class SimulatedTraining:
    """Epochs that take `SECONDS` each; accuracies are random, so the pruner has something to do."""

    SECONDS = 0.0

    capture_seconds = 0.0
    eager_reason = ""

    def __init__(
        self, configuration: Configuration, *_: object, epochs: int, seed: int, **__: object
    ) -> None:
        self._epochs = epochs
        self._luck = random.Random(seed)
        self.network = build_network(configuration.architecture).eval()

    def __iter__(self) -> Iterator[EpochMetrics]:
        for epoch in range(1, self._epochs + 1):
            time.sleep(self.SECONDS)
            accuracy = self._luck.uniform(98, 99.5)
            yield EpochMetrics(epoch, 0.1, 99.0, 0.1, accuracy, 0.001, 0.0)


def simulate_training(epoch_seconds: float = 0.0) -> None:
    """From here on trials of this process, and of those it forks, are trained by the above."""
    SimulatedTraining.SECONDS = epoch_seconds
    setattr(objective, "TrainingRun", SimulatedTraining)  # noqa: B010


def context_here(study: optuna.Study, plan: Plan, digits: Digits) -> Context:
    """What a worker's trainings have at hand, in this process; `study` as it has loaded it."""
    return Context(
        plan=plan,
        study=study,
        register=Register(study),
        digits=digits,
        device="cpu",
        lane=make_lane("cpu"),
        precision="float32",
        tell=lambda event: None,
    )


def search_here(study: optuna.Study, plan: Plan, digits: Digits) -> None:
    """What a worker does, in this process."""
    worker.search(context_here(study, plan, digits))
