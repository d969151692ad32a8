"""A finished search and a finished replay, stored as the product stores them, without training."""

from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.trial import TrialState

from results.checkpoint import checkpoint_name, save_checkpoint
from results.ledger import write_out
from results.record import (
    TIMING_KEY,
    Confirmation,
    Epoch,
    Given,
    drawn_attributes,
    trained_attributes,
)
from results.settings import StudySettings
from results.storage import default_url, open_storage
from results.store import Folder
from search.data import Digits, Examples
from search.plan import Plan
from search.study import load, make_or_resume, queue
from space import (
    BASELINES,
    PUBLISHED,
    Configuration,
    SearchSpace,
    configuration,
    footprint,
)
from space.network import build_network
from tests.plans import make_plan

SPACE = SearchSpace.for_budget(10_000)
SEARCH = StudySettings(dataset="mnist-sample", space=SPACE, epochs=2, sustain=2, target=90.0)
REPLAY = SEARCH.model_copy(update={"trials": "given", "protocol": "published"})
ENDS = (*(TrialState.COMPLETE,) * 3, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING)


def store_studies(out: Path) -> None:
    """What a search and a replay of these names leave in a folder, as the product stores it."""
    storage = open_storage(default_url(out), create=True)
    search = _study(storage, "search", SEARCH)
    for name in ("1.1", "1.2", "1.3", "plain-wide", "separable-residual", "separable-repeated"):
        search.enqueue_trial(BASELINES[name])
    for end in ENDS:
        trial = search.ask()
        made = configuration(SPACE.draw(trial))
        name = checkpoint_name(search.user_attrs["folder"], trial.number)
        more = {"checkpoint": name, "training_seconds": 1.4}
        if end == TrialState.PRUNED:
            more["reason"] = "pruned after epoch 2"
        if end == TrialState.FAIL:
            more["error"] = "RuntimeError: no"
        attributes = _train(search, trial, made, SEARCH, **more)
        save_checkpoint(Folder(out), name, build_network(made.architecture), made, attributes)
        if end == TrialState.RUNNING:
            write_out(search)
        else:
            value = attributes["sustained"] if end == TrialState.COMPLETE else None
            search.tell(trial, value, state=end)
    for seed in (0, 1):
        stored = Confirmation(
            trial=0,
            seed=seed,
            accuracies=[91.0, 92.0],
            sustained=91.0,
            train_accuracy=95.0,
            seconds=2.0,
            weights=name,
            device="CPU",
            precision="float32",
            versions={"torch": "2"},
            predictions="7" * 1_000,
        )
        search.set_user_attr(Confirmation.key(0, seed), vars(stored))
    spent = {"seconds": {"training": 3.0}, "wall_seconds": 9.0}
    search.set_user_attr(f"{TIMING_KEY}:2026-01-01T00:00:00+00:00", spent)

    replay = _study(storage, "replay", REPLAY)
    published = [PUBLISHED["1.2"], PUBLISHED["1.3"]]
    wanted = [Given(each.id, seed, each.configuration) for each in published for seed in (0, 1)]
    queue(replay, wanted)
    for each in wanted[:-1]:
        trial = replay.ask()
        name = checkpoint_name(replay.user_attrs["folder"], trial.number)
        more = {"checkpoint": name, "name": each.name}
        attributes = _train(replay, trial, each.configuration, REPLAY, **more)
        replay.tell(trial, attributes["sustained"])
    storage.engine.dispose()


def _study(storage: optuna.storages.RDBStorage, name: str, settings: StudySettings) -> optuna.Study:
    plan = make_plan(Plan, settings=settings, study=name)
    make_or_resume(storage, plan, baselines=False)
    return load(storage, plan)


def _train(
    study: optuna.Study,
    trial: optuna.Trial,
    made: Configuration,
    settings: StudySettings,
    **more: Any,
) -> dict[str, Any]:
    """Stores what a training of two epochs would have."""
    first = 90.0 + trial.number
    history = [Epoch(each, 0.1, 95.0, 0.1, first + each, 0.7, 0.2) for each in (1, 2)]
    attributes = {
        **drawn_attributes(made, footprint(made.architecture)),
        "seed": 0,
        "device": "CPU",
        "precision": "float32",
        "versions": {"torch": "2"},
        **trained_attributes(history, settings, images_per_epoch=3_000),
        **more,
    }
    for name, value in attributes.items():
        trial.set_user_attr(name, value)
    for each in history:
        trial.report(each.accuracy, each.epoch)
    return attributes


EXAMPLES = Examples(
    torch.zeros(1_000, 28, 28, dtype=torch.uint8), torch.arange(1_000) % 10, torch.arange(1_000)
)
DIGITS = Digits(EXAMPLES, EXAMPLES, EXAMPLES, EXAMPLES)
"""In the place of the sample, which takes seconds to read."""
