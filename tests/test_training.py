"""Augmentation, schedules, the flat network and the training run."""

import copy
import math
from dataclasses import asdict
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import search.recalibrate
from search.augment import augment, basis, normalise, random_maps
from search.data import MEAN, STD, DataSource, Digits, Examples
from search.flat import FlatNetwork
from search.plan import derived_seed
from search.schedule import learning_rates
from search.train import EVALUATION_BATCH, EpochMetrics, TrainingRun, evaluate, full_batches
from space import Architecture, Augmentation, Configuration, Conv, Head, Pool, Recipe, baseline
from space.network import build_network
from tests.strategies import architectures

CPU = torch.device("cpu")


def _tiny_architecture(*then: Any) -> Architecture:
    return Architecture(
        layers=(
            Conv(kind="conv", width=6, stride=2, then=then),
            Pool(kind="max_pool"),
            Conv(kind="separable", width=8, padding=1, then=then),
        ),
        head=Head(kind="gap_conv", bias=True),
    )


LARGER = baseline("1.3").architecture
NORMALISED = _tiny_architecture("norm", "relu")
DROPPED = _tiny_architecture("norm", "relu", "dropout")
AUGMENTED = Augmentation(rotation_degrees=10, shift_pixels=2, scale=0.1, shear_degrees=5)


@pytest.fixture(scope="module")
def digits() -> Digits:
    return DataSource("mnist-sample").load()


@pytest.fixture(scope="module")
def few(digits: Digits) -> Examples:
    return _first(digits.train, 128)


def _first(examples: Examples, count: int) -> Examples:
    """`count` examples with all classes among them; the sample is sorted by class."""
    spread = torch.linspace(0, len(examples) - 1, count).long()
    return Examples(examples.images, examples.labels, examples.indices[spread])


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _dots(count: int, row: int, column: int) -> torch.Tensor:
    pixels = torch.zeros(count, 28, 28, dtype=torch.uint8)
    pixels[:, row, column] = 255
    return pixels


def _brightness(images: torch.Tensor) -> torch.Tensor:
    """Pixels 0..1 (B, H, W) of network input (B, 1, H, W)."""
    return (images * STD + MEAN).squeeze(1)


def _centroids(images: torch.Tensor) -> torch.Tensor:
    """Row and column (B, 2) of the centre of brightness."""
    bright = _brightness(images)
    ramp = torch.arange(28.0)
    moments = torch.stack([bright.sum(2) @ ramp, bright.sum(1) @ ramp], dim=1)
    return moments / bright.sum((1, 2))[:, None]


def _matrices(strengths: Augmentation, count: int = 500) -> torch.Tensor:
    return random_maps(strengths, count, 28, _generator())


def _moved(
    pixels: torch.Tensor, strengths: Augmentation, generator: torch.Generator | None = None
) -> torch.Tensor:
    maps = random_maps(strengths, len(pixels), 28, generator or _generator())
    return augment(pixels, maps, basis(strengths, 28))


# Augmentation


def test_normalisation_gives_mnist_zero_mean_and_unit_spread() -> None:
    pixels = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    expected = torch.tensor([[[[-MEAN / STD, (1 - MEAN) / STD]]]])
    torch.testing.assert_close(normalise(pixels), expected)
    assert pixels.tolist() == [[[0, 255]]]


@pytest.mark.parametrize(
    "name",
    ["rotation_degrees", "shift_pixels", "scale", "shear_degrees", "elastic_pixels"],
)
def test_each_strength_moves_images_and_next_to_none_keeps_them(few: Examples, name: str) -> None:
    pixels, _ = few.batch(torch.arange(16))
    strong, weak = (_moved(pixels, Augmentation(**{name: s})) for s in (0.9, 1e-6))
    torch.testing.assert_close(weak, normalise(pixels), atol=1e-3, rtol=0)
    assert (strong - normalise(pixels)).abs().max() > 0.01


def test_shift_moves_a_pixel_by_what_the_matrix_says_in_pixels() -> None:
    strengths = Augmentation(shift_pixels=3)
    shifts = _matrices(strengths, 100)[:, :, 2] * 28 / 2
    moved = _moved(_dots(100, row=10, column=15), strengths)
    assert shifts.abs().max() <= 3
    assert shifts.abs().max() > 2.5
    assert shifts[:, 0].mean().abs() < 0.6
    # A pixel of the output at (x, y) is taken from the input at (x, y) + shift.
    expected = torch.tensor([10.0, 15.0]) - shifts.flip(1)
    torch.testing.assert_close(_centroids(moved), expected, atol=1e-2, rtol=0)


def test_shift_of_two_pixels_is_exactly_two_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.ones(shape))
    moved = _moved(_dots(1, row=10, column=15), Augmentation(shift_pixels=2))
    torch.testing.assert_close(moved, normalise(_dots(1, row=8, column=13)), atol=1e-3, rtol=0)


def test_rotation_turns_by_at_most_its_strength_and_keeps_lengths() -> None:
    matrices = _matrices(Augmentation(rotation_degrees=30))
    linear, shift = matrices[:, :, :2], matrices[:, :, 2]
    torch.testing.assert_close(linear @ linear.mT, torch.eye(2).expand(500, 2, 2))
    degrees = torch.rad2deg(torch.atan2(linear[:, 1, 0], linear[:, 0, 0]))
    assert degrees.min() < -29
    assert degrees.max() > 29
    assert degrees.abs().max() <= 30.001
    assert not shift.any()


def test_quarter_turn_is_a_quarter_turn(few: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.ones(shape))
    pixels, _ = few.batch(torch.arange(8))
    turned = _moved(pixels, Augmentation(rotation_degrees=90))
    expected = normalise(torch.rot90(pixels, 1, (1, 2)))
    torch.testing.assert_close(turned, expected, atol=2e-3, rtol=0)


def test_scale_zooms_between_its_bounds() -> None:
    matrices = _matrices(Augmentation(scale=0.2))
    zoom = 1 / matrices[:, 0, 0]
    assert 0.8 <= zoom.min() < 0.81
    assert 1.19 < zoom.max() <= 1.2001
    torch.testing.assert_close(matrices[:, :, :2], torch.eye(2) / zoom[:, None, None])


def test_scale_above_one_makes_the_digit_larger(
    few: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.ones(shape))
    pixels, _ = few.batch(torch.arange(16))
    larger = _brightness(_moved(pixels, Augmentation(scale=0.1))).sum((1, 2))
    before = pixels.float().div(255).sum((1, 2))
    torch.testing.assert_close(larger / before, torch.full((16,), 1.21), atol=0.05, rtol=0)


def test_shear_keeps_areas_and_rows() -> None:
    matrices = _matrices(Augmentation(shear_degrees=20))
    degrees = torch.rad2deg(torch.atan(matrices[:, 0, 1]))
    assert 19 < degrees.abs().max() <= 20.001
    torch.testing.assert_close(matrices[:, 0, 0], torch.ones(500))
    torch.testing.assert_close(matrices[:, 1], torch.tensor([0.0, 1.0, 0.0]).expand(500, 3))


@given(
    st.builds(
        Augmentation,
        rotation_degrees=st.floats(0.1, 180),
        shift_pixels=st.floats(0, 28),
        scale=st.floats(0, 0.5),
        shear_degrees=st.floats(0, 60),
    )
)
@settings(max_examples=30, deadline=None)
def test_areas_change_by_the_square_of_the_zoom_only(strengths: Augmentation) -> None:
    matrices = _matrices(strengths, 100).double()
    zoom = torch.linalg.det(matrices[:, :, :2]).rsqrt()
    assert zoom.min() >= 1 - strengths.scale - 1e-4
    assert zoom.max() <= 1 + strengths.scale + 1e-4


def test_what_is_elastic_moves_each_of_its_points_by_itself() -> None:
    size, strength = 28, 2.0
    elastic = Augmentation(elastic_pixels=strength)
    maps = random_maps(elastic, 200, size, _generator())
    grid = (maps @ basis(elastic, size)).view(200, 2, 28, 28)
    here = (2 * torch.arange(size) + 1) / size - 1
    moved = (grid - torch.stack(torch.meshgrid(here, here, indexing="xy"))) * size / 2  # pixels
    points = moved[:, :, :: size // 3, :: size // 3]
    assert points.shape[2:] == (4, 4)
    assert 0.98 * strength < points.abs().max() <= strength + 1e-4
    flat = points.flatten(1).T
    assert (torch.corrcoef(flat) - torch.eye(len(flat))).abs().max() < 0.35
    # Between them it is smooth: neither columns nor rows change places.
    assert moved[:, 0].diff(dim=2).min() > -1
    assert moved[:, 1].diff(dim=1).min() > -1
    assert moved[:, :, 4:6, 4:6].std() > 0.1 * strength


def test_an_elastic_map_of_nothing_is_the_affine_one(few: Examples) -> None:
    pixels, _ = few.batch(torch.arange(8))
    affine = Augmentation(rotation_degrees=20)
    elastic = affine.model_copy(update={"elastic_pixels": 1e-6})
    torch.testing.assert_close(
        _moved(pixels, elastic), _moved(pixels, affine), atol=1e-4, rtol=1e-4
    )


def test_every_image_and_every_call_is_moved_differently() -> None:
    generator = _generator()
    dots = _dots(20, row=9, column=17)
    first, second = _moved(dots, AUGMENTED, generator), _moved(dots, AUGMENTED, generator)
    assert len({image.numpy().tobytes() for image in torch.cat([first, second])}) == 40


def test_augmentation_follows_its_generator_and_no_other(few: Examples) -> None:
    pixels, _ = few.batch(torch.arange(16))
    torch.manual_seed(1)
    first = _moved(pixels, AUGMENTED, _generator(3))
    torch.manual_seed(2)
    assert torch.equal(_moved(pixels, AUGMENTED, _generator(3)), first)
    assert not torch.equal(_moved(pixels, AUGMENTED, _generator(4)), first)


# Schedules


def _rates(schedule: str, epochs: int = 10, steps: int = 7, **changes: Any) -> list[float]:
    recipe = Recipe(learning_rate=0.4, schedule=schedule, **changes)
    return learning_rates(recipe, epochs=epochs, steps_per_epoch=steps)


@given(
    st.sampled_from(["constant", "step", "cosine", "one_cycle"]),
    st.integers(1, 20),
    st.integers(1, 20),
    st.floats(0.01, 0.99),
)
@settings(max_examples=100, deadline=None)
def test_schedule_has_one_positive_rate_per_step_and_reaches_its_peak(
    schedule: str, epochs: int, steps: int, warmup: float
) -> None:
    rates = _rates(schedule, epochs, steps, warmup_fraction=warmup)
    assert len(rates) == epochs * steps
    assert max(rates) == pytest.approx(0.4)
    assert min(rates) > 0


def test_constant_schedule_is_constant() -> None:
    assert set(_rates("constant")) == {0.4}


def test_step_schedule_drops_at_epoch_boundaries() -> None:
    rates = _rates("step", epochs=7, steps=5, step_epochs=3, step_factor=0.1)
    assert rates[:15] == [0.4] * 15
    assert rates[15:30] == pytest.approx([0.04] * 15)
    assert rates[30:] == pytest.approx([0.004] * 5)


def test_cosine_schedule_falls_from_the_peak_to_nearly_zero() -> None:
    rates = _rates("cosine")
    assert rates[0] == 0.4
    assert rates[35] == pytest.approx(0.2)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.4 * 0.001


def test_one_cycle_schedule_rises_in_a_line_and_falls_to_nearly_zero() -> None:
    rates = _rates("one_cycle", warmup_fraction=0.2)
    rise, fall = rates[:14], rates[14:]
    assert rise == pytest.approx([0.4 * step / 14 for step in range(1, 15)])
    assert fall[0] == 0.4
    assert fall == sorted(fall, reverse=True)
    assert fall[-1] < 0.4 * 0.001


# The flat network


def _images(count: int) -> torch.Tensor:
    return torch.randn(count, 1, 28, 28, generator=_generator())


def test_parameters_and_statistics_are_views_of_flat_tensors() -> None:
    network = build_network(NORMALISED)
    flat = FlatNetwork(network, CPU)
    with torch.no_grad():
        flat.weights.fill_(0.5)
        flat.state.fill_(2.0)
    assert all((parameter == 0.5).all() for parameter in network.parameters())
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 2
    for norm in norms:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert (norm.running_mean == 2).all()
        assert (norm.running_var == 2).all()
    assert flat.weights.numel() == sum(parameter.numel() for parameter in network.parameters())


@settings(max_examples=30, deadline=None)
@given(architectures())
def test_flattening_changes_neither_values_nor_outputs(architecture: Architecture) -> None:
    network = build_network(architecture).eval()
    plain = copy.deepcopy(network)
    flat = FlatNetwork(network, CPU)
    state, expected = network.state_dict(), plain.state_dict()
    assert list(state) == list(expected)
    assert all(torch.equal(state[name], expected[name]) for name in expected)
    images = _images(2)
    torch.testing.assert_close(flat.network(images), plain(images))


@settings(max_examples=30, deadline=None)
@given(architectures())
def test_flat_gradient_is_that_of_the_parameters_in_their_places(
    architecture: Architecture,
) -> None:
    network = build_network(architecture).eval()
    plain = copy.deepcopy(network)
    flat = FlatNetwork(network, CPU)
    labels = torch.tensor([3, 7])
    for count in (1, 2):  # the second time replaces the first
        loss = count * F.cross_entropy(network(_images(2)), labels)
        flat.set_gradients(torch.autograd.grad(loss, flat.parameters))
    (2 * F.cross_entropy(plain(_images(2)), labels)).backward()
    assert flat.weights.grad is not None
    for parameter, expected in zip(network.parameters(), plain.parameters(), strict=True):
        place = parameter.shape, parameter.stride(), parameter.storage_offset()
        # As vectors: a maximum or a ReLU near a tie may fall the other way for single elements.
        assert expected.grad is not None
        distance = (flat.weights.grad.as_strided(*place) - expected.grad).norm()
        assert distance <= 0.01 * expected.grad.norm() + 1e-4


def test_kernels_keep_channels_last_strides() -> None:
    network = FlatNetwork(build_network(LARGER), CPU).network
    kernels = [parameter for parameter in network.parameters() if parameter.dim() == 4]
    assert len(kernels) == 7
    for kernel in kernels:
        assert kernel.is_contiguous(memory_format=torch.channels_last)


def test_copy_and_move_act_on_weights_and_statistics() -> None:
    a, b = (FlatNetwork(build_network(NORMALISED), CPU) for _ in range(2))
    with torch.no_grad():
        a.weights.zero_()
        a.state.zero_()
        b.weights.fill_(8)
        b.state.fill_(4)
        a.move_towards(b, torch.tensor(0.25))
        assert set(a.weights.tolist()) == {2.0}
        assert set(a.state.tolist()) == {1.0}
        a.copy_from(b)
    assert torch.equal(a.weights, b.weights)
    assert torch.equal(a.state, b.state)
    assert all((parameter == 8).all() for parameter in a.network.parameters())


# The training run


def _configuration(architecture: Architecture = NORMALISED, **recipe: Any) -> Configuration:
    chosen: dict[str, Any] = {"learning_rate": 0.1, "batch_size": 32, **recipe}
    return Configuration(architecture=architecture, recipe=Recipe(**chosen))


def _run(
    configuration: Configuration,
    train: Examples,
    evaluation: Examples | None = None,
    *,
    epochs: int = 2,
    seed: int = 0,
    precision: Any = "float32",
) -> TrainingRun:
    return TrainingRun(
        configuration, train, evaluation or train, epochs=epochs, seed=seed, precision=precision
    )


def _numbers(metrics: EpochMetrics) -> dict[str, float]:
    """All but the times."""
    return {name: value for name, value in asdict(metrics).items() if "seconds" not in name}


def _history(run: TrainingRun) -> list[dict[str, float]]:
    return [_numbers(metrics) for metrics in run]


def _plain_training(
    configuration: Configuration, train: Examples, *, epochs: int, seed: int
) -> nn.Module:
    """What a run does, written with separate parameters and torch's own plain optimisers."""
    recipe = configuration.recipe
    torch.manual_seed(derived_seed(seed, "weights"))
    network = build_network(configuration.architecture).train()
    optimizer: torch.optim.Optimizer
    if recipe.optimizer == "sgd":
        optimizer = torch.optim.SGD(
            network.parameters(),
            lr=1,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
            foreach=False,
        )
    else:
        optimizer = torch.optim.AdamW(
            network.parameters(),
            lr=1,
            betas=(recipe.momentum, 0.999),
            weight_decay=recipe.weight_decay,
            foreach=False,
        )
    generator = _generator(derived_seed(seed, "batches"))
    steps = len(train) // recipe.batch_size
    rates = iter(learning_rates(recipe, epochs=epochs, steps_per_epoch=steps))
    for _ in range(epochs):
        order = torch.randperm(len(train), generator=generator)
        for positions in order.split(recipe.batch_size)[:steps]:
            pixels, labels = train.batch(positions)
            optimizer.param_groups[0]["lr"] = next(rates)
            optimizer.zero_grad()
            F.cross_entropy(
                network(normalise(pixels)), labels, label_smoothing=recipe.label_smoothing
            ).backward()
            optimizer.step()
    return network.eval()


@pytest.mark.parametrize(
    "recipe",
    [
        {"momentum": 0.0, "nesterov": False, "schedule": "constant"},
        {"momentum": 0.9, "weight_decay": 0.01, "schedule": "one_cycle"},
        {"momentum": 0.9, "nesterov": False, "schedule": "cosine", "label_smoothing": 0.1},
        {"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.1, "schedule": "step"},
    ],
)
def test_run_is_plain_training_with_one_flat_parameter(
    few: Examples, recipe: dict[str, Any]
) -> None:
    configuration = _configuration(**recipe)
    run = _run(configuration, few, epochs=2, seed=5)
    list(run)
    plain = _plain_training(configuration, few, epochs=2, seed=5)
    trained, expected = run.network.state_dict(), plain.state_dict()
    assert list(trained) == list(expected)
    for name in expected:
        torch.testing.assert_close(trained[name], expected[name], atol=2e-4, rtol=1e-3, msg=name)


def test_run_overfits_one_batch(digits: Digits) -> None:
    batch = _first(digits.train, 32)
    history = list(_run(_configuration(LARGER), batch, epochs=60))
    assert history[-1].train_accuracy == 100
    assert history[-1].accuracy > 90
    assert history[-1].train_loss < 0.3 < history[0].train_loss


def test_run_learns_the_sample(digits: Digits) -> None:
    configuration = baseline("plain-wide")
    run = _run(configuration, digits.train, digits.validation, epochs=5)
    history = list(run)
    assert history[-1].accuracy > 90
    assert evaluate(run.network, digits.validation) == (history[-1].loss, history[-1].accuracy)


def test_run_in_bfloat16_learns_and_measures_in_float32(digits: Digits) -> None:
    batch = _first(digits.train, 32)
    run = _run(_configuration(LARGER), batch, epochs=60, precision="bfloat16")
    history = list(run)
    assert history[-1].train_accuracy == 100
    assert history[-1].accuracy == evaluate(run.network.float(), batch)[1] > 90
    assert {parameter.dtype for parameter in run.network.parameters()} == {torch.float32}


def test_precision_changes_the_numbers(few: Examples) -> None:
    full = _history(_run(_configuration(), few))
    half = _history(_run(_configuration(), few, precision="bfloat16"))
    assert [each["train_loss"] for each in half] != [each["train_loss"] for each in full]
    assert half[0]["train_loss"] == pytest.approx(full[0]["train_loss"], rel=0.05)


def test_epochs_are_numbered_and_count_full_batches(few: Examples, digits: Digits) -> None:
    run = _run(_configuration(batch_size=50), few, digits.validation, epochs=3)
    history = list(run)
    assert [metrics.epoch for metrics in history] == [1, 2, 3]
    assert full_batches(_configuration(batch_size=50).recipe, few) == (50, len(few) // 50)
    assert all(metrics.train_seconds > 0 for metrics in history)
    assert all(metrics.evaluation_seconds > 0 for metrics in history)


def test_batch_larger_than_the_data_is_all_of_it(few: Examples) -> None:
    run = _run(_configuration(batch_size=4096), few)
    assert full_batches(_configuration(batch_size=4096).recipe, few) == (len(few), 1)
    assert len(list(run)) == 2


def test_same_seed_gives_the_same_numbers_and_another_does_not(few: Examples) -> None:
    configuration = _configuration(
        _tiny_architecture("norm", "relu", "dropout"),
        dropout=0.1,
        ema_decay=0.9,
        augmentation=AUGMENTED,
    )
    first = _history(_run(configuration, few, seed=1))
    torch.rand(10)
    assert _history(_run(configuration, few, seed=1)) == first
    other = _history(_run(configuration, few, seed=2))
    assert other[0]["train_loss"] != first[0]["train_loss"]
    assert other[0]["loss"] != first[0]["loss"]


def test_numbers_do_not_depend_on_what_else_draws_at_random(few: Examples) -> None:
    configuration = _configuration(_tiny_architecture("norm", "relu", "dropout"), dropout=0.1)
    alone = _history(_run(configuration, few))
    disturbed = []
    for metrics in _run(configuration, few):
        disturbed.append(_numbers(metrics))
        torch.rand(10)
    assert disturbed == alone


def test_evaluation_is_that_of_the_evaluation_mode(few: Examples, digits: Digits) -> None:
    torch.manual_seed(0)
    network = build_network(_tiny_architecture("norm", "relu", "dropout"), dropout=0.5).eval()
    loss, accuracy = evaluate(network, few)
    pixels, labels = few.batch(torch.arange(len(few)))
    logits = network(normalise(pixels))
    assert loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    assert accuracy == pytest.approx(100 * (logits.argmax(1) == labels).float().mean().item())


def test_evaluation_does_not_depend_on_its_chunks(
    few: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = build_network(NORMALISED).eval()
    whole = evaluate(network, few)
    monkeypatch.setitem(EVALUATION_BATCH, "cpu", 50)
    assert evaluate(network, few) == pytest.approx(whole, rel=1e-5)


def test_measured_weights_are_the_moving_average_of_the_live_ones(few: Examples) -> None:
    run = _run(_configuration(ema_decay=0.3), few, epochs=2)
    live, weights, state = run._live, [], []
    assert run._measured is not live

    def keep(*_: object) -> None:
        weights.append(live.weights.clone())
        state.append(live.state.clone())

    average, average_state = live.weights.clone(), live.state.clone()
    run._optimizer.register_step_post_hook(keep)
    list(run)
    assert len(weights) == 8
    for step, (now, now_state) in enumerate(zip(weights, state, strict=True), 1):
        decay = min((1 + step) / (10 + step), 0.3)
        average = decay * average + (1 - decay) * now
        average_state = decay * average_state + (1 - decay) * now_state
    torch.testing.assert_close(run._measured.weights, average)
    torch.testing.assert_close(run._measured.state, average_state)
    assert not torch.allclose(average, live.weights)
    assert run.network is run._measured.network
    assert not run.network.training


def test_averaging_does_not_change_what_is_trained(few: Examples) -> None:
    plain, averaged = (
        _history(_run(_configuration(ema_decay=decay), few)) for decay in (0.0, 0.98)
    )
    assert [each["train_loss"] for each in averaged] == [each["train_loss"] for each in plain]
    assert [each["loss"] for each in averaged] != [each["loss"] for each in plain]


@pytest.mark.parametrize("ema_decay", [0.0, 0.98])
def test_recalibration_measures_with_the_statistics_of_plain_images(
    few: Examples, ema_decay: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search.recalibrate, "BATCH", 50)
    recipe: dict[str, Any] = {
        "ema_decay": ema_decay,
        "dropout": 0.3,
        "augmentation": Augmentation(rotation_degrees=60, shift_pixels=5),
    }
    run = _run(_configuration(DROPPED, recalibration=True, **recipe), few)
    measured = [metrics.accuracy for metrics in run]
    assert evaluate(run.network, few)[1] == pytest.approx(measured[-1])
    again = copy.deepcopy(run.network)
    norms = [each for each in again.modules() if isinstance(each, nn.BatchNorm2d)]
    for each in norms:
        assert each.momentum == 0.1
        each.reset_running_stats()
        each.train()  # dropout stays off
        each.momentum = None  # a plain mean over batches
    with torch.no_grad():
        for batch in range(3):
            again(normalise(few.images[few.indices[batch::3]]))
    for (name, found), (_, expected) in zip(
        run.network.named_buffers(), again.named_buffers(), strict=True
    ):
        if "running" in name:
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4, msg=name)


def test_recalibration_sees_all_classes_at_once(digits: Digits) -> None:
    for examples in (digits.train, digits.all_training):
        batches = search.recalibrate._batches(examples)
        assert sum(map(len, batches)) == search.recalibrate.IMAGES
        assert max(map(len, batches)) <= search.recalibrate.BATCH
        for chosen in batches:
            assert len(examples.labels[chosen].unique()) == 10
    few = _first(digits.train, 100)
    (whole,) = search.recalibrate._batches(few)
    assert torch.equal(whole, few.indices)


@pytest.mark.parametrize("ema_decay", [0.0, 0.98])
def test_recalibration_does_not_change_what_is_trained(few: Examples, ema_decay: float) -> None:
    recipe: dict[str, Any] = {"ema_decay": ema_decay, "dropout": 0.3, "augmentation": AUGMENTED}
    plain, recalibrated = (
        _history(_run(_configuration(DROPPED, recalibration=each, **recipe), few))
        for each in (False, True)
    )
    assert [each["train_loss"] for each in recalibrated] == [each["train_loss"] for each in plain]
    assert [each["loss"] for each in recalibrated] != [each["loss"] for each in plain]


def test_training_images_are_left_as_they_are(few: Examples) -> None:
    before = few.images.clone()
    list(_run(_configuration(augmentation=AUGMENTED), few))
    assert torch.equal(few.images, before)


def test_run_that_diverges_says_so_and_ends(few: Examples) -> None:
    configuration = _configuration(
        _tiny_architecture(),
        learning_rate=10,
        momentum=0.97,
        schedule="constant",
        batch_size=4,
    )
    history = list(_run(configuration, few, epochs=20))
    assert len(history) < 20
    assert [metrics.is_finite for metrics in history] == [True] * (len(history) - 1) + [False]


@pytest.mark.parametrize("name", ["train_loss", "loss"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_metrics_are_finite_only_with_finite_losses(name: str, value: float) -> None:
    numbers: dict[str, Any] = {
        "epoch": 1,
        "train_loss": 0.1,
        "train_accuracy": 99.0,
        "loss": 0.1,
        "accuracy": 99.0,
        "train_seconds": 1.0,
        "evaluation_seconds": 1.0,
    }
    assert EpochMetrics(**numbers).is_finite
    assert not EpochMetrics(**{**numbers, name: value}).is_finite
