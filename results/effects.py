"""What each choice goes with, in errors made, among networks of equal size.

The response is log10 of the error (100 - sustained validation accuracy, percent) of complete
trials. For every level of every choice a least-squares regression among the trials on which the
choice had an effect,

    log10(error) = a + b * log10(parameters) + c * [trial has the level]

gives the difference c between trials with the level and those with another, at equal size. Its
interval is two-sided at `CONFIDENCE` for all comparisons at once (Bonferroni; Student's t). The
standard error of c is the larger of that of equal scatter and the one that allows every trial its
own (HC3; MacKinnon and White, "Some heteroskedasticity-consistent covariance matrix estimators with
improved finite sample properties", 1985), as poor levels scatter more than good ones.

What this is not: trials that were stopped early are missing, and a sampler that learns does not
draw independently, so levels that it tried together are mixed up. It shows what goes together with
fewer errors, not what causes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from results.choices import choices_table
from results.intervals import CONFIDENCE
from results.record import TrialRecord
from results.selection import complete
from results.settings import StudySettings
from results.splits import SPLITS

if TYPE_CHECKING:
    import numpy as np

FEWEST_TRIALS = 5
"""On each side of a comparison."""

LARGEST_POWER = 4.0
"""Of ten: where intervals of ratios end. One that reaches further says nothing."""

LEAST_OWN = 0.01
"""The share of a level's variance that the size must leave unexplained to tell the two apart."""

CAVEAT = (
    "Complete trials alone: those that were stopped early are missing. The search does not draw "
    "independently, and levels that were tried together can't be told apart. So this is what goes "
    "together with fewer errors, not a proof of what causes them."
)


@dataclass(frozen=True)
class Effect:
    """A level against the others of its choice. Ratios of errors: 0.8 is a fifth fewer errors."""

    choice: str
    level: str
    others: str
    """The other level where there are two, else "another"."""
    with_level: int
    without: int
    ratio: float
    low: float
    high: float
    evidence: float
    """The difference in standard errors."""

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes that the level makes no difference."""
        return self.low > 1 or self.high < 1

    @property
    def changes(self) -> tuple[float, float, float]:
        """Low end, estimate and high end as changes of the number of errors, in percent."""
        return 100 * (self.low - 1), 100 * (self.ratio - 1), 100 * (self.high - 1)


@dataclass(frozen=True)
class Effects:
    """All comparisons that could be made, the clearest first.

    `typical_error` is the median error of the `trials` complete trials, in percent of the images.
    """

    trials: int
    typical_error: float
    effects: tuple[Effect, ...]

    def points(self, ratio: float) -> float:
        """What a ratio of errors is in percentage points of accuracy, at the typical error."""
        return self.typical_error * (1 - ratio)


def estimate_effects(records: Sequence[TrialRecord], settings: StudySettings) -> Effects:
    """What each level goes with; nothing that fewer than `FEWEST_TRIALS` trials would speak for."""
    import numpy as np

    found = complete(list(records))
    if not found:
        return Effects(0, float("nan"), ())
    errors = np.array([100 - each.sustained for each in found])
    # A network without an error is taken to make half a one.
    response = np.log10(np.maximum(errors, 50 / SPLITS[settings.dataset].validation))
    sizes = np.log10([each.params for each in found])
    comparisons = []
    for choice, levels in choices_table(found, settings.space).items():
        chosen = levels.to_numpy()
        made = levels.notna().to_numpy()
        names = sorted(set(chosen[made]))
        # Of two levels one says it all.
        for name in names[:1] if len(names) == 2 else names:
            has = chosen[made] == name
            if min(has.sum(), (~has).sum()) >= FEWEST_TRIALS:
                others = names[1] if len(names) == 2 else "another"
                comparisons.append(
                    (str(choice), name, others, has, _difference(response[made], sizes[made], has))
                )
    effects = [
        _effect(choice, level, others, has, *difference, comparisons=len(comparisons))
        for choice, level, others, has, difference in comparisons
    ]
    return Effects(
        trials=len(found),
        typical_error=float(np.median(errors)),
        effects=tuple(sorted(effects, key=lambda each: -each.evidence)),
    )


def _difference(
    response: "np.ndarray", sizes: "np.ndarray", has: "np.ndarray"
) -> tuple[float, float, int]:
    """The difference at equal size, its standard error, and the degrees of freedom of that."""
    import numpy as np

    # The column of interest cleared of what the others explain (Frisch and Waugh, 1933).
    others = np.column_stack([np.ones(len(sizes)), sizes - sizes.mean()])
    basis, _ = np.linalg.qr(others[:, : 1 + (np.ptp(sizes) > 0)])
    own = has - basis @ (basis.T @ has)
    rest = response - basis @ (basis.T @ response)
    weight = own @ own
    freedom = len(response) - basis.shape[1] - 1
    if freedom < 1 or weight < LEAST_OWN * len(has) * has.var():  # the size tells who has the level
        return 0.0, float("inf"), 1
    difference = (own @ rest) / weight
    residuals = rest - difference * own
    leverage = (basis**2).sum(axis=1) + own**2 / weight
    equal = (residuals @ residuals) / freedom / weight
    unequal = ((own * residuals / np.maximum(1 - leverage, 1e-9)) ** 2).sum() / weight**2
    return float(difference), float(np.sqrt(max(equal, unequal, 1e-18))), freedom


def _effect(
    choice: str,
    level: str,
    others: str,
    has: "np.ndarray",
    difference: float,
    error: float,
    freedom: int,
    *,
    comparisons: int,
) -> Effect:
    from scipy.stats import t

    reach = float(t.ppf(1 - (1 - CONFIDENCE) / 2 / comparisons, freedom)) * error
    if others != "another" and difference > 0:  # of two levels the better one is named
        level, others, has, difference = others, level, ~has, -difference
    return Effect(
        choice=choice,
        level=level,
        others=others,
        with_level=int(has.sum()),
        without=int((~has).sum()),
        ratio=10**difference,
        low=10 ** (difference - reach),
        high=10 ** min(difference + reach, LARGEST_POWER),
        evidence=abs(difference) / error,
    )
