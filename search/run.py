"""A whole run: a search and the confirmation of its finalists, or given trainings."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from results.database import StorageFault
from results.errors import NasSearchError
from results.ledger import refresh
from results.markdown import count
from results.patience import PATIENCE_SECONDS, Patience
from results.record import TIMING_KEY, Given, TrialRecord, confirmations, records
from results.selection import complete, finalists
from results.storage import open_storage
from results.storage_url import shown_url
from results.whereabouts import ARTIFACTS_KEY
from search.claims import release_dead
from search.clock import TimeAccount
from search.crew import Crew
from search.events import TimeSpent
from search.plan import Plan, Precision
from search.precision import precision_for
from search.process import ThisMachine, Workplace
from search.progress import Tally, duration, make_display, say, time_line
from search.promotion import promotions_left
from search.publisher import Publisher
from search.study import SEED_KEY, DeadTrials, failures, make_or_resume, queue
from search.task import ConfirmTask, QueueTask, SearchTask, Task

if TYPE_CHECKING:
    import optuna


def run(plan: Plan, *, baselines: bool) -> "optuna.Study":
    """Searches as the plan says, confirms the finalists, and returns the study."""
    with at_work(plan, baselines=baselines) as (study, crew, publisher):
        _search(plan, study, crew, publisher)
        _confirm(
            plan,
            study,
            lambda found: [each.number for each in finalists(found, plan.settings, plan.finalists)],
            crew,
            publisher,
        )
    return study


def train_given(
    plan: Plan,
    missing: Callable[[list[TrialRecord]], Sequence[Given]],
    total: int = 0,
    *,
    chosen: Callable[[list[TrialRecord]], Sequence[int]] = lambda _: (),
) -> "optuna.Study":
    """Trains what is missing, asked anew after each round, until nothing is; returns the study.

    `total`: how many trainings that will be in the end, if it is known; progress is shown of them.
    `chosen`: of all that is trained then, the numbers of the trials to confirm. Raises
    NasSearchError if what was missing has failed when it was worked on.
    """
    with at_work(plan, baselines=False) as (study, crew, publisher):
        _train_missing(plan, study, missing, total, crew, publisher)
        while _confirm(plan, study, chosen, crew, publisher):  # others may have added to it
            _train_missing(plan, study, missing, total, crew, publisher)
    return study


def _train_missing(
    plan: Plan,
    study: "optuna.Study",
    missing: Callable[[list[TrialRecord]], Sequence[Given]],
    total: int,
    crew: Crew,
    publisher: Publisher,
) -> None:
    before: Sequence[Given] = ()
    while wanted := missing(found := records(study)):
        failed = failures(found, wanted)
        if failed and list(wanted) == list(before):
            raise NasSearchError(
                f"{count(len(failed), 'training')} failed: see the error column of nas-search "
                f"trials --study {plan.study} --format csv, mend the cause and run the same "
                f"command again"
            )
        _train(plan, study, wanted, total, crew, publisher)
        before = wanted


def _train(
    plan: Plan,
    study: "optuna.Study",
    wanted: Sequence[Given],
    total: int,
    crew: Crew,
    publisher: Publisher,
) -> None:
    queue(study, wanted)
    refresh(study)
    states = [each.state for each in records(study)]
    going = states.count("waiting") + states.count("running")  # perhaps by others
    if going:
        done = states.count("complete") + states.count("pruned")
        tally = Tally(max(total, done + going), done, compares=False)
        _work(crew, f"train {plan.study}", tally, [QueueTask()] * plan.workers, publisher)
        refresh(study)


@contextmanager
def at_work(plan: Plan, *, baselines: bool) -> "Iterator[tuple[optuna.Study, Crew, Publisher]]":
    """A context with the study of the plan, who works on it, and who publishes it.

    Whatever ends it early, every told trial is kept, and the trials that had begun are handed
    back, so that the same plan goes on from there.
    """
    plan.out.mkdir(parents=True, exist_ok=True)
    shown = f"storage {shown_url(plan.storage)}"

    def notice(is_away: bool) -> None:
        waits = f"can't be reached: waiting for it, up to {duration(PATIENCE_SECONDS)}"
        say(f"{shown} {waits if is_away else 'is back'}")

    patience = Patience(PATIENCE_SECONDS, notice)
    storage = open_storage(plan.storage, create=True, patience=patience)
    study = make_or_resume(storage, plan, baselines=baselines)
    begun_with = study.user_attrs[SEED_KEY]
    if begun_with != plan.seed:
        say(f"study {plan.study} was begun with --seed {begun_with}, goes on with {plan.seed}")
    plan = replace(plan, precision=_precision(plan, records(study)))
    workplace = _workplace(plan, study)
    dead = DeadTrials(study, workplace.ended)
    dead.hand_back()
    if plan.precision is None and "cpu" in plan.devices:
        precision_for(study, "cpu", say)  # while no worker disturbs the measurement
    publisher = Publisher(study, say)
    try:
        with Crew(plan, dead, patience, workplace) as crew:
            yield study, crew, publisher
    except KeyboardInterrupt:
        with suppress(StorageFault):
            release_dead(study)
        publisher.update_if_quick()
        raise
    publisher.publish()


def _workplace(plan: Plan, study: "optuna.Study") -> Workplace:
    if plan.ray is None:
        return ThisMachine()
    from search.cluster import RayCluster

    if ARTIFACTS_KEY not in study.user_attrs:
        say(
            "weights stay on the machines of the cluster that trained them: a study begun with "
            "--artifacts keeps them where all machines reach them"
        )
    return RayCluster(plan)


def _precision(plan: Plan, trials: Sequence[TrialRecord]) -> Precision | None:
    """The number format to train in: trainings that were given are compared, so they share one.

    Raises NasSearchError if another one was asked for than what is there was trained in.
    """
    if plan.settings.trials == "drawn":
        return plan.precision
    formats: set[Precision] = {
        each.attributes["precision"] for each in trials if "precision" in each.attributes
    }
    if plan.precision and formats - {plan.precision}:
        raise NasSearchError(
            f"study {plan.study} was trained in {' and '.join(sorted(formats))}, which does not "
            f"compare with {plan.precision}: leave out --precision"
        )
    return next(iter(sorted(formats)), plan.precision)


def _search(plan: Plan, study: "optuna.Study", crew: Crew, publisher: Publisher) -> None:
    trials = records(study)
    states = [each.state for each in trials]
    tally = Tally(
        plan.trials,
        states.count("complete"),
        states.count("pruned"),
        max((each.sustained for each in complete(trials)), default=None),
    )
    if tally.done >= plan.trials and not promotions_left(study, plan):
        say(f"study {plan.study} has {tally.done} trained trials already, --trials {plan.trials}")
    else:
        account = TimeAccount(plan.workers)
        done_before = tally.done
        tasks = [SearchTask()] * plan.workers
        try:
            _work(crew, f"search {plan.study}", tally, tasks, publisher, account)
        finally:
            totals = account.totals(tally.done - done_before)
            say(time_line(totals))
            with suppress(StorageFault):  # whatever ended the search is what is to be said
                study.set_user_attr(f"{TIMING_KEY}:{account.started.isoformat()}", totals)


def _confirm(
    plan: Plan,
    study: "optuna.Study",
    chosen: Callable[[list[TrialRecord]], Sequence[int]],
    crew: Crew,
    publisher: Publisher,
) -> bool:
    """Whether any of the chosen was missing."""
    refresh(study)
    numbers = chosen(records(study))
    have = {(run.trial, run.seed) for runs in confirmations(study).values() for run in runs}
    wanted = [(number, seed) for seed in range(plan.confirm_seeds) for number in numbers]
    missing = tuple(each for each in wanted if each not in have)
    if missing:
        publisher.publish()
        tally = Tally(len(wanted), len(wanted) - len(missing), compares=False)
        tasks = [ConfirmTask(missing)] * min(plan.workers, len(missing))
        _work(crew, "confirm on test images", tally, tasks, publisher)
    return bool(missing)


def _work(
    crew: Crew,
    title: str,
    tally: Tally,
    tasks: Sequence[Task],
    publisher: Publisher,
    account: TimeAccount | None = None,
) -> None:
    with make_display(title, tally, crew.plan.settings.epochs) as display:
        try:
            for event in crew.work(tasks):
                if isinstance(event, TimeSpent):
                    if account is not None:
                        account.add(event.seconds)
                else:
                    display.show(event)
                # A trial is stored after it is said to be finished, and before its time is said.
                publisher.update(any_trained=isinstance(event, TimeSpent) and tally.done > 0)
        except KeyboardInterrupt:
            crew.patience.end()  # who ends a run does not want to wait
            raise
