"""Published networks trained again: what was published against what was measured."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from results.markdown import count, mean_sd, table
from results.record import TrialRecord, given_runs
from results.settings import StudySettings
from results.splits import SPLITS
from space import PUBLISHED, Published, footprint


@dataclass(frozen=True)
class Curve:
    """A run from one seed: accuracies by epoch in percent, and the lowest of the last ones."""

    seed: int
    accuracies: list[float]
    sustained: float


@dataclass(frozen=True)
class Replayed:
    """A published network and its runs, by seed. Accuracies in percent, on the test images."""

    published: Published
    runs: tuple[TrialRecord, ...]

    @property
    def params(self) -> int:
        """Trainable parameters."""
        return self.runs[0].params

    @property
    def best_train(self) -> list[float]:
        """Of each run the highest accuracy of an epoch, while training."""
        return [max(each.train_accuracy for each in run.history) for run in self.runs]

    @property
    def best_test(self) -> list[float]:
        """Of each run the highest accuracy after an epoch, as write-ups report it."""
        return [float(run.attributes["best_accuracy"]) for run in self.runs]

    @property
    def sustained(self) -> list[float]:
        """Of each run the lowest accuracy of its last epochs."""
        return [run.sustained for run in self.runs]

    @property
    def curves(self) -> "list[Curve]":
        """Test accuracy after each epoch, a curve a seed."""
        return [
            Curve(run.attributes["seed"], [each.accuracy for each in run.history], run.sustained)
            for run in self.runs
        ]

    @property
    def difference(self) -> float:
        """Mean best test accuracy, measured minus published."""
        return statistics.mean(self.best_test) - self.published.best_test

    def described(self, target: float) -> dict[str, Any]:
        """As one JSON object."""
        return {
            **described(self.published),
            "best_train": self.best_train,
            "best_test": self.best_test,
            "difference": round(self.difference, 3),
            "sustained": self.sustained,
            "holds": sum(each >= target for each in self.sustained),
            "seeds": [each.seed for each in self.curves],
            "accuracies": [each.accuracies for each in self.curves],
        }


def described(published: Published) -> dict[str, Any]:
    """What was published, as one JSON object; `params` are those of the configuration."""
    return {
        "id": published.id,
        "title": published.title,
        "params": footprint(published.configuration.architecture).params,
        "published_params": published.params,
        "published_best_train": published.best_train,
        "published_best_test": published.best_test,
        "published_last_epochs": list(published.last_epochs),
        "note": published.note,
        "reconstruction": bool(published.reconstruction),
        "assumptions": published.reconstruction,
    }


def replayed(records: Sequence[TrialRecord]) -> list[Replayed]:
    """What is trained to its end of the published networks, in their order."""
    trained = given_runs(records)
    return [
        Replayed(each, tuple(run for _, run in sorted(trained[each.configuration].items())))
        for each in PUBLISHED.values()
        if each.configuration in trained
    ]


COLUMNS = (
    "id",
    "what",
    "params, published",
    "params",
    "train, published",
    "train",
    "test, published",
    "test",
    "test minus published",
    "sustained",
    "hold",
)


def cells(each: Replayed, settings: StudySettings) -> tuple[str, ...]:
    """A row of the table, in the order of `COLUMNS`."""
    published = each.published
    holding = sum(value >= settings.target for value in each.sustained)
    return (
        published.id + ("*" if published.reconstruction else ""),
        published.title,
        f"{'' if published.is_exact else '~'}{published.params:,}",
        f"{each.params:,}",
        f"{published.best_train:.2f}",
        mean_sd(each.best_train),
        f"{published.best_test:.2f}",
        mean_sd(each.best_test),
        f"{each.difference:+.2f}",
        mean_sd(each.sustained),
        f"{holding} of {len(each.runs)}",
    )


LAST = 5
"""Epochs whose accuracies are shown one by one, as write-ups do."""

RUN_COLUMNS = ("id", "seed", "best test", f"last {LAST} epochs, test", "sustained")


def run_cells(each: Replayed) -> list[tuple[str, ...]]:
    """A row for what was published and one for each run, in the order of `RUN_COLUMNS`."""
    published = each.published
    return [
        (
            published.id,
            "published",
            f"{published.best_test:.2f}",
            _spaced(published.last_epochs),
            "",
        ),
        *((published.id, *_run_cells(curve)) for curve in each.curves),
    ]


def _run_cells(curve: Curve) -> tuple[str, ...]:
    best, last = max(curve.accuracies), curve.accuracies[-LAST:]
    return str(curve.seed), f"{best:.2f}", _spaced(last), f"{curve.sustained:.2f}"


def _spaced(accuracies: Sequence[float]) -> str:
    return " ".join(f"{each:.2f}" for each in accuracies)


def replay_markdown(found: Sequence[Replayed], settings: StudySettings) -> str:
    """The table with what its figures mean."""
    if not found:
        return "Nothing is trained yet."
    return "\n\n".join(
        [table(COLUMNS, [cells(each, settings) for each in found]), legend(found, settings)]
    )


def is_as_published(settings: StudySettings) -> bool:
    """Whether figures compare with the published ones: all of MNIST, 15 epochs."""
    return settings.dataset == "mnist" and settings.epochs == 15


def _protocol(settings: StudySettings) -> str:
    if is_as_published(settings):
        return "The protocol of the write-ups"
    return "Not the protocol of the write-ups, which is all of MNIST and 15 epochs"


def legend(found: Sequence[Replayed], settings: StudySettings) -> str:
    """What the figures of the table mean, in one paragraph."""
    split = SPLITS[settings.dataset]
    fewest, *_, most = sorted(len(each.runs) for each in found) * 2
    seeds = count(most, "seed") if fewest == most else f"{fewest} to {count(most, 'seed')}"
    formats = {run.attributes["precision"] for each in found for run in each.runs}
    return (
        f"Accuracies in percent, the highest of a run's epochs: *train* of the training images "
        f"while it trains, with whatever augmentation and dropout it has, *test* of the "
        f"{split.test:,} test images. {_protocol(settings)}: trained on all {split.training:,} "
        f"training images for {count(settings.epochs, 'epoch')} (without the last ones of an "
        f"epoch that fill no batch), measured on the test images after each; to report the best "
        f"one makes it too good by a little. Trained in {' and '.join(sorted(formats))}, measured "
        f"in float32. Published are single runs, measured is the mean ± standard deviation over "
        f"{seeds}. *Sustained* is the lowest test accuracy of the last "
        f"{count(settings.sustain, 'epoch')}; a run *holds* if that is at least "
        f"{settings.target:g}. An asterisk: the layers were not published and are reconstructed "
        f"from the number of parameters and the words."
    )
