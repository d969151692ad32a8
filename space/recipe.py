"""How a network is trained: a value."""

from typing import Literal

from pydantic import Field

from space.value import Value


class Augmentation(Value):
    """Strengths of the random map drawn anew for every image; zero means off.

    Each quantity is drawn uniformly between minus and plus its strength (the scale factor between
    1 - strength and 1 + strength). An affine map, and with `elastic_pixels` a smooth one on top:
    each of 4x4 points that are spread over the image is moved by so much across and down, and what
    lies between them follows (as Ronneberger et al., "U-Net", 2015).
    """

    rotation_degrees: float = Field(default=0.0, ge=0, le=180)
    shift_pixels: float = Field(default=0.0, ge=0, le=28)
    scale: float = Field(default=0.0, ge=0, lt=1)
    shear_degrees: float = Field(default=0.0, ge=0, le=60)
    elastic_pixels: float = Field(default=0.0, ge=0, le=28)

    @property
    def is_off(self) -> bool:
        return self == Augmentation()


class Recipe(Value):
    """Everything that decides the training of an architecture but seed, data and epoch count.

    `learning_rate` is the peak. Schedules: "constant"; "step" multiplies by `step_factor` every
    `step_epochs` epochs; "cosine" falls to zero over the run; "one_cycle" rises linearly over the
    first `warmup_fraction` of the steps and falls along a cosine to zero. "muon" is momentum whose
    steps for kernels are orthogonalised (Jordan et al., 2024). `momentum` is Nesterov momentum for
    "sgd" and "muon" and beta1 for "adamw"; weight decay is coupled for "sgd" and decoupled for the
    others, and applies to every parameter. `dropout` is the probability at the places the
    architecture names. `ema_decay` above zero: the measured and exported weights are the
    exponential moving average with this decay per step, warmed up as (1 + t) / (10 + t). With
    `recalibration` the statistics of normalisations are computed anew before each measurement, from
    training images without augmentation.
    """

    optimizer: Literal["sgd", "adamw", "muon"] = "sgd"
    learning_rate: float = Field(gt=0, le=10)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    schedule: Literal["constant", "step", "cosine", "one_cycle"] = "one_cycle"
    step_epochs: int = Field(default=5, ge=1)
    step_factor: float = Field(default=0.1, gt=0, le=1)
    warmup_fraction: float = Field(default=0.25, gt=0, lt=1)
    batch_size: int = Field(default=64, ge=2, le=8192)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    ema_decay: float = Field(default=0.0, ge=0, lt=1)
    recalibration: bool = False
    augmentation: Augmentation = Augmentation()
