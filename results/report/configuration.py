"""What the ingredients of a configuration are in it, in words: where they stand, how strong."""

from collections.abc import Callable

from results.markdown import bullets, table
from space import PUBLISHED, Configuration, Conv, Recipe
from space.ingredients import CONSTANT_SHARE, ingredients


def configuration_parts(configuration: Configuration) -> list[str]:
    """Where it comes from, what all rungs of its ladder share, and what its ingredients are."""
    shared = f"All rungs share: {basics(configuration.recipe)}."
    return [bullets([_published(configuration), shared]), ingredient_table(configuration)]


def basics(recipe: Recipe) -> str:
    """What every training has: its optimiser, batches, and a learning rate that stays."""
    scheduled = recipe.schedule != "constant"
    rate = "" if scheduled else f"learning rate {recipe.learning_rate:.4g}, "
    return f"{_optimizer(recipe)}, {rate}batches of {recipe.batch_size}"


def ingredient_table(configuration: Configuration) -> str:
    """Each ingredient with its place or strength; empty if there is none."""
    rows = [(each.words, SETTINGS[each.name](configuration)) for each in ingredients(configuration)]
    return table(("ingredient", "here"), rows) if rows else ""


def _published(configuration: Configuration) -> str:
    """That it is a network of a write-up, and what of it is assumed. Empty if it is none."""
    found = [each for each in PUBLISHED.values() if each.configuration == configuration]
    if not found:
        return ""
    published = found[0]
    return (
        f"{published.id} is a network of a published drill-down ({published.title}), there with a "
        f"best test accuracy of {published.best_test:.2f}%. {published.reconstruction}"
    ).rstrip()


def _optimizer(recipe: Recipe) -> str:
    name = {"sgd": "SGD", "adamw": "AdamW", "muon": "Muon"}[recipe.optimizer]
    return f"{name} with momentum {recipe.momentum:.4g}"


def _places(names: str) -> Callable[[Configuration], str]:
    """After how many of the convolutions something stands."""

    def said(configuration: Configuration) -> str:
        convs = _convs(configuration)
        return f"after {sum(names in each.then for each in convs)} of {len(convs)} convolutions"

    return said


def _augmentation(configuration: Configuration) -> str:
    strengths = configuration.recipe.augmentation
    words = (
        (strengths.rotation_degrees, "rotation by up to {:g} degrees"),
        (strengths.shift_pixels, "shift by up to {:g} pixels"),
        (100 * strengths.scale, "scale by up to {:g}%"),
        (strengths.shear_degrees, "shear by up to {:g} degrees"),
        (strengths.elastic_pixels, "each of 4x4 points moved by up to {:g} pixels"),
    )
    return ", ".join(said.format(round(value, 3)) for value, said in words if value)


def _schedule(configuration: Configuration) -> str:
    recipe = configuration.recipe
    shape = {
        "step": f"times {recipe.step_factor:g} every {recipe.step_epochs} epochs",
        "cosine": "falls to zero along a cosine",
        "one_cycle": f"one cycle: rises for {recipe.warmup_fraction:.0%} of the steps, then falls "
        f"to zero along a cosine",
    }[recipe.schedule]
    constant = recipe.learning_rate * CONSTANT_SHARE
    return f"{shape}; at most {recipe.learning_rate:g}, in place of a constant {constant:g}"


def _convs(configuration: Configuration) -> list[Conv]:
    return [each for each in configuration.architecture.layers if isinstance(each, Conv)]


SETTINGS: dict[str, Callable[[Configuration], str]] = {
    "norm": _places("norm"),
    "recalibration": lambda _: "statistics from images without augmentation, before measuring",
    "pooling": lambda _: "with a 1x1 convolution, in place of one as large as the map",
    "views": lambda each: f"{each.architecture.views}, moved by a pixel; the mean of their logits",
    "augmentation": _augmentation,
    "schedule": _schedule,
    "dropout": lambda each: f"{each.recipe.dropout:g}, {_places('dropout')(each)}",
    "averaging": lambda each: (
        f"weights that are measured are a moving average, with a decay of "
        f"{each.recipe.ema_decay:g} a step"
    ),
    "smoothing": lambda each: f"{each.recipe.label_smoothing:g}",
    "decay": lambda each: f"{each.recipe.weight_decay:g}",
    "nesterov": lambda _: "in place of plain momentum",
    "residual": lambda each: (
        f"around {sum(conv.residual for conv in _convs(each))} of {len(_convs(each))} convolutions"
    ),
    "sharing": lambda each: ", ".join(
        f"{conv.repeats} times" for conv in _convs(each) if conv.repeats > 1
    ),
    "separable": lambda each: (
        f"{sum(conv.kind == 'separable' for conv in _convs(each))} of {len(_convs(each))} "
        f"convolutions"
    ),
}
"""By name of the ingredient."""
