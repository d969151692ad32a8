"""The state of a training that was stopped and may be gone on with, as a file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from results.checkpoint import metadata_of

if TYPE_CHECKING:
    import torch

    from results.store import Store


@dataclass(frozen=True)
class TrainingState:
    """All that a training needs to go on after `epoch` as if it had not stopped.

    `tensors`: weights, statistics and momenta by name, and the state of the generator.
    """

    epoch: int
    tensors: "dict[str, torch.Tensor]"


def _name(folder: str, trial: int) -> str:
    return f"{folder}/stopped/trial-{trial:05d}.safetensors"


def keep_state(
    store: "Store", folder: str, trial: int, state: TrainingState, made_with: Mapping[str, Any]
) -> None:
    """Writes the state of a stopped trial's training to the store, with all that it depends on.

    Raises OSError.
    """
    from safetensors.torch import save

    about = {"epoch": state.epoch, "made_with": made_with}
    tensors = {name: tensor.contiguous() for name, tensor in state.tensors.items()}
    store.write(_name(folder, trial), save(tensors, metadata={"about": json.dumps(about)}))


def kept_state(
    store: "Store", folder: str, trial: int, made_with: Mapping[str, Any]
) -> TrainingState | None:
    """The state that was kept of that trial; None if it is not here, damaged, or made with other
    things: another machine may have other files, another device or other versions."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = store.file(_name(folder, trial)).read_bytes()
        tensors, about = load(content), json.loads(metadata_of(content)["about"])
        return TrainingState(about["epoch"], tensors) if about["made_with"] == made_with else None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
