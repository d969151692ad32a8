"""results/README.md says what the cards beside it say."""

import json
from pathlib import Path

import pytest

from benchmarks.reference import (
    BEGIN,
    BUDGET,
    RESULTS,
    SHOWN,
    exported,
    in_table,
    networks,
    picture,
    published,
    with_table,
)


def test_the_table_is_that_of_the_cards() -> None:
    text = (RESULTS / "README.md").read_text()
    assert with_table(text, networks()) == text, "run python benchmarks/reference.py"


def test_a_network_is_what_its_files_say() -> None:
    folder = RESULTS / "networks" / "1984"
    found = exported(folder)
    assert found is not None
    confirmed = json.loads((folder / "config.json").read_text())["accuracy"]["confirmed"]
    assert (found.params, found.seeds) == (1_984, confirmed["seeds"])
    assert f"| **{confirmed['mean']:.3f} ± " in in_table([found])


def test_a_published_network_sustains_the_lowest_of_its_last_epochs() -> None:
    runs = [
        {"id": "1.3", "test_accuracies": [10.0, 99.5, 99.4, 99.6, 99.7]},
        {"id": "1.3", "test_accuracies": [99.9, 99.2, 99.4, 99.6, 99.7]},
        {"id": "1.2", "test_accuracies": [99.9, 99.2, 99.4, 99.6, 99.7]},
    ]
    (found,) = published(runs)  # of one seed nothing is said
    assert (found.lowest, found.holding, found.seeds) == (99.2, 1, 2)
    assert found.mean == pytest.approx(99.3)


def test_a_text_without_a_mark_is_left_alone() -> None:
    with pytest.raises(ValueError, match="put them where the table goes"):
        with_table(f"before {BEGIN} | a table | after", networks())


def test_the_picture_has_every_network_that_it_is_to_show(tmp_path: Path) -> None:
    found = networks()
    figure = picture(found)
    drawn = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert {f"{each.params:,}" for each in found if each.validation} <= set(drawn)
    assert len(drawn) == sum(each.params < SHOWN[0] and each.mean > SHOWN[1] for each in found)
    figure.savefig(tmp_path / "front.png")
    assert any(each.params >= BUDGET for each in found), "they are in the picture alone"
