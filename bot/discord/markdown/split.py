"""Splitter of a long answer into messages; cuts do not move while the answer grows."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass

from bot.discord.markdown.fences import Fence, after
from bot.discord.markdown.inline import code_spans, quote_of, spans

# From the best place for a cut to the worst. Whitespace at the end of a match belongs to neither side.
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

_CONTEXT = 50
"""Characters before a piece that are read: the indentation of its first line, and the newline before."""

_INK = re.compile(r"\S")
_BOLD = re.compile(r"\*\*")
_JOINER = "\u200d"
_SKIN_TONES = range(0x1F3FB, 0x1F400)


def split(text: str, limit: int = 2000) -> list[str]:
    """Cut `text` into pieces of at most `limit` characters, like `Splitter`."""
    splitter = Splitter(limit)
    splitter.feed(text)
    return splitter.pieces()


@dataclass(frozen=True, slots=True)
class _Open:
    """Markup open at a cut: a code block, or within one line a quote (its marks) and bold text."""

    fence: Fence | None = None
    quote: str = ""
    is_bold: bool = False

    @property
    def reopening(self) -> str:
        """Return the markup that begins the next piece."""
        return f"{self.fence.opening}\n" if self.fence else self.quote + "**" * self.is_bold


class Splitter:
    """Cuts a growing text into pieces of at most `limit` characters (200 or more), none of them blank.

    Whitespace at a cut is dropped, and nothing else, except the indentation of a list item. A cut never
    goes through a word, inline code, a link or a code block that fits in one piece; a longer block is closed
    before the cut and opened again after it, and so are a quote and bold text whose line is cut.

    A cut depends only on the `limit + 1` characters before the point where it is needed. So as the text
    grows, all pieces except the last stay unchanged, and are made once.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: list[str] = []
        self._text = ""  # the rest of the text, and `_CONTEXT` characters before it
        self._at = 0
        self._blank_to = 0  # only blanks up to there
        self._open = _Open()
        self._last = ""

    def feed(self, text: str) -> None:
        """Add more text."""
        kept = max(self._at - _CONTEXT, 0)
        self._text = self._text[kept:] + text
        self._at -= kept
        self._blank_to -= kept
        while (last := self._next()) is None:
            pass
        self._last = last

    def pieces(self, tentative: str = "") -> list[str]:
        """Return all pieces; the last one may still grow, and ends with `tentative` if that fits."""
        if tentative:
            grown = copy(self)
            grown._pieces = list(self._pieces)
            grown.feed(tentative)
            if len(grown._pieces) == len(self._pieces):
                return grown.pieces()
        return [*self._pieces, self._last] if self._last else list(self._pieces)

    def _next(self) -> str | None:
        """Make one final piece and return None, or return the rest, which may be empty."""
        if not self._skip():
            return ""
        text, at, opened = self._text, self._at, self._open
        above = _ABOVE_INDENTATION if not opened.fence and _is_nested_item(text, at) else ""
        head = above or opened.reopening
        room = self._limit - len(head)
        window = text[at : at + room + 1]
        if len(window) <= room:
            return head + window.rstrip()
        within = _within_line(text, at)
        end, piece, self._open = _cut(window, room, opened, within)
        if len(head) + len(piece) > self._limit:  # the end of the bold text does not fit
            end, piece, self._open = _cut(window[:-2], room - 2, opened, within)
        self._at += end
        self._pieces.append(head + piece)
        return None

    def _skip(self) -> bool:
        """Move to the beginning of the next piece; return whether there is text left."""
        text, at, fence = self._text, self._at, self._open.fence
        if fence and not _within_line(text, at):
            end = text.find("\n", at)
            line = text[at : end if end >= 0 else len(text)]
            if fence.is_left_by(line) and line.strip():
                self._open, fence = _Open(), None
            elif fence.is_closed_by(line):  # the previous piece has closed the block
                self._at, self._open, fence = at + len(line), _Open(), None
        ink = _INK.search(text, max(self._at, self._blank_to))
        if not ink:
            self._blank_to = len(text)
            return False
        if fence:
            return True
        if text.find("\n", self._at, ink.start()) >= 0:
            self._open = _Open()  # a quote and bold text continue only within their line
        begin = text.rfind("\n", max(self._at - _CONTEXT, 0), ink.start()) + 1
        is_line = begin > 0 and not text[begin : ink.start()].strip()
        self._at = begin if is_line and _is_nested_item(text, begin) else ink.start()
        return True


def _is_nested_item(text: str, at: int) -> bool:
    """Return whether an item of a nested list begins at `at`."""
    return at > 0 and _LIST_LINE.match(text, at) is not None


def _within_line(text: str, at: int) -> bool:
    return at > 0 and text[at - 1] != "\n"


def _cut(window: str, room: int, markup: _Open, within_line: bool) -> tuple[int, str, _Open]:
    """Return the characters taken from `window`, the piece, and the markup open at the cut."""
    fence = markup.fence
    closed: list[tuple[int, int]] = []
    start = -1  # of the open block; one that an earlier piece began starts before this window
    for begin, end, line in _lines(window):
        if fence and within_line and begin == 0:
            continue  # the rest of a code line closes nothing
        before, fence = fence, after(line, fence)
        if fence and fence is not before:
            start = begin
        elif before and fence is None and end <= room and end < len(window):
            closed.append((start, end))
        elif before and fence is None:
            fence = before  # the last line continues after the window: it may close the block or not
    if fence is None or start > 0:
        end = start if fence else _cut_prose(window, room, closed)
        piece = window[:end].rstrip()
        passed = _markup_at(piece, window, end, markup)
        return end, piece + "**" * passed.is_bold, passed
    end = _cut_code(window, room - len(f"\n{fence.closing}"), start == 0)
    code = window[:end]
    return end, code + ("" if code.endswith("\n") else "\n") + fence.closing, _Open(fence)


def _markup_at(piece: str, window: str, end: int, markup: _Open) -> _Open:
    """Return the quote and the bold text that a cut goes through."""
    if "\n" in window[len(piece) : end]:
        return _Open()
    line = piece[piece.rfind("\n") + 1 :]
    if len(line) < len(piece):
        markup = _Open()
    return _Open(None, markup.quote or quote_of(line), _is_bold_behind(line, markup.is_bold))


def _is_bold_behind(line: str, is_bold: bool) -> bool:
    """Return whether bold text continues after `line`; `is_bold`: it began before."""
    code = bytearray(len(line))
    for start, end in code_spans(line)[0]:
        code[start:end] = b"\1" * (end - start)
    for mark in _BOLD.finditer(line):
        before, behind = line[: mark.start()][-1:], line[mark.end() : mark.end() + 1]
        if code[mark.start()] or before == "\\":
            continue
        ends = bool(before.strip())
        begins = bool(behind.strip()) and not before.isalnum()
        is_bold = not ends if is_bold else begins
    return is_bold


def _lines(window: str) -> Iterator[tuple[int, int, str]]:
    """Yield each line with its start and end, without its newline."""
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
    is_whole = _inside(whole, len(window))
    kinds = list(_candidates(window, room, blocks))
    for least in (room // 2, first):  # a short message is worse than a cut between two sentences
        for candidates in kinds:
            fit = [end for end in candidates if end > least and not is_whole[end]]
            if fit:
                return max(fit)
    before = min((start for start, end in whole if start < room < end), default=room)
    return _between_characters(window, before, first)


def _candidates(window: str, room: int, blocks: list[tuple[int, int]]) -> Iterator[list[int]]:
    """Yield the possible cuts, the best kind of place first."""
    edges = [edge for block in blocks for edge in block if edge > 0]
    is_block = _inside(blocks, len(window))
    for pattern in _BREAKS:
        matches = pattern.finditer(window)
        ends = [min(m.end(), room) for m in matches if m.start() + len(m.group().rstrip()) <= room]
        yield [end for end in ends if not (is_block[end] or _is_one_character(window, end))] + edges


def _inside(ranges: Iterable[tuple[int, int]], size: int) -> bytearray:
    """Return for each place whether a cut there would go through one of `ranges`."""
    inside = bytearray(size + 1)
    for start, end in ranges:
        if end - start > 1:
            inside[start + 1 : end] = b"\1" * (end - start - 1)
    return inside


def _between_characters(window: str, at: int, first: int) -> int:
    """Return the last place up to `at` that is between two characters, as a reader sees them."""
    return next((end for end in range(at, first, -1) if not _is_one_character(window, end)), at)


def _is_one_character(text: str, at: int) -> bool:
    """Return whether the text around `at` is one character to a reader (emoji, accents)."""
    before, after = text[at - 1], text[at]
    return (
        _JOINER in (before, after)
        or ord(after) in _SKIN_TONES
        or unicodedata.category(after).startswith("M")  # accents and variation selectors
    )
