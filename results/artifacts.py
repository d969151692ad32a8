"""Files that the dashboard shows with a trial: two pictures, a table, the weights.

They lie in one folder for all studies of a storage, as the dashboard looks in one. A process that
is killed between the files and the end of its trial leaves files that belong to no trial that
counts, some ten kilobytes each; nothing looks at them.
"""

import csv
import dataclasses
import os
import tempfile
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from optuna.artifacts import FileSystemArtifactStore, upload_artifact

from results.charts.curves import trial_chart
from results.charts.network import network_png
from results.charts.still import png
from results.checkpoint import write_atomically
from results.record import Epoch, TrialRecord
from results.settings import StudySettings

if TYPE_CHECKING:
    import optuna

DOTS_PER_INCH = 120
"""Pictures as wide as a card of the dashboard; more would only cost the search time."""


class ArtifactStore(FileSystemArtifactStore):
    """Gives a file that exists a second name, so that weights are not kept twice.

    What has a name is whole, as the file was before. Copies what it can't link.
    """

    def __init__(self, out: Path) -> None:
        super().__init__(out / "artifacts")
        self.folder = out / "artifacts"

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Raises OSError."""
        try:
            os.link(content_body.name, self.folder / artifact_id)
        except (OSError, AttributeError):  # another file system, or no file
            write_atomically(self.folder / artifact_id, content_body.read())


def keep_artifacts(
    trial: "optuna.Trial",
    record: TrialRecord,
    settings: StudySettings,
    checkpoint: Path,
    out: Path,
) -> None:
    """Draws what there is to see of a trained trial and keeps it; before the trial is told.

    Raises OSError.
    """
    store = ArtifactStore(out)
    store.folder.mkdir(parents=True, exist_ok=True)
    architecture = record.configuration.architecture
    contents = {
        "learning-curve.png": png(trial_chart(record, settings), dots_per_inch=DOTS_PER_INCH),
        "network.png": network_png(architecture, dots_per_inch=DOTS_PER_INCH),
        "epochs.csv": _table(record.history).encode(),
    }
    with tempfile.TemporaryDirectory(prefix=".drawn-", dir=store.folder) as folder:
        paths = [Path(folder) / name for name in contents]
        for path in paths:
            path.write_bytes(contents[path.name])
        for path in (*paths, checkpoint):
            upload_artifact(artifact_store=store, file_path=str(path), study_or_trial=trial)


def _table(history: list[Epoch]) -> str:
    """A row for each epoch, with the names of `Epoch` above them."""
    text = StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in dataclasses.fields(Epoch)])
    writer.writeheader()
    writer.writerows(dataclasses.asdict(each) for each in history)
    return text.getvalue()
