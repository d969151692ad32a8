"""A worker process: gets tasks through a pipe, works on them, tells what happens.

It works on as many tasks at once as it is told, a thread each; they share the digits and the
connection to the study. It may be killed at any moment: what it told the storage is kept, and what
it had begun is handed back by whoever finds it gone. When the process that started it is gone, it
ends itself.
"""

import dataclasses
import multiprocessing
import multiprocessing.connection
import os
import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Protocol

from results.errors import NasSearchError
from results.patience import PATIENCE_SECONDS, Patience
from results.storage import open_storage
from search import study as studies
from search.device import prepare_thread
from search.events import (
    CutOff,
    Event,
    Joined,
    PlaceGivenUp,
    StorageNoticed,
    TaskDone,
    TaskFailed,
    TimeSpent,
)
from search.places import OutOfMemory, Places
from search.plan import Plan
from search.study import DeadTrials
from search.task import QueueTask, SearchTask, Task

if TYPE_CHECKING:
    import optuna

    from search.context import Context
    from search.objective import Objective

IDLE_SECONDS = 0.2
CLAIMED_SECONDS = 1.0
"""Between looks at what others have begun to confirm."""

FAILURES_IN_A_ROW = 10


def make_context(
    plan: Plan, device: str, tell: Callable[[Event], None], places: Places
) -> "Context":
    """Connects to the study and loads the digits."""
    from results.artifacts import contents_of
    from search.context import Context
    from search.drawing import DrawingProcesses
    from search.lane import make_lane
    from search.precision import precision_for
    from search.register import Register

    patience = Patience(
        PATIENCE_SECONDS, lambda is_away: tell(StorageNoticed(is_away, time.monotonic()))
    )
    storage = open_storage(plan.storage, create=False, patience=patience, waits=True)
    study = studies.load(storage, plan)
    return Context(
        plan=plan,
        study=study,
        register=Register(study),
        digits=plan.data.load(device),
        device=device,
        lane=make_lane(device),
        precision=plan.precision or precision_for(study, device),
        tell=tell,
        draw=contents_of if places.count == 1 else DrawingProcesses(places.count),
        places=places,
    )


class Connection(Protocol):
    """The worker's end of what its crew hears and tells it by."""

    def recv(self) -> Task:
        """The next task. Raises EOFError when there will be none."""

    def send(self, event: Event) -> None: ...


class Worker:
    """The threads of a worker process and what they share."""

    def __init__(
        self,
        plan: Plan,
        device: str,
        threads: int,
        connection: Connection,
    ) -> None:
        self._plan, self._device, self._connection = plan, device, connection
        self._threads, self._places = threads, Places(threads)
        self._tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self._telling = threading.Lock()
        self._making = threading.Lock()
        self._shared: Context | None = None

    def work(self) -> None:
        """Takes tasks from the connection until it closes."""
        self._tell(Joined())
        for _ in range(self._threads):
            threading.Thread(target=self._take_tasks, daemon=True).start()
        while True:
            try:
                self._tasks.put(self._connection.recv())
            except EOFError:
                return

    def _tell(self, event: Event) -> None:
        with self._telling:
            self._connection.send(event)

    def _take_tasks(self) -> None:
        from torch import AcceleratorError

        from search.lane import free_memory

        prepare_thread(self._device)
        context: Context | None = None
        while True:
            task = self._tasks.get()
            ended: Event | None
            try:
                context = context or self._context()
                run(context, task)
                ended = TaskDone(task)
            except OutOfMemory as error:
                context = None  # and with it what its lane holds
                ended = PlaceGivenUp(task) if error.gave_up else None
            except NasSearchError as error:
                ended = TaskFailed(str(error))
            except AcceleratorError:  # after it no call to the device works in this process
                os._exit(1)
            except OSError as error:
                where = error.filename or self._plan.out
                ended = TaskFailed(
                    f"{error.strerror or error}: {where} (what was stored is kept: mend that, then "
                    f"run the same command again)"
                )
            except Exception as error:
                if os.environ.get("NAS_SEARCH_DEBUG"):
                    traceback.print_exc()
                ended = TaskFailed(f"{type(error).__name__}: {error}".splitlines()[0])
            if context is None:
                free_memory(self._device)
            if ended is None:
                self._tasks.put(task)
                continue
            self._tell(ended)
            if isinstance(ended, PlaceGivenUp):
                return

    def _context(self) -> "Context":
        from search.lane import make_lane

        with self._making:
            if self._shared is None:
                self._shared = make_context(self._plan, self._device, self._tell, self._places)
        # A lane of its own, which is gone with the thread.
        return dataclasses.replace(self._shared, lane=make_lane(self._device))


def main(plan: Plan, device: str, threads: int, connection: Connection) -> None:
    """Entry point of the process. Ends when the pipe closes or the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # ends it at once; the parent hands back
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
    _end_with_parent()
    Worker(plan, device, threads, connection).work()


def run(context: "Context", task: Task) -> None:
    """Works on one task to its end."""
    if isinstance(task, SearchTask):
        search(context)
    elif isinstance(task, QueueTask):
        work_off(context)
    else:
        confirm_all(context, task.wanted)


def search(context: "Context") -> None:
    """Trains trials until as many are trained as the plan asks for, and goes on with those that
    were stopped and are among the best of them."""
    from results.ledger import NothingWaits, queue_alone
    from search.clock import Lap
    from search.objective import SearchObjective
    from search.promotion import promote

    plan, study, register = context.plan, context.study, context.register
    objective = SearchObjective(context)
    clock, lap = objective.clock, Lap(objective.clock)
    dead = DeadTrials(study)
    first = len(register.states())
    with clock.measuring("storage"):
        while True:
            dead.hand_back()
            trained, running, promoted = register.counts()
            is_last = trained + running >= plan.trials
            if promote(study, is_last=is_last) or not is_last:
                _give_up_if_hopeless(plan, register.states()[first:])
                with queue_alone(study) if is_last else nullcontext(), suppress(NothingWaits):
                    _train_one(study, objective)
                context.tell(TimeSpent(lap()))
            elif trained < plan.trials or promoted:
                with clock.measuring("waiting"):
                    time.sleep(IDLE_SECONDS)
            else:
                return


def work_off(context: "Context") -> None:
    """Trains the trials that wait in the queue until none waits or runs."""
    from results.ledger import NothingWaits, queue_alone, refresh
    from search.clock import Lap
    from search.objective import GivenObjective

    objective = GivenObjective(context)
    clock, lap = objective.clock, Lap(objective.clock)
    dead = DeadTrials(context.study)
    with clock.measuring("storage"):
        while True:
            dead.hand_back()  # a trial of a process that is gone waits again
            try:
                with queue_alone(context.study):
                    _train_one(context.study, objective)
            except NothingWaits:
                refresh(context.study)
                states = context.register.states()
                if "waiting" in states:  # queued since this process looked
                    continue
                if "running" not in states:
                    return
                with clock.measuring("waiting"):
                    time.sleep(IDLE_SECONDS)
            context.tell(TimeSpent(lap()))


def confirm_all(context: "Context", wanted: Sequence[tuple[int, int]]) -> None:
    """Confirms each trial from each seed, unless others do; returns when all are stored."""
    from results.record import Confirmation
    from search.claims import CLAIM_KEY, Claims
    from search.confirm import confirm

    claims = Claims(context.study)
    by_claim = {f"{CLAIM_KEY}:{trial}:{seed}": (trial, seed) for trial, seed in wanted}
    stored = [Confirmation.key(*each) for each in wanted]
    while not set(stored) <= context.study.user_attrs.keys():
        taken = claims.take(by_claim, stored)
        if taken is None:
            time.sleep(CLAIMED_SECONDS)
            continue
        trial, seed = by_claim[taken]
        try:
            with claims.held(taken), context.places.training():
                confirm(context, trial, seed)
        except OutOfMemory as error:
            context.tell(CutOff(trial, seed, str(error)))
            raise


def _train_one(study: "optuna.Study", objective: "Objective") -> None:
    from optuna.exceptions import UpdateFinishedTrialError

    from search.objective import Surplus, TrialError

    try:
        study.optimize(objective, n_trials=1, catch=(TrialError, Surplus))
    except (UpdateFinishedTrialError, ValueError, AssertionError) as error:
        if not _was_taken_for_dead(error):
            raise


def _was_taken_for_dead(error: BaseException) -> bool:
    """Whether Optuna says that another process ended the trial, and queued it again.

    After a suspended laptop, say. What goes wrong in the trial itself is a TrialError.
    """
    from optuna.exceptions import UpdateFinishedTrialError

    if isinstance(error, AssertionError):  # what `optimize` makes of it when it tells the value
        return error.__context__ is not None and _was_taken_for_dead(error.__context__)
    return isinstance(error, UpdateFinishedTrialError) or (
        isinstance(error, ValueError) and "Cannot tell" in str(error)
    )


def _give_up_if_hopeless(plan: Plan, states: Sequence[str]) -> None:
    """Raises NasSearchError if the draws of this run, by state, lead nowhere."""
    if len(states) >= plan.most_draws:
        raise NasSearchError(
            f"gave up after {len(states)} draws, {states.count('infeasible')} of them over the "
            f"parameter budget: raise --max-params or try another --sampler"
        )
    ended = [state for state in states if state not in ("running", "waiting", "infeasible")]
    if len(ended) >= FAILURES_IN_A_ROW and set(ended[-FAILURES_IN_A_ROW:]) == {"failed"}:
        raise NasSearchError(
            f"the last {FAILURES_IN_A_ROW} trials failed: see the error column of "
            f"nas-search trials --format csv, mend the cause and run the same command again"
        )


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
