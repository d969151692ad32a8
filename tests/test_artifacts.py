"""What is kept with every trained trial: pictures, a table and the weights, as the dashboard asks
for them."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from optuna.artifacts import get_all_artifact_meta
from optuna.artifacts.exceptions import ArtifactNotFound
from PIL import Image

from results.artifacts import ArtifactStore
from results.record import records
from results.storage import default_url, load_study, open_storage
from results.store import Folder
from tests.conftest import CommandLine

NAMES = ["epochs.csv", "learning-curve.png", "network.png"]


def test_every_trained_trial_has_its_pictures_table_and_weights(finished: CommandLine) -> None:
    out = finished.folder / "runs"
    study = load_study(open_storage(default_url(out), create=False), None)
    store = ArtifactStore(lambda: [Folder(out)])
    for trial, record in zip(study.trials, records(study), strict=True):
        kept = {
            each.filename: each for each in get_all_artifact_meta(trial, storage=study._storage)
        }
        if not record.was_trained:
            assert kept == {}
            continue
        weights = f"trial-{record.number:05d}.safetensors"
        assert sorted(kept) == [*NAMES, weights]
        for name in ("learning-curve.png", "network.png"):
            assert kept[name].mimetype == "image/png"
            picture = Image.open(store.open_reader(kept[name].artifact_id))
            assert picture.width > 500
            assert len(picture.convert("L").getcolors() or range(257)) > 20
        table = io.TextIOWrapper(store.open_reader(kept["epochs.csv"].artifact_id))
        rows: list[dict[str, Any]] = list(csv.DictReader(table))
        accuracies = [float(row["accuracy"]) for row in rows]
        assert accuracies == [epoch.accuracy for epoch in record.history]
        kept_file = out / "artifacts" / kept[weights].artifact_id
        assert kept_file.samefile(out / record.attributes["checkpoint"])


def test_nothing_is_left_half_drawn(finished: CommandLine) -> None:
    folder = finished.folder / "runs" / "artifacts"
    assert not list(folder.glob(".*"))
    assert len(list(folder.iterdir())) == 4 * 4


def test_artifacts_are_looked_for_in_every_store(tmp_path: Path) -> None:
    first, second = Folder(tmp_path / "first"), Folder(tmp_path / "second")
    one, both = ArtifactStore(lambda: [second]), ArtifactStore(lambda: [first, second])
    one.write("abc", io.BytesIO(b"picture"))
    assert both.open_reader("abc").read() == b"picture"
    both.write("def", io.BytesIO(b"added in the browser"))
    with pytest.raises(ArtifactNotFound):
        one.open_reader("def")
    both.remove("abc")
    with pytest.raises(ArtifactNotFound):
        both.remove("abc")


def test_an_artifact_can_not_lead_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "secret").touch()
    store = ArtifactStore(lambda: [Folder(tmp_path)])
    for leads in ("../secret", str(tmp_path / "secret")):
        with pytest.raises(ArtifactNotFound):
            store.remove(leads)
    assert (tmp_path / "secret").exists()


def test_time_for_drawing_is_accounted_for(finished: CommandLine) -> None:
    rows = json.loads(finished("trials", "--format", "json").stdout)
    spent = [row["drawing_seconds"] for row in rows if row["state"] in ("complete", "pruned")]
    assert len(spent) == 4
    assert all(0 < each < 20 for each in spent)
