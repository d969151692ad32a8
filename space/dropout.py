"""Dropout that draws from a generator of its own."""

import torch
from torch import nn

LEVELS = 1 << 16
"""Also a constant of compiled code, whose cache does not notice a change: never change it."""


class Dropout(nn.Module):
    """While training, zeroes elements with probability `p` and scales the rest by 1 / (1 - p).

    `p` is rounded to a multiple of 1 / `LEVELS`, so that compiled forms can draw it from whole
    numbers. Draws from `generator`, or from torch's global random state where it is None.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.generator: torch.Generator | None = None

    @property
    def levels(self) -> int:
        """The probability in 1 / `LEVELS`, below 1."""
        return min(round(self.p * LEVELS), LEVELS - 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape to the same shape."""
        if not self.training or self.levels == 0:
            return x
        kept = 1 - self.levels / LEVELS
        mask = torch.empty_like(x).bernoulli_(kept, generator=self.generator)
        return x * mask.div_(kept)

    def extra_repr(self) -> str:
        return f"p={self.p}"
