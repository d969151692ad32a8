"""Which sampler proposes configurations and which pruner stops poor trials."""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna

SAMPLERS = ("tpe", "random", "gp", "qmc")
PRUNERS = ("halving", "hyperband", "median", "percentile", "none")

STARTUP_DRAWS = 24
"""Random draws, infeasible ones included, before a model-based sampler starts to model."""

FIRST_PRUNED_EPOCH = 3
"""The first two epochs say little about the last ones."""


def make_sampler(name: str, seed: int) -> "optuna.samplers.BaseSampler":
    """A sampler whose draws depend on the seed and the study's trials alone."""
    from optuna import samplers
    from optuna.exceptions import ExperimentalWarning

    makers: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
        "tpe": lambda: samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_DRAWS),
        "random": lambda: samplers.RandomSampler(seed=seed),
        "gp": lambda: samplers.GPSampler(
            seed=seed, n_startup_trials=STARTUP_DRAWS, deterministic_objective=False
        ),
        "qmc": lambda: samplers.QMCSampler(
            seed=seed, scramble=True, warn_independent_sampling=False
        ),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return makers[name]()


def make_pruner(name: str, epochs: int) -> "optuna.pruners.BasePruner":
    """A pruner over the epochs 1 to `epochs`.

    "halving": after epochs 3, 6 and 12 a trial goes on if it is in the better half of all that came
    as far (asynchronous successive halving, Li et al., "A System for Massively Parallel
    Hyperparameter Tuning", MLSys 2020). "hyperband": several such ladders that start at different
    epochs. "median": stops a trial whose best epoch so far is below the median of what the complete
    trials had at the same epoch. "percentile": the same with the lower quarter.
    """
    from optuna import pruners

    first = min(FIRST_PRUNED_EPOCH, epochs)
    makers: dict[str, Callable[[], optuna.pruners.BasePruner]] = {
        "median": lambda: pruners.MedianPruner(n_startup_trials=6, n_warmup_steps=first),
        "percentile": lambda: pruners.PercentilePruner(
            25.0, n_startup_trials=6, n_warmup_steps=first
        ),
        "halving": lambda: pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=2),
        "hyperband": lambda: pruners.HyperbandPruner(
            min_resource=first, max_resource=epochs, reduction_factor=2
        ),
        "none": pruners.NopPruner,
    }
    return makers[name]()
