"""What an exported folder says of itself: its card to people, its config.json to programs."""

import re
from dataclasses import astuple, dataclass
from pathlib import Path

from results.errors import NasSearchError
from results.models.files import CARD, CONFIG, WEIGHTS
from results.models.loading import ExportedConfig, read_config, read_file

MOST_CARD_BYTES = 1_000_000

_PERCENT = r"(\d{1,3}\.\d{1,4})%"
_PARAMS = re.compile(r"\*\*(\d[\d,]{0,12}) trainable parameters\*\*")
_WEIGHTS = re.compile(rf"classify \*\*{_PERCENT}\*\*|Test accuracy {_PERCENT}\.$", re.MULTILINE)
_FILE = re.compile(rf"^\| `([^`\n]{{1,99}})` \|.*\| {_PERCENT} \|", re.MULTILINE)
_CONFIRMED = re.compile(
    rf"Confirmed over (\d{{1,4}}) seeds?: "
    rf"[^%\n]{{0,99}}mean {_PERCENT}[^%\n]{{0,99}}worst seed {_PERCENT}"
)
"""As `results.models.card` writes them; a card has two decimals of every accuracy."""


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


def read_promise(folder: Path) -> Promise:
    """What card and config.json of a folder promise. Raises NasSearchError."""
    config = read_config(folder)
    card = read_file(folder / CARD, MOST_CARD_BYTES).decode(errors="replace")
    params = [int(found.replace(",", "")) for found in _PARAMS.findall(card)]
    if config.params is not None:
        params.append(config.params)
    accuracies = _accuracies(card, config)
    strange = [name for name in accuracies if Path(name).name != name]
    if strange:
        raise NasSearchError(
            f"{folder} promises something of {strange[0][:100]!r}, which is not in it"
        )
    if not params or WEIGHTS not in accuracies or config.dataset is None:
        raise NasSearchError(
            f"neither {CARD} nor {CONFIG} in {folder} says how large or how accurate the network "
            f"is: there is nothing to verify"
        )
    return Promise(min(params), accuracies, config.dataset, _confirmed(card, config))


def _accuracies(card: str, config: ExportedConfig) -> dict[str, float]:
    """The highest that is said of each file."""
    said = [(WEIGHTS, float(one or other)) for one, other in _WEIGHTS.findall(card)]
    said += [(name, float(accuracy)) for name, accuracy in _FILE.findall(card)]
    if config.accuracy is not None:
        said.append((WEIGHTS, config.accuracy.test))
    for name, file in config.files.items():
        if file.test_accuracy is not None:
            said.append((name, file.test_accuracy))
    found: dict[str, float] = {}
    for name, accuracy in said:
        found[name] = max(accuracy, found.get(name, accuracy))
    return found


def _confirmed(card: str, config: ExportedConfig) -> Confirmed | None:
    """The highest that is said of seeds."""
    said = [
        Confirmed(int(seeds), float(mean), float(worst))
        for seeds, mean, worst in _CONFIRMED.findall(card)
    ]
    if config.accuracy is not None and config.accuracy.confirmed is not None:
        said.append(Confirmed(**dict(config.accuracy.confirmed)))
    if not said:
        return None
    return Confirmed(*(max(values) for values in zip(*map(astuple, said), strict=True)))
