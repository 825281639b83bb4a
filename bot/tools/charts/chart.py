"""Work of the tool `chart`: runs a query, draws its rows, describes the picture."""

import asyncio
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from bot.chat import File, Keep
from bot.chat.text import one_line
from bot.tools.artifacts import file_name
from bot.tools.charts import labels
from bot.tools.charts.plot import Kind, Plot, arrange
from bot.tools.errors import ToolFailure
from bot.tools.sql.database import Database, QueryLimits

log = logging.getLogger(__name__)

LIMITS = QueryLimits(rows=5_000, chars=1_000_000, seconds=30)

_MOST_TOLD = 12
_ORDER = re.compile(r"\border\s+by\b", re.IGNORECASE)

_UNDRAWABLE = (
    "These values cannot be drawn: some numbers or dates are too extreme, or too far apart.\n"
    "Exclude those with WHERE, or draw something else."
)

_painter = ThreadPoolExecutor(1, thread_name_prefix="chart")
"""One thread, because matplotlib is not thread-safe; a cancelled turn does not interrupt it.

https://matplotlib.org/stable/users/faq.html#work-with-threads
"""


@dataclass(frozen=True, slots=True)
class Chart:
    """Drawn chart: the file, and the text for the model."""

    file: File
    words: str


async def draw(database: Database, keep: Keep, query: str, kind: Kind, x: str, y: str, title: str) -> Chart:
    """Run the query, draw its rows, store the picture. Raises `ToolFailure` with advice."""
    result = await database.fetch(query, LIMITS)
    if not result.is_complete:
        raise ToolFailure(
            f"The query gives more than {LIMITS.rows:,} rows, too many to draw.\n"
            "Let the database group them (for example by day or month), or take a sample with "
            "ORDER BY random() LIMIT 2000."
        )
    loop, is_ordered = asyncio.get_running_loop(), bool(_ORDER.search(query))
    plot = await asyncio.to_thread(arrange, result, kind, x, y, one_line(title), is_ordered=is_ordered)
    png, numbered = await loop.run_in_executor(_painter, _render, plot)
    about = _about(plot)
    alt = ". ".join([each for each in (plot.title, about) if each])
    file = await keep(file_name(plot.title or kind, png, "png"), "image/png", png, alt)
    return Chart(file, _words(plot, about, numbered))


def _render(plot: Plot) -> tuple[bytes, dict[str, str]]:
    from bot.tools.charts.image import render  # importing matplotlib takes over a second: only on demand

    try:
        drawing = render(plot)
    except (ArithmeticError, ValueError) as error:  # matplotlib computes margins around extreme values
        log.warning("chart drawing failed", exc_info=True)
        raise ToolFailure(_UNDRAWABLE) from error
    return drawing.png, drawing.names_by_number


def _about(plot: Plot) -> str:
    """Describe the picture for users who cannot see it."""
    kind = {"line": "Line chart", "bar": "Bar chart", "stacked": "Stacked chart"}.get(
        plot.kind, f"{plot.kind.capitalize()}{' plot' if plot.kind == 'scatter' else ''}"
    )
    if plot.kind == "histogram":
        return f"{kind} of {plot.count:,} values of {plot.x}: {_range(plot, plot.x_unit)}"
    names = [each.name for each in plot.series]
    shown = ", ".join(names) if any(names) else "values"
    return f"{kind} of {shown} over {plot.x} ({_along(plot)}): {_range(plot, plot.unit)}"


def _along(plot: Plot) -> str:
    if plot.scale == "time":
        moments = cast("tuple[datetime, ...]", plot.xs)
        return labels.span(min(moments), max(moments))
    if plot.scale == "number":
        numbers = cast("tuple[float, ...]", plot.xs)
        ends = [min(numbers), max(numbers)]
        return " to ".join(
            labels.year(each) if plot.are_years else labels.exact(each, plot.x_unit) for each in ends
        )
    names = [str(x) for x in plot.xs[:_MOST_TOLD]]
    return ", ".join(names) + (f" and {len(plot.xs) - len(names)} more" if len(plot.xs) > len(names) else "")


def _range(plot: Plot, unit: str) -> str:
    known = [value for series in plot.series for value in series.values if value is not None]
    if len(known) == 1:
        return labels.exact(known[0], unit)
    return f"lowest {labels.exact(min(known), unit)}, highest {labels.exact(max(known), unit)}"


def _words(plot: Plot, about: str, numbered: dict[str, str]) -> str:
    """Return the text for the model. Its first line is shown to users, too."""
    lines = [f"Chart drawn: {about}. {plot.count:,} values.", "The users have received it."]
    lines += [f"{remark}." for remark in plot.remarks]
    if numbered:
        told = ", ".join(f"{number} {name}" for number, name in numbered.items())
        lines.append(
            f"The picture has no letters for some names and shows numbers; say which is which: {told}."
        )
    return "\n".join(lines)
