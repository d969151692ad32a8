"""Random valid architectures and random draws of the search space, for the tests."""

import math
import random
from collections.abc import Sequence
from typing import Any

import torch
from hypothesis import assume
from hypothesis import strategies as st

from space import Architecture, Conv, Head, Layer, Pool, footprint

torch.set_num_threads(1)  # for all who import this: what they build is too small to share

ORDERS = (
    (),
    ("norm",),
    ("relu",),
    ("dropout",),
    ("norm", "relu"),
    ("relu", "norm"),
    ("norm", "relu", "dropout"),
    ("relu", "norm", "dropout"),
    ("dropout", "relu"),
    ("relu", "dropout", "norm"),
)


@st.composite
def architectures(draw: st.DrawFn, *, size: int = 28, most_layers: int = 6) -> Architecture:
    """Any feature of the description may occur, anywhere it fits; widths are small."""
    shape = (1, size, size)
    layers: list[Layer] = []
    for _ in range(draw(st.integers(0, most_layers))):
        which = draw(st.sampled_from(["free", "free", "same", "pool"]))
        if which == "pool" and shape[1] >= 2:
            layer: Layer = draw(pools(largest=min(3, shape[1])))
        elif which == "same":
            layer = draw(shape_keeping_convs(channels=shape[0]))
        else:
            layer = draw(convs(size=shape[1]))
        layers.append(layer)
        shape = layer.output_shape(shape)
    kinds = st.sampled_from(["gap_conv", "conv_gap", "full_conv"])
    head = draw(st.builds(Head, kind=kinds, bias=st.booleans()))
    return Architecture(
        layers=tuple(layers),
        head=head,
        input_shape=(1, size, size),
        views=draw(st.sampled_from([1, 1, 5])),
    )


@st.composite
def convs(draw: st.DrawFn, *, size: int) -> Conv:
    """A convolution that fits a map of this size."""
    padding = draw(st.integers(0, 3))
    return Conv(
        kind=draw(st.sampled_from(["conv", "separable"])),
        width=draw(st.integers(1, 6)),
        kernel_size=draw(st.integers(1, min(5, size + 2 * padding))),
        padding=padding,
        stride=draw(st.integers(1, 3)),
        bias=draw(st.booleans()),
        then=draw(st.sampled_from(ORDERS)),
        norm_scale=draw(st.booleans()),
    )


@st.composite
def shape_keeping_convs(draw: st.DrawFn, *, channels: int) -> Conv:
    """A convolution that keeps the shape of its map: residual, repeated, both or neither."""
    kernel_size = draw(st.sampled_from([1, 3, 5]))
    return Conv(
        kind=draw(st.sampled_from(["conv", "separable"])),
        width=channels,
        kernel_size=kernel_size,
        padding=kernel_size // 2,
        bias=draw(st.booleans()),
        then=draw(st.sampled_from(ORDERS)),
        norm_scale=draw(st.booleans()),
        residual=draw(st.booleans()),
        repeats=draw(st.integers(1, 3)),
    )


def pools(*, largest: int) -> st.SearchStrategy[Pool]:
    """Pooling with windows of at most `largest` pixels."""
    return st.builds(
        Pool,
        kind=st.sampled_from(["max_pool", "average_pool"]),
        size=st.integers(2, largest),
        stride=st.integers(1, 3),
    )


@st.composite
def averaging_bodies(draw: st.DrawFn, *, size: int, largest_field: int) -> Architecture:
    """An architecture without max pooling (of a window it passes on one pixel's gradient only)."""
    drawn = draw(architectures(size=size))
    layers = tuple(
        layer.model_copy(update={"kind": "average_pool"}) if isinstance(layer, Pool) else layer
        for layer in drawn.layers
    )
    body = Architecture(layers=layers, head=Head(kind="gap_conv"), input_shape=drawn.input_shape)
    assume(footprint(body).receptive_field_pixels <= largest_field)
    return body


class RandomTrial:
    """Draws at random from a seed; the part of `optuna.Trial` that sampling needs."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        if not log:
            return self._random.randint(low, high)
        drawn = round(math.exp(self._random.uniform(math.log(low - 0.5), math.log(high + 0.5))))
        return min(max(drawn, low), high)

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        if not log:
            return self._random.uniform(low, high)
        drawn = math.exp(self._random.uniform(math.log(low), math.log(high)))
        return min(max(drawn, low), high)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._random.choice(choices)
