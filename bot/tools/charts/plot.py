"""Selection of the values to draw from a query result. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, cast

from bot.tools.charts import labels, values
from bot.tools.errors import ToolFailure
from bot.tools.sql.format import Result

Kind = Literal["line", "bar", "stacked", "pie", "scatter", "histogram"]
Scale = Literal["time", "number", "name"]

MOST_SERIES = 8
MOST_BARS = 20
MOST_DATES = 60
"""Most bars over dates or numbers, whose labels are thinned out."""

MOST_SLICES = 6
_MOST_STACKED_BARS = 36
_MOST_TITLED = 3

_PLAIN_YEARS = range(1900, 2101)


@dataclass(frozen=True, slots=True)
class Series:
    """Values of one line or of one colour of bars; None for a missing value."""

    name: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Values to draw over `xs`, which are moments, numbers or names, according to `scale`.

    A histogram has one series and no `xs`. `remarks` tell users what is not shown, and why.
    """

    kind: Kind
    title: str
    x: str
    scale: Scale
    xs: tuple[datetime | float | str, ...]
    series: tuple[Series, ...]
    x_unit: str = ""
    unit: str = ""
    remarks: tuple[str, ...] = ()
    are_years: bool = False

    @property
    def is_area(self) -> bool:
        """Return True if a stacked chart has so many places that areas are easier to read than bars."""
        known = [value for series in self.series for value in series.values if value is not None]
        is_fine = self.scale != "name" and len(self.xs) > _MOST_STACKED_BARS
        return self.kind == "stacked" and is_fine and all(value >= 0 for value in known)

    @property
    def count(self) -> int:
        """Return the number of values."""
        return sum(value is not None for series in self.series for value in series.values)


def arrange(result: Result, kind: Kind, x: str, y: str, title: str, *, is_ordered: bool) -> Plot:
    """Return the plot of a result; `is_ordered` keeps the order of the query.

    Defaults: x is the first column, y are all other numbers, the title comes from the columns. Raises
    `ToolFailure` with advice.
    """
    if not result.columns or not result.rows:
        raise ToolFailure("The query returned no rows, so there is nothing to draw.\nCheck its conditions.")
    if kind == "histogram":
        return _histogram(result, x, y, title)
    x_at = values.find(result.columns, x, "x") if x.strip() else 0
    y_at = [values.find(result.columns, each, "y") for each in y.split(",") if each.strip()]
    y_at = y_at or [at for at, each in enumerate(result.columns) if values.is_number(each) and at != x_at]
    if not y_at:
        raise ToolFailure("The result has no column of numbers besides x, so there is nothing to draw.")
    if kind == "scatter":
        return _scatter(result, x_at, y_at, title)
    table = _table(result, x_at, y_at)
    plot = Plot(
        kind=kind,
        title=title or _title(result, x_at, y_at, "by"),
        x=labels.heading(result.columns[x_at].name),
        x_unit=labels.unit_of(result.columns[x_at].name),
        scale=table.scale,
        xs=table.xs,
        series=table.series,
        unit=_common_unit([result.columns[each].name for each in y_at]),
        remarks=table.remarks,
        are_years=_are_years(table.xs) if table.scale == "number" else False,
    )
    if not plot.count:
        raise ToolFailure("All values of y are NULL, so there is nothing to draw.")
    if kind == "pie":
        return _pie(plot)
    return _in_order(plot) if kind == "line" and plot.scale != "name" else _bars(plot, is_ordered=is_ordered)


def _title(result: Result, x_at: int, y_at: Sequence[int], relation: str) -> str:
    """Return a title such as “Orders by month”."""
    shown = [labels.heading(result.columns[at].name) for at in y_at[:_MOST_TITLED]]
    more = " and more" if len(y_at) > len(shown) else ""
    x = labels.heading(result.columns[x_at].name)
    return f"{', '.join(shown)}{more} {relation} {x if x.isupper() else x[:1].lower() + x[1:]}"


@dataclass(frozen=True, slots=True)
class _Table:
    scale: Scale
    xs: tuple[datetime | float | str, ...]
    series: tuple[Series, ...]
    remarks: tuple[str, ...]


def _table(result: Result, x_at: int, y_at: Sequence[int]) -> _Table:
    """Return the values of the largest series by x. With one y, a further column of names defines the series.

    Each row may be a series of its own, so only those that are shown get a place for each x.
    """
    scale, xs = _along(result, x_at)
    columns = [values.numbers(result, each) for each in y_at]
    places = {
        each: place for place, each in enumerate(dict.fromkeys(each for each in xs if each is not None))
    }
    if not places:
        raise ToolFailure(f"All values of {result.columns[x_at].name} are NULL, so there is nothing to draw.")
    by = _name_column(result, {x_at, *y_at}) if len(y_at) == 1 else None
    whose = values.names(result, by) if by is not None else [""] * len(xs)
    cells: dict[str, dict[int, float | None]] = {}
    taken: set[tuple[str, int]] = set()
    for row, x in enumerate(xs):
        if x is None:
            continue
        for column, at in zip(columns, y_at, strict=True):
            name = whose[row] if by is not None else labels.heading(result.columns[at].name)
            if (name, places[x]) in taken:
                raise ToolFailure(_several_rows(result.columns[x_at].name))
            taken.add((name, places[x]))
            cells.setdefault(name, {})[places[x]] = column[row]
    shown, remarks = _largest({name: each.values() for name, each in cells.items()})
    series = tuple(Series(name, tuple(map(cells[name].get, range(len(places))))) for name in shown)
    return _Table(scale, tuple(places), series, remarks)


def _along(result: Result, at: int) -> tuple[Scale, list[datetime | float | str | None]]:
    if values.is_moment(result, at):
        return "time", list(values.moments(result, at))
    if values.is_number(result.columns[at]):
        return "number", list(values.numbers(result, at))
    return "name", list(values.names(result, at))


def _name_column(result: Result, used: set[int]) -> int | None:
    others = [at for at in range(len(result.columns)) if at not in used and values.is_name(result, at)]
    return others[0] if len(others) == 1 else None


def _several_rows(column: str) -> str:
    return (
        f"Several rows have the same {column}.\nAggregate them (GROUP BY {column}), or select one column of "
        "names beside x and y, which then makes a series of each name."
    )


def _common_unit(columns: Sequence[str]) -> str:
    units = {labels.unit_of(each) for each in columns}
    return units.pop() if len(units) == 1 else ""


def _are_years(xs: Sequence[object]) -> bool:
    return all(isinstance(x, float) and x == int(x) and int(x) in _PLAIN_YEARS for x in xs)


def _largest(values: Mapping[str, Collection[float | None]]) -> tuple[list[str], tuple[str, ...]]:
    """Return the names of the largest series in their order, and a remark if there are more."""
    if len(values) <= MOST_SERIES:
        return list(values), ()
    sizes = {name: (set(each) != {None}, _total(each)) for name, each in values.items()}
    largest = set(sorted(sizes, key=sizes.__getitem__, reverse=True)[:MOST_SERIES])
    remark = f"The {MOST_SERIES} largest of {len(values)} series"
    return [name for name in values if name in largest], (remark,)


def _total(numbers: Iterable[float | None]) -> float:
    return sum(abs(each) for each in numbers if each is not None)


def _in_order(plot: Plot) -> Plot:
    """Sort a plot by x."""
    order = sorted(range(len(plot.xs)), key=lambda place: cast("float", plot.xs[place]))
    return _reorder(plot, order)


def _reorder(plot: Plot, order: Sequence[int]) -> Plot:
    return replace(
        plot,
        xs=tuple(plot.xs[place] for place in order),
        series=tuple(Series(each.name, tuple(each.values[place] for place in order)) for each in plot.series),
    )


def _bars(plot: Plot, *, is_ordered: bool) -> Plot:
    """Sort bars by size and keep the largest; bars over dates or numbers are sorted by x."""
    if plot.scale != "name":
        plot = _in_order(plot)
        if len(plot.xs) > MOST_DATES and not plot.is_area:
            raise ToolFailure(
                f"{len(plot.xs)} bars are too many to read.\nUse the kind line, or group by a longer time."
            )
        return plot
    if plot.kind == "line":
        if len(plot.xs) > MOST_DATES:
            raise ToolFailure(f"A line over {len(plot.xs)} names says nothing.\nUse the kind bar.")
        return plot
    size = [_total([each.values[place] for each in plot.series]) for place in range(len(plot.xs))]
    largest = sorted(range(len(size)), key=lambda place: -size[place])
    kept = largest[:MOST_BARS]
    order = sorted(kept) if is_ordered else kept
    if len(size) > MOST_BARS:
        rest = labels.short(sum(size[place] for place in largest[MOST_BARS:]), plot.unit)
        remark = f"The {MOST_BARS} largest of {len(size)}; the others have {rest} together"
        plot = replace(plot, remarks=(*plot.remarks, remark))
    return _reorder(plot, order)


def _pie(plot: Plot) -> Plot:
    """Return the slices by size; those beyond the largest are one slice."""
    if len(plot.series) > 1:
        raise ToolFailure("A pie shows one column of numbers by one column of names.\nUse the kind bar.")
    slices = [(name, size) for name, size in zip(names_of(plot), plot.series[0].values, strict=True) if size]
    if not slices or min(size for _, size in slices) < 0:
        raise ToolFailure("A pie needs numbers above 0.\nUse the kind bar.")
    if len({name for name, _ in slices}) < len(slices):
        raise ToolFailure("Several slices would have the same name.\nUse the kind bar.")
    slices.sort(key=lambda each: -each[1])
    if len(slices) > MOST_SLICES:
        others = sum(size for _, size in slices[MOST_SLICES - 1 :])
        slices = [*slices[: MOST_SLICES - 1], (f"{len(slices) - MOST_SLICES + 1} others", others)]
    shown = Series(plot.series[0].name, tuple(size for _, size in slices))
    return replace(plot, scale="name", xs=tuple(name for name, _ in slices), series=(shown,))


def shares_of(plot: Plot) -> list[str]:
    """Return the share of each slice of a pie."""
    sizes = [value or 0.0 for value in plot.series[0].values]
    return [labels.short(100 * size / sum(sizes), "%") for size in sizes]


def names_of(plot: Plot) -> list[str]:
    """Return the labels of the places along x."""
    if plot.scale == "time":
        return labels.date_labels(cast("Sequence[datetime]", plot.xs))
    if plot.scale == "number":
        return [
            labels.year(x) if plot.are_years else labels.short(x, plot.x_unit)
            for x in cast("Sequence[float]", plot.xs)
        ]
    return [str(x) for x in plot.xs]


def _histogram(result: Result, x: str, y: str, title: str) -> Plot:
    """Return the histogram of x, or of y if x is not a column of numbers."""
    at = _first_numbers(result, x, y)
    known = tuple(each for each in values.numbers(result, at) if each is not None)
    if not known:
        raise ToolFailure("All values of x are NULL, so there is nothing to draw.")
    name = result.columns[at].name
    return Plot(
        kind="histogram",
        title=title or f"Distribution of {labels.heading(name)}",
        x=labels.heading(name),
        x_unit=labels.unit_of(name),
        scale="number",
        xs=(),
        series=(Series(labels.heading(name), known),),
        are_years=_are_years(known),
    )


def _first_numbers(result: Result, *names: str) -> int:
    """Return the first of the named columns that holds numbers; models leave names empty or invent them."""
    for name in names:
        at = values.place(result.columns, name)
        if at is not None and values.is_number(result.columns[at]):
            return at
    return values.find(result.columns, next(filter(None, names), ""), "x")


def _scatter(result: Result, x_at: int, y_at: Sequence[int], title: str) -> Plot:
    scale, xs = _along(result, x_at)
    if scale == "name":
        raise ToolFailure("A scatter plot needs numbers or dates for x.\nFor names use the kind bar.")
    columns = {labels.heading(result.columns[at].name): values.numbers(result, at) for at in y_at}
    by = _name_column(result, {x_at, *y_at}) if len(y_at) == 1 else None
    if by is not None:
        whose = values.names(result, by)
        [column] = columns.values()
        if len(set(whose)) <= MOST_SERIES:
            columns = {
                name: [value if owner == name else None for value, owner in zip(column, whose, strict=True)]
                for name in dict.fromkeys(whose)
            }
    kept = [place for place, x in enumerate(xs) if x is not None]
    shown, remarks = _largest({name: [each[place] for place in kept] for name, each in columns.items()})
    plot = Plot(
        kind="scatter",
        title=title or _title(result, x_at, y_at, "against"),
        x=labels.heading(result.columns[x_at].name),
        x_unit=labels.unit_of(result.columns[x_at].name),
        scale=scale,
        xs=tuple(each if each is not None else float("nan") for each in xs),
        series=tuple(Series(name, tuple(columns[name])) for name in shown),
        unit=_common_unit([result.columns[at].name for at in y_at]),
        remarks=remarks,
        are_years=_are_years([each for each in xs if each is not None]) if scale == "number" else False,
    )
    plot = _reorder(plot, kept)
    if not plot.count:
        raise ToolFailure("All values of x or y are NULL, so there is nothing to draw.")
    return plot
