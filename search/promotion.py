"""Goes on with trials that were stopped early and are among the best after all.

A trial that has ended can't be begun again: another takes its place, with the same parameters and
seed, the same history up to where it was stopped, and the state of its training.
"""

from typing import TYPE_CHECKING

from results.ledger import at_once
from results.record import KNOWN_KEY, PROMOTED_KEY, TURN_KEY, promoted_from
from search.plan import Plan
from search.pruner import HalvingPruner
from search.strategy import make_pruner

if TYPE_CHECKING:
    import optuna


def promote(study: "optuna.Study", *, is_last: bool) -> bool:
    """Whether a stopped trial waits to be gone on with; queues it if there is one.

    It is the first in the queue. `is_last`: no new one will be begun. The study is kept in a
    ledger.
    """
    from optuna.trial import TrialState, create_trial

    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    if any(promoted_from(each) is not None for each in waiting):  # its process may be gone
        return True
    pruner = study.pruner
    if not isinstance(pruner, HalvingPruner):
        return False
    number = pruner.promotable(study, is_last=is_last)
    if number is None:
        return False

    def add() -> None:  # without the pruner: who asks that holds it while it reads the study
        trials = study.get_trials(deepcopy=False)
        if any(promoted_from(each) == number for each in trials):  # another was quicker
            return
        trial = trials[number]
        attributes = {PROMOTED_KEY: number, TURN_KEY: 0}
        if KNOWN_KEY in trial.user_attrs:
            attributes[KNOWN_KEY] = trial.user_attrs[KNOWN_KEY]
        study.add_trial(
            create_trial(
                state=TrialState.WAITING,
                system_attrs={"fixed_params": trial.params},
                user_attrs=attributes,
            )
        )

    at_once(study, add)
    return True


def promotions_left(study: "optuna.Study", plan: Plan) -> bool:
    """Whether a search that has all its trials has stopped ones to go on with."""
    pruner = make_pruner(plan.pruner, plan.settings)
    if isinstance(pruner, HalvingPruner) and pruner.promotable(study, is_last=True) is not None:
        return True
    trials = study.get_trials(deepcopy=False)
    return any(promoted_from(each) is not None for each in trials if not each.state.is_finished())
