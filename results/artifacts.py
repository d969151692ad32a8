"""Files that the dashboard shows with a trial: two pictures, a table, the weights.

They lie in one folder for all studies of a store. A process that is killed between the files and
the end of its trial leaves files that belong to no trial that counts, some ten kilobytes each;
nothing looks at them.
"""

import csv
import dataclasses
import json
import mimetypes
import re
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from io import BytesIO, StringIO
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from optuna.artifacts import ArtifactMeta
from optuna.artifacts.exceptions import ArtifactNotFound

from results.charts.curves import trial_chart
from results.charts.network import network_png
from results.charts.still import png
from results.record import Epoch, TrialRecord
from results.settings import StudySettings
from results.store import File, Store
from results.whereabouts import ARTIFACTS_FOLDER

if TYPE_CHECKING:
    import optuna

DOTS_PER_INCH = 120
"""Pictures as wide as a card of the dashboard; more would only cost the search time."""

_ID = re.compile("[0-9a-fA-F-]+")


class ArtifactStore:
    """What the dashboard reads artifacts from: all stores that studies of its storage keep them in.

    An artifact is asked for without its study, so it is looked for in one after the other. What a
    person adds in the browser goes to the first.
    """

    def __init__(self, stores: Callable[[], Iterable[Store]]) -> None:
        self._stores = stores

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Raises ArtifactNotFound."""
        return BytesIO(self._find(artifact_id).read_bytes())

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Raises OSError."""
        first = next(iter(self._stores()))
        first.write(_name(artifact_id), content_body.read())

    def remove(self, artifact_id: str) -> None:
        """Raises ArtifactNotFound, and OSError."""
        self._find(artifact_id).unlink()

    def _find(self, artifact_id: str) -> File:
        if not _ID.fullmatch(artifact_id):  # who writes to the database may write anything
            raise ArtifactNotFound("no artifact has such a name")
        for store in self._stores():
            file = store.file(_name(artifact_id))
            with suppress(OSError):  # it can't be reached, others can
                if file.exists():
                    return file
        raise ArtifactNotFound(f"no artifact {artifact_id} in any store that can be reached")


Contents = dict[str, bytes]
"""By the name that a person sees."""


def contents_of(record: TrialRecord, settings: StudySettings) -> Contents:
    """What there is to see of a trained trial: two pictures and a table."""
    architecture = record.configuration.architecture
    return {
        "learning-curve.png": png(trial_chart(record, settings), dots_per_inch=DOTS_PER_INCH),
        "network.png": network_png(architecture, dots_per_inch=DOTS_PER_INCH),
        "epochs.csv": _table(record.history).encode(),
    }


def keep_artifacts(
    trial: "optuna.Trial",
    record: TrialRecord,
    settings: StudySettings,
    store: Store,
    draw: Callable[[TrialRecord, StudySettings], Contents] = contents_of,
) -> None:
    """Keeps what there is to see of a trained trial; before the trial is told.

    The weights, which are in the store, get a second name there. Raises OSError.
    """
    contents = draw(record, settings)
    for filename, content in contents.items():
        artifact = _described(filename)
        store.write(_name(artifact.artifact_id), content)
        _add(trial, artifact)
    weights = record.attributes["checkpoint"]
    artifact = _described(PurePosixPath(weights).name)
    store.name_again(_name(artifact.artifact_id), weights)
    _add(trial, artifact)


def _name(artifact_id: str) -> str:
    return f"{ARTIFACTS_FOLDER}/{artifact_id}"


def _described(filename: str) -> ArtifactMeta:
    mimetype, encoding = mimetypes.guess_type(filename)
    mimetype = mimetype or "application/octet-stream"
    return ArtifactMeta(str(uuid.uuid4()), filename, mimetype, encoding)


def _add(trial: "optuna.Trial", artifact: ArtifactMeta) -> None:
    """As Optuna's `upload_artifact` does, which takes nothing but files of this machine."""
    described = json.dumps(dataclasses.asdict(artifact))
    key = f"artifacts:{artifact.artifact_id}"
    trial.storage.set_trial_system_attr(trial._trial_id, key, described)


def _table(history: list[Epoch]) -> str:
    """A row for each epoch, with the names of `Epoch` above them."""
    text = StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in dataclasses.fields(Epoch)])
    writer.writeheader()
    writer.writerows(dataclasses.asdict(each) for each in history)
    return text.getvalue()
