"""The README.md beside exported model files: what it is, what was measured and how, how to load."""

from collections.abc import Sequence
from typing import Any

from results.models.files import CONFIG, ONNX, PROGRAM, WEIGHTS
from results.record import Confirmation, TrialRecord
from results.selection import confirmed
from results.settings import StudySettings
from results.splits import SPLITS
from space import Recipe, footprint, layer_costs


def model_card(
    *,
    title: str,
    settings: StudySettings,
    record: TrialRecord,
    runs: list[Confirmation],
    weights_from: str,
    test_accuracy: float,
    files: list[str],
    made: dict[str, Any],
) -> str:
    """The card in Markdown.

    `test_accuracy` is that of the exported weights, in percent; `made` is what their checkpoint
    tells of device, precision and versions.
    """
    configuration = record.configuration
    cost = footprint(configuration.architecture)
    split = SPLITS[settings.dataset]
    sections = [
        f"# {title}",
        f"A convolutional network of **{cost.params:,} trainable parameters** "
        f"({cost.macs:,} multiply-accumulates per image, receptive field "
        f"{cost.receptive_field_pixels} pixels) for {settings.dataset}: 28x28 grey images of "
        f"handwritten digits. The weights in this folder classify **{test_accuracy:.2f}%** of the "
        f"{split.test:,} test images correctly; what can be expected of the network when it is "
        "trained anew stands under Accuracy.",
        "## Layers\n\n"
        + _table(
            ("layer", "output", "parameters", "MACs", "receptive field"),
            [
                (
                    row.name,
                    "x".join(str(size) for size in row.output_shape),
                    f"{row.params:,}",
                    f"{row.macs:,}",
                    str(row.receptive_field_pixels),
                )
                for row in layer_costs(configuration.architecture)
            ],
        )
        + "\n\nReceptive fields in input pixels; the network's is that of a feature that enters "
        "the head.",
        "## Accuracy\n\n" + _accuracy(settings, record, runs, weights_from, test_accuracy),
        "## Protocol\n\n"
        f"Found by nas-search, trial {record.number}. Chosen on validation accuracy: trained on "
        f"{split.training - split.validation:,} images for {_count(settings.epochs, 'epoch')}, "
        f"measured after each on {split.validation:,} images held out (split stratified, seeded). "
        f"*Sustained* accuracy is the lowest of the last {_count(settings.sustain, 'epoch')}. "
        + (
            f"Confirmed by retraining on all {split.training:,} training images from seeds fixed "
            f"beforehand, measured on the {split.test:,} test images, which nothing was chosen by. "
            if runs
            else ""
        )
        + f"Parameters are trainable ones, the scale and shift "
        f"of BatchNorm included. The target was {settings.target}%, the budget fewer than "
        f"{settings.max_params:,} parameters.",
        "## Recipe\n\n" + _recipe(configuration.recipe),
        "## Loading\n\n" + _loading(files),
        f"Trained on {made['device']} in {made['precision']} with "
        + ", ".join(f"{name} {number}" for name, number in made["versions"].items())
        + ".",
    ]
    return "\n\n".join(sections) + "\n"


def _accuracy(
    settings: StudySettings,
    record: TrialRecord,
    runs: list[Confirmation],
    weights_from: str,
    test_accuracy: float,
) -> str:
    lines = [
        f"- Weights in this folder: {weights_from}. Test accuracy {test_accuracy:.2f}%.",
        f"- Search trial: sustained validation accuracy {record.sustained:.2f}%.",
    ]
    outcome = confirmed(runs, settings.target)
    if outcome is None:
        lines.append("- Not confirmed over seeds: one run is no evidence of what a network holds.")
        return "\n".join(lines)
    sd = f", standard deviation {outcome['sd']:.3f}" if outcome["sd"] is not None else ""
    lines.append(
        f"- Confirmed over {_count(outcome['seeds'], 'seed')}: sustained test accuracy mean "
        f"{outcome['mean']:.3f}%{sd}, worst seed {outcome['worst']:.2f}%; {outcome['holding']} of "
        f"{outcome['seeds']} hold {settings.target}%."
    )
    rows = [
        (
            str(run.seed),
            f"{run.sustained:.2f}",
            " ".join(f"{value:.2f}" for value in run.accuracies[-settings.sustain :]),
            f"{run.train_accuracy:.2f}",
        )
        for run in runs
    ]
    last = f"last {_count(settings.sustain, 'epoch')} (test)"
    header = ("seed", "sustained (test)", last, "training")
    return "\n".join(lines) + "\n\n" + _table(header, rows)


def _recipe(recipe: Recipe) -> str:
    described: dict[str, Any] = recipe.model_dump()
    described |= described.pop("augmentation")
    if recipe.schedule != "step":
        del described["step_epochs"], described["step_factor"]
    if recipe.schedule != "one_cycle":
        del described["warmup_fraction"]
    return _table(
        ("setting", "value"),
        [
            (name, f"{value:.5g}" if isinstance(value, float) else str(value))
            for name, value in described.items()
        ],
    )


_WEIGHTS_TEXT = f"""`{WEIGHTS}` with `{CONFIG}` (the weights, and what rebuilds their network):

```python
from pathlib import Path
from results.models.files import load_exported  # of nas-search, which has to be installed

model, config = load_exported(Path("."))
logits = model(pixels)
```"""

_PROGRAM_TEXT = f"""`{PROGRAM}` (PyTorch alone, any batch size):

```python
import torch

model = torch.export.load("{PROGRAM}").module()
logits = model(pixels)
```"""

_ONNX_TEXT = f"""`{ONNX}` (ONNX Runtime alone, any batch size):

```python
import onnxruntime

session = onnxruntime.InferenceSession("{ONNX}")
(logits,) = session.run(None, {{"pixels": pixels.numpy()}})
```"""


def _loading(files: list[str]) -> str:
    texts = {WEIGHTS: _WEIGHTS_TEXT, PROGRAM: _PROGRAM_TEXT, ONNX: _ONNX_TEXT}
    return (
        "Input `pixels`: float32 (N, 1, 28, 28), 0 for background to 1 for ink, *not* normalised "
        "(the model does that); for a try `pixels = torch.rand(1, 1, 28, 28)`. Output: 10 logits "
        "per image; the largest names the digit.\n\n"
        + "\n\n".join(text for name, text in texts.items() if name in files)
    )


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
