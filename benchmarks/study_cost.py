"""What a study costs besides training: asking, reporting and storing, per trial.

    python benchmarks/study_cost.py --trials 40 --at 0 200 2000 10000

Fills studies with as many ended trials as `--at` says (random draws; a quarter of the feasible ones
complete, the others stopped at epochs 3 and 6), then lets the real worker loop train `--trials`
more with a training that takes no time. Milliseconds are of the wall clock and mean values over the
trained trials; what infeasible draws cost is in them, and so is the writing of checkpoints. What is
drawn and kept for the dashboard with each trained trial has a column of its own (pictures). The
first trial, for which the study is read whole and the pictures' fonts are, stands apart (opening).
Not in it: the plots of the whole study, which the process that started the workers updates now and
then (see search/publisher.py).
"""

import argparse
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy.event
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # measures this checkout, installed or not

from benchmarks.filled import make_filled, plan_of
from benchmarks.simulation import SimulatedTraining, search_here, simulate_training
from results.storage import default_url, open_storage
from results.versions import versions
from search import objective, study
from search.data import DataSource, Digits

SECONDS: defaultdict[str, float] = defaultdict(float)
"""By what was called."""


def time_calls(owner: Any, name: str, what: str) -> None:
    whole: Callable[..., Any] = getattr(owner, name)

    def timed(*arguments: Any, **options: Any) -> Any:
        started, cpu = time.perf_counter(), time.process_time()
        try:
            return whole(*arguments, **options)
        finally:
            SECONDS[what] += time.perf_counter() - started
            SECONDS[f"{what}, CPU"] += time.process_time() - cpu

    setattr(owner, name, timed)


def measure(folder: Path, at: int, trials: int, digits: Digits, pruner: str) -> str:
    """One line of the table."""
    plan = replace(plan_of(default_url(folder), folder, seed=at), pruner=pruner)
    make_filled(plan, at)
    database = open_storage(plan.storage, create=False)
    statements: Counter[str] = Counter()
    sqlalchemy.event.listen(
        database.engine, "before_cursor_execute", lambda *_: statements.update(["statements"])
    )
    sqlalchemy.event.listen(database.engine, "commit", lambda *_: statements.update(["commits"]))
    loaded = study.load(database, plan)
    started = time.perf_counter()
    trained = sum(bool(trial.intermediate_values) for trial in loaded.get_trials(deepcopy=False))
    search_here(loaded, replace(plan, trials=trained + 1), digits)
    opening = time.perf_counter() - started
    before = len(loaded.get_trials(deepcopy=False))
    SECONDS.clear()
    statements.clear()
    started, cpu = time.perf_counter(), time.process_time()
    search_here(loaded, replace(plan, trials=trained + 1 + trials), digits)
    whole, cpu = time.perf_counter() - started, time.process_time() - cpu
    draws = len(loaded.get_trials(deepcopy=False)) - before
    rest = ("asking", "drawing", "reporting", "network", "pictures")
    storing = SECONDS["optimize"] - sum(SECONDS[each] for each in rest)
    columns = (
        *(SECONDS[each] for each in ("asking", "drawing", "reporting", "pictures")),
        storing,
        whole - SECONDS["optimize"],
        whole - SECONDS["network"],
        cpu - SECONDS["network, CPU"],
    )
    return (
        f"{at:>7}{draws / trials:>7.2f}"
        + "".join(f"{1e3 * each / trials:>12.2f}" for each in columns)
        + f"{1e3 * (whole - SECONDS['network']) / draws:>10.2f}"
        + f"{statements['statements'] / trials:>12.1f}{statements['commits'] / trials:>9.1f}"
        + f"{opening:>11.2f}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description="What a study costs besides training, in milliseconds per trained trial."
    )
    parser.add_argument("--trials", type=int, default=40, help="how many are measured")
    parser.add_argument(
        "--at",
        type=int,
        nargs="+",
        default=[0, 200, 2_000, 10_000],
        help="how many trials the study has before, one table row each",
    )
    parser.add_argument("--pruner", default="halving", help="as of nas-search")
    parser.add_argument("--folder", type=Path, help="where the studies are kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    simulate_training()
    time_calls(SimulatedTraining, "__init__", "network")
    time_calls(optuna.Study, "ask", "asking")
    time_calls(objective.Objective, "_draw", "drawing")
    time_calls(objective.Objective, "_follow", "reporting")
    time_calls(objective, "keep_artifacts", "pictures")
    time_calls(optuna.Study, "optimize", "optimize")
    digits = DataSource("mnist-sample").load("cpu")
    sys.stdout.write(", ".join(f"{name} {text}" for name, text in versions().items()) + "\n")
    columns = (
        *("asking", "drawing", "reporting", "pictures", "storing", "bookkeeping"),
        *("ms/trial", "CPU ms"),
    )
    sys.stdout.write(
        f"{'at':>7}{'draws':>7}"
        + "".join(f"{each:>12}" for each in columns)
        + f"{'ms/draw':>10}{'statements':>12}{'commits':>9}{'opening s':>11}\n"
    )
    with tempfile.TemporaryDirectory() as temporary:
        for at in options.at:
            folder = (options.folder or Path(temporary)) / str(at)
            folder.mkdir(parents=True, exist_ok=True)
            sys.stdout.write(measure(folder, at, options.trials, digits, options.pruner))
            sys.stdout.flush()


if __name__ == "__main__":
    main()
