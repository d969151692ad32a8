"""A training that computes nothing, in the place of the real one.

What trains is asked for by name where trials are evaluated, so putting another class there changes
that and nothing else: sampling, pruning, checkpoints, pictures and storage are the real ones.
"""

import math
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import torch

from results.publish import publish
from results.settings import StudySettings
from results.storage import default_url, open_storage
from search import objective, process, worker
from search.context import Context
from search.data import DataSource, Digits
from search.lane import make_lane
from search.plan import Plan
from search.register import Register
from search.state import TrainingState
from search.study import load, make_or_resume
from search.train import EpochMetrics
from space import Configuration, SearchSpace
from space.network import build_network


class SimulatedTraining:
    """Epochs that take `SECONDS` each, and a curve as of a training: up to a ceiling of its own.

    Both are drawn from the seed, so the pruner has something to do.
    """

    SECONDS = 0.0

    capture_seconds = 0.0
    eager_reason = ""

    def __init__(
        self,
        configuration: Configuration,
        *_: object,
        epochs: int,
        seed: int,
        state: TrainingState | None = None,
        **__: object,
    ) -> None:
        self._epochs, self._epochs_done = epochs, state.epoch if state else 0
        self._luck = random.Random(seed)
        self.network = build_network(configuration.architecture).eval()

    def state(self) -> TrainingState:
        return TrainingState(self._epochs_done, {"nothing": torch.zeros(1)})

    def __iter__(self) -> Iterator[EpochMetrics]:
        ceiling = self._luck.uniform(98, 99.5)
        scatter = [self._luck.uniform(-0.1, 0.1) for _ in range(self._epochs)]
        for epoch in range(self._epochs_done + 1, self._epochs + 1):
            time.sleep(self.SECONDS)
            self._epochs_done = epoch
            accuracy = ceiling - 3 * math.exp(-epoch / 2) + scatter[epoch - 1]
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


def simulate_forked(epoch_seconds: float) -> None:
    """As `simulate_training`; worker processes are forked from this one, and begin at once."""
    torch.set_num_threads(1)  # no threads that a forked process would miss
    simulate_training(epoch_seconds=0.0)
    digits = DataSource("mnist-sample").load()
    setattr(DataSource, "load", lambda *_: digits)  # noqa: B010
    setattr(process, "START_METHOD", "fork")  # noqa: B010
    with tempfile.TemporaryDirectory() as folder:  # a first trial imports what only trials need
        plan = _plan_of_one_trial(Path(folder))
        database = open_storage(plan.storage, create=True)
        make_or_resume(database, plan, baselines=True)
        study = load(database, plan)
        search_here(study, plan, digits)
        publish(study)
        database.engine.dispose()
    SimulatedTraining.SECONDS = epoch_seconds


def _plan_of_one_trial(folder: Path) -> Plan:
    return Plan(
        study="first",
        storage=default_url(folder),
        settings=StudySettings(
            dataset="mnist-sample", space=SearchSpace.for_budget(10_000), epochs=1, sustain=1
        ),
        data=DataSource("mnist-sample"),
        out=folder,
        devices=("cpu",),
        workers=1,
        precision="float32",
        trials=1,
    )
