"""Readable text of blocks and of mrkdwn. Pure, in linear time.

https://docs.slack.dev/reference/block-kit/blocks/rich-text-block (elements),
https://docs.slack.dev/messaging/formatting-message-text (the format of `text`).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bot.chat import Json, well_formed

_MENTION = re.compile(r"<@([A-Z0-9]+)(?:\|[^<>]*)?>")
_GROUP = re.compile(r"<!(?:subteam\^|here|channel|everyone)")
_REFERENCE = re.compile(r"<([^<>]*)>")

_DEEPEST = 20
"""Most levels of nested blocks that are read: Slack's own have at most six."""

_SILENT = frozenset({"actions", "context_actions", "divider", "file", "input"})
"""Blocks without text: buttons, lines, forms, and files, which the message itself lists."""

_TEXTUAL = ("title", "subtitle", "text", "body", "description", "details", "output")
_NESTED = ("fields", "elements", "rows", "blocks", "cards", "tasks")
"""Fields in which blocks of unknown types hold their text."""


def plain_text(mrkdwn: Json, bot_user_id: str) -> str:
    """Return mrkdwn as users read it: no mention of the bot, references by name, entities decoded.

    Returns an empty string if Slack sent something else, or nothing.
    """
    text = word(mrkdwn).strip()
    if "<" not in text and "&" not in text:  # most texts
        return text
    pieces, end = [], 0
    for mention in _MENTION.finditer(text):
        if mention[1] == bot_user_id:
            # a pattern that matches the blanks before it would take quadratic time
            pieces.append(text[end : mention.start()].rstrip(" \t"))
            end = mention.end()
    without_us = "".join([*pieces, text[end:]])
    return _decode(_REFERENCE.sub(_readable, without_us)).strip()


def mentions(text: str, user_id: str) -> bool:
    """Return whether mrkdwn mentions a user."""
    return any(mention[1] == user_id for mention in _MENTION.finditer(text))


def mentions_others(text: str, user_id: str) -> bool:
    """Return whether mrkdwn mentions somebody else than a user: another user, or a group."""
    return bool(_GROUP.search(text)) or any(mention[1] != user_id for mention in _MENTION.finditer(text))


def _decode(text: str) -> str:
    """Decode the three entities that Slack writes; a `&copy` was typed by the user."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _readable(match: re.Match[str]) -> str:
    target, _, label = match[1].partition("|")
    kind, name = target[:1], target[1:]
    if kind in ("@", "#"):
        return kind + (label or name).removeprefix(kind)
    if kind == "!":
        return _special(name, label)
    address = target.removeprefix("mailto:").removeprefix("tel:")
    if not label or label == address or address.endswith("//" + label):
        return address
    return f"{label} ({address})"


def _special(name: str, label: str) -> str:
    """Return a group of users, a date or a broadcast; of a group without a label, the id."""
    command, _, argument = name.partition("^")
    match command:
        case "subteam":
            return "@" + (label.removeprefix("@") or argument)
        case "date":
            seconds = argument.partition("^")[0]
            return label or _date(int(seconds) if seconds.isdecimal() and len(seconds) < 12 else None)
        case _:
            return label or "@" + command


def word(value: Json) -> str:
    """Return `value` if it is a string; an empty string if Slack sent something else or nothing."""
    if not isinstance(value, str):
        return ""
    return value if value.isascii() else well_formed(value)  # most are ids


def objects(value: Json) -> Sequence[Mapping[str, Json]]:
    """Return the objects in a list; none if `value` is not a list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else ()


@dataclass(frozen=True, slots=True)
class BlockText:
    """Reads the blocks of a message without mentions of `bot_user_id`, like `plain_text`."""

    bot_user_id: str

    def read(self, blocks: Json) -> str:
        """Return the text of all blocks, at least one line for each."""
        return well_formed(_lines(self._block(block, 0) for block in objects(blocks)).strip())

    def _block(self, block: Mapping[str, Json], depth: int) -> str:
        if depth > _DEEPEST:
            return "[…]"
        match block.get("type"):
            case "rich_text":
                return _lines(self._rich(each, depth + 1) for each in objects(block.get("elements")))
            case "context":
                return " ".join(filter(None, self._all(block.get("elements"), depth)))
            case "table" | "data_table":
                return _lines(self._row(row, depth) for row in _lists(block.get("rows")))
            case "image":
                about = self._text(block.get("title")) or word(block.get("alt_text"))
                return f"[image: {about}]" if about else "[image]"
            case "data_visualization":
                return f"[chart: {word(block.get('title'))}]"
            case kind if kind in _SILENT:
                return ""
            case _:
                texts = [self._text_of(block.get(name), depth) for name in _TEXTUAL]
                return _lines(
                    [*texts, *(text for name in _NESTED for text in self._all(block.get(name), depth))]
                )

    def _all(self, value: Json, depth: int) -> list[str]:
        return [self._text_of(each, depth) for each in objects(value)]

    def _text_of(self, value: Json, depth: int) -> str:
        """Return the text of a text object, a block or a cell."""
        return self._text(value) or (self._block(value, depth + 1) if isinstance(value, dict) else "")

    def _row(self, row: Json, depth: int) -> str:
        cells = (cell.replace("\n", " ") for cell in self._all(row, depth))
        return f"| {' | '.join(cells)} |"

    def _text(self, value: Json) -> str:
        """Return the text of a text object, or a string that stands in its place."""
        if isinstance(value, str):
            return well_formed(value)
        if not isinstance(value, dict) or not isinstance(value.get("text"), str):
            return ""
        match value.get("type"):
            case "mrkdwn":
                return plain_text(value["text"], self.bot_user_id)
            case "plain_text":
                return well_formed(_decode(value["text"]))
            case "raw_text" | "raw_number":
                return well_formed(value["text"])
            case _:
                return ""

    def _rich(self, element: Mapping[str, Json], depth: int) -> str:
        if depth > _DEEPEST:
            return "[…]"
        match element.get("type"):
            case "rich_text_list":
                return self._list(element, depth)
            case "rich_text_quote":
                return "\n".join("> " + line for line in self._inline(element).splitlines())
            case "rich_text_preformatted":
                return f"```\n{self._inline(element)}\n```"
            case _:
                return self._inline(element)

    def _list(self, element: Mapping[str, Json], depth: int) -> str:
        indent, offset = _number(element.get("indent")), _number(element.get("offset"))
        lines = []
        for number, item in enumerate(objects(element.get("elements")), start=offset + 1):
            sign = f"{number}." if element.get("style") == "ordered" else "•"
            lines.append(f"{'  ' * min(indent, 8)}{sign} {self._rich(item, depth + 1)}")
        return "\n".join(lines)

    def _inline(self, element: Mapping[str, Json]) -> str:
        out: list[str] = []
        for each in objects(element.get("elements")):
            if each.get("type") == "user" and each.get("user_id") == self.bot_user_id:
                out[-1:] = [piece.rstrip(" \t") for piece in out[-1:]]
            else:
                out.append(_piece(each))
        return "".join(out).strip("\n")


def _piece(element: Mapping[str, Json]) -> str:
    """Return the text of an inline element; for unknown types, any text that it has."""
    text = word(element.get("text"))
    match element.get("type"):
        case "text":
            style = element.get("style")
            return f"`{text}`" if text and isinstance(style, dict) and style.get("code") is True else text
        case "link":
            url = word(element.get("url"))
            return f"{text} ({url})" if text and text != url else url
        case "emoji":
            return f":{word(element.get('name'))}:"
        case "user":
            return "@" + word(element.get("user_id"))
        case "usergroup":
            return "@" + word(element.get("usergroup_id"))
        case "channel":
            return "#" + word(element.get("channel_id"))
        case "broadcast":
            return "@" + word(element.get("range"))
        case "date":
            return word(element.get("fallback")) or _date(element.get("timestamp"))
        case _:
            known = (word(element.get(name)) for name in ("fallback", "value", "url", "label"))
            return text or next(filter(None, known), "")


def _date(timestamp: Json) -> str:
    try:
        return f"{datetime.fromtimestamp(timestamp, UTC):%Y-%m-%d %H:%M} UTC"
    except (TypeError, ValueError, OverflowError, OSError):
        return ""


def _number(value: Json) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**6 else 0


def _lists(value: Json) -> Iterator[Json]:
    return (each for each in value if isinstance(each, list)) if isinstance(value, list) else iter(())


def _lines(texts: Iterable[str]) -> str:
    return "\n".join(filter(None, texts))
