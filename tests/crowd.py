"""Many workers at once, each a process with the real loop; only what they train is made up.

    python -m tests.crowd PLAN

PLAN is a `Crowd` as JSON. Its processes are forked from one that has imported everything, so that
dozens of them cost little. Ends with 0 if all of them do.
"""

import dataclasses
import json
import multiprocessing
import sys
from pathlib import Path
from typing import Any

from benchmarks.simulation import search_here, simulate_training
from results import database, patience, pulse
from results.storage import open_storage
from search import mark, objective, study
from search.data import Digits, Examples
from search.plan import Plan
from tests.plans import make_plan


@dataclasses.dataclass(frozen=True)
class Crowd:
    """Workers of one machine, by whose name others can't see whether its processes live."""

    storage: str
    out: str
    machine: str
    workers: int
    trials: int
    epoch_seconds: float = 0.01
    heartbeat_seconds: int = database.HEARTBEAT_SECONDS
    grace_seconds: float = database.GRACE_SECONDS

    def command(self) -> list[str]:
        words = json.dumps(dataclasses.asdict(self))
        return [sys.executable, "-m", "tests.crowd", words]

    @property
    def plan(self) -> Plan:
        return make_plan(
            Plan,
            study="crowd",
            storage=self.storage,
            out=Path(self.out),
            trials=self.trials,
            pruner="halving",
        )


def _digits() -> Digits:
    import torch

    few = Examples(
        torch.zeros(2_000, 28, 28, dtype=torch.uint8),
        torch.zeros(2_000, dtype=torch.uint8),
        torch.arange(2_000),
    )
    return Digits(few, few, few, few)


def _work(plan: Plan, digits: Digits, all_are_there: Any) -> None:
    storage = open_storage(plan.storage, create=False, patience=patience.Patience(60), waits=True)
    shared = study.load(storage, plan)
    all_are_there.wait()
    search_here(shared, plan, digits)


def main(crowd: Crowd) -> int:
    """Runs the workers to their end."""
    module: Any = objective
    module.save_checkpoint = module.keep_artifacts = lambda *_: None
    simulate_training(crowd.epoch_seconds)
    mark._this_host = lambda: crowd.machine
    database.HEARTBEAT_SECONDS = pulse.HEARTBEAT_SECONDS = crowd.heartbeat_seconds
    pulse.GRACE_SECONDS = crowd.grace_seconds  # type: ignore[assignment]
    digits = _digits()
    study.make_or_resume(open_storage(crowd.storage, create=True), crowd.plan, baselines=True)
    context = multiprocessing.get_context("fork")
    all_are_there = context.Barrier(crowd.workers)
    several = [
        context.Process(target=_work, args=(crowd.plan, digits, all_are_there))
        for _ in range(crowd.workers)
    ]
    for process in several:
        process.start()
    for process in several:
        process.join()
    return int(any(process.exitcode for process in several))


if __name__ == "__main__":
    sys.exit(main(Crowd(**json.loads(sys.argv[1]))))
