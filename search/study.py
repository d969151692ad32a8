"""Makes or resumes the study of a run, and counts and hands back its trials."""

import datetime
import os
import socket
from typing import TYPE_CHECKING

from results.errors import NasSearchError
from results.record import TrialRecord, records
from results.settings import SETTINGS_KEY
from results.storage import CREATED_KEY, enqueue_again, settings_of
from search.plan import Plan
from search.strategy import make_pruner
from space import baselines_in, configuration, footprint

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

WORKER_KEY = "worker"
UNCLAIMED_SECONDS = 60


def make_or_resume(
    storage: "optuna.storages.RDBStorage", plan: Plan, *, baselines: bool
) -> "optuna.Study":
    """The study of the plan, ready to be worked on.

    Raises NasSearchError if a study of that name is about something else.
    """
    import optuna

    study = optuna.create_study(
        study_name=plan.study, storage=storage, direction="maximize", load_if_exists=True
    )
    if SETTINGS_KEY in study.user_attrs:
        settings_of(study).refuse_if_different(plan.settings, plan.study)
    elif study.get_trials(deepcopy=False):
        raise NasSearchError(
            f"study {plan.study} was not made by nas-search: choose another name with --study"
        )
    else:
        study.set_metric_names([f"{plan.settings.objective}_score"])
        study.set_user_attr(CREATED_KEY, datetime.datetime.now(datetime.UTC).isoformat())
        if baselines:
            for params in baselines_in(plan.settings.space):
                if footprint(configuration(params).architecture).params < plan.settings.max_params:
                    study.enqueue_trial(params, skip_if_exists=True)
        study.set_user_attr(SETTINGS_KEY, plan.settings.model_dump(mode="json"))
    return study


def load(storage: "optuna.storages.RDBStorage", plan: Plan) -> "optuna.Study":
    """The study of the plan with its pruner, for a process that works on it."""
    import optuna

    return optuna.load_study(
        study_name=plan.study,
        storage=storage,
        pruner=make_pruner(plan.pruner, plan.settings.epochs),
    )


def occupies_a_place(record: TrialRecord) -> bool:
    """Whether a trial is, or may yet be, one of those that `--trials` counts."""
    return record.was_trained or record.state in ("running", "waiting")


def is_surplus(study: "optuna.Study", number: int, trials: int) -> bool:
    """Whether trials with a lower number fill all the places already.

    Numbers are given out in order and never twice, so of any number of workers on any number of
    machines exactly the first `trials` trained ones go ahead, without a lock.
    """
    return sum(occupies_a_place(each) for each in records(study)[:number]) >= trials


def this_worker() -> str:
    """Names this process so that another on the same machine can tell whether it still lives."""
    import psutil

    return f"{socket.gethostname()}/{os.getpid()}/{psutil.Process().create_time():.2f}"


def hand_back_dead_trials(study: "optuna.Study") -> int:
    """Ends the running trials whose process on this machine is gone; their parameters run again.

    Trials of other machines end through their heartbeat. Returns how many were handed back.
    """
    from optuna.trial import TrialState

    dead = [
        trial
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if _is_dead(trial)
    ]
    for trial in dead:
        study.tell(trial.number, state=TrialState.FAIL)
        enqueue_again(study, trial)
    return len(dead)


def _is_dead(trial: "FrozenTrial") -> bool:
    import psutil

    worker = trial.user_attrs.get(WORKER_KEY)
    if worker is None:  # it died between drawing a number and saying who it is
        assert trial.datetime_start is not None
        age = datetime.datetime.now() - trial.datetime_start
        return age.total_seconds() > UNCLAIMED_SECONDS
    host, pid, created = worker.rsplit("/", 2)
    if host != socket.gethostname():
        return False
    try:
        process = psutil.Process(int(pid))
        alive = process.status() != psutil.STATUS_ZOMBIE
        return not alive or abs(process.create_time() - float(created)) > 1
    except psutil.NoSuchProcess:
        return True
