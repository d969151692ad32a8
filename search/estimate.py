"""What a run will take, before it is begun: what is trained, and how long a training takes."""

from dataclasses import replace

from results.errors import NasSearchError
from results.record import TrialRecord, records
from search.device import prepare_thread
from search.options import open_study
from search.plan import Plan
from search.precision import measure_precision
from search.train import TrainingRun
from space import Configuration

TIMED_IMAGES = 2_048
"""Of an epoch that the expected time is measured by."""


def trained(plan: Plan) -> list[TrialRecord]:
    """The trials of the study of the plan; none if it has not begun."""
    try:
        return records(open_study(plan.study, plan.storage, plan.out))
    except NasSearchError:  # it has not begun
        return []


def seconds_per_training(plan: Plan, configuration: Configuration) -> float:
    """What a training of the configuration takes on the first device: some batches, timed.

    Without recalibration, which takes as many images whatever is measured and would seem to grow
    with what is timed: on MNIST a few hundredths of a training, on the sample up to a fifth.
    """
    device = plan.devices[0]
    prepare_thread(device)
    digits = plan.data.load(device)
    train, measured = digits.split(plan.settings.protocol)
    few = replace(train, indices=train.indices[:TIMED_IMAGES])
    fewer = replace(measured, indices=measured.indices[:TIMED_IMAGES])
    precision = plan.precision or measure_precision(device).chosen
    recipe = configuration.recipe.model_copy(update={"recalibration": False})
    timed = configuration.model_copy(update={"recipe": recipe})
    _, last = TrainingRun(timed, few, fewer, epochs=2, seed=0, precision=precision)
    training = last.train_seconds * len(train) / len(few)
    evaluation = last.evaluation_seconds * len(measured) / len(fewer)
    return plan.settings.epochs * (training + evaluation)
