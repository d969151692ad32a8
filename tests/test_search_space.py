"""What a trial can pick: the published nets, fitted ranges, always valid architectures."""

from collections.abc import Sequence
from typing import Any

import optuna
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from space import (
    BASELINES,
    Architecture,
    Augmentation,
    Configuration,
    Conv,
    Head,
    Layer,
    Pool,
    SearchSpace,
    Value,
    baseline,
    baselines_in,
    configuration,
    footprint,
)
from space.network import build_network
from space.search_space import Choice, FloatRange, IntRange
from tests.strategies import RandomTrial

PUBLISHED = {
    # Widths before the transition, width of the transition, widths after it (the last padded),
    # parameters, dropout, learning rate.
    "1.0": ((16, 32), 10, (16, 16, 16), 16, 13_808, 0.1, 0.05),
    "1.1": ((12, 18), 8, (12, 12, 14), 14, 7_936, 0.05, 0.08),
    "1.2": ((12, 18), 8, (12, 14), 14, 6_616, 0.05, 0.08),
    "1.3": ((8, 16), 8, (12, 14), 14, 5_760, 0.01, 0.1),
}


class RecordingTrial(RandomTrial):
    """Keeps what it was asked for."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.asked: list[tuple[Any, ...]] = []

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        self.asked.append((name, "int", low, high, log))
        return super().suggest_int(name, low, high, log=log)

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        self.asked.append((name, "float", low, high, log))
        return super().suggest_float(name, low, high, log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        self.asked.append((name, "categorical", tuple(choices)))
        return super().suggest_categorical(name, choices)


def _published_layers(
    early: tuple[int, ...], transition: int, late: tuple[int, ...], last: int
) -> tuple[Layer, ...]:
    def conv(width: int, padding: int = 0) -> Conv:
        return Conv(kind="conv", width=width, padding=padding, then=("relu", "norm", "dropout"))

    return (
        *(conv(width) for width in early),
        Conv(kind="conv", width=transition, kernel_size=1),
        Pool(kind="max_pool", size=2, stride=2),
        *(conv(width) for width in late),
        conv(last, padding=1),
    )


def _params(**changes: Any) -> dict[str, Any]:
    return {**BASELINES["plain-wide"], **changes}


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_nets_have_their_layers_and_parameters(name: str) -> None:
    *widths, params, _, _ = PUBLISHED[name]
    architecture = baseline(name).architecture
    assert architecture.layers == _published_layers(*widths)
    assert architecture.head == Head(kind="gap_conv", bias=False)
    assert footprint(architecture).params == params


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_nets_have_their_recipe(name: str) -> None:
    *_, dropout, learning_rate = PUBLISHED[name]
    recipe = baseline(name).recipe
    assert (recipe.optimizer, recipe.momentum, recipe.batch_size) == ("sgd", 0.9, 64)
    assert (recipe.schedule, recipe.step_epochs, recipe.step_factor) == ("step", 8, 0.01)
    assert (recipe.dropout, recipe.learning_rate) == (dropout, learning_rate)
    assert recipe.augmentation == Augmentation(rotation_degrees=7)
    assert (recipe.ema_decay, recipe.label_smoothing) == (0, 0)


@pytest.mark.parametrize("max_params", [10_000, 20_000])
@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_nets_are_points_of_the_space(name: str, max_params: int) -> None:
    space = SearchSpace.for_budget(max_params)
    assert space.contains(BASELINES[name])
    assert baselines_in(space)[name] == BASELINES[name]
    assert space.sample(optuna.trial.FixedTrial(BASELINES[name])) == baseline(name)


@pytest.mark.parametrize("budget", range(500, 10_001, 250))
def test_the_first_known_network_fills_the_budget(budget: int) -> None:
    found = baselines_in(SearchSpace.for_budget(budget))
    sizes = {
        name: footprint(configuration(params).architecture).params
        for name, params in found.items()
        if name.startswith("separable-unpadded")
    }
    assert list(found)[: len(sizes)] == list(sizes)
    fitting = [size for size in sizes.values() if size < budget]
    assert 0.75 * budget < fitting[0] == max(fitting)


def test_no_known_network_of_one_width_is_wider_than_one_that_was_tried() -> None:
    names = list(baselines_in(SearchSpace.for_budget(1_000_000)))
    assert names[0] == "separable-unpadded of width 39"


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_baselines_are_points_of_the_default_space(name: str) -> None:
    assert SearchSpace.for_budget(10_000).contains(BASELINES[name])


def test_contains_refuses_what_is_outside() -> None:
    space = SearchSpace.for_budget(10_000)
    inside = _params()
    missing = {name: value for name, value in inside.items() if name != "head"}
    assert space.contains(inside)
    for outside in (
        _params(stage1_depth=4),
        _params(stage1_depth=0),
        _params(stage1_width1=8.5),
        _params(sgd_learning_rate=0.009),
        _params(sgd_learning_rate=0.51),
        _params(head="linear"),
        _params(another=1),
        missing,
    ):
        assert not space.contains(outside)


@settings(max_examples=200, deadline=None)
@given(st.integers(500, 20_000), st.integers(0, 2**32))
def test_every_draw_is_valid_and_inside(max_params: int, seed: int) -> None:
    space = SearchSpace.for_budget(max_params)
    params = space.draw(RandomTrial(seed))
    drawn = configuration(params)
    assert space.contains(params)
    assert space.sample(RandomTrial(seed)) == drawn
    assert Configuration.from_json(drawn.to_json()) == drawn
    assert footprint(drawn.architecture).params > 0


@settings(max_examples=25, deadline=None)
@given(st.integers(500, 20_000), st.integers(0, 2**32))
def test_every_draw_can_be_built_and_trained(max_params: int, seed: int) -> None:
    drawn = SearchSpace.for_budget(max_params).sample(RandomTrial(seed))
    network = build_network(drawn.architecture, dropout=drawn.recipe.dropout)
    network(torch.zeros(2, 1, 28, 28)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize(
    "max_params", [500, 549, 550, 625, 700, 1000, 2000, 4999, 5000, 7000, 9999, 10_000]
)
def test_a_quarter_of_random_draws_is_below_the_budget(max_params: int) -> None:
    space = SearchSpace.for_budget(max_params)
    draws = 1_500
    costs = [footprint(space.sample(RandomTrial(n)).architecture).params for n in range(draws)]
    assert sum(cost < max_params for cost in costs) >= draws / 4


@settings(max_examples=50, deadline=None)
@given(st.integers(500, 20_000), st.integers(0, 2**32))
def test_every_draw_asks_for_the_same_parameters(max_params: int, seed: int) -> None:
    space = SearchSpace.for_budget(max_params)
    trial, first = RecordingTrial(seed), RecordingTrial(0)
    space.draw(trial)
    space.draw(first)
    assert trial.asked == first.asked
    assert [name for name, *_ in trial.asked] == list(space.dimensions)


def test_draws_of_a_real_study_have_one_fixed_set_of_parameters() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = SearchSpace.for_budget(10_000)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(n_startup_trials=5, seed=0, multivariate=True)
    )

    def objective(trial: optuna.Trial) -> float:
        return footprint(space.sample(trial).architecture).params

    study.optimize(objective, n_trials=15)
    for trial in study.trials:
        assert trial.state == optuna.trial.TrialState.COMPLETE
        assert list(trial.params) == list(space.dimensions)
        again = footprint(configuration(trial.params).architecture)
        assert again.params == trial.value


def test_search_space_is_a_value_that_survives_json() -> None:
    for max_params in (500, 4_999, 10_000, 20_000):
        space = SearchSpace.for_budget(max_params)
        read = SearchSpace.from_json(space.to_json())
        assert read == space
        assert read.id == space.id
        assert list(read.dimensions) == list(space.dimensions)
        for name, each in read.dimensions.items():
            assert type(each) is type(space.dimensions[name])
        assert read.sample(RandomTrial(1)) == space.sample(RandomTrial(1))


def test_search_space_is_frozen() -> None:
    space = SearchSpace.for_budget(1_000)
    with pytest.raises(ValueError, match="frozen"):
        space.max_params = 5  # type: ignore[misc]


def test_ranges_contain_their_ends_and_no_more() -> None:
    cases: list[tuple[IntRange | FloatRange | Choice, list[Any], list[Any]]] = [
        (IntRange(low=2, high=5), [2, 5], [1, 6, 2.5, "2"]),
        (FloatRange(low=0.5, high=2), [0.5, 1, 2.0], [0.4, 2.1, "1", float("nan")]),
        (Choice(choices=("a", "b")), ["a", "b"], ["c", 0]),
    ]
    for each, inside, outside in cases:
        assert [value for value in inside if not each.contains(value)] == []
        assert [value for value in outside if each.contains(value)] == []


@pytest.mark.parametrize(
    ("layers", "head", "least", "most"),
    [
        # Wide stacks with a last kernel as large as the map.
        (
            (
                Conv(kind="conv", width=32, padding=1, bias=True, then=("relu",)),
                Conv(kind="conv", width=64, padding=1, bias=True, then=("relu",)),
                Pool(kind="max_pool"),
                Conv(kind="conv", width=128, padding=1, bias=True, then=("relu",)),
                Conv(kind="conv", width=256, padding=1, bias=True, then=("relu",)),
                Pool(kind="max_pool"),
                Conv(kind="conv", width=192, padding=1, bias=True, then=("relu",)),
            ),
            Head(kind="full_conv", bias=True),
            900_000,
            1_000_000,
        ),
        # A basic net with biases, without normalisation.
        (
            (
                Conv(kind="conv", width=16, bias=True, then=("relu",)),
                Conv(kind="conv", width=32, bias=True, then=("relu",)),
                Pool(kind="max_pool"),
                Conv(kind="conv", width=10, kernel_size=1, bias=True, then=("relu",)),
                Conv(kind="conv", width=32, bias=True, then=("relu",)),
                Conv(kind="conv", width=50, bias=True, then=("relu",)),
            ),
            Head(kind="gap_conv", bias=True),
            22_500,
            23_500,
        ),
    ],
)
def test_heavy_nets_can_be_described_and_built(
    layers: tuple[Layer, ...], head: Head, least: int, most: int
) -> None:
    architecture = Architecture(layers=layers, head=head)
    network = build_network(architecture)
    built = sum(parameter.numel() for parameter in network.parameters())
    assert least < built == footprint(architecture).params < most
    assert network.eval()(torch.zeros(1, 1, 28, 28)).shape == (1, 10)


def test_unused_choices_do_not_change_the_recipe() -> None:
    def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
        recipes: list[Value] = [configuration(_params(**each)).recipe for each in (a, b)]
        assert (recipes[0] == recipes[1]) == (recipes[0].id == recipes[1].id)
        return recipes[0].id == recipes[1].id

    def dropping(place: str, p: float) -> dict[str, Any]:
        return {"dropout_place": place, "dropout": p}

    assert same(dropping("nowhere", 0.1), dropping("nowhere", 0.05))
    assert not same(dropping("everywhere", 0.1), dropping("everywhere", 0.05))
    for unused in ("constant", "cosine", "one_cycle"):
        a = {"schedule": unused, "step_epochs": 2, "step_factor": 0.5}
        assert same(a, {"schedule": unused, "step_epochs": 3, "step_factor": 0.1})
    assert not same(
        {"schedule": "step", "step_epochs": 2, "step_factor": 0.5},
        {"schedule": "step", "step_epochs": 2, "step_factor": 0.4},
    )
    assert same({"adamw_learning_rate": 0.002}, {"adamw_learning_rate": 0.003})
    assert not same({"sgd_learning_rate": 0.02}, {"sgd_learning_rate": 0.03})


def test_unused_choices_do_not_change_the_architecture() -> None:
    plain = configuration(_params()).architecture
    for unused in (
        {"stage1_width3": 20},
        {"stage3_width1": 20},
        {"stage3_kind": "separable"},
        {"transition1_width": 20},
        {"transition2_pool": "average"},
    ):
        assert configuration(_params(**unused)).architecture.id == plain.id


def test_residual_stages_have_one_width_and_add_wherever_the_shape_is_kept() -> None:
    layers = baseline("separable-residual").architecture.layers
    convs = [layer for layer in layers if isinstance(layer, Conv)]
    assert [conv.width for conv in convs] == [16, 16, 24, 24, 32, 32]
    assert [conv.residual for conv in convs] == [False, True] * 3
    assert [conv.kind for conv in convs] == ["conv", *["separable"] * 5]


def _convs(**changes: Any) -> list[Conv]:
    layers = configuration(_params(**changes)).architecture.layers
    return [layer for layer in layers if isinstance(layer, Conv)]


def test_repeats_apply_to_the_last_convolution_of_a_stage() -> None:
    convs = _convs(stage1_repeats=2, stage2_repeats=3)
    assert [conv.repeats for conv in convs] == [1, 2, 1, 1, 3]
    for last, before in ((convs[1], convs[0]), (convs[4], convs[3])):
        assert (last.width, last.padding) == (before.width, last.kernel_size // 2)


def test_the_last_stage_may_keep_the_size_of_the_one_before() -> None:
    drawn = _params(stage3_depth=1, stage3_padding="same", last_padding="same")
    pooled, kept = (
        configuration({**drawn, "transition2_pool": pool}).architecture for pool in ("max", "none")
    )
    assert [layer.kind for layer in pooled.layers].count("max_pool") == 2
    assert [layer.kind for layer in kept.layers].count("max_pool") == 1
    assert kept.shapes()[-1][1:] == kept.shapes()[-2][1:]


def test_the_very_first_convolution_and_strided_ones_are_not_repeated() -> None:
    assert [conv.repeats for conv in _convs(stage1_depth=1, stage1_repeats=4)] == [1] * 4
    strided = _convs(stage1_repeats=4, transition1_pool="stride")
    assert [(conv.repeats, conv.stride) for conv in strided[:2]] == [(1, 1), (1, 2)]


def test_normalisations_have_the_scale_drawn() -> None:
    with_scale, without = _params(), _params(norm_scale=False)
    assert all(conv.norm_scale for conv in _convs())
    assert not any(conv.norm_scale for conv in _convs(norm_scale=False))
    saved = sum(conv.width for conv in _convs())
    costs = [footprint(configuration(each).architecture).params for each in (with_scale, without)]
    assert costs[0] - costs[1] == saved
    # Without a normalisation both draws are the same network.
    assert _convs(order="relu", norm_scale=False) == _convs(order="relu")


@pytest.mark.parametrize(
    ("place", "places"),
    [
        ("nowhere", []),
        ("everywhere", [0, 1, 3, 4, 5]),
        ("after_transition", [3, 4, 5]),
        ("last", [5]),
    ],
)
def test_dropout_is_at_the_place_drawn(place: str, places: list[int]) -> None:
    layers = configuration(_params(dropout_place=place)).architecture.layers
    found = [n for n, layer in enumerate(layers) if isinstance(layer, Conv) and layer.then]
    assert found == [0, 1, 3, 4, 5]
    assert [n for n in found if "dropout" in layers[n].then] == places  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("pool", "conv", "expected"),
    [
        ("max", "none", ["conv", "conv", "max_pool", "conv"]),
        ("average", "before_pool", ["conv", "conv", "conv", "average_pool", "conv"]),
        ("max", "after_pool", ["conv", "conv", "max_pool", "conv", "conv"]),
        ("stride", "none", ["conv", "conv", "conv"]),
        ("stride", "after_pool", ["conv", "conv", "conv", "conv"]),
    ],
)
def test_transition_is_as_drawn(pool: str, conv: str, expected: list[str]) -> None:
    drawn = _params(transition1_pool=pool, transition1_conv=conv, stage2_depth=1)
    architecture = configuration(drawn).architecture
    assert [layer.kind for layer in architecture.layers] == expected
    assert (architecture.layers[1].stride == 2) == (pool == "stride")
