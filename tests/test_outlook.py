"""What trials tell of where others end."""

import math
import random

import numpy as np
import pytest

from search.outlook import MOST, PARALLELS, Outlook


def outlook_of(*trials: tuple[float, float]) -> Outlook:
    made = Outlook()
    for here, end in trials:
        made.add(here, end)
    return made


def test_without_a_trial_nothing_falls_and_nothing_is_sure() -> None:
    made = Outlook()
    assert not made
    assert made.expected([1.0, -2.0]).tolist() == [1.0, -2.0]
    assert made.chance(0.0, -1.0) == 0.5


def test_few_trials_fall_alike() -> None:
    made = outlook_of((0.0, -0.5), (1.0, 0.0))
    assert made.expected([0.0, 1.0, 2.0]) == pytest.approx([-0.75, 0.25, 1.25])


def test_many_trials_show_that_what_has_further_to_fall_falls_further() -> None:
    made = outlook_of(*((each / 10, each / 20 - 1) for each in range(10)))
    assert made.expected([0.0, 0.9]) == pytest.approx([-1.0, -0.55])


def test_one_that_broke_down_turns_nothing() -> None:
    rng = random.Random(0)
    trials = [(here := rng.uniform(0, 1), here / 2 + rng.gauss(0, 0.02)) for _ in range(30)]
    made = outlook_of(*trials, (0.5, 4.5))
    assert made.expected([0.0, 1.0]) == pytest.approx([0.0, 0.5], abs=0.06)


def test_what_is_ahead_is_expected_to_end_ahead() -> None:
    made = outlook_of(*((each / 10, 1.0) for each in range(20)))
    ends = made.expected([0.0, 1.0, 2.0])
    assert ends[0] < ends[1] < ends[2]


def test_the_chance_is_that_of_the_trials_but_never_none_and_never_sure() -> None:
    made = outlook_of((0.0, -0.1), (0.0, -0.3), (0.0, -0.5))
    assert made.chance([0.0, 0.2, 5.0], -0.3).tolist() == [3 / 5, 2 / 5, 1 / 5]
    assert made.chance(-5.0, -0.3) == 4 / 5


def test_what_is_behind_all_complete_trials_is_not_taken_to_come_near_them() -> None:
    made = outlook_of(*((each / 10, each / 20 - 1) for each in range(11)))
    assert made.expected([0.5, 1.0, 3.0]) == pytest.approx([-0.75, -0.5, 1.5])
    assert made.chance(3.0, 1.5) == made.chance(1.0, -0.5)


@pytest.mark.parametrize("trials", [5, MOST, 10 * MOST + 1])
def test_the_order_of_trials_does_not_count(trials: int) -> None:
    rng = random.Random(1)
    told = [(round(rng.uniform(0, 1), 2), round(rng.uniform(-1, 0), 2)) for _ in range(trials)]
    one, other = outlook_of(*told), outlook_of(*rng.sample(told, trials))
    here = np.linspace(-1, 2, 7)
    assert one.expected(here).tolist() == other.expected(here).tolist()
    assert one.chance(here, -0.5).tolist() == other.chance(here, -0.5).tolist()


def test_of_many_trials_some_are_enough_for_the_line() -> None:
    rng = random.Random(2)
    trials = [(here := rng.uniform(0, 1), here / 3 + rng.gauss(0, 0.05)) for _ in range(5_000)]
    assert outlook_of(*trials).expected([0.0, 1.0]) == pytest.approx([0.0, 1 / 3], abs=0.05)


def test_parallel_lines_are_outvoted_from_four_trials_on() -> None:
    """Through three trials go as many lines as speak for that all fall alike."""
    assert math.comb(3, 2) == PARALLELS < math.comb(4, 2)
    trials = [(0.0, 0.0), (1.0, 0.4), (2.0, 0.8), (3.0, 1.2)]
    assert outlook_of(*trials[:3]).expected([1.0, 2.0]) == pytest.approx([0.4, 1.1])
    assert outlook_of(*trials).expected([1.0, 2.0]) == pytest.approx([0.4, 0.8])
