"""Several views of an image: what they are, and that a network takes their mean.

The forms of a network that is exported: with all others, in the tests of each form.
"""

import pytest
import torch

from search.fused import accelerate
from space import baseline, footprint, layer_costs
from space.network import build_network
from space.views import MOVES, mean_of, moved
from tests.networks import EVERY_OP, trained_like

SEVERAL = EVERY_OP["several views, no padding"]


def _images(count: int) -> torch.Tensor:
    return torch.randn(count, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def test_views_are_the_image_and_its_moves_with_the_edge_repeated() -> None:
    image = torch.arange(12.0).view(1, 1, 3, 4)
    views = moved(image, 5)[:, 0]
    assert torch.equal(views[0], image[0, 0])
    for (down, right), view in zip(MOVES, views, strict=True):
        for row in range(3):
            for column in range(4):
                source = min(max(row - down, 0), 2), min(max(column - right, 0), 3)
                assert view[row, column] == image[0, 0][source]


def test_views_of_several_images_follow_each_other() -> None:
    images = _images(3)
    together = moved(images, 5).view(5, 3, 1, 28, 28)
    for number in range(3):
        assert torch.equal(together[:, number], moved(images[number : number + 1], 5))
    logits = torch.arange(30.0).view(15, 2)
    assert torch.equal(mean_of(logits, 5)[1], logits[1::3].mean(0))


@pytest.mark.parametrize("fast", [False, True])
def test_a_network_answers_with_the_mean_and_trains_on_the_image(fast: bool) -> None:
    network = trained_like(SEVERAL, 0).network
    single = build_network(SEVERAL.model_copy(update={"views": 1}))
    single.load_state_dict(network.state_dict())
    images = _images(4)
    answering = (accelerate(network) if fast else network).eval()
    with torch.no_grad():
        answers = torch.stack([single.eval()(moved(images, 5)[n::4]) for n in range(4)])
        torch.testing.assert_close(answering(images), answers.mean(1), rtol=1e-4, atol=5e-5)
        assert not torch.allclose(answering(images), single(images), rtol=0, atol=5e-4)
        torch.testing.assert_close(
            answering.train()(images), single.train()(images), rtol=1e-4, atol=1e-4
        )


def test_views_cost_arithmetic_and_no_parameters() -> None:
    several, single = footprint(SEVERAL), footprint(SEVERAL.model_copy(update={"views": 1}))
    assert several.params == single.params
    assert several.macs == 5 * single.macs == sum(each.macs for each in layer_costs(SEVERAL))
    assert "5 views" in layer_costs(SEVERAL)[-1].name


def test_an_architecture_without_views_is_what_it_was() -> None:
    before = baseline("1.3")
    assert (before.architecture.id, before.recipe.id) == ("ede454a7a431", "0bdfd8cc51de")
    assert before.architecture.model_copy(update={"views": 5}).id != before.architecture.id
