"""Model files from anywhere, changed in any way: opened as they are or refused, never run."""

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from results.models.loading import load_exported, open_model
from results.models.promise import read_promise
from space import Architecture, Conv, Head, Layer, Pool
from space.network import build_network
from tests.fuzzing import (
    TRAPS,
    WHOLE_NUMBERS,
    Trap,
    answer_of,
    fuzzed,
    mutated_bytes,
    mutated_json,
)

EXPORT = Path(__file__).parents[1] / "results" / "mnist-30-trials-cpu" / "model"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export in every form, without checksums: these would hide every other fault."""
    folder = shutil.copytree(EXPORT, tmp_path_factory.mktemp("exported") / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"files": {}}))
    return folder


@pytest.fixture(scope="module")
def copy(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, to be changed."""
    return shutil.copytree(exported, tmp_path_factory.mktemp("copy") / "model")


@pytest.fixture(autouse=True)
def nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    yield
    assert not Trap.FILE.exists()


def logits(path: Path, pictures: int = 3) -> torch.Tensor:
    with torch.inference_mode():
        found = open_model(path)(torch.rand(pictures, 1, 28, 28))
    assert found.shape[0] == pictures
    return found


@fuzzed(100)
@given(data=st.data())
def test_config_json(exported: Path, copy: Path, data: st.DataObject) -> None:
    config = json.loads((exported / "config.json").read_text())
    keys = data.draw(st.sampled_from([(), ("architecture",), ("input",), ("files",)]))
    changed = data.draw(
        st.one_of(mutated_json(config, keys), mutated_bytes(json.dumps(config).encode()))
    )
    (copy / "config.json").write_bytes(changed)
    shutil.copy(exported / "model.safetensors", copy)
    answer_of("config.json", lambda: load_exported(copy))
    answer_of("config.json", lambda: logits(copy))


@fuzzed(100)
@given(data=st.data())
def test_cards(exported: Path, copy: Path, data: st.DataObject) -> None:
    """What is promised is read from any card, with what config.json says."""
    shutil.copy(exported / "config.json", copy)
    card = (exported / "README.md").read_bytes()
    repeated = st.sampled_from([b"Confirmed over 3 seeds: ", b"| `a` | ", b"**9.9%** mean "])
    changed = data.draw(
        st.one_of(mutated_bytes(card, heads=len(card)), repeated.map(lambda each: each * 30_000))
    )
    (copy / "README.md").write_bytes(changed)
    found = answer_of("README.md", lambda: read_promise(copy))
    assert found is None or found.accuracies["model.safetensors"] >= 99.45


@fuzzed(100)
@given(data=st.data())
def test_safetensors(exported: Path, copy: Path, data: st.DataObject) -> None:
    valid = (exported / "model.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", valid[:8])
    header, weights = json.loads(valid[8 : 8 + size]), valid[8 + size :]
    if data.draw(st.booleans()):
        header = data.draw(mutated_json(header))
        changed = struct.pack("<Q", len(header)) + header + weights
    else:
        changed = data.draw(mutated_bytes(valid))
    shutil.copy(exported / "config.json", copy)
    (copy / "model.safetensors").write_bytes(changed)
    answer_of("model.safetensors", lambda: logits(copy))


@fuzzed(100)
@given(data=st.data())
def test_onnx(exported: Path, copy: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["model.onnx", "model.folded.onnx", "model.int8.onnx"]))
    valid = (exported / name).read_bytes()
    changed = data.draw(st.one_of(mutated_onnx(valid), mutated_bytes(valid, heads=len(valid))))
    (copy / "model.onnx").write_bytes(changed)
    answer_of("model.onnx", lambda: logits(copy / "model.onnx"))


@st.composite
def mutated_onnx(draw: st.DrawFn, valid: bytes) -> bytes:
    """ONNX that says something else: other operations, attributes, sizes and connections."""
    model = onnx.load_model_from_string(valid)
    graph = model.graph
    names = [name for node in graph.node for name in (*node.input, *node.output)]
    for _ in range(draw(st.integers(1, 3))):
        node = draw(st.sampled_from(list(graph.node)))
        tensor = draw(st.sampled_from(list(graph.initializer)))
        number = draw(st.sampled_from(WHOLE_NUMBERS)) % 2**63
        change = draw(
            st.sampled_from(["operator", "attribute", "link", "tensor", "value", "nodes"])
        )
        if change == "operator":
            node.op_type = draw(st.sampled_from([each.op_type for each in graph.node] + OTHERS))
        elif change == "attribute":
            for attribute in node.attribute:
                for index in range(len(attribute.ints)):
                    attribute.ints[index] = number
                attribute.i = number if attribute.HasField("i") else 0
        elif change == "link" and node.input:
            node.input[draw(st.integers(0, len(node.input) - 1))] = draw(st.sampled_from(names))
        elif change == "tensor" and tensor.dims:
            tensor.dims[draw(st.integers(0, len(tensor.dims) - 1))] = number
        elif change == "value":
            tensor.raw_data = draw(mutated_bytes(tensor.raw_data))
        elif change == "nodes":
            graph.node.extend([node] * draw(st.sampled_from([1, 50])))
    return bytes(model.SerializeToString())


OTHERS = ["Loop", "If", "Resize", "ConstantOfShape", "Expand", "Tile", "Pad", "", "Reshape", "Conv"]


@fuzzed(40)
@given(data=st.data())
def test_programs_are_never_opened_untrusted(
    exported: Path, copy: Path, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(["model.pt2", "model.h"]))
    valid = (exported / name).read_bytes()
    (copy / name).write_bytes(data.draw(st.one_of(st.sampled_from(TRAPS), mutated_bytes(valid))))
    assert answer_of(name, lambda: logits(copy / name)) is None


@pytest.mark.parametrize(
    "layers",
    [
        (Conv(kind="conv", width=4_096, kernel_size=1, padding=18),),  # large maps
        (Conv(kind="conv", width=400, padding=30), Conv(kind="separable", width=1, kernel_size=49)),
        (
            Conv(kind="conv", width=4_000, kernel_size=1, padding=16),
            *(Pool(kind="average_pool", size=28, stride=1),) * 2,
        ),
    ],
)
def test_a_network_takes_no_more_than_it_may(
    exported: Path, copy: Path, layers: tuple[Layer, ...]
) -> None:
    """What is within bounds is opened, for many pictures; its weights fit."""
    architecture = Architecture(layers=layers, head=Head(kind="gap_conv"))
    shutil.copy(exported / "config.json", copy)
    save_file(build_network(architecture).state_dict(), copy / "model.safetensors")
    config = json.loads((copy / "config.json").read_text())
    described = config | {"architecture": architecture.model_dump(mode="json")}
    (copy / "config.json").write_text(json.dumps(described))
    answer_of("config.json", lambda: logits(copy, pictures=16))


@pytest.mark.parametrize("content", TRAPS)
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "model.onnx", "model.pt2"])
def test_a_pickle_is_refused(exported: Path, copy: Path, name: str, content: bytes) -> None:
    for each in ("config.json", "model.safetensors"):
        shutil.copy(exported / each, copy)
    (copy / name).write_bytes(content)
    path = copy if name in ("config.json", "model.safetensors") else copy / name
    assert answer_of("pickles", lambda: logits(path)) is None
