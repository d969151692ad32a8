"""The published networks: their sizes, what their write-ups say of them, and that they learn."""

import pytest
import torch
from torch import nn

from search.data import DataSource
from search.train import TrainingRun
from space import PUBLISHED, Architecture, Configuration, Conv, Pool, baseline, footprint
from space.network import build_network

WRITE_UP_1 = ("1.0", "1.1", "1.2", "1.3")


def _architecture(name: str) -> Architecture:
    return PUBLISHED[name].configuration.architecture


def _convs(name: str) -> list[Conv]:
    return [layer for layer in _architecture(name).layers if isinstance(layer, Conv)]


def _field_at_pool_pixels(name: str) -> int:
    """The receptive field of what enters the only pooling."""
    layers = _architecture(name).layers
    (pool,) = (n for n, layer in enumerate(layers) if isinstance(layer, Pool))
    before = _architecture(name).model_copy(update={"layers": layers[:pool]})
    return footprint(before).receptive_field_pixels


def test_every_step_is_there_in_the_order_of_the_write_ups() -> None:
    steps = {0: (1, 3), 1: (0, 3), 2: (1, 4), 3: (1, 4), 4: (1, 4)}
    names = [f"{n}.{step}" for n, (a, b) in steps.items() for step in range(a, b + 1)]
    assert list(PUBLISHED) == [each.id for each in PUBLISHED.values()] == names


@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_have_the_published_parameters(name: str) -> None:
    step = PUBLISHED[name]
    params = footprint(step.configuration.architecture).params
    assert params == pytest.approx(step.params, abs=0 if step.is_exact else 0.02 * step.params)
    network = build_network(step.configuration.architecture)
    assert sum(each.numel() for each in network.parameters() if each.requires_grad) == params
    assert network.eval()(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_size_is_exact_unless_it_was_published_rounded(name: str) -> None:
    assert PUBLISHED[name].is_exact == (name not in {"0.1", "0.2", "0.3", "2.1"})


@pytest.mark.parametrize("name", PUBLISHED)
def test_configurations_round_trip_through_json(name: str) -> None:
    configuration = PUBLISHED[name].configuration
    assert Configuration.from_json(configuration.to_json()) == configuration


@pytest.mark.parametrize("name", PUBLISHED)
def test_only_reconstructions_say_that_they_are(name: str) -> None:
    assert ("reconstruction" in PUBLISHED[name].reconstruction) == (name not in WRITE_UP_1)


@pytest.mark.parametrize("name", PUBLISHED)
def test_accuracies_agree_with_each_other(name: str) -> None:
    step = PUBLISHED[name]
    assert all(98 < each < 100 for each in (step.best_train, step.best_test, *step.last_epochs))
    assert not step.last_epochs or max(step.last_epochs) == step.best_test


@pytest.mark.parametrize("name", PUBLISHED)
def test_recipes_are_those_of_plain_scripts(name: str) -> None:
    recipe = PUBLISHED[name].configuration.recipe
    assert (recipe.optimizer, recipe.momentum, recipe.nesterov) == ("sgd", 0.9, False)
    assert (recipe.weight_decay, recipe.ema_decay, recipe.label_smoothing) == (0, 0, 0)
    assert recipe.schedule in ("constant", "step")


@pytest.mark.parametrize("name", PUBLISHED)
def test_dropout_has_a_place_where_it_has_a_probability(name: str) -> None:
    places = any("dropout" in conv.then for conv in _convs(name))
    assert places == (PUBLISHED[name].configuration.recipe.dropout > 0)


@pytest.mark.parametrize("name", WRITE_UP_1)
def test_write_up_1_is_the_baselines_without_what_it_does_not_mention(name: str) -> None:
    published, ours = PUBLISHED[name].configuration, baseline(name)
    assert published.architecture == ours.architecture
    changed = {"nesterov": False, "weight_decay": 0.0}
    assert published.recipe.model_dump() == {**ours.recipe.model_dump(), **changed}


@pytest.mark.parametrize("name", PUBLISHED)
def test_normalised_networks_are_those_that_the_words_say(name: str) -> None:
    plain = {"0.1", "2.1", "3.1", "3.2", "4.1", "4.2"}
    assert any("norm" in conv.then for conv in _convs(name)) == (name not in plain)


@pytest.mark.parametrize("name", PUBLISHED)
def test_augmentation_is_rotation_by_seven_degrees(name: str) -> None:
    rotated = {"0.3", *WRITE_UP_1, "2.3", "2.4", "3.4", "4.4"}
    augmentation = PUBLISHED[name].configuration.recipe.augmentation
    assert augmentation.rotation_degrees == (7 if name in rotated else 0)
    assert augmentation.model_copy(update={"rotation_degrees": 0.0}).is_off


def test_words_of_write_up_0() -> None:
    assert footprint(_architecture("0.2")).params < footprint(_architecture("0.1")).params
    recipe = PUBLISHED["0.3"].configuration.recipe
    assert (recipe.schedule, recipe.dropout) == ("step", 0.01)


def test_words_of_write_up_2() -> None:
    assert _architecture("2.1").head.kind == "full_conv"
    assert _architecture("2.2").head.kind == "gap_conv"
    assert _architecture("2.3") == _architecture("2.4")
    first, second, last = (PUBLISHED[f"2.{step}"].configuration.recipe for step in (2, 3, 4))
    assert first.dropout == 0 < second.dropout
    assert (first.schedule, second.schedule, last.schedule) == ("constant", "constant", "step")
    assert last.step_epochs == 10
    assert last.learning_rate > second.learning_rate


def test_words_of_write_up_3() -> None:
    assert _architecture("3.1").head.kind == "full_conv"
    assert _architecture("3.1").shapes()[-1][1:] == (7, 7)
    assert _architecture("3.2").head.kind == "gap_conv"
    assert _field_at_pool_pixels("3.1") != _field_at_pool_pixels("3.2") == 5
    assert [conv.width for conv in _convs("3.2")] == [conv.width for conv in _convs("3.3")]
    assert all("norm" in conv.then for conv in _convs("3.3"))
    assert sum(conv.width for conv in _convs("3.3")) == 96
    assert _architecture("3.3") == _architecture("3.4")
    low, last = (PUBLISHED[name].configuration.recipe for name in ("3.3", "3.4"))
    assert 0 < low.dropout < last.dropout == 0.1
    assert (last.schedule, last.step_epochs) == ("step", 5)
    assert (last.batch_size, last.learning_rate) == (32, 0.01)


def test_words_of_write_up_4() -> None:
    assert [conv.width for conv in _convs("4.2")] == [conv.width for conv in _convs("4.3")]
    assert PUBLISHED["4.1"].configuration.recipe == PUBLISHED["4.2"].configuration.recipe
    assert PUBLISHED["4.3"].configuration.recipe.dropout > 0
    last = PUBLISHED["4.4"].configuration.recipe
    assert (last.schedule, last.step_epochs, last.step_factor) == ("step", 3, 0.75)


def test_convolutions_are_plain_and_have_no_biases() -> None:
    for name in PUBLISHED:
        assert {(conv.kind, conv.bias, conv.residual, conv.repeats) for conv in _convs(name)} == {
            ("conv", False, False, 1)
        }
        modules = build_network(_architecture(name)).modules()
        assert all(each.bias is None for each in modules if isinstance(each, nn.Conv2d))


@pytest.mark.parametrize("name", ["0.3", "2.4", "3.4", "4.4"])
def test_last_steps_learn(name: str) -> None:
    digits = DataSource("mnist-sample").load()
    run = TrainingRun(
        PUBLISHED[name].configuration, digits.train, digits.validation, epochs=2, seed=0
    )
    first, second = run
    assert second.train_loss < first.train_loss
    assert second.train_accuracy > 50
