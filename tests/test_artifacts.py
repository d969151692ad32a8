"""What is kept with every trained trial: pictures, a table and the weights, as the dashboard asks
for them."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from optuna.artifacts import get_all_artifact_meta
from PIL import Image

from results.artifacts import ArtifactStore
from results.record import records
from results.storage import default_url, load_study, open_storage
from tests.conftest import CommandLine

NAMES = ["epochs.csv", "learning-curve.png", "network.png"]


def test_every_trained_trial_has_its_pictures_table_and_weights(finished: CommandLine) -> None:
    out = finished.folder / "runs"
    study = load_study(open_storage(default_url(out), create=False), None)
    store = ArtifactStore(out)
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


def test_what_can_not_be_linked_is_copied(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    store.write("first", io.BytesIO(b"from memory"))
    assert store.open_reader("first").read() == b"from memory"
    source = tmp_path / "weights"
    source.write_bytes(b"weights")
    with source.open("rb") as file:
        store.write("second", file)
    source.unlink()
    assert store.open_reader("second").read() == b"weights"


def test_time_for_drawing_is_accounted_for(finished: CommandLine) -> None:
    rows = json.loads(finished("trials", "--format", "json").stdout)
    spent = [row["drawing_seconds"] for row in rows if row["state"] in ("complete", "pruned")]
    assert len(spent) == 4
    assert all(0 < each < 20 for each in spent)
