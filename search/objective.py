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
from search.events import EpochDone, Finished, Started
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
        trial.set_user_attr(WORKER_KEY, this_worker())
        trial.set_user_attr("dataset", self._settings.dataset)
        configuration = self._settings.space.sample(trial)
        cost = footprint(configuration.architecture)
        excess = cost.params - self._settings.max_params + 1
        trial.set_constraint(BUDGET_CONSTRAINT, excess)
        for name, value in drawn_attributes(configuration, cost).items():
            trial.set_user_attr(name, value)
        if excess > 0:
            raise TrialPruned(f"{cost.params} parameters are over the budget")
        if is_surplus(self._study, trial.number, self._plan.trials):
            self._hand_back(trial)
            raise Surplus
        self._tell(Started(trial.number, cost.params))
        try:
            state, sustained, note, value = self._evaluate(trial, configuration, cost.params)
        except OSError:  # not the trial's fault: a full disk, say
            self._hand_back(trial)
            raise
        except UpdateFinishedTrialError:  # taken for dead and ended by another process
            raise
        except Exception as error:
            message = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            trial.set_user_attr("error", message)
            self._tell(Finished(trial.number, "failed", cost.params, None, message))
            raise TrialError(message) from error
        self._tell(Finished(trial.number, state, cost.params, sustained, note))
        if value is None:
            raise TrialPruned(note)
        return value

    def _hand_back(self, trial: "optuna.Trial") -> None:
        enqueue_again(self._study, self._study.get_trials(deepcopy=False)[trial.number])

    def _evaluate(
        self, trial: "optuna.Trial", configuration: Configuration, params: int
    ) -> tuple[Any, float | None, str, float | None]:
        """State, sustained accuracy, note and value (None if pruned)."""
        earlier = self._evaluated_before(trial.number, configuration)
        run = None
        epochs: Iterator[Epoch]
        if earlier is not None:
            trial.set_user_attr("duplicate_of", earlier.number)
            epochs = iter(earlier.history)
        else:
            seed = derived_seed(self._plan.seed, trial.number)
            trial.set_user_attr("seed", seed)
            trial.set_user_attr("device", device_name(self._context.device))
            trial.set_user_attr("precision", self._context.precision)
            trial.set_user_attr("versions", versions())
            run = TrainingRun(
                configuration,
                self._context.digits.train,
                self._context.digits.validation,
                epochs=self._settings.epochs,
                seed=seed,
                precision=self._context.precision,
            )
            epochs = _epochs(run)

        history: list[Epoch] = []
        note = ""
        for epoch in epochs:
            history.append(epoch)
            if epoch.train_loss is None or epoch.validation_loss is None:
                note = f"diverged in epoch {epoch.epoch}"
                break
            trial.report(self._settings.score(epoch.validation_accuracy, params), epoch.epoch)
            self._tell(EpochDone(trial.number, epoch.epoch, epoch.validation_accuracy))
            if epoch.epoch < self._settings.epochs and trial.should_prune():
                note = f"pruned after epoch {epoch.epoch}"
                break
        size, count = full_batches(configuration.recipe, self._context.digits.train)
        attributes = trained_attributes(history, self._settings, images_per_epoch=size * count)
        if note:
            attributes["reason"] = note
        is_complete = not note and len(history) == self._settings.epochs
        sustained = attributes["sustained"]
        if is_complete and run is not None:
            path = checkpoint_path(self._study.user_attrs[FOLDER_KEY], trial.number)
            about = {**trial.user_attrs, **attributes, "study": self._plan.study}
            save_checkpoint(self._plan.out / path, run.network, configuration, about)
            attributes["checkpoint"] = str(path)
        for name, value in attributes.items():
            trial.set_user_attr(name, value)
        if earlier is not None:
            return (
                "duplicate",
                sustained,
                f"same as trial {earlier.number}",
                (self._settings.score(sustained, params) if is_complete else None),
            )
        if not is_complete:
            return "pruned", sustained, note, None
        return "complete", sustained, "", self._settings.score(sustained, params)

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
