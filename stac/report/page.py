"""One HTML page that needs no other file: tables, charts and what draws them."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Sequence, Sized
from importlib import resources
from typing import NamedTuple

from stac.report import charts
from stac.report.charts import Chart

# The browser itself refuses whatever would leave the page.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline';"
    " img-src data:"
)


class Cell(NamedTuple):
    """A cell of a table; its value is what the column is sorted by."""

    text: str
    value: float | None = None
    # A bar from zero with an interval: (low, value, high) on an axis (start, end).
    bar: tuple[float, float, float] | None = None
    axis: tuple[float, float] = (0.0, 1.0)
    shade: float | None = None  # of the background, from 0 to 1
    colour: str = ""  # of a mark before the text


Row = Sequence[Cell | str]


def number(value: float, digits: int = 3) -> Cell:
    """A number as a cell, of three digits; nothing where it is not finite."""
    return Cell(short(value, digits), value) if math.isfinite(value) else Cell("")


def short(value: float, digits: int = 3) -> str:
    """The number with three digits, or as a whole number from 100 on."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.{digits}g}"


def table(header: Sequence[str], rows: Iterable[Row]) -> str:
    """A table that is sorted by a click on a column's name."""
    names = "".join(
        f'<th scope="col"><button type="button">{html.escape(name)}</button></th>'
        for name in header
    )
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    head = f"<thead><tr>{names}</tr></thead>"
    scrolled = '<div class="box" tabindex="0" role="region" aria-label="table">'
    return f"{scrolled}<table>{head}<tbody>{body}</tbody></table></div>"


def _cell(cell: Cell | str) -> str:
    if isinstance(cell, str):
        return f"<td>{html.escape(cell)}</td>"
    mark = f'<i style="background:{cell.colour}"></i>' if cell.colour else ""
    text = mark + html.escape(cell.text)
    kind = "n" if cell.bar is None else "barred"
    text = text if cell.bar is None else _bar(cell) + text
    value = "" if cell.value is None else f' data-value="{cell.value}" class="{kind}"'
    shade = "" if cell.shade is None else f' style="--shade:{cell.shade:.2f}"'
    return f"<td{value}{shade}>{text}</td>"


def _bar(cell: Cell) -> str:
    """A bar as inline SVG, in the colours of the page; the line is the interval."""
    assert cell.bar is not None
    start, end = cell.axis

    def at(value: float) -> float:
        return 100 * (min(max(value, start), end) - start) / ((end - start) or 1.0)

    low, value, high = cell.bar
    left, width = min(at(0), at(value)), abs(at(value) - at(0))
    sign = "less" if value < 0 else "more"
    return (
        '<svg class="bar" viewBox="0 0 100 12" preserveAspectRatio="none"'
        f' aria-hidden="true"><rect class="{sign}" x="{left:.1f}" y="1"'
        f' width="{width:.1f}" height="10"/><path d="M{at(low):.1f} 6H{at(high):.1f}'
        f'M{at(0):.1f} 0V12"/></svg>'
    )


def drawn(group: Sequence[Chart], wide: bool = False) -> str:
    """Charts side by side."""
    kind = "charts wide" if wide else "charts"
    return f'<div class="{kind}">{"".join(map(_chart, group))}</div>'


def _chart(chart: Chart) -> str:
    data = json.dumps(charts.as_json(chart), separators=(",", ":"))
    data = data.replace("<", "\\u003c")  # no text of a run ends the script
    return (
        f"<figure><figcaption>{html.escape(chart.title)}</figcaption>"
        f'<div class="chart" role="img" aria-label="{_words(chart)}"></div>'
        f'<script type="application/json">{data}</script></figure>'
    )


def _words(chart: Chart) -> str:
    """The chart in words: its axes, and where each line ends."""
    ends = []
    for series in chart.series:
        known = series.values[~(series.values != series.values)]
        if series.label and len(known):
            ends.append(f"{series.label} ends at {short(float(known[-1]))}")
    words = f"{chart.title}: {chart.y_label} over {chart.x_label}; {', '.join(ends)}"
    return html.escape(words, quote=True)


def section(name: str, *parts: str) -> str:
    """A section with its heading; nothing where it has no content."""
    inside = "".join(parts)
    identity = html.escape(name.lower().replace(" ", "-"), quote=True)
    heading = f"<h2>{html.escape(name)}</h2>"
    return f'<section id="{identity}">{heading}{inside}</section>' if inside else ""


def count(items: Sized, noun: str) -> str:
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"


def paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def fold(summary: str, inside: str, opened: bool = False) -> str:
    """Content that a click shows."""
    state = " open" if opened else ""
    return (
        f"<details{state}><summary>{html.escape(summary)}</summary>{inside}</details>"
    )


def whole(title: str, sections: Sequence[str]) -> str:
    """The page with its scripts and styles inside."""
    assets = resources.files("stac.report").joinpath("assets")
    styles = [
        assets.joinpath(x).read_text("utf-8") for x in ("uPlot.min.css", "page.css")
    ]
    scripts = [
        assets.joinpath(x).read_text("utf-8") for x in ("uPlot.iife.min.js", "page.js")
    ]
    body = "\n".join(filter(None, sections))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{html.escape(title)}</title><style>{''.join(styles)}</style></head>"
        f"<body><main><h1>{html.escape(title)}</h1>\n"
        "<noscript>The charts need scripts; the PNG files beside this page do not."
        f"</noscript>{body}\n</main>"
        f"<script>{';'.join(scripts)}</script></body></html>\n"
    )
