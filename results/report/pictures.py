"""The pictures of a report: one form for files beside the Markdown, one for within the page."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from results.charts import still
from results.charts.chart import Chart
from results.charts.network import network_png, network_svg
from space import Architecture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "pictures"


@dataclass(frozen=True)
class Picture:
    """The same picture as a PNG file's content, and as what is put into the page."""

    png: bytes
    embedded: bytes
    media_type: str


@dataclass
class Pictures:
    """Those made so far, by the address they have in the Markdown."""

    made: dict[str, Picture] = field(default_factory=dict)

    def chart(self, name: str, chart: Chart) -> str:
        """The Markdown that shows a chart, or says why there is nothing to show.

        `name`: that of its file, without the ending.
        """
        if not chart.marks:
            return chart.empty
        vector = still.svg(chart).encode()
        return self._add(name, chart.summary, Picture(still.png(chart), vector, "image/svg+xml"))

    def network(self, name: str, architecture: Architecture, alternative: str) -> str:
        """The Markdown that shows the drawing of a network."""
        vector = network_svg(architecture).encode()
        return self._add(
            name, alternative, Picture(network_png(architecture), vector, "image/svg+xml")
        )

    def drawing(self, name: str, draw: "Callable[[], Figure]", alternative: str) -> str:
        """The Markdown that shows a matplotlib figure."""
        content = still.picture(draw, "png", 150)
        return self._add(name, alternative, Picture(content, content, "image/png"))

    def _add(self, name: str, alternative: str, picture: Picture) -> str:
        address = f"{FOLDER}/{name}.png"
        self.made[address] = picture
        return f"![{alternative}]({address})"
