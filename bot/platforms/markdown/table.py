"""Tables of Markdown as leaves: cells and alignment (https://github.github.com/gfm/#tables-extension-)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markdown_it.rules_block import StateBlock

Alignment = Literal["", "left", "center", "right"]

_RULE = re.compile(r":?-+:?")
_SENTENCE_END = re.compile(r"[.!?:…\u3002\uff01\uff1f]")

_FIRST_CELL = 40
"""Characters in which a row without a leading pipe has its first one: else a stream waits for each line."""

_CELL_END = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True, slots=True)
class Table:
    """Table; a row can have fewer or more cells than the header. Cells are Markdown, without `\\|`."""

    alignment: Sequence[Alignment]
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def cells_of(row: str) -> list[str]:
    """Return the cells of a row; only a pipe has a backslash before it."""
    inner = row.strip().removeprefix("|")
    if inner.endswith("|") and not inner.endswith("\\|"):
        inner = inner[:-1]
    return [cell.replace("\\|", "|").strip() for cell in _CELL_END.split(inner)]


def alignment_of(row: str) -> list[Alignment]:
    """Return the alignment of each column if `row` is a delimiter row, else nothing."""
    bare = row.strip()
    if "-" not in bare or bare.strip("-:| \t"):
        return []
    cells = cells_of(bare)
    return list(map(_aligned, cells)) if all(map(_RULE.fullmatch, cells)) else []


def _aligned(cell: str) -> Alignment:
    if cell.endswith(":"):
        return "center" if cell.startswith(":") else "right"
    return "left" if cell.startswith(":") else ""


def may_be_header(line: str) -> bool:
    """Return whether a line can be a table's header: it begins with a pipe, or its first cell is short."""
    text = line.lstrip()
    return text.startswith("|") or (may_become_header(text) and 0 < text.find("|") < _FIRST_CELL)


def may_become_header(text: str) -> bool:
    """Return whether more text can make `text` the header of a table without a leading pipe."""
    first = text[:_FIRST_CELL].partition("|")[0]
    return len(first) < _FIRST_CELL and "||" not in text and not _SENTENCE_END.search(first)


def table_rule(state: StateBlock, first: int, end: int, silent: bool) -> bool:
    """Parse a table as one token, in place of the parser's own rule.

    That rule makes tokens for each cell and fills up short rows: 1,000 columns times as many rows. Only a
    table with a leading pipe ends a paragraph.
    """
    if first + 2 > end or state.sCount[first + 1] < state.blkIndent:
        return False
    head = _line(state, first)
    delimiter = _line(state, first + 1)
    can_begin = head.startswith("|") or (may_be_header(head) and not silent)
    alignment = alignment_of(delimiter) if can_begin else []
    if not alignment:
        return False
    header = cells_of(head)
    if len(header) != len(alignment) or (delimiter[0] == "-" and delimiter[1:2].isspace()):
        return False
    if silent:
        return True
    last = first + 2
    while last < end and _is_row(state, last, end):
        last += 1
    token = state.push("table", "", 0)
    token.map = [first, last]
    token.meta["table"] = Table(
        alignment, header, [cells_of(_line(state, line)) for line in range(first + 2, last)]
    )
    state.line = last
    return True


def _line(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]


def _is_row(state: StateBlock, line: int, end: int) -> bool:
    if state.sCount[line] < state.blkIndent or not _line(state, line).strip():
        return False
    rules = state.md.block.ruler.getRules("blockquote")
    return not any(rule(state, line, end, True) for rule in rules)
