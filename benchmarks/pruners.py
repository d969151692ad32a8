"""What a pruner spends and what it keeps, replayed on recorded learning curves.

    python benchmarks/pruners.py benchmarks/curves-mnist.csv

Every pruner sees the trials as a search does: they are asked for in some order, by one worker or
several, each epoch is reported when it ends (by the seconds that it took when it was recorded), and
a trial that is pruned makes room for the next. Orders are drawn anew from seeds. What is counted:
the epochs that are trained, in percent of all; how many of the true best ten (by the score of
their whole training) come to their end; in which part of the orders at least nine of them do, and
the best one.

Random configurations are easier to tell apart than those that a sampler proposes later on, and one
training each is the truth here: of two that differ by less than its scatter either may be better.
"""

import argparse
import heapq
import random
import statistics
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

import optuna
from optuna.trial import TrialState

sys.path.insert(0, str(Path(__file__).parents[1]))  # of this checkout, installed or not

from benchmarks.curves import Curve, read_curves
from results.record import PROMOTED_KEY, STATE_KEPT
from results.settings import ObjectiveName, StudySettings
from search.pruner import HalvingPruner
from search.strategy import PRUNERS, make_pruner
from space import SearchSpace

TOP = 10
ALMOST = 9
"""Of the best ten."""

FEWEST = 5 * TOP
"""Of fewer curves most would be among the best."""

CANDIDATES: dict[str, Callable[[StudySettings], optuna.pruners.BasePruner]] = {
    **{name: partial(make_pruner, name) for name in PRUNERS},
    **{
        ", ".join(f"{part:.0%} at {epoch}" for epoch, part in parts.items()): partial(
            HalvingPruner, parts
        )
        for parts in (
            {3: 0.5, 6: 0.5},
            {3: 0.5, 6: 0.5, 12: 0.5},
            {2: 0.6, 4: 0.6, 6: 0.4},
            {2: 0.5, 4: 0.5, 6: 0.5, 9: 0.6},
            {1: 0.8, 2: 0.6, 4: 0.6, 6: 0.5},
        )
    },
}
"""By name, each for a study: those of nas-search, and others to compare with."""


@dataclass(frozen=True)
class Outcome:
    """Of one order. `epochs`: trained; `kept`: numbers of the curves that came to their end."""

    epochs: int
    kept: frozenset[int]


@dataclass(frozen=True)
class Row:
    """Of many orders. `spent`: epochs in percent of all, mean and standard deviation; `kept`: of
    the best ten, mean and fewest; the shares of orders that kept `ALMOST` all, and the best."""

    name: str
    workers: int
    spent: tuple[float, float]
    kept: tuple[float, int]
    almost_all: float
    best: float


def replay(
    pruner: optuna.pruners.BasePruner,
    curves: Sequence[Curve],
    settings: StudySettings,
    workers: int,
) -> Outcome:
    """A search that draws these configurations in this order, with so many workers."""
    study = optuna.create_study(study_name="replay", direction="maximize", pruner=pruner)
    waiting = deque(curves)
    begun: dict[int, Curve] = {}
    running: list[tuple[float, int, optuna.Trial, Curve, int]] = []
    spent = 0
    kept: set[int] = set()

    def start(now: float) -> bool:
        """Whether there was anything to begin: a stopped trial to go on with, or the next one."""
        curve, done, promoted = None, 0, None
        if isinstance(pruner, HalvingPruner):
            promoted = pruner.promotable(study, is_last=not waiting)
        if promoted is not None:
            study.enqueue_trial({}, user_attrs={PROMOTED_KEY: promoted})
            curve, done = begun[promoted], study.get_trials(deepcopy=False)[promoted].last_step or 0
        elif waiting:
            curve = waiting.popleft()
        if curve is None:
            return False
        trial = study.ask()
        begun[trial.number] = curve
        trial.set_user_attr("params", curve.params)
        for epoch in range(1, done + 1):
            report(trial, curve, epoch)
        heapq.heappush(running, (now + curve.seconds, trial.number, trial, curve, done + 1))
        return True

    def report(trial: optuna.Trial, curve: Curve, epoch: int) -> None:
        trial.report(settings.score(curve.accuracies[epoch - 1], curve.params), epoch)

    now = 0.0
    while True:
        while len(running) < workers and start(now):
            pass
        if not running:
            return Outcome(spent, frozenset(kept))
        now, number, trial, curve, epoch = heapq.heappop(running)
        spent += 1
        report(trial, curve, epoch)
        if curve.accuracies[epoch - 1] == 0:  # it diverged
            study.tell(trial, state=TrialState.PRUNED)
        elif epoch == settings.epochs:
            trial.set_user_attr("sustained", settings.sustained(list(curve.accuracies)))
            study.tell(trial, final_score(curve, settings))
            kept.add(curve.number)
        elif trial.should_prune():
            trial.set_user_attr(STATE_KEPT, True)
            study.tell(trial, state=TrialState.PRUNED)
        else:
            heapq.heappush(running, (now + curve.seconds, number, trial, curve, epoch + 1))


def final_score(curve: Curve, settings: StudySettings) -> float:
    """What a trial with this curve is judged by."""
    return settings.score(settings.sustained(list(curve.accuracies)), curve.params)


def measure(
    name: str, curves: Sequence[Curve], settings: StudySettings, workers: int, orders: int
) -> Row:
    """A pruner in so many orders; needs at least `TOP` curves."""
    ranked = sorted(curves, key=lambda each: final_score(each, settings), reverse=True)
    best = [each.number for each in ranked[:TOP]]
    every = sum(each.epochs for each in curves)
    spent, kept, firsts = [], [], []
    for seed in range(orders):
        order = random.Random(seed).sample(list(curves), len(curves))
        outcome = replay(CANDIDATES[name](settings), order, settings, workers)
        spent.append(100 * outcome.epochs / every)
        kept.append(len(outcome.kept.intersection(best)))
        firsts.append(best[0] in outcome.kept)
    return Row(
        name=name,
        workers=workers,
        spent=(statistics.mean(spent), statistics.stdev(spent) if orders > 1 else 0.0),
        kept=(statistics.mean(kept), min(kept)),
        almost_all=statistics.mean(each >= ALMOST for each in kept),
        best=statistics.mean(firsts),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description="What pruners spend and what they keep, on recorded learning curves."
    )
    parser.add_argument("files", nargs="+", type=Path, help="as benchmarks/curves.py writes them")
    parser.add_argument("--pruners", nargs="+", choices=CANDIDATES, default=list(CANDIDATES))
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--orders", type=int, default=50, help="random orders of the trials")
    parser.add_argument("--objective", choices=get_args(ObjectiveName), default="accuracy")
    parser.add_argument("--target", type=float, default=99.4, help="of the objective smallest")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        curves = read_curves(*options.files)
    except ValueError as error:
        parser.error(str(error))
    if len(curves) < FEWEST:
        parser.error(f"{len(curves)} curves are too few to tell the best {TOP}: record {FEWEST}")
    settings = StudySettings(
        dataset="mnist",
        space=SearchSpace.for_budget(curves[0].max_params),
        objective=options.objective,
        target=options.target,
        epochs=len(curves[0].accuracies),
    )
    if options.objective == "smallest":
        holding = sum(final_score(each, settings) >= options.target for each in curves)
        if holding < TOP:
            parser.error(
                f"{holding} curves hold {options.target:g}%, so size decides nothing: give a lower "
                f"--target, one that {TOP} hold at least"
            )
    sys.stdout.write(
        f"{len(curves)} curves of {settings.epochs} epochs, {options.orders} orders each, "
        f"objective {settings.objective}\n"
        f"{'pruner':38}{'workers':>8}{'epochs, %':>14}{'kept of ten':>13}{'fewest':>8}"
        f"{'nine or ten':>13}{'the best':>10}\n"
    )
    for workers in options.workers:
        for name in options.pruners:
            row = measure(name, curves, settings, workers, options.orders)
            sys.stdout.write(
                f"{row.name:38}{row.workers:>8}{row.spent[0]:>8.1f} ± {row.spent[1]:3.1f}"
                f"{row.kept[0]:>13.2f}{row.kept[1]:>8}{row.almost_all:>13.0%}{row.best:>10.0%}\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
