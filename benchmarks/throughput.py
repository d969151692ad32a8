"""How much faster this engine trains than the plain script of the write-ups, on the same device.

Run as `python benchmarks/throughput.py`; see README.md beside this file for what is measured.
"""

import dataclasses
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).parents[1]))  # measures this checkout, installed or not

from benchmarks.accuracy import Log
from benchmarks.comparison import Bench, Protocol
from benchmarks.networks import configurations
from benchmarks.result import Result
from results.errors import NasSearchError
from results.versions import device_name, versions
from search.data import find
from search.device import default_workers, resolve_devices
from search.precision import measure_precision

FULL = Protocol(images=6_250, seconds=10, pairs=3, seeds=3, epochs=15, accuracy_images=50_000)
QUICK = Protocol(images=640, seconds=0.6, pairs=2, seeds=1, epochs=2, accuracy_images=2_500)
GPU_FACTOR = 8
"""As many times more images on a GPU, which is through with fewer before they can be timed."""

LOADER_PROCESSES = (0, 2, 4)
"""What the plain script's `num_workers` is tried at, as far as there are cores; starting them takes
seconds."""

NAMES = ("1.0", "1.3", "median")


@click.command(context_settings={"max_content_width": 100})
@click.option("--quick", is_flag=True, help="A first look within a minute on two cores.")
@click.option("--json", "as_json", is_flag=True, help="Prints one JSON object and nothing else.")
@click.option(
    "--network",
    "names",
    type=click.Choice(NAMES),
    multiple=True,
    help="Only these; may be repeated.",
)
@click.option("--dataset", type=click.Choice(["mnist", "mnist-sample"]), help="As nas-search's.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="As nas-search's.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda:0, ...; one of them.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes. Default: one per core.")
@click.option("--images", type=click.IntRange(min=64), help="Training images of a timed epoch.")
@click.option("--seconds", type=click.FloatRange(min=0), help="Length of a measurement.")
@click.option("--pairs", type=click.IntRange(min=1), help="Measurements of each side, in turn.")
@click.option("--seeds", type=click.IntRange(min=0), help="Trainings for the accuracies; 0: none.")
@click.option("--epochs", type=click.IntRange(min=1), help="Of these trainings.")
@click.option("--accuracy-images", type=click.IntRange(min=64), help="Of these trainings.")
@click.option(
    "--accuracy-log",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File that keeps accuracies; what it has is not trained again.",
)
def main(
    quick: bool,
    as_json: bool,
    names: tuple[str, ...],
    dataset: Any,
    data_dir: Path | None,
    device: str,
    workers: int | None,
    accuracy_log: Path | None,
    **measured: Any,
) -> None:
    """Trains the plain script of the write-ups and this engine in turn and compares them."""
    try:
        source = find(dataset, data_dir, tell)
        device = resolve_devices(device)[0]
    except NasSearchError as error:
        raise click.ClickException(str(error)) from None
    on_gpu = device != "cpu"
    workers = workers or default_workers(("cpu",))
    protocol = QUICK if quick else FULL
    if on_gpu:
        protocol = dataclasses.replace(protocol, images=GPU_FACTOR * protocol.images)
    given = {name: value for name, value in measured.items() if value is not None}
    protocol = dataclasses.replace(protocol, **given)
    counts = [count for count in (1, 2, 4, 8, 16, 32) if on_gpu or count < workers]
    counts += [] if on_gpu else [workers]
    loader_counts = [count for count in LOADER_PROCESSES if count <= default_workers(("cpu",))]
    if quick:
        counts, loader_counts = counts[-1:], loader_counts[:1]
    precision = measure_precision(device).chosen
    chosen = {name: each for name, each in configurations().items() if name in (names or NAMES)}

    header = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": ", ".join(f"{name} {text}" for name, text in versions().items()),
        "device": device_name(device),
        "processor": f"{device_name('cpu')}, {workers} workers",
        "dataset": source.name,
        "precision": f"float32 (plain), {precision} (engine)",
        "protocol": ", ".join(f"{k} {v:,}" for k, v in dataclasses.asdict(protocol).items()),
    }
    with Bench.open(source, device, precision, protocol, workers, tell) as bench:
        speeds = {
            name: bench.speeds(name, each, counts, loader_counts) for name, each in chosen.items()
        }
        ceilings = bench.ceilings()
        accuracies = bench.accuracies(chosen, Log(accuracy_log))
    results = [
        Result.of(
            name,
            configuration,
            precision,
            ceilings,
            speeds[name],
            accuracies[name, "plain"],
            accuracies[name, "engine"],
        )
        for name, configuration in chosen.items()
    ]
    if as_json:
        found = {
            **header,
            "ceilings": dataclasses.asdict(ceilings),
            "results": [dataclasses.asdict(each) for each in results],
        }
        click.echo(json.dumps(found))
    else:
        from benchmarks.report import show

        show(header, ceilings, results)


def tell(line: str) -> None:
    """Progress, beside the result."""
    click.echo(line, err=True)


if __name__ == "__main__":
    main()
