"""Exported folders are held against their cards."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from results.models.c_program import c_compiler
from results.models.files import WEIGHTS
from results.models.loading import load_exported
from results.models.promise import read_promise
from results.models.verified import Verified
from results.present import verified_table
from search.data import find, find_at_hand
from search.verify import accuracy, count, exported_in, verify
from tests.conftest import CommandLine

COMMITTED = Path(__file__).parents[1] / "results"


@pytest.fixture(scope="module")
def exported(finished: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A confirmed network with the weights of all its seeds; read it only."""
    folder = tmp_path_factory.mktemp("verify") / "model"
    done = finished("export", str(folder), "--seeds", "--c-header")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return shutil.copytree(exported, tmp_path / "copy")


def verified(folder: Path) -> Verified:
    return verify(folder, None, print, trusted=False)


def change(path: Path, pattern: str, replacement: str) -> None:
    """Replaces what the pattern finds, which must be there once."""
    text, count = re.subn(pattern, replacement, path.read_text())
    assert count == 1
    path.write_text(text)


def test_what_an_export_promises_is_so(finished: CommandLine, exported: Path) -> None:
    done = finished("verify", str(exported), "--json", "--trust")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    config = json.loads((exported / "config.json").read_text())
    assert found["folder"] == str(exported)
    assert found["params"] == found["promised_params"] == config["params"]
    assert found["promised"] == found["measured"] == config["accuracy"]["test"]
    assert (found["error"], found["broken"]) == (None, [])
    names = {path.name for path in exported.iterdir()} - {"README.md", "config.json"}
    assert set(found["files"]) == names
    assert "seed-1.safetensors" in names
    for name, about in found["files"].items():
        if name != "model.h" or c_compiler():
            assert about["promised"] == about["measured"]
    seeds = found["seeds"]
    assert seeds["promised_sustained"]["seeds"] == seeds["measured_last_epoch"]["seeds"] == 2
    for what in ("mean", "worst"):
        assert seeds["promised_sustained"][what] <= seeds["measured_last_epoch"][what] + 1e-4


def test_programs_are_not_run_unless_they_are_trusted(
    exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = verified(exported)
    files = outcome.described()["files"]
    assert files["model.pt2"]["measured"] is None
    assert files["model.h"]["measured"] is None
    assert files["model.onnx"]["measured"] == files["model.onnx"]["promised"]
    verified_table([outcome])
    lines = capsys.readouterr().out.splitlines()
    (said,) = (line for line in lines if line.startswith("not measured:"))
    assert said.startswith("not measured: model.h, model.pt2 (a program")
    assert "--trust" in said
    assert "--trust" in files["model.h"]["why_not_measured"]
    assert files["model.onnx"]["why_not_measured"] is None


def config_of(change: Callable[[dict], None]) -> Callable[[Path], None]:  # type: ignore[type-arg]
    def apply(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        change(config)
        (folder / "config.json").write_text(json.dumps(config))

    return apply


def card_of(pattern: str, replacement: str) -> Callable[[Path], None]:
    return lambda folder: change(folder / "README.md", pattern, replacement)


@pytest.mark.parametrize(
    ("promise_more", "said"),
    [
        (
            card_of(r"classify \*\*[\d.]+%", "classify **99.90%"),
            r"model.safetensors promises 99.90% of the test images and classifies [\d.]+%",
        ),
        (card_of(r"Test accuracy [\d.]+%\.", "Test accuracy 99.90%.\r"), "promises 99.90%"),
        (card_of(r"classify \*\*[\d.]+%", "classify **100 %"), "promises 100.00%"),
        (
            card_of(r"(\| `model.onnx` \|.*\| )[\d.]+%", r"\g<1>99.90%"),
            "model.onnx promises 99.90%",
        ),
        (
            card_of(r"(\| `seed-1.safetensors` \|.*\| )[\d.]+%", r"\g<1>99.90%"),
            "seed-1.safetensors promises 99.90%",
        ),
        (
            card_of(r"test accuracy mean [\d.]+%", "test accuracy mean 99.90%"),
            "sustained accuracy of 99.90% as the mean of 2 seeds",
        ),
        (card_of(r"worst seed [\d.]+%", "worst seed 99.90%"), "99.90% as the worst of 2 seeds"),
        (
            card_of(r"\*\*[\d,]+ trainable", "**99 trainable"),
            r"promises 99 parameters and has [\d,]+",
        ),
        (config_of(lambda config: config["accuracy"].update(test=99.9)), "promises 99.90%"),
        (config_of(lambda config: config.update(params=99)), "promises 99 parameters"),
        (
            config_of(lambda config: config["accuracy"]["confirmed"].update(mean=99.9)),
            "99.90% as the mean of 2 seeds",
        ),
        (
            config_of(lambda config: config["files"]["model.onnx"].update(test_accuracy=99.9)),
            "model.onnx promises 99.90%",
        ),
    ],
)
def test_a_card_that_promises_more_is_told(
    copy: Path, promise_more: Callable[[Path], None], said: str
) -> None:
    assert verified(copy).broken == []
    promise_more(copy)
    (line,) = verified(copy).broken
    assert re.search(said, line)


def test_broken_promises_are_said_in_a_line_each(finished: CommandLine, copy: Path) -> None:
    config_of(lambda config: config["accuracy"].update(test=99.9))(copy)
    config_of(lambda config: config.update(params=99))(copy)
    done = finished("verify", str(copy))
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == f"measuring {copy} ..."
    assert [line.startswith(f"error: {copy}: ") for line in lines[1:]] == [True, True]
    assert "99.90%" in done.stdout


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (card_of(r"classify \*\*[\d.]+%\*\*", "classify most"), "does not say how many"),
        (lambda folder: (folder / "README.md").unlink(), "README.md is missing"),
        (
            lambda folder: shutil.copy(folder / "model.safetensors", folder / "seed-7.safetensors"),
            "seed-7.safetensors has the same weights as model.safetensors",
        ),
        (
            config_of(
                lambda config: config["files"].update(
                    {"..": {"bytes": 1, "sha256": "", "test_accuracy": 99.9}}
                )
            ),
            "which is no file of an export",
        ),
        (
            config_of(
                lambda config: config["files"].update(
                    {"x" * 5_000: {"bytes": 1, "sha256": "", "test_accuracy": 99.9}}
                )
            ),
            "which is no file of an export",
        ),
        (config_of(lambda config: config.update(dataset="cifar")), "nothing is known of"),
        (config_of(lambda config: config.pop("accuracy")), "config.json is not that of an export"),
    ],
)
def test_what_is_no_whole_export_is_not_taken_for_one(
    copy: Path, spoil: Callable[[Path], None], said: str
) -> None:
    spoil(copy)
    found = verified(copy)
    assert said in found.error
    assert found.broken == [found.error]
    assert len(found.error) < 1_000
    assert found.described()["measured"] is None


def test_seeds_without_weights_are_said_to_be_unchecked(
    finished: CommandLine, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    assert finished("export", str(folder)).returncode == 0
    done = finished("verify", str(folder))
    assert done.returncode == 0
    assert "promised: not checked" in done.stdout
    assert (
        json.loads(finished("verify", str(folder), "--json").stdout)[0]["seeds"][
            "measured_last_epoch"
        ]
        is None
    )


def test_a_card_that_promises_less_is_no_fault(copy: Path) -> None:
    change(copy / "README.md", r"classify \*\*[\d.]+%", "classify **1.00%")
    assert verified(copy).broken == []


def test_other_weights_than_those_of_the_card(copy: Path) -> None:
    weights = copy / "model.safetensors"
    tensors = load_file(weights)
    save_file({name: each.flip(0).contiguous() for name, each in tensors.items()}, weights)
    assert "was changed after it was exported" in verified(copy).error
    config_of(lambda config: config["files"].pop("model.safetensors"))(copy)
    found = verified(copy)
    assert found.error == ""
    assert "model.safetensors promises" in found.broken[0]
    about = found.described()
    assert about["measured"] < about["promised"]


def test_a_damaged_folder_does_not_hide_the_others(
    finished: CommandLine, exported: Path, copy: Path, tmp_path: Path
) -> None:
    """Named by the folder around it, and beside one that is not there."""
    (copy / "model.safetensors").unlink()
    whole = shutil.copytree(exported, tmp_path / "whole")
    shutil.copytree(exported, tmp_path / ".whole-x1y2")  # left by an export that was killed
    done = finished("verify", str(tmp_path), "nowhere", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert [each["folder"] for each in found] == [str(copy), str(whole), "nowhere"]
    assert "model.safetensors is missing" in found[0]["error"]
    assert found[1]["broken"] == []
    assert "not a folder" in found[2]["error"]
    assert {tuple(each) for each in found} == {tuple(found[1])}


def test_a_folder_without_a_model(finished: CommandLine, tmp_path: Path) -> None:
    done = finished("verify", str(tmp_path))
    assert done.returncode == 1
    assert "no model in it: nas-search export writes" in done.stderr


@pytest.mark.skipif(find_at_hand("mnist", None) is None, reason="MNIST is not on this machine")
@pytest.mark.parametrize("folder", exported_in(COMMITTED), ids=lambda folder: folder.name)
def test_what_is_committed_keeps_its_promise(folder: Path) -> None:
    """The weights that a folder is used by; `nas-search verify` measures its other files too."""
    network = load_exported(folder)[0]
    measured: dict[str, float | None] = {
        WEIGHTS: accuracy(network, find("mnist", None, print).load().test)
    }
    params, _ = count(network.network)
    assert Verified(folder, read_promise(folder), params, 10_000, measured).broken == []
