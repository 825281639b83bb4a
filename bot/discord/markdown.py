"""Cutting a long answer into messages, so that the cuts stay where they are while the answer grows."""

import re
import unicodedata
from collections.abc import Iterator

from bot.discord.fences import Fence, after
from bot.discord.inline import spans

# From the best place for a cut to the worst. What is matched at its end belongs to neither side.
_BREAKS = (
    re.compile(r"\n[ \t\r]*\n\s*"),
    re.compile(r"\n(?=\S)"),
    re.compile(r"\n\s*"),
    re.compile(r"(?:[.!?…][\"')\]*_»\u2019\u201d]*(?=\s)|[\u3002\uff01\uff1f])\s*"),
    re.compile(r"\s+"),
)

_LIST_LINE = re.compile(r"[ \t]{1,40}(?:[-*+]|\d{1,9}[.)])[ \t]")
_ABOVE_INDENTATION = "\u200b\n"
"""Discord trims a message, and a nested item at its beginning would become an item of the first level."""

_JOINER = "\u200d"
_SKIN_TONES = range(0x1F3FB, 0x1F400)


def split(text: str, limit: int = 2000) -> list[str]:
    """Cut `text` into pieces of at most `limit` characters (200 or more), none of them blank.

    Whitespace at a cut is dropped, and nothing else is, but for the indentation of a list item. A cut never
    goes through a word, inline code, a link or a code block that fits in one piece; a longer block is closed
    before the cut and opened again after it.

    A cut depends only on the `limit + 1` characters before which it is needed. So as `text` grows, every
    piece but the last stays as it is.
    """
    pieces: list[str] = []
    at, fence = 0, None
    while (start := _skip(text, at, fence)) is not None:
        at, fence = start
        head = f"{fence.opening}\n" if fence else _ABOVE_INDENTATION if _indented(text, at) else ""
        room = limit - len(head)
        window = text[at : at + room + 1]
        if len(window) <= room:
            return [*pieces, head + window.rstrip()]
        end, fence = _cut(window, room, fence, _within_line(text, at))
        at += end
        pieces.append(head + (_closed(window[:end], fence) if fence else window[:end].rstrip()))
    return pieces


def _skip(text: str, at: int, fence: Fence | None) -> tuple[int, Fence | None] | None:
    """Where the next piece begins and the block it begins in; None when nothing is left to show."""
    if fence and not _within_line(text, at):
        line = text[at:].split("\n", 1)[0]
        if fence.closed_by(line):  # the piece before has closed the block already
            at, fence = at + len(line), None
    rest = len(text) - len(text[at:].lstrip())
    if rest == len(text):
        return None
    if fence:
        return at, fence
    begin = text.rfind("\n", 0, rest) + 1
    whole_line = not text[begin:rest].strip()
    return (begin if whole_line and _indented(text, begin) else rest), None


def _indented(text: str, at: int) -> bool:
    """Whether an item of an inner list begins at `at`."""
    return at > 0 and _LIST_LINE.match(text, at) is not None


def _within_line(text: str, at: int) -> bool:
    return at > 0 and text[at - 1] != "\n"


def _closed(code: str, fence: Fence) -> str:
    return code + ("" if code.endswith("\n") else "\n") + fence.mark


def _cut(window: str, room: int, fence: Fence | None, within_line: bool) -> tuple[int, Fence | None]:
    """How much of `window` the piece takes, and the block that the cut goes through, if it must."""
    closed: list[tuple[int, int]] = []
    start = -1  # of the open block; one that an earlier piece began starts before this window
    for begin, end, line in _lines(window):
        if fence and within_line and begin == 0:
            continue  # the rest of a line of code closes nothing
        before, fence = fence, after(line, fence)
        if before is None and fence:
            start = begin
        elif before and fence is None and end <= room and end < len(window):
            closed.append((start, end))
        elif before and fence is None:
            fence = before  # the last line goes on behind the window: whether it closes is not known here
    if fence is None:
        return _cut_prose(window, room, closed), None
    if start > 0:
        return start, None
    return _cut_code(window, room - len(f"\n{fence.mark}"), start == 0), fence


def _lines(window: str) -> Iterator[tuple[int, int, str]]:
    """Each line with where it begins and ends, its newline left out."""
    at = 0
    for line in window.split("\n"):
        yield at, at + len(line), line
        at += len(line) + 1


def _cut_code(window: str, room: int, opens: bool) -> int:
    first = window.index("\n") + 1 if opens else 0
    for separator in ("\n", " "):
        end = window.rfind(separator, first, room) + 1
        if window[first:end].strip():
            return end
    return _between_characters(window, room, first)


def _cut_prose(window: str, room: int, blocks: list[tuple[int, int]]) -> int:
    first = len(window) - len(window.lstrip())
    whole = [(start, end) for start, end in spans(window) if start > first or end <= room]
    for least in (room // 2, first):  # a short message is worse than a cut between two sentences
        for candidates in _candidates(window, room, blocks):
            fit = [end for end in candidates if end > least and not _inside(end, whole)]
            if fit:
                return max(fit)
    before = min((start for start, end in whole if start < room < end), default=room)
    return _between_characters(window, before, first)


def _candidates(window: str, room: int, blocks: list[tuple[int, int]]) -> Iterator[list[int]]:
    """Where a cut may go, the best kind of place first."""
    edges = [edge for block in blocks for edge in block if edge > 0]
    for pattern in _BREAKS:
        matches = pattern.finditer(window)
        ends = [min(m.end(), room) for m in matches if m.start() + len(m.group().rstrip()) <= room]
        yield [end for end in ends if not (_inside(end, blocks) or _joined(window, end))] + edges


def _inside(at: int, ranges: list[tuple[int, int]]) -> bool:
    return any(start < at < end for start, end in ranges)


def _between_characters(window: str, at: int, first: int) -> int:
    """The last place up to `at` where a reader sees one character end and the next begin."""
    return next((end for end in range(at, first, -1) if not _joined(window, end)), at)


def _joined(text: str, at: int) -> bool:
    """Whether what stands before and after `at` is one character to a reader (emoji, accents)."""
    before, after = text[at - 1], text[at]
    return (
        _JOINER in (before, after)
        or ord(after) in _SKIN_TONES
        or unicodedata.category(after).startswith("M")  # accents and variation selectors
    )
