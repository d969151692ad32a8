"""Confirmation of a finalist: all training images, another seed, measured on the test images."""

import dataclasses
import time

from results.checkpoint import confirmation_name, save_checkpoint
from results.ledger import at_once
from results.record import Confirmation, TrialRecord
from results.versions import device_name, versions
from results.whereabouts import FOLDER_KEY
from search.context import Context
from search.events import EpochDone, Finished, Started
from search.train import TrainingRun, predict


def confirm(context: Context, trial: int, seed: int) -> None:
    """Trains trial `trial`'s configuration from `seed` and stores the outcome with the study.

    Nothing is chosen by what comes out: seeds are 0, 1, 2, ... and every one is reported.
    """
    plan, settings = context.plan, context.plan.settings
    record = TrialRecord.from_trial(context.study.get_trials(deepcopy=False)[trial])
    configuration = record.configuration
    run = TrainingRun(
        configuration,
        context.digits.all_training,
        context.digits.test,
        epochs=settings.epochs,
        seed=seed,
        precision=context.precision,
        lane=context.lane,
    )
    context.tell(Started(trial, record.params, seed))
    started = time.perf_counter()
    history = []
    for metrics in run:
        history.append(metrics)
        context.tell(EpochDone(trial, metrics.epoch, metrics.accuracy, seed))
    with context.lane.active():
        predicted = predict(run.network, context.digits.test).tolist()
    accuracies = [metrics.accuracy for metrics in history]
    store = context.store
    name = confirmation_name(context.study.user_attrs[FOLDER_KEY], trial, seed)
    outcome = Confirmation(
        trial=trial,
        seed=seed,
        accuracies=accuracies,
        sustained=settings.sustained(accuracies),
        train_accuracy=round(history[-1].train_accuracy, 3),
        seconds=round(time.perf_counter() - started, 2),
        weights=name,
        device=device_name(context.device),
        precision=context.precision,
        versions=versions(),
        predictions="".join(map(str, predicted)),
        kept_in=store.place,
    )
    key, stored = Confirmation.key(trial, seed), dataclasses.asdict(outcome)

    def keep() -> None:
        # Else this process was taken for dead meanwhile, and what another one stored counts. Both
        # in one transaction, so that the weights are those that the figures are of.
        if key not in context.study.user_attrs:
            about = {**stored, "study": plan.study}
            save_checkpoint(store, name, run.network, configuration, about)
            context.study.set_user_attr(key, stored)

    at_once(context.study, keep)
    context.tell(
        Finished(trial, "complete", record.params, outcome.sustained, seed=seed, is_complete=True)
    )
