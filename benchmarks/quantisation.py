"""What int8 costs in accuracy: networks trained briefly, quantised as an export does, measured.

Run as `python benchmarks/quantisation.py`; see README.md beside this file. The networks are the
known-good ones and random draws of the search space, all below 10,000 parameters but the first.
"""

import sys
from itertools import islice
from pathlib import Path

import click
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # measures this checkout, installed or not

from benchmarks.networks import draws
from results.models.fold import fold
from results.models.pixels import Normalisation, PixelNetwork
from results.models.program import lower
from results.models.quantise import quantise
from results.versions import device_name, versions
from search.data import MEAN, STD, DatasetName, find
from search.export import calibration_images
from search.train import TrainingRun
from search.verify import accuracy
from space import BASELINES, Configuration, configuration


def networks(count: int) -> dict[str, Configuration]:
    """The networks that are quantised, by name."""
    known = {name: configuration(parameters) for name, parameters in BASELINES.items()}
    return known | {f"draw {number}": each for number, each in enumerate(islice(draws(), count))}


@click.command(context_settings={"max_content_width": 100})
@click.option(
    "--draws", "count", default=6, show_default=True, help="Random networks besides known ones."
)
@click.option("--epochs", default=3, show_default=True, help="Of each training, seed 0.")
@click.option("--dataset", type=click.Choice(["mnist", "mnist-sample"]), help="As nas-search's.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="As nas-search's.")
def main(count: int, epochs: int, dataset: DatasetName | None, data_dir: Path | None) -> None:
    """Prints test accuracies (percent) before and after quantisation, and what is lost."""
    torch.set_num_threads(1)
    digits = find(dataset, data_dir, click.echo).load()
    calibration = calibration_images(digits.all_training)
    click.echo(
        f"{epochs} epochs on {len(digits.all_training):,} images, measured on "
        f"{len(digits.test):,} test images; {device_name('cpu')}, {versions()}"
    )
    losses = []
    for name, each in networks(count).items():
        run = TrainingRun(each, digits.all_training, digits.test, epochs=epochs, seed=0)
        for _ in run:
            pass
        model = PixelNetwork(run.network, Normalisation(MEAN, STD)).eval()
        integers = quantise(fold(lower(model, each.architecture.input_shape)).program, calibration)
        before, after = accuracy(model, digits.test), accuracy(integers, digits.test)
        losses.append(before - after)
        params = sum(weight.numel() for weight in model.parameters())
        click.echo(
            f"{name:22} {params:6,} parameters  {before:6.2f} {after:6.2f} {losses[-1]:+6.2f}"
        )
    click.echo(
        f"lost: mean {sum(losses) / len(losses):+.3f}, most {max(losses):+.2f} (n={len(losses)})"
    )


if __name__ == "__main__":
    main()
