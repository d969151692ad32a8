"""This project's engine: several trainings at once, as the search runs them."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from benchmarks import digits
from benchmarks.processes import WAIT_SECONDS, meeting
from benchmarks.speed import MOST_EPOCHS, Epoch, Speed, time_epochs
from search.data import DataSource, Examples
from search.device import prepare_thread
from search.plan import Precision
from search.train import TrainingRun, full_batches
from space import Configuration


def train(
    configuration: Configuration,
    training: Examples,
    evaluation: Examples,
    *,
    epochs: int,
    seed: int,
    precision: Precision,
) -> Iterator[Epoch]:
    """Trains from one seed on the device where the images are."""
    size, steps = full_batches(configuration.recipe, training)
    run = TrainingRun(
        configuration, training, evaluation, epochs=epochs, seed=seed, precision=precision
    )
    for metrics in run:
        yield Epoch(
            images=size * steps,
            train_seconds=metrics.train_seconds,
            evaluation_images=len(evaluation),
            evaluation_seconds=metrics.evaluation_seconds,
            accuracy=metrics.accuracy,
        )


def measure(
    configuration: Configuration,
    source: DataSource,
    device: str,
    precision: Precision,
    *,
    images: int,
    seconds: float,
    threads: int,
    processes: int,
) -> Speed:
    """The speed of this process with `threads` trainings, while as many `processes` do the same."""
    training, evaluation = digits.some(source, device, images)

    def one(seed: int) -> Speed:
        epochs = train(
            configuration,
            training,
            evaluation,
            epochs=MOST_EPOCHS,
            seed=seed,
            precision=precision,
        )
        prepare_thread(device)
        try:
            return time_epochs(epochs, seconds=seconds, device=device, start=ready.wait)
        except BaseException:
            ready.abort()  # the others would wait for this one
            raise

    with meeting(processes) as meet:
        ready = threading.Barrier(threads, action=meet, timeout=WAIT_SECONDS)
        with ThreadPoolExecutor(threads) as pool:
            return Speed.together(pool.map(one, range(threads)))
