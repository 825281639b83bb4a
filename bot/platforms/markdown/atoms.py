"""Atoms of a laid-out text: the pieces between which a message may end. Pure."""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

WORD_LIMIT = 2_000
"""Longer runs without a blank are divided."""

# Chinese, Japanese and Korean are written without spaces: each of their characters is a word here
_WIDE = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef"
_MARKS = "\u0300-\u036f\u3099\u309a\ufe00-\ufe0f\U000e0100-\U000e01ef"
_WORD = re.compile(rf"\s|[{_WIDE}][{_MARKS}]{{0,32}}|[^\s{_WIDE}]{{1,{WORD_LIMIT}}}")

BLANKS = frozenset(filter(str.isspace, map(chr, range(0x3001))))

_JOINER = "\u200d"
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_FLAGS = range(0x1F1E6, 0x1F200)
_TAGS = range(0xE0020, 0xE0080)

_LONGEST_CHARACTER = 64
"""Most code points of what a reader sees as one character; a longer run of marks may be cut."""


class Place(IntEnum):
    """Value of a cut before an atom, from the worst to the best."""

    CLOSING = -1  # before the line that ends a code block
    CHARACTER = 0  # in a blank, or between a mark of a line and its text
    WITHIN = 1  # in inline code, a link, a line of code or a row of a table
    EDGE = 2  # at inline code or a link that follows without a blank
    WORD = 3
    SENTENCE = 4
    LINE = 5
    TOP_LINE = 6  # a line without indentation
    BLOCK = 7
    FENCE = 8  # before a code block


@dataclass(frozen=True, slots=True)
class Context:
    """Markup open at a cut: `close` ends it in this message, `reopen` continues it in the next one.

    Lines of one code block share one context, and so do the rows of a table, which begins again with its
    header.
    """

    close: str = ""
    reopen: str = ""
    is_code: bool = False
    is_table: bool = False


NO_CONTEXT = Context()


class Atom(NamedTuple):
    """Text, the value of a cut before it, and the markup open there.

    It is divided only if no message has room for it.
    """

    text: str
    place: Place
    context: Context = NO_CONTEXT


def words(text: str) -> list[str]:
    """Return each word and each blank of a text."""
    if len(text) < WORD_LIMIT:
        return _WORD.findall(text)
    found, at = list[str](), 0
    while match := _WORD.match(text, at):
        end = match.end()
        if end - at == WORD_LIMIT:
            end = character_end(text, end)
        found.append(text[at:end])
        at = end
    return found


def last_word(text: str) -> int:
    """Return the position of the last word of a text if it may continue, else the length."""
    begin = max(0, len(text) - WORD_LIMIT)
    pieces = _WORD.findall(text[begin:])
    is_word = pieces and not pieces[-1].isspace() and len(pieces[-1]) < WORD_LIMIT
    return len(text) - len(pieces[-1]) if is_word else len(text)


def character_end(text: str, at: int) -> int:
    """Return the last place up to `at` that is between two characters, as a reader sees them."""
    least = max(0, at - _LONGEST_CHARACTER)
    for end in range(at, least, -1):
        if end >= len(text) or not _is_one_character(text, end):
            return end
    return at


def _is_one_character(text: str, at: int) -> bool:
    """Return whether the text around `at` is one character to a reader (emoji, flags, accents)."""
    before, after = text[at - 1], text[at]
    if after.isascii():
        return before == _JOINER
    if ord(after) in _FLAGS and ord(before) in _FLAGS:
        begin = at
        while begin > max(0, at - _LONGEST_CHARACTER) and ord(text[begin - 1]) in _FLAGS:
            begin -= 1
        return (at - begin) % 2 == 1
    return (
        _JOINER in (before, after)
        or ord(after) in _SKIN_TONES
        or ord(after) in _TAGS
        or unicodedata.category(after).startswith("M")  # accents and variation selectors
        or 0x1160 <= ord(after) < 0x1200  # vowels and finals of a Korean syllable
    )


class Ranges:
    """Ranges of a text, to ask which of them a position is in."""

    def __init__(self, ranges: list[tuple[int, int]]) -> None:
        self.is_any = bool(ranges)
        self._ranges = sorted(ranges)
        self._starts = [start for start, _ in self._ranges]
        self._edges = sorted({edge for each in ranges for edge in each})

    def cover(self, at: int) -> bool:
        """Return whether a cut at `at` would go through a range; they do not overlap."""
        index = bisect_right(self._starts, at - 1) - 1
        return index >= 0 and self._ranges[index][0] < at < self._ranges[index][1]

    def edges(self, start: int, end: int) -> list[int]:
        """Return the starts and ends of ranges between two positions."""
        return self._edges[bisect_right(self._edges, start) : bisect_left(self._edges, end)]
