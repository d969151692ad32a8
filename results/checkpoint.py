"""Weights on disk with what is needed to rebuild them: one safetensors file, written atomically.

Nothing is pickled. Architecture, recipe and provenance stand as JSON in the file's own metadata.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from results.errors import NasSearchError
from space import Configuration, footprint
from space.value import one_line

if TYPE_CHECKING:
    from torch import nn


class _Made(BaseModel):
    """What an export tells of how weights were made. A checkpoint tells more."""

    device: str
    precision: str
    versions: dict[str, str]


def checkpoint_path(folder: str, trial: int) -> Path:
    """Where the checkpoint of a trial lies, below the output folder; `folder` is the study's."""
    return Path(folder) / "checkpoints" / f"trial-{trial:05d}.safetensors"


def confirmation_path(folder: str, trial: int, seed: int) -> Path:
    """Where the weights of a confirmation lie, below the output folder."""
    return Path(folder) / "confirmed" / f"trial-{trial:05d}-seed-{seed}.safetensors"


def save_checkpoint(
    path: Path, network: "nn.Module", configuration: Configuration, about: Mapping[str, Any]
) -> None:
    """Writes the network's weights; `path` holds either nothing or the whole file.

    `about` is kept beside them as JSON (protocol, seed, accuracy, versions). Raises OSError.
    """
    from safetensors.torch import save

    metadata = {"configuration": configuration.to_json(), "about": json.dumps(about)}
    tensors = {name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()}
    write_atomically(path, save(tensors, metadata=metadata))


def load_checkpoint(path: Path) -> tuple["nn.Module", Configuration, dict[str, Any]]:
    """The network in evaluation mode, its configuration and what `about` said.

    Raises NasSearchError if the file is missing, damaged or does not match its own description.
    """
    from safetensors import SafetensorError, safe_open
    from torch import Tensor

    from space.network import build_network

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        configuration = Configuration.from_json(metadata["configuration"])
        about = json.loads(metadata["about"])
        _Made.model_validate(about)
        # A network takes no more memory than its weights in the file.
        if footprint(configuration.architecture).params > sum(map(Tensor.numel, tensors.values())):
            raise ValueError("it has fewer weights than it describes")
        network = build_network(configuration.architecture)
        network.load_state_dict(tensors)
    except FileNotFoundError:
        raise NasSearchError(
            f"{path} is missing: name the folder the search wrote to with --out"
        ) from None
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        said = one_line(error) if isinstance(error, ValidationError) else str(error)
        reason = said.splitlines()[0] if said else type(error).__name__
        raise NasSearchError(f"{path} is damaged or not a checkpoint: {reason}") from None
    return network.eval(), configuration, about


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file that is never seen half written, even after a power cut. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
