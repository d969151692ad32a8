"""The description of a network: layers in order, then a head. A value, no tensors.

Alternatives considered: a free graph (expresses more than anyone asked for, and has no simple
closed formula for its cost) and a fixed skeleton with numbers in it (cannot describe the published
networks). A sequence of convolutions and poolings describes all of them, and a sampler with stages
and transitions is a way to write such a sequence.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from space.value import Value

After = Literal["norm", "relu", "dropout"]
Shape = tuple[int, int, int]
"""Channels, height, width of a feature map."""


class Conv(Value):
    """A convolution and what follows it.

    `kind` "conv" is a plain convolution; "separable" is a depthwise one with this kernel size,
    stride and padding, followed by a 1x1 convolution to `width` channels. `then` names what follows
    in its order, so ("relu", "norm", "dropout") and ("norm", "relu") are different networks and ()
    is a bare convolution. Without `norm_scale` the normalisation has a trainable shift alone: a
    number a channel less, where a convolution or a ReLU and a convolution follow, which can take
    its place. With `repeats` n the same convolution weights are applied n times, each time followed
    by a normalisation of its own (statistics differ between the applications). With `residual` each
    application adds its input to its output.
    """

    kind: Literal["conv", "separable"]
    width: int = Field(ge=1, le=4096)
    kernel_size: int = Field(default=3, ge=1, le=64)
    padding: int = Field(default=0, ge=0, le=32)
    stride: int = Field(default=1, ge=1, le=8)
    bias: bool = False
    then: tuple[After, ...] = ()
    norm_scale: bool = True
    residual: bool = False
    repeats: int = Field(default=1, ge=1, le=16)

    @model_validator(mode="after")
    def _then_names_each_once(self) -> Self:
        if len(set(self.then)) != len(self.then):
            raise ValueError(f"then names something twice: {', '.join(self.then)}")
        return self

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of this layer's output. Raises ValueError if it does not fit `shape`."""
        out = _map_after(shape, self.width, self.kernel_size, self.stride, self.padding)
        if (self.residual or self.repeats > 1) and out != shape:
            raise ValueError(
                f"a residual or repeated convolution must keep its shape, but it maps "
                f"{_text(shape)} to {_text(out)}"
            )
        return out


class Pool(Value):
    """Pooling over `size` x `size` windows, `stride` pixels apart, without padding."""

    kind: Literal["max_pool", "average_pool"]
    size: int = Field(default=2, ge=2, le=28)
    stride: int = Field(default=2, ge=1, le=28)

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of this layer's output. Raises ValueError if it does not fit `shape`."""
        return _map_after(shape, shape[0], self.size, self.stride, 0)


Layer = Annotated[Conv | Pool, Field(discriminator="kind")]


class Head(Value):
    """From the last feature map to one logit per class.

    "gap_conv": global average pooling, then a 1x1 convolution. "conv_gap": a 1x1 convolution, then
    global average pooling; the same function as "gap_conv" up to rounding, with more arithmetic.
    "full_conv": one convolution whose kernel covers the whole map, so every position has weights.
    """

    kind: Literal["gap_conv", "conv_gap", "full_conv"]
    bias: bool = False


class Architecture(Value):
    """What a network is made of. Valid by construction: every layer fits the map it gets.

    With 5 `views` the logits are the mean over the image and four copies of it, moved by a pixel
    up, down, left and right. In training it sees the image alone.
    """

    layers: tuple[Layer, ...] = Field(max_length=64)
    head: Head
    input_shape: Shape = (1, 28, 28)
    classes: int = Field(default=10, ge=2, le=1000)
    views: Literal[1, 5] = 1

    @model_validator(mode="after")
    def _layers_fit(self) -> Self:
        if any(not 1 <= size <= 256 for size in self.input_shape):
            raise ValueError("input_shape: each size must be from 1 to 256")
        self.shapes()
        return self

    def shapes(self) -> tuple[Shape, ...]:
        """The shape of the input and of the map after each layer: one more than there are layers.

        Raises ValueError naming the layer that does not fit.
        """
        shapes = [self.input_shape]
        for position, layer in enumerate(self.layers, start=1):
            try:
                shapes.append(layer.output_shape(shapes[-1]))
            except ValueError as error:
                raise ValueError(f"layer {position} ({layer.kind}): {error}") from None
        return tuple(shapes)


def _map_after(shape: Shape, channels: int, window: int, stride: int, padding: int) -> Shape:
    height, width = (
        (size + 2 * padding - window) // stride + 1 if size + 2 * padding >= window else 0
        for size in shape[1:]
    )
    if height < 1 or width < 1:
        raise ValueError(f"a {window}x{window} window does not fit a map of {_text(shape)}")
    return channels, height, width


def _text(shape: Shape) -> str:
    return "x".join(str(size) for size in shape)
