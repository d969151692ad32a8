"""What was found for one network, as it is printed and written."""

import statistics
from dataclasses import dataclass

from benchmarks.ceiling import Ceilings, training_cost
from benchmarks.comparison import Speeds, ratio
from benchmarks.speed import Speed
from search.plan import Precision
from space import Configuration, footprint

TRIAL_EPOCHS, TRIAL_IMAGES, TRIAL_EVALUATION_IMAGES = 15, 50_000, 10_000
"""A trial that is not pruned."""


@dataclass(frozen=True)
class Result:
    """One object of the JSON list `results`.

    Speeds are those of the pair with the median ratio, `ratios` those of all pairs in their order;
    `engine_images_per_second_at` is by number of trainings at once. Seconds per trial are those of
    one trial, trials per minute those of all that run at once. Memory in bytes is per process.
    Shares are of 1. Accuracies are validation accuracies after the last epoch in percent, their
    mean None where none was asked for.
    """

    architecture: str
    params: int
    macs: int
    plain_images_per_second: float
    engine_images_per_second: float
    ratio: float
    ratios: list[float]
    plain_loader_processes: int
    engine_trainings_at_once: int
    engine_images_per_second_at: dict[int, float]
    plain_seconds_per_trial: float
    engine_seconds_per_trial: float
    plain_trials_per_minute: float
    engine_trials_per_minute: float
    plain_peak_bytes: int
    engine_peak_bytes: int
    flops_per_image: float
    bytes_per_image: float
    share_of_flops: float
    share_of_bandwidth: float
    share_of_ceiling: float
    plain_share_of_ceiling: float
    plain_accuracy: float | None
    engine_accuracy: float | None
    plain_accuracies: list[float]
    engine_accuracies: list[float]

    @classmethod
    def of(
        cls,
        name: str,
        configuration: Configuration,
        precision: Precision,
        ceilings: Ceilings,
        speeds: Speeds,
        plain_accuracies: list[float],
        engine_accuracies: list[float],
    ) -> "Result":
        """Puts together what was measured."""
        plain, engine = speeds.median_pair
        cost = training_cost(configuration, precision)
        shares = cost.shares(engine.train, ceilings, precision)
        plain_cost = training_cost(configuration, "float32")
        plain_seconds = _trial_seconds(plain)
        engine_seconds = _trial_seconds(engine)
        size = footprint(configuration.architecture)
        return cls(
            architecture=name,
            params=size.params,
            macs=size.macs,
            plain_images_per_second=plain.train,
            engine_images_per_second=engine.train,
            ratio=ratio((plain, engine)),
            ratios=[ratio(pair) for pair in speeds.pairs],
            plain_loader_processes=speeds.loader_processes,
            engine_trainings_at_once=speeds.trainings,
            engine_images_per_second_at=speeds.at_once,
            plain_seconds_per_trial=plain_seconds,
            engine_seconds_per_trial=engine_seconds * speeds.trainings,
            plain_trials_per_minute=60 / plain_seconds,
            engine_trials_per_minute=60 / engine_seconds,
            plain_peak_bytes=plain.peak_bytes,
            engine_peak_bytes=engine.peak_bytes,
            flops_per_image=cost.flops,
            bytes_per_image=cost.bytes,
            share_of_flops=shares[0],
            share_of_bandwidth=shares[1],
            share_of_ceiling=max(shares),
            plain_share_of_ceiling=max(plain_cost.shares(plain.train, ceilings, "float32")),
            plain_accuracy=_mean(plain_accuracies),
            engine_accuracy=_mean(engine_accuracies),
            plain_accuracies=plain_accuracies,
            engine_accuracies=engine_accuracies,
        )


def _trial_seconds(speed: Speed) -> float:
    """Seconds in which one trial's worth of images is trained on and evaluated."""
    once = TRIAL_IMAGES / speed.train + TRIAL_EVALUATION_IMAGES / speed.evaluation
    return TRIAL_EPOCHS * once


def _mean(accuracies: list[float]) -> float | None:
    return statistics.mean(accuracies) if accuracies else None
