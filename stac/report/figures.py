"""Draws charts as PNG files, for papers."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stac.report.charts import Chart, Series

if TYPE_CHECKING:  # a wrong command line is refused without the seconds of an import
    import matplotlib.axes
    import matplotlib.figure

_COLOURS = 64  # of a PNG: a third of the bytes
_DOTS_PER_INCH = 110


def draw(charts: Sequence[Chart]) -> matplotlib.figure.Figure:
    """A panel for each chart, three side by side, and one legend below them all."""
    import matplotlib.figure

    columns = min(3, len(charts))
    rows = -(-len(charts) // columns)
    size = (4.5 * columns + 0.5, 2.9 * rows + 0.6)
    figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for panel, chart in zip(panels, charts, strict=False):
        for series in chart.series:
            _plot(panel, chart.x, series)
        panel.set_title(_plain(chart.title), fontsize="medium")
        panel.set_xlabel(chart.x_label)
        panel.set_ylabel(textwrap.fill(_plain(chart.y_label), 30))
    for panel in figure.axes[len(charts) :]:
        panel.set_visible(False)
    lines = {
        label: line
        for panel in figure.axes
        for line, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    below: dict[str, Any] = {"loc": "outside lower center", "fontsize": "small"}
    figure.legend(lines.values(), lines.keys(), **below, ncols=2 * columns)
    return figure


def png(figure: matplotlib.figure.Figure) -> bytes:
    """The figure as a PNG of few colours, whole, however long its legend is."""
    from PIL import Image  # matplotlib brings it

    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=_DOTS_PER_INCH, bbox_inches="tight")
    picture = Image.open(drawn).convert("RGB").quantize(_COLOURS)
    picture.save(small, format="png", optimize=True)
    return small.getvalue()


def _plain(text: str) -> str:
    """Text as it is: between two dollars matplotlib would read mathematics."""
    return text.replace("$", r"\$")


def _plot(panel: matplotlib.axes.Axes, x: np.ndarray, series: Series) -> None:
    """A line with its band; a dot where only one value is known in all."""
    single = np.count_nonzero(~np.isnan(series.values)) == 1
    colour = series.colour or "black"
    panel.plot(
        x,
        series.values,
        color=colour,
        linestyle="--" if series.dashed else "-",
        linewidth=0.8 if series.thin else 2.0,
        marker="." if single else "",
        label=_plain(series.label) or "_",
    )
    if series.low is not None and series.high is not None:
        look: dict[str, Any] = {"color": colour, "alpha": 0.2, "linewidth": 0}
        panel.fill_between(x, series.low, series.high, **look)
