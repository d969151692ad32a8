"""What a choice goes with: found where it is, not where it is not, and never the size instead."""

import math

import numpy as np
import pytest

from results.charts.effects import MOST_SHOWN, effects_chart
from results.effects import FEWEST_TRIALS, LARGEST_POWER, Effect, estimate_effects
from results.record import TrialRecord
from tests.studies import SETTINGS, complete_trials


def effect(records: list[TrialRecord], choice: str) -> Effect:
    (found,) = (
        each for each in estimate_effects(records, SETTINGS).effects if each.choice == choice
    )
    return found


@pytest.mark.parametrize("scatter", [0.0, 0.4])
def test_where_nothing_matters_nothing_is_clear(scatter: float) -> None:
    """In all but one of twenty studies; 40 studies of 40 trials with about 100 comparisons each.

    Also where the trials of one level scatter more than the others.
    """
    rng = np.random.default_rng(1_000)
    claims, comparisons = 0, 0
    for seed in range(40):
        records = complete_trials(
            40, seed, lambda each: rng.normal(0, scatter) if each["residual"] else 0.0
        )
        found = estimate_effects(records, SETTINGS).effects
        claims += any(each.is_clear for each in found)
        comparisons += len(found)
    assert comparisons > 40 * 80
    assert claims <= 4  # 5% of 40 are 2


def test_the_interval_holds_the_truth() -> None:
    """A fifth fewer errors with residual connections: in the interval, and found."""
    inside, found, ratios = 0, 0, []
    for seed in range(40):
        records = complete_trials(
            120, seed, lambda each: math.log10(0.8) if each["residual"] else 0.0, noise=0.05
        )
        residual = effect(records, "residual connections")
        inside += residual.low <= 0.8 <= residual.high
        found += residual.is_clear
        ratios.append(residual.ratio)
    assert inside >= 39
    assert found >= 36
    assert np.mean(ratios) == pytest.approx(0.8, abs=0.01)


def test_a_level_that_goes_with_more_errors_is_found_among_several() -> None:
    records = complete_trials(
        100, 1, lambda each: 0.3 if each["ema_decay"] == 0 else 0.0, noise=0.05
    )
    clearest = estimate_effects(records, SETTINGS).effects[0]
    assert (clearest.choice, clearest.level) == ("weight averaging", "off")
    assert clearest.others == "another"
    assert clearest.is_clear
    assert 1.5 < clearest.low < 10**0.3 < clearest.high


def test_size_is_not_mistaken_for_a_choice() -> None:
    """Deep stages cost parameters, and here errors depend on the parameters alone."""
    records = complete_trials(200, 2, per_decade=-2.0, noise=0.02)
    found = estimate_effects(records, SETTINGS)
    assert [each for each in found.effects if each.is_clear] == []


def test_of_two_levels_the_better_one_is_named_once() -> None:
    records = complete_trials(60, 3, lambda each: -0.2 if each["residual"] else 0.0)
    residual = effect(records, "residual connections")
    assert (residual.level, residual.others) == ("yes", "no")
    assert residual.ratio < 1
    assert residual.with_level + residual.without == 60
    assert residual.with_level == sum(each.parameters["residual"] for each in records)


def test_points_are_those_at_the_typical_error() -> None:
    found = estimate_effects(complete_trials(41, 4), SETTINGS)
    errors = sorted(100 - each.sustained for each in complete_trials(41, 4))
    assert found.typical_error == pytest.approx(errors[20])
    assert found.points(0.8) == pytest.approx(0.2 * errors[20])


@pytest.mark.parametrize("count", [0, 1, 2, 2 * FEWEST_TRIALS - 1])
def test_too_few_trials_make_no_comparison_and_an_empty_chart(count: int) -> None:
    records = complete_trials(count, 5)
    assert estimate_effects(records, SETTINGS).effects == ()
    chart = effects_chart(records, SETTINGS)
    assert chart.marks == ()
    assert "Too few complete trials" in chart.empty


def test_equal_or_faultless_trials_are_no_division_by_zero() -> None:
    one = complete_trials(1, 6)[0]
    same = [TrialRecord(n, "complete", 1.0, one.parameters, one.attributes) for n in range(20)]
    assert estimate_effects(same, SETTINGS).effects == ()
    for each in (faultless := complete_trials(30, 7)):
        each.attributes["sustained"] = 100.0
    found = estimate_effects(faultless, SETTINGS).effects
    assert found
    assert not any(each.is_clear for each in found)


def test_a_level_that_nearly_follows_from_the_size_is_no_overflow() -> None:
    """Six trials of 5,000 parameters without residual connections, six of about 9,000 with them."""
    records = complete_trials(12, 9)
    for place, each in enumerate(records):
        each.parameters["residual"] = place >= 6
        each.attributes["params"] = 5_000 if place < 6 else 9_000 + place % 2
        each.attributes["sustained"] = 99.9 if place % 3 else 10.0
    found = effect(records, "residual connections")
    assert not found.is_clear
    assert found.ratio == 1.0
    every = estimate_effects(records, SETTINGS).effects
    assert max(each.high for each in every) == 10**LARGEST_POWER


def test_the_chart_shows_the_clearest() -> None:
    records = complete_trials(100, 8, lambda each: -0.3 if each["residual"] else 0.0)
    chart = effects_chart(records, SETTINGS)
    assert len(chart.y.categories) == MOST_SHOWN
    assert chart.y.categories[0] == "residual connections: yes"
    intervals = chart.marks[1]
    assert intervals.low[0] < intervals.middle[0] < intervals.high[0] < 0
