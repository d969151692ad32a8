"""Learning curves on a part of MNIST: many more of them for the same time.

    python benchmarks/short_curves.py --curves 100 --processes 2 benchmarks/curves-short.csv

Draws configurations at random, passes over what is over the budget, trains each from its own seed
on the same part of the training images to the last epoch, and measures it after each on other
training images. The file is that of `curves.py`; its rows are in the order of their numbers, which
decide configuration and training. It is written after each training, and a run that was cut off
goes on. `--like` trains what was recorded before, to see whether such curves rank configurations as
full ones do.

Where a full curve can be had, it says more: here an epoch has fewer steps, so the first ones are
nearer to the beginning, and accuracies lie lower and further apart.
"""

import argparse
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any, get_args

import optuna

sys.path.insert(0, str(Path(__file__).parents[1]))  # of this checkout, installed or not

from benchmarks.curves import Curve, read_numbered, to_the_end, write_curves
from search import data
from search.data import DatasetName, Examples, stratified_split
from search.device import prepare_thread
from search.plan import Precision, derived_seed
from search.train import TrainingRun
from space import SearchSpace, configuration, footprint

_PARTS: list[Examples] = []
"""Training and validation images of a process: not sent with each of its tasks."""


def _load(
    dataset: DatasetName, data_dir: Path | None, training_images: int, validation_images: int
) -> None:
    digits = data.find(dataset, data_dir, warn=print).load()
    _PARTS[:] = (
        part_of(digits.train, training_images),
        part_of(digits.validation, validation_images),
    )


def part_of(examples: Examples, size: int) -> Examples:
    """So many of them, each class in its share, always the same."""
    labels = examples.labels[examples.indices].numpy()
    _, chosen = stratified_split(labels, size, data.SPLIT_SEED)
    return Examples(examples.images, examples.labels, examples.indices[chosen])


def drawn(space: SearchSpace, number: int) -> dict[str, Any]:
    """The parameters of the first random draw under the budget that this number leads to."""
    sampler = optuna.samplers.RandomSampler(seed=derived_seed("short curve", number))
    study = optuna.create_study(sampler=sampler)
    while True:
        trial = study.ask()
        if footprint(space.sample(trial).architecture).params < space.max_params:
            return trial.params


def record(
    task: tuple[int, dict[str, Any]],
    images: str,
    max_params: int,
    epochs: int,
    precision: Precision,
) -> Curve:
    """Trains a number's parameters, on the images of `_PARTS`."""
    prepare_thread("cpu")
    number, params = task
    trained = configuration(params)
    cost = footprint(trained.architecture)
    seed = derived_seed("short curve", number)
    run = TrainingRun(trained, *_PARTS, epochs=epochs, seed=seed, precision=precision)
    metrics = list(run)
    accuracies = [each.accuracy for each in metrics]
    seconds = sum(each.train_seconds + each.evaluation_seconds for each in metrics)
    return Curve(
        number=number,
        images=images,
        max_params=max_params,
        params=cost.params,
        macs=cost.macs,
        seconds=seconds / len(metrics),
        accuracies=to_the_end(accuracies, epochs),
        drawn=params,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Records learning curves on a part of MNIST.")
    parser.add_argument("file", type=Path, help="written, or gone on with, by the same options")
    parser.add_argument("--curves", type=int, default=100)
    parser.add_argument("--like", type=Path, help="train what was recorded there, draw nothing")
    parser.add_argument("--training-images", type=int, default=12_500)
    parser.add_argument("--validation-images", type=int, default=5_000)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--max-params", type=int, default=10_000, help="parameter budget")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--processes", type=int, default=1, help="of one thread each")
    parser.add_argument("--dataset", choices=get_args(DatasetName), default="mnist")
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = SearchSpace.for_budget(options.max_params)
    done = {each.number: each for each in read_numbered(options.file)}
    if options.like:
        wanted = {each.number: each.drawn for each in read_numbered(options.like)}
    else:
        wanted = {number: drawn(space, number) for number in range(options.curves)}
    parts = (options.training_images, options.validation_images)
    images = f"{parts[0]:,} of {options.dataset} in {options.precision}, measured on {parts[1]:,}"
    kind = (images, options.max_params, options.epochs)
    for each in done.values():
        meant = wanted.get(each.number, each.drawn)
        cost = footprint(configuration(meant).architecture)
        found = (each.images, each.max_params, len(each.accuracies), each.params, each.macs)
        if found != (*kind, cost.params, cost.macs):
            parser.error(f"{options.file} was recorded with other options: name another file")
    make = partial(
        record,
        images=images,
        max_params=options.max_params,
        epochs=options.epochs,
        precision=options.precision,
    )
    missing = [each for each in wanted.items() if each[0] not in done]
    loading = (options.dataset, options.data_dir, *parts)
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, spawned, _load, loading) as pool:
        for trained in as_completed([pool.submit(make, each) for each in missing]):
            curve = trained.result()
            done[curve.number] = curve
            write_curves(options.file, [done[number] for number in sorted(done)])
            sys.stderr.write(
                f"[{len(done)}/{len(wanted)}] {curve.number}: {curve.params:,} parameters, "
                f"{curve.accuracies[-1]:.2f}% after {options.epochs} epochs, "
                f"{curve.seconds:.1f} s each\n"
            )


if __name__ == "__main__":
    main()
