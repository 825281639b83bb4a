"""Rendering of a plot as PNG. It blocks, and only one thread may use matplotlib (`chart.py`).

One design for light and dark themes: an opaque, nearly white card on which all colours have a contrast of at
least 3 to 1. Font sizes are for a phone, which shows a picture about 350 points wide.
"""

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

import matplotlib as mpl
from matplotlib import dates
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bot.tools.charts import fonts, labels
from bot.tools.charts.plot import Plot, Series, names_of, shares_of

WIDTH, HEIGHT = 1200, 750
_DPI = 200
CARD, INK, SOFT, GRID = "#fcfcfb", "#1f2430", "#5b6270", "#e4e6ea"
COLOURS = ("#2563c9", "#d2600f", "#0d8577", "#8046c9", "#c22f52", "#56789a", "#8a6a12", "#3d8a2e")
_TITLE, _TEXT, _SMALL = 13, 10, 9
_MARGIN = 0.13
"""Inches around the whole picture."""
_LINE_SPACING = 1.35
_LABEL_ROOM = 0.12
_POINTS_PER_INCH = 72
_STEPS = [1, 2, 2.5, 5, 10]
_CHARS = 64
"""Characters of `_SMALL` or `_TEXT` that fit into the width of the picture."""
_MOST_MARKED = 40
"""Most points with markers on a line; half of it is the most bars with value labels."""

mpl.rcParams.update(
    {
        "font.family": fonts.families(),
        "font.size": _TEXT,
        "text.parse_math": False,  # a dollar sign in a name is a dollar sign
        "axes.edgecolor": GRID,
        "axes.labelcolor": SOFT,
        "axes.unicode_minus": True,
        "xtick.color": SOFT,
        "ytick.color": SOFT,
        "text.color": INK,
    }
)


@dataclass(frozen=True, slots=True)
class Drawing:
    """Picture, and the names that appear in it as numbers."""

    png: bytes
    names_by_number: dict[str, str]


def render(plot: Plot) -> Drawing:
    """Draw a plot."""
    writing = fonts.PlotTexts()
    plot = _with_drawable_texts(plot, writing)
    is_flat = plot.scale == "name" and plot.kind in ("bar", "stacked") and _wants_room(plot)
    height = max(HEIGHT, 250 + 46 * len(plot.xs)) if is_flat else HEIGHT
    figure = Figure(figsize=(WIDTH / _DPI, height / _DPI), dpi=_DPI, facecolor=CARD, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(facecolor=CARD)
    _head(figure, plot)
    _DRAWERS[plot.kind](axes, plot, is_flat)
    _finish(figure, axes, plot, is_flat=is_flat)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", facecolor=CARD, metadata={"Software": None})
    return Drawing(picture.getvalue(), writing.names_by_number)


def _with_drawable_texts(plot: Plot, texts: fonts.PlotTexts) -> Plot:
    """Replace the texts of a plot by their drawable parts."""
    xs = plot.xs
    if plot.scale == "name":
        xs = tuple(labels.clip(name) for name in texts.names(cast("Sequence[str]", plot.xs)))
    return replace(
        plot,
        title=texts.title(plot.title),
        x=texts.title(plot.x),
        xs=xs,
        series=tuple(Series(labels.clip(texts.name(each.name)), each.values) for each in plot.series),
    )


def _wants_room(plot: Plot) -> bool:
    """Return True if the names are easier to read beside horizontal bars."""
    lengths = [len(str(name)) for name in plot.xs]
    return len(lengths) > 8 or max(lengths) > _CHARS // len(lengths)


def _draw_lines(axes: Axes, plot: Plot, _: bool) -> None:
    places = _places(plot)
    is_marked = len(plot.xs) * len(plot.series) <= _MOST_MARKED
    for number, series in enumerate(plot.series):
        axes.plot(
            places,
            [float("nan") if value is None else value for value in series.values],
            color=COLOURS[number],
            linewidth=2.2,
            marker="o" if is_marked or len(plot.xs) == 1 else None,
            markersize=4.5,
            label=series.name,
            solid_joinstyle="round",
        )
        _mark_islands(axes, places, series, COLOURS[number])
    _scale_x(axes, plot)


def _mark_islands(axes: Axes, places: Sequence[Any], series: Series, colour: str) -> None:
    """Mark single values between two gaps: a line needs two points to be visible."""
    padded = [None, *series.values, None]
    alone = [
        at
        for at, value in enumerate(series.values)
        if value is not None and padded[at] is None and padded[at + 2] is None
    ]
    heights = [series.values[at] or 0.0 for at in alone]
    axes.plot([places[at] for at in alone], heights, "o", color=colour, markersize=4.5)


def _draw_bars(axes: Axes, plot: Plot, is_flat: bool) -> None:
    width = 0.78 / len(plot.series)
    for number, series in enumerate(plot.series):
        offset = (number - (len(plot.series) - 1) / 2) * width
        places = [place + offset for place in range(len(plot.xs))]
        lengths = [value or 0.0 for value in series.values]
        draw = axes.barh if is_flat else axes.bar
        bars = draw(places, lengths, width * 0.94, color=COLOURS[number], label=series.name)
        if len(plot.xs) * len(plot.series) <= _MOST_MARKED // 2 and (len(plot.series) == 1 or is_flat):
            texts = ["" if value is None else labels.short(value, plot.unit) for value in series.values]
            longest = max(map(len, texts))
            if is_flat or longest * len(texts) <= 72:
                axes.bar_label(bars, texts, padding=3, fontsize=_SMALL, color=INK)
                axes.margins(x=_LABEL_ROOM if is_flat else None, y=None if is_flat else _LABEL_ROOM)
    _name_bars(axes, plot, is_flat)


def _draw_stacks(axes: Axes, plot: Plot, is_flat: bool) -> None:
    if plot.is_area:
        known = [[value or 0.0 for value in series.values] for series in plot.series]
        axes.stackplot(
            _places(plot), *known, colors=COLOURS, labels=[each.name for each in plot.series], linewidth=0
        )
        _scale_x(axes, plot)
        return
    above, below = [0.0] * len(plot.xs), [0.0] * len(plot.xs)
    for number, series in enumerate(plot.series):
        lengths = [value or 0.0 for value in series.values]
        starts = [up if size >= 0 else down for size, up, down in zip(lengths, above, below, strict=True)]
        places, label, colour = range(len(plot.xs)), series.name, COLOURS[number]
        if is_flat:
            axes.barh(places, lengths, 0.72, starts, color=colour, label=label, edgecolor=CARD, linewidth=0.8)
        else:
            axes.bar(places, lengths, 0.72, starts, color=colour, label=label, edgecolor=CARD, linewidth=0.8)
        above = [up + max(size, 0) for up, size in zip(above, lengths, strict=True)]
        below = [down + min(size, 0) for down, size in zip(below, lengths, strict=True)]
    _name_bars(axes, plot, is_flat)


def _name_bars(axes: Axes, plot: Plot, is_flat: bool) -> None:
    names = names_of(plot)
    axis = axes.yaxis if is_flat else axes.xaxis
    # the picture has room for about sixty characters
    every = 1 if is_flat else max(1, -(-len(names) * (max(map(len, names)) + 2) // 64))
    axis.set_ticks(range(0, len(names), every), names[::every])
    axis.set_tick_params(length=0)
    if is_flat:
        axes.invert_yaxis()
        axes.set_ylim(len(names) - 0.4, -0.6)
    else:
        axes.set_xlim(-0.6, len(names) - 0.4)
    (axes.axvline if is_flat else axes.axhline)(0, color=SOFT, linewidth=0.8)


def _draw_pie(axes: Axes, plot: Plot, _: bool) -> None:
    sizes = [value or 0.0 for value in plot.series[0].values]
    wedges, *_rest = axes.pie(
        sizes,
        colors=COLOURS,
        startangle=90,
        counterclock=False,
        wedgeprops={"edgecolor": CARD, "linewidth": 1.2},
    )
    # beside the pie, because the labels of small slices would overlap
    axes.legend(
        wedges,
        [f"{name}  {share}" for name, share in zip(names_of(plot), shares_of(plot), strict=True)],
        loc="center left",
        bbox_to_anchor=(1.02, 0.5),
        frameon=False,
        fontsize=_SMALL,
        handlelength=1.1,
        labelspacing=0.9,
    )


def _draw_points(axes: Axes, plot: Plot, _: bool) -> None:
    places = _places(plot)
    size = 34 if plot.count <= 60 else 20 if plot.count <= 500 else 9
    for number, series in enumerate(plot.series):
        known = [at for at, value in enumerate(series.values) if value is not None]
        axes.scatter(
            [places[at] for at in known],
            [cast("float", series.values[at]) for at in known],
            s=size,
            color=COLOURS[number],
            alpha=0.85 if plot.count <= 500 else 0.6,
            linewidths=0,
            label=series.name,
        )
    _scale_x(axes, plot)


def _draw_histogram(axes: Axes, plot: Plot, _: bool) -> None:
    known = [value for value in plot.series[0].values if value is not None]
    axes.hist(known, bins=_bins(known), color=COLOURS[0], edgecolor=CARD, linewidth=0.8)
    _scale_x(axes, plot)


def _bins(known: Sequence[float]) -> int:
    """Return the number of bins by Sturges' rule, or the number of whole numbers if that is smaller."""
    span = max(known) - min(known)
    are_whole = all(value == int(value) for value in known)
    sturges = max(5, min(40, 1 + 2 * int(len(known) ** 0.4)))
    return max(1, min(sturges, int(span) + 1)) if are_whole and span < 1e6 else sturges


def _places(plot: Plot) -> list[Any]:
    return list(range(len(plot.xs))) if plot.scale == "name" else list(plot.xs)


def _scale_x(axes: Axes, plot: Plot) -> None:
    if plot.scale == "name":
        _name_bars(axes, plot, False)
    elif plot.scale == "time":
        _date_x(axes, cast("Sequence[datetime]", plot.xs))
    elif plot.are_years:
        axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(labels.year))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(7, steps=_STEPS))
        axes.xaxis.set_major_formatter(_numbers(plot.x_unit))


def _date_x(axes: Axes, moments: Sequence[datetime]) -> None:
    if len(moments) == 1:
        axes.set_xticks(cast("Any", moments), labels.date_labels(moments))
        return
    locator = dates.AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call] # has no types
    axes.xaxis.set_major_locator(locator)
    # formats for years, months, days, hours, minutes, seconds; at the start of a larger unit; and for the
    # axis
    axes.xaxis.set_major_formatter(
        dates.ConciseDateFormatter(  # type: ignore[no-untyped-call] # has no types
            locator,
            formats=["%Y", "%b", "%d", "%H:%M", "%H:%M", "%S.%f"],
            zero_formats=["", "%Y", "%b", "%d %b", "%H:%M", "%H:%M"],
            offset_formats=["", "%Y", "%b %Y", "%d %b %Y", "%d %b %Y", "%d %b %Y %H:%M"],
        )
    )
    axes.margins(x=0.02)


def _numbers(unit: str) -> FuncFormatter:
    return FuncFormatter(lambda number, _: labels.short(number, unit))


def _finish(figure: Figure, axes: Axes, plot: Plot, *, is_flat: bool) -> None:
    """Set scale, grid, axis titles and legend."""
    if plot.kind == "pie":
        return
    values = axes.xaxis if is_flat else axes.yaxis
    if plot.kind == "histogram":
        values.set_major_locator(MaxNLocator(6, integer=True, steps=_STEPS))
    else:
        values.set_major_locator(MaxNLocator(6, steps=_STEPS))
    values.set_major_formatter(_numbers("" if plot.kind == "histogram" else plot.unit))
    if plot.kind in ("line", "scatter"):
        _begin_at_nothing(axes, plot)
    axes.set_axisbelow(True)
    axes.grid(axis="x" if is_flat else "y", color=GRID, linewidth=0.9)
    if plot.kind == "scatter":
        axes.grid(axis="x", color=GRID, linewidth=0.9)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, labelsize=_TEXT)
    axes.tick_params(axis="x", pad=6)
    _name_axes(axes, plot, is_flat=is_flat)
    if len(plot.series) > 1:
        figure.legend(
            loc="outside lower center",
            ncols=_columns([each.name for each in plot.series]),
            frameon=False,
            fontsize=_SMALL,
            handlelength=1.1,
            columnspacing=1.4,
        )


def _head(figure: Figure, plot: Plot) -> None:
    """Write the title and the remarks, and place the axes below them."""
    inches = figure.get_figheight()
    top = 1 - _MARGIN / inches
    lines = [(line, _TITLE, INK, "bold") for line in _wrap(plot.title)]
    lines += [(remark, _SMALL, SOFT, "normal") for remark in plot.remarks]
    for text, size, colour, weight in lines:
        line = figure.text(
            _MARGIN / figure.get_figwidth(), top, text, size=size, color=colour, weight=weight, va="top"
        )
        line.set_in_layout(False)
        top -= size * _LINE_SPACING / _POINTS_PER_INCH / inches
    side, foot = _MARGIN / figure.get_figwidth() / 2, _MARGIN / inches / 2
    engine = cast("ConstrainedLayoutEngine", figure.get_layout_engine())
    engine.set(rect=(side, foot, 1 - 2 * side, top - foot))


def _begin_at_nothing(axes: Axes, plot: Plot) -> None:
    """Let the scale begin at 0, unless that would flatten values far above it."""
    known = [value for series in plot.series for value in series.values if value is not None]
    if len(known) == 1 or 0 <= min(known) < max(known) / 2:
        axes.set_ylim(bottom=min(0, min(known) * 1.1), top=None if max(known) >= 0 else 0)


def _columns(names: Sequence[str]) -> int:
    """Return the number of legend columns."""
    if sum(len(name) + 5 for name in names) <= _CHARS:
        return len(names)
    return max(1, _CHARS // (max(map(len, names)) + 5))


def _name_axes(axes: Axes, plot: Plot, *, is_flat: bool) -> None:
    """Name the axes where the picture does not explain itself."""
    if plot.kind in ("scatter", "histogram") or plot.scale == "number":
        (axes.set_ylabel if is_flat else axes.set_xlabel)(plot.x, fontsize=_TEXT)
    if plot.kind == "histogram":
        axes.set_ylabel("How many", fontsize=_TEXT)
    elif len(plot.series) == 1 and plot.series[0].name:
        (axes.set_xlabel if is_flat else axes.set_ylabel)(plot.series[0].name, fontsize=_TEXT)


def _wrap(title: str) -> list[str]:
    """Split a title into at most two lines of the picture's width."""
    return textwrap.wrap(title, _TITLE_CHARS, max_lines=2, placeholder="…")


_TITLE_CHARS = 48
_DRAWERS = {
    "line": _draw_lines,
    "bar": _draw_bars,
    "stacked": _draw_stacks,
    "pie": _draw_pie,
    "scatter": _draw_points,
    "histogram": _draw_histogram,
}
