"""Makes or resumes the study of a run, and counts and hands back its trials."""

import datetime
import os
import socket
import time
from collections.abc import Container, Iterable
from typing import TYPE_CHECKING

from results.errors import NasSearchError
from results.handback import MOST_ATTEMPTS, QUEUED_BY, end_and_hand_back
from results.ledger import Ledger, at_once, refresh, stopped, with_ledger
from results.record import Given, TrialRecord, given_runs
from results.settings import SETTINGS_KEY
from results.storage import CREATED_KEY, settings_of
from results.whereabouts import FOLDER_KEY, settle, store_of
from search.plan import Plan, derived_seed
from search.strategy import make_pruner, make_sampler
from space import baselines_in, configuration, footprint

if TYPE_CHECKING:
    import optuna
    import psutil
    from optuna.trial import FrozenTrial

    from results.database import Database

WORKER_KEY = "worker"
BASELINES_KEY = "baselines"
SEED_KEY = "seed"
UNCLAIMED_SECONDS = 60


def make_or_resume(storage: "Database", plan: Plan, *, baselines: bool) -> "optuna.Study":
    """The study of the plan, ready to be worked on, and kept in a ledger.

    May be cut off at any point, and called by several processes at once: one of them makes it, in
    one transaction. Raises NasSearchError if a study of that name is about something else.
    """
    import optuna

    study = with_ledger(
        optuna.create_study(
            study_name=plan.study, storage=storage, direction="maximize", load_if_exists=True
        )
    )
    at_once(study, lambda: _fill(study, plan, baselines=baselines))
    return study


def _fill(study: "optuna.Study", plan: Plan, *, baselines: bool) -> None:
    """Adds to a study what it lacks."""
    attributes = study.user_attrs
    if SETTINGS_KEY not in attributes:
        if study.get_trials(deepcopy=False):
            raise NasSearchError(
                f"study {plan.study} was not made by nas-search: choose another name with --study"
            )
        created = datetime.datetime.now(datetime.UTC).isoformat()
        # Not the name alone: a study of the same name in another database has other weights.
        token = derived_seed(created, plan.study, os.getpid())
        folder = f"{plan.study}-{token:08x}"
        settle(study, folder, plan.artifacts)
        attributes = {
            CREATED_KEY: created,
            FOLDER_KEY: folder,
            BASELINES_KEY: "wanted" if baselines else "left out",
            SEED_KEY: plan.seed,
            SETTINGS_KEY: plan.settings.model_dump(mode="json"),
        }
        study.set_metric_names([f"{plan.settings.objective}_score"])
        for key, value in attributes.items():
            study.set_user_attr(key, value)
    settings_of(study).refuse_if_different(plan.settings, plan.study)
    store_of(study, plan.out, plan.artifacts)
    if attributes[BASELINES_KEY] == "wanted":
        for params in baselines_in(plan.settings.space):
            if footprint(configuration(params).architecture).params < plan.settings.max_params:
                study.enqueue_trial(params, skip_if_exists=True)
        study.set_user_attr(BASELINES_KEY, "queued")


def queue(study: "optuna.Study", wanted: Iterable[Given]) -> None:
    """Queues what is wanted in its order, without what the study has, trained or to be trained.

    What a command queued that is gone, and nobody wants now, is taken out. The study is kept in a
    ledger. Of several processes at once each sees what the other queued.
    """
    from optuna.trial import TrialState

    def add() -> None:
        lacking = {(each.configuration, each.seed): each for each in wanted}
        keys = set(lacking)
        for trial in study.get_trials(deepcopy=False):
            given = Given.of(trial.user_attrs)
            if given is None or trial.state == TrialState.FAIL:
                continue
            key = (given.configuration, given.seed)
            lacking.pop(key, None)
            queued_by = trial.user_attrs.get(QUEUED_BY)
            if trial.state == TrialState.WAITING and key not in keys and is_gone(queued_by):
                study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        for each in lacking.values():
            attributes = {**each.attributes(), QUEUED_BY: this_worker()}
            study.enqueue_trial({}, user_attrs=attributes)

    at_once(study, add)


def untrained(records: Iterable[TrialRecord], wanted: Iterable[Given]) -> list[Given]:
    """Of what is wanted, what is not trained yet."""
    trained = given_runs(records)
    return [each for each in wanted if each.seed not in trained.get(each.configuration, {})]


def failures(records: Iterable[TrialRecord], wanted: Iterable[Given]) -> list[TrialRecord]:
    """The trials that failed to train what is wanted, or ended their process to the last."""
    keys = {(each.configuration, each.seed) for each in wanted}
    failed = [
        each
        for each in records
        if each.state == "failed"
        or (each.state == "cut off" and each.attributes.get("attempt", 1) >= MOST_ATTEMPTS)
    ]
    given = [(each, Given.of(each.attributes)) for each in failed]
    return [each for each, own in given if own and (own.configuration, own.seed) in keys]


def load(storage: "Database", plan: Plan) -> "optuna.Study":
    """The study of the plan with its sampler and pruner, for a process that works on it.

    Threads of the process share it.
    """
    import optuna

    marks = {WORKER_KEY: this_worker(), "dataset": plan.settings.dataset}
    return optuna.load_study(
        study_name=plan.study,
        storage=Ledger(storage, plan.study, marks, queue_only=plan.settings.trials == "given"),
        sampler=make_sampler(plan.sampler, plan.seed),
        pruner=make_pruner(plan.pruner, plan.settings.epochs),
    )


def this_worker() -> str:
    """Names this process so that another on the same machine can tell whether it still lives."""
    import psutil

    return f"{_this_host()}/{os.getpid()}/{_started(psutil.Process()):.2f}"


def _started(process: "psutil.Process") -> float:
    """Seconds from the machine's start to that of the process: the clock may be set meanwhile."""
    import psutil

    return float(process.create_time() - psutil.boot_time())


def _this_host() -> str:
    """Within it a process number means one process: containers of one name count as several."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115
    except OSError:
        namespace = ""
    return f"{socket.gethostname()}{namespace}"


class DeadTrials:
    """Ends running trials whose process is gone and queues their parameters again.

    A process of this machine is looked for; one of another machine ends through its heartbeat,
    unless its mark is in `ended`. A trial that never said whose it is is dead when it has been seen
    so for `UNCLAIMED_SECONDS`. The study is kept in a ledger.
    """

    def __init__(self, study: "optuna.Study", ended: Container[str] = frozenset()) -> None:
        self._study = study
        self._ended = ended
        self._unclaimed_since: dict[int, float] = {}

    def hand_back(self, *, blamed: bool = False) -> None:
        """Call it again and again; safe from several processes at once.

        `blamed`: the trials may be what ended their process.
        """
        from optuna.trial import TrialState

        refresh(self._study)
        stale = stopped(self._study)
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial._trial_id in stale or self._is_dead(trial):
                end_and_hand_back(self._study, trial.number, blamed=blamed)

    def _is_dead(self, trial: "FrozenTrial") -> bool:
        worker = trial.user_attrs.get(WORKER_KEY)
        if worker is None:
            since = self._unclaimed_since.setdefault(trial.number, time.monotonic())
            return time.monotonic() - since > UNCLAIMED_SECONDS
        return worker in self._ended or is_gone(worker)


def is_gone(worker: str | None) -> bool:
    """Whether a process of this machine, as `this_worker` named it, has ended; false of others."""
    import psutil

    if worker is None:
        return False
    host, pid, created = worker.rsplit("/", 2)
    if host != _this_host():
        return False
    try:
        process = psutil.Process(int(pid))
        alive = process.status() != psutil.STATUS_ZOMBIE
        return not alive or abs(_started(process) - float(created)) > 1
    except psutil.NoSuchProcess:
        return True
