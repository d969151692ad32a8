"""A PNG or JPEG of a digit as MNIST's makers would have stored it.

They fitted a digit into 20 x 20 pixels keeping its aspect ratio, and centred its mass in 28 x 28
(LeCun, Cortes and Burges, "The MNIST database of handwritten digits", about its files).
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageChops, ImageOps, UnidentifiedImageError

from results.errors import NasSearchError
from results.models.quiet import quiet

SIZE = 28
DIGIT_SIZE = 20
MOST_FILE_BYTES = 100_000_000
MOST_PIXELS = 50_000_000
MOST_SIDE = 50_000
"""Pixels in a row or column. For a picture of nothing but rows Pillow takes gigabytes."""

WORKING_SIZE = 1_000
"""Larger pictures are made smaller first: nothing of a digit is lost."""

Map = np.ndarray[Any, np.dtype[np.float64]]

LEAST_CONTRAST = 24
"""Of 255: with less between ink and background a picture is taken to be blank."""

SPECK = 0.05
"""Parts with less than this share of the largest part's pixels are dirt."""


def read_picture(path: Path) -> torch.Tensor:
    """The digit, uint8 (28, 28), 0 for background to 255 for ink.

    A picture of 28 x 28 pixels is taken as it is, but that ink becomes light.
    Raises NasSearchError naming a file that can't be read, or has no digit.
    """
    ink = _ink(_grey(path))
    if ink.max() < LEAST_CONTRAST:
        raise NasSearchError(f"{path} is blank: there is nothing darker or lighter than the rest")
    if ink.shape == (SIZE, SIZE):
        return torch.from_numpy(ink.round().astype(np.uint8))
    return torch.from_numpy(_fitted(_without_background(ink)))


def _grey(path: Path) -> Map:
    """Brightness from 0 to 255, (H, W)."""
    try:
        if path.stat().st_size > MOST_FILE_BYTES:
            raise NasSearchError(f"{path} is larger than {MOST_FILE_BYTES:,} bytes")
        # Pillow warns of sizes, and of parts that nothing here needs.
        with quiet(), Image.open(path, formats=("PNG", "JPEG")) as opened:
            if math.prod(opened.size) > MOST_PIXELS:
                raise NasSearchError(f"{path} has more than {MOST_PIXELS:,} pixels")
            if max(opened.size) > MOST_SIDE:
                raise NasSearchError(f"{path} is longer than {MOST_SIDE:,} pixels")
            opened.draft("L", (WORKING_SIZE, WORKING_SIZE))  # a JPEG is made smaller as it's read
            grey = _brightness(opened)
            grey.info["exif"] = opened.getexif().tobytes()
            return np.asarray(ImageOps.exif_transpose(grey), dtype=np.float64)
    except NasSearchError:
        raise
    except FileNotFoundError:
        raise NasSearchError(f"{path} is missing") from None
    except UnidentifiedImageError:
        raise NasSearchError(f"{path} is neither a PNG nor a JPEG image") from None
    except Exception as error:  # Pillow raises many kinds for damaged files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise NasSearchError(f"{path} cannot be read as an image: {reason}") from None


def _brightness(picture: Image.Image) -> Image.Image:
    """In grey, made smaller; what is transparent shows black or white, whatever ink is not.

    Until it is smaller there is one byte a pixel besides the picture: it may be a large one.
    """
    if picture.mode.startswith("I"):  # 16 bits, which Pillow would clip and not scale
        return _smaller(Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8)))
    if not picture.has_transparency_data:
        return _smaller(picture.convert("L"))
    colours = picture if picture.mode == "RGBA" else picture.convert("RGBA")
    opacity = colours.getchannel("A")
    grey = ImageChops.multiply(colours.convert("L"), opacity)
    shown, opaque = (np.asarray(_smaller(each)).astype(np.float64) for each in (grey, opacity))
    background = 255 if shown.sum() < opaque.sum() * 128 / 255 else 0
    whole = shown + background * (1 - opaque / 255)
    return Image.fromarray(whole.round().clip(0, 255).astype(np.uint8))


def _smaller(picture: Image.Image) -> Image.Image:
    picture.thumbnail((WORKING_SIZE, WORKING_SIZE))
    return picture


def _ink(grey: Map) -> Map:
    """How far each pixel is from the background, towards the side where there is more."""
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    difference = grey - np.median(border)
    darker, lighter = np.clip(-difference, 0, None), np.clip(difference, 0, None)
    is_dark = np.square(darker).sum() > np.square(lighter).sum()
    return np.asarray(darker if is_dark else lighter)


def _without_background(ink: Map) -> Map:
    """The part with the digit, 0 to 255: no noise around it, no dirt, strong ink at 255."""
    from scipy import ndimage

    drawn = ink > _threshold(ink)
    parts, count = ndimage.label(drawn, structure=np.ones((3, 3)))
    sizes = ndimage.sum_labels(drawn, parts, np.arange(1, count + 1))
    drawn = np.isin(parts, 1 + np.flatnonzero(sizes >= SPECK * sizes.max()))
    # The soft edge of strokes belongs to them.
    near = ndimage.binary_dilation(drawn, iterations=1 + max(ink.shape) // 100)
    strong = float(np.percentile(ink[drawn], 90))
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    digit = np.where(near, np.clip(ink / strong, 0, 1) * 255, 0)
    return np.asarray(digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _threshold(ink: Map) -> float:
    """Parts ink from background so that both vary least (Otsu, 1979)."""
    counts, edges = np.histogram(ink, bins=256)
    values = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * values)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1 + np.nanargmax(between)])


def _fitted(digit: Map) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Its longer side on 20 pixels, its centre of mass at pixel (14, 14), as MNIST has it."""
    height, width = digit.shape
    factor = DIGIT_SIZE / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = np.asarray(
        Image.fromarray(digit.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    ).clip(0, 255)
    small = small * (255 / small.max())
    image = np.zeros((SIZE, SIZE))
    top, left = (
        round(min(max(0, SIZE / 2 - _centre(small, axis)), SIZE - small.shape[axis]))
        for axis in (0, 1)
    )
    image[top : top + small.shape[0], left : left + small.shape[1]] = small
    return image.round().astype(np.uint8)


def _centre(image: Map, axis: int) -> float:
    """Of the mass, in pixels along an axis."""
    mass = image.sum(1 - axis)
    return float((mass * np.arange(len(mass))).sum() / mass.sum())
