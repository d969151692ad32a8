"""The leaderboard: the answer on top, validation and test figures apart."""

import itertools
from dataclasses import replace

from markdown_it import MarkdownIt

from results.leaderboard import leaderboard
from results.record import Confirmation
from results.selection import summary
from tests.charts import SETTINGS, STUDY, trial


def run(trial: int, seed: int, sustained: float) -> Confirmation:
    return Confirmation(
        trial=trial,
        seed=seed,
        accuracies=[sustained] * 6,
        sustained=sustained,
        train_accuracy=99.9,
        seconds=10.0,
        weights="",
        device="CPU",
        precision="float32",
        versions={},
    )


def _columns(text: str) -> list[list[str]]:
    """The heads of each table."""
    lines = text.splitlines()
    heads = [above for above, line in itertools.pairwise(lines) if line.startswith("| -")]
    return [[cell.strip() for cell in head.strip("|").split("|")] for head in heads]


def test_what_is_confirmed_is_said_first() -> None:
    runs = {5: [run(5, 0, 99.45), run(5, 1, 99.41)], 0: [run(0, 0, 99.5), run(0, 1, 99.3)]}
    text = leaderboard(STUDY, runs, SETTINGS)
    assert "Target: 99.4%" in text.splitlines()[0]
    assert (
        "Confirmed: trial 5 with 8,000 parameters holds 99.4% on test images, from each of 2"
        in text
    )
    best, finalists = _columns(text)
    assert best == ["trial", "parameters", "sustained %", "best epoch %", "gap", "holds"]
    assert finalists[2:] == ["sustained %, mean ± sd", "worst seed %", "seeds that hold"]
    assert "| 5 | 8,000 | 99.430 ± 0.028 | 99.41 | 2 of 2 |" in text
    assert "| 0 | 9,000 | 99.400 ± 0.141 | 99.30 | 1 of 2 |" in text
    assert "60,000" in text and "50,000" in text
    assert "from each of 2 seeds; of 2 finalists it is the smallest that does." in text
    assert "nothing is chosen" not in text
    assert text.index("| 5 | 8,000 | 99.430") < text.index("| 0 | 9,000 | 99.400")
    assert "seeds." in leaderboard(STUDY, {5: runs[5]}, SETTINGS).splitlines()[2]
    rendered = MarkdownIt().enable("table").render(text)
    assert rendered.count("<table>") == 2


def test_validation_alone_is_not_called_confirmed() -> None:
    text = leaderboard(STUDY, {}, SETTINGS)
    assert "Trial 5 with 8,000 parameters is the smallest that holds 99.4% on validation" in text
    assert "not confirmed yet" in text
    assert len(_columns(text)) == 1
    failed = leaderboard(STUDY, {5: [run(5, 0, 99.2)]}, SETTINGS)
    assert "no finalist held it from every seed" in failed
    assert "Confirmed" not in failed
    one = leaderboard(STUDY, {5: [run(5, 0, 99.5)]}, SETTINGS)
    assert "one seed held it on test images, which is too few to confirm it" in one
    assert "Confirmed" not in one


def test_how_far_it_is_where_nothing_holds() -> None:
    text = leaderboard(STUDY[1:3], {}, SETTINGS)
    assert "No trial holds 99.4% so far; the best sustains 99.00% on validation images" in text
    nothing = leaderboard([], {}, SETTINGS)
    assert "No trial has been trained to its end yet." in nothing
    assert _columns(nothing) == []


def test_the_smallest_that_holds_is_in_the_table_though_others_are_better() -> None:
    many = [trial(n, 9_000, [99.6] * 6) for n in range(20)] + [trial(20, 1_000, [99.4] * 6)]
    text = leaderboard(many, {}, SETTINGS)
    assert "| 20 | 1,000 | 99.40 |" in text
    assert text.count("| yes |") == 10
    best = next(line for line in text.splitlines() if line.startswith("| 0 |"))
    assert best.endswith("| yes |")


def test_a_study_of_the_smallest_is_ranked_by_its_own_score() -> None:
    settings = SETTINGS.model_copy(update={"objective": "smallest"})
    small, large = replace(STUDY[5], value=99.6), replace(STUDY[0], value=99.5)
    text = leaderboard([large, small], {}, settings)
    assert text.index("| 5 | 8,000") < text.index("| 0 | 9,000")


def test_a_trial_that_diverged_is_not_counted_as_stopped() -> None:
    diverged = trial(8, 3_000, [10.0], state="pruned", reason="diverged in epoch 1")
    text = leaderboard([*STUDY, diverged], {}, SETTINGS)
    assert "5 trials trained to the end, 2 stopped early, 1 diverged." in text
    trials = summary("study", SETTINGS, [*STUDY, diverged], {})["trials"]
    assert (trials["complete"], trials["pruned"], trials["diverged"]) == (5, 2, 1)
