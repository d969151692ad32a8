"""Results on a terminal, for reading. On stdout."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def summary_table(found: dict[str, Any]) -> None:
    """Prints what `selection.summary` found."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    trials = found["trials"]
    console.print(
        f"study {found['study']} on {found['dataset']}: {trials['complete']} complete, "
        f"{trials['pruned']} pruned, {trials['failed']} failed trials "
        f"({trials['infeasible']} draws over the budget)",
        highlight=False,
        soft_wrap=True,
    )
    table = Table(show_header=True)
    table.add_column("accuracies in percent")
    table.add_column("most accurate", justify="right")
    table.add_column(f"smallest holding {found['target']}", justify="right")
    entries = [found["most_accurate"], found["smallest_holding"]]
    for name, cell in _SUMMARY_ROWS.items():
        table.add_row(name, *(cell(entry) if entry else "-" for entry in entries))
    console.print(table)


def _confirmed(show: Callable[[dict[str, Any]], str]) -> Callable[[dict[str, Any]], str]:
    return lambda entry: show(entry["confirmed"]) if entry["confirmed"] else "not confirmed"


_SUMMARY_ROWS: dict[str, Callable[[dict[str, Any]], str]] = {
    "trial": lambda entry: str(entry["trial"]),
    "parameters": lambda entry: f"{entry['params']:,}",
    "MACs per image": lambda entry: f"{entry['macs']:,}",
    "sustained, validation (it chooses)": lambda entry: f"{entry['sustained']:.2f}",
    "sustained, test, mean over seeds": _confirmed(
        lambda runs: (
            f"{runs['mean']:.3f}" + (f" ± {runs['sd']:.3f}" if runs["sd"] is not None else "")
        )
    ),
    "sustained, test, worst seed": _confirmed(lambda runs: f"{runs['worst']:.2f}"),
    "seeds that hold the target": _confirmed(lambda runs: f"{runs['holding']} of {runs['seeds']}"),
}


def trials_table(study: str, frame: "pd.DataFrame") -> None:
    """Prints the main columns of the trials that were trained, failed or run, best first."""
    from rich.console import Console
    from rich.table import Table

    shown = frame[~frame["state"].isin(["infeasible", "waiting"])]
    hidden = len(frame) - len(shown)
    if "sustained" in shown:
        shown = shown.sort_values("sustained", ascending=False)
    table = Table(title=f"{study}: accuracies on validation images, in percent")
    columns = {
        "trial": "trial",
        "state": "state",
        "params": "params",
        "macs": "MACs",
        "receptive_field_pixels": "RF px",
        "sustained": "sust.",
        "best_accuracy": "best",
        "gap": "gap",
        "epochs_run": "epochs",
        "seconds": "s",
    }
    present = [name for name in columns if name in shown]
    for name in present:
        table.add_column(columns[name], justify="left" if name == "state" else "right")
    for row in shown[present].to_dict("records"):
        table.add_row(*(_cell(str(name), row[name]) for name in present))
    console = Console()
    console.print(table)
    console.print(
        f"sust.: sustained, the lowest of the last epochs; gap: training minus validation. "
        f"{hidden} more draws were over the budget or are waiting; --format csv has everything",
        highlight=False,
    )


def _cell(name: str, value: Any) -> str:
    if value is None or value != value:  # NaN stands for "not there" in a frame
        return ""
    if name in ("params", "macs"):
        return f"{int(value):,}"
    if name in ("sustained", "best_accuracy", "gap"):
        return f"{value:.2f}"
    if name in ("epochs_run", "receptive_field_pixels", "seconds"):
        return f"{value:.0f}"
    return str(value)
