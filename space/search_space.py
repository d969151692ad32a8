"""How a trial picks an architecture and a recipe.

A fixed set of parameters, no conditionals: what a draw does not use (the width of a layer beyond
the drawn depth) is drawn all the same, because samplers that model parameters jointly learn only
from parameters that every trial has. The ranges are fitted to the parameter budget, so that at
least a quarter of random draws cost less than it.

The skeleton: a stage of convolutions at full resolution, a transition, a second stage, and, if its
depth is above zero, another transition, which may keep the size, and a third stage; then the head.
What does not fit the feature map is left out or padded (see `_Skeleton`), so every draw is a valid
architecture.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, Protocol

from pydantic import Field

from space.architecture import After, Architecture, Conv, Head, Layer, Pool, Shape
from space.recipe import Augmentation, Recipe
from space.value import Value

DEPTHS = ((1, 3), (1, 4), (0, 4))
"""Fewest and most convolutions of the three stages."""

SMALLEST_BUDGET = 500
"""Below it less than a quarter of random draws are feasible."""


class Trial(Protocol):
    """The part of `optuna.Trial` that sampling needs; `optuna.trial.FixedTrial` has it too."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = ...) -> int: ...

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = ...) -> float: ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


class Configuration(Value):
    """What one trial trains."""

    architecture: Architecture
    recipe: Recipe


class IntRange(Value):
    """Integers from `low` to `high`, both included; drawn in the logarithm if `log`."""

    low: int
    high: int
    log: bool = False

    def suggest(self, trial: Trial, name: str) -> int:
        return trial.suggest_int(name, self.low, self.high, log=self.log)

    def contains(self, value: Any) -> bool:
        return isinstance(value, int) and self.low <= value <= self.high


class FloatRange(Value):
    """Numbers from `low` to `high`; drawn in the logarithm if `log`."""

    low: float
    high: float
    log: bool = False

    def suggest(self, trial: Trial, name: str) -> float:
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def contains(self, value: Any) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


class Choice(Value):
    """One of several values, without an order."""

    choices: tuple[str | int | float | bool, ...]

    def suggest(self, trial: Trial, name: str) -> Any:
        return trial.suggest_categorical(name, self.choices)

    def contains(self, value: Any) -> bool:
        return value in self.choices


class SearchSpace(Value):
    """The parameters of the search with their ranges, for one parameter budget.

    `max_params` is exclusive: an architecture is feasible below it.
    """

    max_params: int = Field(ge=SMALLEST_BUDGET)
    dimensions: dict[str, IntRange | FloatRange | Choice]

    @classmethod
    def for_budget(cls, max_params: int) -> "SearchSpace":
        """The space whose ranges suit networks of fewer than `max_params` parameters.

        Raises ValueError below `SMALLEST_BUDGET`.
        """
        if max_params < SMALLEST_BUDGET:
            raise ValueError(
                f"a budget of {max_params} parameters is too tight for this space: give at least "
                f"{SMALLEST_BUDGET}"
            )
        return cls(max_params=max_params, dimensions=_dimensions(max_params))

    def without_dimensions(self) -> "SearchSpace":
        """The same budget, with nothing to draw: of studies whose trials come as they are.

        Such studies stay what they are when the ranges change.
        """
        return self.model_copy(update={"dimensions": {}})

    def draw(self, trial: Trial) -> dict[str, Any]:
        """Asks the trial for every parameter, in a fixed order."""
        return {name: each.suggest(trial, name) for name, each in self.dimensions.items()}

    def sample(self, trial: Trial) -> Configuration:
        """The configuration a trial picks; its architecture may cost more than the budget."""
        return configuration(self.draw(trial))

    def contains(self, params: dict[str, Any]) -> bool:
        """Whether the parameters are exactly those of this space, each within its range."""
        return params.keys() == self.dimensions.keys() and all(
            each.contains(params[name]) for name, each in self.dimensions.items()
        )


def width_names() -> list[str]:
    """The names of the widths of all convolutions a draw can have."""
    return [
        f"stage{stage}_width{layer}"
        for stage, (_, most) in enumerate(DEPTHS, 1)
        for layer in range(1, most + 1)
    ]


def _dimensions(max_params: int) -> dict[str, IntRange | FloatRange | Choice]:
    # Parameters grow with the square of the widths: widths follow the square root of the budget.
    # The numbers keep at least a quarter of random draws feasible from 500 to 10,000.
    root = math.sqrt(max_params)
    width = IntRange(low=min(8, max(2, int(0.05 * root))), high=int(0.42 * root - 2.5), log=True)
    full_conv_fits = max_params >= 5_000
    heads = ("gap_conv", "conv_gap", *(("full_conv",) if full_conv_fits else ()))
    return {
        **dict.fromkeys(width_names(), width),
        **{f"stage{n}_depth": IntRange(low=a, high=b) for n, (a, b) in enumerate(DEPTHS, 1)},
        **{f"stage{n}_kernel_size": Choice(choices=(3, 5)) for n in (1, 2, 3)},
        **{f"stage{n}_padding": Choice(choices=("valid", "same")) for n in (1, 2, 3)},
        **{f"stage{n}_kind": Choice(choices=("conv", "separable")) for n in (1, 2, 3)},
        **{
            f"transition{n}_conv": Choice(choices=("none", "before_pool", "after_pool"))
            for n in (1, 2)
        },
        **{f"transition{n}_width": width for n in (1, 2)},
        "transition1_pool": Choice(choices=("max", "average", "stride")),
        "transition2_pool": Choice(choices=("max", "average", "stride", "none")),
        "last_padding": Choice(choices=("valid", "same")),
        **{f"stage{n}_repeats": IntRange(low=1, high=4, log=True) for n in (1, 2, 3)},
        "residual": Choice(choices=(False, True)),
        "order": Choice(choices=("norm-relu", "relu-norm", "relu")),
        "norm_scale": Choice(choices=(True, False)),
        "dropout_place": Choice(choices=("nowhere", "everywhere", "after_transition", "last")),
        "head": Choice(choices=heads),
        "views": Choice(choices=(1, 5)),
        "optimizer": Choice(choices=("sgd", "adamw", "muon")),
        "sgd_learning_rate": FloatRange(low=0.01, high=0.5, log=True),
        "adamw_learning_rate": FloatRange(low=0.001, high=0.05, log=True),
        "muon_learning_rate": FloatRange(low=0.005, high=0.1, log=True),
        "momentum": FloatRange(low=0.8, high=0.97),
        "weight_decay": FloatRange(low=1e-6, high=1e-2, log=True),
        "schedule": Choice(choices=("constant", "step", "cosine", "one_cycle")),
        "step_epochs": IntRange(low=2, high=10),
        "step_factor": FloatRange(low=0.01, high=0.8, log=True),
        "batch_size": Choice(choices=(32, 64, 128, 256)),
        "label_smoothing": FloatRange(low=0.0, high=0.1),
        "dropout": FloatRange(low=0.0, high=0.15),
        "ema_decay": Choice(choices=(0.0, 0.98, 0.99, 0.995, 0.998, 0.999)),
        "recalibration": Choice(choices=(False, True)),
        "rotation_degrees": FloatRange(low=0.0, high=15.0),
        "shift_pixels": FloatRange(low=0.0, high=3.0),
        "scale": FloatRange(low=0.0, high=0.2),
        "shear_degrees": FloatRange(low=0.0, high=15.0),
        "elastic_pixels": FloatRange(low=0.0, high=2.5),
    }


def configuration(params: dict[str, Any]) -> Configuration:
    """The configuration that drawn parameters mean."""
    return Configuration(architecture=_Skeleton(params).build(), recipe=_recipe(params))


class _Skeleton:
    """Writes the layers of an architecture from drawn parameters.

    Rules for what a draw asks for and the map cannot give: a kernel larger than the map is padded
    to keep its size; a pool or stride on a map of one pixel is left out. The very first convolution
    is never depthwise (with one input channel that would be a single filter). In a residual network
    all convolutions of a stage have the width of its first, and additions happen wherever the shape
    is kept. The last convolution of a stage, if repeated, takes the width of its input and is
    padded; a strided one and the very first are not repeated.
    """

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params
        self.layers: list[Layer] = []
        self.shape: Shape = (1, 28, 28)

    def build(self) -> Architecture:
        stages = [n for n in (1, 2, 3) if self.params[f"stage{n}_depth"] > 0]
        for stage in stages:
            self._stage(stage, last_stage=stage == stages[-1])
        return Architecture(
            layers=tuple(self.layers),
            head=Head(kind=self.params["head"]),
            views=self.params["views"],
        )

    def _stage(self, stage: int, *, last_stage: bool) -> None:
        depth = self.params[f"stage{stage}_depth"]
        strided = not last_stage and self.params[f"transition{stage}_pool"] == "stride"
        for layer in range(1, depth + 1):
            self._conv(
                stage,
                layer,
                stride=2 if strided and layer == depth else 1,
                last=last_stage and layer == depth,
            )
        if not last_stage:
            self._transition(stage)

    def _conv(self, stage: int, layer: int, *, stride: int, last: bool) -> None:
        params = self.params
        channels, size, _ = self.shape
        kernel_size = params[f"stage{stage}_kernel_size"]
        is_repeated = layer == params[f"stage{stage}_depth"] and stride == 1 and self.layers
        repeats = params[f"stage{stage}_repeats"] if is_repeated else 1
        padding_choice = params["last_padding"] if last else params[f"stage{stage}_padding"]
        same = padding_choice == "same" or kernel_size > size or repeats > 1
        width = params[f"stage{stage}_width{1 if params['residual'] else layer}"]
        if repeats > 1:
            width = channels
        keeps_shape = same and stride == 1 and width == channels
        self._add(
            Conv(
                kind=params[f"stage{stage}_kind"] if self.layers else "conv",
                width=width,
                kernel_size=kernel_size,
                padding=kernel_size // 2 if same else 0,
                stride=stride if size > 1 else 1,
                then=self._then(stage, last=last),
                norm_scale=params["norm_scale"] or params["order"] == "relu",
                residual=params["residual"] and keeps_shape,
                repeats=repeats,
            )
        )

    def _then(self, stage: int, *, last: bool) -> tuple[After, ...]:
        orders: dict[str, tuple[After, ...]] = {
            "norm-relu": ("norm", "relu"),
            "relu-norm": ("relu", "norm"),
            "relu": ("relu",),
        }
        place: Literal["nowhere", "everywhere", "after_transition", "last"]
        place = self.params["dropout_place"]
        drops = (place == "everywhere" or (place == "after_transition" and stage > 1)) or (
            place == "last" and last
        )
        return (*orders[self.params["order"]], *(("dropout",) if drops else ()))

    def _transition(self, stage: int) -> None:
        place = self.params[f"transition{stage}_conv"]
        pool = self.params[f"transition{stage}_pool"]
        bare = Conv(kind="conv", width=self.params[f"transition{stage}_width"], kernel_size=1)
        if place == "before_pool":
            self._add(bare)
        if pool in ("max", "average") and self.shape[1] > 1:
            self._add(Pool(kind="max_pool" if pool == "max" else "average_pool"))
        if place == "after_pool":
            self._add(bare)

    def _add(self, layer: Layer) -> None:
        self.layers.append(layer)
        self.shape = layer.output_shape(self.shape)


def _recipe(params: dict[str, Any]) -> Recipe:
    # A probability without a place, a schedule's numbers without that schedule: left at their
    # defaults, so that draws which train the same way are the same recipe.
    stepped = params["schedule"] == "step"
    return Recipe(
        optimizer=params["optimizer"],
        learning_rate=params[f"{params['optimizer']}_learning_rate"],
        momentum=params["momentum"],
        weight_decay=params["weight_decay"],
        schedule=params["schedule"],
        batch_size=params["batch_size"],
        label_smoothing=params["label_smoothing"],
        dropout=0.0 if params["dropout_place"] == "nowhere" else params["dropout"],
        ema_decay=params["ema_decay"],
        recalibration=params["recalibration"] and params["order"] != "relu",
        augmentation=Augmentation(
            rotation_degrees=params["rotation_degrees"],
            shift_pixels=params["shift_pixels"],
            scale=params["scale"],
            shear_degrees=params["shear_degrees"],
            elastic_pixels=params["elastic_pixels"],
        ),
        **(
            {"step_epochs": params["step_epochs"], "step_factor": params["step_factor"]}
            if stepped
            else {}
        ),
    )
