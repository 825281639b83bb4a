"""Rows to a picture and its description, for a child process: only there is matplotlib imported."""

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import cast

from bot.chat import Json
from bot.tools.charts import labels
from bot.tools.charts.native import chart_of
from bot.tools.charts.plot import Kind, Plot, arrange, shares_of
from bot.tools.errors import ToolFailure
from bot.tools.sql.format import Column, Result

_MOST_TOLD = 12

_UNDRAWABLE = (
    "These values cannot be drawn: some numbers or dates are too extreme, or too far apart.\n"
    "Exclude those with WHERE, or draw something else."
)


def draw_rows(
    columns: tuple[Column, ...],
    batches: Sequence[bytes],
    kind: Kind,
    x: str,
    y: str,
    title: str,
    *,
    is_ordered: bool,
) -> tuple[Mapping[str, Json], bytes]:
    """Return `title`, `about`, `words` and maybe the `chart` with its PNG, or a `problem` for the model.

    `batches` are pickles of rows.
    """
    rows = tuple(row for batch in batches for row in pickle.loads(batch))  # noqa: S301 - the bot wrote it
    try:
        plot = arrange(Result(columns, rows, is_complete=True), kind, x, y, title, is_ordered=is_ordered)
        png, numbered = render_plot(plot)
    except ToolFailure as error:
        return {"problem": str(error), "cause": repr(error.__cause__ or "")}, b""
    about = _about(plot)
    chart = chart_of(plot)
    values = {"chart": asdict(chart)} if chart else {}
    return {"title": plot.title, "about": about, "words": _words(plot, about, numbered), **values}, png


def render_plot(plot: Plot) -> tuple[bytes, dict[str, str]]:
    """Return the PNG, and the names that are numbers in it. Raises `ToolFailure`."""
    from bot.tools.charts.image import render  # importing matplotlib takes over a second: only on demand

    try:
        drawing = render(plot)
    except (ArithmeticError, ValueError) as error:  # matplotlib computes margins around extreme values
        raise ToolFailure(_UNDRAWABLE) from error
    return drawing.png, drawing.names_by_number


def _about(plot: Plot) -> str:
    """Describe the picture for users who cannot see it."""
    kind = {"line": "Line chart", "bar": "Bar chart", "stacked": "Stacked chart"}.get(
        plot.kind, f"{plot.kind.capitalize()}{' plot' if plot.kind == 'scatter' else ''}"
    )
    if plot.kind == "histogram":
        return f"{kind} of {plot.count:,} values of {plot.x}: {_range(plot, plot.x_unit)}"
    if plot.kind == "pie":
        shares = ", ".join(f"{name} {share}" for name, share in zip(plot.xs, shares_of(plot), strict=True))
        return f"Pie chart of {plot.series[0].name or 'values'} by {plot.x}: {shares}"
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
