"""In which number format a device trains: measured once for a study and a processor, and kept."""

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from results.versions import device_name
from search.plan import Precision

if TYPE_CHECKING:
    import optuna

WORTH = 1.1
"""How many times faster bfloat16 must be to be chosen: less could be noise."""

_PAIRS, _IMAGES, _EPOCHS = 7, 320, 3


def precision_for(
    study: "optuna.Study", device: str, tell: Callable[[str], None] = lambda _: None
) -> Precision:
    """The number format in which a study trains on a device.

    The first that asks measures (some seconds), and what it found is kept with the study, so that
    all workers and resumed runs on processors of that name agree. `tell` is told when it is
    measured.
    """
    key = f"precision:{device_name(device)}"
    if key not in study.user_attrs:
        tell("measuring which number format this processor trains faster in ...")
        study.set_user_attr(key, asdict(measure_precision(device)))
    found: Precision = study.user_attrs[key]["chosen"]
    return found


@dataclass(frozen=True)
class MeasuredPrecision:
    """What was chosen, and the images a second it was chosen by; none where there is no choice."""

    chosen: Precision
    images_per_second: dict[Precision, int]


def measure_precision(device: str) -> MeasuredPrecision:
    """float32 or bfloat16, whichever trains faster on this processor: timed in turn, several times.

    On a GPU always float32: networks of this size are bound by launches there, not by arithmetic.
    """
    if device != "cpu":
        return MeasuredPrecision("float32", {})
    pairs = [(images_per_second("float32"), images_per_second("bfloat16")) for _ in range(_PAIRS)]
    single, half = (round(statistics.median(rates)) for rates in zip(*pairs, strict=True))
    is_worth_it = statistics.median(fast / slow for slow, fast in pairs) > WORTH
    return MeasuredPrecision(
        "bfloat16" if is_worth_it else "float32", {"float32": single, "bfloat16": half}
    )


def images_per_second(precision: Precision) -> float:
    """Images a second that one CPU thread trains a published net with; the best of some epochs."""
    import torch

    from search.data import Examples
    from search.device import prepare_thread
    from search.train import TrainingRun
    from space import baseline

    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (_IMAGES, 28, 28), dtype=torch.uint8, generator=generator)
    labels = torch.randint(10, (_IMAGES,), dtype=torch.uint8, generator=generator)
    train = Examples(pixels, labels, torch.arange(_IMAGES))
    few = Examples(pixels, labels, torch.arange(10))
    threads = torch.get_num_threads()
    prepare_thread("cpu")  # as in a worker
    try:
        run = TrainingRun(baseline("1.3"), train, few, epochs=_EPOCHS, seed=0, precision=precision)
        return _IMAGES / min(metrics.train_seconds for metrics in run)
    finally:
        torch.set_num_threads(threads)
