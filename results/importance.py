"""How far each choice predicts the score of a trial, and how far chance alone would seem to.

The score is the rank of a trial's value among the complete trials, so that a few failed trainings
do not decide it. Of each choice it is epsilon squared (Kelley, "An unbiased correlation ratio
measure", 1935): the share of the ranks' variance between the levels of the choice, less what is
expected by chance; among the trials on which the choice had an effect. Choices that go together
predict the same thing, so the shares do not add up to 1.

The largest of some dozen shares is well above 0 where nothing predicts anything. So the scores are
dealt out anew `SHUFFLES` times, and the largest share of each is noted: one in twenty of them is
above `chance`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from results.choices import choices_table
from results.record import TrialRecord
from results.selection import complete
from results.settings import StudySettings

if TYPE_CHECKING:
    import numpy as np

FEWEST_ACTIVE = 0.4
"""Share of the complete trials on which a choice had an effect. With fewer, what chance gives to
the rarest choices hides what the others say."""

SHUFFLES = 300
CHANCE = 0.05


@dataclass(frozen=True)
class Prediction:
    """`share` of the variance of the scores, 0 to 1; among `trials` trials."""

    choice: str
    share: float
    trials: int


@dataclass(frozen=True)
class Predictions:
    """`found` has the largest share first; `chance` is what they are to be held against."""

    found: tuple[Prediction, ...]
    chance: float


def predict_scores(records: Sequence[TrialRecord], settings: StudySettings) -> Predictions:
    """What each choice says of a trial's score; without those that too few trials speak for."""
    import numpy as np
    from scipy.stats import rankdata

    trials = complete(list(records))
    names: list[str] = []
    levels: list[np.ndarray] = []
    choices: list[int] = []
    for choice, column in choices_table(trials, settings.space).items():
        own = [(column == level).to_numpy() for level in column.dropna().unique()]
        if len(own) > 1 and np.sum(own) >= FEWEST_ACTIVE * len(trials):
            choices += [len(names)] * len(own)
            levels += own
            names.append(str(choice))
    if not names:
        return Predictions((), 0.0)
    of_choice = np.equal.outer(np.array(choices), np.arange(len(names))).astype(float)
    has = np.array(levels, dtype=float).T
    scores = rankdata([each.value for each in trials])
    chance = np.random.default_rng(0)
    shuffled = np.array([chance.permutation(scores) for _ in range(SHUFFLES)])
    (shares,) = _shares(scores[None], has, of_choice)
    largest = _shares(shuffled, has, of_choice).max(axis=1)
    counts = (has @ of_choice).sum(axis=0)
    found = [
        Prediction(name, float(share), int(count))
        for name, share, count in zip(names, shares, counts, strict=True)
    ]
    return Predictions(
        tuple(sorted(found, key=lambda each: -each.share)), float(np.quantile(largest, 1 - CHANCE))
    )


def _shares(scores: "np.ndarray", has: "np.ndarray", of_choice: "np.ndarray") -> "np.ndarray":
    """The shares (deals, choices), not below 0.

    `scores` (deals, trials), `has` (trials, levels) and `of_choice` (levels, choices) of 0 and 1.
    """
    import numpy as np

    active = has @ of_choice
    trials, levels = active.sum(axis=0), of_choice.sum(axis=0)
    between = ((scores @ has) ** 2 / has.sum(axis=0)) @ of_choice
    mean = (scores @ active) ** 2 / trials
    whole = np.maximum(scores**2 @ active - mean, 1e-9)
    # A level for every trial would explain all of them, and nothing.
    freedom = np.maximum(trials - levels, 1)
    within = (whole - (between - mean)) / freedom
    shares = np.asarray(1 - within * (trials - 1) / whole)
    return np.where(whole > 1e-6, np.maximum(shares, 0), 0)
