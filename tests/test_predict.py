"""Pictures of digits, as people have them, are read as MNIST's makers would have stored them."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from results.errors import NasSearchError
from results.models.loading import open_model
from results.models.picture import read_picture
from results.models.prediction import predict
from results.present import predictions_table
from search.data import DataSource

MODEL = Path(__file__).parents[1] / "results" / "mnist-30-trials-cpu" / "model"
COUNT = 60


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Test digits, uint8 (COUNT, 28, 28), and their classes."""
    return DataSource("mnist-sample").load().test.batch(torch.arange(COUNT))


def picture(digit: torch.Tensor, size: int, margin: float, seed: int) -> Image.Image:
    """The digit, light on dark, `size` pixels wide, anywhere on a larger picture."""
    small = Image.fromarray(digit.numpy()).resize((size, size), Image.Resampling.BICUBIC)
    draw = random.Random(seed)
    whole = Image.new("L", (int(size * (1 + 2 * margin)), int(size * (1 + margin))))
    left, top = (draw.randint(0, most - size) for most in whole.size)
    whole.paste(small, (left, top))
    return whole


@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize("dark_ink", [False, True])
@pytest.mark.parametrize(("size", "margin"), [(20, 0.3), (28, 0.0), (70, 0.0), (150, 0.8)])
def test_pictures_are_recognised_as_the_pixels_are(
    tmp_path: Path, size: int, margin: float, dark_ink: bool, kind: str
) -> None:
    images, labels = digits()
    read = []
    for number, digit in enumerate(images):
        drawn = picture(digit, size, margin, number)
        if dark_ink:
            drawn = drawn.point(lambda value: 255 - value)
        drawn.save(tmp_path / f"digit.{kind}")
        read.append(read_picture(tmp_path / f"digit.{kind}"))
    found = [each.digit for each in predict(open_model(MODEL), read)]
    assert sum(a == b for a, b in zip(found, labels.tolist(), strict=True)) >= COUNT - 2


@pytest.mark.parametrize("dark_ink", [False, True])
def test_pictures_of_mnist_stay_as_they_are(tmp_path: Path, dark_ink: bool) -> None:
    for digit in digits()[0][:10]:
        Image.fromarray((255 - digit if dark_ink else digit).numpy()).save(tmp_path / "digit.png")
        assert torch.equal(read_picture(tmp_path / "digit.png"), digit)


def test_size_and_place_of_a_digit_do_not_matter(tmp_path: Path) -> None:
    """It ends with its longer side on 20 pixels and its mass about the middle."""
    picture(digits()[0][0], 90, 1.0, seed=1).save(tmp_path / "digit.png")
    read = read_picture(tmp_path / "digit.png").double()
    rows, columns = (read.sum(axis).nonzero() for axis in (1, 0))
    longer = max(int(each.max() - each.min()) + 1 for each in (rows, columns))
    assert longer in (19, 20)
    mass = read.sum()
    along = torch.arange(28).double()
    assert abs(float((read.sum(1) * along).sum() / mass) - 14) < 1
    assert abs(float((read.sum(0) * along).sum() / mass) - 14) < 1


@pytest.mark.parametrize("ink", [0, 255])
def test_transparent_rotated_and_16_bit_pictures(tmp_path: Path, ink: int) -> None:
    digit = digits()[0][0]
    expected = read_picture_of(tmp_path, picture(digit, 80, 0.2, 0))
    light = picture(digit, 80, 0.2, 0)
    transparent = Image.new("RGBA", light.size, (ink, ink, ink, 0))
    transparent.putalpha(light)
    assert close(read_picture_of(tmp_path, transparent), expected)
    deep = Image.fromarray((np.asarray(light).astype(np.uint16)) * 257)
    assert close(read_picture_of(tmp_path, deep), expected)
    turned = light.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    assert close(read_picture(tmp_path / "turned.jpg"), expected)


def read_picture_of(folder: Path, drawn: Image.Image) -> torch.Tensor:
    drawn.save(folder / "picture.png")
    return read_picture(folder / "picture.png")


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool((one.float() - other.float()).abs().mean() < 4)


def test_noise_and_dirt_do_not_matter(tmp_path: Path) -> None:
    images, labels = digits()
    draw = np.random.default_rng(0)
    read = []
    for number, digit in enumerate(images):
        drawn = np.asarray(picture(digit, 120, 0.8, number)).astype(float) * 0.6 + 40
        drawn += draw.normal(0, 6, drawn.shape)
        drawn[2:5, 2:5] = 200
        Image.fromarray(drawn.clip(0, 255).astype(np.uint8)).save(tmp_path / "digit.jpg")
        read.append(read_picture(tmp_path / "digit.jpg"))
    found = [each.digit for each in predict(open_model(MODEL), read)]
    assert sum(a == b for a, b in zip(found, labels.tolist(), strict=True)) >= COUNT - 2


def test_large_pictures_take_little_memory(tmp_path: Path) -> None:
    drawn = Image.new("RGBA", (7_000, 7_000))
    drawn.paste((255, 0, 0, 255), (2_000, 2_000, 3_000, 5_000))
    drawn.save(tmp_path / "large.png", compress_level=1)
    script = """
import sys, resource
from pathlib import Path
from results.models.picture import read_picture
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
read_picture(Path(sys.argv[1]))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "large.png")],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 500  # MiB


def test_files_without_a_digit_are_named(tmp_path: Path) -> None:
    Image.new("L", (50, 50), 255).save(tmp_path / "blank.png")
    (tmp_path / "text.png").write_text("no picture")
    Image.new("L", (8_000, 8_000)).save(tmp_path / "huge.png")
    picture(digits()[0][0], 80, 0.2, 0).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:500])
    for name, said in (
        ("blank.png", "is blank"),
        ("text.png", "neither a PNG nor a JPEG"),
        ("huge.png", "more than 50,000,000 pixels"),
        ("cut.png", "cannot be read as an image"),
        ("none.png", "is missing"),
    ):
        with pytest.raises(NasSearchError, match=f"{name} .*{said}"):
            read_picture(tmp_path / name)


def test_names_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    images, _ = digits()
    (found,) = predict(open_model(MODEL), [images[0]])
    names = ("x[/y].png", "[bold]z.png", ":smile:.png")
    predictions_table([(name, found) for name in names])
    said = capsys.readouterr().out
    assert all(name in said for name in names)


def test_probabilities_add_up_and_name_the_digit() -> None:
    images, _ = digits()
    for each in predict(open_model(MODEL), list(images[:5])):
        assert sum(each.probabilities) == pytest.approx(1)
        assert each.likeliest[0] == (each.digit, max(each.probabilities))
        assert [share for _, share in each.likeliest] == sorted(each.probabilities, reverse=True)
