"""Pictures as people and strangers make them: a digit, or one line that says what is wrong."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from results.models.picture import read_picture
from tests.fuzzing import answer_of, fuzzed, mutated_bytes

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F", "HSV", "LAB")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures") / "picture"


def read(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    digit = answer_of("pictures", lambda: read_picture(file))
    assert digit is None or (digit.shape, digit.dtype) == ((28, 28), torch.uint8)


@st.composite
def pictures(draw: st.DrawFn) -> bytes:
    """PNG, JPEG and others: any mode and size, turned, animated, with a palette."""
    width, height = draw(st.tuples(*[st.sampled_from((1, 2, 3, 20, 28, 29, 90, 2_000))] * 2))
    if width * height > 90_000:
        width = draw(st.sampled_from((1, 20)))
    mode = draw(st.sampled_from(MODES))
    picture = _drawn(draw(st.integers(0, 99)), width, height, draw(st.integers(0, 3)))
    options: dict[str, Any] = {}
    try:
        picture = picture.convert("I" if mode == "I;16" else mode)
        if mode == "I;16":
            picture = picture.convert("I;16")
        if draw(st.booleans()):
            exif = Image.Exif()
            exif[0x0112] = draw(st.integers(0, 65_535))
            options["exif"] = exif
        if draw(st.booleans()) and mode in ("1", "L", "P", "RGB"):
            options["transparency"] = draw(st.integers(0, 255)) if mode != "RGB" else (0, 9, 255)
        if draw(st.integers(0, 4)) == 0:
            options |= {"save_all": True, "append_images": [picture] * draw(st.integers(1, 5))}
        made = io.BytesIO()
        kinds = ("PNG", "PNG", "JPEG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "PPM", "JPEG2000")
        picture.save(made, draw(st.sampled_from(kinds)), **options)
    except Exception:  # Pillow can't write what was asked for, which it says in many ways
        return b""
    return made.getvalue()


def _drawn(seed: int, width: int, height: int, kind: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    pixels = np.zeros((height, width), np.uint8)
    if kind == 0:
        pixels[:] = rng.integers(0, 256, pixels.shape)
    elif kind == 1:
        pixels[height // 4 : 1 + height // 2, width // 3 : 1 + width // 2] = 200
    elif kind == 2:
        pixels[rng.integers(height), rng.integers(width)] = 255
    return Image.fromarray(pixels)


@fuzzed(150)
@given(data=st.data())
def test_pictures(file: Path, data: st.DataObject) -> None:
    content = data.draw(pictures())
    read(file, data.draw(mutated_bytes(content)) if data.draw(st.booleans()) else content)


def _png(width: int, height: int, depth: int, colours: int, pixels: bytes, *more: bytes) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        sum_ = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", sum_)

    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    parts = [(b"IHDR", header), *((each[:4], each[4:]) for each in more), (b"IDAT", pixels)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in (*parts, (b"IEND", b"")))


@fuzzed(100)
@example(1, 50_000_000, 8, 0, 50_000_000, [b"tRNS" + bytes([0, 255])])
@example(50_000_000, 1, 8, 6, 50_000_000, [])
@given(
    width=st.sampled_from([0, 1, 28, 1_000, 7_000, 50_000_000, 2**31 - 1, 2**32 - 1]),
    height=st.sampled_from([0, 1, 28, 1_000, 7_000, 50_000_000, 2**31 - 1, 2**32 - 1]),
    depth=st.sampled_from([1, 2, 4, 8, 16, 3, 255]),
    colours=st.sampled_from([0, 2, 3, 4, 6, 1]),
    pixels=st.sampled_from([0, 1, 10_000, 50_000_000]),
    more=st.lists(
        st.sampled_from(
            [
                b"PLTE" + bytes(range(30)),
                b"tRNS" + bytes(6),
                b"tRNS" + bytes([0, 255]),
                b"eXIf" + bytes(20),
                b"eXIfII*\0\x08\0\0\0\xff\xff",
                b"acTL" + struct.pack(">II", 2**31, 0),
                b"iCCPx\0\0" + zlib.compress(bytes(50_000_000)),
                b"zTXtx\0\0" + zlib.compress(bytes(50_000_000)),
                b"iTXtx\0\1\0\0\0" + zlib.compress(bytes(50_000_000)),
                b"gAMA" + bytes(4),
            ]
        ),
        max_size=4,
    ),
)
def test_png_of_any_size_that_says_anything(
    file: Path, width: int, height: int, depth: int, colours: int, pixels: int, more: list[bytes]
) -> None:
    read(file, _png(width, height, depth, colours, _DEFLATED[pixels], *more))


_DEFLATED = {size: zlib.compress(bytes(size), 1) for size in (0, 1, 10_000, 50_000_000)}


def test_what_is_no_file_is_named(file: Path) -> None:
    for path in (file.parent, Path("/dev/null"), file / "x", file.parent / ("x" * 300)):
        assert answer_of("pictures", lambda path=path: read_picture(path)) is None
