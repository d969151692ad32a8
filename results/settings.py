"""What a study is about: fixed when it is made, and the same for every trial in it."""

from typing import Any, Literal

from pydantic import Field, ValidationError

from results.errors import NasSearchError
from space import Configuration, SearchSpace, Value
from space.value import one_line

FORMAT = 6
"""Version of what is stored in a study. A study with a higher one is refused. Since 2 trials can
come with their configuration, since 3 normalisations can be without a scale,
since 4 the optimiser can be Muon, since 5 there are views and recalibration, since 6
images can be moved elastically."""

SETTINGS_KEY = "settings"

ObjectiveName = Literal["accuracy", "smallest"]

ProtocolName = Literal["search", "published"]
"""What trials train on and are measured on. search: the training images without those held out for
validation, and these. published: all training images, and the test images, as the write-ups do."""


class Goal(Value):
    """The configuration that a drill-down leads to, and what a person calls it."""

    title: str
    configuration: Configuration
    rules: int = 1
    """Which rules made its rungs (`space.ingredients.RULES`)."""


class StudySettings(Value):
    """Everything that must not change between the trials of a study. Accuracies in percent."""

    format: int = FORMAT
    dataset: Literal["mnist", "mnist-sample"]
    space: SearchSpace
    objective: ObjectiveName = "accuracy"
    target: float = Field(default=99.4, gt=0, le=100)
    epochs: int = Field(default=15, ge=1)
    sustain: int = Field(default=4, ge=1)
    trials: Literal["drawn", "given"] = "drawn"
    """Whether each trial draws its configuration or comes with it."""
    protocol: ProtocolName = "search"
    goal: Goal | None = None

    @classmethod
    def of(cls, stored: Any, study: str) -> "StudySettings":
        """What is stored in a study. Raises NasSearchError if a newer version or another program
        wrote it."""
        version = stored.get("format") if isinstance(stored, dict) else None
        if isinstance(version, int) and version > FORMAT:
            raise NasSearchError(
                f"study {study} was written by a newer nas-search: upgrade this one"
            )
        try:
            return cls.model_validate(stored)
        except ValidationError as error:
            raise NasSearchError(
                f"the settings of study {study} are not as nas-search stores them "
                f"({one_line(error)}): name another with --study"
            ) from None

    @property
    def about(self) -> Literal["search", "replay", "drill-down", "front"]:
        """What the study is made for."""
        if self.trials == "drawn":
            return "search"
        if self.protocol == "published":
            return "replay"
        return "front" if self.goal is None else "drill-down"

    @property
    def measured_on(self) -> str:
        """The images that trials are measured on, in a word."""
        return {"search": "validation", "published": "test"}[self.protocol]

    @property
    def max_params(self) -> int:
        """The parameter budget; exclusive."""
        return self.space.max_params

    def score(self, accuracy: float, params: int) -> float:
        """The one number a trial is judged by; higher is better.

        "accuracy": the accuracy. "smallest": the accuracy as long as it is below the target t;
        at or above it t + (100 - t) * (1 - params / max_params), so every network that holds the
        target is ahead of every one that does not, and of two that hold it the smaller is ahead.
        The same formula is applied to the accuracy of each epoch (reported, and used for pruning)
        and to the sustained accuracy (the value of the trial).
        """
        if self.objective == "accuracy" or not accuracy >= self.target:
            return accuracy
        return self.target + (100 - self.target) * (1 - params / self.max_params)

    def sustained(self, accuracies: list[float]) -> float:
        """The lowest of the last `sustain` accuracies (of all, if there are fewer)."""
        return min(accuracies[-self.sustain :])

    def refuse_if_different(self, wanted: "StudySettings", study: str) -> None:
        """Raises NasSearchError naming the first difference to the settings asked for."""
        if (self.trials, self.protocol) != (wanted.trials, wanted.protocol):
            raise NasSearchError(
                f"study {study} was made by another command: choose another name with --study"
            )
        for name, option in _OPTIONS.items():
            have, want = getattr(self, name), getattr(wanted, name)
            if have != want:
                raise NasSearchError(
                    f"study {study} was made with {option} {have}, not {want}: "
                    f"use {option} {have} to go on with it, or another name with --study"
                )
        if self.trials == "given":  # nothing is drawn
            return
        for name in sorted({*self.space.dimensions, *wanted.space.dimensions}):
            if self.space.dimensions.get(name) != wanted.space.dimensions.get(name):
                raise NasSearchError(
                    f"study {study} was made with another search space ({name} differs): "
                    f"choose another name with --study"
                )


_OPTIONS = {
    "dataset": "--dataset",
    "max_params": "--max-params",
    "epochs": "--epochs",
    "sustain": "--sustain",
    "objective": "--objective",
    "target": "--target",
}
