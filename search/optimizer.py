"""The optimiser of a recipe."""

import warnings

import torch

from search.flat import FlatNetwork
from search.muon import Muon
from space import Recipe

# AdamW warns of steps outside a CUDA graph, which the first ones are.
warnings.filterwarnings("ignore", message=".*capturable=True")


def make_optimizer(
    recipe: Recipe, network: FlatNetwork, learning_rate: torch.Tensor
) -> torch.optim.Optimizer:
    """Fused, with the learning rate read from a tensor: no host value changes between steps."""
    weights, nesterov = network.weights, recipe.nesterov and recipe.momentum > 0
    if recipe.optimizer == "muon":
        return Muon(
            weights,
            network.parameters,
            lr=learning_rate,
            momentum=recipe.momentum,
            nesterov=nesterov,
            weight_decay=recipe.weight_decay,
        )
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(
            [weights],
            lr=learning_rate,
            betas=(recipe.momentum, 0.999),
            weight_decay=recipe.weight_decay,
            capturable=weights.is_cuda,
            fused=True,
        )
    return torch.optim.SGD(
        [weights],
        lr=learning_rate,
        momentum=recipe.momentum,
        nesterov=nesterov,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
