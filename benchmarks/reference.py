"""The table and the picture of results/README.md, from what is committed beside it.

    python benchmarks/reference.py

Reads the cards of results/networks and the published networks of results/replay; nothing is trained
or measured. The table goes between the two marks in results/README.md, the picture is
results/front.png. Run it after an export to results/networks.
"""

import json
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # of this checkout, installed or not

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from results.charts.chart import BLUE, GREY, RED
from results.markdown import table
from space import PUBLISHED, footprint

RESULTS = Path(__file__).parents[1] / "results"
BEGIN, END = "<!-- table -->", "<!-- end of table -->"
TARGET, SUSTAIN = 99.4, 4
"""Percent, held over so many last epochs."""

BUDGET = 10_000
"""The table has what is smaller."""

SHOWN = (15_000, 99.0)
"""Parameters and percent: the picture has what is smaller and better."""

_NEAR = 250
"""Parameters: so near to the one before, a name would lie over that one's."""

_DPI = 200


@dataclass(frozen=True)
class Network:
    """A network and its sustained test accuracies over seeds, percent.

    `validation`: None of published networks, which had none.
    """

    name: str
    link: str
    params: int
    macs: int
    validation: float | None
    mean: float
    sd: float
    lowest: float
    seeds: int
    holding: int

    @property
    def row(self) -> tuple[str, ...]:
        """Its row of the table."""
        mean = f"{self.mean:.3f} ± {self.sd:.3f}"
        return (
            f"{self.params:,}",
            f"[{self.name}]({self.link})",
            f"{self.macs:,}",
            "" if self.validation is None else f"{self.validation:.2f}",
            mean if self.validation is None else f"**{mean}**",
            f"{self.lowest:.2f}",
            f"{self.holding} of {self.seeds}",
        )


COLUMNS = (
    "parameters",
    "network",
    "MACs",
    "validation",
    "test: mean ± sd",
    "worst seed",
    f"seeds that hold {TARGET:g}",
)


def exported(folder: Path) -> Network | None:
    """What the config.json of an exported folder says; None if not confirmed from two seeds."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    confirmed = config["accuracy"]["confirmed"]
    if confirmed is None or confirmed["seeds"] < 2:
        return None
    return Network(
        name=folder.name,
        link=f"networks/{folder.name}/README.md",
        params=config["params"],
        macs=config["macs"],
        validation=config["accuracy"]["validation_sustained"],
        mean=confirmed["mean"],
        sd=confirmed["sd"],
        lowest=confirmed["worst"],
        seeds=confirmed["seeds"],
        holding=confirmed["holding"],
    )


def published(runs: Iterable[dict[str, Any]]) -> list[Network]:
    """The networks that were replayed from two seeds or more."""
    sustained: dict[str, list[float]] = {}
    for run in runs:
        sustained.setdefault(run["id"], []).append(min(run["test_accuracies"][-SUSTAIN:]))
    found = []
    for each in PUBLISHED.values():
        accuracies = sustained.get(each.id, [])
        if len(accuracies) < 2:
            continue
        size = footprint(each.configuration.architecture)
        found.append(
            Network(
                name=f"published {each.id}{'*' if each.reconstruction else ''}",
                link="replay/README.md",
                params=size.params,
                macs=size.macs,
                validation=None,
                mean=statistics.mean(accuracies),
                sd=statistics.stdev(accuracies),
                lowest=min(accuracies),
                seeds=len(accuracies),
                holding=sum(one >= TARGET for one in accuracies),
            )
        )
    return found


def networks() -> list[Network]:
    """All of them, the smallest first."""
    folders = [each for each in (RESULTS / "networks").glob("[!.]*") if each.is_dir()]
    ours = [found for each in folders if (found := exported(each))]
    theirs = published(json.loads((RESULTS / "replay" / "runs.json").read_text()))
    return sorted((*ours, *theirs), key=lambda each: (each.params, each.name))


def in_table(found: Sequence[Network]) -> str:
    """As Markdown."""
    return table(COLUMNS, [each.row for each in found if each.params < BUDGET])


def with_table(text: str, found: Sequence[Network]) -> str:
    """The text with the table between its marks. Raises ValueError if one of them is missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the text has no {BEGIN} or no {END}: put them where the table goes")
    return f"{before}{BEGIN}\n\n{in_table(found)}\n\n{END}{after}"


def picture(found: Sequence[Network]) -> Figure:
    """Sustained test accuracy against parameters, of what lies within `SHOWN`."""
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.subplots()
        shown = [each for each in found if each.params < SHOWN[0] and each.mean > SHOWN[1]]
        for ours, colour, shape, label in (
            (True, BLUE, "s", "ours: mean over seeds, down to the worst"),
            (False, GREY, "o", "published, trained again: mean over seeds, down to the worst"),
        ):
            group = [each for each in shown if (each.validation is not None) == ours]
            axes.errorbar(
                [each.params for each in group],
                [each.mean for each in group],
                yerr=[[each.mean - each.lowest for each in group], [0.0] * len(group)],
                fmt=shape,
                color=colour,
                markersize=6 if ours else 4.5,
                capsize=2.5,
                linewidth=1,
                label=label,
            )
            for number, each in enumerate(group):
                name, height, turned = f"{each.params:,}", each.mean, 90
                offset, side = (0, 7), "left"
                if not ours:  # neighbours have their names on different sides
                    name, turned = each.name.removeprefix("published ").rstrip("*"), 0
                    offset, side = ((-6, 0), "right") if number % 2 == 0 else ((6, 0), "left")
                elif number > 0 and each.params - group[number - 1].params < _NEAR:
                    height, offset, side = each.lowest, (4, -5), "right"
                axes.annotate(
                    name,
                    (each.params, height),
                    xytext=offset,
                    textcoords="offset points",
                    ha=side,
                    va="center",
                    rotation=turned,
                    rotation_mode="anchor",
                    color=colour,
                    fontsize=8,
                )
        axes.axhline(TARGET, color=RED, linewidth=1, linestyle="--", label=f"{TARGET:g}%")
        axes.set(xlabel="trainable parameters", xlim=(0, None))
        axes.set_ylabel("sustained accuracy on test images, %")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.margins(y=0.08)
        axes.grid(axis="y", color="#e6e6e6", linewidth=0.7)
        axes.set_axisbelow(True)
        figure.legend(loc="outside lower center", frameon=False, fontsize=9)
    return figure


def main() -> None:
    found, text = networks(), RESULTS / "README.md"
    text.write_text(with_table(text.read_text(), found))
    picture(found).savefig(RESULTS / "front.png", dpi=_DPI)
    sys.stdout.write(f"{len(found)} networks in {text} and {RESULTS / 'front.png'}\n")


if __name__ == "__main__":
    main()
