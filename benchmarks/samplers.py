"""Which sampler finds the best configuration from the same number of trained epochs.

    python benchmarks/samplers.py benchmarks/curves-mnist.csv

Trainings are replaced by a surrogate: boosted trees or a Gaussian process (scikit-learn) fitted to
recorded trials, from what was drawn and what their networks cost to the logarithm of the sustained
error, plus the scatter of a training. Draws over the budget are refused and told so, every trial is
trained to its end. The score of a study after so many epochs is the error that the surrogate
expects (without scatter) of the trial that came out best.

How well the surrogate knows what it was not fitted to is printed first, as the rank correlation of
what it expects of a tenth of the trials that it has not seen with what they came to. What a sampler
finds where no trial was recorded is the surrogate's word and nobody's measurement. A search also
begins with known networks, prunes, and trains several at once: none of that is replayed here.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState
from scipy.stats import spearmanr
from sklearn.base import RegressorMixin
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).parents[1]))  # of this checkout, installed or not

from benchmarks.curves import Curve, read_curves
from results.record import BUDGET_CONSTRAINT
from results.settings import StudySettings
from search.forest import as_numbers
from search.outlook import CHANCE_ERROR, LEAST_ERROR, log_error
from search.strategy import SAMPLERS, make_sampler
from space import Footprint, SearchSpace, configuration, footprint

FOLDS = 10

SCATTER = 0.08
"""Standard deviation of the log error over seeds: that of the 19 networks of results/networks."""


MODELS: dict[str, Callable[[], RegressorMixin]] = {
    "trees": lambda: HistGradientBoostingRegressor(
        max_iter=200, learning_rate=0.05, min_samples_leaf=5
    ),
    "kernel": lambda: make_pipeline(
        StandardScaler(),
        GaussianProcessRegressor(RBF(10.0) + WhiteKernel(), normalize_y=True),
    ),
}
"""What a surrogate can be: steps, which suit a sampler of trees, or a smooth function."""


class Surrogate:
    """Expects the sustained error of a configuration, in percent; fitted to recorded trials."""

    def __init__(self, model: str, curves: Sequence[Curve], settings: StudySettings) -> None:
        self._space = settings.space
        table = [
            as_numbers(self._space, each.drawn, footprint(configuration(each.drawn).architecture))
            for each in curves
        ]
        target = np.array([log_error(settings.sustained(list(each.accuracies))) for each in curves])
        unseen = cross_val_predict(MODELS[model](), table, target, cv=FOLDS)
        self.agreement = float(spearmanr(target, unseen).statistic)
        self._fitted = MODELS[model]().fit(table, target)

    def log_error(self, drawn: dict[str, Any], cost: Footprint) -> float:
        """The natural logarithm of the error in percent that it expects."""
        return float(self._fitted.predict([as_numbers(self._space, drawn, cost)])[0])


@dataclass(frozen=True)
class Row:
    """Of some studies with a sampler: error in percent that is expected of the best trial, mean
    and standard deviation, after each of `at` trained trials; feasible draws in percent."""

    name: str
    errors: tuple[tuple[float, float], ...]
    feasible: float


def search(
    name: str, surrogate: Surrogate, settings: StudySettings, trials: int, seed: int
) -> tuple[list[float], int]:
    """The expected error of the best trial after each trained one, and how many were drawn."""
    study = optuna.create_study(
        study_name="search", direction="maximize", sampler=make_sampler(name, seed, settings)
    )
    scatter = np.random.default_rng(seed)
    found: list[float] = []
    best = (-np.inf, np.inf)
    while len(found) < trials:
        trial = study.ask()
        drawn = settings.space.draw(trial)
        cost = footprint(configuration(drawn).architecture)
        excess = cost.params - settings.max_params + 1
        trial.set_constraint(BUDGET_CONSTRAINT, excess)
        if excess > 0:
            study.tell(trial, state=TrialState.PRUNED)
            continue
        expected = surrogate.log_error(drawn, cost)
        error = np.exp(expected + scatter.normal(0, SCATTER))
        measured = 100 - float(np.clip(error, LEAST_ERROR, CHANCE_ERROR))
        study.tell(trial, settings.score(measured, cost.params))
        best = max(best, (measured, float(np.exp(expected))))
        found.append(best[1])
    return found, len(study.get_trials(deepcopy=False))


def measure(
    name: str,
    surrogate: Surrogate,
    settings: StudySettings,
    at: Sequence[int],
    seeds: int,
) -> Row:
    """Several studies with a sampler, from the seeds 0, 1, ..."""
    found = [search(name, surrogate, settings, max(at), seed) for seed in range(seeds)]
    errors = []
    for count in at:
        values = [curve[count - 1] for curve, _ in found]
        errors.append((statistics.mean(values), statistics.stdev(values) if seeds > 1 else 0.0))
    draws = sum(drawn for _, drawn in found)
    return Row(name, tuple(errors), 100 * seeds * max(at) / draws)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="What samplers find, on a surrogate fitted to recorded trials."
    )
    parser.add_argument("files", type=Path, nargs="+", help="as benchmarks/curves.py writes them")
    parser.add_argument(
        "--samplers", nargs="+", choices=SAMPLERS, default=["forest", "tpe", "random"]
    )
    parser.add_argument("--surrogate", choices=MODELS, default="trees")
    parser.add_argument("--at", type=int, nargs="+", default=[25, 50, 100, 200], help="trials")
    parser.add_argument("--seeds", type=int, default=10, help="studies of each sampler")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        curves = read_curves(*options.files)
    except ValueError as error:
        parser.error(str(error))
    if len(curves) < 2 * FOLDS:
        parser.error(f"{len(curves)} trials are too few to fit anything to")
    settings = StudySettings(
        dataset="mnist",
        space=SearchSpace.for_budget(curves[0].max_params),
        epochs=len(curves[0].accuracies),
    )
    surrogate = Surrogate(options.surrogate, curves, settings)
    sys.stdout.write(
        f"{options.surrogate}, fitted to {len(curves)} trials: rank correlation "
        f"{surrogate.agreement:.2f} with unseen ones\n"
        f"expected error of the best, percent, mean ± standard deviation of {options.seeds}\n"
        f"{'sampler':10}"
        + "".join(f"{f'{count * settings.epochs} epochs':>16}" for count in options.at)
        + f"{'feasible':>11}\n"
    )
    for name in options.samplers:
        row = measure(name, surrogate, settings, options.at, options.seeds)
        cells = "".join(f"{mean:>9.3f} ± {sd:.3f}"[-16:].rjust(16) for mean, sd in row.errors)
        sys.stdout.write(f"{row.name:10}{cells}{row.feasible:>10.0f}%\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
