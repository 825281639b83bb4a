"""Tables and charts of answers as blocks of Slack. Pure.

https://docs.slack.dev/reference/block-kit/blocks/data-table-block, table-block and data-visualization-block
"""

import html
from typing import Literal

from bot.chat import Chart, Json, Table
from bot.platforms.table_text import NULL, caption, code_block, exact_number, is_cut, utf16_units
from bot.slack.markdown import clip

TableForm = Literal["data_table", "table", "text"]
"""Ways to show a table, the best one first."""

CHART = "data_visualization"

_MOST_ROWS = {"data_table": 100, "table": 99}
"""Most rows below the header."""

_MOST_CHARS = 9_900
"""Most characters of all cells, counted as UTF-16 units, the strictest way; Slack takes 10,000."""

_MOST_TEXT = 3_500
_MOST_TITLE = 150
_PAGE = 10

_MOST_SERIES = 6
_MOST_LABELS = 20
_MOST_LABEL = 20
_MOST_CHART_TITLE = 50


def rows_in(table: Table, form: TableForm) -> int:
    """Return the number of rows that a form shows."""
    if form == "text":
        return code_block(table, _MOST_TEXT)[1]
    room = _MOST_CHARS - sum(_size(column.name) for column in table.columns)
    for number, row in enumerate(table.rows[: _MOST_ROWS[form]]):
        room -= sum(map(_size, row))
        if room < 0:
            return number
    return min(len(table.rows), _MOST_ROWS[form])


def is_all(table: Table, form: TableForm) -> bool:
    """Return whether a form shows all that the table's file has."""
    is_whole = table.is_whole and rows_in(table, form) == table.total
    return is_whole and not (form == "text" and is_cut(table))


def table_content(table: Table, form: TableForm) -> dict[str, Json]:
    """Return the arguments of a message that shows a table; its text stands for it in notifications."""
    if form == "text":
        return {"text": html.escape(code_block(table, _MOST_TEXT)[0], quote=False)}
    shown = table.rows[: rows_in(table, form)]
    header = [_text_cell(column.name) for column in table.columns]
    rows = [
        [_cell(value, is_number=column.is_number) for value, column in zip(row, table.columns, strict=True)]
        for row in shown
    ]
    title, said = clip(table.title, _MOST_TITLE), caption(table, len(shown))
    block: dict[str, Json] = {"type": form, "rows": [header, *rows]}
    if form == "data_table":
        block |= {"caption": title or table.file.alt, "page_size": _PAGE}
    else:
        block["column_settings"] = [
            {"align": "right" if column.is_number else "left", "is_wrapped": True} for column in table.columns
        ]
    above = [{"type": "section", "text": _plain(title)}] if title and form == "table" else []
    below = [{"type": "context", "elements": [_plain(said)]}] if said else []
    summary = ". ".join(filter(None, [title or table.file.alt, said]))
    return {"text": html.escape(summary, quote=False), "blocks": [*above, block, *below]}


def chart_content(chart: Chart, about: str) -> dict[str, Json] | None:
    """Return the arguments of a message that shows a chart, or None if Slack cannot draw it.

    `about` is what it shows, for users who cannot see it.
    """
    labels = [clip(each, _MOST_LABEL) for each in chart.labels]
    names = [clip(each, _MOST_LABEL) for each in _names(chart)]
    is_distinct = len(set(labels)) == len(labels) and len(set(names)) == len(names)
    fits = 1 <= len(names) <= _MOST_SERIES and 1 <= len(labels) <= _MOST_LABELS
    is_complete = all(labels) and all(len(each.values) == len(labels) for each in chart.series)
    if not (is_distinct and fits and is_complete):
        return None
    drawn = _pie(chart, labels) if chart.kind == "pie" else _over_x(chart, labels, names)
    if drawn is None:
        return None
    title = clip(chart.title, _MOST_CHART_TITLE) or clip(about, _MOST_CHART_TITLE) or CHART
    block = {"type": CHART, "title": title, "chart": {"type": chart.kind, **drawn}}
    return {"text": html.escape(about or title, quote=False), "blocks": [block]}


def _names(chart: Chart) -> list[str]:
    return [each.name or NULL for each in chart.series]


def _pie(chart: Chart, labels: list[str]) -> dict[str, Json] | None:
    sizes = chart.series[0].values
    if len(sizes) > _MOST_SERIES or min(sizes) <= 0:
        return None
    pairs = zip(labels, sizes, strict=True)
    return {"segments": [{"label": label, "value": size} for label, size in pairs]}


def _over_x(chart: Chart, labels: list[str], names: list[str]) -> dict[str, Json]:
    axes = {"categories": labels} | {
        name: clip(text, _MOST_CHART_TITLE)
        for name, text in (("x_label", chart.x_label), ("y_label", chart.y_label))
        if text
    }
    series = [
        {
            "name": name,
            "data": [
                {"label": label, "value": value} for label, value in zip(labels, each.values, strict=True)
            ],
        }
        for name, each in zip(names, chart.series, strict=True)
    ]
    return {"series": series, "axis_config": axes}


def _size(value: str | None) -> int:
    return utf16_units(value or NULL)


def _cell(value: str | None, *, is_number: bool) -> Json:
    number = exact_number(value) if is_number else None
    return _text_cell(value) if number is None else {"type": "raw_number", "value": number, "text": value}


def _text_cell(value: str | None) -> Json:
    return {"type": "raw_text", "text": value or NULL}


def _plain(text: str) -> Json:
    return {"type": "plain_text", "text": text, "emoji": False}
