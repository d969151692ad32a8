"""Several machines and one study: where its weights and pictures are, and what is said if not."""

import json
import shutil
import socket
from pathlib import Path

import optuna
import pytest
from optuna.artifacts import get_all_artifact_meta

from results.artifacts import ArtifactStore
from results.errors import NasSearchError
from results.record import confirmations, records
from results.storage import default_url, load_study, open_storage
from results.store import Folder, SharedFolder
from results.whereabouts import (
    ARTIFACTS_KEY,
    FOLDER_KEY,
    refuse_if_missing,
    settle,
    store_of,
    stores,
)
from search.cli import run_command
from tests.conftest import SMALL_SEARCH, CommandLine
from tests.stores import Failing

WEIGHTS = "study-1/checkpoints/trial-00007.safetensors"


def made(artifacts: str | None) -> optuna.Study:
    """A study in memory, made with this `--artifacts`."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(study_name="mine")
    settle(study, "study-1", artifacts)
    study.set_user_attr(FOLDER_KEY, "study-1")
    return study


def test_a_study_remembers_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = made("shared")
    monkeypatch.chdir("/")
    store = store_of(study, tmp_path / "out", None)
    assert isinstance(store, SharedFolder)
    assert store.place == str(tmp_path / "shared")
    assert not (tmp_path / "out").exists()


def test_a_study_half_made_goes_on_with_the_store_it_was_begun_with(tmp_path: Path) -> None:
    study = made(str(tmp_path / "shared"))
    settle(study, "study-2", None)
    study.set_user_attr(FOLDER_KEY, "study-2")
    assert store_of(study, tmp_path, None).place == str(tmp_path / "shared")


def test_a_folder_mounted_elsewhere_is_known_by_its_mark(tmp_path: Path) -> None:
    study = made(str(tmp_path / "here"))
    (tmp_path / "here").rename(tmp_path / "there")
    (tmp_path / "here").mkdir()  # not mounted
    with pytest.raises(NasSearchError, match="mount that folder"):
        store_of(study, tmp_path, None)
    assert list((tmp_path / "here").iterdir()) == []
    assert store_of(study, tmp_path, str(tmp_path / "there")).place == str(tmp_path / "there")
    with pytest.raises(NasSearchError, match=r"keeps its files in .*here, and they are not in"):
        store_of(study, tmp_path, str(tmp_path / "another"))


def test_a_study_without_a_store_takes_none_later(tmp_path: Path) -> None:
    with pytest.raises(NasSearchError, match="made without --artifacts"):
        store_of(made(None), tmp_path, str(tmp_path / "late"))


def test_a_store_that_fails_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    study = made("failing://bucket")
    monkeypatch.setattr(Failing, "fault", RuntimeError("token has expired\nat line 7"))
    with pytest.raises(NasSearchError, match=r"can't be reached: token has expired$"):
        store_of(study, Path("runs"), None)
    with pytest.raises(NasSearchError, match=r"can't write to .*: token has expired$"):
        made("failing://bucket")
    monkeypatch.undo()
    assert store_of(study, Path("runs"), None).place == "failing://bucket"


def test_weights_on_another_machine_are_said_to_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(out: Path, kept_in: str) -> str:
        with pytest.raises(NasSearchError) as raised:
            refuse_if_missing(Folder(out), WEIGHTS, "the weights of trial 7", kept_in)
        return str(raised.value)

    with monkeypatch.context() as patched:
        patched.setattr(socket, "gethostname", lambda: "gpu1")
        there = Folder(tmp_path / "one").place
    elsewhere = said(tmp_path / "two", there)
    assert f"trial 7 are on gpu1 in {tmp_path}/one/study-1: run this there" in elsewhere
    assert f"copy that folder into {tmp_path}/two here" in elsewhere
    here = Folder(tmp_path / "one").place
    assert f"but in {tmp_path}/one: name it with --out" in said(tmp_path / "two", here)
    assert "are gone" in said(tmp_path / "one", here)
    assert "with --out" in said(tmp_path / "one", "")  # of an earlier version
    Folder(tmp_path / "two").write(WEIGHTS, b"copied")
    refuse_if_missing(Folder(tmp_path / "two"), WEIGHTS, "the weights of trial 7", there)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database, a shared folder, and two machines that searched one study.

    The first names the shared folder, and the second finds it with the study.
    """
    folder = tmp_path_factory.mktemp("together")
    for machine, options in (
        ("one", ("--trials", "1", "--finalists", "0", "--artifacts", "../shared")),
        ("two", ("--trials", "2", "--finalists", "1", "--confirm-seeds", "1")),
    ):
        (folder / machine).mkdir()
        storage = ("--storage", "sqlite:///../studies.db")
        search = (*SMALL_SEARCH, "--workers", "1", *options)
        done = CommandLine(folder / machine)(*storage, *search)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def study(together: Path) -> optuna.Study:
    return load_study(open_storage(f"sqlite:///{together}/studies.db", create=False), None)


def test_all_files_of_both_machines_are_in_the_shared_folder(
    together: Path, study: optuna.Study
) -> None:
    trained = [each for each in records(study) if each.was_trained]
    assert len(trained) == 2
    for each in trained:
        assert each.attributes["kept_in"] == str(together / "shared")
        assert (together / "shared" / each.attributes["checkpoint"]).is_file()
    for runs in confirmations(study).values():
        for run in runs:
            assert (together / "shared" / run.weights).is_file()
    for machine in ("one", "two"):
        assert not [*(together / machine).rglob("*.safetensors")]
        assert not (together / machine / "runs" / "artifacts").exists()


def test_another_machine_exports_and_reports(
    together: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = ("--storage", f"sqlite:///{together}/studies.db")
    assert run_command(["export", "model", *storage]) == 0
    assert (tmp_path / "model" / "model.safetensors").is_file()
    assert run_command(["report", *storage]) == 0


def test_the_dashboard_serves_pictures_of_every_store(
    together: Path, study: optuna.Study, tmp_path: Path
) -> None:
    artifacts = ArtifactStore(lambda: stores(study, Folder(tmp_path), tmp_path))
    found = 0
    for trial in study.trials:
        for each in get_all_artifact_meta(trial, storage=study._storage):
            assert artifacts.open_reader(each.artifact_id).read()
            found += 1
    assert found == 2 * 4


def test_a_missing_mount_is_one_clear_line(
    together: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in together.glob("studies.db*"):
        shutil.copy(file, copy)
    storage = f"sqlite:///{copy}/studies.db"
    study = load_study(open_storage(storage, create=False), None)
    mount = copy / "mount"
    study.set_user_attr(ARTIFACTS_KEY, str(mount))
    for command in (("export", "model"), (*SMALL_SEARCH, "--workers", "1", "--trials", "9")):
        assert run_command([*command, "--storage", storage]) == 1
        said = capsys.readouterr().err
        assert said.startswith("error: the files of study")
        assert said.count("\n") == 1
        assert "mount that folder" in said
    assert not mount.exists()
    assert not [*tmp_path.rglob("*.safetensors")]


def test_weights_are_looked_for_where_they_were_written(
    finished: CommandLine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs = finished.folder / "runs"
    study = load_study(open_storage(default_url(runs), create=False), None)
    (run, *_), *_ = confirmations(study).values()
    assert run.kept_in == f"{socket.gethostname()}:{runs}"
    storage = ("--storage", default_url(runs))
    model = str(tmp_path / "model")
    assert run_command(["export", model, *storage, "--out", str(tmp_path / "other")]) == 1
    said = capsys.readouterr().err
    assert f"but in {runs}: name it with --out" in said.splitlines()[-1]
    monkeypatch.setenv("NAS_SEARCH_ARTIFACTS", str(tmp_path / "other"))
    assert run_command(["export", model, "--out", str(runs)]) == 1
    assert "made without --artifacts" in capsys.readouterr().err
    assert not Path(model).exists()
    rows = json.loads(finished("trials", "--format", "json").stdout)
    assert {row.get("kept_in") for row in rows} <= {run.kept_in, None}
