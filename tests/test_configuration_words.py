"""What the ingredients of a configuration are in it, in words."""

import pytest

from results.report.configuration import SETTINGS, configuration_parts
from space import BASELINES, PUBLISHED, baseline
from space.ingredients import _ALL


def test_every_ingredient_has_its_words() -> None:
    assert list(SETTINGS) == [each.name for each in _ALL]


def test_a_published_network_says_what_is_assumed_of_it() -> None:
    network = PUBLISHED["2.4"]
    about, settings = configuration_parts(network.configuration)
    assert "2.4 is a network of a published drill-down" in about
    assert network.reconstruction in about
    assert "SGD with momentum 0.9, batches of 64" in about
    schedule = "times 0.1 every 10 epochs; at most 0.05, in place of a constant 0.005"
    assert f"| learning rate schedule | {schedule} |" in settings
    assert "| augmentation | rotation by up to 7 degrees |" in settings
    assert "| dropout | 0.1, after 5 of 6 convolutions |" in settings


@pytest.mark.parametrize("name", BASELINES)
def test_no_setting_is_empty(name: str) -> None:
    for line in configuration_parts(baseline(name))[1].splitlines():
        assert "|  |" not in line
    assert ("published drill-down" in configuration_parts(baseline(name))[0]) is False
