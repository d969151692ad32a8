"""How training and validation compare, and how the last epochs went: of the most accurate trial."""

import math
from collections.abc import Sequence

from results.intervals import CLEAR, standard_error
from results.markdown import count
from results.record import TrialRecord
from results.report.findings import Findings


def fit(found: Findings) -> str:
    """The gap between training and validation accuracy, and what it says of the fit.

    Empty without a complete trial.
    """
    best = found.best
    if best is None:
        return ""
    last, target, split = best.history[-1], found.settings.target, found.split
    training, validation = last.train_accuracy, last.accuracy
    gap = training - validation
    noise = standard_error(validation, split.validation)
    differently = counted_differently(best)
    said = (
        f"In its last epoch the most accurate network (trial {best.number}) had {training:.2f}% of "
        f"the training images right, counted while it trained, and after it {validation:.2f}% of "
        f"the validation images: a gap of {gap:+.2f} points, where one standard error at "
        f"{split.validation:,} images is {noise:.2f}. "
    )
    if gap > CLEAR * noise:
        lags = best.configuration.recipe.ema_decay > 0
        return (
            f"{said}This is a generalisation gap"
            + (", or the averaged weights lag behind" if lags else "")
            + (f"; training images were counted {differently}." if differently else ".")
        )
    if differently:
        return said + (
            f"Training images were counted {differently}, so this tells neither over- nor "
            f"underfitting."
        )
    clearly_below = training + CLEAR * standard_error(training, split.training) < target
    if best.sustained < target and clearly_below:
        return said + (
            f"It underfits: it has fewer than {target:g}% right even of the images it was trained "
            f"on."
        )
    return said + "It has no clear generalisation gap."


def steadiness(found: Findings) -> str:
    """How far validation accuracy fell in the last epochs. Empty with fewer than two of them.

    Empty as well where it rises and never falls, which is no sign of being steady.
    """
    last = _last(found)
    if len(last) < 2:
        return ""
    fall = largest_fall(last)
    noise = CLEAR * standard_error(last[-1], found.split.validation)
    said = (
        f"Over its last {count(len(last), 'epoch')} its validation accuracy was {min(last):.2f} to "
        f"{max(last):.2f}% and fell by at most {fall:.2f} points"
    )
    if fall > noise:
        return (
            f"{said}, more than two standard errors ({noise:.2f}): it is unsteady, and its "
            f"sustained accuracy depends on where training happens to stop."
        )
    if still_rising(found):
        return ""
    return f"{said}, no more than two standard errors ({noise:.2f}): it is steady."


def largest_fall(accuracies: Sequence[float]) -> float:
    """From the highest so far to a later one, in points; 0 if they never fall."""
    falls = [max(accuracies[:place]) - accuracies[place] for place in range(1, len(accuracies))]
    return max(0.0, *falls) if falls else 0.0


def still_rising(found: Findings) -> list[float]:
    """The last validation accuracies of the most accurate trial, if they were still rising.

    That is: the very last is the highest of all, and clearly above the first of them and all
    before it. Empty if not.
    """
    last = _last(found)
    if found.best is None or len(last) < 2:
        return []
    every = [each.accuracy for each in found.best.history]
    end, before = every[-1], max(every[: len(every) - len(last) + 1])
    images = found.split.validation
    noise = math.hypot(standard_error(end, images), standard_error(before, images))
    return last if end > max(every[:-1]) and end - before > CLEAR * noise else []


def rising(found: Findings) -> str:
    """That the most accurate trial was still getting better. Empty if that is not clear."""
    last = still_rising(found)
    if found.best is None or not last:
        return ""
    return (
        f"Its validation accuracy was still rising over its last {count(len(last), 'epoch')}: "
        f"{' '.join(f'{each:.2f}' for each in last)}%. {falling_rate(found, found.best)}"
    ).rstrip()


def falling_rate(found: Findings, record: TrialRecord) -> str:
    """That the learning rate fell in the last epochs, which can lift accuracy by itself."""
    recipe, epochs = record.configuration.recipe, found.settings.epochs
    last = range(max(epochs - found.settings.sustain, 0) + 1, epochs)
    stepped = recipe.schedule == "step" and any(each % recipe.step_epochs == 0 for each in last)
    if not (recipe.schedule in ("cosine", "one_cycle") or stepped):
        return ""
    name = recipe.schedule.replace("_", "-")
    return (
        f"Its learning rate fell in these epochs ({name} schedule), which may be the reason as "
        f"well as too few epochs."
    )


def _last(found: Findings) -> list[float]:
    """The validation accuracies of the last epochs of the most accurate trial, by epoch."""
    history = found.best.history if found.best else []
    return [each.accuracy for each in history[-found.settings.sustain :]]


def counted_differently(record: TrialRecord) -> str:
    """How training images were counted otherwise than validation images; empty if alike."""
    configuration = record.configuration
    drops = configuration.recipe.dropout > 0 and any(
        "dropout" in getattr(layer, "then", ()) for layer in configuration.architecture.layers
    )
    ways = (
        ("randomly distorted", not configuration.recipe.augmentation.is_off),
        ("with dropout", drops),
        ("before the weights were averaged", configuration.recipe.ema_decay > 0),
        ("before BatchNorm was recalibrated", configuration.recipe.recalibration),
        ("in one view", configuration.architecture.views > 1),
    )
    return ", ".join(name for name, is_so in ways if is_so)
