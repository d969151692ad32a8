"""Weights with what is needed to rebuild them: one safetensors file, there as a whole or not.

Nothing is pickled. Architecture, recipe and provenance stand as JSON in the file's own metadata.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from results.errors import NasSearchError
from space import Configuration, footprint
from space.value import one_line

if TYPE_CHECKING:
    from torch import nn

    from results.store import File, Store


class _Made(BaseModel):
    """What an export tells of how weights were made. A checkpoint tells more."""

    device: str
    precision: str
    versions: dict[str, str]


def checkpoint_name(folder: str, trial: int) -> str:
    """The name of a trial's checkpoint in the store of its study; `folder` is the study's."""
    return f"{folder}/checkpoints/trial-{trial:05d}.safetensors"


def confirmation_name(folder: str, trial: int, seed: int) -> str:
    """The name of a confirmation's weights in the store of its study."""
    return f"{folder}/confirmed/trial-{trial:05d}-seed-{seed}.safetensors"


def save_checkpoint(
    store: "Store",
    name: str,
    network: "nn.Module",
    configuration: Configuration,
    about: Mapping[str, Any],
) -> None:
    """Writes the network's weights to the store.

    `about` is kept beside them as JSON (protocol, seed, accuracy, versions). Raises OSError.
    """
    from safetensors.torch import save

    metadata = {"configuration": configuration.to_json(), "about": json.dumps(about)}
    tensors = {name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()}
    store.write(name, save(tensors, metadata=metadata))


def load_checkpoint(file: "File") -> tuple["nn.Module", Configuration, dict[str, Any]]:
    """The network in evaluation mode, its configuration and what `about` said.

    Raises NasSearchError if the file is missing, damaged or does not match its own description.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load
    from torch import Tensor

    from space.network import build_network

    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise NasSearchError(f"{file} is missing") from None
    except OSError as error:
        raise NasSearchError(f"{file} can't be read: {error.strerror or error}") from None
    try:
        tensors, metadata = load(content), metadata_of(content)
        configuration = Configuration.from_json(metadata["configuration"])
        about = json.loads(metadata["about"])
        _Made.model_validate(about)
        # A network takes no more memory than its weights in the file.
        if footprint(configuration.architecture).params > sum(map(Tensor.numel, tensors.values())):
            raise ValueError("it has fewer weights than it describes")
        network = build_network(configuration.architecture)
        network.load_state_dict(tensors)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise NasSearchError(f"{file} is damaged or not a checkpoint: {one_line(error)}") from None
    return network.eval(), configuration, about


def metadata_of(content: bytes) -> dict[str, str]:
    """Of safetensors: eight bytes with the length of its JSON, which has the metadata, then that.

    The library gives it from files alone. Raises ValueError if that is no JSON.
    """
    length = int.from_bytes(content[:8], "little")
    found: dict[str, str] | None = json.loads(content[8 : 8 + length]).get("__metadata__")
    return found or {}
