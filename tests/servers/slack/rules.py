"""Slack's rules for messages: accepted and refused content. Pure.

Limits are those of the method and block reference pages (docs.slack.dev/reference). The metadata limit is not
documented; it is set to a size that other apps were seen to use.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Json = Any

MAX_TEXT = 40_000
MAX_UPDATED_TEXT = 4_000
MAX_MARKDOWN = 12_000
MAX_BLOCKS = 50
MAX_BLOCK_CHARACTERS = 13_200  # measured: slackapi/bolt-js#2509
MAX_METADATA = 8_000
MAX_TABLE_CHARACTERS = 10_000
MAX_CHARTS = 2
MAX_TASK_FIELD = 256

TASK_STATES = frozenset({"pending", "in_progress", "complete", "error"})
UNCHECKED_BLOCKS = frozenset(
    {"divider", "input", "rich_text", "video", "file", "call", "plan", "task_card", "alert", "card"}
    | {"carousel", "container"}
)


class Refused(Exception):
    """Response `{"ok": false, "error": code}`; if `provoked` by the test, it is not a violation."""

    def __init__(self, code: str, detail: str = "", *, provoked: bool = False) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.provoked = provoked


def require(holds: object, code: str, detail: str = "") -> None:
    """Refuse with `code` unless `holds`."""
    if not holds:
        raise Refused(code, detail)


def check_content(args: Mapping[str, Json]) -> None:
    """Check text, Markdown, blocks and attachments of a message; text over `MAX_TEXT` is cut, not refused."""
    if "markdown_text" in args:
        conflict = [name for name in ("text", "blocks") if name in args]
        require(not conflict, "markdown_text_conflict", f"markdown_text together with {conflict}")
    visible = [args.get(name) for name in ("text", "markdown_text", "blocks", "attachments")]
    require(any(visible), "no_text")
    require(len(args.get("attachments", ())) <= 100, "too_many_attachments")
    check_markdown(args.get("markdown_text", ""))
    check_blocks(args.get("blocks", []))
    check_metadata(args.get("metadata"))


def unfurls(args: Mapping[str, Json]) -> bool:
    """Return True if Slack's servers would fetch links of a message, unless both arguments forbid it."""
    said = [str(args.get(name) or "") for name in ("text", "markdown_text", "blocks", "attachments")]
    forbidden = all(str(args.get(name)).lower() == "false" for name in ("unfurl_links", "unfurl_media"))
    return not forbidden and any("http://" in text or "https://" in text for text in said)


def check_markdown(text: str) -> None:
    """Check the Markdown of one call."""
    require(isinstance(text, str), "invalid_arguments", "markdown_text is no string")
    require(len(text) <= MAX_MARKDOWN, "msg_too_long", f"markdown_text over {MAX_MARKDOWN}: {len(text)}")


def check_metadata(metadata: Json) -> None:
    """Check `{"event_type": str, "event_payload": {…}}`; an empty object removes earlier metadata."""
    if not metadata:
        return
    well_formed = (
        isinstance(metadata, dict)
        and isinstance(metadata.get("event_type"), str)
        and isinstance(metadata.get("event_payload"), dict)
    )
    require(well_formed, "invalid_metadata_format", f"metadata {metadata!r}")
    require(len(str(metadata)) <= MAX_METADATA, "metadata_too_large", f"over {MAX_METADATA}")


def check_blocks(
    blocks: Json, *, most: int = MAX_BLOCKS, most_characters: float = MAX_BLOCK_CHARACTERS
) -> None:
    """Check a message's blocks: their number, ids, and the limits of each and of all together."""
    require(isinstance(blocks, list), "invalid_blocks_format", "blocks is no list")
    require(len(blocks) <= most, "invalid_blocks", f"no more than {most} items allowed: {len(blocks)}")
    for block in blocks:
        require(isinstance(block, dict), "invalid_blocks", f"not an object: {block!r}")
        _check_block(block)
    ids = [block["block_id"] for block in blocks if "block_id" in block]
    require(len(ids) == len(set(ids)), "invalid_blocks", "block_id used twice")
    tables = [block for block in blocks if block["type"] == "table"]
    require(len(tables) <= 1, "invalid_blocks", "only_one_table_allowed")
    charts = [block for block in blocks if block["type"] == "data_visualization"]
    require(len(charts) <= MAX_CHARTS, "invalid_blocks", f"over {MAX_CHARTS} charts")
    cells = sum(_characters(block) for block in blocks if block["type"] in ("table", "data_table"))
    require(cells <= MAX_TABLE_CHARACTERS, "invalid_blocks", f"{cells} characters in tables")
    markdown = sum(len(block["text"]) for block in blocks if block["type"] == "markdown")
    require(markdown <= MAX_MARKDOWN, "msg_too_long", f"markdown blocks over {MAX_MARKDOWN}")
    size = len(visible_text(blocks))
    require(size <= most_characters, "msg_blocks_too_long", f"{size} characters in blocks")


def _check_block(block: dict[str, Json]) -> None:
    kind = block.get("type")
    require(len(block.get("block_id", "")) <= 255, "invalid_blocks", "block_id over 255")
    check = _BLOCK_CHECKS.get(str(kind))
    require(check or kind in UNCHECKED_BLOCKS, "invalid_blocks", f"unsupported type: {kind}")
    if check:
        check(block)


def _check_section(block: dict[str, Json]) -> None:
    fields = block.get("fields", [])
    require(block.get("text") or fields, "invalid_blocks", "section without text")
    if "text" in block:
        _check_text(block["text"], 3_000, "section")
    require(len(fields) <= 10, "invalid_blocks", "over 10 fields")
    for each in fields:
        _check_text(each, 2_000, "field")
    _check_elements([block["accessory"]] if "accessory" in block else [], 1)


def _check_text(text: Json, most: int, where: str, kinds: Sequence[str] = ("mrkdwn", "plain_text")) -> None:
    well_formed = isinstance(text, dict) and text.get("type") in kinds and isinstance(text.get("text"), str)
    require(well_formed, "invalid_blocks", f"{where}: not a text object: {text!r}")
    length = len(text["text"])
    require(1 <= length <= most, "invalid_blocks", f"{where}: must be 1 to {most} characters: {length}")


def _check_header(block: dict[str, Json]) -> None:
    _check_text(block.get("text"), 150, "header", ("plain_text",))


def _check_markdown_block(block: dict[str, Json]) -> None:
    text = block.get("text")
    require(isinstance(text, str) and text, "invalid_blocks", "markdown block without text")


def _check_image(block: dict[str, Json]) -> None:
    require("image_url" in block or "slack_file" in block, "invalid_blocks", "image without source")
    require(block.get("alt_text"), "invalid_blocks", "image without alt_text")


def _check_context(block: dict[str, Json]) -> None:
    elements = block.get("elements", [])
    require(1 <= len(elements) <= 10, "invalid_blocks", "context takes 1 to 10 elements")
    for each in elements:
        if each.get("type") != "image":
            _check_text(each, 2_000, "context")


def _check_actions(block: dict[str, Json]) -> None:
    _check_elements(block.get("elements", []), 25, least=1)


def _check_context_actions(block: dict[str, Json]) -> None:
    elements = block.get("elements", [])
    _check_elements(elements, 5, least=1)
    for each in elements:
        known = each.get("type") in ("feedback_buttons", "icon_button")
        require(known, "invalid_blocks", f"{each.get('type')} in context_actions")


def _check_elements(elements: Json, most: int, least: int = 0) -> None:
    require(least <= len(elements) <= most, "invalid_blocks", f"takes {least} to {most} elements")
    for each in elements:
        _check_element(each)
    ids = [each["action_id"] for each in elements if "action_id" in each]
    require(len(ids) == len(set(ids)), "invalid_blocks", "action_id used twice in a block")


def _check_element(element: dict[str, Json]) -> None:
    require(element.get("type"), "invalid_blocks", f"element without type: {element!r}")
    require(len(element.get("action_id", "")) <= 255, "invalid_blocks", "action_id over 255")
    buttons = [element, element.get("positive_button", {}), element.get("negative_button", {})]
    for button in buttons:
        require(len(button.get("value", "")) <= 2_000, "invalid_blocks", "value over 2000")
        if isinstance(button.get("text"), dict):
            _check_text(button["text"], 75, "button", ("plain_text",))
    if element["type"] in MOST_OPTIONS:
        _check_options(element)
    if element["type"] == "conversations_select":
        _check_conversations(element)
    if element["type"] == "feedback_buttons":
        _check_feedback(element)
    if element["type"] == "button":
        _check_text(element.get("text"), 75, "button", ("plain_text",))


def _check_feedback(element: dict[str, Json]) -> None:
    for name in ("positive_button", "negative_button"):
        button = element.get(name) or {}
        _check_text(button.get("text"), 75, name, ("plain_text",))
        require(button.get("value"), "invalid_blocks", f"{name} without value")
        require(len(button.get("accessibility_label", "")) <= 75, "invalid_blocks", f"{name}: label over 75")
        more = button.keys() - {"text", "value", "accessibility_label"}
        require(not more, "invalid_blocks", f"{name} has {more}")


MOST_OPTIONS = {"static_select": 100, "radio_buttons": 10, "checkboxes": 10}


def _check_options(element: Mapping[str, Json]) -> None:
    """Check the options of a menu, radio buttons or checkboxes; an initial one must be among them."""
    _check_placeholder(element)
    kind, options = element["type"], element.get("options", [])
    most = MOST_OPTIONS[kind]
    require(1 <= len(options) <= most, "invalid_blocks", f"{kind} takes 1 to {most} options: {len(options)}")
    for each in options:
        _check_text(each.get("text"), 75, "option", ("plain_text", "mrkdwn"))
        require(1 <= len(each.get("value", "")) <= 150, "invalid_blocks", "an option's value takes 1 to 150")
    chosen = (
        [element["initial_option"]] if "initial_option" in element else element.get("initial_options", [])
    )
    require(all(each in options for each in chosen), "invalid_blocks", "an initial option is no option")


def _check_conversations(element: Mapping[str, Json]) -> None:
    """Check https://docs.slack.dev/reference/block-kit/composition-objects/conversation-filter-object too."""
    _check_placeholder(element)
    only = element.get("filter")
    require(only is None or only, "invalid_blocks", "a filter takes at least one field")
    included = (only or {}).get("include", ["im"])
    known = {"im", "mpim", "private", "public"}
    require(included and set(included) <= known, "invalid_blocks", f"filter.include {included}")


def _check_placeholder(element: Mapping[str, Json]) -> None:
    if "placeholder" in element:
        _check_text(element["placeholder"], 150, "placeholder", ("plain_text",))


def _check_table(block: dict[str, Json]) -> None:
    rows = block.get("rows", [])
    require(1 <= len(rows) <= 100, "invalid_blocks", "a table takes 1 to 100 rows")
    _check_rows(rows)
    settings = block.get("column_settings", [])
    require(len(settings) <= 20, "invalid_blocks", "over 20 column_settings")
    fields = {name for each in settings for name in each}
    require(fields <= {"align", "is_wrapped"}, "invalid_blocks", f"column_settings with {fields}")
    require(
        not block.keys() - {"type", "block_id", "rows", "column_settings"}, "invalid_blocks", "more fields"
    )


def _check_data_table(block: dict[str, Json]) -> None:
    rows = block.get("rows", [])
    require(2 <= len(rows) <= 101, "invalid_blocks", f"a data_table takes 2 to 101 rows: {len(rows)}")
    _check_rows(rows)
    require(len({len(row) for row in rows}) == 1, "invalid_blocks", "rows of several lengths")
    header = {cell["type"] for cell in rows[0]}
    require("rich_text" not in header, "invalid_blocks", "rich_text in the header")
    caption, page = block.get("caption"), block.get("page_size", 5)
    require(isinstance(caption, str) and caption, "invalid_blocks", "data_table without caption")
    require(isinstance(page, int) and 1 <= page <= 100, "invalid_blocks", f"page_size {page!r}")
    known = {"type", "block_id", "rows", "caption", "page_size", "row_header_column_index"}
    require(not block.keys() - known, "invalid_blocks", "more fields")


def _check_rows(rows: Json) -> None:
    require(all(1 <= len(row) <= 20 for row in rows), "invalid_blocks", "a row takes 1 to 20 cells")
    for cell in (cell for row in rows for cell in row):
        kind = cell.get("type")
        require(kind in ("raw_text", "raw_number", "rich_text"), "invalid_blocks", f"cell of type {kind}")
        if kind != "rich_text":
            require(isinstance(cell.get("text"), str) and cell["text"], "invalid_blocks", "cell without text")
        if kind == "raw_number":
            _check_number(cell.get("value"), "a cell")


def _characters(block: dict[str, Json]) -> int:
    return sum(len(str(cell.get("text", ""))) for row in block["rows"] for cell in row)


def _check_number(value: Json, where: str) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    require(is_number, "invalid_blocks", f"{where}: not a number: {value!r}")


def _check_chart(block: dict[str, Json]) -> None:
    _check_label(block.get("title"), 50, "title")
    require(not block.keys() - {"type", "block_id", "title", "chart"}, "invalid_blocks", "more fields")
    chart = block.get("chart") or {}
    kind = chart.get("type")
    if kind == "pie":
        segments = chart.get("segments", [])
        require(1 <= len(segments) <= 6, "invalid_blocks", f"a pie takes 1 to 6 segments: {len(segments)}")
        for each in segments:
            _check_label(each.get("label"), 20, "segment")
            _check_number(each.get("value"), "segment")
            require(each["value"] > 0, "invalid_blocks", "a segment must be above 0")
        return
    require(kind in ("line", "bar", "area"), "invalid_blocks", f"chart of type {kind!r}")
    series, axes = chart.get("series", []), chart.get("axis_config") or {}
    require(1 <= len(series) <= 6, "invalid_blocks", f"a chart takes 1 to 6 series: {len(series)}")
    categories = axes.get("categories", [])
    require(1 <= len(categories) <= 20, "invalid_blocks", f"1 to 20 categories: {len(categories)}")
    require(len(set(categories)) == len(categories), "invalid_blocks", "a category twice")
    for each in categories:
        _check_label(each, 20, "category")
    for name in ("x_label", "y_label"):
        if name in axes:
            _check_label(axes[name], 50, name)
    for each in series:
        _check_label(each.get("name"), 20, "series")
        points = each.get("data", [])
        require([one.get("label") for one in points] == categories, "invalid_blocks", "labels differ")
        for one in points:
            _check_number(one.get("value"), "data point")
    names = {each["name"] for each in series}
    require(len(names) == len(series), "invalid_blocks", "names of series must be unique")


def _check_label(text: Json, most: int, where: str) -> None:
    fits = isinstance(text, str) and 1 <= len(text) <= most
    require(fits, "invalid_blocks", f"{where}: must be 1 to {most} characters: {text!r}")


_BLOCK_CHECKS: Mapping[str, Callable[[dict[str, Json]], None]] = {
    "section": _check_section,
    "header": _check_header,
    "markdown": _check_markdown_block,
    "image": _check_image,
    "context": _check_context,
    "actions": _check_actions,
    "context_actions": _check_context_actions,
    "table": _check_table,
    "data_table": _check_data_table,
    "data_visualization": _check_chart,
}


def check_chunks(chunks: Json) -> None:
    """Check the chunks of one stream call: types, fields, and at most 12,000 characters of text."""
    require(isinstance(chunks, list), "invalid_chunks", "chunks is no list")
    for chunk in chunks:
        _check_chunk(chunk)
    check_markdown("".join(chunk["text"] for chunk in chunks if chunk["type"] == "markdown_text"))
    blocks = [block for chunk in chunks if chunk["type"] == "blocks" for block in chunk["blocks"]]
    require(len(blocks) <= MAX_BLOCKS, "msg_blocks_too_many", f"{len(blocks)} blocks in chunks")
    check_blocks(blocks)


_CHUNK_FIELDS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {  # type: (required, optional)
    "markdown_text": (frozenset({"text"}), frozenset()),
    "plan_update": (frozenset({"title"}), frozenset()),
    "task_update": (frozenset({"id", "title", "status"}), frozenset({"details", "output", "sources"})),
    "blocks": (frozenset({"blocks"}), frozenset()),
}


def _check_chunk(chunk: Json) -> None:
    known = isinstance(chunk, dict) and chunk.get("type") in _CHUNK_FIELDS
    require(known, "invalid_chunks", f"unsupported chunk {chunk!r}")
    required, optional = _CHUNK_FIELDS[chunk["type"]]
    fields = chunk.keys() - {"type"}
    require(required <= fields <= required | optional, "invalid_chunks", f"{chunk['type']} has {set(fields)}")
    texts = {name: chunk[name] for name in fields - {"sources", "blocks"} if chunk[name] is not None}
    strings = all(isinstance(text, str) for text in texts.values())
    require(strings, "invalid_chunks", f"{chunk['type']}: a field is no string")
    if chunk["type"] == "task_update":
        _check_task(chunk, texts)


def _check_task(chunk: dict[str, Json], texts: Mapping[str, str]) -> None:
    require(chunk["status"] in TASK_STATES, "invalid_chunks", f"task status {chunk['status']!r}")
    require(chunk["id"] and chunk["title"], "invalid_chunks", "task_update with empty id or title")
    for name, text in texts.items():
        fits = len(text) <= MAX_TASK_FIELD
        require(fits, "invalid_chunks", f"task {name} over {MAX_TASK_FIELD}: {len(text)}")
    for source in chunk.get("sources") or ():
        well_formed = source.get("type") == "url" and source.get("url") and source.get("text")
        require(well_formed, "invalid_chunks", f"task source {source!r}")


def visible_text(blocks: Json) -> str:
    """Return the visible text of `blocks`, a line for each piece, without buttons."""
    return "\n".join(_texts(blocks))


def _texts(node: Json) -> Iterator[str]:
    if isinstance(node, list):
        for each in node:
            yield from _texts(each)
    elif isinstance(node, dict) and node.get("type") not in ("actions", "context_actions"):
        for name in ("title", "text", "details", "output", "fields", "elements", "rows", "tasks"):
            value = node.get(name)
            if isinstance(value, str):
                yield value
            else:
                yield from _texts(value)
