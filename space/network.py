"""Builds the network an architecture describes. The only place where modules are wired together."""

from typing import Any

import torch
from torch import nn

from space.architecture import After, Architecture, Conv, Head, Pool, Shape
from space.dropout import Dropout
from space.views import mean_of, moved


class ShiftNorm(nn.BatchNorm2d):
    """Batch normalisation with a trainable shift; its scale stays 1 and is no parameter."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        ones = self.weight.detach()
        del self.weight
        self.register_buffer("weight", ones, persistent=False)


class Network(nn.Sequential):
    """Layers and a head; in evaluation mode the mean over several views of each image."""

    def __init__(self, *modules: Any, views: int = 1) -> None:
        super().__init__(*modules)
        self.views = views

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, *input_shape) to (N, classes)."""
        views = 1 if self.training else self.views
        x = moved(x, views)
        for module in self:
            x = module(x)
        return mean_of(x, views)


class Block(nn.Module):
    """A convolution with what follows it, applied once or several times with the same weights."""

    def __init__(self, layer: Conv, channels: int, dropout: float) -> None:
        super().__init__()
        self.residual = layer.residual
        self.conv = _conv(layer, channels)
        self.after = nn.ModuleList(
            nn.Sequential(*(_after(kind, layer, dropout) for kind in layer.then))
            for _ in range(layer.repeats)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, width, H', W')."""
        for after in self.after:
            y = after(self.conv(x))
            x = x + y if self.residual else y
        return x


def build_network(architecture: Architecture, *, dropout: float = 0.0) -> Network:
    """The network of an architecture, freshly initialised from torch's global random state.

    `dropout` is the probability at every place where the architecture names dropout. Maps
    normalised images (N, *input_shape) to logits (N, classes).
    """
    shapes = architecture.shapes()
    network = Network(views=architecture.views)
    for position, (layer, before) in enumerate(zip(architecture.layers, shapes, strict=False), 1):
        network.add_module(f"layer{position}", _layer(layer, before[0], dropout))
    network.add_module("head", _head(architecture.head, shapes[-1], architecture.classes))
    return network


def _layer(layer: Conv | Pool, channels: int, dropout: float) -> nn.Module:
    if isinstance(layer, Conv):
        return Block(layer, channels, dropout)
    pool = nn.MaxPool2d if layer.kind == "max_pool" else nn.AvgPool2d
    return pool(layer.size, layer.stride)


def _conv(layer: Conv, channels: int) -> nn.Module:
    groups = channels if layer.kind == "separable" else 1
    spatial = nn.Conv2d(
        channels,
        channels if layer.kind == "separable" else layer.width,
        layer.kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        groups=groups,
        bias=layer.bias and layer.kind == "conv",
    )
    if layer.kind == "conv":
        return spatial
    return nn.Sequential(spatial, nn.Conv2d(channels, layer.width, 1, bias=layer.bias))


def _after(kind: After, layer: Conv, dropout: float) -> nn.Module:
    if kind == "norm":
        return (nn.BatchNorm2d if layer.norm_scale else ShiftNorm)(layer.width)
    return nn.ReLU() if kind == "relu" else Dropout(dropout)


def _head(head: Head, shape: Shape, classes: int) -> nn.Sequential:
    channels, height, width = shape
    kernel = (height, width) if head.kind == "full_conv" else (1, 1)
    conv = nn.Conv2d(channels, classes, kernel, bias=head.bias)
    pool = nn.AdaptiveAvgPool2d(1)
    orders: dict[str, list[nn.Module]] = {
        "gap_conv": [pool, conv],
        "conv_gap": [conv, pool],
        "full_conv": [conv],
    }
    return nn.Sequential(*orders[head.kind], nn.Flatten())
