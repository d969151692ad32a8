"""Lanes: repeated work gives the same whether it is captured, called, alone or among others."""

import gc
import threading
import weakref
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import psutil
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from search.augment import augment_by_torch
from search.data import DataSource, Digits, Examples
from search.lane import CaptureError, Lane, Repeated, make_lane
from search.train import STEPS_PER_LAUNCH, EpochMetrics, TrainingRun
from space import Architecture, Augmentation, Configuration, Conv, Head, Pool, Recipe, baseline

CPU = torch.device("cpu")

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
        ],
    ),
]


class Recorded:
    """Launches on the CPU what a GPU would have captured."""

    def __init__(self, lane: "Recording", work: Callable[[], None]) -> None:
        self._lane, self._work = lane, work

    def __call__(self) -> None:
        self._lane.launched += 1
        self._work()

    def release(self) -> None:
        self._lane.released += 1


class Recording(Lane):
    """Captures on the CPU as a GPU would, up to `most` times, and counts."""

    captures = True

    def __init__(self, most: int = 100) -> None:
        super().__init__(CPU)
        self._most = most
        self.captured = 0
        self.launched = 0
        self.released = 0

    def without_captures(self) -> Lane:
        return Lane(self.device)

    def capture(self, work: Callable[[], None], generator: torch.Generator) -> Recorded:
        if self.captured == self._most:
            raise CaptureError("no such luck")
        self.captured += 1
        return Recorded(self, work)


@pytest.fixture(autouse=True)
def _deterministic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture(scope="module", params=DEVICES)
def digits(request: pytest.FixtureRequest) -> Digits:
    return DataSource("mnist-sample").load(request.param)


def _first(examples: Examples, count: int) -> Examples:
    return Examples(examples.images, examples.labels, examples.indices[:count])


def _configuration(*, views: Any = 1, **recipe: Any) -> Configuration:
    """With everything that is random in a step."""
    chosen: dict[str, Any] = {
        "learning_rate": 0.1,
        "batch_size": 32,
        "dropout": 0.1,
        "ema_decay": 0.9,
        "augmentation": Augmentation(rotation_degrees=10, shift_pixels=2, elastic_pixels=1),
        **recipe,
    }
    layers = (
        Conv(kind="conv", width=6, stride=2, then=("norm", "relu", "dropout")),
        Pool(kind="max_pool"),
        Conv(kind="separable", width=8, padding=1, then=("relu", "norm", "dropout")),
    )
    architecture = Architecture(layers=layers, head=Head(kind="gap_conv"), views=views)
    return Configuration(architecture=architecture, recipe=Recipe(**chosen))


def _numbers(metrics: EpochMetrics) -> dict[str, float]:
    return {name: value for name, value in asdict(metrics).items() if "seconds" not in name}


def _run(
    train: Examples,
    lane: Lane | None = None,
    configuration: Configuration | None = None,
    *,
    epochs: int = 3,
    seed: int = 0,
) -> TrainingRun:
    return TrainingRun(
        configuration or _configuration(), train, train, epochs=epochs, seed=seed, lane=lane
    )


def _history(run: TrainingRun) -> list[dict[str, float]]:
    return [_numbers(metrics) for metrics in run]


def _assert_same(ours: dict[str, float], theirs: dict[str, float], device: torch.device) -> None:
    """Exactly on a CPU. On a GPU sums may be added in another order: an image or two of 640."""
    if device.type == "cpu":
        assert ours == theirs
    assert ours == pytest.approx(theirs, rel=1e-2, abs=0.4)


# Repeated work


@pytest.mark.parametrize(
    ("times", "captures", "launches"), [(1, 1, 2), (4, 1, 2), (3, 1, 2), (7, 2, 5), (12, 1, 8)]
)
def test_work_runs_as_often_as_asked_in_as_few_launches_as_can_be(
    times: int, captures: int, launches: int
) -> None:
    lane = Recording()
    done: list[int] = []
    repeated = Repeated(lambda: done.append(1), lane, torch.Generator(), at_once=4)
    for _ in range(3):
        repeated.run(times)
    assert len(done) == 3 * times
    assert lane.captured == captures
    assert lane.launched == launches  # all but the first


def test_work_on_a_lane_without_graphs_is_called() -> None:
    done: list[int] = []
    repeated = Repeated(lambda: done.append(1), Lane(CPU), torch.Generator(), at_once=4)
    repeated.run(11)
    assert len(done) == 11
    assert repeated.take_capture_seconds() == 0


def test_failed_capture_runs_nothing_of_the_launch() -> None:
    done: list[int] = []
    repeated = Repeated(lambda: done.append(1), Recording(0), torch.Generator(), at_once=4)
    with pytest.raises(CaptureError, match="no such luck"):
        repeated.run(8)
    assert len(done) == 4


def test_forgotten_work_is_released_and_does_not_run_again() -> None:
    lane = Recording()
    repeated = Repeated(lambda: None, lane, torch.Generator())
    repeated.run()
    repeated.forget()
    assert lane.released == 1
    with pytest.raises(RuntimeError, match="forgotten"):
        repeated.run()


# Training on lanes


def test_captured_training_is_the_called_training(digits: Digits) -> None:
    few = _first(digits.train, 32 * 20)
    device = digits.train.images.device
    captured = make_lane(device) if device.type == "cuda" else Recording()
    run = _run(few, captured)
    called = _run(few, make_lane(device).without_captures())
    for ours, theirs in zip(run, called, strict=True):
        _assert_same(_numbers(ours), _numbers(theirs), device)
    torch.testing.assert_close(run._live.weights, called._live.weights, atol=1e-4, rtol=1e-3)
    assert run.eager_reason == ""
    if isinstance(captured, Recording):  # both sizes of training launches, and the evaluation
        assert captured.captured == 3
        assert captured.launched == (2 + 1) * 3 - 2
        assert captured.released == 3


def test_each_epoch_and_step_draws_anew_also_when_captured(digits: Digits) -> None:
    few = _first(digits.train, 32 * (STEPS_PER_LAUNCH + 2))
    device = digits.train.images.device
    run = _run(few, make_lane(device) if device.type == "cuda" else Recording(), epochs=4)
    maps, orders = [], []
    for _ in run:
        maps.append(run._maps.clone())
        orders.append(run._chosen.clone())
    every_map = torch.stack(maps).view(-1, 6)
    assert len(every_map.unique(dim=0)) == len(every_map)
    assert len({tuple(order.flatten().tolist()) for order in orders}) == 4
    for order in orders:
        assert torch.equal(order.flatten().sort().values, few.indices.sort().values)


@pytest.mark.parametrize("digits", DEVICES, indirect=True)
def test_captured_dropout_draws_anew_on_every_launch(digits: Digits) -> None:
    from space.dropout import Dropout

    device = digits.train.images.device
    lane = make_lane(device) if device.type == "cuda" else Recording()
    generator = torch.Generator(device).manual_seed(0)
    dropout = Dropout(0.5).train()
    dropout.generator = generator
    ones, out = torch.ones(1000, device=device), torch.zeros(1000, device=device)

    def work() -> None:
        out.copy_(dropout(ones))

    with lane.active():
        repeated = Repeated(work, lane, generator)
        seen = []
        for _ in range(6):
            repeated.run()
            seen.append(tuple(out.tolist()))
    assert len(set(seen)) == 6
    assert all(400 < sum(value > 0 for value in draws) < 600 for draws in seen)


@pytest.mark.parametrize("allowed", [0, 1, 2])
def test_what_cannot_be_captured_is_called_and_says_why(allowed: int) -> None:
    few = _first(DataSource("mnist-sample").load().train, 32 * 20)
    run = _run(few, Recording(allowed))
    assert _history(run) == _history(_run(few))
    assert run.eager_reason == "no such luck"


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_a_captured_training_goes_on_where_it_was_stopped(digits: Digits, optimizer: str) -> None:
    device = digits.train.images.device
    few, chosen = _first(digits.train, 32 * 20), _configuration(optimizer=optimizer)

    def lane() -> Lane:
        return make_lane(device) if device.type == "cuda" else Recording()

    epochs = iter(stopped := _run(few, lane(), chosen, epochs=4))
    before = [_numbers(next(epochs)) for _ in range(2)]
    state = stopped.state()
    del epochs
    later = TrainingRun(chosen, few, few, epochs=4, seed=0, lane=lane(), state=state)
    whole = _history(_run(few, lane(), chosen, epochs=4))
    for ours, theirs in zip([*before, *_history(later)], whole, strict=True):
        _assert_same(ours, theirs, device)
    assert later.eager_reason == ""


def test_trainings_at_once_give_what_each_gives_alone(digits: Digits) -> None:
    few = _first(digits.train, 32 * 20)
    device = digits.train.images.device
    configurations = [_configuration(learning_rate=0.02 * (seed + 1)) for seed in range(8)]
    alone = [_history(_run(few, None, each, seed=n)) for n, each in enumerate(configurations)]
    together: dict[int, list[dict[str, float]]] = {}

    def train(number: int) -> None:
        torch.set_num_threads(1)
        run = _run(few, make_lane(device), configurations[number], seed=number)
        together[number] = _history(run)

    threads = [threading.Thread(target=train, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, history in enumerate(alone):
        for ours, theirs in zip(together[number], history, strict=True):
            _assert_same(ours, theirs, device)


def _memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        torch.cuda.synchronize()
        return torch.cuda.memory_reserved()
    return int(psutil.Process().memory_info().rss)


def test_memory_after_50_trainings_is_that_after_5(digits: Digits) -> None:
    few = _first(digits.train, 32 * (STEPS_PER_LAUNCH + 1))
    device = digits.train.images.device
    lane = make_lane(device) if device.type == "cuda" else Recording()
    gc.disable()  # what only the collector frees stays: it knows nothing of the memory of a GPU
    try:
        for number in range(50):
            run = _run(few, lane, epochs=2, seed=number)
            for _ in run:
                if number % 3 == 0:
                    break  # as a pruned trial ends
            gone = [weakref.ref(run), weakref.ref(run._live), weakref.ref(run._maps)]
            del run, _
            assert [each() for each in gone] == [None] * 3
            if number == 4:
                after_5 = _memory_bytes(device)
        assert _memory_bytes(device) - after_5 < 20e6
    finally:
        gc.enable()


class NoHostReads(TorchDispatchMode):
    """Fails at what makes the host wait for the device, which a captured graph may not do."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        assert func not in (
            torch.ops.aten._local_scalar_dense.default,
            torch.ops.aten.nonzero.default,
            torch.ops.aten.masked_select.default,
        ), f"{func} reads from the device"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_a_step_reads_nothing_back_and_leaves_its_tensors_in_place(
    monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    # As on a GPU: torch's own modules, and images moved by torch.
    monkeypatch.setattr("search.train.accelerate", lambda network: network)
    few = _first(DataSource("mnist-sample").load().train, 64)
    configuration = _configuration(
        optimizer=optimizer, label_smoothing=0.05, recalibration=True, views=5
    )
    run = _run(few, configuration=configuration)
    monkeypatch.setattr("search.train.augment", augment_by_torch)
    run._draw(1)
    run._trained.train()
    run._step()  # the first may make state
    tensors = [
        *(run._chosen, run._maps, run._basis, run._rates, run._now, run._step_index),
        *(run._live.weights, run._live.state, run._measured.weights, run._measured.state),
        *(run._training_sums._sums, run._evaluation_sums._sums),
        *(each for each in run._optimizer.state[run._live.weights].values()),
    ]
    before = [tensor.data_ptr() for tensor in tensors]
    with NoHostReads():
        run._step()
        run._evaluate()
    assert [tensor.data_ptr() for tensor in tensors] == before
    assert run._step_index.item() == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_every_baseline_is_captured_on_a_gpu() -> None:
    digits = DataSource("mnist-sample").load("cuda")
    for name in ("1.3", "separable-residual", "separable-unpadded"):
        run = _run(_first(digits.train, 1500), configuration=baseline(name), epochs=2)
        assert len(list(run)) == 2
        assert run.eager_reason == ""
        assert run.capture_seconds > 0
