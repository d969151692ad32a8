"""A network whose operations run as compiled loops and well-shaped convolutions: for the CPU.

Batch normalisation, ReLU and dropout of torch are a pass over memory each, and several in the
backward pass; here what follows a convolution is two passes forward and two backward. Convolutions
stay those of torch, asked for in the shapes it is fast at, but for one gradient that it has no fast
shape for.
"""

import copy
import math
import re
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from search import kernels
from space.dropout import Dropout
from space.network import ShiftNorm

_VECTOR = 16
"""Output channels that convolutions compute at once."""


def accelerate(network: nn.Module) -> nn.Module:
    """A network that computes the same faster, with the same parameters, statistics and generators.

    The same memory, that is: call it again when that of the given one is replaced. The given one
    stays as it is: plain torch modules, for export and copies. On a GPU it is its own
    answer. The two may differ in mode (training, evaluation) and in which elements dropout drops.
    """
    if any(parameter.device.type != "cpu" for parameter in network.parameters()):
        return network
    return _twin(network).train(network.training)


def _twin(module: nn.Module) -> nn.Module:
    if isinstance(module, nn.Conv2d):
        return _Conv(module)
    if isinstance(module, nn.MaxPool2d):
        return _MaxPool(module)
    if type(module) is nn.Sequential:
        return nn.Sequential(*_fused(list(module)))
    twin = copy.copy(module)
    twin._modules = {name: _twin(child) for name, child in module.named_children()}
    return twin


_LETTERS = {nn.ReLU: "r", nn.BatchNorm2d: "n", ShiftNorm: "n", Dropout: "d"}


def _fused(modules: list[nn.Module]) -> list[nn.Module]:
    """The modules, in runs of what one pass can do."""
    letters = "".join(_LETTERS.get(type(module), "-") for module in modules)
    runs = (modules[slice(*run.span())] for run in re.finditer("r?(nr?)?d?|-", letters))
    return [_twin(run[0]) if type(run[0]) not in _LETTERS else _Chain(run) for run in runs if run]


class _Chain(nn.Module):
    """ReLU, batch normalisation, ReLU, dropout, each of which may be missing, in one pass."""

    def __init__(self, modules: list[nn.Module]) -> None:
        super().__init__()
        before, _, after = "".join(_LETTERS[type(module)] for module in modules).partition("n")
        relus = ["r" in before, "r" in after]
        self.floors = np.where(relus, 0, -np.inf).astype(np.float32)
        # In tuples, where they stay out of reach of this network's mode.
        self.norm = tuple(_Norm(each) for each in modules if isinstance(each, nn.BatchNorm2d))
        self.dropout = tuple(each for each in modules if isinstance(each, Dropout))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W), float32 or bfloat16, to the same."""
        parameters = self.norm[0].parameters if self.norm else (None, None)
        y: torch.Tensor = _ChainFunction.apply(x, *parameters, self)
        return y


class _Norm:
    """The numbers of a batch normalisation as arrays that share its memory."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        assert norm.running_mean is not None and norm.running_var is not None
        assert norm.num_batches_tracked is not None and norm.momentum is not None
        self.parameters = (norm.weight, norm.bias)
        self.weight, self.bias = norm.weight.detach().numpy(), norm.bias.detach().numpy()
        self.running = (norm.running_mean.numpy(), norm.running_var.numpy())
        self.batches = norm.num_batches_tracked.numpy()
        self.settings = (norm.eps, norm.momentum)


class _ChainFunction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        chain: _Chain,
    ) -> torch.Tensor:
        x = _channels_last(x)
        flat, floors, training = _flat(x), chain.floors, chain.training
        coefficients, inverse = np.zeros((3, x.shape[1]), np.float32), np.empty(0)
        coefficients[1] = 1
        for norm in chain.norm:
            if training:
                if len(flat) == x.shape[1]:
                    raise ValueError(f"one value per channel has no deviation: {tuple(x.shape)}")
                norm.batches += 1
            coefficients, inverse = kernels.batch_norm(
                flat, norm.weight, norm.bias, *norm.running, floors[0], *norm.settings, training
            )
        dropped = seed = 0
        if training and chain.dropout:
            dropped = chain.dropout[0].levels
            draw = torch.empty((), dtype=torch.int64)
            seed = int(draw.random_(generator=chain.dropout[0].generator)) if dropped else 0
        y = torch.empty_like(x)
        kernels.transform(flat, _flat(y), coefficients, floors, dropped, seed)
        ctx.save_for_backward(x)
        ctx.how = (coefficients, inverse, floors, dropped, seed, training)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        out = torch.empty_like(x)
        slopes = kernels.transform_gradient(
            _flat(x), _flat(_channels_last(gradient)), _flat(out), *ctx.how
        )
        slope_of = [
            torch.from_numpy(each) if needed else None
            for each, needed in zip(slopes, ctx.needs_input_grad[1:3], strict=True)
        ]
        return out, *slope_of, None


class _MaxPool(nn.Module):
    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        assert isinstance(pool.kernel_size, int) and isinstance(pool.stride, int)
        self.size, self.stride = pool.kernel_size, pool.stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W), float32 or bfloat16, to (N, C, H', W')."""
        y: torch.Tensor = _MaxPoolFunction.apply(x, self.size, self.stride)
        return y


class _MaxPoolFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, size: int, stride: int) -> torch.Tensor:
        x = _channels_last(x)
        height, width = ((length - size) // stride + 1 for length in x.shape[2:])
        y = torch.empty(
            (*x.shape[:2], height, width), dtype=x.dtype, memory_format=torch.channels_last
        )
        kernels.max_pool(_pixels(x), _pixels(y), size, stride)
        ctx.save_for_backward(x, y)
        ctx.window = (size, stride)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        x, y = ctx.saved_tensors
        out = torch.empty_like(x)
        gradient = _channels_last(gradient)
        kernels.max_pool_gradient(
            _pixels(x), _pixels(y), _pixels(gradient), _pixels(out), *ctx.window
        )
        return out, None, None


class _Conv(nn.Module):
    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        assert isinstance(conv.padding, tuple)
        self.weight, self.bias = conv.weight, conv.bias
        self.settings = (conv.stride, conv.padding, conv.groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, C', H', W'); in bfloat16 under such an autocast."""
        stride, padding, groups = self.settings
        if self.weight.shape[2:] == (1, 1) and max(stride) > 1:
            # As it is, torch 2.15 writes over other memory in the gradient of these weights, on
            # processors without AVX-512. What the stride leaves out is of no use here anyway.
            x = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
            x = x[:, :, :: stride[0], :: stride[1]]
            stride, padding = (1, 1), (0, 0)
        y: torch.Tensor = _ConvFunction.apply(x, self.weight, self.bias, stride, padding, groups)
        return y


class _ConvFunction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
        groups: int,
    ) -> torch.Tensor:
        if torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
            x, weight = x.to(dtype), weight.to(dtype)
        x = _channels_last(x)
        ctx.save_for_backward(x, weight)
        ctx.settings, ctx.biased = (stride, padding, groups), bias is not None
        y = _convolve(x, weight, stride, padding, groups)
        return y if bias is None else y + bias.to(y.dtype).view(-1, 1, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gradient, (stride, padding, groups) = _channels_last(gradient), ctx.settings
        of_x = of_weight = of_bias = None
        # For depthwise ones in bfloat16 torch takes up to a hundred times as long back as forward:
        # for the input's gradient with a stride, for the weights' if they are larger than 3x3.
        is_depthwise = groups == x.shape[1] == len(weight)
        is_slow = is_depthwise and x.dtype == torch.bfloat16 and max(stride) <= 2
        has_own = is_slow and max(weight.shape[2:]) > 3
        spread = gradient
        if has_own or (is_slow and ctx.needs_input_grad[0]):
            spread = _spread(gradient, x, weight, stride, padding)
        # Of stride 1 that of the input is a convolution, and faster than what torch takes for it.
        is_convolution = ctx.needs_input_grad[0] and (is_slow or stride == (1, 1))
        if is_convolution:
            around = tuple(k - 1 - p for k, p in zip(weight.shape[2:], padding, strict=True))
            of_x = _convolve(spread, weight, (1, 1), around, groups, transposed=True)
        if _is_pointwise(weight, stride, padding, groups):
            rows, slopes = (each.permute(0, 2, 3, 1).flatten(0, 2) for each in (x, gradient))
            of_weight = (slopes.T @ rows).view(weight.shape)
            of_bias = slopes.sum(0) if ctx.biased else None
            return of_x, of_weight, of_bias, None, None, None
        if has_own:
            slopes = torch.empty(*weight.shape[2:], groups)
            kernels.depthwise_gradient(_pixels(x), _pixels(spread), slopes.numpy(), padding)
            of_weight = slopes.permute(2, 0, 1).unsqueeze(1)
            of_bias = gradient.sum((0, 2, 3)) if ctx.biased else None
            return of_x, of_weight, of_bias, None, None, None
        others = torch.ops.aten.convolution_backward(
            gradient,
            x,
            weight,
            [len(weight)],
            stride,
            padding,
            (1, 1),
            False,
            (0, 0),
            groups,
            (ctx.needs_input_grad[0] and not is_convolution, True, ctx.biased),
        )
        return of_x if is_convolution else others[0], *others[1:], None, None, None


def _spread(
    gradient: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> torch.Tensor:
    """The gradient as if the convolution of x had stride 1: zero at what a stride leaves out."""
    if stride == (1, 1):
        return gradient
    sides = zip(x.shape[2:], padding, weight.shape[2:], strict=True)
    height, width = (size + 2 * p - k + 1 for size, p, k in sides)
    spread = _from_pixels(gradient.new_zeros(len(x), height, width, gradient.shape[1]))
    spread[:, :, :: stride[0], :: stride[1]] = gradient
    return spread


def _convolve(
    x: torch.Tensor,
    weight: torch.Tensor,
    stride: tuple[int, int],
    padding: tuple[int, ...],
    groups: int,
    *,
    transposed: bool = False,
) -> torch.Tensor:
    """A convolution without bias, in the shape that was measured to be fastest.

    `weight` (C', C / groups, H, W) maps C channels to C', or back if `transposed`; a negative
    padding crops.
    """
    if _is_pointwise(weight, stride, padding, groups):
        matrix = weight.flatten(1)
        return _from_pixels(x.permute(0, 2, 3, 1) @ (matrix if transposed else matrix.T))
    outputs = weight.shape[1] * groups if transposed else len(weight)
    in_pairs = (
        outputs <= _VECTOR // 2
        and groups == 1
        and stride == (1, 1)
        and (x.shape[3] + 2 * padding[1]) % 2 == 0
        and weight.shape[3] % 2 == 1
    )
    if in_pairs or max(padding) > 1 or min(padding) < 0:
        x = _channels_last(F.pad(x, (padding[1], padding[1], padding[0], padding[0])))
        padding = (0, 0)
    if transposed or in_pairs:
        shape, places = _arrangement(tuple(weight.shape), groups, transposed, in_pairs)
        elements = weight.permute(0, 2, 3, 1).reshape(-1)
        if in_pairs:
            elements = F.pad(elements, (0, 1))
        weight = _from_pixels(elements.index_select(0, places).view(shape))
    if in_pairs:
        x = _paired(x)
    y = torch.convolution(x, weight, None, stride, padding, (1, 1), False, (0, 0), groups)
    return _unpaired(y) if in_pairs else y


@lru_cache(maxsize=4096)
def _arrangement(
    shape: tuple[int, ...], groups: int, transposed: bool, in_pairs: bool
) -> tuple[torch.Size, torch.Tensor]:
    """Another kernel of the elements of a channels-last one: shape (C', H, W, C), and their places.

    `transposed` kernels lead back: turned around, from the outputs to the inputs. Kernels
    `in_pairs` take two neighbouring pixels as one with twice the channels, so that few output
    channels fill a vector; where they have no element the place is one behind the last.
    """
    outputs, inputs, height, width = shape
    places = torch.arange(math.prod(shape)).view(outputs, height, width, inputs).permute(0, 3, 1, 2)
    if transposed:
        grouped = places.reshape(groups, -1, *places.shape[1:]).transpose(1, 2)
        places = grouped.flatten(0, 1).flip(2, 3)
    if in_pairs:
        none = math.prod(shape)
        left, right = (F.pad(places, sides, value=none) for sides in ((0, 1), (1, 0)))
        places = _paired(_channels_last(torch.cat([left, right])))
    places = places.permute(0, 2, 3, 1)
    return places.shape, places.reshape(-1)


def _is_pointwise(
    weight: torch.Tensor, stride: tuple[int, int], padding: tuple[int, ...], groups: int
) -> bool:
    return weight.shape[2:] == (1, 1) and stride == (1, 1) and padding == (0, 0) and groups == 1


def _paired(x: torch.Tensor) -> torch.Tensor:
    """Channels-last (N, C, H, W) as (N, 2 C, H, W / 2): the same memory."""
    pixels = x.permute(0, 2, 3, 1)
    return _from_pixels(pixels.reshape(*pixels.shape[:2], -1, 2 * x.shape[1]))


def _unpaired(x: torch.Tensor) -> torch.Tensor:
    """Channels-last (N, 2 C, H, W / 2) as (N, C, H, W): the same memory."""
    pixels = x.permute(0, 2, 3, 1)
    return _from_pixels(pixels.reshape(*pixels.shape[:2], -1, x.shape[1] // 2))


def _channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _from_pixels(pixels: torch.Tensor) -> torch.Tensor:
    """(N, H, W, C) as (N, C, H, W)."""
    return pixels.permute(0, 3, 1, 2)


def _pixels(x: torch.Tensor) -> kernels.Map:
    """The memory of a channels-last tensor (N, C, H, W) as (N, H, W, C); bfloat16 as its bits."""
    x = x.detach()
    bits = x.view(torch.uint16) if x.dtype == torch.bfloat16 else x
    return bits.numpy().transpose(0, 2, 3, 1)


def _flat(x: torch.Tensor) -> kernels.Map:
    return _pixels(x).reshape(-1)
