"""A worker process: gets tasks through a pipe, works on them, tells what happens.

It may be killed at any moment: what it told the storage is kept, and what it had begun is handed
back by whoever finds it gone. When the process that started it is gone, it ends itself.
"""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from results.errors import NasSearchError
from results.record import records
from results.storage import open_storage, shown_url, storage_errors
from search import study as studies
from search.events import Event, TaskDone, TaskFailed
from search.plan import Plan, derived_seed
from search.strategy import make_sampler

if TYPE_CHECKING:
    import optuna

    from search.data import Digits
    from search.train import Precision

IDLE_SECONDS = 0.2
FAILURES_IN_A_ROW = 10


@dataclass(frozen=True)
class SearchTask:
    """Train trials until the study has as many as the plan asks for."""


@dataclass(frozen=True)
class ConfirmTask:
    """Retrain a finalist on all training images from one seed and measure it on the test images."""

    trial: int
    seed: int


Task = SearchTask | ConfirmTask


@dataclass
class Worker:
    """What a worker process has at hand; loaded when first needed."""

    plan: Plan
    index: int
    connection: "multiprocessing.connection.Connection"

    def tell(self, event: Event) -> None:
        self.connection.send(event)

    @property
    def device(self) -> str:
        return self.plan.devices[self.index % len(self.plan.devices)]

    @cached_property
    def precision(self) -> "Precision":
        from search.train import best_precision

        return self.plan.precision or best_precision(self.device)

    @cached_property
    def digits(self) -> "Digits":
        return self.plan.data.load(self.device)

    @cached_property
    def study(self) -> "optuna.Study":
        return studies.load(open_storage(self.plan.storage, create=False), self.plan)


def main(plan: Plan, index: int, connection: "multiprocessing.connection.Connection") -> None:
    """Entry point of the process. Ends when the pipe closes or the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _end_with_parent()
    import torch

    torch.set_num_threads(1)  # workers use a machine better than threads do
    worker = Worker(plan, index, connection)
    while True:
        try:
            task: Task = connection.recv()
        except EOFError:
            return
        try:
            with storage_errors(shown_url(plan.storage)):
                run(worker, task)
        except NasSearchError as error:
            worker.tell(TaskFailed(str(error)))
        except OSError as error:
            worker.tell(TaskFailed(f"{error.strerror or error}: {error.filename or plan.out}"))
        except Exception as error:
            if os.environ.get("NAS_SEARCH_DEBUG"):
                raise
            worker.tell(TaskFailed(f"{type(error).__name__}: {error}".splitlines()[0]))
        else:
            worker.tell(TaskDone())


def run(worker: Worker, task: Task) -> None:
    """Works on one task to its end."""
    if isinstance(task, SearchTask):
        search(worker)
    else:
        from search.confirm import confirm

        confirm(worker, task.trial, task.seed)


def search(worker: Worker) -> None:
    """Trains trials until as many are trained as the plan asks for."""
    import optuna

    from search.objective import Objective, Surplus, TrialError

    plan, study = worker.plan, worker.study
    objective = Objective(plan, study, worker.digits, worker.device, worker.precision, worker.tell)
    while True:
        trials = records(study)
        trained = sum(each.was_trained for each in trials)
        if trained >= plan.trials:
            return
        if trained + sum(each.state == "running" for each in trials) >= plan.trials:
            optuna.storages.fail_stale_trials(study)
            time.sleep(IDLE_SECONDS)
            continue
        _give_up_if_hopeless(plan, [each.state for each in trials])
        study.sampler = make_sampler(
            plan.sampler, derived_seed(plan.seed, len(trials), worker.index)
        )
        study.optimize(objective, n_trials=1, catch=(TrialError, Surplus))


def _give_up_if_hopeless(plan: Plan, states: list[str]) -> None:
    if len(states) >= plan.most_draws:
        raise NasSearchError(
            f"gave up after {len(states)} draws with {states.count('infeasible')} over the "
            f"parameter budget: raise --max-params or ask for fewer --trials"
        )
    ended = [state for state in states if state not in ("running", "waiting", "infeasible")]
    if len(ended) >= FAILURES_IN_A_ROW and set(ended[-FAILURES_IN_A_ROW:]) == {"failed"}:
        raise NasSearchError(
            f"the last {FAILURES_IN_A_ROW} trials failed: see the error column of "
            f"nas-search trials, mend the cause and run the same command again"
        )


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
