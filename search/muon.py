"""Momentum whose steps are orthogonalised, matrix by matrix: all matrices of a network at once.

K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024. torch.optim.Muon
does the same a matrix at a time, with a learning rate that is read on the host, in some hundred
operations; with networks of a few thousand parameters the count of operations is the cost.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

_ROUNDS = 5
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the Newton-Schulz iteration, from the paper."""
_LEAST_NORM = 1e-7


class Muon(torch.optim.Optimizer):
    """For one flat tensor of all weights, with its gradient; `parameters` are its parts in order.

    Kernels of convolutions are matrices with a row for each output channel. They move along the
    momentum with all singular values made about equal, times the root of rows over columns if that
    is above one; the rest (scales, shifts, biases) along the momentum as it is. Weight decay is
    decoupled. `lr` is a tensor without dimensions and is read at every step.
    """

    def __init__(
        self,
        weights: torch.Tensor,
        parameters: Sequence[torch.Tensor],
        *,
        lr: torch.Tensor,
        momentum: float,
        nesterov: bool,
        weight_decay: float,
    ) -> None:
        super().__init__([weights], {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self._weights, self._lr, self._momentum = weights, lr, momentum
        self._nesterov, self._weight_decay = nesterov, weight_decay
        self.state[weights]["momentum_buffer"] = torch.zeros_like(weights)
        starts = [0]
        for each in parameters:
            starts.append(starts[-1] + each.numel())
        kernels = [
            torch.arange(start, start + each.numel()).view(len(each), -1)
            for start, each in zip(starts, parameters, strict=False)
            if each.dim() > 1
        ]
        # As one tensor of wide matrices; where a smaller one has no element stands that behind the
        # last, a zero, and zeros stay zeros.
        wide = [each if len(each) <= each.shape[1] else each.T for each in kernels]
        shape = (len(wide), *(max(each.shape[side] for each in wide) for side in (0, 1)))
        places = torch.full(shape, len(weights))
        for matrix, each in zip(places, wide, strict=True):
            matrix[: len(each), : each.shape[1]] = each
        scales = [max(1, len(each) / each.shape[1]) ** 0.5 for each in kernels]
        # And back: an element of a matrix from there, any other as it was.
        back = torch.arange(len(weights) + 1)
        back[places.flatten()] = len(weights) + 1 + torch.arange(places.numel())
        self._places, self._back = places.to(weights.device), back[:-1].to(weights.device)
        self._scales = torch.tensor(scales, device=weights.device).view(-1, 1, 1)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Moves the weights; the closure of torch's interface is not called."""
        gradient = self._weights.grad
        assert gradient is not None
        average = self.state[self._weights]["momentum_buffer"]
        average.mul_(self._momentum).add_(gradient)
        update = gradient + self._momentum * average if self._nesterov else average
        update = torch.cat((update, update.new_zeros(1)))
        matrices = orthogonalised(update[self._places]) * self._scales
        update = torch.cat((update, matrices.flatten()))[self._back]
        self._weights.mul_(1 - self._lr * self._weight_decay).sub_(self._lr * update)


def orthogonalised(matrices: torch.Tensor) -> torch.Tensor:
    """Of matrices (N, rows, columns), no taller than wide: singular values between 0.7 and 1.2.

    Those that are less than a hundredth of the root of the sum of their squares come out smaller.
    """
    first, third, fifth = _COEFFICIENTS
    norms = torch.linalg.vector_norm(matrices, dim=(1, 2), keepdim=True)
    made: torch.Tensor = matrices / norms.clamp(min=_LEAST_NORM)
    for _ in range(_ROUNDS):
        squares = made @ made.mT
        factors = torch.baddbmm(squares, squares, squares, beta=third, alpha=fifth)
        made = torch.baddbmm(made, factors, made, beta=first)
    return made
