"""Over- and underfitting, and how steady the last epochs are: sentences about the best trial."""

import statistics

from results.intervals import standard_error
from results.markdown import count
from results.record import TrialRecord
from results.report.findings import Findings

CLEAR = 2
"""Standard errors that a difference has to exceed to be called one."""


def fit(found: Findings) -> str:
    """Whether the most accurate trial over- or underfits, by its training and validation accuracy.

    Empty without a complete trial.
    """
    best = found.best
    if best is None:
        return ""
    last = best.history[-found.settings.sustain :]
    training = statistics.mean(each.train_accuracy for each in last)
    validation = statistics.mean(each.validation_accuracy for each in last)
    gap = training - validation
    noise = standard_error(validation, found.split.validation)
    harder = _made_harder_by(best)
    said = (
        f"Over its last {count(len(last), 'epoch')} the most accurate network (trial "
        f"{best.number}) got {training:.2f}% of the training images right and {validation:.2f}% "
        f"of the validation images: a gap of {gap:+.2f} points, where one standard error at "
        f"{found.split.validation:,} images is {noise:.2f}. "
    )
    if gap > CLEAR * noise:
        return said + (
            "It overfits"
            + (f", although its training images are made harder by {harder}." if harder else ".")
        )
    if harder:
        return said + (
            f"There is no sign of overfitting. Whether it underfits can't be told from this: its "
            f"training images are made harder by {harder}, and are counted while the weights still "
            f"change."
        )
    if training < found.settings.target:
        return said + (
            f"It underfits: it gets fewer than {found.settings.target:g}% right even of the images "
            f"it was trained on, which were not made harder by anything."
        )
    return said + "There is no sign of over- or underfitting."


def steadiness(found: Findings) -> str:
    """How far the last epochs of the most accurate trial lie apart. Empty with fewer than two."""
    best = found.best
    last = (
        [each.validation_accuracy for each in best.history][-found.settings.sustain :]
        if best
        else []
    )
    if best is None or len(last) < 2:
        return ""
    spread = max(last) - min(last)
    noise = standard_error(statistics.mean(last), found.split.validation)
    said = (
        f"Its validation accuracy stayed within {spread:.2f} points over these epochs "
        f"({min(last):.2f} to {max(last):.2f}%)"
    )
    if spread <= CLEAR * noise:
        return f"{said}, no more than two standard errors ({CLEAR * noise:.2f}): it is steady."
    if rise(found) is not None:
        return f"{said}, but was still rising, so how steady it is can't be told."
    return (
        f"{said}, more than two standard errors ({CLEAR * noise:.2f}): it is unsteady, and its "
        f"sustained accuracy depends on where training happens to stop."
    )


def rise(found: Findings) -> float | None:
    """Points by which the most accurate trial still gained when its training ended.

    Its last `sustain` epochs against as many before them; None if that is not clear or the epochs
    are too few.
    """
    best, sustain = found.best, found.settings.sustain
    accuracies = [each.validation_accuracy for each in best.history] if best else []
    if len(accuracies) < 2 * sustain:
        return None
    last = statistics.mean(accuracies[-sustain:])
    gain = last - statistics.mean(accuracies[-2 * sustain : -sustain])
    return gain if gain > CLEAR * standard_error(last, found.split.validation) else None


def rising(found: Findings) -> str:
    """That the most accurate trial had not ended learning. Empty if it had, or it is not clear."""
    gain = rise(found)
    if gain is None:
        return ""
    epochs = count(found.settings.sustain, "epoch")
    return (
        f"It was still learning when training ended: its last {epochs} are on average {gain:.2f} "
        f"points above the {epochs} before."
    )


def _made_harder_by(record: TrialRecord) -> str:
    """What makes training images harder than those it is measured on; empty if nothing."""
    configuration = record.configuration
    drops = configuration.recipe.dropout > 0 and any(
        "dropout" in getattr(layer, "then", ()) for layer in configuration.architecture.layers
    )
    reasons = (
        ("random distortion", not configuration.recipe.augmentation.is_off),
        ("dropout", drops),
    )
    return " and ".join(name for name, is_so in reasons if is_so)
