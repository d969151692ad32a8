"""Exact cost of an architecture by closed formula: no tensors, microseconds.

Parameters are trainable ones: convolution weights, biases, and the scale and shift of each
normalisation (the shift alone without `norm_scale`). MACs are the multiply-accumulates of the
convolutions for one image, in all its views (half of what PyTorch's `FlopCounterMode` reports);
normalisation, ReLU and pooling are not counted. The receptive field follows
r_out = r_in + (k - 1) * j_in, j_out = j_in * s, with j the distance in input pixels between
neighbouring positions (Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural
Networks", Distill 2019).
"""

from dataclasses import dataclass

from space.architecture import Architecture, Conv, Pool, Shape


@dataclass(frozen=True)
class Footprint:
    """Cost of a network. `receptive_field_pixels` is that of a feature that enters the head."""

    params: int
    macs: int
    receptive_field_pixels: int


@dataclass(frozen=True)
class LayerCost:
    """A row of the layer table. `output_shape` is (channels, height, width)."""

    name: str
    output_shape: Shape
    params: int
    macs: int
    receptive_field_pixels: int


def footprint(architecture: Architecture) -> Footprint:
    """Parameters, MACs and receptive field of an architecture."""
    *body, head = layer_costs(architecture)
    return Footprint(
        params=sum(cost.params for cost in body) + head.params,
        macs=sum(cost.macs for cost in body) + head.macs,
        receptive_field_pixels=body[-1].receptive_field_pixels if body else 1,
    )


def layer_costs(architecture: Architecture) -> tuple[LayerCost, ...]:
    """One row per layer and one for the head."""
    shapes = architecture.shapes()
    field, jump = 1, 1
    rows = []
    for layer, before, after in zip(architecture.layers, shapes, shapes[1:], strict=False):
        window = layer.kernel_size if isinstance(layer, Conv) else layer.size
        repeats = layer.repeats if isinstance(layer, Conv) else 1
        field += repeats * (window - 1) * jump
        jump *= layer.stride
        if isinstance(layer, Conv):
            weights = _conv_weights(layer, before[0])
            params = weights + layer.bias * layer.width
            params += (1 + layer.norm_scale) * layer.width * repeats * ("norm" in layer.then)
            macs = architecture.views * repeats * weights * after[1] * after[2]
        else:
            params = macs = 0
        rows.append(LayerCost(_name(layer), after, params, macs, field))

    channels, height, width = shapes[-1]
    positions = height * width
    over_map = architecture.head.kind == "full_conv"
    weights = channels * architecture.classes * (positions if over_map else 1)
    rows.append(
        LayerCost(
            name=_HEAD_NAMES[architecture.head.kind].format(height=height, width=width)
            + (f", mean over {architecture.views} views" if architecture.views > 1 else ""),
            output_shape=(architecture.classes, 1, 1),
            params=weights + architecture.head.bias * architecture.classes,
            macs=architecture.views
            * weights
            * (positions if architecture.head.kind == "conv_gap" else 1),
            receptive_field_pixels=field + (max(height, width) - 1) * jump,
        )
    )
    return tuple(rows)


_HEAD_NAMES = {
    "gap_conv": "global average pool, conv 1x1",
    "conv_gap": "conv 1x1, global average pool",
    "full_conv": "conv {height}x{width} over the whole map",
}


def _conv_weights(layer: Conv, channels: int) -> int:
    area = layer.kernel_size**2
    if layer.kind == "separable":
        return area * channels + channels * layer.width
    return area * channels * layer.width


def _name(layer: Conv | Pool) -> str:
    if isinstance(layer, Pool):
        return f"{layer.kind.replace('_', ' ')} {layer.size}x{layer.size}" + (
            f" stride {layer.stride}" if layer.stride != layer.size else ""
        )
    parts = [f"{layer.kind} {layer.kernel_size}x{layer.kernel_size}"]
    if layer.stride > 1:
        parts.append(f"stride {layer.stride}")
    if layer.padding:
        parts.append(f"padding {layer.padding}")
    if layer.repeats > 1:
        parts.append(f"x{layer.repeats} shared")
    if layer.residual:
        parts.append("residual")
    norm = "norm" if layer.norm_scale else "norm without scale"
    return ", ".join([" ".join(parts), *(norm if each == "norm" else each for each in layer.then)])
