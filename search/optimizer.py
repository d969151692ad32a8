"""The optimiser of a recipe."""

import warnings

import torch

from space import Recipe

# AdamW warns of steps outside a CUDA graph, which the first ones are.
warnings.filterwarnings("ignore", message=".*capturable=True")


def make_optimizer(
    recipe: Recipe, weights: torch.Tensor, learning_rate: torch.Tensor
) -> torch.optim.Optimizer:
    """Fused, with the learning rate read from a tensor: no host value changes between steps."""
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
        nesterov=recipe.nesterov and recipe.momentum > 0,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
