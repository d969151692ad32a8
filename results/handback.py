"""Hands a trial back: its parameters wait to be run again, as it was not trained to its end.

It keeps its turn, before all that was queued or drawn after it, and with it its seed. Only what may
have ended its process, or took too much memory, goes behind the others, so that they are trained
whatever comes of it. What goes on with a stopped trial stays the first.
"""

from contextlib import suppress
from typing import TYPE_CHECKING

from results.ledger import at_once
from results.record import KNOWN_KEY, PROMOTED_KEY, TURN_KEY, Given, turn_of
from results.storage import settings_of

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

MOST_ATTEMPTS = 5
"""Processes that a trial and its repetitions may have ended before it is left alone."""

QUEUED_BY = "queued_by"
"""The trial attribute that names the process that wanted it trained."""

_KEPT = (QUEUED_BY, KNOWN_KEY, PROMOTED_KEY)


def hand_back(study: "optuna.Study", number: int, *, behind: bool = False) -> None:
    """Queues the parameters of a trial of this process again, which then has to end it.

    `behind`: what waits already. The study is kept in a ledger.
    """

    def add() -> None:
        trial = study.get_trials(deepcopy=False)[number]
        if again := _again(study, trial, behind=behind):
            study.add_trial(again)

    at_once(study, add)  # else another process that takes this one for dead could do it too


def end_and_hand_back(study: "optuna.Study", number: int, *, blamed: bool) -> None:
    """Ends a running trial whose process is gone and queues its parameters again: both or neither.

    `blamed`: it may be what ended its process, so it goes behind what waits already. Of any number
    of callers one ends it.
    """
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    def end() -> None:
        trial = study.get_trials(deepcopy=False)[number]
        if trial.state == TrialState.RUNNING:
            again = _again(study, trial, behind=blamed, blamed=blamed)
            study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
            if again is not None:
                study.add_trial(again)

    with suppress(UpdateFinishedTrialError):  # another was quicker
        at_once(study, end)


def _again(
    study: "optuna.Study", trial: "FrozenTrial", *, behind: bool, blamed: bool = False
) -> "FrozenTrial | None":
    """A waiting trial with the parameters of this one, and nothing else of it.

    None if they are not known: those from the queue are known before they are drawn, others only
    once all are drawn. A trial that came with its configuration keeps it. None also if its process
    had handed it back before it was gone, and if `MOST_ATTEMPTS` processes were ended by it.
    """
    from optuna.trial import TrialState, create_trial

    attempt = trial.user_attrs.get("attempt", 1) + blamed
    given = Given.of(trial.user_attrs)
    params = trial.system_attrs.get("fixed_params") or trial.params
    is_known = given is not None or set(params) == set(settings_of(study).space.dimensions)
    if not is_known or attempt > MOST_ATTEMPTS or _was_handed_back(study, trial.number):
        return None
    kept = {key: trial.user_attrs[key] for key in _KEPT if key in trial.user_attrs}
    attributes = {"retry_of": trial.number, "attempt": attempt, **kept}
    if not behind or PROMOTED_KEY in kept:  # no new trial is begun before that one
        attributes[TURN_KEY] = turn_of(trial)
    return create_trial(
        state=TrialState.WAITING,
        system_attrs={"fixed_params": params},
        user_attrs=attributes | (given.attributes() if given else {}),
    )


def _was_handed_back(study: "optuna.Study", number: int) -> bool:
    trials = study.get_trials(deepcopy=False)
    return any(each.user_attrs.get("retry_of") == number for each in trials)
