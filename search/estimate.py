"""How long a training takes: some batches of it, timed."""

from dataclasses import replace

from search.device import prepare_thread
from search.plan import Plan
from search.precision import measure_precision
from search.train import TrainingRun
from space import Configuration

TIMED_IMAGES = 2_048
"""Of an epoch that the expected time is measured by."""


def seconds_per_training(plan: Plan, configuration: Configuration) -> float:
    """What a training of the configuration takes on the first device: some batches, timed."""
    device = plan.devices[0]
    prepare_thread(device)
    digits = plan.data.load(device)
    train, measured = digits.split(plan.settings.protocol)
    few = replace(train, indices=train.indices[:TIMED_IMAGES])
    fewer = replace(measured, indices=measured.indices[:TIMED_IMAGES])
    precision = plan.precision or measure_precision(device).chosen
    _, last = TrainingRun(configuration, few, fewer, epochs=2, seed=0, precision=precision)
    training = last.train_seconds * len(train) / len(few)
    evaluation = last.evaluation_seconds * len(measured) / len(fewer)
    return plan.settings.epochs * (training + evaluation)
