"""Model files from elsewhere: what was tampered with or could run code is refused, in one line."""

import io
import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file

from results.errors import NasSearchError
from results.models.c_program import c_compiler
from results.models.c_source import c_header
from results.models.files import Forms, onnx_is_installed, write_model_files
from results.models.fold import fold
from results.models.loading import load_exported, open_model
from results.models.program import lower
from results.models.quantise import quantise
from space import Architecture, Configuration, Conv, Head, Recipe
from tests.networks import NORMALISATION, trained_like

ARCHITECTURE = Architecture(
    layers=(Conv(kind="conv", width=3, then=("norm", "relu")),), head=Head(kind="gap_conv")
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export in every form; read it only."""
    folder = tmp_path_factory.mktemp("exported")
    model = trained_like(ARCHITECTURE, 0)
    folded = fold(lower(model, (1, 28, 28))).program
    integers = quantise(folded, torch.arange(784, dtype=torch.uint8).view(1, 1, 28, 28))
    configuration = Configuration(architecture=ARCHITECTURE, recipe=Recipe(learning_rate=0.1))
    forms = Forms(folded, integers, c_header(integers, ["a test"]), 0)
    write_model_files(folder, model.network, configuration, NORMALISATION, {}, forms)
    return folder


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return shutil.copytree(exported, tmp_path / "copy")


def change(folder: Path, what: Callable[[dict[str, Any]], None]) -> None:
    """Changes config.json."""
    config = json.loads((folder / "config.json").read_text())
    what(config)
    (folder / "config.json").write_text(json.dumps(config))


def forget_checksums(folder: Path) -> None:
    change(folder, lambda config: config.pop("files"))


def refusal(path: Path, *, trusted: bool = False) -> str:
    with pytest.raises(NasSearchError) as caught:
        open_model(path, trusted=trusted)(torch.zeros(1, 1, 28, 28))
    said = str(caught.value)
    assert "\n" not in said
    assert path.name in said or "config.json" in said
    return said


def forms(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.suffix != ".json"]


def test_every_form_opens_and_agrees(exported: Path) -> None:
    pixels = torch.rand(5, 1, 28, 28)
    with torch.no_grad():
        expected = load_exported(exported)[0](pixels)
        torch.testing.assert_close(open_model(exported)(pixels), expected, rtol=0, atol=1e-5)
        for path in forms(exported):
            if path.suffix == ".h" and not c_compiler():
                continue
            is_integer = path.suffix == ".h" or "int8" in path.name
            logits = open_model(path, trusted=True)(pixels)
            torch.testing.assert_close(logits, expected, rtol=0, atol=0.1 if is_integer else 1e-5)


def test_one_changed_byte_is_noticed_in_every_form(copy: Path) -> None:
    assert len(forms(copy)) == (7 if onnx_is_installed() else 4)
    for path in forms(copy):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        assert "was changed after it was exported" in refusal(path, trusted=True)


def test_a_form_alone_opens_without_a_checksum(exported: Path, tmp_path: Path) -> None:
    for name in ("model.onnx", "model.pt2"):
        shutil.copy(exported / name, tmp_path / name)
        open_model(tmp_path / name, trusted=True)(torch.zeros(1, 1, 28, 28))
    shutil.copy(exported / "model.safetensors", tmp_path)
    assert "needs the config.json" in refusal(tmp_path / "model.safetensors")


@pytest.mark.parametrize("name", ["model.pt2", "model.folded.pt2", "model.h"])
def test_programs_are_not_run_unless_they_are_trusted(exported: Path, name: str) -> None:
    assert "--trust" in refusal(exported / name)


class Harmful:
    """Pickled, it runs code when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("harmed"),)


def test_a_pickle_is_never_loaded(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    forget_checksums(copy)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("model/data/sample_inputs/model.pt", pickle.dumps(Harmful()))
    for name in ("model.safetensors", "model.pt2", "model.onnx", "model.h"):
        for content in (pickle.dumps(Harmful()), archive.getvalue()):
            (copy / name).write_bytes(content)
            refusal(copy / name)
    assert not Path("harmed").exists()


@pytest.mark.parametrize(
    ("change_weights", "said"),
    [
        (lambda weights: weights.pop("head.1.weight"), "it lacks head.1.weight"),
        (lambda weights: weights.update(extra=torch.zeros(1)), "it should not have extra"),
        (
            lambda weights: weights.update({"head.1.weight": torch.zeros(10, 4, 1, 1)}),
            r"head.1.weight is torch.float32 (10, 4, 1, 1), not torch.float32 (10, 3, 1, 1)",
        ),
        (
            lambda weights: weights.update({"head.1.weight": weights["head.1.weight"].double()}),
            "head.1.weight is torch.float64",
        ),
        (
            lambda weights: weights["head.1.weight"].fill_(float("nan")),
            "values that are not finite",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(
    copy: Path, change_weights: Callable[[dict[str, torch.Tensor]], Any], said: str
) -> None:
    forget_checksums(copy)
    weights = load_file(copy / "model.safetensors")
    change_weights(weights)
    save_file(weights, copy / "model.safetensors")
    assert said in refusal(copy / "model.safetensors")


def test_what_the_library_quotes_of_a_file_is_cut_short(copy: Path) -> None:
    forget_checksums(copy)
    file = copy / "model.safetensors"
    header = json.dumps({"a": {"dtype": "F32", "shape": ["x" * 10_000], "data_offsets": [0, 4]}})
    file.write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(4))
    said = refusal(file)
    assert "is damaged: " in said
    assert "xxx ..." in said
    assert len(said) < 1_000


def wide(config: dict[str, Any]) -> None:
    config["architecture"]["layers"] = [
        {"kind": "conv", "width": 4096, "kernel_size": 25, "padding": 12}
    ] * 2


def many_values(config: dict[str, Any]) -> None:
    config["architecture"]["layers"] = [
        {"kind": "conv", "width": 4096, "kernel_size": 1, "padding": 32}
    ]


@pytest.mark.parametrize(
    ("change_config", "said"),
    [
        (wide, "parameters and a feature map"),
        (many_values, "parameters and a feature map"),
        (lambda config: config.update(format=99), "format"),
        (lambda config: config.pop("architecture"), "architecture"),
        (lambda config: config["input"]["normalisation"].update(std=0), "std"),
        (lambda config: config["architecture"].update(input_shape=[1, 29, 29]), "28 x 28"),
    ],
)
def test_a_description_that_cannot_be_is_refused(
    copy: Path, change_config: Callable[[dict[str, Any]], None], said: str
) -> None:
    change(copy, change_config)
    assert said in refusal(copy / "model.safetensors")


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin"])
def test_onnx_reads_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Path(location).write_bytes(bytes(4 * 784))
    weights = onnx.TensorProto(name="weights", data_type=onnx.TensorProto.FLOAT, dims=[784])
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=location)
    make = onnx.helper
    graph = make.make_graph(
        [
            make.make_node("Flatten", ["pixels"], ["flat"]),
            make.make_node("Add", ["flat", "weights"], ["logits"]),
        ],
        "reads another file",
        [make.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, ["N", 1, 28, 28])],
        [make.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["N", 784])],
        [weights],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)])
    model.ir_version = 8
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    assert "TensorProto has external_data, which is refused" in refusal(folder / "model.onnx")


def test_what_is_no_model_is_named(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copy / "config.json").write_text("[" * 100_000)
    assert "not that of an export" in refusal(copy / "model.safetensors")
    (copy / "config.json").unlink()
    (copy / "model.onnx").write_bytes(b"no model")
    assert "damaged" in refusal(copy / "model.onnx")
    (copy / "model.pt2").write_bytes(b"no model")
    assert "damaged" in refusal(copy / "model.pt2", trusted=True)
    (copy / "model.h").write_text("int main(void) { return")
    if c_compiler():
        assert "does not compile" in refusal(copy / "model.h", trusted=True)
    monkeypatch.setattr("results.models.loading.MOST_BYTES", 5)
    assert "more than 5 bytes" in refusal(copy / "model.onnx")
    (copy / "model.zip").touch()
    with pytest.raises(NasSearchError, match="no model file"):
        open_model(copy / "model.zip")
    with pytest.raises(NasSearchError, match="other does not exist"):
        open_model(copy / "other")
