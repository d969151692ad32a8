"""All parameters of a network as views of one flat tensor, and the averages of its statistics.

An optimiser step, a weight average or a copy is then a single operation, whatever the number of
layers: for networks of a few thousand parameters the count of operations is the cost.
"""

import torch
from torch import nn


class FlatNetwork:
    """A network whose parameters are views of `weights` and whose running statistics of `state`.

    `weights` is a leaf with a gradient of the same layout, so it can be given to any optimiser as
    its only parameter. Convolution kernels keep channels-last strides within it.
    """

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self.network = network.to(device).to(memory_format=torch.channels_last)
        self.parameters = list(network.parameters())
        self.weights = _flat(self.parameters, device)
        self.weights.grad = torch.zeros_like(self.weights)
        self._gradients = _views(self.weights.grad, self.parameters)
        for parameter, view in zip(
            self.parameters, _views(self.weights, self.parameters), strict=True
        ):
            view.copy_(parameter.data)
            parameter.data = view
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        statistics = [buffer for norm in norms for buffer in _statistics(norm)]
        self.state = _flat(statistics, device)
        views = iter(_views(self.state, statistics))
        for norm in norms:
            for name, buffer in zip(
                ("running_mean", "running_var"), _statistics(norm), strict=True
            ):
                view = next(views)
                view.copy_(buffer)
                setattr(norm, name, view)

    def set_gradients(self, gradients: tuple[torch.Tensor, ...]) -> None:
        """Sets the gradient of `weights` from one of each of `parameters`, in one operation.

        `backward` would add each to its place by itself, after all have been set to zero.
        """
        torch._foreach_copy_(self._gradients, gradients)

    def copy_from(self, other: "FlatNetwork") -> None:
        """Takes over the numbers of a network of the same architecture."""
        self.weights.copy_(other.weights)
        self.state.copy_(other.state)

    def move_towards(self, other: "FlatNetwork", fraction: torch.Tensor) -> None:
        """Moves all numbers by `fraction` (0-dimensional, 0..1) of the way to those of `other`."""
        self.weights.lerp_(other.weights, fraction)
        self.state.lerp_(other.state, fraction)


def _statistics(norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    assert norm.running_mean is not None and norm.running_var is not None
    return norm.running_mean, norm.running_var


def _flat(tensors: list[torch.Tensor] | list[nn.Parameter], device: torch.device) -> torch.Tensor:
    return torch.zeros(sum(tensor.numel() for tensor in tensors), device=device)


def _views(flat: torch.Tensor, like: list[torch.Tensor] | list[nn.Parameter]) -> list[torch.Tensor]:
    parts = torch.split(flat, [tensor.numel() for tensor in like])
    return [
        part.as_strided(tensor.shape, tensor.stride(), part.storage_offset())
        for part, tensor in zip(parts, like, strict=True)
    ]
