"""The state of a training that was stopped and may be gone on with, as a file."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from results.checkpoint import metadata_of
from space import Configuration

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
    store: "Store",
    folder: str,
    trial: int,
    state: TrainingState,
    configuration: Configuration,
    seed: int,
) -> None:
    """Writes the state of a stopped trial's training to the store. Raises OSError."""
    from safetensors.torch import save

    about = {"epoch": state.epoch, "configuration": configuration.to_json(), "seed": seed}
    tensors = {name: tensor.contiguous() for name, tensor in state.tensors.items()}
    store.write(_name(folder, trial), save(tensors, metadata={"about": json.dumps(about)}))


def kept_state(
    store: "Store", folder: str, trial: int, configuration: Configuration, seed: int
) -> TrainingState | None:
    """The state that was kept of that training; None if it is not here, or not of that training.

    The files of a study need not be shared by the machines that work on it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = store.file(_name(folder, trial)).read_bytes()
        tensors, about = load(content), json.loads(metadata_of(content)["about"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    if (about["configuration"], about["seed"]) != (configuration.to_json(), seed):
        return None
    return TrainingState(about["epoch"], tensors)


def forget_state(store: "Store", folder: str, trial: int) -> None:
    """Removes the state of a stopped trial, if it is here. Raises OSError."""
    file = store.file(_name(folder, trial))
    if file.exists():
        file.unlink()
