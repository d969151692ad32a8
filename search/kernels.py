"""What torch is slow at on a CPU: loops compiled for this one.

What follows a convolution, pooling, a gradient of depthwise convolutions, the moving of images.

Feature maps come flat, channels last: element i belongs to channel i % C. They hold float32, or
bfloat16 as its bits in uint16; arithmetic is float32. With 8 to 32 channels a loop over channels is
too short for vector instructions, so maps are worked through in tiles of many pixels, and what
belongs to a channel is repeated along the tile. Pooling, whose windows are in the way, does so with
few channels alone.

Every function is a single thread's work without a global state. NaN and infinity propagate.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from numba import njit, types
from numba.extending import overload

from space.dropout import LEVELS

Map = npt.NDArray[Any]
"""A feature map, flat: float32 or bits of bfloat16."""
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

_TILE = 512
"""Elements of a tile, about: it and its coefficients stay in the first-level cache."""
_FLUSH = 64
"""Tiles that are added up in float32 before the sums go to float64."""

_VECTOR = 16
"""Float32 numbers that the widest processors take at once (AVX-512)."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _compiled(function: _Function) -> _Function:
    """Compiles at the first call, for every later process too if some cache folder is writable."""
    try:
        return _jit(function, cache=True)
    except RuntimeError:  # no folder for the cache
        return _jit(function, cache=False)


def _jit(function: _Function, *, cache: bool) -> _Function:
    # Without `nnan` and `ninf`: a training that diverges has to be seen.
    compiled: Any = njit(cache=cache, nogil=True, error_model="numpy", fastmath={"contract"})
    return cast(_Function, compiled(function))


def _widen(value: Any) -> Any:
    """Float32 of an element of a map."""


def _narrow(value: Any, like: Any) -> Any:
    """An element of a map like `like`: rounded to nearest, ties to even."""


@overload(_widen, strict=False)
def _widen_overload(value: Any) -> Any:
    if value == types.uint16:
        return lambda value: np.uint32(np.uint32(value) << np.uint32(16)).view(np.float32)
    return lambda value: value


@overload(_narrow, strict=False)
def _narrow_overload(value: Any, like: Any) -> Any:
    if like.dtype != types.uint16:
        return lambda value, like: value

    def rounded(value: Any, like: Any) -> Any:
        bits = np.uint32(np.float32(value).view(np.uint32))
        odd = np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1))
        return np.uint16(np.uint32(bits + np.uint32(odd + np.uint32(0x7FFF))) >> np.uint32(16))

    return rounded


@_compiled
def _tile(channels: int) -> int:
    """Elements of a tile: whole pixels, whole vectors."""
    return channels * 16 * max(1, _TILE // (16 * channels))


@_compiled
def _repeat(values: Floats, tile: int) -> Floats:
    """(C,) repeated along a tile."""
    out = np.empty(tile, np.float32)
    for i in range(tile):
        out[i] = values[i % len(values)]
    return out


@_compiled
def _draw(mask: Floats, position: int, seed: int, dropped: int) -> None:
    """Fills a tile with 0 (probability `dropped` / LEVELS) or what keeps the mean.

    The same for the same seed and position. A 32-bit hash serves two elements: "lowbias32" of C.
    Wellons' hash-prospector (public domain), of counter plus half of the seed; the other half
    enters on its way.
    """
    half = len(mask) // 2
    first, second = mask[:half], mask[half:]
    low, high = np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32)
    start = np.uint32(np.uint32(position // 2) + low)
    least = np.uint32(dropped)
    kept = np.float32(LEVELS / (LEVELS - dropped))
    for i in range(half):
        h = np.uint32(start + np.uint32(i))
        h = np.uint32(h ^ np.uint32(h >> np.uint32(16)))
        h = np.uint32(np.uint32(h * np.uint32(0x7FEB352D)) ^ high)
        h = np.uint32(h ^ np.uint32(h >> np.uint32(15)))
        h = np.uint32(h * np.uint32(0x846CA68B))
        h = np.uint32(h ^ np.uint32(h >> np.uint32(16)))
        first[i] = kept if np.uint32(h & np.uint32(0xFFFF)) >= least else np.float32(0)
        second[i] = kept if np.uint32(h >> np.uint32(16)) >= least else np.float32(0)


@_compiled
def _flush(sums: Floats, totals: Doubles) -> None:
    """Adds the sums of a tile to those of its channels, and starts them anew."""
    for i in range(len(sums)):
        totals[i % len(totals)] += sums[i]
        sums[i] = 0


@_compiled
def _moments(x: Map, channels: int, floor: np.float32) -> tuple[Doubles, Doubles]:
    """Mean and biased variance (C,) of max(x, floor)."""
    tile = _tile(channels)
    # Shifted by the first pixel: a mean far from zero does not eat the digits of the variance.
    origin = np.empty(channels, np.float32)
    for c in range(channels):
        value = _widen(x[c])
        origin[c] = floor if value < floor else value
    origins = _repeat(origin, tile)
    first, second = np.zeros(tile, np.float32), np.zeros(tile, np.float32)
    mean, variance = np.zeros(channels), np.zeros(channels)
    tiles = (len(x) + tile - 1) // tile
    for t in range(tiles):
        xs = x[t * tile : (t + 1) * tile]
        for i in range(len(xs)):
            value = _widen(xs[i])
            value = (floor if value < floor else value) - origins[i]
            first[i] += value
            second[i] += value * value
        if t % _FLUSH == _FLUSH - 1 or t == tiles - 1:
            _flush(first, mean)
            _flush(second, variance)
    pixels = len(x) // channels
    for c in range(channels):
        shift = mean[c] / pixels
        mean[c] = origin[c] + shift
        variance[c] = variance[c] / pixels - shift * shift
        if variance[c] < 0:
            variance[c] = 0
    return mean, variance


@_compiled
def batch_norm(
    x: Map,
    weight: Floats,
    bias: Floats,
    running_mean: Floats,
    running_variance: Floats,
    floor: np.float32,
    epsilon: float,
    momentum: float,
    training: bool,
) -> tuple[Floats, Doubles]:
    """Mean, scale and shift (3, C) that normalise max(x, floor); and 1 / deviation (C,).

    While training they are those of the batch and move the running ones, which else are used.
    """
    channels = len(weight)
    if training:
        mean, variance = _moments(x, channels, floor)
        pixels = len(x) // channels
        for c in range(channels):
            unbiased = variance[c] * pixels / (pixels - 1)
            running_mean[c] += momentum * (mean[c] - running_mean[c])
            running_variance[c] += momentum * (unbiased - running_variance[c])
    else:
        mean, variance = running_mean.astype(np.float64), running_variance.astype(np.float64)
    inverse = 1 / np.sqrt(variance + epsilon)
    coefficients = np.empty((3, channels), np.float32)
    coefficients[0] = mean
    coefficients[1] = weight * inverse
    coefficients[2] = bias
    return coefficients, inverse


@_compiled
def transform(
    x: Map, y: Map, coefficients: Floats, floors: Floats, dropped: int, seed: int
) -> None:
    """y = dropout(max((max(x, floors[0]) - mean) * scale + shift, floors[1])).

    `coefficients` (3, C) are mean, scale and shift. A floor is 0 for a ReLU and minus infinity for
    none. An element is dropped with probability `dropped` / LEVELS.
    """
    tile = _tile(coefficients.shape[1])
    mean, scale = _repeat(coefficients[0], tile), _repeat(coefficients[1], tile)
    shift = _repeat(coefficients[2], tile)
    mask = np.ones(tile, np.float32)
    low, lowest = floors[0], floors[1]
    for start in range(0, len(x), tile):
        xs, ys = x[start : start + tile], y[start : start + tile]
        if dropped:
            _draw(mask, start, seed, dropped)
        for i in range(len(xs)):
            value = _widen(xs[i])
            value = ((low if value < low else value) - mean[i]) * scale[i] + shift[i]
            ys[i] = _narrow((lowest if value < lowest else value) * mask[i], ys)


@_compiled
def transform_gradient(
    x: Map,
    gradient: Map,
    out: Map,
    coefficients: Floats,
    inverse: Doubles,
    floors: Floats,
    dropped: int,
    seed: int,
    training: bool,
) -> Floats:
    """Writes the gradient of x; returns those of weight and bias (2, C) of `batch_norm`.

    `gradient` is that of y of `transform`, the other arguments are those of the way forward. An
    empty `inverse` says that nothing was normalised.
    """
    channels, tile = coefficients.shape[1], _tile(coefficients.shape[1])
    mean, scale = _repeat(coefficients[0], tile), _repeat(coefficients[1], tile)
    shift = _repeat(coefficients[2], tile)
    mask = np.ones(tile, np.float32)
    low, lowest = floors[0], floors[1]
    kept = LEVELS / (LEVELS - dropped)
    first, second = np.zeros(tile, np.float32), np.zeros(tile, np.float32)
    sums = np.zeros((2, channels))
    tiles = (len(x) + tile - 1) // tile
    # First what came through dropout and the second ReLU, unscaled: the same numbers or zeros.
    for t in range(tiles):
        start = t * tile
        xs, gs = x[start : start + tile], gradient[start : start + tile]
        outs = out[start : start + tile]
        if dropped:
            _draw(mask, start, seed, dropped)
        for i in range(len(xs)):
            value = _widen(xs[i])
            centred = (low if value < low else value) - mean[i]
            stopped = (mask[i] == 0) | (centred * scale[i] + shift[i] <= lowest)
            slope = np.float32(0) if stopped else _widen(gs[i])
            first[i] += slope
            second[i] += slope * centred
            outs[i] = _narrow(slope, outs)
        if t % _FLUSH == _FLUSH - 1 or t == tiles - 1:
            _flush(first, sums[0])
            _flush(second, sums[1])
    sums *= kept
    slopes = np.zeros((2, channels), np.float32)
    # What mean and deviation of the batch add: a constant, and a factor of value - mean.
    constant, factor = np.zeros(tile, np.float32), np.zeros(tile, np.float32)
    if len(inverse):
        slopes[0] = sums[1] * inverse
        slopes[1] = sums[0]
        if training:
            share = -coefficients[1] / (len(x) // channels)
            constant = _repeat((share * sums[0]).astype(np.float32), tile)
            factor = _repeat((share * sums[1] * inverse**2).astype(np.float32), tile)
    scale *= np.float32(kept)
    for start in range(0, len(x), tile):
        xs, outs = x[start : start + tile], out[start : start + tile]
        for i in range(len(xs)):
            value = _widen(xs[i])
            centred = (low if value < low else value) - mean[i]
            slope = _widen(outs[i]) * scale[i] + constant[i] + factor[i] * centred
            outs[i] = _narrow(np.float32(0) if value <= low else slope, outs)
    return slopes


@_compiled
def max_pool(x: Map, y: Map, size: int, stride: int) -> None:
    """Maxima of windows: x (N, H, W, C) to y (N, H', W', C)."""
    images, height, width, channels = y.shape
    row = np.empty(x.shape[2] * channels, np.float32)
    for n in range(images):
        for i in range(height):
            source = x[n, i * stride].reshape(-1)
            for k in range(len(row)):
                row[k] = _widen(source[k])
            for r in range(1, size):
                source = x[n, i * stride + r].reshape(-1)
                for k in range(len(row)):
                    value = _widen(source[k])
                    row[k] = row[k] if value < row[k] or row[k] != row[k] else value
            for j in range(width):
                out = y[n, i, j]
                best = row[j * stride * channels :][:channels]
                for s in range(1, size):
                    other = row[(j * stride + s) * channels :][:channels]
                    for c in range(channels):
                        larger = other[c] < best[c] or best[c] != best[c]
                        best[c] = best[c] if larger else other[c]
                for c in range(channels):
                    out[c] = _narrow(best[c], out)


@_compiled
def max_pool_gradient(x: Map, y: Map, gradient: Map, out: Map, size: int, stride: int) -> None:
    """The gradient of x: that of a window goes to its first maximum, of one with NaN to its first
    element."""
    sums = np.empty((x.shape[1], x.shape[2] * x.shape[3]), np.float32)
    for n in range(len(x)):
        sums[:] = 0
        if x.shape[3] < _VECTOR:
            _add_by_places(x[n], y[n], gradient[n], sums, size, stride)
        else:
            _add_by_windows(x[n], y[n], gradient[n], sums, size, stride)
        flat, outs = sums.reshape(-1), out[n].reshape(-1)
        for k in range(len(flat)):
            outs[k] = _narrow(flat[k], outs)


@_compiled
def _add_by_windows(x: Map, y: Map, gradient: Map, sums: Floats, size: int, stride: int) -> None:
    """The gradient of one image to the rows of `sums`, (H, W * C)."""
    height, width, channels = y.shape
    left = np.empty(channels, np.float32)
    for i in range(height):
        for j in range(width):
            highest, slope = y[i, j], gradient[i, j]
            for c in range(channels):
                left[c] = _widen(slope[c])
            for r in range(size):
                for s in range(size):
                    source = x[i * stride + r, j * stride + s]
                    target = sums[i * stride + r, (j * stride + s) * channels :][:channels]
                    for c in range(channels):
                        smaller = _widen(source[c]) < _widen(highest[c])
                        target[c] += np.float32(0) if smaller else left[c]
                        left[c] = left[c] if smaller else np.float32(0)


@_compiled
def _add_by_places(x: Map, y: Map, gradient: Map, sums: Floats, size: int, stride: int) -> None:
    """The same for few channels, which fill no vector: what the windows of a row have in one place
    is laid side by side first."""
    height, width, channels = y.shape
    place = np.empty(width * channels, x.dtype)
    left, given = np.empty(len(place), np.float32), np.empty(len(place), np.float32)
    for i in range(height):
        highest, slope = y[i].reshape(-1), gradient[i].reshape(-1)
        for k in range(len(place)):
            left[k] = _widen(slope[k])
        for r in range(size):
            source, target = x[i * stride + r].reshape(-1), sums[i * stride + r]
            for s in range(size):
                for j in range(width):
                    start, side = (j * stride + s) * channels, j * channels
                    for c in range(channels):
                        place[side + c] = source[start + c]
                for k in range(len(place)):
                    smaller = _widen(place[k]) < _widen(highest[k])
                    given[k] = np.float32(0) if smaller else left[k]
                    left[k] = left[k] if smaller else np.float32(0)
                for j in range(width):
                    start, side = (j * stride + s) * channels, j * channels
                    for c in range(channels):
                        target[start + c] += given[side + c]


@_compiled
def depthwise_gradient(x: Map, gradient: Map, out: Floats, padding: tuple[int, int]) -> None:
    """The gradient of the weights (H', W', C) of a depthwise convolution of x (N, H, W, C).

    `gradient` is that of its output, of stride 1. Rows are multiplied whole, columns and channels
    at once: every weight has a sum per column of the output.
    """
    images, height, width, channels = gradient.shape
    size = width * channels
    # An image as float32, zeros around it.
    above, before = padding
    wide = np.zeros((x.shape[1] + 2 * above, (x.shape[2] + 2 * before) * channels), np.float32)
    slopes = np.empty(size, np.float32)
    sums = np.zeros((out.shape[0], out.shape[1], size), np.float32)
    for n in range(images):
        for i in range(x.shape[1]):
            source, target = x[n, i].reshape(-1), wide[i + above, before * channels :]
            for k in range(len(source)):
                target[k] = _widen(source[k])
        for i in range(height):
            row = gradient[n, i].reshape(-1)
            for k in range(size):
                slopes[k] = _widen(row[k])
            for r in range(out.shape[0]):
                for s in range(out.shape[1]):
                    pixels, total = wide[i + r, s * channels :], sums[r, s]
                    for k in range(size):
                        total[k] += slopes[k] * pixels[k]
    out[:] = 0
    for r in range(out.shape[0]):
        for s in range(out.shape[1]):
            for k in range(size):
                out[r, s, k % channels] += sums[r, s, k]


@_compiled
def warp(
    images: npt.NDArray[np.uint8],
    maps: Floats,
    basis: Floats,
    out: Floats,
    mean: float,
    deviation: float,
) -> None:
    """Moves images (B, H, W) by maps (B, 2, M) and their basis (M, H * W), then subtracts mean
    and divides.

    The functions of the basis, times the numbers of a map and added up, are the input coordinates
    of each output pixel, from -1 to 1 over the image; bilinear, zero outside: `grid_sample` of
    torch with its default arguments.
    """
    count, height, width = images.shape
    size = height * width
    columns, rows = np.empty(size, np.float32), np.empty(size, np.float32)
    # A row and a column of zeros before the image, two behind it.
    pitch = width + 3
    padded = np.zeros((height + 4, pitch), np.uint8)
    first = padded.reshape(-1)
    second, third, fourth = first[1:], first[pitch:], first[pitch + 1 :]
    # The four pixels around a point as the bytes of one number, so that they are one access; and
    # that by itself, because a loop with scattered reads gets no vector instructions.
    packed = np.empty((height + 3) * pitch - 1, np.uint32)
    position, around = np.empty(size, np.uint32), np.empty(size, np.uint32)
    right_part, lower_part = np.empty(size, np.float32), np.empty(size, np.float32)
    half_width, half_height = np.float32(width / 2), np.float32(height / 2)
    last_column, last_row = np.float32(width + 1), np.float32(height + 1)
    zero, half = np.float32(0), np.float32(0.5)
    factor, offset = np.float32(1 / deviation), np.float32(-mean / deviation)
    for n in range(count):
        padded[1 : height + 1, 1 : width + 1] = images[n]
        for k in range(len(packed)):
            packed[k] = (
                np.uint32(first[k])
                | np.uint32(np.uint32(second[k]) << np.uint32(8))
                | np.uint32(np.uint32(third[k]) << np.uint32(16))
                | np.uint32(np.uint32(fourth[k]) << np.uint32(24))
            )
        columns[:] = half_width + half
        rows[:] = half_height + half
        for m in range(len(basis)):
            function = basis[m]
            across, down = maps[n, 0, m] * half_width, maps[n, 1, m] * half_height
            for k in range(size):
                columns[k] += across * function[k]
                rows[k] += down * function[k]
        for k in range(size):
            x, y = columns[k], rows[k]
            x = zero if x < zero else x
            x = last_column if x > last_column else x
            y = zero if y < zero else y
            y = last_row if y > last_row else y
            left, top = np.int32(x), np.int32(y)
            right_part[k], lower_part[k] = x - np.float32(left), y - np.float32(top)
            position[k] = top * np.int32(pitch) + left
        for k in range(size):
            around[k] = packed[position[k]]
        target = out[n].reshape(-1)
        for k in range(size):
            four = around[k]
            upper_left = np.float32(np.int32(four & np.uint32(255)))
            upper_right = np.float32(np.int32(np.uint32(four >> np.uint32(8)) & np.uint32(255)))
            lower_left = np.float32(np.int32(np.uint32(four >> np.uint32(16)) & np.uint32(255)))
            lower_right = np.float32(np.int32(np.uint32(four >> np.uint32(24))))
            upper = upper_left + right_part[k] * (upper_right - upper_left)
            lower = lower_left + right_part[k] * (lower_right - lower_left)
            target[k] = (upper + lower_part[k] * (lower - upper)) * factor + offset
