"""Trainings to their end, by both sides, kept in a file so that a long run can be cut off."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks import digits, engine, plain
from results.versions import versions
from search.data import DataSource
from search.plan import Precision
from space import Configuration

Side = Literal["plain", "engine"]
SIDES: tuple[Side, ...] = ("plain", "engine")


@dataclass(frozen=True)
class Training:
    """A training from one seed on `images` of the training images, as one side does it."""

    side: Side
    configuration: Configuration
    source: DataSource
    device: str
    precision: Precision
    images: int
    epochs: int
    seed: int

    @property
    def key(self) -> str:
        """Says whether a kept result is of this training: all that its accuracy depends on.

        The plain script does not change with the engine; the engine's results hold for its commit.
        """
        described = {
            "side": self.side,
            "configuration": self.configuration.id,
            "dataset": self.source.name,
            "device": self.device.partition(":")[0],
            "precision": self.precision,
            "images": self.images,
            "epochs": self.epochs,
            "seed": self.seed,
            "commit": versions().get("commit") if self.side == "engine" else None,
        }
        return json.dumps(described, sort_keys=True)

    def run(self) -> float:
        """The accuracy (percent) after the last epoch on the validation images."""
        device = "cpu" if self.side == "plain" else self.device
        training, validation = digits.some(self.source, device, self.images)
        if self.side == "plain":
            epochs = plain.train(
                self.configuration,
                self.source,
                training,
                validation,
                epochs=self.epochs,
                seed=self.seed,
                device=self.device,
            )
        else:
            epochs = engine.train(
                self.configuration,
                training,
                validation,
                epochs=self.epochs,
                seed=self.seed,
                precision=self.precision,
            )
        return [epoch.accuracy for epoch in epochs][-1]


class Log:
    """Accuracies of trainings that have ended; with a file, also of earlier runs."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[str, float] = {}
        if path is not None and path.exists():
            for line in path.read_text().splitlines():
                entry = json.loads(line)
                self._known[entry["key"]] = entry["accuracy"]

    def __contains__(self, training: Training) -> bool:
        return training.key in self._known

    def __getitem__(self, training: Training) -> float:
        return self._known[training.key]

    def add(self, training: Training, accuracy: float) -> None:
        self._known[training.key] = accuracy
        if self._path is not None:
            entry = {"key": training.key, "accuracy": accuracy, "versions": versions()}
            with self._path.open("a") as file:
                file.write(json.dumps(entry) + "\n")
