"""A trial and a confirmation as they are stored: one reader and one writer for each."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import ValidationError

from results.errors import changed
from results.settings import StudySettings
from results.stored import StoredComplete, StoredConfirmation, StoredTrained, StoredTrial
from space import Architecture, Configuration, Footprint, Recipe
from space.value import one_line

if TYPE_CHECKING:
    import optuna

BUDGET_CONSTRAINT = "parameter_budget"

TIMING_KEY = "timing"
"""Study attributes of this name and the start of a run say where its time went."""

State = Literal[
    "complete",
    "pruned",
    "promoted",
    "infeasible",
    "failed",
    "duplicate",
    "cut off",
    "running",
    "waiting",
]
"""`complete` and `pruned` trials were trained. `promoted`: stopped early, and its training gone on
with later, under another number, which counts in its place. `duplicate`: trained before, under
another number, whose history it repeats. `cut off`: it was ended before it was trained, as its
process was gone or all places were taken; its parameters were queued again."""


@dataclass(frozen=True)
class Epoch:
    """One row of a trial's history. Losses in nats, accuracies in percent; None if not finite.

    `loss` and `accuracy` are those on the images that the study measures on; where a loss is None
    the training diverged, and `accuracy` is 0.
    """

    epoch: int
    train_loss: float | None
    train_accuracy: float
    loss: float | None
    accuracy: float
    train_seconds: float
    evaluation_seconds: float


_RENAMED = {"validation_loss": "loss", "validation_accuracy": "accuracy"}
"""Names of earlier versions, and what they are now."""


@dataclass(frozen=True)
class TrialRecord:
    """What is known of one trial. Attributes it has not got (yet) are None."""

    number: int
    state: State
    value: float | None
    parameters: dict[str, Any]
    attributes: dict[str, Any] = field(repr=False)

    @classmethod
    def from_trial(cls, trial: "optuna.trial.FrozenTrial") -> "TrialRecord":
        value = trial.values[0] if trial.values else None
        return cls(trial.number, _state(trial), value, trial.params, trial.user_attrs)

    def checked(self) -> "TrialRecord":
        """This record. Raises NasSearchError if it is not as it was stored: other programs can
        write to a storage too."""
        try:
            kind = _STORED.get(self.state, StoredTrial)
            kind.model_validate({**self.attributes, "value": self.value})
        except ValidationError as error:
            raise changed(f"trial {self.number}", one_line(error)) from None
        return self

    @property
    def was_trained(self) -> bool:
        """Counts towards the number of trials asked for."""
        return self.state in ("complete", "pruned")

    @property
    def promoted_from(self) -> int | None:
        """The number of the stopped trial that it goes on with, if it does."""
        return _promoted_from(self.number, self.attributes)

    @property
    def diverged(self) -> bool:
        """Its training broke down (no finite loss); its state is `pruned`."""
        reason = str(self.attributes.get("reason", ""))
        return self.state == "pruned" and reason.startswith("diverged")

    @property
    def was_stopped(self) -> bool:
        """The pruner ended it early."""
        return self.state == "pruned" and not self.diverged

    @property
    def title(self) -> str:
        """What a person calls it."""
        given = Given.of(self.attributes)
        return given.title if given else f"trial {self.number}"

    @property
    def params(self) -> int:
        """Trainable parameters."""
        return int(self.attributes["params"])

    @property
    def macs(self) -> int:
        """Multiply-accumulates per image."""
        return int(self.attributes["macs"])

    @property
    def sustained(self) -> float:
        """Sustained validation accuracy in percent; of the epochs it ran, if it was pruned."""
        return float(self.attributes["sustained"])

    @property
    def history(self) -> list[Epoch]:
        rows = self.attributes.get("history", ())
        return [Epoch(**{_RENAMED.get(name, name): row[name] for name in row}) for row in rows]

    @property
    def configuration(self) -> Configuration:
        """Raises ValueError if what is stored is not valid."""
        return Configuration(
            architecture=Architecture.from_json(self.attributes["architecture"]),
            recipe=Recipe.from_json(self.attributes["recipe"]),
        )


def drawn_attributes(configuration: Configuration, footprint: Footprint) -> dict[str, Any]:
    """The attributes a trial has as soon as it has drawn its configuration."""
    return {
        "params": footprint.params,
        "macs": footprint.macs,
        "receptive_field_pixels": footprint.receptive_field_pixels,
        "architecture_id": configuration.architecture.id,
        "recipe_id": configuration.recipe.id,
        "architecture": configuration.architecture.to_json(),
        "recipe": configuration.recipe.to_json(),
    }


KNOWN_KEY = "known"
"""The trial attribute with the name of the baseline that it is, if it is one."""

TURN_KEY = "turn"
"""The trial attribute with the turn of one that begins another again which was cut off, or goes on
with one that was stopped: that is always the first."""


def turn_of(trial: "optuna.trial.FrozenTrial | optuna.Trial") -> int:
    """When it is a trial's turn, and what its seed is made of if it does not go on with another:
    its number, or the turn of the trial that it begins again."""
    turn: int = trial.user_attrs.get(TURN_KEY, trial.number)
    return turn


PROMOTED_KEY = "promotes"
"""The trial attribute with the number of the stopped trial whose training this one goes on with."""

DUPLICATE_KEY = "duplicate_of"
"""The trial attribute with the number of the trial whose history this one repeats."""


STATE_KEPT = "state_kept"
"""The trial attribute that says of a stopped trial that it can be gone on with."""


def promoted_from(trial: "optuna.trial.FrozenTrial | optuna.Trial") -> int | None:
    """The number of the stopped trial that it goes on with, None if it began by itself."""
    return _promoted_from(trial.number, trial.user_attrs)


def _promoted_from(number: int, attributes: Mapping[str, Any]) -> int | None:
    """Other programs can write to a storage too: only an earlier trial can have been stopped."""
    stopped = attributes.get(PROMOTED_KEY)
    return stopped if isinstance(stopped, int) and 0 <= stopped < number else None


def origin_of(
    trial: "optuna.trial.FrozenTrial", trials: "Sequence[optuna.trial.FrozenTrial]"
) -> int:
    """The number of the trial, among all of the study, that began the training."""
    while (number := promoted_from(trial)) is not None:
        trial = trials[number]
    return trial.number


@dataclass(frozen=True)
class Given:
    """What a trial comes with that does not draw its configuration. `name`: of the configuration,
    the same for all seeds."""

    name: str
    seed: int
    configuration: Configuration

    KEY: ClassVar[str] = "given"
    """The trial attribute that holds it."""

    @property
    def title(self) -> str:
        """What a person calls it."""
        return f"{self.name}, seed {self.seed}"

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> "Given | None":
        """None if the trial with these attributes draws its configuration."""
        if cls.KEY not in attributes:
            return None
        stored = dict(attributes[cls.KEY])
        configuration = Configuration(
            architecture=Architecture.from_json(stored.pop("architecture")),
            recipe=Recipe.from_json(stored.pop("recipe")),
        )
        return cls(configuration=configuration, **stored)

    def attributes(self) -> dict[str, Any]:
        """What it is stored as."""
        stored = {
            "name": self.name,
            "seed": self.seed,
            "architecture": self.configuration.architecture.to_json(),
            "recipe": self.configuration.recipe.to_json(),
        }
        return {self.KEY: stored}


def trained_attributes(
    history: list[Epoch], settings: StudySettings, *, images_per_epoch: int
) -> dict[str, Any]:
    """The attributes of a trial that was trained for at least one epoch.

    `seconds` are those of training and evaluation together; `images_per_second` counts training
    images over the seconds of training.
    """
    train_seconds = sum(epoch.train_seconds for epoch in history)
    evaluation_seconds = sum(epoch.evaluation_seconds for epoch in history)
    accuracies = [epoch.accuracy for epoch in history]
    last = history[-1]
    return {
        "sustained": settings.sustained(accuracies),
        "best_accuracy": max(accuracies),
        "last_accuracy": last.accuracy,
        "train_accuracy": round(last.train_accuracy, 3),
        "gap": round(last.train_accuracy - last.accuracy, 3),
        "epochs_run": len(history),
        "seconds": round(train_seconds + evaluation_seconds, 2),
        "images_per_second": round(images_per_epoch * len(history) / train_seconds),
        "history": [vars(epoch) for epoch in history],
    }


def time_attributes(seconds: Mapping[Any, float]) -> dict[str, float]:
    """Seconds by kind as attributes, without those that nothing was spent on.

    They are those since the attributes of the trial before were taken, by the same worker. So
    `storage_seconds` has the end of that trial and the beginning of this one.
    """
    return {
        f"{kind}_seconds": round(each, 4)
        for kind, each in seconds.items()
        if each > 0 and kind != "waiting"
    }


def finite(number: float) -> float | None:
    """The number, or None where it is NaN or infinite (JSON has neither)."""
    return number if math.isfinite(number) else None


_STORED: dict[State, type[StoredTrial]] = {
    "complete": StoredComplete,
    "pruned": StoredTrained,
    "duplicate": StoredTrained,
}


def _state(trial: "optuna.trial.FrozenTrial") -> State:
    from optuna.trial import TrialState

    if any(value > 0 for value in trial.constraints.values()):
        return "infeasible"
    if DUPLICATE_KEY in trial.user_attrs and trial.state.is_finished():
        return "duplicate"
    if trial.state == TrialState.FAIL:
        # A failure that was recorded has an error; without one the process was gone.
        return "failed" if "error" in trial.user_attrs else "cut off"
    if trial.state == TrialState.PRUNED:
        return "pruned"
    names: dict[TrialState, State] = {
        TrialState.COMPLETE: "complete",
        TrialState.RUNNING: "running",
        TrialState.WAITING: "waiting",
    }
    return names[trial.state]


def records(study: "optuna.Study") -> list[TrialRecord]:
    """All trials of a study, by number. Raises NasSearchError."""
    trials = study.get_trials(deepcopy=False)
    found = [TrialRecord.from_trial(trial).checked() for trial in trials]
    for each in found.copy():
        stopped = each.promoted_from
        if stopped is None and PROMOTED_KEY in each.attributes:
            raise changed(f"trial {each.number}", "it can't go on with a later trial")
        if stopped is not None and each.was_trained:
            if found[stopped].state != "pruned":
                raise changed(f"trial {each.number}", f"trial {stopped} was not stopped, or twice")
            found[stopped] = replace(found[stopped], state="promoted")
    return found


def given_runs(records: Iterable[TrialRecord]) -> dict[Configuration, dict[int, TrialRecord]]:
    """The trained trials among these that came with their configuration: by that, by seed.

    Of several alike the first: what was decided by it stays so.
    """
    found: dict[Configuration, dict[int, TrialRecord]] = {}
    for record in records:
        given = Given.of(record.attributes)
        if given is not None and record.was_trained:
            found.setdefault(given.configuration, {}).setdefault(given.seed, record)
    return found


@dataclass(frozen=True)
class Confirmation:
    """A finalist retrained on all training images from one seed. Accuracies in percent.

    `accuracies` are those on the test images after each epoch; `weights` is the file of the last
    ones, by its name in the store of the study, which was in `kept_in`. `predictions` has a digit
    for each test image, in their order: what those last weights took it for. The two are empty in
    studies made before they were kept.
    """

    trial: int
    seed: int
    accuracies: list[float]
    sustained: float
    train_accuracy: float
    seconds: float
    weights: str
    device: str
    precision: str
    versions: dict[str, str]
    predictions: str = ""
    kept_in: str = ""

    @staticmethod
    def key(trial: int, seed: int) -> str:
        """The name of the study attribute that holds a confirmation."""
        return f"confirmation:{trial}:{seed}"


def confirmations(study: "optuna.Study") -> dict[int, list[Confirmation]]:
    """All confirmations of a study by trial number, each list by seed. Raises NasSearchError."""
    trained = {each.number for each in records(study) if each.was_trained}
    found: dict[int, list[Confirmation]] = {}
    for key, stored in study.user_attrs.items():
        if key.startswith("confirmation:"):
            try:
                StoredConfirmation.model_validate(stored)
            except ValidationError as error:
                raise changed(key, one_line(error)) from None
            run = Confirmation(**stored)
            if key != Confirmation.key(run.trial, run.seed) or run.trial not in trained:
                raise changed(key, f"trial {run.trial}, seed {run.seed} was not confirmed")
            found.setdefault(run.trial, []).append(run)
    return {trial: sorted(each, key=lambda c: c.seed) for trial, each in found.items()}
