"""Tracker of Markdown blocks in a growing text: code blocks and tables. Pure.

Code blocks as in https://spec.commonmark.org/0.31.2/#fenced-code-blocks, tables as in
https://github.github.com/gfm/#tables-extension-. Only what a cut between two messages needs is tracked.
"""

import re
from dataclasses import dataclass

_MARKER = r"`{3,32}(?!`)|~{3,32}(?!~)"
_CONTAINERS = r"(?> *(?:>|(?:[-*+]|\d{1,9}[.)])(?= )))*+"
_OPENING = re.compile(rf"({_CONTAINERS} *+)({_MARKER})(.*)")
_ITEM = re.compile(r" *(?:[-*+]|\d{1,9}[.)])(?: +|$)")
_RULE = re.compile(r":?-+:?")
_OTHER_BLOCK = re.compile(r" {0,3}(?:$|>|#{1,6} |[-*+] |`{3}|~{3})")
_QUOTE = re.compile(r" {0,3}(?:> ?){1,20}")

_LEAD_LIMIT = 40
_INFO_LIMIT = 40
_HEAD_LIMIT = 1_000
"""Most characters of a table's header that is repeated in the next message."""


@dataclass(frozen=True, slots=True)
class Fence:
    """Open code block. `lead` precedes its marker: indentation, and marks of lists and quotes.

    `column` is where the content of the list item that holds it begins; 0 outside a list.
    """

    lead: str
    marker: str
    info: str
    column: int

    @property
    def opening(self) -> str:
        """Return the line that opens the block again."""
        info = self.info if len(self.info) <= _INFO_LIMIT else ""
        return f"{self.lead}{self.marker}{info}\n"

    @property
    def closing(self) -> str:
        """Return the line that closes the block, without a newline."""
        return re.sub(r"[^>]", " ", self.lead) + self.marker

    def inside(self, line: str) -> str | None:
        """Return the content of `line`; None if the line ends the quote or list item around the block."""
        if quotes := self.lead.count(">"):
            return _behind(quotes, line)
        text = line.lstrip(" ")
        indent = len(line) - len(text)
        if text and indent < self.column:
            return None
        return line[min(indent, max(self.column, len(self.lead))) :]

    def is_closed_by(self, content: str) -> bool:
        """Return whether `content`, from `inside`, is the line that closes the block."""
        text = content.rstrip(" ")
        mark = text.lstrip(" ")
        is_mark = len(mark) >= len(self.marker) and not mark.strip(self.marker[0])
        return is_mark and len(text) - len(mark) <= 3


def _behind(quotes: int, line: str) -> str | None:
    """Return the rest of a line after `quotes` quote marks; None if it has fewer."""
    for _ in range(quotes):
        line = line.lstrip(" ")
        if not line.startswith(">"):
            return None
        line = line[1:]
    return line.removeprefix(" ")


def _is_delimiter(line: str) -> bool:
    """Return whether a line is a delimiter row. Cells are matched one by one to avoid backtracking."""
    row = line.strip(" ")
    if "-" not in row or len(line) - len(line.lstrip(" ")) > 3:
        return False
    cells = row.removeprefix("|").removesuffix("|").split("|")
    return all(_RULE.fullmatch(cell.strip(" ")) for cell in cells)


class Blocks:
    """Tracks a text line by line. `fence` is the code block that is open before the current line."""

    def __init__(self) -> None:
        self.fence: Fence | None = None
        self._item = 0  # column where the content of the latest list item begins
        self._previous = ""
        self._table = ""  # its header and delimiter rows
        self._rows = 0

    def end_line(self, line: str) -> None:
        """Add a complete line, without its newline."""
        line = line.expandtabs(4)
        before, self.fence = self.fence, self.fence_after(line)
        if before or self.fence:
            self._previous = self._table = ""
            return
        self._follow_list(line)
        self._follow_table(line)
        self._previous = line

    def fence_after(self, line: str) -> Fence | None:
        """Return the code block that is open after `line`, which may be incomplete."""
        line = line.expandtabs(4)
        if self.fence:
            content = self.fence.inside(line)
            if not line or content is not None:
                return None if content and self.fence.is_closed_by(content) else self.fence
        return self._parse_fence(line)

    def is_table(self, line: str) -> bool:
        """Return whether the beginning of a line seems to belong to a table."""
        return bool(self._table) or "|" in line

    def is_row(self, line: str) -> bool:
        """Return whether a line begins like a row. A header without a leading pipe is not found."""
        if self.fence_after(line):
            return False
        return line.lstrip(" >").startswith("|") or bool(self._table and not _OTHER_BLOCK.match(line))

    @staticmethod
    def quote(line: str) -> str:
        """Return the quote marks at the beginning of a line."""
        match = _QUOTE.match(line)
        return match[0] if match else ""

    @property
    def table_begins(self) -> bool:
        """Return whether the last line may be a table's header, or is a delimiter without rows yet."""
        return self._rows == 0 if self._table else "|" in self._previous

    def table_head(self, next_text: str) -> str:
        """Return the header to repeat if the next message begins with `next_text`; empty outside a table."""
        goes_on = self._table and not _OTHER_BLOCK.match(next_text)
        return self._table if goes_on and len(self._table) <= _HEAD_LIMIT else ""

    def _parse_fence(self, line: str) -> Fence | None:
        match = _OPENING.fullmatch(line)
        if not match or len(match[1]) > _LEAD_LIMIT or (match[2][0] == "`" and "`" in match[3]):
            return None
        lead = match[1]
        if not lead.isspace():
            return Fence(lead, match[2], match[3], len(lead))
        if len(lead) > 3 and not self._item:
            return None  # indented code
        return Fence(lead, match[2], match[3], self._item if len(lead) >= self._item else 0)

    def _follow_list(self, line: str) -> None:
        item = _ITEM.match(line)
        if item:
            self._item = item.end()
        elif line[:1].strip():
            self._item = 0

    def _follow_table(self, line: str) -> None:
        if self._table and not _OTHER_BLOCK.match(line):
            self._rows += 1
        elif "|" in self._previous and _is_delimiter(line):
            self._table, self._rows = f"{self._previous}\n{line}\n", 0
        else:
            self._table = ""
