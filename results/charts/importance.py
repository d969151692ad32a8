"""Which parameters of the search the result depended on most."""

import warnings
from typing import TYPE_CHECKING

from results.charts.chart import Axis, Bars, Chart
from results.record import records
from results.selection import complete

if TYPE_CHECKING:
    import optuna

FEWEST = 4
"""Complete trials; with fewer there is no better part of them to compare with the rest."""

FEWEST_BEST = 5
"""Trials among the best that Optuna's documentation advises, if there are twice as many."""

ROUGH_BELOW = 100
"""With fewer complete trials the order of the parameters is not to be relied on."""

SHOWN = 12


def importance_chart(study: "optuna.Study") -> Chart:
    """Shares of the parameters in what tells the best complete trials from all of them.

    PED-ANOVA (Watanabe, Bansal and Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter
    Importance in Arbitrary Subspaces", IJCAI 2023), which needs milliseconds where functional
    ANOVA on forests needs minutes.
    """
    title = "Which choices decided the score"
    share = Axis("share in telling the best from all, %")
    count = len(complete(records(study)))
    if count < FEWEST:
        return Chart(
            title,
            share,
            Axis(),
            (),
            title,
            empty=f"It takes {FEWEST} trials trained to the end to compare; there "
            f"{'is' if count == 1 else 'are'} {count} so far.",
        )
    best = max(0.1, min(0.5, FEWEST_BEST / count))
    importances = _importances(study, best)
    shown = list(importances.items())[:SHOWN]
    rough = ": a rough guess" if count < ROUGH_BELOW else ""
    return Chart(
        title,
        Axis(f"share in telling the best {100 * best:.0f}% from all, %"),
        Axis(categories=tuple(name.replace("_", " ") for name, _ in shown)),
        (
            Bars(
                [100 * value for _, value in shown],
                list(range(len(shown))),
                f"{count:,} trials trained to the end{rough}",
                names=[f"{name.replace('_', ' ')}: {100 * value:.1f}%" for name, value in shown],
            ),
        ),
        f"Of {count:,} trials trained to the end, what tells the best {100 * best:.0f}% from all: "
        f"{', '.join(name.replace('_', ' ') for name, _ in shown[:3])} most.",
    )


def _importances(study: "optuna.Study", best: float) -> dict[str, float]:
    """By parameter, largest first; their sum is 1, or 0 where nothing differs."""
    from optuna.exceptions import ExperimentalWarning
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.simplefilter("ignore", UserWarning)  # where all trials are equally good
        evaluator = PedAnovaImportanceEvaluator(target_quantile=best)
        return get_param_importances(study, evaluator=evaluator)
