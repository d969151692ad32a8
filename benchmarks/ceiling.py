"""What the work must cost, and what the device can do at most: both sides of a roofline.

(Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore
architectures", Communications of the ACM 52(4), 2009.)
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from search.plan import Precision
from space import Configuration, Conv, footprint, layer_costs

DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
MATRIX_SIZES = {"cpu": (512, 1_024, 2_048), "cuda": (4_096, 8_192)}
LONGEST_PRODUCT_SECONDS = 2.0
"""No larger one is tried: a processor without instructions for a number format takes minutes."""

COPIED_BYTES = {"cpu": 1 << 28, "cuda": 1 << 31}
"""Far beyond the caches."""


@dataclass(frozen=True)
class Ceilings:
    """The most a device was seen to do: floating-point operations and bytes, each per second."""

    flops: dict[Precision, float]
    bandwidth: float


@dataclass(frozen=True)
class Cost:
    """What training on one image must cost: floating-point operations, and bytes moved."""

    flops: float
    bytes: float

    def shares(
        self, images: float, ceilings: Ceilings, precision: Precision
    ) -> tuple[float, float]:
        """The shares (0..1) of the ceilings that `images` per second reach, in the same order.

        The larger is the share of the roofline: of the speed beyond which this device cannot go.
        """
        return (
            images * self.flops / ceilings.flops[precision],
            images * self.bytes / ceilings.bandwidth,
        )


def training_cost(configuration: Configuration, precision: Precision) -> Cost:
    """The least that training costs, per image.

    Operations are those of the convolutions: two for a multiply-accumulate, forward, for the
    gradient of the weights, and for that of the input, which the first convolution does not need
    (taken to be plain and applied once, as in every network of the space). Bytes are those of one
    pass per layer with everything that follows a convolution fused into it: the map after a layer
    is written and read forward, read again backward, its gradient written and read; the image is
    read twice; once a batch each of a parameter's value, gradient and momentum is read and written.
    """
    architecture, recipe = configuration.architecture, configuration.recipe
    one_view = architecture.model_copy(update={"views": 1})  # training sees no more
    macs = [cost.macs for cost in layer_costs(one_view) if cost.macs]
    shapes = architecture.shapes()
    maps = sum(
        (layer.repeats if isinstance(layer, Conv) else 1) * torch.Size(shape).numel()
        for layer, shape in zip(architecture.layers, shapes[1:], strict=True)
    )
    return Cost(
        flops=2 * (3 * sum(macs) - macs[0]),
        bytes=5 * maps * DTYPES[precision].itemsize
        + 2 * torch.Size(shapes[0]).numel()
        + 6 * 4 * footprint(architecture).params / recipe.batch_size,
    )


def measure(device: str, seconds: float) -> Ceilings:
    """The best of what large matrix products and large copies reach on all cores of the device.

    Each is tried for about `seconds`. float32 is float32 here, as in the engine, and not TF32.
    """
    kind = torch.device(device).type
    torch.backends.cuda.matmul.allow_tf32 = False
    flops = {
        precision: max(_product_rates(MATRIX_SIZES[kind], dtype, device, seconds))
        for precision, dtype in DTYPES.items()
    }
    source = torch.ones(COPIED_BYTES[kind], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copying = _best_seconds(lambda: target.copy_(source), device, seconds)
    return Ceilings(flops, bandwidth=2 * COPIED_BYTES[kind] / copying)


def _product_rates(
    sizes: tuple[int, ...], dtype: torch.dtype, device: str, seconds: float
) -> Iterator[float]:
    """Operations per second of products of some sizes, each tried for its part of `seconds`."""
    rate = math.inf
    for size in sizes:
        if 2 * size**3 / rate > LONGEST_PRODUCT_SECONDS:
            return
        rate = _product_rate(size, dtype, device, seconds / len(sizes))
        yield rate


def _product_rate(size: int, dtype: torch.dtype, device: str, seconds: float) -> float:
    left, right = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(2))
    out = torch.empty_like(left)
    return 2 * size**3 / _best_seconds(lambda: torch.mm(left, right, out=out), device, seconds)


def _best_seconds(work: Callable[[], object], device: str, seconds: float) -> float:
    """The shortest time that `work` took, of at least three tries after a first one."""

    def finish() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)

    work()
    finish()
    end = time.perf_counter() + seconds
    times: list[float] = []
    while len(times) < 3 or time.perf_counter() < end:
        started = time.perf_counter()
        work()
        finish()
        times.append(time.perf_counter() - started)
    return min(times)
