"""The comparison on a terminal, for reading. On stdout."""

import statistics
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from benchmarks.ceiling import Ceilings
from benchmarks.result import Result


def show(header: dict[str, str], ceilings: Ceilings, results: list[Result]) -> None:
    """Prints what made the figures, the ceilings, and a column per network."""
    console = Console()
    for name, value in header.items():
        console.print(f"{name}: {value}", highlight=False, soft_wrap=True)
    console.print(
        "ceilings: "
        + ", ".join(f"{rate / 1e9:,.0f} GFLOP/s {name}" for name, rate in ceilings.flops.items())
        + f", {ceilings.bandwidth / 1e9:,.1f} GB/s copied",
        highlight=False,
        soft_wrap=True,
    )
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    for result in results:
        table.add_column(result.architecture, justify="right", no_wrap=True)
    for label, cell in _ROWS.items():
        table.add_row(label, *(cell(result) for result in results))
    console.print(table)


def _accuracy(accuracies: list[float]) -> str:
    if len(accuracies) < 2:
        return "".join(f"{each:.3f}" for each in accuracies)
    return f"{statistics.mean(accuracies):.3f} ± {statistics.stdev(accuracies):.3f}"


def _difference(result: Result) -> str:
    if result.plain_accuracy is None or result.engine_accuracy is None:
        return ""
    return f"{result.engine_accuracy - result.plain_accuracy:+.3f}"


_ROWS: dict[str, Callable[[Result], str]] = {
    "parameters": lambda each: f"{each.params:,}",
    "MACs per image": lambda each: f"{each.macs:,}",
    "plain, images/s": lambda each: f"{each.plain_images_per_second:,.0f}",
    "engine, images/s": lambda each: f"{each.engine_images_per_second:,.0f}",
    "ratio": lambda each: f"{each.ratio:.2f}",
    "  lowest and highest of the pairs": lambda each: (
        f"{min(each.ratios):.2f}, {max(each.ratios):.2f}"
    ),
    "plain, loader processes": lambda each: str(each.plain_loader_processes),
    "engine, trainings at once": lambda each: str(each.engine_trainings_at_once),
    "  images/s by trainings at once": lambda each: "\n".join(
        f"{count}: {rate:,.0f}" for count, rate in each.engine_images_per_second_at.items()
    ),
    "plain, seconds per trial": lambda each: f"{each.plain_seconds_per_trial:,.1f}",
    "engine, seconds per trial": lambda each: f"{each.engine_seconds_per_trial:,.1f}",
    "plain, trials per minute": lambda each: f"{each.plain_trials_per_minute:.2f}",
    "engine, trials per minute": lambda each: f"{each.engine_trials_per_minute:.2f}",
    "plain, peak MiB": lambda each: f"{each.plain_peak_bytes / 2**20:,.0f}",
    "engine, peak MiB per process": lambda each: f"{each.engine_peak_bytes / 2**20:,.0f}",
    "needed, MFLOP per image": lambda each: f"{each.flops_per_image / 1e6:,.2f}",
    "needed, kB per image": lambda each: f"{each.bytes_per_image / 1e3:,.0f}",
    "engine, share of FLOP/s": lambda each: f"{each.share_of_flops:.1%}",
    "engine, share of bandwidth": lambda each: f"{each.share_of_bandwidth:.1%}",
    "engine, share of ceiling": lambda each: f"{each.share_of_ceiling:.1%}",
    "plain, share of ceiling": lambda each: f"{each.plain_share_of_ceiling:.1%}",
    "plain, accuracy %": lambda each: _accuracy(each.plain_accuracies),
    "engine, accuracy %": lambda each: _accuracy(each.engine_accuracies),
    "engine minus plain, points": _difference,
}
