"""Opens a model file of any form as a function from pixels to logits.

Files from elsewhere are not trusted. Weights are numbers (safetensors, no pickle), checked against
a config.json that is checked itself, before memory is taken for them. An ONNX model is opened only
if it has nothing but what an export writes (`results.models.onnx_check`). A .pt2 and a .h are
programs: PyTorch's own loader unpickles parts of an archive, evaluates expressions and guards in it
and calls operators it names, and a header is compiled and run. They are opened only if the caller
says that they are trusted. The checksums in config.json tell that a file is the one that was
exported, not who exported it.
"""

import hashlib
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from results.errors import NasSearchError
from results.models.c_program import CProgram
from results.models.files import CONFIG, EXPORT_FORMAT, WEIGHTS
from results.models.onnx_check import BATCH, check_onnx
from results.models.pixels import Normalisation, PixelNetwork
from results.models.quiet import quiet
from space import footprint
from space.architecture import Architecture, Pool
from space.network import build_network
from space.recipe import Recipe
from space.value import one_line

Model = Callable[[torch.Tensor], torch.Tensor]
"""From pixels 0..1, float32 (N, 1, 28, 28), to logits, float32 (N, classes)."""

INPUT_SHAPE = (1, 28, 28)
MOST_CONFIG_BYTES = 1_000_000
MOST_BYTES = 100_000_000
MOST_PARAMS = 10_000_000
MOST_VALUES = 1 << 24
"""Of one feature map of the images that are run at once."""

MOST_PRODUCTS = 1 << 30
"""For one image: about a second on one core. What a pooling reads counts too."""


class _Normalisation(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)

    mean: float
    std: float = Field(gt=0)


class _Input(BaseModel):
    normalisation: _Normalisation


class _File(BaseModel):
    bytes: int
    sha256: str


class _Config(BaseModel):
    """What opening needs of config.json; it tells more."""

    format: int = Field(ge=1, le=EXPORT_FORMAT)
    input: _Input
    architecture: Architecture
    recipe: Recipe
    files: dict[str, _File] = {}


def open_model(path: Path, *, trusted: bool = False) -> Model:
    """The model in a file, or in the `model.safetensors` of a folder.

    `trusted`: whether the file may run code. Raises NasSearchError.
    """
    if not path.exists():
        raise NasSearchError(
            f"{path} does not exist: name a folder that nas-search export wrote, or a file in it"
        )
    if path.is_dir():
        path = path / WEIGHTS
    if path.suffix not in _OPENERS:
        raise NasSearchError(
            f"{path} is no model file: name a folder that nas-search export wrote, or a file that "
            f"ends in {', '.join(_OPENERS)}"
        )
    if path.suffix in PROGRAM_FORMS and not trusted:
        raise NasSearchError(
            f"{path} is a program, and opening it runs what it contains: add --trust if you know "
            f"who made it, or name a .safetensors or .onnx file"
        )
    content = read_file(path, MOST_BYTES)
    _compare(path, content)
    model = _OPENERS[path.suffix](path, content)

    def logits(pixels: torch.Tensor) -> torch.Tensor:
        try:
            found = model(pixels)
        except Exception as error:  # of whatever runtime it is
            raise NasSearchError(f"{path} cannot be run: {one_line(error)}") from None
        if found.dim() != 2 or len(found) != len(pixels):
            raise NasSearchError(f"{path} does not give logits: it is no export of nas-search")
        return found

    return logits


def load_exported(folder: Path) -> tuple[PixelNetwork, dict[str, Any]]:
    """The network of config.json with the weights of model.safetensors, and the configuration.

    Raises NasSearchError if a file is missing or damaged or the two do not fit.
    """
    path = folder / WEIGHTS
    content = read_file(path, MOST_BYTES)
    _compare(path, content)
    return _weights(path, content), json.loads(read_file(folder / CONFIG, MOST_CONFIG_BYTES))


def read_file(path: Path, most: int) -> bytes:
    """Its content. Raises NasSearchError if it cannot be read or has more than `most` bytes."""
    try:
        if path.exists() and not path.is_file():
            raise NasSearchError(f"{path} is not a file")
        with path.open("rb") as file:
            content = file.read(most + 1)
    except FileNotFoundError:
        raise NasSearchError(f"{path} is missing") from None
    except OSError as error:
        raise NasSearchError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(content) > most:
        raise NasSearchError(f"{path} has more than {most:,} bytes, which is refused")
    return content


def _config(folder: Path) -> _Config:
    path = folder / CONFIG
    content = read_file(path, MOST_CONFIG_BYTES)
    try:
        config = _Config.model_validate_json(content)
    except ValidationError as error:
        raise NasSearchError(f"{path} is not that of an export: {one_line(error)}") from None
    architecture = config.architecture
    if architecture.input_shape != INPUT_SHAPE:
        raise NasSearchError(f"{path} describes a network for other images than of 28 x 28 pixels")
    params, products, largest = (
        footprint(architecture).params,
        _products(architecture),
        _largest_map(architecture),
    )
    if params > MOST_PARAMS or largest > MOST_VALUES or products > MOST_PRODUCTS:
        raise NasSearchError(
            f"{path} describes a network of {params:,} parameters and a feature map of {largest:,} "
            f"values that takes {products:,} products for an image: more than {MOST_PARAMS:,}, "
            f"{MOST_VALUES:,} and {MOST_PRODUCTS:,} are refused"
        )
    return config


def _largest_map(architecture: Architecture) -> int:
    """Values of it, for all views of one image."""
    return architecture.views * max(math.prod(shape) for shape in architecture.shapes())


def _products(architecture: Architecture) -> int:
    """Of the convolutions for one image, and the values that its poolings read."""
    read = (
        math.prod(shape) * layer.size**2
        for layer, shape in zip(architecture.layers, architecture.shapes()[1:], strict=True)
        if isinstance(layer, Pool)
    )
    return footprint(architecture).macs + architecture.views * sum(read)


def _compare(path: Path, content: bytes) -> None:
    """Compares a file with what the config.json beside it, if there is one, says of it."""
    if not (path.parent / CONFIG).exists():
        return
    expected = _config(path.parent).files.get(path.name)
    if expected is None:
        return
    found = _File(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    if found != expected:
        raise NasSearchError(
            f"{path} was changed after it was exported: its checksum is not that in {CONFIG}"
        )


def _weights(path: Path, content: bytes) -> PixelNetwork:
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not (path.parent / CONFIG).exists():
        raise NasSearchError(f"{path} needs the {CONFIG} that was exported with it beside it")
    config = _config(path.parent)
    network = build_network(config.architecture)
    try:
        tensors = load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise NasSearchError(f"{path} is damaged: {one_line(error)}") from None
    expected = network.state_dict()
    for name in sorted(expected.keys() ^ tensors.keys()):
        what = "lacks" if name in expected else "should not have"
        raise NasSearchError(f"{path} does not fit {CONFIG}: it {what} {name}")
    for name, tensor in expected.items():
        found = tensors[name]
        if (found.shape, found.dtype) != (tensor.shape, tensor.dtype):
            raise NasSearchError(
                f"{path} does not fit {CONFIG}: {name} is {found.dtype} {tuple(found.shape)}, not "
                f"{tensor.dtype} {tuple(tensor.shape)}"
            )
        if not bool(torch.isfinite(found).all()):
            raise NasSearchError(f"{path} is damaged: {name} has values that are not finite")
    network.load_state_dict(tensors)
    normalisation = config.input.normalisation
    return PixelNetwork(network, Normalisation(normalisation.mean, normalisation.std)).eval()


def _network(path: Path, content: bytes) -> Model:
    # Depthwise convolutions are several times as fast in this format on a CPU.
    model = _weights(path, content).to(memory_format=torch.channels_last)
    batch = MOST_VALUES // _largest_map(_config(path.parent).architecture)

    def logits(pixels: torch.Tensor) -> torch.Tensor:
        return torch.cat([model(each) for each in torch.split(pixels, batch)])

    return logits


def _program(path: Path, content: bytes) -> Model:
    try:
        with quiet():
            return torch.export.load(io.BytesIO(content)).module()
    except Exception as error:  # whatever a damaged archive makes PyTorch raise
        raise NasSearchError(f"{path} is damaged: {one_line(error)}") from None


def _onnx(path: Path, content: bytes) -> Model:
    try:
        import onnx  # noqa: F401
        import onnxruntime
    except ImportError:
        raise NasSearchError(
            f"{path} needs pip install onnx onnxruntime, or name a .safetensors file"
        ) from None
    try:
        check_onnx(content, INPUT_SHAPE)
    except NasSearchError as error:
        raise NasSearchError(f"{path} is no export of nas-search: {error}") from None
    options = onnxruntime.SessionOptions()
    # Not another format that ONNX Runtime would recognise: ONNX is what was checked.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has an exception for each of its codes
        raise NasSearchError(f"{path} is damaged: {one_line(error)}") from None
    inputs, outputs = session.get_inputs(), session.get_outputs()
    described = [(each.name, each.type, tuple(each.shape[1:])) for each in inputs]
    if described != [("pixels", "tensor(float)", INPUT_SHAPE)] or len(outputs) != 1:
        raise NasSearchError(f"{path} does not take pixels alone: it is no export of nas-search")

    def logits(pixels: torch.Tensor) -> torch.Tensor:
        batches = torch.split(pixels, BATCH)
        return torch.cat(
            [torch.from_numpy(session.run(None, {"pixels": each.numpy()})[0]) for each in batches]
        )

    return logits


def _header(path: Path, content: bytes) -> Model:
    try:
        return CProgram(content.decode(errors="replace"))
    except NasSearchError as error:
        raise NasSearchError(f"{path}: {error}") from None


_OPENERS: dict[str, Callable[[Path, bytes], Model]] = {
    ".safetensors": _network,
    ".onnx": _onnx,
    ".pt2": _program,
    ".h": _header,
}
PROGRAM_FORMS = (".pt2", ".h")
"""Files that run code when they are opened."""
