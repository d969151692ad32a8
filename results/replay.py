"""Published networks trained again: what was published against what was measured."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from results.markdown import count, table
from results.record import Given, TrialRecord
from results.settings import StudySettings
from results.splits import SPLITS
from space import PUBLISHED, Published, footprint


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
            "seeds": [int(run.attributes["seed"]) for run in self.runs],
            "accuracies": [[each.validation_accuracy for each in run.history] for run in self.runs],
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
    by_name: dict[str, dict[int, TrialRecord]] = {}
    for record in records:
        given = Given.of(record.attributes)
        if given is not None and record.was_trained:
            by_name.setdefault(given.name, {})[given.seed] = record
    return [
        Replayed(each, tuple(run for _, run in sorted(by_name[name].items())))
        for name, each in PUBLISHED.items()
        if name in by_name
    ]


COLUMNS = (
    "id",
    "what",
    "parameters",
    "best train, published",
    "best train, measured",
    "best test, published",
    "best test, measured",
    "difference",
    "sustained, measured",
    "seeds that hold",
)


def cells(each: Replayed, settings: StudySettings) -> tuple[str, ...]:
    """A row of the table, in the order of `COLUMNS`."""
    published = each.published
    holding = sum(value >= settings.target for value in each.sustained)
    return (
        published.id + ("*" if published.reconstruction else ""),
        published.title,
        f"{each.params:,}",
        f"{published.best_train:.2f}",
        _mean(each.best_train),
        f"{published.best_test:.2f}",
        _mean(each.best_test),
        f"{each.difference:+.2f}",
        _mean(each.sustained),
        f"{holding} of {len(each.runs)}",
    )


def replay_markdown(found: Sequence[Replayed], settings: StudySettings) -> str:
    """The table with what its figures mean."""
    if not found:
        return "Nothing is trained yet."
    return "\n\n".join(
        [table(COLUMNS, [cells(each, settings) for each in found]), legend(found, settings)]
    )


def legend(found: Sequence[Replayed], settings: StudySettings) -> str:
    """What the figures of the table mean, in one paragraph."""
    split = SPLITS[settings.dataset]
    seeds = sorted({len(each.runs) for each in found})
    runs = " to ".join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))
    return (
        f"Accuracies in percent. The protocol of the write-ups: trained on all {split.training:,} "
        f"training images for {count(settings.epochs, 'epoch')}, measured after each on the "
        f"{split.test:,} test images; the best epoch is reported, which makes it too good by a "
        f"little. Published: one run. Measured: mean ± standard deviation over {runs} seeds. "
        f"*Sustained*: the lowest of the last {count(settings.sustain, 'epoch')}; a seed holds if "
        f"that is at least {settings.target:g}. Training accuracies are of the epoch while it "
        f"goes on, with augmentation and dropout. An asterisk: the layers were not published and "
        f"are reconstructed from the number of parameters and the words."
    )


def _mean(values: Sequence[float]) -> str:
    sd = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{sd}"
