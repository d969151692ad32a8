"""A network that takes pixels: the normalisation it was trained with is part of it."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Normalisation:
    """Of pixels scaled to 0..1: (x - mean) / std."""

    mean: float
    std: float


class PixelNetwork(nn.Module):
    """A network behind its normalisation: pixels 0..1 (N, 1, H, W) to logits (N, classes)."""

    def __init__(self, network: nn.Module, normalisation: Normalisation) -> None:
        super().__init__()
        self.network = network
        self.mean, self.std = normalisation.mean, normalisation.std

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network((pixels - self.mean) / self.std)
        return logits
