"""Makes or resumes the study of a run, and counts and hands back its trials."""

import datetime
import os
import time
from collections.abc import Container, Iterable
from typing import TYPE_CHECKING

from results.errors import NasSearchError
from results.handback import MOST_ATTEMPTS, QUEUED_BY, end_and_hand_back
from results.ledger import Ledger, at_once, refresh, stopped, with_ledger
from results.lessons import Lesson, keep_lessons, lessons_from
from results.record import KNOWN_KEY, Given, TrialRecord, given_runs
from results.settings import SETTINGS_KEY
from results.storage import CREATED_KEY, settings_of
from results.whereabouts import FOLDER_KEY, settle, store_of
from search.mark import is_gone, this_process
from search.plan import Plan, derived_seed
from search.strategy import make_pruner, make_sampler
from space import baselines_in, configuration, footprint

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from results.database import Database

WORKER_KEY, CREW_KEY = "worker", "crew"
"""Of trials: the marks of the process that works on it and of the one that started that."""

BASELINES_KEY = "baselines"
SEED_KEY = "seed"
TEACHERS_KEY = "learnt_from"
UNCLAIMED_SECONDS = 60


def make_or_resume(storage: "Database", plan: Plan, *, baselines: bool) -> "optuna.Study":
    """The study of the plan, ready to be worked on, and kept in a ledger.

    May be cut off at any point, and called by several processes at once: one of them makes it, in
    one transaction. Raises NasSearchError if a study of that name is about something else.
    """
    import optuna

    lessons = _lessons(storage, plan)  # before there is a study: a name may be wrong
    study = with_ledger(
        optuna.create_study(
            study_name=plan.study, storage=storage, direction="maximize", load_if_exists=True
        )
    )
    at_once(study, lambda: _fill(study, plan, lessons, baselines=baselines))
    return study


def _lessons(storage: "Database", plan: Plan) -> tuple[Lesson, ...]:
    """What the study of the plan begins with, if it is still to be made."""
    if not plan.learn_from:
        return ()
    if plan.study in plan.learn_from:
        raise NasSearchError(f"--learn-from {plan.study}: that is the study itself")
    made = [each.study_name for each in storage.get_all_studies() if each.user_attrs]
    if plan.study in made:
        return ()
    return lessons_from(storage, plan.learn_from, plan.settings)


def _fill(
    study: "optuna.Study", plan: Plan, lessons: tuple[Lesson, ...], *, baselines: bool
) -> None:
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
            TEACHERS_KEY: list(plan.learn_from),
            SETTINGS_KEY: plan.settings.model_dump(mode="json"),
        }
        study.set_metric_names([f"{plan.settings.objective}_score"])
        keep_lessons(study, lessons)
        for key, value in attributes.items():
            study.set_user_attr(key, value)
    settings_of(study).refuse_if_different(plan.settings, plan.study)
    teachers = attributes.get(TEACHERS_KEY, [])
    if plan.learn_from and sorted(plan.learn_from) != sorted(teachers):
        raise NasSearchError(
            f"study {plan.study} was made with --learn-from {', '.join(teachers) or 'nothing'}: "
            f"leave it out to go on, or choose another name with --study"
        )
    store_of(study, plan.out, plan.artifacts)
    if attributes[BASELINES_KEY] == "wanted":
        for name, params in baselines_in(plan.settings.space).items():
            if footprint(configuration(params).architecture).params < plan.settings.max_params:
                study.enqueue_trial(params, user_attrs={KNOWN_KEY: name}, skip_if_exists=True)
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
            attributes = {**each.attributes(), QUEUED_BY: this_process()}
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

    marks = {WORKER_KEY: this_process(), "dataset": plan.settings.dataset}
    if plan.crew:
        marks[CREW_KEY] = plan.crew
    return optuna.load_study(
        study_name=plan.study,
        storage=Ledger(storage, plan.study, marks),
        sampler=make_sampler(plan.sampler, plan.seed, plan.settings),
        pruner=make_pruner(plan.pruner, plan.settings),
    )


class DeadTrials:
    """Ends running trials whose process is gone and queues their parameters again.

    A process of this machine is looked for, by the one that started it as long as that lives: it
    knows what the process died of. One of another machine ends through its heartbeat, unless its
    mark is in `ended`. A trial that never said whose it is is dead when it has been seen
    so for `UNCLAIMED_SECONDS`. The study is kept in a ledger.
    """

    def __init__(self, study: "optuna.Study", ended: Container[str] = frozenset()) -> None:
        self._study = study
        self._ended = ended
        self._mark = this_process()
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
        crew = trial.user_attrs.get(CREW_KEY, self._mark)
        is_ours = crew == self._mark or is_gone(crew)
        return worker in self._ended or (is_ours and is_gone(worker))
