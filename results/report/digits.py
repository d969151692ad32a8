"""The test digits, and which of them networks take for others."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from results.charts.still import SMALLEST_POINTS, WIDTH_INCHES
from results.record import Confirmation

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

MOST_SHOWN = 36
COLUMNS = 6
ROW_PIXELS, COLUMN_PIXELS = 40, 36
"""Of the place that a digit has with what is written above it, in its own pixels."""


@dataclass(frozen=True)
class TestDigits:
    """`images` uint8 (N, 28, 28), 0 for background; `labels` (N,)."""

    images: "np.ndarray"
    labels: "np.ndarray"

    __test__ = False  # pytest takes the name for that of tests


def predicted(runs: Sequence[Confirmation], test: TestDigits | None) -> "np.ndarray | None":
    """What each seed took each image for, (seeds, N); None if that is not known of all of them."""
    import numpy as np

    if test is None or not runs or any(len(each.predictions) != len(test.labels) for each in runs):
        return None
    return np.array([[int(digit) for digit in each.predictions] for each in runs])


def confusion_matrix(taken_for: "np.ndarray", labels: "np.ndarray") -> "np.ndarray":
    """Images by true digit (rows) and by what they were taken for, all seeds together (10, 10)."""
    import numpy as np

    found = np.zeros((10, 10), dtype=int)
    for seed in taken_for:
        np.add.at(found, (labels, seed), 1)
    return found


def commonest_confusions(matrix: "np.ndarray", most: int = 3) -> list[tuple[int, int, int]]:
    """True digit, what it was taken for and how often; the most frequent first."""
    found = [
        (true, seen, int(matrix[true, seen]))
        for true in range(10)
        for seen in range(10)
        if true != seen and matrix[true, seen]
    ]
    return sorted(found, key=lambda each: -each[2])[:most]


def wrong_by_all(taken_for: "np.ndarray", labels: "np.ndarray") -> list[int]:
    """The positions of the images that no seed got right."""
    return [int(each) for each in (taken_for != labels).all(axis=0).nonzero()[0]]


def draw_confusion(matrix: "np.ndarray") -> "Figure":
    """The matrix, its errors shaded by how frequent they are."""
    import numpy as np
    from matplotlib.figure import Figure

    errors = np.where(np.eye(10, dtype=bool), 0, matrix)
    figure = Figure(figsize=(WIDTH_INCHES, 0.9 * WIDTH_INCHES), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(errors, cmap="Oranges", vmin=0, vmax=max(1, 1.4 * errors.max()))
    axes.set_xticks(range(10))
    axes.set_yticks(range(10))
    axes.set_xlabel("taken for")
    axes.set_ylabel("is")
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for true in range(10):
        for seen in range(10):
            if matrix[true, seen]:
                axes.text(
                    *(seen, true, f"{matrix[true, seen]}"),
                    ha="center",
                    va="center",
                    fontsize=SMALLEST_POINTS if true == seen else 9.5,
                    color="#777777" if true == seen else "black",
                )
    return figure


def draw_digits(test: TestDigits, positions: Sequence[int], taken_for: "np.ndarray") -> "Figure":
    """The first `MOST_SHOWN` of the images, with what they are and what they were taken for."""
    import numpy as np
    from matplotlib.figure import Figure

    shown = positions[:MOST_SHOWN]
    rows = -(-len(shown) // COLUMNS)
    # One image of all: axes for each would take a second to lay out.
    paper = np.zeros((rows * ROW_PIXELS, COLUMNS * COLUMN_PIXELS))
    figure = Figure(figsize=(WIDTH_INCHES, WIDTH_INCHES * paper.shape[0] / paper.shape[1]))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for place, position in enumerate(shown):
        image = test.images[position]
        top = place // COLUMNS * ROW_PIXELS + ROW_PIXELS - len(image)
        left = place % COLUMNS * COLUMN_PIXELS + (COLUMN_PIXELS - len(image)) // 2
        paper[top : top + len(image), left : left + len(image)] = image
        axes.text(
            *(left + len(image) / 2, top - 1),
            f"{test.labels[position]} → {_seen(taken_for[:, position])}",
            ha="center",
            va="bottom",
            fontsize=10,
        )
    axes.imshow(255 - paper, cmap="gray", vmin=0, vmax=255)
    return figure


def _seen(digits: "np.ndarray") -> str:
    """What the seeds took an image for, the most frequent first."""
    return ", ".join(str(digit) for digit, _ in Counter(digits.tolist()).most_common())
