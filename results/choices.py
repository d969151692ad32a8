"""What a trial chose, as named levels in plain words, and only where the choice had an effect.

The search space has no conditionals: every trial draws the width of a layer it may not have. Such
a draw says nothing about the trial, so it has no level here.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from space import SearchSpace
from space.search_space import DEPTHS, Choice, IntRange

if TYPE_CHECKING:
    import pandas as pd

    from results.record import TrialRecord

MOST_LEVELS = 5
"""Whole numbers of more than this many values are grouped, as continuous ones are."""

GROUPS = 3
"""Groups of as many trials each, as far as equal values allow it."""


def choices_table(records: "Sequence[TrialRecord]", space: SearchSpace) -> "pd.DataFrame":
    """A row a trial, a column a choice (named in words), the chosen level in words in its cells.

    None where the choice had no effect on that trial. Continuous choices are grouped into thirds of
    these trials, named by the range of the values in them, so the levels depend on the trials.
    """
    import pandas as pd

    made = [effective(record.parameters) for record in records]
    columns = {}
    for name, dimension in space.dimensions.items():
        values = [each.get(name) for each in made]
        if isinstance(dimension, Choice) or (
            isinstance(dimension, IntRange) and dimension.high - dimension.low < MOST_LEVELS
        ):
            levels = [None if each is None else level_words(name, each) for each in values]
        else:
            levels = _grouped(values)
        columns[choice_words(name)] = levels
    return pd.DataFrame(columns, index=[record.number for record in records], dtype=object)


def effective(parameters: dict[str, Any]) -> dict[str, Any]:
    """Those of a trial's parameters that its network or its training depends on.

    The rules are those by which `space.search_space` writes a configuration.
    """
    return {name: parameters[name] for name in _effective_names(parameters)}


def choice_words(name: str) -> str:
    """What a parameter of the search space decides, in words."""
    part, _, rest = name.partition("_")
    if part.startswith(("stage", "transition")) and part[-1].isdigit():
        if rest.startswith("width") and rest != "width":
            rest, layer = "width", f" {rest.removeprefix('width')}"
        else:
            layer = ""
        return f"{part[:-1]} {part[-1]}: {_OF_A_PART[part[:-1], rest]}{layer}"
    return _CHOICES.get(name, name.replace("_", " "))


def level_words(name: str, value: Any) -> str:
    """A value of a parameter of the search space, in words."""
    kind = name.partition("_")[2] if name.startswith(("stage", "transition")) else name
    if kind == "kernel_size":
        return f"{value}x{value}"
    if name == "ema_decay" and value == 0:
        return "off"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return _LEVELS.get((kind, value), value.replace("_", " "))
    return f"{value:.4g}"


def _effective_names(parameters: dict[str, Any]) -> Iterator[str]:
    stages = [n for n in range(1, len(DEPTHS) + 1) if parameters[f"stage{n}_depth"] > 0]
    # In studies made before every stage had its own, only the last convolution was repeated.
    is_of_one_repeats = "repeats" in parameters
    for stage in range(1, len(DEPTHS) + 1):
        yield f"stage{stage}_depth"
    for stage in stages:
        depth, is_last = parameters[f"stage{stage}_depth"], stage == stages[-1]
        strided = not is_last and parameters[f"transition{stage}_pool"] == "stride"
        can_repeat = not strided and depth > (stage == 1)  # nor is the very first convolution
        name = f"stage{stage}_repeats"
        if is_of_one_repeats:
            can_repeat, name = is_last, "repeats"
        repeated = can_repeat and parameters[name] > 1
        if can_repeat:
            yield name
        # A repeated convolution takes the width of its input.
        own_widths = depth - repeated
        if own_widths:
            layers = 1 if parameters["residual"] else own_widths
            yield from (f"stage{stage}_width{layer}" for layer in range(1, layers + 1))
        yield f"stage{stage}_kernel_size"
        # The last convolution of all has a padding of its own, and a repeated one keeps its size.
        if depth > (is_last or repeated):
            yield f"stage{stage}_padding"
        if depth > (stage == 1):  # the very first convolution is never separable
            yield f"stage{stage}_kind"
        if not is_last:
            yield f"transition{stage}_conv"
            yield f"transition{stage}_pool"
            if parameters[f"transition{stage}_conv"] != "none":
                yield f"transition{stage}_width"
        if is_last and not repeated:
            yield "last_padding"
    if parameters["order"] != "relu":
        yield from (name for name in ("norm_scale", "recalibration") if name in parameters)
    if parameters["dropout_place"] != "nowhere":
        yield "dropout"
    yield f"{parameters['optimizer']}_learning_rate"
    if parameters["schedule"] == "step":
        yield from ("step_epochs", "step_factor")
    yield from (name for name in ("views", "elastic_pixels") if name in parameters)
    yield from _ALWAYS


def _grouped(values: Sequence[Any]) -> list[str | None]:
    import numpy as np

    there = np.array([each for each in values if each is not None], dtype=float)
    if not len(there):
        return [None] * len(values)
    # `higher`: an edge is one of the values, and begins the group above it.
    edges = np.quantile(there, np.arange(1, GROUPS) / GROUPS, method="higher")
    groups = np.searchsorted(edges, there, side="right")
    words = {
        group: _range_words(there[groups == group].min(), there[groups == group].max())
        for group in np.unique(groups)
    }
    named = iter(groups)
    return [None if each is None else words[next(named)] for each in values]


def _range_words(low: float, high: float) -> str:
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"


_ALWAYS = (
    *("residual", "order", "dropout_place", "head"),
    *("optimizer", "momentum", "weight_decay", "schedule", "batch_size", "label_smoothing"),
    *("ema_decay", "rotation_degrees", "shift_pixels", "scale", "shear_degrees"),
)

_OF_A_PART = {
    ("stage", "depth"): "convolutions",
    ("stage", "width"): "channels of conv",
    ("stage", "kernel_size"): "kernel size",
    ("stage", "padding"): "padding",
    ("stage", "kind"): "kind of convolution",
    ("stage", "repeats"): "last convolution: times applied",
    ("transition", "conv"): "1x1 convolution",
    ("transition", "width"): "channels",
    ("transition", "pool"): "made smaller by",
}

_CHOICES = {
    "last_padding": "last convolution: padding",
    "repeats": "last convolution: times applied",
    "residual": "residual connections",
    "order": "order of BatchNorm and ReLU",
    "norm_scale": "BatchNorm: trainable scale",
    "dropout_place": "dropout: place",
    "dropout": "dropout: strength",
    "sgd_learning_rate": "learning rate (SGD)",
    "adamw_learning_rate": "learning rate (AdamW)",
    "muon_learning_rate": "learning rate (Muon)",
    "schedule": "learning rate schedule",
    "step_epochs": "step schedule: epochs a step",
    "step_factor": "step schedule: factor",
    "ema_decay": "weight averaging",
    "recalibration": "BatchNorm recalibrated",
    "views": "views of an image",
    "rotation_degrees": "images turned by, degrees",
    "shift_pixels": "images shifted by, pixels",
    "scale": "images scaled by",
    "shear_degrees": "images sheared by, degrees",
    "elastic_pixels": "points of images moved by, pixels",
}

_LEVELS = {
    ("padding", "valid"): "none",
    ("last_padding", "valid"): "none",
    ("padding", "same"): "keeps size",
    ("last_padding", "same"): "keeps size",
    ("kind", "conv"): "plain",
    ("pool", "max"): "max pooling",
    ("pool", "average"): "average pooling",
    ("pool", "none"): "nothing",
    ("conv", "before_pool"): "before pooling",
    ("conv", "after_pool"): "after pooling",
    ("order", "norm-relu"): "BatchNorm first",
    ("order", "relu-norm"): "ReLU first",
    ("order", "relu"): "no BatchNorm",
    ("optimizer", "sgd"): "SGD",
    ("optimizer", "adamw"): "AdamW",
    ("optimizer", "muon"): "Muon",
    ("schedule", "one_cycle"): "one-cycle",
    ("head", "gap_conv"): "average pool, 1x1 conv",
    ("head", "conv_gap"): "1x1 conv, average pool",
    ("head", "full_conv"): "one large kernel",
}
