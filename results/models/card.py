"""The README.md beside exported model files: what it is, what was measured and how, how to load."""

from collections.abc import Mapping, Sequence
from typing import Any

from results.markdown import capital, count, table
from results.models.files import (
    CONFIG,
    FOLDED_ONNX,
    FOLDED_PROGRAM,
    HEADER,
    INT8_ONNX,
    ONNX,
    PROGRAM,
    WEIGHTS,
    seed_of,
    seed_weights,
)
from results.record import KNOWN_KEY, Confirmation, TrialRecord
from results.selection import confirmed
from results.settings import StudySettings
from results.splits import SPLITS
from space import Architecture, Recipe, footprint, layer_costs


def model_card(
    *,
    title: str,
    settings: StudySettings,
    record: TrialRecord,
    runs: list[Confirmation],
    weights_from: str,
    test_accuracy: float,
    forms: Mapping[str, Mapping[str, Any]],
    remarks: Sequence[str],
    made: dict[str, Any],
) -> str:
    """The card in Markdown.

    `test_accuracy` is that of the exported weights, in percent; `forms` is what config.json tells
    of the files, and `remarks` what else is to be said of them; `made` is what their checkpoint
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
        f"handwritten digits. {_views(configuration.architecture)}The weights in this folder "
        f"classify **{test_accuracy:.2f}%** of the {split.test:,} test images correctly; what can "
        "be expected of the network when it is trained anew stands under Accuracy.",
        "## Layers\n\n"
        + table(
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
        f"{_origin(settings, record)} {_trained(settings)} "
        f"*Sustained* accuracy is the lowest of the last {count(settings.sustain, 'epoch')}. "
        + (
            f"Confirmed by retraining on all {split.training:,} training images from seeds fixed "
            f"beforehand, measured on the {split.test:,} test images, by which the study chose "
            f"nothing. "
            if runs
            else ""
        )
        + f"Parameters are trainable ones, the scale and shift "
        f"of BatchNorm included. The target was {settings.target}%{_budget(settings)}.",
        "## Recipe\n\n" + _recipe(configuration.recipe),
        "## Files\n\n" + forms_section(forms, remarks),
        "## Loading\n\n" + loading_section(forms),
        f"Trained on {made['device']} in {made['precision']} with "
        + ", ".join(f"{name} {number}" for name, number in made["versions"].items())
        + ".",
    ]
    return "\n\n".join(sections) + "\n"


def _origin(settings: StudySettings, record: TrialRecord) -> str:
    """How the configuration came about, in a sentence."""
    trained = f"Trained by nas-search as {record.title}"
    if settings.about == "search":
        if known := record.attributes.get(KNOWN_KEY):
            return f"{trained}: {known}, one of the known networks that searches begin with."
        return f"Found by nas-search, trial {record.number}. Chosen on validation accuracy."
    if settings.about == "front":
        return f"{trained}, a trial of a search. Chosen on validation accuracy over several seeds."
    if settings.goal is None:
        return f"{trained}: a published network, not found by a search."
    return f"{trained}: a rung on the way to {settings.goal.title}, not found by a search."


def _budget(settings: StudySettings) -> str:
    """What the networks were held to, if they were."""
    if settings.about in ("front", "replay"):
        return ""
    return f", the budget fewer than {settings.max_params:,} parameters"


def _trained(settings: StudySettings) -> str:
    """What it was trained and measured on, in a sentence."""
    split, epochs = SPLITS[settings.dataset], count(settings.epochs, "epoch")
    if settings.protocol == "published":
        return (
            f"Trained on all {split.training:,} training images for {epochs}, measured after each "
            f"on the {split.test:,} test images."
        )
    return (
        f"Trained on {split.training - split.validation:,} images for {epochs}, measured after "
        f"each on {split.validation:,} images held out (split stratified, seeded)."
    )


def _views(architecture: Architecture) -> str:
    """That the network sees several views of each image; empty if it is one."""
    if architecture.views == 1:
        return ""
    return (
        f"Its answer is the mean over {architecture.views} views of the image, itself and moved by "
        f"a pixel; the multiply-accumulates are those of all views. "
    )


def _accuracy(
    settings: StudySettings,
    record: TrialRecord,
    runs: list[Confirmation],
    weights_from: str,
    test_accuracy: float,
) -> str:
    lines = [
        f"- Weights in this folder: {weights_from}. Test accuracy {test_accuracy:.2f}%.",
        f"- {capital(record.title)}: sustained {settings.measured_on} accuracy "
        f"{record.sustained:.2f}%.",
    ]
    outcome = confirmed(runs, settings.target)
    if outcome is None:
        lines.append("- Not confirmed over seeds: one run is no evidence of what a network holds.")
        return "\n".join(lines)
    sd = f", standard deviation {outcome['sd']:.3f}" if outcome["sd"] is not None else ""
    lines.append(
        f"- Confirmed over {count(outcome['seeds'], 'seed')}: sustained test accuracy mean "
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
    last = f"last {count(settings.sustain, 'epoch')} (test)"
    header = ("seed", "sustained (test)", last, "training")
    return "\n".join(lines) + "\n\n" + table(header, rows)


def _recipe(recipe: Recipe) -> str:
    described: dict[str, Any] = recipe.model_dump()
    described |= described.pop("augmentation")
    if recipe.schedule != "step":
        del described["step_epochs"], described["step_factor"]
    if recipe.schedule != "one_cycle":
        del described["warmup_fraction"]
    return table(
        ("setting", "value"),
        [
            (name, f"{value:.5g}" if isinstance(value, float) else str(value))
            for name, value in described.items()
        ],
    )


def forms_section(forms: Mapping[str, Mapping[str, Any]], remarks: Sequence[str]) -> str:
    """The table of the forms, what its columns mean, and the remarks."""
    rows = [(f"`{name}`", *form_cells(name, about)) for name, about in forms.items()]
    header = [_header_memory(forms[HEADER])] if HEADER in forms else []
    return "\n\n".join([table(("file", *FORM_COLUMNS), rows), _FORMS_TEXT, *header, *remarks])


def _header_memory(about: Mapping[str, Any]) -> str:
    return (
        f"On a microcontroller `{HEADER}` takes {about['constant_bytes']:,} bytes of constants "
        f"(flash) and {about['peak_activation_bytes']:,} bytes of static memory (RAM), besides its "
        f"code; the {about['bytes']:,} bytes are those of its text. Include it in one source file "
        f"only: each that includes it has these constants and this memory anew."
    )


FORM_COLUMNS = ("what", "bytes", "activations, bytes", "test accuracy", "logits off by", "relative")


def form_cells(name: str, about: Mapping[str, Any]) -> tuple[str, ...]:
    """What is known of a form, in the order of `FORM_COLUMNS`."""
    accuracy = about.get("test_accuracy")
    differences = [about.get(f"{kind}logits_difference") for kind in ("", "relative_")]
    return (
        _what(name),
        f"{about['bytes']:,}",
        f"{about['peak_activation_bytes']:,}",
        "not measured" if accuracy is None else f"{accuracy:.2f}%",
        *("" if each is None else f"{each:.0e}" if each else "0" for each in differences),
    )


def _what(name: str) -> str:
    seed = seed_of(name)
    return _WHAT[name] if seed is None else f"{_WHAT[WEIGHTS]}, confirmation seed {seed}"


_WHAT = {
    WEIGHTS: "float32 weights",
    PROGRAM: "float32, PyTorch",
    ONNX: "float32, ONNX",
    FOLDED_PROGRAM: "float32, BatchNorm folded, PyTorch",
    FOLDED_ONNX: "float32, BatchNorm folded, ONNX",
    INT8_ONNX: "int8, ONNX",
    HEADER: "int8, C99 source",
}

_FORMS_TEXT = """\
Each form was loaded again by a fresh process with its own runtime (the header compiled) and
measured. *Activations*: the most bytes that the feature maps of one image take at once when the
network is run operation by operation, the pixels included; for the C source its static memory
(pixels and logits are the caller's). The graph of an int8 ONNX file has a float32 map behind each
8-bit one, which is counted; where ONNX Runtime joins operations it takes less. *Logits off
by*: the largest difference from the logits of the weights (1,000 test images); *relative*: as a
part of the largest logit."""


def loading_section(forms: Mapping[str, Mapping[str, Any]]) -> str:
    """How to load each of the forms."""
    return (
        "Input `pixels`: float32 (N, 1, 28, 28), 0 for background to 1 for ink, *not* normalised "
        "(the model does that). Output: 10 logits per image; the largest names the digit. Their "
        "softmax is its probability, which means nothing for an image that shows no digit. "
        "A network knows digits as MNIST has them: light ink on black, fitted into 20x20 pixels, "
        "the centre of mass in the middle of 28x28. `nas-search predict FILE IMAGE...` makes that "
        "of a picture; the files themselves do not.\n\n"
        + "\n\n".join(text for name, text in _TEXTS.items() if name in forms)
    )


def _program_text(name: str, what: str) -> str:
    return f"""`{name}` (PyTorch alone, any batch size{what}):

```python
import torch

pixels = torch.rand(1, 1, 28, 28)  # for a try
model = torch.export.load("{name}").module()
logits = model(pixels)
```"""


def _onnx_text(name: str, what: str) -> str:
    return f"""`{name}` (ONNX Runtime alone, any batch size{what}):

```python
import numpy
import onnxruntime

pixels = numpy.random.rand(1, 1, 28, 28).astype("float32")  # for a try
session = onnxruntime.InferenceSession("{name}")
(logits,) = session.run(None, {{"pixels": pixels}})
```"""


_TEXTS = {
    WEIGHTS: f"""`{WEIGHTS}` with `{CONFIG}` (the weights, and what rebuilds their network):

```python
from pathlib import Path

import torch
from results.models.loading import load_exported  # of nas-search, which has to be installed

pixels = torch.rand(1, 1, 28, 28)  # for a try
model, config = load_exported(Path("."))
logits = model(pixels)
```""",
    PROGRAM: _program_text(PROGRAM, ""),
    ONNX: _onnx_text(ONNX, ""),
    FOLDED_PROGRAM: _program_text(FOLDED_PROGRAM, "; BatchNorm folded into the convolutions"),
    FOLDED_ONNX: _onnx_text(FOLDED_ONNX, "; BatchNorm folded into the convolutions"),
    INT8_ONNX: _onnx_text(INT8_ONNX, "; 8-bit weights and feature maps"),
    seed_weights(1): f"""`{seed_weights(1)}` and so on (the same network, trained from other
seeds):

```python
from pathlib import Path

import torch
from results.models.loading import open_model  # of nas-search, which has to be installed

pixels = torch.rand(1, 1, 28, 28)  # for a try
logits = open_model(Path("{seed_weights(1)}"))(pixels)
```""",
    HEADER: f"""`{HEADER}` (C99 without dependencies, whole numbers only; pixels are 784 bytes,
0 for background to 255 for ink):

```c
#include "{HEADER}"

int digit = nas_search_predict(pixels);
```""",
}
