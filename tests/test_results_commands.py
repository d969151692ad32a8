"""best, export and the error messages, as a person meets them."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from results.errors import NasSearchError
from results.models.c_program import c_compiler
from results.models.loading import load_exported
from results.present import trials_table
from results.record import TrialRecord
from results.table import trials_frame
from search.data import DataSource
from tests.conftest import SMALL_SEARCH, CommandLine

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def exported(finished: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "model"
    done = finished("export", str(folder), "--fold", "--int8", "--c-header")
    assert done.returncode == 0, done.stderr
    assert "parameters before" in done.stdout
    return folder


def test_help_answers_at_once() -> None:
    """It waits for nothing that takes long to import."""
    arguments = [sys.executable, "-P", "-X", "importtime", "-m", "search.cli", "--help"]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    assert "Usage" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "click" in imported
    assert not imported & {"torch", "numpy", "pandas", "optuna", "matplotlib", "sqlalchemy"}


def test_best_as_json(finished: CommandLine) -> None:
    found = json.loads(finished("best", "--json").stdout)
    assert found["study"] == "mnist-sample-accuracy-2000"
    assert found["dataset"] == "mnist-sample"
    ended = ("complete", "pruned", "diverged")
    assert sum(found["trials"][state] for state in ended) == 4
    assert set(found["trials"]) == {*ended, "infeasible", "failed"}
    assert found["finalists"] == [found["most_accurate"]]
    for key in ("most_accurate", "smallest_holding"):
        assert set(found[key]) == {"trial", "params", "macs", "sustained", "confirmed"}
    best = found["most_accurate"]
    assert best["params"] < 2_000
    assert 5 <= best["sustained"] <= 100
    assert best["confirmed"]["seeds"] == 2
    assert best["confirmed"]["worst"] <= best["confirmed"]["mean"] <= 100
    assert found["smallest_holding"]["params"] <= best["params"]


def test_best_for_reading(finished: CommandLine) -> None:
    said = finished("best").stdout
    assert "most accurate" in said
    assert "smallest holding 5.0%" in said


def test_exported_forms_agree_without_this_project(exported: Path) -> None:
    """PyTorch alone and ONNX Runtime alone, in a process that can't import the project."""
    script = """
import sys, json, torch, onnxruntime
from safetensors.torch import load_file
assert not any(name in sys.modules for name in ("space", "search", "results"))
torch.manual_seed(0)
for size in (1, 7):
    pixels = torch.rand(size, 1, 28, 28)
    program = torch.export.load("model.pt2").module()
    with torch.no_grad():
        first = program(pixels)
        folded = torch.export.load("model.folded.pt2").module()(pixels)
    def onnx(name):
        return onnxruntime.InferenceSession(name).run(None, {"pixels": pixels.numpy()})[0]
    second = onnx("model.onnx")
    assert onnx("model.int8.onnx").shape == second.shape
    for other in (folded, torch.from_numpy(onnx("model.folded.onnx"))):
        assert torch.allclose(first, other, rtol=1e-5, atol=1e-5), (first, other)
    assert first.shape == (size, 10)
    assert torch.allclose(first, torch.from_numpy(second), atol=1e-5), (first, second)
weights = load_file("model.safetensors")
config = json.load(open("config.json"))
counted = sum(
    tensor.numel() for name, tensor in weights.items()
    if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
)
assert counted == config["params"], (counted, config["params"])
"""
    subprocess.run([sys.executable, "-P", "-c", script], cwd=exported, check=True)


def test_the_card_s_examples_run_as_they_are(exported: Path) -> None:
    card = (exported / "README.md").read_text()
    examples = [part.partition("```")[0] for part in card.split("```python\n")[1:]]
    assert len(examples) == 6
    for example in examples:
        needs_project = "results.models" in example
        subprocess.run(
            [sys.executable, *(() if needs_project else ("-P",)), "-c", example],
            cwd=exported,
            env=os.environ | ({"PYTHONPATH": str(ROOT)} if needs_project else {"PYTHONPATH": ""}),
            check=True,
        )
    onnx = [each for each in examples if "onnxruntime" in each]
    assert len(onnx) == 3
    assert not any("torch" in each for each in onnx)


def test_exported_weights_score_what_the_card_says(exported: Path) -> None:
    model, config = load_exported(exported)
    images, labels = DataSource("mnist-sample").load().test.batch(torch.arange(1_000))
    with torch.no_grad():
        right = (model(images.unsqueeze(1) / 255).argmax(1) == labels).sum().item()
    assert config["accuracy"]["test"] == right / 10
    assert f"**{right / 10:.2f}%** of the 1,000 test images" in (exported / "README.md").read_text()


def test_card_tells_layers_seeds_and_loading(exported: Path) -> None:
    card = (exported / "README.md").read_text()
    for part in ("## Layers", "## Recipe", "## Protocol", "## Loading", "| seed |", "model.onnx"):
        assert part in card
    constants = json.loads((exported / "config.json").read_text())["files"]["model.h"]
    header = (exported / "model.h").read_text()
    for name in ("constant_bytes", "peak_activation_bytes"):
        assert f"{constants[name]:,} bytes of" in card
        assert f"{constants[name]:,} bytes" in header


def test_export_of_every_kind_of_trial_has_a_clear_answer(
    finished: CommandLine, exported: Path, tmp_path: Path
) -> None:
    rows = json.loads(finished("trials", "--format", "json").stdout)
    by_state = {row["state"]: row["trial"] for row in rows}
    for state in by_state.keys() - {"complete"}:
        done = finished("export", str(tmp_path / "x"), "--trial", str(by_state[state]))
        assert done.returncode == 1
        assert "only complete trials can be taken" in done.stderr
    assert "no trial 9999" in finished("export", str(tmp_path / "x"), "--trial", "9999").stderr
    assert "not empty" in finished("export", str(exported)).stderr
    assert not (tmp_path / "x").exists()


def test_damaged_checkpoint_is_one_clear_line(finished: CommandLine, tmp_path: Path) -> None:
    runs = shutil.copytree(finished.folder / "runs", tmp_path / "runs")
    for file in (*runs.rglob("confirmed/*.safetensors"), *runs.rglob("checkpoints/*.safetensors")):
        file.write_bytes(file.read_bytes()[:200])
    done = finished("export", str(tmp_path / "x"), "--out", str(runs))
    assert done.returncode == 1
    assert "damaged" in one_line(done.stderr.removeprefix(PROGRESS))
    assert not (tmp_path / "x").exists()


PROGRESS = "writing the model files and loading them again in a fresh process ...\n"


def test_tampered_export_is_refused(exported: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(exported, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    config["architecture"]["layers"][0]["kernel_size"] += 2  # which keeps the shape of its map
    config["architecture"]["layers"][0]["padding"] += 1
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(NasSearchError, match=r"layer1\.conv\.weight is"):
        load_exported(copy)


def test_every_form_was_measured(exported: Path) -> None:
    files = json.loads((exported / "config.json").read_text())["files"]
    names = {path.name for path in exported.iterdir()} - {"README.md", "config.json"}
    assert set(files) == names
    assert len(names) == 7
    for name, about in files.items():
        content = (exported / name).read_bytes()
        assert about["bytes"] == len(content)
        assert about["sha256"] == hashlib.sha256(content).hexdigest()
        assert about["peak_activation_bytes"] > 0
        if name != "model.h" or c_compiler():
            assert 0 <= about["test_accuracy"] <= 100
        if "int8" not in name and name != "model.h":
            assert about["logits_difference"] <= 1e-5
            assert about["relative_logits_difference"] <= about["logits_difference"]
        assert f"| `{name}` |" in (exported / "README.md").read_text()
    assert files["model.h"]["peak_activation_bytes"] < files["model.pt2"]["peak_activation_bytes"]


def test_predict_takes_a_folder_and_each_of_its_files(
    finished: CommandLine, exported: Path, tmp_path: Path
) -> None:
    images, _ = DataSource("mnist-sample").load().test.batch(torch.arange(3))
    pictures = [str(tmp_path / f"{number}.png") for number in range(3)]
    for picture, image in zip(pictures, images, strict=True):
        Image.fromarray(image.numpy()).save(picture)

    def predict(*arguments: str) -> list[dict[str, Any]]:
        done = finished("predict", *arguments, *pictures, "--json")
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    model, _ = load_exported(exported)
    with torch.no_grad():
        expected = model(images.unsqueeze(1) / 255).softmax(1)
    for arguments, off in (
        ((str(exported),), 1e-5),
        ((str(exported / "model.folded.onnx"),), 1e-5),
        ((str(exported / "model.pt2"), "--trust"), 1e-5),
        ((str(exported / "model.int8.onnx"),), 0.05),
    ):
        found = predict(*arguments)
        assert [each["image"] for each in found] == pictures
        shares = torch.tensor([each["probabilities"] for each in found])
        torch.testing.assert_close(shares, expected, rtol=0, atol=off)
        assert [each["digit"] for each in found] == shares.argmax(1).tolist()
    said = finished("predict", str(exported), *pictures).stdout
    assert all(str(each["digit"]) in said for each in found)


def test_predict_says_what_is_wrong_in_one_line(
    finished: CommandLine, exported: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "blank.png"
    Image.new("L", (40, 40), 200).save(picture)
    assert "is blank" in one_line(finished("predict", str(exported), str(picture)).stderr)
    done = finished("predict", str(exported / "model.pt2"), str(picture))
    assert "--trust" in one_line(done.stderr)
    done = finished("predict", str(tmp_path), str(picture))
    assert "model.safetensors is missing" in one_line(done.stderr)
    done = finished("predict", str(tmp_path / "nothere"), str(picture))
    assert "nothere does not exist" in one_line(done.stderr)


def test_predict_shows_the_good_pictures_and_names_the_bad_ones(
    finished: CommandLine, exported: Path, tmp_path: Path
) -> None:
    images, _ = DataSource("mnist-sample").load().test.batch(torch.arange(2))
    (tmp_path / "x[").mkdir()
    good = [str(tmp_path / "x[" / "y].png"), str(tmp_path / "z.png")]
    for picture, image in zip(good, images, strict=True):
        Image.fromarray(image.numpy()).save(picture)
    bad = str(tmp_path / "none.png")
    pictures = (good[0], bad, good[1])
    done = finished("predict", str(exported), *pictures)
    assert done.returncode == 1
    assert f"{bad} is missing" in one_line(done.stderr)
    assert done.stdout.count("%") == 3 * len(good)  # the likeliest three of each
    done = finished("predict", str(exported), *pictures, "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert [each["image"] for each in found] == list(pictures)
    assert ["digit" in each for each in found] == [True, False, True]
    assert found[1]["error"] == f"{bad} is missing"


def one_line(text: str) -> str:
    assert text.count("\n") == 1, text
    assert text.startswith("error: "), text
    return text


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--max-params", "0"), 2, "at least 500"),
        (("--trials", "0"), 2, "--trials"),
        (("--trials", "many"), 2, "--trials"),
        (("--no-such-option",), 2, "--no-such-option"),
        (("no-such-command",), 2, "no-such-command"),
        (("--sustain", "9", "--epochs", "3"), 2, "--sustain 9 is more than --epochs 3"),
        (("--study", "../escape"), 2, "--study"),
        (("--device", "cuda:99"), 1, "cuda:99 is not there"),
        (("--device", "quantum"), 1, "write auto, cpu"),
        (("--data-dir", "nowhere"), 1, "nowhere is not a folder"),
        (("--storage", "not a url"), 1, "not a database URL"),
        (("--storage", "sqlite://"), 1, "in-memory"),
        (("--storage", "postgresql://me:secret@127.0.0.1:1/x"), 1, "storage postgresql"),
        (("--out", "file"), 2, "file"),
        (("best",), 1, "run nas-search first"),
        (("trials", "--out", "nowhere"), 1, "run nas-search first"),
        (("export", "x", "--best", "--trial", "1"), 2, "one of"),
        (("--out", "x", "best"), 2, "nas-search best --out ..."),
        (("--trials", "3", "best"), 2, "--trials is an option of the search"),
        (("search",), 2, "nas-search without a command searches"),
        (("--target", "nan"), 2, "--target is not a number"),
    ],
)
def test_bad_input_is_one_clear_line(
    nas_search: CommandLine, arguments: tuple[str, ...], code: int, said: str
) -> None:
    (nas_search.folder / "file").touch()
    is_search = arguments[0].startswith("--") and arguments[-1] != "best"
    dataset = ("--dataset", "mnist-sample") if is_search and "--data-dir" not in arguments else ()
    done = nas_search(*dataset, *arguments)
    assert done.returncode == code
    assert said in one_line(done.stderr)
    assert "secret" not in done.stderr
    assert done.stdout == ""


def test_unknown_study_names_those_that_are_there(finished: CommandLine) -> None:
    said = one_line(finished("best", "--study", "other").stderr)
    assert "there is: mnist-sample-accuracy-2000" in said


def test_explicit_mnist_that_cannot_be_had_says_where_it_looked(nas_search: CommandLine) -> None:
    empty = nas_search.folder / "empty"
    empty.mkdir()
    done = nas_search("--dataset", "mnist", "--data-dir", str(empty), timeout=240)
    if done.returncode == 0:
        pytest.skip("MNIST can be downloaded here")
    said = one_line(done.stderr.splitlines(keepends=True)[-1])
    assert str(empty) in said
    assert str(nas_search.folder / "cache") in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to read-only folders")
def test_read_only_folder_is_one_clear_line(nas_search: CommandLine) -> None:
    nas_search.folder.chmod(0o555)
    done = nas_search(*SMALL_SEARCH, "--trials", "1")
    nas_search.folder.chmod(0o755)
    assert done.returncode == 1
    one_line(done.stderr)


def test_trials_of_which_none_is_begun(capsys: pytest.CaptureFixture[str]) -> None:
    study = "a-study-with-a-name-that-is-wider-than-an-empty-table"
    waiting = [TrialRecord(number, "waiting", None, {}, {}) for number in range(2)]
    trials_table(study, "validation", trials_frame(waiting))
    first, second, last = capsys.readouterr().out.splitlines()
    assert first == f"{study}: validation accuracies in percent"
    assert second == "No trial is trained yet."
    assert "2 waiting" in last
