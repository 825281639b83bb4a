"""Parser of Markdown: the leaves of a text with their lines. Pure.

CommonMark with tables and strikethrough (https://spec.commonmark.org/0.31.2). Rules under which later text
changes earlier blocks are off (reference definitions, underlined headings), and so is indented code, which
models do not write.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from bot.platforms.markdown.inline import FOOTNOTE_RULE, RULES, Inline, read_inline
from bot.platforms.markdown.table import Table, table_rule

_MOST_NESTING = 20
_RECENT = 8
"""Texts whose structure is kept: the end of a growing text is laid out, healed and cut in turn."""

_OFF = ["code", "reference", "lheading", "html_block", "html_inline"]

_INLINE_MARK = re.compile(r"[`*_~\[!<&\\]")

Kind = Literal["paragraph", "heading", "fence", "rule", "table"]


@dataclass(frozen=True, slots=True)
class Leaf:
    """Block without blocks in it: the lines from `first` to before `end`.

    `level` is of a heading; `info`, `mark` and `is_open` are of a code block, which is open if no line closes
    it. `begins_item`: it is the first leaf of a list item.
    """

    kind: Kind
    first: int
    end: int
    content: str = ""
    level: int = 0
    info: str = ""
    mark: str = ""
    is_open: bool = False
    begins_item: bool = False
    table: Table | None = None


@dataclass(frozen=True, slots=True)
class Blocks:
    """Leaves of a text in order.

    `starts` are the first lines of blocks that are in no other one, and of list items: a text can be laid out
    in parts that begin there.
    """

    leaves: Sequence[Leaf]
    starts: Sequence[int]


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": _MOST_NESTING})
    parser.enable(["table", "strikethrough"]).disable(_OFF)
    parser.block.ruler.at("table", table_rule, {"alt": ["paragraph"]})
    for name, rule in RULES:
        parser.inline.ruler.at(name, rule)
    parser.inline.ruler.before("link", *FOOTNOTE_RULE)
    return parser


_PARSER = _parser()


@lru_cache(_RECENT)
def parse(text: str) -> Blocks:
    """Return the blocks of a text, whose lines end with a newline each."""
    if "\n" not in text and text[:1].isalpha():
        return Blocks([Leaf("paragraph", 0, 1, text.strip())], [0])
    tokens: list[Token] = []
    _PARSER.block.parse(text, _PARSER, {}, tokens)
    leaves: list[Leaf] = []
    starts = list[int]()
    begins_item = False
    for index, token in enumerate(tokens):
        is_item = token.type == "list_item_open"
        if token.map and (is_item or (token.level == 0 and token.nesting >= 0)):
            starts.append(token.map[0])
        begins_item = begins_item or is_item
        if leaf := _leaf(token, tokens[index + 1] if token.nesting > 0 else token, begins_item):
            leaves.append(leaf)
            begins_item = False
    return Blocks(leaves, starts)


@lru_cache(_RECENT)
def inline_of(content: str) -> Inline:
    """Return the inline structure of a block's content."""
    if not _INLINE_MARK.search(content):
        return Inline()
    return read_inline(StateInline(content, _PARSER, {}, []))


def _leaf(token: Token, inline: Token, begins_item: bool) -> Leaf | None:
    if not token.map or token.nesting < 0:
        return None
    first, end = token.map
    match token.type:
        case "paragraph_open":
            return Leaf("paragraph", first, end, inline.content, begins_item=begins_item)
        case "heading_open":
            level = len(token.markup)
            return Leaf("heading", first, end, inline.content, level=level, begins_item=begins_item)
        case "fence":
            code = token.content
            count = code.count("\n") + (code[-1:] not in ("", "\n"))
            is_open = end - first < count + 2
            return Leaf("fence", first, end, code, 0, token.info, token.markup, is_open, begins_item)
        case "hr":
            return Leaf("rule", first, end, begins_item=begins_item)
        case "table":
            return Leaf("table", first, end, begins_item=begins_item, table=token.meta["table"])
    return None
