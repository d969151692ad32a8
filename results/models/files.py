"""Model files: a network written in the forms that other programs load.

Every form but the safetensors one contains the normalisation, so its input are pixels scaled to
0..1 (bytes in the C header); who loads the weights alone finds mean and deviation in config.json.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from results.atomic import write_atomically
from results.models.memory import buffers, peak
from results.models.onnx_int8 import int8_onnx, int8_onnx_activation_bytes
from results.models.pixels import Normalisation, PixelNetwork
from results.models.program import Program, ProgramNetwork, lower
from results.models.quantised import IntegerProgram
from results.models.quiet import quiet
from space import Configuration, footprint

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PROGRAM = "model.pt2"
ONNX = "model.onnx"
FOLDED_PROGRAM = "model.folded.pt2"
FOLDED_ONNX = "model.folded.onnx"
INT8_ONNX = "model.int8.onnx"
HEADER = "model.h"
CARD = "README.md"
FLOAT_FORMS = (WEIGHTS, PROGRAM, ONNX, FOLDED_PROGRAM, FOLDED_ONNX)
"""Forms in float32, whose logits are those of the network."""

INTEGER_FORMS = (INT8_ONNX, HEADER)
FORMS = (*FLOAT_FORMS, *INTEGER_FORMS)
EXPORT_FORMAT = 5
"""Since 2 normalisations can be without a scale, since 3 the optimiser can be Muon, since 4
there are views and recalibration, since 5 images can be moved elastically. A file with a higher one
is refused."""

_SEED = re.compile(r"seed-(0|[1-9]\d{0,8})\.safetensors")


def seed_weights(seed: int) -> str:
    """The file of the weights that were trained from another confirmation seed."""
    return f"seed-{seed}.safetensors"


def seed_of(name: str) -> int | None:
    """The seed if the file has the weights of another confirmation seed."""
    found = _SEED.fullmatch(name)
    return int(found[1]) if found else None


@dataclass(frozen=True)
class Forms:
    """What is written besides the plain forms: each only if it is there.

    `header` is the text of the C header of `integers`, `static_bytes` its static memory and
    `constant_bytes` its constants. `seeds`: the same network, from other confirmation seeds.
    """

    folded: Program | None = None
    integers: IntegerProgram | None = None
    header: str | None = None
    static_bytes: int = 0
    constant_bytes: int = 0
    seeds: Mapping[int, nn.Module] = field(default_factory=dict)


def write_model_files(
    folder: Path,
    network: nn.Module,
    configuration: Configuration,
    normalisation: Normalisation,
    about: dict[str, Any],
    further: Forms = Forms(),
) -> list[str]:
    """Writes the weights, the description and all other forms; returns the names of the files.

    `about` goes into config.json beside architecture, recipe and, for each form, its bytes, their
    SHA-256 and its peak activation memory (of the C header also the bytes of its constants). ONNX
    forms are written if its packages are installed. Raises OSError.
    """
    from safetensors.torch import save

    network.eval()
    shape = configuration.architecture.input_shape
    model = PixelNetwork(network, normalisation).eval()
    plain = lower(model, shape)
    trained = {WEIGHTS: network}
    trained |= {seed_weights(seed): each for seed, each in further.seeds.items()}
    for name, each in trained.items():
        tensors = {key: tensor.contiguous().cpu() for key, tensor in each.state_dict().items()}
        write_atomically(folder / name, save(tensors))
    activations = dict.fromkeys(trained, float_activation_bytes(plain))
    programs: list[tuple[nn.Module, Program, str, str]] = [(model, plain, PROGRAM, ONNX)]
    if further.folded is not None:
        folded = ProgramNetwork(further.folded).eval()
        programs.append((folded, further.folded, FOLDED_PROGRAM, FOLDED_ONNX))
    pixels = torch.rand(2, *shape)
    for module, program, program_name, onnx_name in programs:
        _write_program(folder / program_name, module, pixels)
        activations[program_name] = float_activation_bytes(program)
        if onnx_is_installed():
            _write_onnx(folder / onnx_name, module, pixels)
            activations[onnx_name] = activations[program_name]
    if further.integers is not None:
        write_atomically(folder / INT8_ONNX, int8_onnx(further.integers))
        activations[INT8_ONNX] = int8_onnx_activation_bytes(further.integers)
    if further.header is not None:
        write_atomically(folder / HEADER, further.header.encode())
        activations[HEADER] = further.static_bytes
    cost = footprint(configuration.architecture)
    config = {
        "format": EXPORT_FORMAT,
        "params": cost.params,
        "macs": cost.macs,
        "receptive_field_pixels": cost.receptive_field_pixels,
        "input": {
            "shape": ["N", *shape],
            "pixels": "0 (background) to 1 (ink), float32",
            "normalisation": asdict(normalisation),
        },
        **configuration.model_dump(mode="json"),
        **about,
        "files": {
            name: {**_contents(folder / name), "peak_activation_bytes": size}
            for name, size in activations.items()
        },
    }
    if further.header is not None:
        config["files"][HEADER]["constant_bytes"] = further.constant_bytes
    _write_config(folder, config)
    return [CONFIG, *activations]


def add_measurements(folder: Path, measured: Mapping[str, Mapping[str, float | None]]) -> Any:
    """Adds to each file in config.json what was measured of it; returns what it says of files."""
    config = json.loads((folder / CONFIG).read_bytes())
    for name, numbers in measured.items():
        config["files"][name].update(numbers)
    _write_config(folder, config)
    return config["files"]


def float_activation_bytes(program: Program) -> int:
    """The most bytes that the maps of one image take at once, with four bytes a value.

    The largest sum of maps that live at the same time, the pixels included, when the program is
    run operation by operation (see `results.models.memory`), for all views at once (the image
    itself is not counted beside its views). A runtime that fuses operations may need less, one that
    plans worse more.
    """
    sizes = [4 * program.views * math.prod(shape) for shape in program.shapes]
    return peak(buffers(program.steps, sizes))


def _contents(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _write_config(folder: Path, config: dict[str, Any]) -> None:
    write_atomically(folder / CONFIG, json.dumps(config, indent=2).encode() + b"\n")


def onnx_is_installed(*, to_write: bool = True) -> bool:
    """Whether the packages of the extra `onnx` are there; to read ONNX files takes two of them."""
    names = ("onnx", "onnxruntime", *(("onnxscript",) if to_write else ()))
    return all(find_spec(name) for name in names)


def _write_program(path: Path, model: nn.Module, pixels: torch.Tensor) -> None:
    batch = torch.export.Dim("batch", min=1)
    with quiet():
        program = torch.export.export(model, (pixels,), dynamic_shapes={"pixels": {0: batch}})
        for node in program.graph.nodes:  # the paths of this machine are nobody's business
            node.meta.pop("stack_trace", None)
        torch.export.save(program, path)


def _write_onnx(path: Path, model: nn.Module, pixels: torch.Tensor) -> None:
    batch = torch.export.Dim("batch", min=1)
    with quiet():
        program = torch.onnx.export(
            model,
            (pixels,),
            dynamo=True,
            verbose=False,
            input_names=["pixels"],
            output_names=["logits"],
            dynamic_shapes={"pixels": {0: batch}},
        )
        assert program is not None
        for node in program.model.graph:
            node.metadata_props.clear()
        program.save(path, external_data=False)
