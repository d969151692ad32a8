"""Model files: a network written in the forms that other programs load.

Every form but the safetensors one contains the normalisation, so its input are pixels scaled to
0..1; who loads the weights alone finds mean and deviation in config.json.
"""

import json
import logging
import warnings
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from results.checkpoint import write_atomically
from results.errors import NasSearchError
from results.models.pixels import Normalisation, PixelNetwork
from space import Configuration, footprint
from space.network import build_network

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PROGRAM = "model.pt2"
ONNX = "model.onnx"
CARD = "README.md"
EXPORT_FORMAT = 1


def write_model_files(
    folder: Path,
    network: nn.Module,
    configuration: Configuration,
    normalisation: Normalisation,
    about: dict[str, Any],
) -> list[str]:
    """Writes the weights, the description and the programs; returns the names of the files.

    `about` goes into config.json beside architecture and recipe. ONNX is written if its packages
    are installed. Raises OSError.
    """
    from safetensors.torch import save

    network.eval()
    cost = footprint(configuration.architecture)
    config = {
        "format": EXPORT_FORMAT,
        "params": cost.params,
        "macs": cost.macs,
        "receptive_field_pixels": cost.receptive_field_pixels,
        "input": {
            "shape": ["N", *configuration.architecture.input_shape],
            "pixels": "0 (background) to 1 (ink), float32",
            "normalisation": asdict(normalisation),
        },
        **configuration.model_dump(mode="json"),
        **about,
    }
    tensors = {name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()}
    write_atomically(folder / CONFIG, json.dumps(config, indent=2).encode() + b"\n")
    write_atomically(folder / WEIGHTS, save(tensors))
    pixels = torch.rand(2, *configuration.architecture.input_shape)
    model = PixelNetwork(network, normalisation).eval()
    _write_program(folder / PROGRAM, model, pixels)
    written = [WEIGHTS, CONFIG, PROGRAM]
    if onnx_is_installed():
        _write_onnx(folder / ONNX, model, pixels)
        written.append(ONNX)
    return written


def onnx_is_installed() -> bool:
    """Whether the packages of the extra `onnx` are there."""
    return all(find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))


def load_exported(folder: Path) -> tuple[PixelNetwork, dict[str, Any]]:
    """The network of config.json with the weights of model.safetensors, and the configuration.

    Raises NasSearchError if a file is missing or damaged or the two do not fit.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        config = json.loads((folder / CONFIG).read_bytes())
        configuration = Configuration.model_validate(
            {name: config[name] for name in ("architecture", "recipe")}
        )
        normalisation = Normalisation(**config["input"]["normalisation"])
        network = build_network(configuration.architecture)
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NasSearchError(f"{folder} is not an intact export: {reason}") from None
    return PixelNetwork(network, normalisation).eval(), config


def _write_program(path: Path, model: PixelNetwork, pixels: torch.Tensor) -> None:
    batch = torch.export.Dim("batch", min=1)
    with _quiet():
        program = torch.export.export(model, (pixels,), dynamic_shapes={"pixels": {0: batch}})
        for node in program.graph.nodes:  # the paths of this machine are nobody's business
            node.meta.pop("stack_trace", None)
        torch.export.save(program, path)


def _write_onnx(path: Path, model: PixelNetwork, pixels: torch.Tensor) -> None:
    batch = torch.export.Dim("batch", min=1)
    with _quiet():
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


class _quiet(warnings.catch_warnings):  # noqa: N801
    """Keeps the exporters' own remarks from the terminal."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore")
        self._level = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *details: Any) -> None:
        logging.disable(self._level)
        super().__exit__(*details)
