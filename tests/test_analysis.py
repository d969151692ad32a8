"""Every sentence of the analysis is said where the data say it, and not where they don't."""

import math
import re
import statistics
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest
from scipy import stats

from results.intervals import (
    difference_interval,
    mean_interval,
    scatter_of,
    share_interval,
    standard_error,
    values_needed,
)
from results.record import TrialRecord
from results.report import advice, course, fit, mattered, seeds
from search.strategy import make_sampler
from space import BASELINES
from tests.studies import SETTINGS, complete_trials, confirmed, findings, trained

STEADY = [90.0] * 7 + [99.2] * 8
PLAIN = {
    **BASELINES["plain-wide"],
    **dict.fromkeys(("rotation_degrees", "shift_pixels", "scale", "shear_degrees"), 0.0),
}
"""Nothing distorted, no dropout."""

EMPTY = findings([])


def ending(*last: float) -> TrialRecord:
    return trained(0, [*[90.0] * (15 - len(last)), *last])


# Intervals


def test_intervals_are_those_of_the_textbooks() -> None:
    values = [99.3, 99.42, 99.38, 99.35]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values, 0.01) == pytest.approx((expected.low, expected.high))
    assert mean_interval(values[:1], 0.01) is None
    others = [99.1, 99.2, 99.05]
    welch = stats.ttest_ind(values, others, equal_var=False).confidence_interval(0.95)
    assert difference_interval(values, others, 0.01) == pytest.approx((welch.low, welch.high))
    assert difference_interval(values, others[:1], 0.01) is None
    assert share_interval(3, 3) == pytest.approx((0.4385, 1.0), abs=1e-4)
    assert standard_error(99.4, 10_000) == pytest.approx(0.0772, abs=1e-4)


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_an_interval_with_the_scatter_of_others_holds_as_often_as_it_says(share: float) -> None:
    """Of 20 groups of three some scatter eight times as much; the first two are compared."""
    generator = np.random.default_rng(0)
    held = narrower = 0
    for _ in range(300):
        sds = np.where(generator.random(20) < share, 0.4, 0.05)
        groups = [list(generator.normal(99, sd, 3)) for sd in sds]
        scatter = scatter_of(groups, 0.01)
        low, high = difference_interval(*groups[:2], 0.01, scatter=scatter) or (0, 0)
        alone = difference_interval(*groups[:2], 0.01) or (0, 0)
        held += low < 0 < high
        narrower += high - low < alone[1] - alone[0]
    assert 0.93 <= held / 300 <= 0.98
    assert narrower > 200


def test_what_scatters_far_more_than_others_is_judged_by_itself() -> None:
    alike = [[99.0, 99.1, 99.2], [98.9, 99.0, 99.1], [99.1, 99.2, 99.3], [98.8, 99.0, 99.1]]
    broken = [10.0, 10.0, 52.5]
    scatter = scatter_of([*alike, broken], 0.01)
    assert scatter is not None
    assert scatter.moderated(600.0, 2) == (600.0, 2)
    assert scatter_of(alike[:2], 0.01) is None
    one = difference_interval(broken, alike[0], 0.01, scatter=scatter)
    other = difference_interval(broken, alike[0], 0.01)
    assert one == pytest.approx(other, rel=0.01)


def test_equal_values_are_no_certainty() -> None:
    low, high = mean_interval([99.41, 99.41], 0.01) or (0, 0)
    assert (99.41 - low, high - 99.41) == pytest.approx(
        [12.706 * 0.01 / math.sqrt(2)] * 2, rel=1e-3
    )
    assert difference_interval([99.41] * 2, [99.41] * 2, 0.01) != (0, 0)
    assert values_needed([99.41, 99.41], 99.4, 0.01) == 7


def test_values_needed_is_the_first_number_whose_interval_leaves_out_the_border() -> None:
    values = [99.40, 99.44, 99.48]
    needed = values_needed(values, 99.4, 0.01)
    assert needed is not None
    assert needed > 3
    sd = statistics.stdev(values)
    reach = [stats.t.ppf(0.975, n - 1) * sd / math.sqrt(n) for n in (needed - 1, needed)]
    assert reach[0] >= 0.04 > reach[1]
    assert values_needed([99.0, 99.01, 99.02], 99.4, 0.01) == 3
    assert values_needed([99.3, 99.5], 99.4, 0.01) is None
    assert values_needed([99.3], 99.4, 0.01) is None


# Fit

NOT_AVERAGED = {**PLAIN, "ema_decay": 0.0}


@pytest.mark.parametrize(
    ("accuracy", "training", "parameters", "said"),
    [
        (99.2, 99.9, NOT_AVERAGED, "This is a generalisation gap."),
        (99.2, 99.9, BASELINES["1.3"], "generalisation gap; training images were counted"),
        (99.2, 99.9, {**PLAIN, "ema_decay": 0.99}, "gap, or the averaged weights lag behind;"),
        (99.2, 99.25, NOT_AVERAGED, "It underfits: it has fewer than 99.4% right even of"),
        (99.2, 99.3, {**PLAIN, "ema_decay": 0.99}, "counted before the weights were averaged"),
        (99.5, 99.3, NOT_AVERAGED, "It has no clear generalisation gap."),
        (99.35, 99.45, NOT_AVERAGED, "It has no clear generalisation gap."),
        (99.2, 98.0, BASELINES["1.3"], "counted randomly distorted, with dropout, so this tells"),
    ],
)
def test_fit(accuracy: float, training: float, parameters: dict[str, Any], said: str) -> None:
    record = trained(0, [accuracy] * 15, training=training, parameters=parameters)
    sentence = fit.fit(findings([record]))
    assert said in sentence
    assert "overfits" not in sentence
    assert ("It underfits" in sentence) == ("It underfits" in said)
    assert f"a gap of {training - accuracy:+.2f} points" in sentence


def test_there_is_one_gap() -> None:
    """That of the report is that of the leaderboard: of the last epoch."""
    record = trained(0, [*[99.0] * 14, 99.3], training=98.0)
    assert "a gap of -1.30 points" in fit.fit(findings([record]))
    assert record.attributes["gap"] == -1.3


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ((99.2, 99.25, 99.22, 99.3), "fell by at most 0.03 points, no more than two"),
        ((98.6, 99.3, 99.2, 99.3), "it is steady"),
        ((99.3, 98.6, 99.2, 99.3), "fell by at most 0.70 points, more than two"),
    ],
)
def test_steadiness_is_about_falls(last: tuple[float, ...], said: str) -> None:
    found = findings([ending(99.2, 99.2, 99.2, 99.2, *last)])
    assert said in fit.steadiness(found)
    assert fit.rising(found) == ""


def test_steadiness_needs_two_epochs() -> None:
    assert fit.steadiness(EMPTY) == ""
    settings = replace_settings(sustain=1, epochs=1)
    found = findings([trained(0, [99.0], settings=settings)], (), settings)
    assert fit.steadiness(found) == fit.rising(found) == ""


@pytest.mark.parametrize(
    "accuracies",
    [
        (90, 91, 92, 93, 94, 95, 96, 97),
        (97.2, 97.5, 97.8, 98.3),
        (80.2, 94.3),
        (94.0, 97.0, 96.9, 98.2),
    ],
)
def test_rising_is_said_of_a_trial_that_had_not_ended_learning(
    accuracies: tuple[float, ...],
) -> None:
    settings = replace_settings(epochs=len(accuracies))
    found = findings([trained(0, accuracies, settings=settings)], (), settings)
    assert "still rising over its last" in fit.rising(found)
    assert f"{accuracies[-2]:.2f} {accuracies[-1]:.2f}%" in fit.rising(found)
    assert "it is steady" not in fit.steadiness(found)
    assert f"--epochs {2 * len(accuracies)}" in advice.epochs(found)


@pytest.mark.parametrize(
    "accuracies",
    [
        (94.4, 95.1, 97.1, 97.2, 96.5, 97.4, 97.2, 97.2),
        (80, 81, 82, 96.0, 96.3, 96.1, 96.2),
        (97, 97, 97, 97, 98, 98, 98, 98),
        (98, 98, 98, 98.1, 98.1, 98, 98, 98.1),
        (97.0, 98.3, 98.2, 97.0, 97.2, 98.4),
    ],
)
def test_what_noise_explains_is_no_rise(accuracies: tuple[float, ...]) -> None:
    settings = replace_settings(epochs=len(accuracies))
    found = findings([trained(0, accuracies, settings=settings)], (), settings)
    assert fit.rising(found) == advice.epochs(found) == ""
    assert fit.still_rising(EMPTY) == []


def test_noise_is_seldom_called_a_rise() -> None:
    """Accuracies of 15 epochs that differ by nothing but chance, in 400 trials."""
    rng = np.random.default_rng(1)
    made = [trained(0, list(98 + rng.normal(0, 0.3, 15))) for _ in range(400)]
    assert np.mean([fit.rising(findings([each])) != "" for each in made]) < 0.05


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schedule": "cosine"}, "(cosine schedule)"),
        ({"schedule": "one_cycle"}, "(one-cycle schedule)"),
        ({"schedule": "step", "step_epochs": 13}, "(step schedule)"),
        ({"schedule": "step", "step_epochs": 5}, ""),
        ({"schedule": "constant"}, ""),
    ],
)
def test_a_falling_learning_rate_is_named_as_another_reason(
    changes: dict[str, Any], said: str
) -> None:
    parameters = {**BASELINES["1.3"], **changes}
    record = trained(0, [80.0] * 11 + [90, 92, 94, 96], parameters=parameters)
    sentence = fit.rising(findings([record]))
    assert said in sentence
    assert ("schedule" in sentence) == bool(said)


# Seeds


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([99.50, 99.52, 99.51], "on average over seeds it is above the target"),
        ([99.30, 99.31, 99.32], "on average over seeds it is below the target"),
        ([99.41, 99.41], "standard deviation of one image, 0.01, as the seeds differ by less"),
        ([99.38, 99.42, 99.43], "can't be told from 3 seeds"),
        ([99.5], "Evidence is thin: one seed tells no scatter"),
    ],
)
def test_what_the_seeds_say(values: list[float], said: str) -> None:
    record = trained(0, STEADY)
    found = findings([record], [confirmed(0, values)])
    sentence = seeds.holds(found, record)
    assert said in sentence
    holding = sum(value >= 99.4 for value in values)
    assert f"in {holding} of {len(values)} seed" in sentence
    assert f"{holding} of {len(values)} seed" in seeds.outcome(found, record)
    assert ("Wilson" in sentence) == ("can't be told" in sentence)


def test_without_seeds_nothing_is_said_of_them() -> None:
    found = findings([trained(0, STEADY)])
    assert seeds.holds(found, found.records[0]) == ""
    assert seeds.outcome(found, found.records[0]) == ""
    assert seeds.against_validation(found) == ""
    assert "nothing is confirmed yet" in advice.seeds(found)


def test_change_from_validation_to_test_is_that_of_the_mean() -> None:
    found = findings([trained(0, STEADY)], [confirmed(0, [99.0, 99.1, 99.2])])
    assert "-0.10 points (trial 0)" in seeds.against_validation(found)
    assert "lucky" not in seeds.against_validation(found)
    two = findings([trained(0, STEADY), trained(1, STEADY)], [confirmed(0, [99.0, 99.1])])
    assert "chosen from 2 complete trials tends to have been lucky" in seeds.against_validation(two)


def test_a_finalist_that_did_clearly_better_on_test_images_is_named() -> None:
    records = [trained(0, [99.3] * 15), trained(1, STEADY)]
    assert findings(records).best is records[0]
    clear = [confirmed(0, [99.00, 99.02, 99.04]), confirmed(1, [99.30, 99.31, 99.32])]
    (sentence,) = seeds.reversals(findings(records, clear))
    assert "trial 1 (5,760 parameters) did better than trial 0" in sentence
    assert "by 0.290 points on average" in sentence
    unclear = [confirmed(0, [99.00, 99.30, 99.04]), confirmed(1, [99.30, 99.31, 99.32])]
    assert seeds.reversals(findings(records, unclear)) == []
    as_chosen = [confirmed(1, [99.00, 99.02, 99.04]), confirmed(0, [99.30, 99.31, 99.32])]
    assert seeds.reversals(findings(records, as_chosen)) == []
    assert seeds.reversals(findings(records, clear[1:])) == []
    assert seeds.reversals(EMPTY) == []


def test_seeds_needed_are_named_only_where_they_would_tell() -> None:
    record = trained(0, STEADY)
    undecided = findings([record], [confirmed(0, [99.40, 99.44, 99.48])])
    assert (
        f"{values_needed([99.40, 99.44, 99.48], 99.4, 0.01)} for trial 0 (now 3)"
        in advice.seeds(undecided)
    )
    assert advice.seeds(findings([record], [confirmed(0, [99.0, 99.01, 99.02])])) == ""
    assert "one seed" in advice.seeds(findings([record], [confirmed(0, [99.0])]))


# Size and choices


def test_size_says_what_parameters_are_worth_only_where_it_is_clear() -> None:
    clear = mattered.size(findings(complete_trials(60, 1, per_decade=-1.0, noise=0.05)))
    assert re.search(r"twice the parameters went with \d+% fewer errors \(95%", clear)
    worth = mattered.doubling(findings(complete_trials(60, 1, per_decade=-1.0, noise=0.05)))
    assert worth is not None
    assert worth.low < 2**-1.0 < worth.high
    unclear = mattered.size(findings(complete_trials(60, 1, per_decade=0.0)))
    assert "no clear difference" in unclear
    few = mattered.size(findings(complete_trials(5, 1)))
    assert "can't be told from 5 complete trials" in few
    assert mattered.size(EMPTY) == ""
    for each in (near := complete_trials(60, 1)):
        each.attributes["params"] = 9_000 + each.number
    assert "can't be told from 60 complete trials" in mattered.size(findings(near))
    stopped = trained(60, [97.0] * 3, reason="pruned after epoch 3")
    incomplete = mattered.size(findings([*complete_trials(60, 1), stopped]))
    assert "Over 60 complete trials (those that were not trained to the end are missing)" in (
        incomplete
    )


def test_trials_on_one_line_leave_nothing_to_tell_how_sure_it_is() -> None:
    same = complete_trials(20, 1)
    for each in same:
        each.attributes["sustained"] = 99.0
    assert mattered.doubling(findings(same)) is None
    assert "nan" not in mattered.size(findings(same))


def test_one_network_is_not_compared_with_itself() -> None:
    one = mattered.size(findings([trained(0, STEADY)]))
    assert "The one network that was trained to its end has 5,760 parameters" in one
    assert course.progress(findings([trained(0, STEADY)])) == ""


def test_the_worth_of_parameters_covers_the_truth() -> None:
    worths = [mattered.doubling(findings(complete_trials(30, seed))) for seed in range(40)]
    inside = [each is not None and each.low < 2 ** (-0.5) < each.high for each in worths]
    assert np.mean(inside) >= 0.85


def test_choices_are_named_only_where_they_are_clear() -> None:
    strong = findings(
        complete_trials(
            100, 1, lambda each: -0.3 if each["residual"] else 0.0, per_decade=-0.5, noise=0.05
        )
    )
    first, *_, caveat = mattered.choices(strong)
    assert first.startswith("**residual connections: yes** went with ")
    assert "fewer errors than no" in first
    low, high = (
        float(each) for each in first.partition("errors than no (")[2].split("%;")[0].split(" to ")
    )
    assert low < 100 * (1 - 10**-0.3) < high
    assert "not a proof" in caveat
    nothing = mattered.choices(findings(complete_trials(40, 1)))
    assert "evidence is thin for all" in nothing[0]
    assert not any("went with" in each for each in nothing)
    assert (
        "evidence is thin with 3 complete trials"
        in mattered.choices(findings(complete_trials(3, 1)))[0]
    )
    assert mattered.choices(EMPTY) == []


# The course of the search


def test_pruning_counts_the_epochs_that_were_not_trained() -> None:
    stopped = [trained(n, [97.0] * 3, reason="pruned after epoch 3") for n in (1, 2)]
    diverged = trained(3, [10.0], reason="diverged in epoch 1")
    found = findings([trained(0, STEADY), *stopped, diverged])
    sentence = course.pruning(found)
    assert "2 trials were stopped early, of 4 trained" in sentence
    assert "24 of 60 epochs (40%), about 24 seconds" in sentence
    assert "What it cost is unknown" in sentence
    assert "1 trial was ended because the training diverged" in course.unused_draws(found)
    assert course.pruning(findings([trained(0, STEADY), diverged])) == ""
    assert course.pruning(EMPTY) == course.unused_draws(EMPTY) == ""


def test_draws_that_trained_nothing_are_counted() -> None:
    record = trained(0, STEADY)
    states = ("infeasible", "infeasible", "failed", "duplicate", "waiting", "cut off")
    others = [replace(record, number=n, state=state) for n, state in enumerate(states, 1)]
    sentence = course.unused_draws(findings([record, *others]))
    assert "2 of 5 draws (40%) were over the parameter budget" in sentence
    assert "1 trial failed" in sentence
    assert "1 draw repeated" in sentence
    assert course.unused_draws(findings([record])) == ""


def test_progress_says_when_the_best_came() -> None:
    better = [trained(n, [98 + 0.1 * n] * 15) for n in range(3)]
    worse = [trained(n, [97.0] * 15) for n in range(3, 30)]
    early = findings([*better, *worse])
    assert course.improvements(early) == [1, 2, 3]
    assert "number 3 of 30 trained trials; the 27 after it" in course.progress(early)
    assert advice.trials(early) == ""
    ties = [trained(0, STEADY, parameters=BASELINES["plain-wide"]), trained(1, STEADY), *worse]
    equal = findings([replace(each, number=n) for n, each in enumerate(ties)])
    assert equal.best is equal.records[1]
    assert "number 2 of 29 trained trials" in course.progress(equal)
    late = findings([*worse, *better])
    assert "still getting better" in advice.trials(late)
    assert "2 complete trials are thin evidence" in advice.trials(findings(better[:2]))
    assert course.progress(EMPTY) == ""


# What to change


def replace_settings(**changes: Any) -> Any:
    return SETTINGS.model_copy(update=changes)


def test_a_tighter_goal_only_if_the_present_one_is_reached() -> None:
    short = findings([trained(0, [99.3] * 15)])
    assert advice.goal(short) == advice.goal(EMPTY) == ""
    holding = [trained(0, [99.5] * 15)]
    assert "--objective smallest" in advice.goal(findings(holding))
    assert "--max-params 5760" in advice.goal(findings(holding))
    smallest = replace_settings(objective="smallest")
    assert "--objective" not in advice.goal(findings(holding, (), smallest))


@pytest.mark.parametrize(
    ("accuracy", "said"),
    [
        (92.0, "7.40 points short of 99.4%, and trained on 3,000 images where MNIST has 50,000"),
        (99.3, "at the 1,000 validation images of the sample is 0.24 points, so they can't tell"),
        (99.6, "can't tell whether 99.60% is above or below"),
    ],
)
def test_on_the_sample_all_images_are_the_first_thing_to_try(accuracy: float, said: str) -> None:
    sample = replace_settings(dataset="mnist-sample")
    found = findings([trained(0, [accuracy] * 15, settings=sample)], (), sample)
    assert "--dataset mnist" in advice.advice(found)[0]
    assert said in advice.advice(found)[0]
    assert advice.target(found) == ""
    assert advice.images(findings([trained(0, [accuracy] * 15)])) == ""
    reached = findings(found.records, (), sample.model_copy(update={"target": 50.0}))
    assert advice.images(reached) == ""


def test_a_target_within_reach_only_if_many_trials_stay_clearly_below() -> None:
    below = [trained(n, [98.29] * 15) for n in range(10)]
    assert "--target 98.2" in advice.target(findings(below))
    assert "1.11 points short of 99.4%" in advice.target(findings(below))
    assert advice.target(findings(below[:9])) == ""
    assert advice.target(findings([*below, trained(10, [99.3] * 15)])) == ""


def test_a_wider_budget_only_if_size_pays_and_the_budget_is_spent() -> None:
    paying = complete_trials(60, 1, per_decade=-1.0, noise=0.02)
    best = max(paying, key=lambda each: each.sustained)
    assert best.params >= advice.NEAR_BUDGET * SETTINGS.max_params  # as size pays
    target = replace_settings(target=99.99)
    sentence = advice.budget(findings(paying, (), target))
    assert "--max-params 20000" in sentence
    assert f"{99.99 - best.sustained:.2f} points short" in sentence
    assert advice.budget(findings(paying, (), replace_settings(target=50.0))) == ""
    assert advice.budget(findings(complete_trials(60, 1, per_decade=0.0), (), target)) == ""


def test_poor_levels_are_to_be_left_out() -> None:
    poor = complete_trials(100, 2, lambda each: 0.4 * (each["ema_decay"] == 0), noise=0.05)
    (sentence,) = advice.levels(findings(poor))
    assert "weight averaging: off" in sentence
    worse = complete_trials(100, 2, lambda each: -0.4 * each["residual"], noise=0.05)
    (sentence,) = advice.levels(findings(worse))
    assert "residual connections: no" in sentence
    assert list(advice.levels(findings(complete_trials(100, 2)))) == []


def test_a_range_is_to_be_widened_where_the_leading_crowd_at_its_end() -> None:
    crowded = complete_trials(200, 3, noise=0.02)
    for record in crowded[:40]:
        record.parameters["rotation_degrees"] = 14.9
        record.attributes["sustained"] = 99.9
    crowded = [replace(each, value=each.attributes["sustained"]) for each in crowded]
    said = list(advice.edges(findings(crowded)))
    assert len(said) == 1
    assert "images turned by, degrees: 40 of 40 leading trials lie at its high end, 15" in said[0]
    assert re.search(r"against \d+ of 160 others", said[0])
    # One study in twenty may say so by chance: that is what the level means.
    by_chance = [list(advice.edges(findings(complete_trials(200, seed)))) for seed in range(10)]
    assert sum(map(len, by_chance)) <= 1
    assert list(advice.edges(findings(crowded[:20]))) == []


def test_ends_where_the_sampler_draws_by_itself_are_no_reason_to_widen_a_range() -> None:
    """TPE, which crowds at ends, with accuracies that are noise alone."""
    said = [sentence for seed in range(4) for sentence in advice.edges(findings(proposed(seed)))]
    assert len(said) <= 1


def proposed(seed: int, number: int = 150) -> list[TrialRecord]:
    """Complete trials as the sampler draws them where nothing matters."""
    rng = np.random.default_rng(seed)
    study = optuna.create_study(direction="maximize", sampler=make_sampler("tpe", seed, SETTINGS))
    (like,) = complete_trials(1, seed)
    made = []
    for place, noise in enumerate(rng.normal(0, 0.1, number)):
        trial = study.ask()
        parameters = SETTINGS.space.draw(trial)
        study.tell(trial, 99 + noise)
        made.append(replace(like, number=place, parameters=parameters, value=99 + noise))
    return made


def test_nothing_is_advised_before_a_trial_is_complete() -> None:
    assert advice.advice(EMPTY) == []
    assert fit.fit(EMPTY) == ""
