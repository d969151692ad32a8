"""What a trial chose: no more than had an effect, in words, in groups that can be compared."""

from typing import Any

import pytest

from results.choices import choice_words, choices_table, effective, level_words
from results.record import TrialRecord
from space import BASELINES, SearchSpace, configuration
from space.search_space import Choice, IntRange
from tests.strategies import RandomTrial

SPACE = SearchSpace.for_budget(10_000)


def record(number: int, parameters: dict[str, Any]) -> TrialRecord:
    return TrialRecord(number, "complete", 99.0, parameters, {})


def drawn(count: int) -> list[TrialRecord]:
    return [record(number, SPACE.draw(RandomTrial(number))) for number in range(count)]


def changed(parameters: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The parameters with another value of one of them: its neighbours at both ends."""
    dimension = SPACE.dimensions[name]
    values = dimension.choices if isinstance(dimension, Choice) else (dimension.low, dimension.high)
    return [{**parameters, name: value} for value in values if value != parameters[name]]


def test_what_has_no_level_changes_nothing_and_what_has_one_does() -> None:
    """Held against the configuration itself; a map too small for a kernel pads it in any case."""
    without_effect = 0
    for trial in drawn(60):
        have = effective(trial.parameters)
        before = configuration(trial.parameters)
        for name in SPACE.dimensions:
            after = [configuration(each) for each in changed(trial.parameters, name)]
            if name not in have:
                assert all(each == before for each in after), name
            elif all(each == before for each in after):
                without_effect += 1
                assert name.endswith(("padding", "pool", "residual", "width1")), name
    assert without_effect < 60


def test_a_plain_baseline() -> None:
    have = effective(BASELINES["1.3"])
    assert {name for name in have if name.startswith("stage3")} == {"stage3_depth"}
    assert {name for name in have if name.startswith("transition2")} == set()
    assert "step_epochs" in have
    assert "adamw_learning_rate" not in have
    assert have["dropout"] == 0.01
    assert "stage1_width3" not in have
    assert "dropout" not in effective(BASELINES["plain-wide"])


def test_studies_made_before_every_stage_had_its_own_repeats() -> None:
    """Only the last convolution was repeated, and normalisations had a scale."""
    own = {f"stage{stage}_repeats" for stage in (1, 2, 3)}
    own |= {"norm_scale", "views", "recalibration", "elastic_pixels"}
    older = {name: value for name, value in BASELINES["1.3"].items() if name not in own}
    once, twice = effective(older | {"repeats": 1}), effective(older | {"repeats": 2})
    assert once["repeats"] == 1
    assert own.isdisjoint(once)
    assert once.keys() - twice.keys() == {"stage2_width3", "last_padding"}
    dimensions = {name: each for name, each in SPACE.dimensions.items() if name not in own}
    space = SPACE.model_copy(
        update={"dimensions": dimensions | {"repeats": IntRange(low=1, high=4)}}
    )
    table = choices_table([record(n, older | {"repeats": n}) for n in (1, 2, 3)], space)
    assert list(table["last convolution: times applied"]) == ["1", "2", "3"]


def test_every_choice_and_level_has_words_of_its_own() -> None:
    words = [choice_words(name) for name in SPACE.dimensions]
    assert len(set(words)) == len(words)
    assert choice_words("stage2_width3") == "stage 2: channels of conv 3"
    assert choice_words("transition1_pool") == "transition 1: made smaller by"
    for name, dimension in SPACE.dimensions.items():
        if isinstance(dimension, Choice):
            levels = [level_words(name, value) for value in dimension.choices]
            assert len(set(levels)) == len(levels), name
            assert not any("_" in level for level in levels), name


def test_continuous_choices_are_three_groups_of_as_many_trials() -> None:
    table = choices_table(drawn(90), SPACE)
    counts = table["momentum"].value_counts()
    assert len(counts) == 3
    assert counts.min() == counts.max() == 30
    assert all(" to " in level for level in counts.index)
    assert set(table["stage 2: convolutions"]) == {"1", "2", "3", "4"}
    assert isinstance(SPACE.dimensions["stage2_depth"], IntRange)


@pytest.mark.parametrize("share", [0.4, 0.7, 1.0])
def test_equal_values_stay_together(share: float) -> None:
    trials = drawn(20)
    for trial in trials[: int(share * 20)]:
        trial.parameters["momentum"] = 0.9
    table = choices_table(trials, SPACE)
    assert table["momentum"][: int(share * 20)].nunique() == 1
    assert table["momentum"].notna().all()


def test_no_trials_is_an_empty_table() -> None:
    table = choices_table([], SPACE)
    assert len(table) == 0
    assert "residual connections" in table.columns
