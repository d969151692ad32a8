"""Trials that were stopped early and are gone on with later."""

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna.trial import TrialState, create_trial
from safetensors.torch import save

from results.errors import NasSearchError
from results.handback import end_and_hand_back
from results.ledger import NothingWaits, at_once, queue_alone, with_ledger
from results.record import PROMOTED_KEY, TURN_KEY, TrialRecord, promoted_from, records
from results.selection import choose
from results.store import Folder
from search import objective as module
from search import promotion
from search.events import Event, Finished
from search.forest import Experience
from search.objective import SearchObjective
from search.plan import derived_seed
from search.progress import Tally, describe
from search.promotion import promote, promotions_left
from search.pruner import HalvingPruner
from search.register import Register
from search.state import TrainingState, keep_state, kept_state
from search.strategy import make_pruner
from search.tpe import History
from search.train import EpochMetrics, TrainingRun
from search.worker import search
from space import BASELINES, Configuration, Recipe, configuration
from tests.test_objective import Bench, digits

__all__ = ["digits"]

SMALL = BASELINES["separable-residual-small"]
RECIPES: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "momentum": 0.9, "nesterov": True},
    "sgd without momentum": {"optimizer": "sgd", "momentum": 0.0, "nesterov": False},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.01},
    "muon": {"optimizer": "muon", "learning_rate": 0.02},
    "averaged": {"ema_decay": 0.99},
    "recalibrated": {"ema_decay": 0.99, "recalibration": True},
    "dropout": {"dropout": 0.1},
    "augmented": {"augmentation": {"rotation_degrees": 8.0}},
}


def _of(recipe: dict[str, Any]) -> Configuration:
    plain = configuration({**SMALL, "dropout_place": "everywhere", "dropout": 0.05})
    fields = {**plain.recipe.model_dump(), "batch_size": 32, "ema_decay": 0.0, **recipe}
    return Configuration(architecture=plain.architecture, recipe=Recipe(**fields))


def _numbers(metrics: EpochMetrics) -> tuple[float, ...]:
    return tuple(value for name, value in vars(metrics).items() if "seconds" not in name)


@pytest.mark.parametrize("name", RECIPES)
def test_a_training_goes_on_as_if_it_had_not_stopped(
    bench: Bench, tmp_path: Path, name: str
) -> None:
    """To the last bit, from a file."""
    chosen, data = _of(RECIPES[name]), (bench.context.digits.train, bench.context.digits.validation)
    whole = TrainingRun(chosen, *data, epochs=4, seed=3)
    expected = [_numbers(each) for each in whole]

    first = TrainingRun(chosen, *data, epochs=4, seed=3)
    epochs = iter(first)
    before = [_numbers(next(epochs)) for _ in range(2)]
    store = Folder(tmp_path)
    keep_state(store, "bench", 7, first.state(), {"seed": 3})
    next(epochs)  # what is kept does not change with the training
    state = kept_state(store, "bench", 7, {"seed": 3})
    assert state is not None
    assert state.epoch == 2
    torch.manual_seed(99)
    second = TrainingRun(chosen, *data, epochs=4, seed=3, state=state)
    assert before + [_numbers(each) for each in second] == expected
    for one, other in zip(
        whole.network.state_dict().values(), second.network.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)


def test_only_the_state_of_the_same_training_is_taken(tmp_path: Path) -> None:
    store, state = Folder(tmp_path), TrainingState(2, {"weights": torch.ones(3)})
    made_with = {"seed": 3, "device": "cpu"}
    keep_state(store, "bench", 7, state, made_with)
    found = kept_state(store, "bench", 7, made_with)
    assert found is not None
    assert (found.epoch, found.tensors["weights"].tolist()) == (2, [1.0, 1.0, 1.0])
    assert kept_state(store, "bench", 7, {**made_with, "device": "cuda"}) is None
    assert kept_state(store, "bench", 8, made_with) is None
    file = store.file("bench/stopped/trial-00007.safetensors")
    file.write_bytes(file.read_bytes()[:-1])
    assert kept_state(store, "bench", 7, made_with) is None
    file.write_bytes(save({}, metadata={"about": "[]"}))
    assert kept_state(store, "bench", 7, made_with) is None


class Learning(TrainingRun):
    """A run whose accuracy after each epoch follows from its seed and its size alone."""

    begun: list[tuple[int, int]] = []  # noqa: RUF012
    """Seed and first epoch of each."""

    def __init__(self, chosen: Configuration, *_: Any, epochs: int, seed: int, **more: Any) -> None:
        from space.network import build_network

        state: TrainingState | None = more["state"]
        self._of_seed, self._last = seed, epochs
        self._done = state.epoch if state else 0
        self._network = build_network(chosen.architecture)
        self.eager_reason, self.capture_seconds = "", 0.0
        self.begun.append((seed, self._done + 1))

    @property
    def network(self) -> Any:
        return self._network

    def state(self) -> TrainingState:
        return TrainingState(self._done, {"seed": torch.tensor(self._of_seed)})

    def __iter__(self) -> Iterator[EpochMetrics]:
        for epoch in range(self._done + 1, self._last + 1):
            self._done = epoch
            accuracy = 50 + self._of_seed % 40 + epoch
            yield EpochMetrics(epoch, 1.0, accuracy, 1.0, accuracy, 1.0, 0.1)


@pytest.fixture(scope="module")
def learning() -> Iterator[type[Learning]]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "TrainingRun", Learning)
        yield Learning


def _make(out: Path, digits: Any) -> Bench:
    made = Bench(out, digits, epochs=4)
    made.context = replace(made.context, draw=lambda *_: {})
    made.objective = SearchObjective(made.context)
    made.study.pruner = HalvingPruner({2: 0.5}, made.settings)
    return made


@pytest.fixture
def bench(tmp_path: Path, digits: Any) -> Bench:
    return _make(tmp_path, digits)


@pytest.fixture(scope="module")
def searched(
    tmp_path_factory: pytest.TempPathFactory, digits: Any, learning: type[Learning]
) -> Bench:
    """After a search for 20 trials."""
    made = _make(tmp_path_factory.mktemp("searched"), digits)
    _search(made, 20)
    return made


def _run_three(bench: Bench) -> None:
    """One comes to its end, the best of the others will be gone on with."""
    trained: list[TrialRecord] = []
    while len(trained) < 3:
        bench.run()
        trained = [each for each in records(bench.study) if each.was_trained]
    assert sum(each.was_stopped for each in trained) >= 1


def _search(bench: Bench, trials: int) -> list[TrialRecord]:
    """As a worker does it; what comes of it."""
    search(replace(bench.context, plan=replace(bench.plan, trials=trials)))
    return records(bench.study)


def test_a_search_goes_on_with_what_is_among_the_best(searched: Bench) -> None:
    found = records(searched.study)
    trained = [each for each in found if each.was_trained]
    assert len(trained) == 20
    promoted = [each for each in found if each.state == "promoted"]
    later = [each for each in trained if each.promoted_from is not None]
    assert later
    assert [each.number for each in promoted] == sorted(
        each.promoted_from for each in later if each.promoted_from is not None
    )
    # The better half is complete.
    at_the_epoch = sorted((each.history[1].accuracy for each in trained), reverse=True)
    for each in trained:
        assert (each.history[1].accuracy >= at_the_epoch[9]) <= (each.state == "complete")
    assert promoted_from(searched.study.trials[later[0].number]) == promoted[0].number


def test_what_is_gone_on_with_is_the_same_training(searched: Bench) -> None:
    found = records(searched.study)
    later = next(each for each in found if each.promoted_from is not None)
    assert later.promoted_from is not None
    stopped = found[later.promoted_from]
    assert later.parameters == stopped.parameters
    assert later.attributes["seed"] == stopped.attributes["seed"]
    assert later.attributes["seed"] == derived_seed(searched.plan.seed, stopped.number)
    assert later.history[:2] == stopped.history
    assert [each.epoch for each in later.history] == [1, 2, 3, 4]
    trial = searched.study.trials[later.number]
    assert trial.intermediate_values.keys() == {1, 2, 3, 4}
    kept = {each.name for each in (searched.plan.out / "bench" / "stopped").iterdir()}
    ended = [each for each in found if each.was_stopped or each.state == "promoted"]
    assert kept == {f"trial-{each.number:05d}.safetensors" for each in ended}
    told = next(
        each for each in searched.told if isinstance(each, Finished) and each.trial == later.number
    )
    assert f"went on with trial {stopped.number}" in describe(told)


@pytest.mark.parametrize("other", ["machine", "precision"])
def test_without_its_state_it_is_trained_again(
    bench: Bench, learning: type[Learning], other: str
) -> None:
    """On a machine that does not see the files of the one that stopped it, or can't use them."""
    _run_three(bench)
    stopped = next(each for each in records(bench.study) if each.state == "pruned")
    if other == "machine":
        shutil.rmtree(bench.plan.out / "bench" / "stopped")
    else:
        bench.context = replace(bench.context, precision="bfloat16")
    learning.begun.clear()
    found = _search(bench, 3)
    later = next(each for each in found if each.promoted_from == stopped.number)
    assert later.state == "complete"
    assert later.history[:2] == stopped.history
    assert (stopped.attributes["seed"], 1) in learning.begun


def test_the_tally_counts_it_once(searched: Bench) -> None:
    tally = Tally(20, 0)
    found = records(searched.study)
    events: list[Event] = searched.told
    for event in events:
        if isinstance(event, Finished):
            tally.count(event)
    states = [each.state for each in found]
    assert (tally.complete, tally.pruned) == (states.count("complete"), states.count("pruned"))
    assert tally.done == 20


def test_it_fills_no_place_of_another(bench: Bench, learning: type[Learning]) -> None:
    _search(bench, 12)
    register = Register(bench.study)
    assert register.counts() == (12, 0, 0)
    # Queued, and not begun.
    stopped = next(each for each in records(bench.study) if each.was_stopped)
    _queue(bench, stopped.number)
    assert register.counts() == (12, 0, 1)
    assert register.is_surplus(len(records(bench.study)) - 1, 12)
    assert not register.is_surplus(len(records(bench.study)) - 1, 13)
    assert register.states()[stopped.number] == "pruned"
    assert promotions_left(bench.study, bench.plan)
    _search(bench, 12)
    assert register.counts() == (12, 0, 0)
    assert register.states()[stopped.number] == "promoted"
    assert not promotions_left(bench.study, bench.plan)


def _queue(bench: Bench, number: int) -> None:
    trial = bench.study.trials[number]
    attributes = {PROMOTED_KEY: number, TURN_KEY: 0}
    system = {"fixed_params": trial.params}
    bench.study.add_trial(
        create_trial(state=TrialState.WAITING, system_attrs=system, user_attrs=attributes)
    )


@pytest.mark.parametrize("blamed", [False, True])
def test_what_is_cut_off_when_it_is_gone_on_with_goes_on_again(
    bench: Bench, learning: type[Learning], blamed: bool
) -> None:
    _run_three(bench)
    assert promote(bench.study, is_last=True)
    cut_off = with_ledger(bench.study).ask()  # by a process that is gone
    number = promoted_from(cut_off)
    assert number is not None
    end_and_hand_back(bench.study, cut_off.number, blamed=blamed)
    again = records(bench.study)[-1]
    assert again.state == "waiting"
    assert again.promoted_from == number
    learning.begun.clear()
    found = _search(bench, 3)
    assert found[again.number].state == "complete"
    assert found[number].state == "promoted"
    seed = found[number].attributes["seed"]
    assert (seed, 3) in learning.begun


def test_one_that_is_gone_on_with_can_be_named_by_its_last_number(searched: Bench) -> None:
    found = records(searched.study)
    later = next(each for each in found if each.promoted_from is not None)
    assert later.promoted_from is not None
    with pytest.raises(NasSearchError, match=f"gone on with as trial {later.number}"):
        choose(found, searched.settings, later.promoted_from)
    assert choose(found, searched.settings, later.number) == later


def test_samplers_know_it_by_its_last_number(searched: Bench) -> None:
    found = records(searched.study)
    experience, history = Experience(searched.settings), History()
    trained = sum(each.was_trained for each in found)
    assert experience.look(searched.study) == trained
    table, _, scores, _ = experience.learnt()
    assert len(table) == trained
    assert sum(score > 0 for score in scores) == sum(each.state == "complete" for each in found)
    ended = [each for each in found if each.state != "promoted"]
    assert history.look(searched.study) == len(ended)


def test_other_pruners_promote_nothing(bench: Bench, learning: type[Learning]) -> None:
    _run_three(bench)
    for name in ("median", "none", "hyperband"):
        bench.study.pruner = make_pruner(name, bench.settings)
        assert not promote(bench.study, is_last=True)
        assert not promotions_left(bench.study, replace(bench.plan, pruner=name))
    bench.study.pruner = make_pruner("halving", bench.settings)
    assert promotions_left(bench.study, replace(bench.plan, pruner="halving"))
    assert promote(bench.study, is_last=True)


def test_two_processes_queue_it_once(
    bench: Bench, learning: type[Learning], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both find it at the same moment."""
    _run_three(bench)
    other = with_ledger(bench.study)
    other.pruner = HalvingPruner({2: 0.5}, bench.settings)
    pruner, find = bench.study.pruner, HalvingPruner.promotable

    def found(self: HalvingPruner, study: Any, **options: bool) -> int | None:
        number = find(self, study, **options)
        if self is pruner:
            assert promote(other, is_last=True)
        return number

    monkeypatch.setattr(HalvingPruner, "promotable", found)
    assert promote(bench.study, is_last=True)
    waiting = [each for each in bench.study.trials if each.state == TrialState.WAITING]
    assert len(waiting) == 1


def test_at_the_end_nothing_new_is_drawn(bench: Bench, learning: type[Learning]) -> None:
    """Also where another takes what is gone on with before this one does."""
    _run_three(bench)
    assert promote(bench.study, is_last=True)
    other = with_ledger(bench.study)
    assert promoted_from(other.ask()) is not None
    number = len(bench.study.trials)
    with queue_alone(bench.study), pytest.raises(NothingWaits):
        bench.study.ask()
    assert len(bench.study.trials) == number
    assert bench.study.ask().number == number


def test_who_has_the_study_to_itself_does_not_wait_for_the_pruner(
    bench: Bench, learning: type[Learning], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread may hold that while it waits for the study: they share both on a GPU."""
    _run_three(bench)
    pruner = bench.study.pruner
    assert isinstance(pruner, HalvingPruner)

    def while_held(study: Any, work: Any) -> Any:
        with pruner._lock:
            return at_once(study, work)

    monkeypatch.setattr(promotion, "at_once", while_held)
    promoting = threading.Thread(target=promote, args=[bench.study], kwargs={"is_last": True})
    promoting.daemon = True
    promoting.start()
    promoting.join(30)
    assert not promoting.is_alive()
    assert bench.study.trials[-1].state == TrialState.WAITING


@pytest.mark.parametrize("named", [1, 99, "x", -1])
def test_a_trial_that_goes_on_with_what_was_not_stopped_is_told(bench: Bench, named: Any) -> None:
    bench.run(SMALL)
    trial = bench.study.ask()
    trial.set_user_attr(PROMOTED_KEY, named)
    with pytest.raises(NasSearchError, match=r"trial 1 is not as nas-search stores it"):
        records(bench.study)
