"""What an exported folder says of itself: its card to people, its config.json to programs."""

import re
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from results.errors import NasSearchError
from results.models.files import CARD, CONFIG, FORMS, WEIGHTS, seed_of
from results.models.loading import MOST_CONFIG_BYTES, read_file
from space.value import one_line

MOST_CARD_BYTES = 1_000_000

_PERCENT = r"(\d{1,3}(?:\.\d{1,9})?) ?%"
_PARAMS = re.compile(r"\*\*(\d[\d,]{0,12}) trainable parameters\*\*")
_WEIGHTS = re.compile(rf"classify \*\*{_PERCENT}\*\*")
_AGAIN = re.compile(rf"Test accuracy {_PERCENT}\.$", re.MULTILINE)
_FILE = re.compile(rf"^\| `([^`\n]{{1,99}})` \|.*\| {_PERCENT} \|", re.MULTILINE)
_CONFIRMED = re.compile(
    rf"Confirmed over (\d[\d,]{{0,5}}) seeds?: "
    rf"[^%\n]{{0,99}}mean {_PERCENT}[^%\n]{{0,99}}worst seed {_PERCENT}"
)
"""As `results.models.card` writes them."""


@dataclass(frozen=True)
class Confirmed:
    """Mean and worst of an accuracy over seeds, percent."""

    seeds: int
    mean: float
    worst: float


@dataclass(frozen=True)
class Promise:
    """Where card and config.json differ: whichever promises more.

    `params`: trainable parameters. `accuracies`: of the test images, percent, by file name.
    `dataset`: whose test images. `confirmed`: the sustained accuracy over seeds; None if it was not
    confirmed.
    """

    params: int
    accuracies: dict[str, float]
    dataset: str
    confirmed: Confirmed | None = None


class _StoredConfirmed(BaseModel):
    seeds: int
    mean: float
    worst: float


class _StoredAccuracy(BaseModel):
    test: float
    confirmed: _StoredConfirmed | None = None


class _StoredFile(BaseModel):
    test_accuracy: float | None = None


class _Stored(BaseModel):
    """What config.json says of size and accuracy."""

    params: int
    dataset: str
    accuracy: _StoredAccuracy
    files: dict[str, _StoredFile]


def read_promise(folder: Path) -> Promise:
    """What card and config.json of a folder promise.

    Raises NasSearchError if they are not as an export writes them.
    """
    try:
        stored = _Stored.model_validate_json(read_file(folder / CONFIG, MOST_CONFIG_BYTES))
    except ValidationError as error:
        raise NasSearchError(
            f"{folder / CONFIG} is not that of an export: {one_line(error)}"
        ) from None
    card = read_file(folder / CARD, MOST_CARD_BYTES).decode(errors="replace").replace("\r", "")
    params = [int(found.replace(",", "")) for found in _PARAMS.findall(card)]
    if not params or not _WEIGHTS.search(card):
        raise NasSearchError(
            f"{folder / CARD} does not say how many parameters the network has and which part of "
            f"the test images it classifies, as an export does: nothing to verify"
        )
    accuracies: dict[str, float] = {}
    for name, accuracy in _accuracies(card, stored):
        if name not in FORMS and seed_of(name) is None:
            raise NasSearchError(
                f"{folder} promises something of {name[:99]!r}, which is no file of an export"
            )
        accuracies[name] = max(accuracy, accuracies.get(name, accuracy))
    return Promise(
        min(*params, stored.params), accuracies, stored.dataset, _confirmed(card, stored)
    )


def _accuracies(card: str, stored: _Stored) -> Iterator[tuple[str, float]]:
    """All that is said of files."""
    for pattern in (_WEIGHTS, _AGAIN):
        yield from ((WEIGHTS, float(found)) for found in pattern.findall(card))
    yield WEIGHTS, stored.accuracy.test
    yield from ((name, float(accuracy)) for name, accuracy in _FILE.findall(card))
    for name, file in stored.files.items():
        if file.test_accuracy is not None:
            yield name, file.test_accuracy


def _confirmed(card: str, stored: _Stored) -> Confirmed | None:
    """The highest that is said of seeds."""
    said = [
        Confirmed(int(seeds.replace(",", "")), float(mean), float(worst))
        for seeds, mean, worst in _CONFIRMED.findall(card)
    ]
    if stored.accuracy.confirmed is not None:
        said.append(Confirmed(**dict(stored.accuracy.confirmed)))
    if not said:
        return None
    return Confirmed(*(max(values) for values in zip(*map(astuple, said), strict=True)))
