"""Confirmation of a finalist: all training images, another seed, measured on the test images."""

import dataclasses
import time

from results.checkpoint import confirmation_path, save_checkpoint
from results.record import Confirmation, TrialRecord
from results.versions import device_name, versions
from search.events import EpochDone, Finished, Started
from search.train import TrainingRun
from search.worker import Worker


def confirm(worker: Worker, trial: int, seed: int) -> None:
    """Trains trial `trial`'s configuration from `seed` and stores the outcome with the study.

    Nothing is chosen by what comes out: seeds are 0, 1, 2, ... and every one is reported.
    """
    plan, settings = worker.plan, worker.plan.settings
    record = TrialRecord.from_trial(worker.study.get_trials(deepcopy=False)[trial])
    configuration = record.configuration
    run = TrainingRun(
        configuration,
        worker.digits.all_training,
        worker.digits.test,
        epochs=settings.epochs,
        seed=seed,
        precision=worker.precision,
    )
    worker.tell(Started(trial, record.params, seed))
    started = time.perf_counter()
    history = []
    for metrics in run:
        history.append(metrics)
        worker.tell(EpochDone(trial, metrics.epoch, metrics.accuracy, seed))
    accuracies = [metrics.accuracy for metrics in history]
    path = confirmation_path(plan.study, trial, seed)
    outcome = Confirmation(
        trial=trial,
        seed=seed,
        accuracies=accuracies,
        sustained=settings.sustained(accuracies),
        train_accuracy=round(history[-1].train_accuracy, 3),
        seconds=round(time.perf_counter() - started, 2),
        weights=str(path),
        versions={**versions(), "device": device_name(worker.device)},
    )
    stored = dataclasses.asdict(outcome)
    save_checkpoint(plan.out / path, run.network, configuration, {**stored, "study": plan.study})
    worker.study.set_user_attr(Confirmation.key(trial, seed), stored)
    worker.tell(Finished(trial, "complete", record.params, outcome.sustained, seed=seed))
