"""One trial: draw a configuration, refuse what is over the budget, train, report, keep."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from optuna import TrialPruned
from optuna.exceptions import UpdateFinishedTrialError

from results.checkpoint import checkpoint_path, save_checkpoint
from results.record import (
    BUDGET_CONSTRAINT,
    Epoch,
    TrialRecord,
    drawn_attributes,
    finite,
    records,
    trained_attributes,
)
from results.storage import enqueue_again
from results.versions import device_name, versions
from search.context import Context
from search.events import CutOff, EpochDone, Finished, Started, State
from search.plan import derived_seed
from search.study import FOLDER_KEY, WORKER_KEY, is_surplus, this_worker
from search.train import TrainingRun, full_batches
from space import Configuration, footprint

if TYPE_CHECKING:
    import optuna


class TrialError(Exception):
    """An exception inside one trial: recorded with it, the study goes on."""


class Surplus(Exception):  # noqa: N818
    """The trial is one more than were asked for."""


class Objective:
    """What Optuna calls with each trial; returns its value (see `StudySettings.score`)."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._plan = context.plan
        self._settings = context.plan.settings
        self._study = context.study
        self._tell = context.tell

    def __call__(self, trial: "optuna.Trial") -> float:
        configuration, params = self._draw(trial)
        self._tell(Started(trial.number, params))
        try:
            ended = self._evaluate(trial, configuration, params)
        except UpdateFinishedTrialError:  # taken for dead by another process, which queued it again
            self._tell(CutOff(trial.number))
            raise
        except OSError:  # not the trial's fault: a full disk, say
            self._hand_back(trial)
            raise
        except Exception as error:
            message = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            trial.set_user_attr("error", message)
            self._tell(Finished(trial.number, "failed", params, None, message))
            raise TrialError(message) from error
        self._tell(ended)
        if not ended.is_complete or ended.sustained is None:
            raise TrialPruned(ended.note)
        return self._settings.score(ended.sustained, params)

    def _draw(self, trial: "optuna.Trial") -> tuple[Configuration, int]:
        """The configuration with its number of parameters.

        Raises TrialPruned if it is over the budget, and Surplus if it is one more than asked for.
        """
        trial.set_user_attr(WORKER_KEY, this_worker())
        trial.set_user_attr("dataset", self._settings.dataset)
        configuration = self._settings.space.sample(trial)
        cost = footprint(configuration.architecture)
        excess = cost.params - self._settings.max_params + 1
        trial.set_constraint(BUDGET_CONSTRAINT, excess)
        self._set(trial, drawn_attributes(configuration, cost))
        if excess > 0:
            raise TrialPruned(f"{cost.params} parameters are over the budget")
        if is_surplus(self._study, trial.number, self._plan.trials):
            self._hand_back(trial)
            raise Surplus
        return configuration, cost.params

    def _evaluate(
        self, trial: "optuna.Trial", configuration: Configuration, params: int
    ) -> Finished:
        """Trains, or goes through the history again if the same was trained before."""
        earlier = self._evaluated_before(trial.number, configuration)
        if earlier is not None:
            trial.set_user_attr("duplicate_of", earlier.number)
            history, reason = self._follow(trial, iter(earlier.history), params)
        else:
            run = self._training(trial, configuration)
            history, reason = self._follow(trial, _epochs(run), params)
        is_complete = not reason and len(history) == self._settings.epochs
        size, count = full_batches(configuration.recipe, self._context.digits.train)
        attributes = trained_attributes(history, self._settings, images_per_epoch=size * count)
        if reason:
            attributes["reason"] = reason
        if earlier is None and is_complete:
            path = checkpoint_path(self._study.user_attrs[FOLDER_KEY], trial.number)
            about = {**trial.user_attrs, **attributes, "study": self._plan.study}
            save_checkpoint(self._plan.out / path, run.network, configuration, about)
            attributes["checkpoint"] = str(path)
        self._set(trial, attributes)
        state: State = "complete" if is_complete else "pruned"
        if earlier is not None:
            state, reason = "duplicate", f"same as trial {earlier.number}"
        return Finished(
            trial.number, state, params, attributes["sustained"], reason, is_complete=is_complete
        )

    def _training(self, trial: "optuna.Trial", configuration: Configuration) -> TrainingRun:
        context = self._context
        seed = derived_seed(self._plan.seed, trial.number)
        made_with = {
            "seed": seed,
            "device": device_name(context.device),
            "precision": context.precision,
            "versions": versions(),
        }
        self._set(trial, made_with)
        return TrainingRun(
            configuration,
            context.digits.train,
            context.digits.validation,
            epochs=self._settings.epochs,
            seed=seed,
            precision=context.precision,
            lane=context.lane,
        )

    def _follow(
        self, trial: "optuna.Trial", epochs: Iterator[Epoch], params: int
    ) -> tuple[list[Epoch], str]:
        """Reports epoch after epoch; returns them, and why they ended early ("" if not)."""
        history = []
        for epoch in epochs:
            history.append(epoch)
            if epoch.train_loss is None or epoch.validation_loss is None:
                return history, f"diverged in epoch {epoch.epoch}"
            trial.report(self._settings.score(epoch.validation_accuracy, params), epoch.epoch)
            self._tell(EpochDone(trial.number, epoch.epoch, epoch.validation_accuracy))
            if epoch.epoch < self._settings.epochs and trial.should_prune():
                return history, f"pruned after epoch {epoch.epoch}"
        return history, ""

    def _set(self, trial: "optuna.Trial", attributes: dict[str, Any]) -> None:
        for name, value in attributes.items():
            trial.set_user_attr(name, value)

    def _hand_back(self, trial: "optuna.Trial") -> None:
        enqueue_again(self._study, self._study.get_trials(deepcopy=False)[trial.number])

    def _evaluated_before(self, number: int, configuration: Configuration) -> TrialRecord | None:
        wanted = (configuration.architecture.id, configuration.recipe.id)
        for record in records(self._study)[:number]:
            ids = (record.attributes.get("architecture_id"), record.attributes.get("recipe_id"))
            if record.was_trained and ids == wanted and record.history:
                return record
        return None


def _epochs(run: TrainingRun) -> Iterator[Epoch]:
    for metrics in run:
        yield Epoch(
            epoch=metrics.epoch,
            train_loss=finite(metrics.train_loss),
            train_accuracy=metrics.train_accuracy,
            validation_loss=finite(metrics.loss),
            validation_accuracy=metrics.accuracy,
            train_seconds=round(metrics.train_seconds, 4),
            evaluation_seconds=round(metrics.evaluation_seconds, 4),
        )
