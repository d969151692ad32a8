"""What trials and confirmations must have to be read: other programs can write to a storage too.

Values alone are checked, nothing is converted: what is read is what was stored.
"""

import sys
from typing import Annotated

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
)

from space import Architecture, Recipe

LARGEST = 1 << 53
"""Of whole numbers: these are exact as floating-point numbers too."""

Count = Annotated[int, Field(strict=True, ge=0, le=LARGEST)]
Percent = Annotated[float, Field(strict=True, ge=0, le=100)]
Points = Annotated[float, Field(strict=True, ge=-100, le=100)]
Seconds = Annotated[float, Field(strict=True, ge=0, le=LARGEST)]
Number = Annotated[float, Field(strict=True, ge=-LARGEST, le=LARGEST)]
Loss = Annotated[float, Field(strict=True, le=sys.float_info.max)]
"""As large as it may get before it is none: a training that is about to explode has any."""
Mark = Annotated[StrictStr, Field(pattern=r"^.*/[0-9]{1,10}/[0-9]{1,12}\.[0-9]{2}$")]
"""Of a process: machine, number, and when it was started."""


def _is_architecture(text: str) -> str:
    Architecture.from_json(text)
    return text


def _is_recipe(text: str) -> str:
    Recipe.from_json(text)
    return text


class _Stored(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False, extra="ignore")


class _StoredEpoch(_Stored):
    model_config = ConfigDict(extra="forbid")

    epoch: Count
    train_loss: Loss | None
    train_accuracy: Percent
    loss: Loss | None = Field(validation_alias=AliasChoices("loss", "validation_loss"))
    accuracy: Percent = Field(validation_alias=AliasChoices("accuracy", "validation_accuracy"))
    train_seconds: Seconds
    evaluation_seconds: Seconds


class _StoredGiven(_Stored):
    model_config = ConfigDict(extra="forbid")

    name: StrictStr
    seed: Count
    architecture: Annotated[StrictStr, AfterValidator(_is_architecture)]
    recipe: Annotated[StrictStr, AfterValidator(_is_recipe)]


class StoredTrial(_Stored):
    """A trial in any state. It may have more, and only what it has is checked."""

    value: Number | None = None
    params: Count = 0
    macs: Count = 0
    reason: StrictStr = ""
    seed: Count = 0
    attempt: Count = 1
    turn: Count = 0
    duplicate_of: Count = 0
    promotes: Count = 0
    state_kept: StrictBool = False
    given: _StoredGiven | None = None
    kept_in: StrictStr = ""
    versions: dict[StrictStr, StrictStr] = {}
    worker: Mark | None = None
    crew: Mark | None = None
    queued_by: Mark | None = None
    known: StrictStr = ""


class StoredTrained(StoredTrial):
    """A trial that has been trained, or repeats one that has."""

    params: Count
    macs: Count
    architecture: StrictStr
    recipe: StrictStr
    sustained: Percent
    best_accuracy: Percent
    train_accuracy: Percent
    gap: Points
    epochs_run: Count
    seconds: Seconds
    history: list[_StoredEpoch] = Field(min_length=1)


class StoredComplete(StoredTrained):
    """A trial that can be chosen, confirmed and exported."""

    value: Number
    seed: Count
    device: StrictStr
    precision: StrictStr
    versions: dict[StrictStr, StrictStr]
    checkpoint: StrictStr


class StoredConfirmation(_Stored):
    """A confirmation, with all that it may have."""

    model_config = ConfigDict(extra="forbid")

    trial: Count
    seed: Count
    accuracies: list[Percent] = Field(min_length=1)
    sustained: Percent
    train_accuracy: Percent
    seconds: Seconds
    weights: StrictStr
    device: StrictStr
    precision: StrictStr
    versions: dict[StrictStr, StrictStr]
    predictions: Annotated[str, Field(strict=True, pattern="^[0-9]*$")] = ""
    kept_in: StrictStr = ""


class StoredClaim(_Stored):
    """Who does something that is to be done once, and how often its heart has beaten since."""

    process: Mark
    beats: Count
