"""Dropout whose random numbers are cheap on a CPU.

`torch.nn.Dropout` draws one number of the Mersenne Twister per element: on one CPU thread that was
28% of a training step of the published net 1.3 (batch 64, bfloat16). Here one 64-bit draw serves
four elements, which rounds the probability to a multiple of 1/65,536.
"""

import torch
from torch import nn

LEVELS = 1 << 16
"""Probabilities are multiples of 1 / LEVELS."""


class Dropout(nn.Module):
    """While training, zeroes elements with probability `p` and scales the rest by 1 / (1 - p).

    Draws from `generator`, or from torch's global random state where it is None.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.generator: torch.Generator | None = None

    @property
    def levels(self) -> int:
        """The probability in 1/65,536, below 1."""
        return min(round(self.p * LEVELS), LEVELS - 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape to the same shape."""
        dropped = self.levels
        if not self.training or dropped == 0:
            return x
        draws = torch.empty(x.numel() // 4 + 1, dtype=torch.int64, device=x.device)
        draws.random_(-(2**63), None, generator=self.generator)
        keep = draws.view(torch.int16)[: x.numel()] >= dropped - LEVELS // 2
        # Strides of x: the product of tensors of different memory formats is many times slower.
        kept = x * keep.to(x.dtype).as_strided(x.shape, x.stride())
        return kept.mul_(LEVELS / (LEVELS - dropped))

    def extra_repr(self) -> str:
        return f"p={self.p}"
