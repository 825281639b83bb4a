"""Charts: what is drawn of which rows, what is refused with which words, and that pictures are legible."""

import io
import json
import tracemalloc
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import ToolMessage
from PIL import Image
from redis.asyncio import Redis

from bot.chat import Chart, File
from bot.storage.files import FileStore
from bot.tools.artifacts import artifacts_of
from bot.tools.charts import labels
from bot.tools.charts.drawing import render_plot
from bot.tools.charts.image import CARD, COLOURS, HEIGHT, INK, SOFT, WIDTH, render
from bot.tools.charts.native import chart_of
from bot.tools.charts.plot import MOST_BARS, MOST_SERIES, Kind, Plot, arrange
from bot.tools.errors import ToolFailure
from bot.tools.sql.database import Database
from bot.tools.sql.format import Column, Result
from bot.tools.toolset import toolset
from tests.support import sql_database

pool = sql_database.pool


def rows(columns: str, *given: tuple[object, ...]) -> Result:
    """A result; `columns` are names with types, `month:date sold:int8`."""
    return Result(tuple(Column(*each.split(":")) for each in columns.split()), given, is_complete=True)


def plot(result: Result, kind: Kind, x: str, y: str = "", *, is_ordered: bool = False) -> Plot:
    return arrange(result, kind, x, y, "A title", is_ordered=is_ordered)


def draw(given: Plot) -> Image.Image:
    """The picture; here a warning, such as for a missing letter, is an error."""
    return Image.open(io.BytesIO(render(given).png)).convert("RGB")


MONTHS = rows(
    "month:timestamptz revenue_eur:numeric",
    ("2026-02-01 00:00:00+00", Decimal("20.5")),
    ("2026-01-01 00:00:00+00", Decimal(10)),
    ("2026-03-01 00:00:00+00", None),
)
STATUS = rows("status:text orders:int8", ("new", 5), ("done", 90), (None, 3))


# --- what is drawn


def test_dates_run_from_left_to_right_and_a_missing_value_is_a_gap() -> None:
    made = plot(MONTHS, "line", "month", "revenue_eur")
    assert list(made.xs) == [datetime(2026, 1, 1), datetime(2026, 2, 1), datetime(2026, 3, 1)]
    assert list(made.series[0].values) == [10, 20.5, None]
    assert (made.scale, made.unit, made.series[0].name) == ("time", "€", "Revenue")


def test_texts_of_months_are_dates() -> None:
    result = rows("month:text n:int8", ("2026-02", 1), ("2025-12", 2))
    assert plot(result, "line", "month", "n").xs == (datetime(2025, 12, 1), datetime(2026, 2, 1))


def test_a_number_of_very_many_digits_is_drawn() -> None:
    """Fault: it arrives cut, as a text, and was taken for a missing value."""
    result = rows(
        "a:text b:numeric", ("x", "0." + "3" * 499), ("y", Decimal("NaN")), ("z", Decimal("-Infinity"))
    )
    number, *others = plot(result, "line", "a", "b").series[0].values
    assert number == pytest.approx(1 / 3)
    assert others == [None, None]


def test_names_are_found_in_another_case_and_in_quotes() -> None:
    assert plot(STATUS, "bar", '"Status"', " ORDERS ").count == 3


def test_bars_are_the_largest_first_unless_the_query_has_an_order() -> None:
    assert plot(STATUS, "bar", "status", "orders").xs == ("done", "new", "(none)")
    assert plot(STATUS, "bar", "status", "orders", is_ordered=True).xs == ("new", "done", "(none)")


def test_of_too_many_bars_the_largest_are_shown_and_the_rest_is_said() -> None:
    result = rows("name:text n:int8", *((f"name {number}", number) for number in range(100)))
    made = plot(result, "bar", "name", "n")
    assert len(made.xs) == MOST_BARS
    assert made.xs[0] == "name 99"
    assert made.remarks == (f"The {MOST_BARS} largest of 100; the others have 3,160 together",)


def test_several_columns_are_a_series_each_and_so_is_each_name_beside_one_column() -> None:
    wide = rows("region:text y2024:int8 y2025:int8", ("EU", 1, 2), ("US", 3, 4))
    assert [each.name for each in plot(wide, "bar", "region", "y2024, y2025").series] == ["Y2024", "Y2025"]
    long = rows(
        "month:date region:text n:int8",
        ("2026-01-01", "EU", 1),
        ("2026-01-01", "US", 2),
        ("2026-02-01", "EU", 3),
    )
    made = plot(long, "line", "month", "n")
    assert [(each.name, each.values) for each in made.series] == [("EU", (1, 3)), ("US", (2, None))]


def test_of_too_many_series_the_largest_are_shown() -> None:
    result = rows(
        "day:date name:text n:int8", *(("2026-01-01", f"name {number}", number) for number in range(30))
    )
    made = plot(result, "line", "day", "n")
    assert [each.name for each in made.series] == [f"name {number}" for number in range(22, 30)]
    assert made.remarks == (f"The {MOST_SERIES} largest of 30 series",)


def test_rows_that_are_a_series_each_take_no_more_room_than_other_rows() -> None:
    """A place for each x in each of 5,000 series took seconds on the event loop, and 200 MB."""
    result = rows("n:int8 name:text value:int8", *((each, f"name {each}", each) for each in range(5_000)))
    tracemalloc.start()
    try:
        made = plot(result, "line", "n", "value")
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert len(made.series) == MOST_SERIES
    assert made.series[-1].values[-1] == 4_999


def test_series_without_values_are_not_the_largest() -> None:
    empty = ((1, f"name {number}", None) for number in range(MOST_SERIES))
    made = plot(rows("n:int8 name:text value:int8", *empty, (1, "last", 0)), "line", "n", "value")
    assert "last" in [each.name for each in made.series]


def test_a_histogram_takes_the_numbers_of_x_or_of_y() -> None:
    result = rows("name:text ms:float8", ("a", 1.5), ("b", 2.5), ("c", None), ("d", float("nan")))
    for x, y in (("ms", ""), ("ms", "count"), ("name", "ms"), ("", "ms")):
        assert plot(result, "histogram", x, y).series[0].values == (1.5, 2.5)


def test_a_scatter_plot_has_a_colour_for_each_name() -> None:
    result = rows("a:int8 b:int8 kind:text", (1, 2, "x"), (3, 4, "y"), (3, 5, "x"), (None, 5, "x"))
    made = plot(result, "scatter", "a", "b")
    assert [(each.name, each.values) for each in made.series] == [("x", (2, None, 5)), ("y", (None, 4, None))]


def test_without_names_the_first_column_is_x_and_the_numbers_are_y() -> None:
    result = rows("status:text orders:int8 revenue:numeric", ("new", 5, Decimal(1)))
    made = plot(result, "bar", "", "")
    assert (made.x, [each.name for each in made.series]) == ("Status", ["Orders", "Revenue"])


# --- what is refused


@pytest.mark.parametrize(
    ("result", "kind", "x", "y", "words"),
    [
        (rows("a:int8 b:int8"), "bar", "a", "b", "The query returned no rows"),
        (STATUS, "bar", "state", "orders", "The result has no column 'state' for x; it has status, orders."),
        (STATUS, "bar", "status", "count", "no column 'count' for y"),
        (rows("a:text b:text", ("x", "y")), "bar", "", "", "has no column of numbers"),
        (STATUS, "bar", "orders", "status", "status is text, not a number.\nCast it"),
        (STATUS, "scatter", "status", "orders", "For names use the kind bar"),
        (STATUS, "histogram", "status", "", "status is text, not a number"),
        (rows("a:text b:int8", ("x", None)), "bar", "a", "b", "All values of y are NULL"),
        (rows("a:date b:int8", (None, 1)), "line", "a", "b", "All values of a are NULL"),
        (rows("a:text b:int8", ("x", 1), ("x", 2)), "bar", "a", "b", "GROUP BY a"),
        (
            rows("a:date b:int8", *((f"20{n:02d}-01-01", 1) for n in range(99))),
            "bar",
            "a",
            "b",
            "99 bars are too many",
        ),
        (rows("a:text b:int8", *((f"n{n}", 1) for n in range(99))), "line", "a", "b", "Use the kind bar"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_what_to_do(
    result: Result, kind: Kind, x: str, y: str, words: str
) -> None:
    with pytest.raises(ToolFailure) as caught:
        plot(result, kind, x, y)
    assert words in str(caught.value)


# --- numbers and names in few letters


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (0, "", "0"),
        (-0.0, "", "0"),
        (1234, "", "1,234"),
        (9_999.9, "", "10k"),
        (12_345, "€", "€12.3k"),
        (-12_345, "€", "\N{MINUS SIGN}€12.3k"),
        (999_999, "", "1M"),
        (4_567_890, "$", "$4.57M"),
        (2.5e9, "", "2.5B"),
        (1e12, "", "1T"),
        (1e40, "", "1e+40"),
        (0.25, "%", "0.25%"),
        (0.00001, "", "1e\N{MINUS SIGN}05"),
        (350, "ms", "350 ms"),
    ],
)
def test_numbers_are_short(number: float, unit: str, text: str) -> None:
    assert labels.short(number, unit) == text


@pytest.mark.parametrize(
    ("column", "heading", "unit"),
    [
        ("revenue_eur", "Revenue", "€"),
        ("net revenue usd", "Net revenue", "$"),
        ("share_pct", "Share", "%"),
        ("p95_ms", "P95", "ms"),
        ("days", "Days", ""),
        ("n", "N", ""),
    ],
)
def test_a_columns_name_tells_its_heading_and_unit(column: str, heading: str, unit: str) -> None:
    assert (labels.heading(column), labels.unit_of(column)) == (heading, unit)


def test_a_long_name_keeps_its_end_in_which_names_differ() -> None:
    assert labels.clip("Customer of the northern region number 17") == "Customer of the no…number 17"
    assert len(labels.clip("x" * 99)) == labels.LONGEST_NAME


# --- pictures


def contrast(one: str, other: str) -> float:
    """As WCAG 2 defines it: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_all_colours_stand_out_from_the_card() -> None:
    assert all(contrast(CARD, colour) >= 3 for colour in COLOURS)
    assert contrast(CARD, INK) >= 7
    assert contrast(CARD, SOFT) >= 4.5
    assert len(set(COLOURS)) == MOST_SERIES


def test_a_picture_is_an_opaque_card_with_the_line_in_its_colour() -> None:
    """So it is legible on any background."""
    made = render(plot(MONTHS, "line", "month", "revenue_eur"))
    picture = Image.open(io.BytesIO(made.png))
    assert picture.size == (WIDTH, HEIGHT)
    pixels = picture.convert("RGBA")
    assert pixels.getchannel("A").getextrema() == (255, 255)
    card = tuple(int(CARD[at : at + 2], 16) for at in (1, 3, 5))
    assert {pixels.getpixel(corner) for corner in ((0, 0), (WIDTH - 1, 0), (0, HEIGHT - 1))} == {(*card, 255)}
    line = tuple(int(COLOURS[0][at : at + 2], 16) for at in (1, 3, 5))
    assert sum(count for count, colour in pixels.getcolors(1 << 24) or () if colour == (*line, 255)) > 1_000


def test_the_same_rows_give_the_same_picture() -> None:
    made = plot(MONTHS, "line", "month", "revenue_eur")
    assert render(made).png == render(made).png


DAYS = [(f"2026-01-{day:02d}", f"{'w' * 60}{n}", day) for day in range(1, 32) for n in range(8)]
STRANGE = [
    plot(rows("a:date b:int8", ("2026-01-01", 0)), "line", "a", "b"),
    plot(rows("a:date b:float8", ("2026-01-01", -5.0)), "line", "a", "b"),
    plot(rows("a:text b:float8", ("x", 1e300), ("y", -1e300)), "bar", "a", "b"),
    plot(rows("a:float8 b:float8", (1e-12, 1e-12), (2e-12, 3e-12)), "scatter", "a", "b"),
    plot(rows("a:int8", (7,), (7,)), "histogram", "a"),
    plot(rows("a:float8", (1e300,), (-1e300,)), "histogram", "a"),
    plot(rows("a:text b:int8 c:int8", ("x", 3, -4), ("y", None, 2)), "stacked", "a", "b,c"),
    plot(rows("a:int4 b:int8", *((2000 + n, n) for n in range(25))), "bar", "a", "b"),
    plot(rows("a:text b:int8", *((f"{'long ' * 30}{n}", n) for n in range(20))), "bar", "a", "b"),
    plot(rows("a:date b:text c:int8", *DAYS), "stacked", "a", "c"),
]


@pytest.mark.parametrize("given", STRANGE, ids=lambda given: f"{given.kind} {given.xs[:1]}")
def test_strange_numbers_and_names_are_drawn_without_a_warning(given: Plot) -> None:
    assert draw(given).width == WIDTH


def test_names_that_no_font_has_become_numbers_that_the_words_explain() -> None:
    result = rows(
        "city:text n:int8", ("\u13a0\u13a1", 3), ("Zürich \N{ROCKET}", 2), ("القاهرة", 1), ("\u13a2", 0)
    )
    drawing = render(plot(result, "bar", "city", "n"))  # two names in Cherokee
    assert drawing.names_by_number == {"#1": "\u13a0\u13a1", "#2": "\u13a2"}


def test_a_pie_has_few_slices_by_size_and_the_others_together() -> None:
    many = rows("name:text n:int8", *((f"n{number}", number) for number in range(10)))
    made = plot(many, "pie", "name", "n")
    assert list(made.xs) == ["n9", "n8", "n7", "n6", "n5", "4 others"]
    assert list(made.series[0].values) == [9, 8, 7, 6, 5, 10]
    assert len(draw(made).getcolors(1 << 20) or ()) > 6


@pytest.mark.parametrize(
    ("result", "kind", "has_values"),
    [
        (STATUS, "bar", True),
        (STATUS, "pie", True),
        (STATUS, "stacked", True),  # one series, which is on nothing
        (MONTHS, "line", False),  # a value is missing
        (rows("day:date n:int8", ("2026-01-01", 1), ("2026-02-01", 2), ("2026-03-01", 3)), "line", True),
        (rows("day:date n:int8", ("2026-01-01", 1), ("2026-01-02", 2), ("2026-03-01", 3)), "line", False),
        (rows("x:text a:int8 b:int8", ("p", 1, 2), ("q", 3, 4)), "stacked", False),
        (rows("x:text n:int8", *((f"n{number}", 1) for number in range(MOST_BARS + 1))), "bar", False),
    ],
)
def test_services_draw_only_what_they_show_as_the_picture_does(
    result: Result, kind: Kind, has_values: bool
) -> None:
    """They need each value, place labels at even distances, and stack nothing."""
    chart = chart_of(plot(result, kind, result.columns[0].name))
    assert bool(chart) == has_values
    if chart:
        assert Chart.from_json(json.loads(json.dumps(asdict(chart)))) == chart


def test_a_title_is_text_and_no_formula() -> None:
    formula = arrange(STATUS, "bar", "status", "orders", r"$\frac{a}{0}$ {x} %s", is_ordered=False)
    assert draw(formula).width == WIDTH


# --- the tool, with the sample shop


async def call(pool: Database, redis: Redis, name: str, **arguments: str) -> ToolMessage:
    tools = {each.name: each for each in toolset(pool, None, keep=FileStore(redis).keep)}
    message = await tools[name].ainvoke(
        {"type": "tool_call", "id": "call_1", "name": name, "args": arguments}
    )
    assert isinstance(message, ToolMessage)
    return message


async def test_a_chart_is_kept_with_words_for_who_cannot_see_it(pool: Database, redis: Redis) -> None:
    query = "select date_trunc('month', ordered_at) as month, count(*) as orders from orders group by 1"
    message = await call(
        pool, redis, "chart", query=query, kind="line", x="month", y="orders", title="Orders"
    )
    [file] = artifacts_of(message)
    assert isinstance(file, File)
    assert file.chart is not None
    assert file.chart.title == "Orders"
    found = await FileStore(redis).find(file.id)
    assert found is not None
    assert Image.open(io.BytesIO(found[1])).size == (WIDTH, HEIGHT)
    assert file.media_type == "image/png"
    assert file.name.startswith("orders-20")
    assert file.alt.startswith("Orders. Line chart of Orders over Month (20")
    assert "lowest" in message.text
    assert "highest" in message.text


async def test_too_many_rows_are_not_drawn(pool: Database, redis: Redis) -> None:
    with pytest.raises(ToolFailure, match="more than 5,000 rows"):
        await call(
            pool,
            redis,
            "chart",
            query="select n, n as m from generate_series(1, 6000) as n",
            kind="line",
            x="n",
            y="m",
        )


async def test_a_chart_passes_the_same_walls_as_a_query(pool: Database, redis: Redis) -> None:
    for tool in ("chart", "export"):
        with pytest.raises(ToolFailure):
            await call(pool, redis, tool, query="delete from orders", kind="bar", x="a", y="b")


# --- times, titles and numbers that were shown wrongly, or not at all


def test_a_month_of_timestamptz_is_labelled_with_that_month() -> None:
    """Fault: midnight in Berlin is the evening before in UTC, and so January stood under February's bar."""
    result = rows("month:timestamptz n:int8", ("2026-01-01 00:00:00+01", 1), ("2026-07-01 00:00:00+02", 2))
    made = plot(result, "bar", "month", "n")
    assert made.xs == (datetime(2026, 1, 1), datetime(2026, 7, 1))
    assert labels.date_labels(cast("tuple[datetime, ...]", made.xs)) == ["Jan", "Jul"]


def test_an_hour_that_comes_twice_stays_two_hours() -> None:
    """Fault: when summer ends, two times read alike, and were taken for one."""
    result = rows("hour:timestamptz n:int8", ("2026-10-25 02:00:00+02", 1), ("2026-10-25 02:00:00+01", 2))
    assert plot(result, "line", "hour", "n").xs == (datetime(2026, 10, 25, 0), datetime(2026, 10, 25, 1))


@pytest.mark.parametrize(
    ("result", "kind", "title"),
    [
        (MONTHS, "line", "Revenue by month"),
        (
            rows("region:text SKU:int8 b:int8 c:int8 d:int8", ("EU", 1, 2, 3, 4)),
            "bar",
            "SKU, B, C and more by region",
        ),
        (rows("day:date region:text n:int8", ("2026-01-01", "EU", 1)), "stacked", "N by day"),
        (rows("a:int8 price_eur:int8", (1, 2)), "scatter", "Price against A"),
        (rows("p95_ms:int8", (1,)), "histogram", "Distribution of P95"),
    ],
)
def test_a_chart_without_a_title_gets_one_from_its_columns(result: Result, kind: Kind, title: str) -> None:
    """Fault: a picture that is passed on says nothing of what it shows."""
    x = "p95_ms" if kind == "histogram" else ""
    assert arrange(result, kind, x, "", "", is_ordered=False).title == title


BEYOND = r"beyond ±1e\+300"
EXTREME = [
    (rows("a:text b:float8", ("x", 1e308), ("y", -1e308)), "bar", BEYOND),
    (rows("a:text b:numeric c:int8", ("x", Decimal(10) ** 301, 1)), "stacked", BEYOND),
    (rows("a:float8 b:float8", (1e308, 1.0), (-1e308, 2.0)), "scatter", BEYOND),
    (rows("a:float8", (1e308,), (-1e308,)), "histogram", BEYOND),
    (rows("a:text b:numeric", ("x", Decimal(10) ** 400), ("y", Decimal(1))), "bar", BEYOND),
    (rows("a:text b:numeric", ("x", "9" * 501), ("y", Decimal(1))), "bar", BEYOND),
    (
        rows(
            "a:timestamptz b:int8",
            ("2024-10-27 02:30:00+02", 1),
            ("2024-10-27 02:30:00+01", 2),
            ("0001-01-01 00:00:00+13", 3),
        ),
        "line",
        "before year 1 or after 9999",
    ),
    (rows("a:date b:int8", ("0044-03-15 BC", 1)), "line", "before year 1 or after 9999"),
    (rows("a:timestamptz b:int8", ("0001-12-31 23:00:00+00 BC", 1)), "bar", "before year 1 or after 9999"),
    (rows("a:date b:int8", ("10000-01-01", 1)), "scatter", "before year 1 or after 9999"),
    (rows("a:date b:int8", ("0001-01-01", 1), ("0001-02-01", 2)), "line", "cannot be drawn"),
    (rows("a:date b:int8", ("0001-01-01", 1), ("9999-12-31", 2)), "scatter", "cannot be drawn"),
    (
        rows("a:timestamptz b:int8", ("0001-01-01 00:00:00+14", 1), ("9999-12-31 23:59:59-14", 2)),
        "line",
        "cannot be",
    ),
]


@pytest.mark.parametrize(("result", "kind", "words"), EXTREME)
def test_what_no_chart_can_show_is_refused_with_a_sentence(result: Result, kind: Kind, words: str) -> None:
    """Fault: "failed for a reason of its own"."""
    with pytest.raises(ToolFailure, match=words):
        render_plot(arrange(result, kind, "a", "", "", is_ordered=False))


@given(
    st.lists(
        st.tuples(
            st.dates() | st.none(),
            st.floats() | st.integers(-(2**63), 2**63) | st.decimals(allow_nan=False),
            st.sampled_from(["a", "b", ""]),
        ),
        min_size=1,
        max_size=6,
        unique_by=lambda row: (row[0], row[2]),
    ),
    st.sampled_from(["line", "bar", "stacked", "scatter"]),
)
@settings(max_examples=8)
def test_any_values_are_drawn_or_refused(given_rows: list[tuple[object, ...]], kind: Kind) -> None:
    """Nothing but a picture or a sentence comes of rows, whatever is in them."""
    values = tuple((day and str(day), number, name) for day, number, name in given_rows)
    result = Result(
        (Column("day", "date"), Column("n", "numeric"), Column("who", "text")), values, is_complete=True
    )
    with suppress(ToolFailure):
        render_plot(arrange(result, kind, "day", "n", "", is_ordered=False))
