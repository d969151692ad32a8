"""Which sampler proposes configurations and which pruner stops poor trials."""

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from results.settings import StudySettings

if TYPE_CHECKING:
    import optuna

SAMPLERS = ("forest", "tpe", "random", "gp")
PRUNERS = ("halving", "hyperband", "median", "percentile", "none")

STARTUP_DRAWS = 24
"""Trials before "tpe" (infeasible ones count) and "gp" (complete ones alone) start to model."""

HALVING = {2 / 15: 0.5, 4 / 15: 0.5, 6 / 15: 0.5}
"""The part of a training after which a part of the trials goes on; see benchmarks/README.md."""

FIRST_PRUNED_EPOCH = 3
"""Of Optuna's pruners: the first two epochs say little about the last ones."""


def make_sampler(name: str, seed: int, settings: StudySettings) -> "optuna.samplers.BaseSampler":
    """A sampler whose draws depend on the seed, the trial's number and the trials before it alone.

    Each trial is drawn by a fresh sampler seeded with its number. So a resumed search draws what an
    unbroken one would, and workers on any number of machines never draw the same by accident.
    """
    from optuna import samplers
    from optuna.exceptions import ExperimentalWarning

    from search.forest import Experience, ForestSampler
    from search.plan import derived_seed
    from search.tpe import History, TreeParzenSampler

    history, experience = History(), Experience(settings)
    makers: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
        "tpe": lambda seed: TreeParzenSampler(seed, STARTUP_DRAWS, history),
        "forest": lambda seed: ForestSampler(seed, experience),
        "random": lambda seed: samplers.RandomSampler(seed=seed),
        "gp": lambda seed: samplers.GPSampler(seed=seed, n_startup_trials=STARTUP_DRAWS),
    }
    make = makers[name]

    class ByNumber(samplers.BaseSampler):
        """Hands every call on to the sampler of the trial it is about."""

        def __init__(self) -> None:
            self._open: dict[int, optuna.samplers.BaseSampler] = {}

        def before_trial(self, study: "optuna.Study", trial: "optuna.trial.FrozenTrial") -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                self._open[trial.number] = make(derived_seed(seed, trial.number))
            self._open[trial.number].before_trial(study, trial)

        def infer_relative_search_space(
            self, study: "optuna.Study", trial: "optuna.trial.FrozenTrial"
        ) -> "dict[str, optuna.distributions.BaseDistribution]":
            fixed = trial.system_attrs.get("fixed_params", {})
            if settings.space.dimensions.keys() <= fixed.keys():  # nothing is to be proposed
                return {}
            return self._open[trial.number].infer_relative_search_space(study, trial)

        def sample_relative(
            self,
            study: "optuna.Study",
            trial: "optuna.trial.FrozenTrial",
            search_space: "dict[str, optuna.distributions.BaseDistribution]",
        ) -> dict[str, Any]:
            if not search_space:
                return {}
            return self._open[trial.number].sample_relative(study, trial, search_space)

        def sample_independent(
            self,
            study: "optuna.Study",
            trial: "optuna.trial.FrozenTrial",
            param_name: str,
            param_distribution: "optuna.distributions.BaseDistribution",
        ) -> Any:
            return self._open[trial.number].sample_independent(
                study, trial, param_name, param_distribution
            )

        def after_trial(
            self,
            study: "optuna.Study",
            trial: "optuna.trial.FrozenTrial",
            state: "optuna.trial.TrialState",
            values: Sequence[float] | None,
        ) -> None:
            # One that is ended for a dead process was drawn there.
            if sampler := self._open.pop(trial.number, None):
                sampler.after_trial(study, trial, state, values)

    return ByNumber()


def make_pruner(name: str, settings: StudySettings) -> "optuna.pruners.BasePruner":
    """A pruner over the epochs of a study.

    "halving": of all trials that came as far, the most promising parts that `HALVING` says go on,
    at once or later; but nothing is stopped before epoch 2, and of several at the same epoch the
    first counts.
    "hyperband": Optuna's, over several ladders of
    successive halving. "median": stops a trial whose best epoch so far is below the median of what
    the complete trials had at the same epoch. "percentile": the same with the lower quarter.
    """
    from optuna import pruners

    from search.pruner import HalvingPruner

    epochs = settings.epochs
    first = min(FIRST_PRUNED_EPOCH, epochs)
    makers: dict[str, Callable[[], optuna.pruners.BasePruner]] = {
        "median": lambda: pruners.MedianPruner(n_startup_trials=6, n_warmup_steps=first),
        "percentile": lambda: pruners.PercentilePruner(
            25.0, n_startup_trials=6, n_warmup_steps=first
        ),
        "halving": lambda: HalvingPruner(
            {max(2, round(at * epochs)): HALVING[at] for at in sorted(HALVING, reverse=True)},
            settings,
        ),
        "hyperband": lambda: pruners.HyperbandPruner(
            min_resource=first, max_resource=epochs, reduction_factor=2
        ),
        "none": pruners.NopPruner,
    }
    return makers[name]()
