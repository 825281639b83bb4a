"""Unfinished ends of a growing text: how far it is settled, and how the rest is shown meanwhile. Pure."""

import re
from dataclasses import dataclass
from itertools import accumulate

from bot.platforms.markdown.atoms import last_word
from bot.platforms.markdown.inline import Inline
from bot.platforms.markdown.layout import quote_of, rows_of
from bot.platforms.markdown.parser import Leaf, inline_of, parse
from bot.platforms.markdown.table import may_be_header, may_become_header

_UNDECIDED = re.compile(
    r"[ \t>]*+(?:(?:[-*+]|\d{1,9}[.)])[ \t]++)*+"
    r"(?:[-*_+=#~`:\t ]*+|\d{1,9}[.)]?|(?:`{3,}+|~{3,}+)[^\n]*+)"
)
_BREAK_BEGINS = re.compile(r"<(?:b(?:r ?/?)?)?\Z", re.IGNORECASE)
_LONGEST_BREAK = 6
_TRAILING_MARKS = "*_~`[]!<&\\|"


@dataclass(frozen=True, slots=True)
class Ending:
    """End of a growing text: only what is before `settled` does not depend on what follows.

    `healed` is the whole text as if it ended here, without marks that are unfinished. `is_clean`: nothing but
    the last word is unsettled.
    """

    settled: int
    healed: str
    is_clean: bool


@dataclass(frozen=True, slots=True)
class Holds:
    """Text that a platform holds back, which it cannot change once it is shown.

    `tables`: until they end. `emphasis`: the most characters without the mark that ends it.
    """

    tables: bool
    emphasis: int


def ending_of(text: str, holds: Holds, *, is_begun: bool = False) -> Ending:
    """Return the end of `text`; `is_begun`: its last line is the rest of one that began earlier."""
    lines = text.split("\n")
    last = lines[-1]
    begin = len(text) - len(last)
    blocks = parse(text)
    leaf = blocks.leaves[-1] if blocks.leaves and blocks.leaves[-1].end >= len(lines) else None
    may_be_delimiter = not last.strip(" \t>|:-")
    if leaf and leaf.kind == "fence":
        is_code = leaf.first < len(lines) - 1 and last.strip(" \t>`~")
        return Ending(begin, text if is_code else text[:begin], is_clean=True)
    is_undecided = not is_begun and _UNDECIDED.fullmatch(last)
    if not last or is_undecided or (leaf and leaf.kind == "table"):
        above = _complete(text[:begin], holds, may_be_delimiter=may_be_delimiter)
        return Ending(above.settled, above.healed, above.is_clean and not last)
    if leaf is None:
        return Ending(begin, text, is_clean=True)
    if leaf.kind == "rule":
        return Ending(begin, text[:begin], is_clean=False)
    if leaf.kind == "paragraph" and not is_begun and _is_held(last, leaf, len(lines), holds):
        above = _complete(text[:begin], holds, may_be_delimiter=may_be_delimiter)
        healed = above.healed if "|" in last else _paragraph(text, leaf, lines, holds).healed
        return Ending(above.settled, healed, is_clean=False)
    return _paragraph(text, leaf, lines, holds)


def _is_held(last: str, leaf: Leaf, count: int, holds: Holds) -> bool:
    """Return whether the last line may become the header of a table."""
    row = last[len(quote_of(last)) :].lstrip()
    if row.startswith("|"):
        return True
    return holds.tables and leaf.first == count - 1 and _may_be_first(row, leaf)


def _may_be_first(row: str, leaf: Leaf) -> bool:
    text = row[-len(leaf.content) :] if leaf.content else ""
    return may_be_header(text) or ("|" not in text and may_become_header(text))


def _complete(text: str, holds: Holds, *, may_be_delimiter: bool) -> Ending:
    """Return the end of a text that ends with a newline."""
    lines = text.split("\n")
    leaves = parse(text).leaves
    leaf = leaves[-1] if leaves and leaves[-1].end == len(lines) - 1 else None
    if leaf is None or leaf.kind in ("fence", "rule"):
        return Ending(len(text), text, is_clean=True)
    if leaf.kind == "table":
        start = sum(len(line) + 1 for line in lines[: leaf.first]) if holds.tables else len(text)
        return Ending(start, text, is_clean=True)
    if leaf.kind == "heading":
        return Ending(len(text), text, is_clean=True)
    header = lines[-2]
    begin = len(text) - len(header) - 1
    row = header[len(quote_of(header)) :].lstrip()
    is_first = leaf.first == len(lines) - 2 and holds.tables
    if may_be_delimiter and (row.startswith("|") or (is_first and may_be_header(leaf.content))):
        return Ending(min(begin, _paragraph(text, leaf, lines, holds).settled), text[:begin], is_clean=False)
    return _paragraph(text, leaf, lines, holds)


def _paragraph(text: str, leaf: Leaf, lines: list[str], holds: Holds) -> Ending:
    inline = inline_of(leaf.content + text[len(text.rstrip()) :])
    size = len(leaf.content)
    word = last_word(text)
    at_word = len(leaf.content) + len(text) - len(text.rstrip()) - (len(text) - word)
    marks = [at for at, mark in inline.open if mark[0] in "[`" or size - at <= holds.emphasis]
    marks += _cut_by(inline, at_word, at_word - holds.emphasis)
    places = [_source(leaf, lines, min(marks))] if marks else []
    tag = _BREAK_BEGINS.search(text, max(0, len(text) - _LONGEST_BREAK))
    if tag:
        places.append(tag.start())
    if leaf.kind == "heading" and lines[-1]:
        places.append(len(text) - len(lines[-1]))
    is_clean = not (inline.open or tag) and not text.endswith(tuple(_TRAILING_MARKS))
    return Ending(min([word, *places]), _heal(text, leaf, lines, inline), is_clean)


def _cut_by(inline: Inline, at: int, least: int) -> list[int]:
    """Return the beginnings of what `at` is within: code, links, and emphasis that begins after `least`."""
    found = [span.start for span in inline.spans if span.start < at < span.end]
    for each in inline.emphasis:
        begin = each.start - len(each.mark)
        if least <= begin < at < each.end + len(each.mark):
            found.append(begin)
    return found


def _source(leaf: Leaf, lines: list[str], at: int) -> int:
    """Return where a position of a leaf's content is in the text."""
    starts = list(accumulate((len(line) + 1 for line in lines), initial=0))
    for row in rows_of(leaf, lines):
        if at <= row.end:
            return starts[row.line] + len(row.prefix) + max(0, at - row.start)
    return starts[-1] - 1


def _heal(text: str, leaf: Leaf, lines: list[str], inline: Inline) -> str:
    """Return the text with its open marks closed; of an unfinished link only the label remains."""
    opened = inline.open
    ticks = next((index for index, (_, mark) in enumerate(opened) if mark[0] == "`"), len(opened))
    bracket = next((at for at, mark in opened[:ticks] if mark == "["), None)
    if bracket is not None:
        begin = _source(leaf, lines, bracket)
        opened = [each for each in opened if each[0] < bracket]
        label = text[begin:].lstrip("![").partition("](")[0].removesuffix("]")
        is_task = bracket == 0 and leaf.begins_item and len(label) < 2
        text = text[:begin] + ("" if is_task or label.startswith("^") else label)
    else:
        opened = opened[: ticks + 1]
    closing = "".join(mark for _, mark in reversed(opened))
    if not closing:
        return _without_marks(text)
    if closing[0] == "`":
        bare = text.rstrip("`")
        end = _source(leaf, lines, opened[-1][0])
        return text[:end].rstrip() if len(bare) <= end else bare + closing
    shown = _without_marks(text).rstrip()
    start = _source(leaf, lines, opened[0][0])
    return shown + closing if len(shown) > start + len(closing) - 1 else text[:start]


def _without_marks(text: str) -> str:
    """Return the text without a last word that consists of marks."""
    bare = text.rstrip(_TRAILING_MARKS)
    return bare if not bare or bare[-1].isspace() else text
