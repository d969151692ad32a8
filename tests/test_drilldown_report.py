"""The report of a drill-down and its notebook: right about the ladder, however far it is."""

import datetime
import json
import random
import subprocess
import sys
from collections.abc import Collection, Iterable
from dataclasses import replace
from itertools import chain, combinations
from pathlib import Path

import nbformat
import pytest
import scipy.stats

from results.charts.chart import Intervals, Points
from results.charts.ladder import ladder_chart, worth_chart
from results.difference import difference, of_sustained, step, worths
from results.errors import NasSearchError
from results.ladder import Ladder, climb, name_of
from results.record import Epoch, Given, TrialRecord, drawn_attributes, trained_attributes
from results.report.drilldown import headline, make_drilldown_report
from results.report.notebook import make_notebook, write_notebook
from results.report.page import page
from results.report.report import made_with
from results.report.rung import sustained_cell
from results.settings import StudySettings
from space import PUBLISHED, Configuration, SearchSpace, footprint
from space.ingredients import ingredients, with_only
from tests.conftest import environment

SETTINGS = StudySettings(
    dataset="mnist", space=SearchSpace.for_budget(10_000), epochs=6, sustain=3, trials="given"
)
WHOLE = PUBLISHED["1.3"].configuration
PARTS = [each.name for each in ingredients(WHOLE)]
ALL = frozenset(PARTS)
GAINS = {"norm": 1.2, "schedule": 0.5, "augmentation": 0.25, "pooling": 0.0, "dropout": 0.0}
NOW = datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC)


def run(
    names: Collection[str],
    seed: int,
    end: float | None = None,
    configuration: Configuration | None = None,
) -> TrialRecord:
    """A training that sustains `end`: if not given, 97.3 and the gains of its ingredients, and
    chance. It diverges in the first epoch if that is 9.8."""
    configuration = configuration or with_only(WHOLE, names, SETTINGS.max_params)
    if end is None:
        chance = random.Random(f"{sorted(names)} {seed}").uniform(-0.04, 0.04)
        end = 97.3 + sum(GAINS[name] for name in names) + chance
    diverged = end == 9.8
    accuracies = [9.8] if diverged else [end - 3, end - 1, end - 0.2, end + 0.06, end, end + 0.03]
    history = [
        Epoch(epoch, 0.1, accuracy + 0.2, 0.1, accuracy, 9.0, 1.0)
        for epoch, accuracy in enumerate(accuracies, 1)
    ]
    attributes = {
        **Given(name_of(frozenset(names)), seed, configuration).attributes(),
        **drawn_attributes(configuration, footprint(configuration.architecture)),
        **trained_attributes(history, SETTINGS, images_per_epoch=50_000),
        "precision": "bfloat16",
        **({"reason": "diverged in epoch 1"} if diverged else {}),
    }
    return TrialRecord(0, "pruned" if diverged else "complete", None, {}, attributes)


def every(seeds: int) -> list[TrialRecord]:
    """All that a drill-down could train."""
    return [run(names, seed) for names in chosen() for seed in range(seeds)]


def chosen() -> Iterable[tuple[str, ...]]:
    """All sets of ingredients, the empty one first."""
    return chain(*(combinations(PARTS, size) for size in range(len(PARTS) + 1)))


def ladder(records: list[TrialRecord], seeds: int) -> Ladder:
    return climb(WHOLE, SETTINGS.max_params, seeds, records)


@pytest.fixture(scope="module")
def whole() -> Ladder:
    made = ladder(every(3), 3)
    assert not made.missing
    return made


def report(made: Ladder) -> str:
    """The Markdown; every picture is in the page too."""
    found = make_drilldown_report("1.3", made, SETTINGS, NOW)
    assert page(found).count("data:image/svg+xml") == len(found.pictures)
    return found.markdown


def section(text: str, heading: str) -> str:
    """What stands below a heading of the second level that begins like this."""
    (found,) = [each for each in text.split("\n## ") if each.startswith(heading)]
    return found


def test_a_difference_is_welchs_and_wider_for_more_comparisons() -> None:
    values, others = [99.1, 99.3, 99.2], [98.8, 98.95, 98.7]
    one, many = (difference(values, others, SETTINGS, number) for number in (1, 5))
    assert one.interval is not None
    assert many.interval is not None
    known = scipy.stats.ttest_ind(values, others, equal_var=False).confidence_interval(0.95)
    assert one.interval == pytest.approx((known.low, known.high))
    assert many.interval[0] < one.interval[0] < one.points < one.interval[1] < many.interval[1]
    assert one.is_clear
    assert difference(values, [99.0], SETTINGS).interval is None
    absurd = difference([9.8, 97.3], [99.0, 99.1], SETTINGS, 5)
    assert absurd.interval == (-100, 100)


def test_the_headline_says_what_was_enough_and_what_is_certain(whole: Ladder) -> None:
    plain, fifth, last = (whole.rungs[place].here.mean for place in (0, 4, -1))
    gains = [step(whole, place, SETTINGS).points for place in (1, 2, 3)]
    assert headline(whole, SETTINGS) == (
        f"Of 5 changes the first 4 (BatchNorm, learning rate schedule, augmentation and global "
        f"average pooling) bring sustained accuracy from {plain:.2f} to {fifth:.2f}%, within a "
        f"standard error of the highest rung. Beyond chance by themselves are the gains of "
        f"BatchNorm ({gains[0]:+.2f} points), learning rate schedule ({gains[1]:+.2f} points) and "
        f"augmentation ({gains[2]:+.2f} points). The whole ends at {last:.2f}% with 5,760 "
        f"parameters; 0 of 3 seeds held 99.4%."
    )
    assert headline(whole, SETTINGS) in report(whole)


def test_an_effect_that_chance_explains_is_not_called_enough() -> None:
    ends = {(): [97.3, 97.5], ("dropout",): [97.4, 97.7]}
    records = [run(names, seed, ends.get(names, [97.0] * 2)[seed]) for names, seed in first_step(2)]
    made = ladder(records, 2)
    assert [each.here.names for each in made.rungs] == [set(), {"dropout"}]
    assert not step(made, 1, SETTINGS).is_clear
    assert headline(made, SETTINGS) == (
        "So far: no change is more than a standard error better than the plainest ancestor, which "
        "sustains 97.40%. No single gain is beyond chance. These rungs end at 97.55% with 9,370 "
        "parameters; 0 of 2 seeds held 99.4%."
    )


def test_what_comes_after_the_highest_rung_is_not_called_enough() -> None:
    ends = {(): [20.0, 70.0], ("dropout",): [93.0, 93.1]}
    records = [
        run(names, seed, ends.get(names, [60.0, 60.1])[seed])
        for names in chosen()
        for seed in range(2)
    ]
    made = ladder(records, 2)
    loss = step(made, 2, SETTINGS)
    assert loss.is_clear
    assert loss.points < 0
    assert not step(made, 1, SETTINGS).is_clear
    said = headline(made, SETTINGS)
    assert "of 5 changes the first one (dropout) brings" in said.lower()
    assert "No single gain is beyond chance" in said
    assert "Rung 2 is better than the last one: it sustains 93.05%." in said


def test_a_rung_that_is_better_than_the_last_one_is_named() -> None:
    records = [
        run(names, seed, (99.0 if names == ("norm",) else 98.0) + 0.01 * seed)
        for names in chosen()
        for seed in range(2)
    ]
    said = headline(ladder(records, 2), SETTINGS)
    assert said.endswith("Rung 2 is better than the last one: it sustains 99.00%.")


@pytest.mark.parametrize(
    ("swings", "said"), [((2.0, 2.1), ""), ((0.04, 0.10), ", no measurable change")]
)
def test_a_change_of_stability_has_its_interval(swings: list[float], said: str) -> None:
    records = [
        swinging(run(names, seed), 0.06 if names else swings[seed])
        for names in chosen()
        for seed in range(2)
    ]
    own = section(report(ladder(records, 2)), "Rung 2")
    change = difference([0.06, 0.06], swings, SETTINGS)
    assert f"by 0.06 points on average, by {sum(swings) / 2:.2f} a rung before" in own
    assert f"(a change of {change.points:+.2f}, {change.evidence}{said})." in own


def swinging(record: TrialRecord, points: float) -> TrialRecord:
    """The same with the middle one of its last three epochs lower by so much."""
    rows = [dict(row) for row in record.attributes["history"]]
    for row in rows[-3:]:
        row["accuracy"] = 97.0
    rows[-2]["accuracy"] -= points
    return replace(record, attributes={**record.attributes, "history": rows})


def test_tables_say_which_trainings_broke_down() -> None:
    idle = [98.0, 10.0]
    records = [
        run(names, seed, idle[seed] if names == ("dropout",) else None if "norm" in names else 9.8)
        for names in chosen()
        for seed in range(2)
    ]
    made = ladder(records, 2)
    worth = section(report(made), "What each ingredient is worth")
    assert "± 0.00 (2 diverged)" in worth
    assert "2 of 2 trainings without it diverged: it is what the rest can't be trained" in worth
    (dropout,) = [tried for each, tried in made.rungs[1].others if each.name == "dropout"]
    assert sustained_cell(dropout) == "54.00 ± 62.23 (1 learned nothing)"
    effect = of_sustained(made, made.rungs[1].here, made.rungs[0].here, SETTINGS)
    assert effect.interval is not None
    assert effect.interval[1] <= 100 - made.rungs[0].here.mean


def test_what_it_was_trained_with_is_said_once() -> None:
    versions = ({"torch": "2", "commit": "a"}, {"torch": "2", "commit": "b"}, {"torch": "3"})
    records = [
        replace(
            run((), 0),
            attributes={"device": "CPU", "precision": "float32", "versions": each},
        )
        for each in (*versions, versions[0])
    ]
    assert made_with(records, ()) == (
        "Trained on CPU in float32 with torch 2, commit a and b; CPU in float32 with torch 3."
    )


def first_step(seeds: int) -> list[tuple[tuple[str, ...], int]]:
    """What a drill-down trains first: the plain one, and it with each ingredient."""
    sets: list[tuple[str, ...]] = [(), *((name,) for name in PARTS)]
    return [(names, seed) for names in sets for seed in range(seeds)]


def test_every_rung_is_a_write_up(whole: Ladder) -> None:
    text = report(whole)
    for place, rung in enumerate(whole.rungs):
        words = f"+ {rung.added.words}" if rung.added else "plainest ancestor"
        own = section(text, f"Rung {place + 1}: {words}\n")
        target, results, analysis = (
            own.index(f"**{name}.**") for name in ("Target", "Results", "Analysis")
        )
        assert target < results < analysis
        assert f"{rung.here.params:,} parameters" in own
        assert all(f"{each:.2f}" in own[results:analysis] for each in rung.here.sustained)
        assert all(each.words in own[results:analysis] for each, _ in rung.others)
        assert ("### Layers" in own) == (place in (0, len(whole.rungs) - 1))
        if place:
            effect = step(whole, place, SETTINGS)
            assert effect.comparisons == len(PARTS) - place + 1
            assert effect.cell in own
            said = "raised sustained accuracy" if effect.is_clear else "no measurable effect"
            assert said in own[analysis:]


def test_widths_that_change_along_are_said(whole: Ladder) -> None:
    text = report(whole)
    assert "other widths" in section(text, "Rung 5: + global average pooling")
    assert "other widths" not in section(text, "Rung 2")
    assert "other widths without global average pooling, to" in section(text, "What each")


def test_a_tie_is_decided_by_cost_and_says_so() -> None:
    ends = {("pooling",): [98.0, 98.1, 98.2], ("dropout",): [98.05, 98.15, 98.25]}
    records = [
        run(names, seed, ends.get(names, [97.0, 97.01, 97.02])[seed])
        for names, seed in first_step(3)
    ]
    own = section(report(ladder(records, 3)), "Rung 2: + global average pooling")
    assert "A tie, decided by cost: dropout had a higher mean (98.150 against 98.100%)" in own


def test_what_ingredients_are_worth(whole: Ladder) -> None:
    found = worths(whole, SETTINGS)
    assert [each.name for each, _, _ in found[:3]] == ["norm", "schedule", "augmentation"]
    assert {effect.comparisons for _, _, effect in found} == {5}
    assert [effect.is_clear for _, _, effect in found] == [True] * 3 + [False] * 2
    own = section(report(whole), "What each ingredient is worth")
    for each, without, effect in found:
        assert f"| {each.words} | {without.params:,} |" in own
        assert effect.cell in own
        assert (f"- Without {each.words} the whole sustains {without.mean:.2f}" in own) == (
            effect.is_clear
        )
    assert "No measurable effect in the whole configuration: " in own


def test_an_unfinished_ladder_says_what_is_missing() -> None:
    nothing = report(ladder([], 2))
    assert "No rung of the ladder is trained yet." in nothing
    assert "2 trainings of the next step are missing: the plainest ancestor (seed 0, 1)" in nothing
    begun = [run(names, seed) for names, seed in first_step(2)]
    text = report(ladder([*begun, run({"norm", "pooling"}, 0)], 2))
    assert "7 trainings" in text
    assert "+ global average pooling (seed 1)" in text
    assert "It follows when the ladder is trained" in text
    records = [each for each in every(1) if each.title != f"{name_of(ALL - {'norm'})}, seed 0"]
    assert "1 training of the next step is missing: without BatchNorm (seed 0)" in report(
        ladder(records, 1)
    )


def test_one_seed_tells_no_scatter() -> None:
    text = report(ladder(every(1), 1))
    assert "95%" not in text
    assert "±" not in text
    assert "measurable" not in text
    assert "the highest of single runs. Any of it may be chance." in text
    assert "One run tells no scatter" in section(text, "What each ingredient is worth")


def test_a_configuration_without_ingredients_has_one_rung() -> None:
    published = PUBLISHED["2.1"].configuration
    assert ingredients(published) == []
    plain = [run((), seed, configuration=published) for seed in range(2)]
    text = report(climb(published, 1_000_000, 2, plain))
    assert "The plainest ancestor sustains" in text
    assert "no ingredient that could be taken out" in text


@pytest.mark.parametrize(("ends", "gap"), [([9.8, 97.3], "+0.20"), ([9.8, 9.8], "")])
def test_runs_that_diverged_are_told_and_left_out(ends: list[float], gap: str) -> None:
    records = [run(names, seed, None if names else ends[seed]) for names, seed in first_step(2)]
    made = ladder(records, 2)
    text = report(made)
    broken = ends.count(9.8)
    own = section(text, "Rung 1")
    assert f"{broken} of 2 trainings diverged" in own
    assert "diverged in epoch 1" in own
    assert ("Training minus validation" in own) == bool(gap)
    assert f"| 1 | plainest ancestor | {gap} |" in text
    chart = ladder_chart(made, SETTINGS)
    assert chart.x.limits is not None
    assert chart.x.limits[0] > 90  # what learned nothing stands at the edge


def test_the_charts_show_every_seed_and_every_ingredient(whole: Ladder) -> None:
    chart = ladder_chart(whole, SETTINGS)
    (seeds,) = [each for each in chart.marks if isinstance(each, Points)]
    assert sorted(seeds.x) == sorted(v for rung in whole.rungs for v in rung.here.sustained)
    worth = worth_chart(whole, SETTINGS)
    (intervals,) = [each for each in worth.marks if isinstance(each, Intervals)]
    assert len(intervals.middle) == len(PARTS)
    assert worth.summary.endswith("3 of 5 ingredients.")
    assert not worth_chart(ladder([], 1), SETTINGS).marks


def test_the_charts_show_most_of_whatever_was_measured() -> None:
    ends = {(): 30.0, **{(name,): 60.0 + place for place, name in enumerate(PARTS)}}
    records = [run(names, seed, ends.get(names, 90.0)) for names in chosen() for seed in range(2)]
    made = ladder(records, 2)
    limits = ladder_chart(made, SETTINGS).x.limits
    assert limits is not None
    assert limits[0] < 30
    assert worth_chart(made, SETTINGS).subtitle == "To the right: the whole is better with it."
    failing = [
        run(names, seed, None if "norm" in names else 10.0)
        for names in chosen()
        for seed in range(2)
    ]
    assert "Cut off at 2 points" in worth_chart(ladder(failing, 2), SETTINGS).subtitle


def test_the_notebook_runs_from_top_to_bottom(whole: Ladder, tmp_path: Path) -> None:
    text = make_notebook("1.3", whole, SETTINGS)
    assert text == make_notebook("1.3", whole, SETTINGS)
    notebook = nbformat.reads(write_notebook(text, tmp_path).read_text(), as_version=4)
    nbformat.validate(notebook)
    cells = [each.source for each in notebook.cells if each.cell_type == "code"]
    last = """
import json
print(json.dumps([
    [rungs["sustained"].mean().tolist(), rungs["params"].first().tolist()],
    [len(curve) for curve in curves.values()],
    [each.to_json() for each in configurations.values()],
    mine.recipe.learning_rate / base.recipe.learning_rate,
]))
"""
    script = tmp_path / "notebook.py"
    script.write_text("\n\n".join([*cells, last]).replace("EPOCHS = 2\n", "EPOCHS = 1\n"))
    root = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**environment(tmp_path), "MPLBACKEND": "Agg", "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (means, params), epochs, made, factor = json.loads(done.stdout.splitlines()[-1])
    assert means == pytest.approx([each.here.mean for each in whole.rungs], abs=1e-3)
    assert params == [each.here.params for each in whole.rungs]
    assert epochs == [1, 1]
    assert made == [each.here.runs[0].configuration.to_json() for each in whole.rungs]
    assert factor == 0.5


def test_without_a_rung_there_is_no_notebook() -> None:
    with pytest.raises(NasSearchError, match="no rung of the ladder is trained yet"):
        make_notebook("1.3", ladder([], 1), SETTINGS)


def test_pooling_that_stays_is_said_and_why() -> None:
    (first, *_) = WHOLE.architecture.layers
    layers = (first.model_copy(update={"padding": 1}),)
    large = WHOLE.architecture.model_copy(update={"layers": layers})
    whole = WHOLE.model_copy(update={"architecture": large})
    said = "Global average pooling stays in every rung"
    for budget, stays in ((2_000, True), (9_000, False)):
        settings = SETTINGS.model_copy(update={"space": SearchSpace.for_budget(budget)})
        report = make_drilldown_report("it", climb(whole, budget, 1, []), settings, NOW)
        assert (said in report.markdown) == stays
