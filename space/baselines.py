"""Known-good points of the search space, tried first.

"1.0" to "1.3" are the four nets of a published drill-down on MNIST (13,808, 7,936, 6,616 and 5,760
parameters; best single-run test accuracy 99.41, 99.46, 99.34 and 99.44) with its recipe, except
that the momentum is Nesterov's, and a trace of weight decay. The others are starting points of
ours: light augmentation and averaged weights, with SGD, or with Muon where layers are repeated or
not padded. Those called repeated and unpadded were picked by their accuracy on validation images,
all others by what they had scored on MNIST's test images, by their authors and by us: a search that
shall owe nothing to those leaves them out. Unpadded ones of a single width are made for the budget,
after the example of those that were tried.
"""

from typing import Any

from space.footprint import footprint
from space.search_space import Configuration, SearchSpace, configuration, width_names

_PLAIN: dict[str, Any] = {
    **dict.fromkeys(width_names(), 8),
    **{f"stage{n}_depth": depth for n, depth in ((1, 2), (2, 3), (3, 0))},
    **{f"stage{n}_kernel_size": 3 for n in (1, 2, 3)},
    **{f"stage{n}_padding": "valid" for n in (1, 2, 3)},
    **{f"stage{n}_kind": "conv" for n in (1, 2, 3)},
    **{f"transition{n}_conv": "none" for n in (1, 2)},
    **{f"transition{n}_width": 8 for n in (1, 2)},
    **{f"transition{n}_pool": "max" for n in (1, 2)},
    "last_padding": "same",
    **{f"stage{n}_repeats": 1 for n in (1, 2, 3)},
    "residual": False,
    "order": "norm-relu",
    "norm_scale": True,
    "dropout_place": "nowhere",
    "head": "gap_conv",
    "views": 1,
    "optimizer": "sgd",
    "sgd_learning_rate": 0.1,
    "adamw_learning_rate": 0.01,
    "muon_learning_rate": 0.03,
    "momentum": 0.9,
    "weight_decay": 1e-5,
    "schedule": "one_cycle",
    "step_epochs": 8,
    "step_factor": 0.01,
    "batch_size": 128,
    "label_smoothing": 0.0,
    "dropout": 0.0,
    "ema_decay": 0.998,
    "recalibration": False,
    "rotation_degrees": 8.0,
    "shift_pixels": 1.5,
    "scale": 0.08,
    "shear_degrees": 5.0,
    "elastic_pixels": 0.0,
}

_STRONGER_AUGMENTATION = {
    "rotation_degrees": 12.0,
    "shift_pixels": 2.25,
    "scale": 0.12,
    "shear_degrees": 7.5,
}


def _write_up_1(
    early: tuple[int, ...],
    transition: int,
    late: tuple[int, ...],
    dropout: float,
    learning_rate: float,
) -> dict[str, Any]:
    return {
        **_PLAIN,
        "stage1_depth": len(early),
        "stage2_depth": len(late),
        **{f"stage1_width{n}": width for n, width in enumerate(early, 1)},
        **{f"stage2_width{n}": width for n, width in enumerate(late, 1)},
        "transition1_conv": "before_pool",
        "transition1_width": transition,
        "order": "relu-norm",
        "dropout_place": "everywhere",
        "dropout": dropout,
        "sgd_learning_rate": learning_rate,
        "weight_decay": 1e-6,
        "schedule": "step",
        "batch_size": 64,
        "ema_decay": 0.0,
        "rotation_degrees": 7.0,
        "shift_pixels": 0.0,
        "scale": 0.0,
        "shear_degrees": 0.0,
    }


def _separable_repeated(width: int) -> dict[str, Any]:
    return {
        **_PLAIN,
        **dict.fromkeys(width_names(), width),
        **{f"stage{n}_depth": depth for n, depth in ((1, 2), (2, 1), (3, 1))},
        **{f"stage{n}_padding": "same" for n in (1, 2, 3)},
        **{f"stage{n}_kind": "separable" for n in (1, 2, 3)},
        **{f"stage{n}_repeats": repeats for n, repeats in ((1, 2), (2, 3), (3, 2))},
        "transition1_pool": "average",
        "optimizer": "muon",
        "muon_learning_rate": 0.02,
        "weight_decay": 1e-4,
        "schedule": "constant",
        "batch_size": 64,
        "ema_decay": 0.999,
    }


def _separable_unpadded(stem: int, first: int, *widths: int) -> dict[str, Any]:
    """One convolution at full resolution, then separable ones, of which all but the first shrink
    the map by themselves."""
    return {
        **_PLAIN,
        **{f"stage{n}_depth": depth for n, depth in ((1, 1), (2, 1), (3, len(widths)))},
        "stage1_width1": stem,
        "stage2_width1": first,
        **{f"stage3_width{n}": width for n, width in enumerate(widths, 1)},
        **{f"stage{n}_padding": padding for n, padding in ((1, "same"), (2, "same"))},
        "last_padding": "valid",
        **{f"stage{n}_kind": "separable" for n in (1, 2, 3)},
        "transition2_pool": "none",
        "norm_scale": False,
        "views": 5,
        "optimizer": "muon",
        "batch_size": 64,
        "ema_decay": 0.999,
        "recalibration": True,
    }


_UNPADDED = "separable-unpadded"

_WIDEST = 39
"""Of a single width: none wider was tried."""


def _separable_unpadded_of(width: int) -> dict[str, Any]:
    """The same with one width, and two thirds of it at full resolution.

    The wider it is, the more augmentation it wants.
    """
    stem = max(1, round(0.65 * width))
    return {
        **_separable_unpadded(stem, *[width] * 5),
        **{name: width for name in width_names() if name != "stage1_width1"},
        **{f"transition{n}_width": width for n in (1, 2)},
        **(_STRONGER_AUGMENTATION if width > 22 else {}),
        "elastic_pixels": 1.0 if width > 30 else 0.0,
    }


BASELINES: dict[str, dict[str, Any]] = {
    "separable-unpadded-wide": _separable_unpadded(14, 19, 20, 21, 22, 22),
    "separable-unpadded-medium": _separable_unpadded(12, 16, 17, 18, 17, 16),
    "separable-unpadded": _separable_unpadded(10, 14, 15, 16, 15, 14),
    "1.0": _write_up_1((16, 32), 10, (16, 16, 16, 16), 0.1, 0.05),
    "1.1": _write_up_1((12, 18), 8, (12, 12, 14, 14), 0.05, 0.08),
    "1.2": _write_up_1((12, 18), 8, (12, 14, 14), 0.05, 0.08),
    "1.3": _write_up_1((8, 16), 8, (12, 14, 14), 0.01, 0.1),
    "plain-wide": {
        **_PLAIN,
        "stage1_width1": 10,
        "stage1_width2": 16,
        "stage2_width1": 16,
        "stage2_width2": 16,
        "stage2_width3": 16,
    },
    "separable-residual": {
        **_PLAIN,
        "stage1_width1": 16,
        "stage2_width1": 24,
        "stage3_width1": 32,
        **{f"stage{n}_depth": depth for n, depth in ((1, 2), (2, 2), (3, 2))},
        **{f"stage{n}_padding": "same" for n in (1, 2, 3)},
        **{f"stage{n}_kind": "separable" for n in (1, 2, 3)},
        "residual": True,
        "sgd_learning_rate": 0.2,
        "ema_decay": 0.999,
    },
    "separable-residual-small": {
        **_PLAIN,
        "stage1_width1": 12,
        "stage2_width1": 18,
        "stage3_width1": 24,
        **{f"stage{n}_depth": depth for n, depth in ((1, 2), (2, 2), (3, 2))},
        **{f"stage{n}_padding": "same" for n in (1, 2, 3)},
        **{f"stage{n}_kind": "separable" for n in (1, 2, 3)},
        "residual": True,
        "sgd_learning_rate": 0.2,
        "ema_decay": 0.999,
    },
    "separable-repeated": _separable_repeated(16),
}


def baselines_in(space: SearchSpace) -> dict[str, dict[str, Any]]:
    """The baselines whose values lie in the ranges of `space`, by name; may be over its budget.

    First the separable, unpadded ones, the largest first, among them the largest of a single width
    (39 channels at most) that the budget allows.
    """
    found = {name: params for name, params in BASELINES.items() if space.contains(params)}
    for width in range(_WIDEST, 0, -1):
        params = _separable_unpadded_of(width)
        if space.contains(params) and _size(params) < space.max_params:
            found[f"{_UNPADDED} of width {width}"] = params
            break
    unpadded = [name for name in found if name.startswith(_UNPADDED)]
    first = sorted(unpadded, key=lambda name: _size(found[name]), reverse=True)
    return {name: found[name] for name in (*first, *found)}


def _size(params: dict[str, Any]) -> int:
    return footprint(configuration(params).architecture).params


def baseline(name: str) -> Configuration:
    """A baseline by its name. Raises KeyError."""
    return configuration(BASELINES[name])
