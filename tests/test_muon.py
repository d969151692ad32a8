"""Muon on a flat tensor moves each kernel as torch's own moves a matrix."""

import pytest
import torch

from search.flat import FlatNetwork
from search.muon import Muon, orthogonalised
from search.optimizer import make_optimizer
from space import Recipe, baseline
from space.network import build_network

STEPS = 4


def _network() -> FlatNetwork:
    torch.manual_seed(0)
    return FlatNetwork(
        build_network(baseline("separable-residual").architecture), torch.device("cpu")
    )


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.9, True), (0.95, False), (0.0, False)])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_every_part_moves_as_with_the_optimisers_of_torch(
    momentum: float, nesterov: bool, weight_decay: float
) -> None:
    network = _network()
    # What torch takes for a matrix: a row for each output channel.
    plain = [_as_matrix(each).clone() for each in network.parameters]
    before = [each.clone() for each in plain]
    matrices = [each for each in plain if each.dim() > 1]
    theirs = [
        torch.optim.Muon(
            matrices, lr=0.03, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay
        ),
        torch.optim.SGD(
            [each for each in plain if each.dim() == 1],
            lr=0.03,
            momentum=momentum,
            nesterov=nesterov,
        ),
    ]
    recipe = Recipe(
        optimizer="muon",
        learning_rate=0.03,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
    )
    ours = make_optimizer(recipe, network, torch.tensor(0.03))
    for step in range(STEPS):
        torch.manual_seed(100 + step)
        gradients = [torch.randn(each.shape) for each in network.parameters]
        network.set_gradients(tuple(gradients))
        ours.step()
        for each, gradient in zip(plain, gradients, strict=True):
            each.grad = _as_matrix(gradient)
            if each.dim() == 1:
                each.mul_(1 - 0.03 * weight_decay)  # decoupled, which that of torch's SGD is not
        for one in theirs:
            one.step()
    for parameter, expected, start in zip(network.parameters, plain, before, strict=True):
        # torch iterates in bfloat16, with 8 bits.
        tolerance = 0.03 if expected.dim() > 1 else 1e-5
        difference = _as_matrix(parameter) - expected
        assert difference.norm() < tolerance * (expected - start).norm()


def _as_matrix(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.detach()
    return tensor.flatten(1) if tensor.dim() > 1 else tensor


def test_orthogonalised_matrices_have_singular_values_around_one() -> None:
    torch.manual_seed(1)
    matrices = torch.randn(6, 12, 30)
    matrices[3] = 0
    matrices[4, 5:] = 0  # a smaller one among them
    matrices[5] *= 1e-3
    values = torch.linalg.svdvals(orthogonalised(matrices))
    assert (values[[0, 1, 2, 5]] > 0.6).all() and (values[[0, 1, 2, 5]] < 1.3).all()
    assert (values[3] == 0).all()
    assert (values[4, :5] > 0.6).all() and (values[4, 5:] < 1e-6).all()
    alone = orthogonalised(matrices[4:5, :5])
    torch.testing.assert_close(orthogonalised(matrices)[4:5, :5], alone)


def test_a_loss_that_explodes_is_seen() -> None:
    network = _network()
    optimizer = make_optimizer(
        Recipe(optimizer="muon", learning_rate=0.03), network, torch.tensor(0.03)
    )
    assert isinstance(optimizer, Muon)
    network.set_gradients(tuple(torch.full_like(each, torch.nan) for each in network.parameters))
    optimizer.step()
    assert network.weights.isnan().all()
