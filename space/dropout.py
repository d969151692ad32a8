"""Dropout whose random numbers are cheap on a CPU.

`torch.nn.Dropout` draws one number of the Mersenne Twister per element: on one CPU thread that was
28% of a training step of the published net 1.3 (batch 64, bfloat16). Here one 64-bit draw serves
four elements, which rounds the probability to a multiple of 1/65,536.
"""

import torch
from torch import nn
from torch.nn import functional as F

_LEVELS = 1 << 16


class Dropout(nn.Module):
    """While training, zeroes elements with probability `p` and scales the rest by 1 / (1 - p)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape to the same shape."""
        dropped = round(self.p * _LEVELS)
        if not self.training or dropped == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.p)
        draws = torch.empty(x.numel() // 4 + 1, dtype=torch.int64).random_(-(2**63), None)
        keep = draws.view(torch.int16)[: x.numel()] >= dropped - _LEVELS // 2
        scaled = keep.to(x.dtype).mul_(_LEVELS / (_LEVELS - dropped))
        # Strides of x: the product of tensors of different memory formats is many times slower.
        return x * scaled.as_strided(x.shape, x.stride())

    def extra_repr(self) -> str:
        return f"p={self.p}"
