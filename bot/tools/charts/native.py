"""Values of a plot for platforms that draw charts themselves. Pure."""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Literal, cast

from bot.chat import Chart, ChartSeries
from bot.tools.charts.plot import MOST_DATES, Plot, names_of

_KINDS: dict[str, Literal["line", "bar", "pie"]] = {"line": "line", "bar": "bar", "pie": "pie"}

_UNEVEN = 1.2
"""Largest ratio of two steps along x that still looks even, such as 31 and 28 days."""


def chart_of(plot: Plot) -> Chart | None:
    """Return the values of a plot, or None if only the picture shows them truthfully.

    Services place labels at even distances, need a value for each, and do not stack.
    """
    kind = _kind(plot)
    is_known = all(value is not None for series in plot.series for value in series.values)
    if kind is None or not is_known or plot.remarks or len(plot.xs) > MOST_DATES or not _is_even(plot):
        return None
    names = names_of(plot)
    if len(set(names)) < len(names):
        return None
    y_label = plot.series[0].name if len(plot.series) == 1 else ""
    return Chart(
        kind=kind,
        title=plot.title,
        labels=tuple(names),
        series=tuple(
            ChartSeries(each.name or plot.x, cast("tuple[float, ...]", each.values)) for each in plot.series
        ),
        x_label=plot.x,
        y_label=f"{y_label} ({plot.unit})" if y_label and plot.unit else y_label or plot.unit,
    )


def _kind(plot: Plot) -> Literal["line", "bar", "area", "pie"] | None:
    if plot.kind == "stacked" and len(plot.series) == 1:
        return "area" if plot.is_area else "bar"
    return _KINDS.get(plot.kind)


def _is_even(plot: Plot) -> bool:
    if plot.scale == "name" or plot.kind == "bar" or len(plot.xs) < 3:
        return True
    if plot.scale == "time":
        moments = cast("Sequence[datetime]", plot.xs)
        places: Sequence[float] = [(each - moments[0]).total_seconds() for each in moments]
    else:
        places = cast("Sequence[float]", plot.xs)
    steps = [after - before for before, after in pairwise(places)]
    return min(steps) > 0 and max(steps) <= _UNEVEN * min(steps)
