"""The learning rate of every step of a run, as a table."""

import math

from space import Recipe


def learning_rates(recipe: Recipe, *, epochs: int, steps_per_epoch: int) -> list[float]:
    """One learning rate per step; see `Recipe` for what the schedules do."""
    total = epochs * steps_per_epoch
    peak = recipe.learning_rate
    if recipe.schedule == "constant":
        return [peak] * total
    if recipe.schedule == "step":
        return [
            peak * recipe.step_factor ** (step // steps_per_epoch // recipe.step_epochs)
            for step in range(total)
        ]
    if recipe.schedule == "cosine":
        return [peak * _cosine(step / total) for step in range(total)]
    rise = max(1, round(recipe.warmup_fraction * total))
    return [
        peak * ((step + 1) / rise if step < rise else _cosine((step - rise) / (total - rise)))
        for step in range(total)
    ]


def _cosine(progress: float) -> float:
    """From 1 at progress 0 to 0 at progress 1."""
    return (1 + math.cos(math.pi * progress)) / 2
