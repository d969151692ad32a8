"""Checkpoints that are damaged or made by others: loaded as they are, or one line."""

import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from results.checkpoint import load_checkpoint, save_checkpoint
from results.store import Folder
from space import Architecture, Configuration, Conv, Head, Recipe
from space.network import build_network
from tests.fuzzing import TRAPS, answer_of, fuzzed, mutated_bytes, mutated_json

CONFIGURATION = Configuration(
    architecture=Architecture(
        layers=(Conv(kind="conv", width=3, then=("norm", "relu")),), head=Head(kind="gap_conv")
    ),
    recipe=Recipe(learning_rate=0.1),
)
ABOUT = {"device": "CPU", "precision": "float32", "versions": {"torch": "2"}, "seed": 0}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, to be changed."""
    return tmp_path_factory.mktemp("checkpoints") / "trial-00001.safetensors"


@pytest.fixture(scope="module")
def valid(file: Path) -> bytes:
    network = build_network(CONFIGURATION.architecture)
    save_checkpoint(Folder(file.parent), file.name, network, CONFIGURATION, ABOUT)
    return file.read_bytes()


def read(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    loaded = answer_of("checkpoints", lambda: load_checkpoint(file))
    if loaded is not None:
        network, _, about = loaded
        assert about.keys() >= {"device", "precision", "versions"}
        with torch.no_grad():
            assert network(torch.zeros(1, 1, 28, 28)).shape == (1, 10)


@st.composite
def checkpoints(draw: st.DrawFn, valid: bytes) -> bytes:
    (size,) = struct.unpack("<Q", valid[:8])
    header, weights = json.loads(valid[8 : 8 + size]), valid[8 + size :]
    metadata = header["__metadata__"]
    which = draw(st.sampled_from(["configuration", "configuration", "about", "header", "bytes"]))
    if which == "bytes":
        return draw(mutated_bytes(valid))
    if which == "header":
        changed = draw(mutated_json(header))
    else:
        text = draw(mutated_json(json.loads(metadata[which]))).decode(errors="replace")
        changed = json.dumps(header | {"__metadata__": metadata | {which: text}}).encode()
    return struct.pack("<Q", len(changed)) + changed + weights


@fuzzed(150)
@given(data=st.data())
def test_checkpoints(file: Path, valid: bytes, data: st.DataObject) -> None:
    read(file, data.draw(checkpoints(valid)))


@pytest.mark.parametrize("metadata", [None, {}, {"configuration": "{}", "about": "[]"}])
def test_what_says_nothing_of_itself_is_refused(
    file: Path, valid: bytes, metadata: dict[str, str] | None
) -> None:
    (size,) = struct.unpack("<Q", valid[:8])
    changed = json.dumps(json.loads(valid[8 : 8 + size]) | {"__metadata__": metadata}).encode()
    read(file, struct.pack("<Q", len(changed)) + changed + valid[8 + size :])


@pytest.mark.parametrize("width", [4_096, 2_500])
def test_a_network_without_its_weights_takes_no_memory(
    file: Path, valid: bytes, width: int
) -> None:
    layers = (Conv(kind="conv", width=width, kernel_size=9, padding=4),) * 2
    architecture = CONFIGURATION.architecture.model_copy(update={"layers": layers})
    configuration = CONFIGURATION.model_copy(update={"architecture": architecture})
    (size,) = struct.unpack("<Q", valid[:8])
    header = json.loads(valid[8 : 8 + size])
    header["__metadata__"]["configuration"] = configuration.to_json()
    changed = json.dumps(header).encode()
    read(file, struct.pack("<Q", len(changed)) + changed + valid[8 + size :])


def test_what_is_no_checkpoint_is_named(file: Path, valid: bytes) -> None:
    for content in (*TRAPS, b"", bytes(8), b"\xff" * 100):
        read(file, content)
    for path in (file.parent, Path("/dev/null"), file / "x", file.parent / ("x" * 300)):
        assert answer_of("checkpoints", lambda path=path: load_checkpoint(path)) is None
