"""Charts: what they show, and that both ways to draw them show the same."""

import dataclasses
import html
import io
import itertools
import json
import re
import xml.etree.ElementTree as ET
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.collections import PathCollection
from optuna.trial import create_trial
from PIL import Image

from results.charts import network, still
from results.charts.chart import (
    Axis,
    Bars,
    Chart,
    Intervals,
    Line,
    Points,
    Rule,
)
from results.charts.curves import STOPPED, curves_chart, trial_chart
from results.charts.front import front_chart
from results.charts.importance import importance_chart
from results.charts.interactive import figure
from results.charts.limits import accuracy_limits, epoch_axis
from results.charts.network import network_png, network_svg
from results.charts.scale import scale
from results.charts.seeds import seeds_chart
from results.charts.thin import MOST, thinned
from results.charts.time import time_chart
from results.choices import choice_words
from results.front import pareto_front
from results.importance import predict_scores
from results.record import TIMING_KEY
from space import BASELINES, Architecture, baseline, footprint, layer_costs
from tests import studies
from tests.charts import SETTINGS, STUDY, trial
from tests.strategies import architectures
from tests.studies import complete_trials, confirmed

LINES = Chart(
    "lines",
    Axis("x", "log"),
    Axis("y", "accuracy", (95.0, 99.7)),
    (
        Points([500, 5_000, 9_000], [11.0, 99.0, 99.5], "points", shape="ring", names=list("abc")),
        Points([700], [98.0], "crosses", shape="cross"),
        Line([500, 9_000], [96.0, 99.0], "line", stepped=True),
        Line([500, 9_000], [97.0, 99.0], name="no entry in the legend"),
        Rule(99.4, "rule"),
        Rule(2_000, "other rule", axis="x"),
    ),
    "",
)
ROWS = Chart(
    "rows",
    Axis("x"),
    Axis(categories=("first", "second")),
    (
        Bars([3.0, 1.0], [0, 1], "bars", starts=[1.0, 0.0]),
        Intervals([-1, 0], [0, 1], [2, 3], [0, 1], "intervals"),
        Rule(0, "zero", axis="x"),
    ),
    "",
)
CHARTS = [
    LINES,
    ROWS,
    front_chart(STUDY, SETTINGS),
    curves_chart(STUDY, SETTINGS),
    trial_chart(STUDY[0], SETTINGS),
    trial_chart(STUDY[3], SETTINGS),
]


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.title)
def test_every_mark_arrives_in_both_kinds_of_picture(chart: Chart) -> None:
    drawn = json.loads(figure(chart).to_json())
    shapes, traces = drawn["layout"].get("shapes", []), drawn["data"]
    axes = still._figure(chart).axes[0]
    dots = iter([each for each in axes.collections if isinstance(each, PathCollection)])
    lines, bars = iter(axes.lines), iter(axes.containers)
    of_trace, of_shape = iter(traces), iter(shapes)
    for mark in chart.marks:
        if isinstance(mark, Rule):
            shape, line = next(of_shape), next(lines)
            assert line.get_data()[mark.axis == "y"][0] == pytest.approx(shape[f"{mark.axis}0"])
            continue
        trace = next(of_trace)
        if isinstance(mark, Bars):
            lengths = [bar.get_width() for bar in next(bars)]
            assert lengths == trace["x"] == list(mark.lengths)
        else:
            places = list(zip(trace["x"], trace["y"], strict=True))
            still_places = next(lines).get_xydata() if isinstance(mark, Line) else offsets(dots)
            assert len(places) == len(still_places)
            for place, other in zip(places, still_places, strict=True):
                assert place == pytest.approx(tuple(other), abs=1e-4)
    assert not [*dots, *lines, *bars, *of_trace, *of_shape]


def offsets(dots: Any) -> Any:
    return next(dots).get_offsets()


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.title)
def test_both_kinds_of_picture_have_the_same_legend_and_axes(chart: Chart) -> None:
    drawn = json.loads(figure(chart).to_json())
    axes = still._figure(chart).axes[0]
    named = [*drawn["data"], *drawn["layout"].get("shapes", [])]
    in_legend = {each["name"] for each in named if each["showlegend"]}
    assert in_legend == set(axes.get_legend_handles_labels()[1])
    assert in_legend == {mark.label for mark in chart.marks if mark.label}
    for side in ("x", "y"):
        assert drawn["layout"][f"{side}axis"]["range"] == pytest.approx(
            getattr(axes, f"get_{side}lim")()
        )
        if labels := drawn["layout"][f"{side}axis"].get("ticktext"):
            assert labels == [each.get_text() for each in getattr(axes, f"get_{side}ticklabels")()]


def test_points_outside_of_the_limits_stand_at_them_whole_and_the_tick_says_so() -> None:
    place = scale(LINES, "y")
    assert place.within(11.0) == place.position(95.0)
    assert place.low < place.position(95.0) - 0.04 * (place.high - place.low)
    assert place.ticks[0] == (place.position(95.0), "≤ 95")


def test_lines_that_are_cut_off_are_said_to_be() -> None:
    runs = confirmed(0, [99.0, 99.2])
    for run in runs:
        run.accuracies[0] = 20.0
    chart = seeds_chart(runs, studies.SETTINGS)
    assert chart.y.limits is not None
    assert scale(chart, "y").ticks[0][1] == f"≤ {chart.y.limits[0]:g}"
    assert not scale(trial_chart(STUDY[0], SETTINGS), "y").ticks[0][1].startswith("≤")


def test_a_curve_of_a_low_study_is_in_view() -> None:
    settings = SETTINGS.model_copy(update={"epochs": 2})
    poor = trial(0, 5_000, [80.2, 94.3])
    for chart in (curves_chart([poor], settings), trial_chart(poor, settings)):
        assert chart.y.limits is not None
        assert chart.y.limits[0] < 80.2
        assert [label for _, label in scale(chart, "x").ticks] == ["1", "2"]


@pytest.mark.parametrize("epochs", [1, 2, 6, 15, 100])
def test_epochs_are_labelled_by_whole_numbers(epochs: int) -> None:
    axis = epoch_axis(SETTINGS.model_copy(update={"epochs": epochs}))
    labels = [
        label for _, label in scale(Chart("", axis, Axis(), (Line([1], [1]),), ""), "x").ticks
    ]
    assert labels == [str(int(each)) for each in labels]
    assert min(epochs, 4) <= len(labels) <= 10


@given(st.lists(st.floats(90, 100), min_size=1, max_size=9), st.floats(90, 99.9))
def test_any_range_of_accuracies_has_ticks(accuracies: list[float], target: float) -> None:
    limits = accuracy_limits(accuracies, target, factor=30)
    points = Points([1.0] * len(accuracies), accuracies, "")
    chart = Chart("", Axis(), Axis(scale="accuracy", limits=limits), (points, Rule(target)), "")
    shown = scale(chart, "y")
    assert len(shown.ticks) >= 3
    room = 0.04 * (shown.high - shown.low)
    for value in accuracies:
        assert shown.low + room <= shown.within(value) <= shown.high - room


def test_a_subtitle_is_in_both_kinds_of_picture_and_the_stamp_in_the_dashboards() -> None:
    said = "Association, not cause: what <went> together. " * 3
    chart = dataclasses.replace(ROWS, subtitle=said)
    still_text = " ".join(each.get_text() for each in still._figure(chart).texts)
    assert " ".join(said.split()) in " ".join(still_text.split())
    title = json.loads(figure(chart, stamp="drawn now").to_json())["layout"]["title"]["text"]
    plain = re.sub(r"<br>|</?[a-z][^>]*>", " ", title)
    assert plain.split() == html.escape(f"rows {said} drawn now").split()


def test_a_log_axis_has_round_ticks() -> None:
    chart = Chart("", Axis(scale="log"), Axis(), (Points([900, 10_100], [0, 1], ""),), "")
    assert {"1,000", "2,000", "5,000", "10,000"} <= {label for _, label in scale(chart, "x").ticks}


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30), st.floats(50, 100))
def test_limits_show_the_best_and_the_target(accuracies: list[float], target: float) -> None:
    low, high = accuracy_limits(accuracies, target)
    assert 0 <= low < high <= 100
    chart = Chart("", Axis(), Axis(scale="accuracy", limits=(low, high)), (Rule(target),), "")
    shown = scale(chart, "y")
    for value in (max(accuracies), target):
        assert shown.low <= shown.position(value) <= shown.high


def test_outliers_do_not_press_the_others_together() -> None:
    low, _ = accuracy_limits([99.0 + 0.02 * each for each in range(20)] + [11.0], 99.4)
    assert 98 <= low <= 99


def test_front_is_made_of_complete_trials_that_no_smaller_one_matches() -> None:
    assert [each.number for each in pareto_front(STUDY)] == [1, 5, 0]
    assert pareto_front([]) == []
    same = [trial(3, 5_000, [99.0] * 6), trial(2, 5_000, [99.0] * 6), trial(4, 6_000, [99.0] * 6)]
    assert [each.number for each in pareto_front(same)] == [2]


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=12))
def test_front_dominates_the_rest(sizes: list[tuple[int, int]]) -> None:
    records = [
        trial(number, 1_000 * size, [90.0 + good] * 6) for number, (size, good) in enumerate(sizes)
    ]
    front = pareto_front(records)
    for each in records:
        assert any(f.params <= each.params and f.sustained >= each.sustained for f in front)
    for one, next_one in itertools.pairwise(front):
        assert one.params < next_one.params
        assert one.sustained < next_one.sustained


def test_front_chart_marks_the_answers_and_leaves_duplicates_out() -> None:
    chart = front_chart(STUDY, SETTINGS)
    by_label = {mark.label: mark for mark in chart.marks if isinstance(mark, Points)}
    assert list(by_label["most accurate"].x) == [9_000]
    assert list(by_label["smallest that holds the target"].x) == [8_000]
    assert len(by_label["trained to the end (5)"].x) == 5
    assert len(by_label["ended early, lowest so far (2)"].x) == 2
    (front,) = [mark for mark in chart.marks if isinstance(mark, Line)]
    assert list(front.x) == [4_000, 8_000, 9_000, 9_000]
    assert "8,000 parameters" in chart.summary


def test_crowds_are_thinned_and_lone_points_stay() -> None:
    crowd = [trial(n, 5_000 + n % 50, [99.0 + 1e-5 * n] * 6) for n in range(3 * MOST)]
    alone = trial(9_999, 700, [60.0] * 6)
    shown = thinned([*crowd, alone], Axis(scale="log"), Axis(scale="accuracy"))
    assert alone in shown
    assert len(shown) <= MOST
    assert thinned(STUDY, Axis(scale="log"), Axis(scale="accuracy")) == STUDY


def test_curves_show_the_best_and_no_more_stopped_than_can_be_seen() -> None:
    many = [trial(100 + n, 3_000, [90.0, 91.0], state="pruned") for n in range(95)]
    chart = curves_chart([*STUDY, *many], SETTINGS)
    named = [mark.name for mark in chart.marks if isinstance(mark, Line) and mark.name]
    assert [name.split(":")[0] for name in named] == ["trial 0", "trial 5", "trial 1"]
    crosses = [mark for mark in chart.marks if isinstance(mark, Points)]
    assert 20 <= len(crosses) <= STOPPED
    assert crosses[0].label == f"ended early ({len(crosses)} of 97 drawn)"


def test_the_sustained_window_of_a_trial_is_its_last_epochs() -> None:
    marks = {mark.label: mark for mark in trial_chart(STUDY[0], SETTINGS).marks}
    window = marks["sustained 99.45%: lowest of the last 2"]
    assert isinstance(window, Line)
    assert min(window.x) < 5 < 6 < max(window.x)
    assert set(window.y) == {99.45}


NOTHING = (front_chart([], SETTINGS), curves_chart([], SETTINGS))


@pytest.mark.parametrize("chart", NOTHING, ids=lambda chart: chart.title)
def test_a_chart_of_nothing_says_why(chart: Chart) -> None:
    assert chart.empty
    assert chart.empty.split()[0] in figure(chart).to_json()
    assert still.png(chart)[:4] == b"\x89PNG"
    assert still.svg(chart).startswith("<svg")


def made_study(values: list[float]) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    for place, value in enumerate(values):
        study.add_trial(
            create_trial(
                value=value,
                params={"good": value, "idle": (7 * place) % 13},
                distributions={
                    "good": optuna.distributions.FloatDistribution(0, 100),
                    "idle": optuna.distributions.IntDistribution(0, 12),
                },
                user_attrs={
                    **studies.stored(value),
                    "training_seconds": 30.0,
                    "sampling_seconds": 0.5,
                },
            )
        )
    return study


def residual_is_better(parameters: dict[str, Any]) -> float:
    return -0.3 if parameters["residual"] else 0.0


def test_importance_finds_what_predicts_the_score() -> None:
    few = importance_chart(complete_trials(39, 0), studies.SETTINGS)
    assert few.marks == ()
    assert "it takes 40, there are 39 so far" in few.empty
    chart = importance_chart(
        complete_trials(60, 0, residual_is_better, per_decade=0.0), studies.SETTINGS
    )
    assert chart.y.categories[0] == "residual connections"
    beyond, within, chance = chart.marks
    assert isinstance(beyond, Bars) and isinstance(within, Bars) and isinstance(chance, Rule)
    assert list(beyond.positions) == [0]
    assert max(within.lengths) <= chance.at < beyond.lengths[0]
    equal = [dataclasses.replace(each, value=5.0) for each in complete_trials(40, 0)]
    assert all(each.share == 0 for each in predict_scores(equal, studies.SETTINGS).found)


def test_where_nothing_matters_hardly_a_choice_is_beyond_chance() -> None:
    found = [
        predict_scores(complete_trials(50, seed, per_decade=0.0), studies.SETTINGS)
        for seed in range(20)
    ]
    assert sum(each.found[0].share > each.chance for each in found) <= 4


def test_what_had_no_effect_on_the_networks_predicts_nothing() -> None:
    def of_the_second_width(parameters: dict[str, Any]) -> float:
        return 0.5 if parameters["stage3_width2"] > 10 else 0.0

    shallow = [
        each
        for each in complete_trials(400, 0, of_the_second_width)
        if each.parameters["stage3_depth"] < 2
    ]
    names = [each.choice for each in predict_scores(shallow, studies.SETTINGS).found]
    assert names
    assert choice_words("stage3_width2") not in names
    assert choice_words("stage1_width1") in names


def test_time_is_that_of_the_runs_and_of_the_trials_since() -> None:
    study = made_study([1.0, 2.0])
    (bars,) = time_chart(study).marks
    assert isinstance(bars, Bars)
    assert sum(bars.lengths) == pytest.approx(61 / 60 if max(bars.lengths) < 10 else 61)
    later = "2100-01-01T00:00:00+00:00"
    totals = {"wall_seconds": 100.0, "seconds": {"training": 50.0, "waiting": 150.0}}
    study.set_user_attr(f"{TIMING_KEY}:{later}", totals)
    chart = time_chart(study)
    assert [each.split(":")[0] for each in chart.y.categories] == [
        "start, waiting, cut off",
        "training",
    ]
    empty = optuna.create_study()
    assert time_chart(empty).empty


@pytest.mark.parametrize("name", BASELINES)
def test_a_drawing_names_every_layer_and_its_parameters(name: str) -> None:
    architecture = baseline(name).architecture
    said = [each.get_text() for each in network._figure(architecture).axes[0].texts]
    for cost in layer_costs(architecture):
        if cost.params:
            assert f"{cost.params:,}" in said
    assert f"{footprint(architecture).params:,} parameters" in said
    residual = sum(getattr(layer, "residual", False) for layer in architecture.layers)
    assert said.count("+") == residual


@settings(max_examples=6, deadline=None)
@given(architectures())
def test_any_network_can_be_drawn(architecture: Architecture) -> None:
    picture = Image.open(io.BytesIO(network_png(architecture, dots_per_inch=40)))
    assert picture.height > picture.width * 0.2 * len(architecture.layers) / 5
    ET.fromstring(network_svg(architecture))


def test_the_same_chart_is_the_same_picture() -> None:
    assert still.svg(LINES) == still.svg(LINES)
    assert still.png(ROWS) == still.png(ROWS)
