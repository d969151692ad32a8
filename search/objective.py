"""One trial: draw a configuration, refuse what is over the budget, train, report, keep."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from optuna import TrialPruned
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from torch import AcceleratorError

from results.artifacts import keep_artifacts
from results.checkpoint import checkpoint_name, save_checkpoint
from results.handback import hand_back
from results.ledger import write_out
from results.record import (
    BUDGET_CONSTRAINT,
    DUPLICATE_KEY,
    STATE_KEPT,
    Epoch,
    Given,
    TrialRecord,
    drawn_attributes,
    finite,
    promoted_from,
    time_attributes,
    trained_attributes,
    turn_of,
)
from results.versions import device_name, versions
from results.whereabouts import FOLDER_KEY, KEPT_IN
from search.clock import Clock, Lap
from search.context import Context
from search.events import CutOff, EpochDone, Finished, Started, State
from search.places import OutOfMemory
from search.plan import derived_seed
from search.pruner import HalvingPruner
from search.state import TrainingState, keep_state, kept_state
from search.train import TrainingRun, full_batches
from space import Configuration, footprint

if TYPE_CHECKING:
    import optuna


_STOPPED = "pruned"
"""How the reason begins why the pruner ended a trial."""


class TrialError(Exception):
    """An exception inside one trial: recorded with it, the study goes on."""


class Surplus(Exception):  # noqa: N818
    """The trial is one more than were asked for."""


class Objective(ABC):
    """What Optuna calls with each trial; returns its value (see `StudySettings.score`).

    Belongs to one thread, as its clock does.
    """

    @abstractmethod
    def _draw(self, trial: "optuna.Trial") -> tuple[Configuration, int]:
        """The configuration with its number of parameters; raises TrialPruned or Surplus."""

    @abstractmethod
    def _seed(self, trial: "optuna.Trial") -> int:
        """Decides the training."""

    @abstractmethod
    def _goes_on_with(self, trial: "optuna.Trial") -> TrialRecord | None:
        """The stopped trial whose training this one goes on with, if there is one."""

    @abstractmethod
    def _trained_before(
        self, trial: "optuna.Trial", configuration: Configuration
    ) -> TrialRecord | None:
        """The trial whose history this one repeats, if there is one."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._plan = context.plan
        self._settings = context.plan.settings
        self._study = context.study
        self._train, self._measured_on = context.digits.split(self._settings.protocol)
        self._folder = context.study.user_attrs[FOLDER_KEY]
        self._store = context.store
        self._tell = context.tell
        self._register = context.register
        self.clock = Clock()
        self._lap = Lap(self.clock)

    def __call__(self, trial: "optuna.Trial") -> float:
        configuration, params = self._draw(trial)
        given = Given.of(trial.user_attrs)
        title = given.title if given else ""
        self._tell(Started(trial.number, params, title=title))
        try:
            with self._context.places.training():
                ended = self._evaluate(trial, configuration, params)
        except OutOfMemory as error:
            hand_back(self._study, trial.number, behind=True)
            self._tell(CutOff(trial.number, reason=str(error)))
            raise
        except UpdateFinishedTrialError:  # taken for dead by another process, which queued it again
            self._tell(CutOff(trial.number))
            raise
        except (StorageInternalError, AcceleratorError):  # nothing can be recorded, or trained, now
            raise
        except OSError:  # not the trial's fault: a full disk, say
            hand_back(self._study, trial.number)
            raise
        except Exception as error:
            message = _one_line(error)
            trial.set_user_attr("error", message)
            self._tell(Finished(trial.number, "failed", params, None, message, title=title))
            raise TrialError(message) from error
        self._tell(replace(ended, title=title))
        if not ended.is_complete or ended.sustained is None:
            raise TrialPruned(ended.note)
        return self._settings.score(ended.sustained, params)

    def _evaluate(
        self, trial: "optuna.Trial", configuration: Configuration, params: int
    ) -> Finished:
        """Trains, or goes through the history again if the same was trained before."""
        earlier = self._trained_before(trial, configuration)
        stopped = self._goes_on_with(trial)
        if earlier is not None:
            trial.set_user_attr(DUPLICATE_KEY, earlier.number)
            history, reason = self._follow(trial, iter(earlier.history), params)
        else:
            seed = self._seed(trial)
            kept, before = self._state_of(stopped, configuration, seed)
            run = self._training(trial, configuration, seed, kept)
            past = stopped.attributes["epochs_run"] if stopped else 0
            history, reason = self._follow(
                trial, itertools.chain(before, self._epochs(run)), params, past=past
            )
            self.clock.move(run.capture_seconds, "training", "capture")
            if run.eager_reason:
                trial.set_user_attr("eager_reason", run.eager_reason)
        is_complete = not reason and len(history) == self._settings.epochs
        size, count = full_batches(configuration.recipe, self._train)
        attributes = trained_attributes(history, self._settings, images_per_epoch=size * count)
        if reason:
            attributes["reason"] = reason
        state: State = "complete" if is_complete else "pruned"
        remark = ""
        if earlier is None:
            name = checkpoint_name(self._folder, trial.number)
            attributes["checkpoint"] = name
            about = {**trial.user_attrs, **attributes, "study": self._plan.study}
            save_checkpoint(self._store, name, run.network, configuration, about)
            attributes[KEPT_IN] = self._store.place
            if reason.startswith(_STOPPED) and isinstance(self._study.pruner, HalvingPruner):
                made_with = self._made_with(configuration, seed)
                keep_state(self._store, self._folder, trial.number, run.state(), made_with)
                attributes[STATE_KEPT] = True
            if fault := self._keep_pictures(trial, state, about):
                attributes["pictures_error"] = fault
                remark = f"without pictures ({fault})"
        self._set(trial, {**attributes, **time_attributes(self._lap())})
        if stopped is not None:
            remark = ", ".join(filter(None, (f"went on with trial {stopped.number}", remark)))
        if earlier is not None:
            state, reason = "duplicate", f"same as trial {earlier.number}"
        return Finished(
            trial.number,
            state,
            params,
            attributes["sustained"],
            ", ".join(filter(None, (reason, remark))),
            is_complete=is_complete,
            was_promoted=stopped is not None,
        )

    def _state_of(
        self, stopped: TrialRecord | None, configuration: Configuration, seed: int
    ) -> tuple[TrainingState | None, list[Epoch]]:
        """Where a training goes on, and its history up to there; from its start if that is lost."""
        if stopped is None:
            return None, []
        made_with = self._made_with(configuration, seed)
        state = kept_state(self._store, self._folder, stopped.number, made_with)
        return state, stopped.history if state else []

    def _made_with(self, configuration: Configuration, seed: int) -> dict[str, Any]:
        """What the state of a training depends on."""
        return {
            "configuration": configuration.to_json(),
            "seed": seed,
            "device": self._context.device.partition(":")[0],
            "precision": self._context.precision,
            "epochs": self._settings.epochs,
            "versions": versions(),
        }

    def _keep_pictures(self, trial: "optuna.Trial", state: State, about: dict[str, Any]) -> str:
        """What is there to see of a trained trial; says what went wrong ("" if nothing).

        Nothing but a picture is lost by that: not the trial, which took long to train.
        """
        record = TrialRecord(trial.number, state, None, trial.params, about)
        try:
            with self.clock.measuring("drawing"):
                keep_artifacts(trial, record, self._settings, self._store, self._context.draw)
        except (StorageInternalError, UpdateFinishedTrialError):
            raise
        except Exception as error:
            return _one_line(error)
        return ""

    def _training(
        self,
        trial: "optuna.Trial",
        configuration: Configuration,
        seed: int,
        state: TrainingState | None,
    ) -> TrainingRun:
        context = self._context
        made_with = {
            "seed": seed,
            "device": device_name(context.device),
            "precision": context.precision,
            "versions": versions(),
        }
        self._set(trial, made_with)
        write_out(self._study)  # from here on the trial can be begun again by others
        with self.clock.measuring("training"):
            return TrainingRun(
                configuration,
                self._train,
                self._measured_on,
                epochs=self._settings.epochs,
                seed=seed,
                precision=context.precision,
                lane=context.lane,
                state=state,
            )

    def _follow(
        self, trial: "optuna.Trial", epochs: Iterator[Epoch], params: int, *, past: int = 0
    ) -> tuple[list[Epoch], str]:
        """Reports epoch after epoch; returns them, and why they ended early ("" if not).

        It may be stopped after those that are `past`.
        """
        history = []
        for epoch in epochs:
            history.append(epoch)
            # Also of the epoch in which it diverges: samplers and pruners see reports alone.
            trial.report(self._settings.score(epoch.accuracy, params), epoch.epoch)
            if epoch.train_loss is None or epoch.loss is None:
                return history, f"diverged in epoch {epoch.epoch}"
            if epoch.epoch > past:
                self._tell(EpochDone(trial.number, epoch.epoch, epoch.accuracy))
            is_open = past < epoch.epoch < self._settings.epochs
            if is_open and trial.should_prune():
                return history, f"{_STOPPED} after epoch {epoch.epoch}"
        return history, ""

    def _set(self, trial: "optuna.Trial", attributes: dict[str, Any]) -> None:
        for name, value in attributes.items():
            trial.set_user_attr(name, value)

    def _epochs(self, run: TrainingRun) -> Iterator[Epoch]:
        """Trains, measuring the time; the seconds of an epoch are the run's own."""
        metrics = iter(run)
        while True:
            with self.clock.measuring("training"):
                each = next(metrics, None)
            if each is None:
                return
            self.clock.move(each.evaluation_seconds, "training", "evaluation")
            yield Epoch(
                epoch=each.epoch,
                train_loss=finite(each.train_loss),
                train_accuracy=each.train_accuracy,
                loss=finite(each.loss),
                accuracy=each.accuracy,
                train_seconds=round(each.train_seconds, 4),
                evaluation_seconds=round(each.evaluation_seconds, 4),
            )


class SearchObjective(Objective):
    """Of trials that the sampler draws: refused over the budget, and trained once."""

    def _draw(self, trial: "optuna.Trial") -> tuple[Configuration, int]:
        """The configuration with its number of parameters.

        Raises TrialPruned if it is over the budget, and Surplus if it is one more than asked for.
        """
        with self.clock.measuring("sampling"):
            configuration = self._settings.space.sample(trial)
            cost = footprint(configuration.architecture)
        excess = cost.params - self._settings.max_params + 1
        trial.set_constraint(BUDGET_CONSTRAINT, excess)
        self._set(trial, drawn_attributes(configuration, cost))
        if excess > 0:
            self._set(trial, time_attributes(self._lap()))
            raise TrialPruned(f"{cost.params} parameters are over the budget")
        is_new = promoted_from(trial) is None
        if is_new and self._register.is_surplus(trial.number, self._plan.trials):
            hand_back(self._study, trial.number)
            raise Surplus
        return configuration, cost.params

    def _seed(self, trial: "optuna.Trial") -> int:
        stopped = self._goes_on_with(trial)
        if stopped is not None:
            return int(stopped.attributes["seed"])
        return derived_seed(self._plan.seed, turn_of(trial))

    def _goes_on_with(self, trial: "optuna.Trial") -> TrialRecord | None:
        number = promoted_from(trial)
        if number is None:
            return None
        return TrialRecord.from_trial(self._study.get_trials(deepcopy=False)[number]).checked()

    def _trained_before(
        self, trial: "optuna.Trial", configuration: Configuration
    ) -> TrialRecord | None:
        if promoted_from(trial) is not None:
            return None
        return self._register.trained_before(trial.number, configuration)


class GivenObjective(Objective):
    """Of trials that come with their configuration and seed (see `Given`)."""

    def _draw(self, trial: "optuna.Trial") -> tuple[Configuration, int]:
        given = self._given(trial)
        cost = footprint(given.configuration.architecture)
        self._set(trial, {"name": given.name, **drawn_attributes(given.configuration, cost)})
        return given.configuration, cost.params

    def _seed(self, trial: "optuna.Trial") -> int:
        return self._given(trial).seed

    def _goes_on_with(self, trial: "optuna.Trial") -> None:
        return None

    def _trained_before(self, trial: "optuna.Trial", configuration: Configuration) -> None:
        return None

    def _given(self, trial: "optuna.Trial") -> Given:
        given = Given.of(trial.user_attrs)
        assert given is not None
        return given


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
