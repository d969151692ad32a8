"""What a configuration is made of beyond the plainest network, and the configuration without it.

An ingredient is a change that drill-downs make by hand: BatchNorm, a learning rate schedule, and so
on. Each can be taken out of a configuration by itself, in any order. Where the rest has more
parameters than the budget allows (a final kernel as large as the map in place of global average
pooling, say), all widths shrink by one factor until it fits: the plain network and the refined one
get the same budget. Pooling stays where not even single channels with such a kernel fit.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from space.architecture import Architecture, Conv, Layer
from space.footprint import footprint, layer_costs
from space.recipe import Augmentation
from space.search_space import Configuration

RULES = 1
"""Version of what follows. Studies of drill-downs keep it: they find their trainings by what these
rules make of the configuration."""

CONSTANT_SHARE = 0.1
"""Of the highest learning rate of a schedule: the constant one in its place. A network without
BatchNorm may learn nothing at all at the highest (see results/LOG.md), which a schedule begins
below or leaves after some epochs."""

LEAST_DECAY = 2e-5
"""What is weaker is none: in 15 epochs of MNIST (5,860 steps of 128 images) a learning rate of 0.1
with a momentum of 0.9 takes an eighth from a weight: exp(-0.1 * 2e-5 * 5,860 / (1 - 0.9))."""


@dataclass(frozen=True)
class Ingredient:
    """`name` for programs, `words` for people; `without` takes it out of a configuration."""

    name: str
    words: str
    without: Callable[[Configuration], Configuration]


def ingredients(configuration: Configuration, max_params: int | None = None) -> list[Ingredient]:
    """Those that the configuration has: without one it would be another.

    With a budget, without pooling where a final kernel over the whole map costs more than that.
    """
    found = [each for each in _ALL if each.without(configuration) != configuration]
    if max_params is not None and _needs_pooling(found, configuration, max_params):
        found = [each for each in found if each.name != "pooling"]
    return found


def _needs_pooling(found: list[Ingredient], configuration: Configuration, max_params: int) -> bool:
    """Whether even single channels without pooling cost too much, with the rest or without it."""
    whole = plain = _without_pooling(configuration)
    for each in found:
        plain = each.without(plain)
    narrowest = [_narrowed(each.architecture, 1) for each in (whole, plain)]
    return any(footprint(each).params >= max_params for each in narrowest)


def with_only(
    configuration: Configuration, names: Collection[str], max_params: int
) -> Configuration:
    """The configuration without its other ingredients, with fewer than `max_params` parameters.

    Raises ValueError if even single channels have more.
    """
    made = configuration
    for each in ingredients(configuration, max_params):
        if each.name not in names:
            made = each.without(made)
    if not any("norm" in getattr(layer, "then", ()) for layer in made.architecture.layers):
        made = _of_recipe(recalibration=False)(made)  # of nothing: two rungs would train the same
    return made.model_copy(update={"architecture": _fitted(made.architecture, max_params)})


def _fitted(architecture: Architecture, max_params: int) -> Architecture:
    """The same with widths times the largest factor (of 1, 0.99, ... 0.01) that fits."""
    for hundredths in range(100, 0, -1):
        made = _narrowed(architecture, hundredths)
        if footprint(made).params < max_params:
            return made
    raise ValueError(f"no width has fewer than {max_params:,} parameters")


def _narrowed(architecture: Architecture, hundredths: int) -> Architecture:
    return _changed(architecture, lambda conv: {"width": max(1, conv.width * hundredths // 100)})


def _changed(
    architecture: Architecture, change: Callable[[Conv], Mapping[str, Any]]
) -> Architecture:
    layers: list[Layer] = [
        layer.model_copy(update=dict(change(layer))) if isinstance(layer, Conv) else layer
        for layer in architecture.layers
    ]
    return Architecture(**{**dict(architecture), "layers": tuple(layers)})


def _of_layers(
    change: Callable[[Conv], Mapping[str, Any]],
) -> Callable[[Configuration], Configuration]:
    def without(configuration: Configuration) -> Configuration:
        made = _changed(configuration.architecture, change)
        return configuration.model_copy(update={"architecture": made})

    return without


def _of_recipe(**plain: Any) -> Callable[[Configuration], Configuration]:
    def without(configuration: Configuration) -> Configuration:
        made = configuration.recipe.model_copy(update=plain)
        return configuration.model_copy(update={"recipe": made})

    return without


def _without_schedule(configuration: Configuration) -> Configuration:
    if configuration.recipe.schedule == "constant":
        return configuration
    rate = configuration.recipe.learning_rate * CONSTANT_SHARE
    return _of_recipe(schedule="constant", learning_rate=rate)(configuration)


def _without_decay(configuration: Configuration) -> Configuration:
    if configuration.recipe.weight_decay < LEAST_DECAY:
        return configuration
    return _of_recipe(weight_decay=0.0)(configuration)


def _without_pooling(configuration: Configuration) -> Configuration:
    architecture = configuration.architecture
    *_, last, _ = layer_costs(architecture)
    if last.output_shape[1:] == (1, 1):  # there is nothing to pool
        return configuration
    head = architecture.head.model_copy(update={"kind": "full_conv"})
    made = architecture.model_copy(update={"head": head})
    return configuration.model_copy(update={"architecture": made})


def _without_views(configuration: Configuration) -> Configuration:
    made = configuration.architecture.model_copy(update={"views": 1})
    return configuration.model_copy(update={"architecture": made})


def _without_nesterov(configuration: Configuration) -> Configuration:
    if configuration.recipe.optimizer == "adamw":
        return configuration
    return _of_recipe(nesterov=False)(configuration)


def _without_dropout(configuration: Configuration) -> Configuration:
    if not configuration.recipe.dropout:
        return configuration
    made = _of_layers(
        lambda conv: {"then": tuple(each for each in conv.then if each != "dropout")}
    )(configuration)
    return _of_recipe(dropout=0.0)(made)


_ALL = (
    Ingredient(
        "norm",
        "BatchNorm",
        _of_layers(
            lambda conv: {
                "then": tuple(each for each in conv.then if each != "norm"),
                "norm_scale": True,
            }
        ),
    ),
    Ingredient("recalibration", "BatchNorm recalibrated", _of_recipe(recalibration=False)),
    Ingredient("pooling", "global average pooling", _without_pooling),
    Ingredient("views", "several views of an image", _without_views),
    Ingredient("augmentation", "augmentation", _of_recipe(augmentation=Augmentation())),
    Ingredient("schedule", "learning rate schedule", _without_schedule),
    Ingredient("dropout", "dropout", _without_dropout),
    Ingredient("averaging", "averaged weights", _of_recipe(ema_decay=0.0)),
    Ingredient("smoothing", "label smoothing", _of_recipe(label_smoothing=0.0)),
    Ingredient("decay", "weight decay", _without_decay),
    Ingredient("nesterov", "Nesterov momentum", _without_nesterov),
    Ingredient("residual", "residual connections", _of_layers(lambda _: {"residual": False})),
    Ingredient("sharing", "weights applied several times", _of_layers(lambda _: {"repeats": 1})),
    Ingredient(
        "separable", "depthwise-separable convolutions", _of_layers(lambda _: {"kind": "conv"})
    ),
)
