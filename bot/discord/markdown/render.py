"""Conversion of the Markdown of models to the Markdown of Discord.

Discord has one fence (three backticks, closed by the next three anywhere), no tables and
three levels of headings (https://support.discord.com/hc/en-us/articles/210298617).
"""

import re

from bot.discord.markdown import tables
from bot.discord.markdown.fences import Fence, parse_fence
from bot.discord.markdown.inline import (
    code_spans,
    prose,
    prose_so_far,
    quote_of,
)

_DEEP_HEADING = re.compile(r"[ ]{0,3}#{4,6}[ \t]+")
_BACKTICKS = re.compile(r"`{3,}")
_OTHER_BLOCK = re.compile(r"[ \t]*(?:[-*+][ \t]|\d{1,9}[.)][ \t]|#|`{3}|~{3})")

# An unfinished line whose beginning could still become a fence, a table row or a heading.
_UNDECIDED = re.compile(
    r"[ \t>]*+(?:(?:[-*+]|\d{1,9}[.)]?)[ \t]*+)?(?:`{0,2}|~{0,2}|(?:`{3,16}|~{3,16})[^`~]{0,41}|\|.*|#.*)"
)
_UNDECIDED_IN_CODE = re.compile(r"[ \t>]*+[`~]*+[ \t\r]*")

_SENTENCE_END = re.compile(r"[.!?:…\u3002\uff01\uff1f]")
_FIRST_CELL = 40
"""Characters within which a table row without a leading pipe has its first one: else every line waits."""

_SEGMENT, _LONGEST_WORD = 1_000, 2_000
"""A longer line is rewritten in segments that end at a blank, so that its cost does not grow with it."""


def render(text: str, *, is_finished: bool) -> str:
    """Convert `text` for Discord; `is_finished` means that it is complete. Uses `Rendering`."""
    rendering = Rendering()
    rendering.feed(text)
    return rendering.finish() if is_finished else rendering.take()


class Rendering:
    """Conversion of a growing text, each part once.

    Returned text never changes: undecided text (a table without an end yet, the first backticks of a line) is
    held back. A code block that is open at the end is closed.
    """

    def __init__(self) -> None:
        self._done: list[str] = []  # converted, but not taken yet
        self._parts: list[str] = []  # of the unfinished line, not converted yet
        self._length = 0
        self._ahead = 0  # converted characters of the unfinished line that were taken already
        self._is_segment = False  # the unfinished line began in an earlier segment
        self._is_held = False  # it is a long row of a table
        self._after_blank = True
        self._rows: list[str] = []  # of a table, or a possible header
        self._quote = ""  # the quote around the rows
        self._fence: Fence | None = None

    def feed(self, text: str) -> None:
        """Add the next piece."""
        first, *others = text.split("\n")
        self._grow(first)
        for each in others:
            self._end_line("\n")
            self._grow(each)

    def take(self) -> str:
        """Return the text that can be shown now and was not returned before."""
        certain = self._certain()
        self._done.append(certain[self._ahead :])
        self._ahead = max(self._ahead, len(certain))
        return self._take_done()

    def finish(self) -> str:
        """End the text; return the rest."""
        last = self._length > 0 or self._is_segment
        if last:
            self._end_line("")
        self._end_table("" if last else "\n")
        if self._fence:
            self._done.append(("\n" if last else "") + self._fence.quote + "```")
        return self._take_done()

    def _take_done(self) -> str:
        taken, self._done = "".join(self._done), []
        return taken

    @property
    def _line(self) -> str:
        self._parts = ["".join(self._parts)]
        return self._parts[0]

    def _grow(self, piece: str) -> None:
        if not piece:
            return
        self._parts.append(piece)
        self._length += len(piece)
        while self._length > _SEGMENT and not self._is_held:
            line = self._line
            self._is_held = not self._fence and not self._is_segment and _is_row(line)
            end = line.find(" ", _SEGMENT, _LONGEST_WORD) + 1
            if not end and len(line) >= _LONGEST_WORD:
                end = _LONGEST_WORD
            if self._is_held or not end:
                return
            self._end_segment(line[:end])
            self._parts, self._length = [line[end:]], len(line) - end

    def _end_segment(self, text: str) -> None:
        if self._fence and not self._is_segment and self._fence.is_left_by(text):
            self._leave_fence()
        if not self._fence:
            self._end_table("\n")
        self._put(_harmless(text) if self._fence else prose(text))
        self._is_segment = True

    def _end_line(self, end: str) -> None:
        line, is_segment = self._line, self._is_segment
        self._parts, self._length = [], 0
        self._is_segment = self._is_held = False
        if not is_segment:
            self._take_line(line, end)
        else:
            self._put((_harmless(line) if self._fence else prose(line)) + end)
        self._after_blank = not line.strip(" \t\r>") and not is_segment

    def _take_line(self, line: str, end: str) -> None:
        if self._fence and self._fence.is_left_by(line):
            self._leave_fence()
        if self._fence:
            self._put(self._rewritten_code(self._fence, line) + end)
            return
        if self._continues_table(line):
            self._rows.append(line)
            return
        self._end_table("\n")
        if self._may_be_header(line):
            self._rows, self._quote = [line], quote_of(line)
        else:
            self._put(self._rewritten(line) + end)

    def _put(self, text: str) -> None:
        """Output the rest of the line, whose beginning may have been taken already."""
        self._done.append(text[self._ahead :])
        self._ahead = 0

    def _leave_fence(self) -> None:
        assert self._fence is not None
        self._done.append(f"{self._fence.quote}```\n")
        self._fence = None

    def _may_be_header(self, line: str) -> bool:
        if _is_row(line):
            return True
        text = line.removeprefix(quote_of(line))
        return self._may_be_first_cell(text) and 0 < text.find("|") < _FIRST_CELL

    def _continues_table(self, line: str) -> bool:
        if not self._rows or quote_of(line) != self._quote:
            return False
        text = line.removeprefix(self._quote)
        if len(self._rows) > 1:
            return "|" in text and not _OTHER_BLOCK.match(text)
        header = self._rows[0].removeprefix(self._quote)
        is_table = tables.starts_row(header) or len(tables.cells(header)) == len(tables.cells(text))
        return is_table and tables.is_delimiter(text)

    def _end_table(self, end: str) -> None:
        rows, self._rows = self._rows, []
        if len(rows) > 1:
            table = tables.align([row.removeprefix(self._quote) for row in rows])
            lines = ["```", *map(_harmless, table), "```"]
            self._put("\n".join(self._quote + line for line in lines) + end)
        elif rows:
            self._put(self._rewritten(rows[0]) + end)

    def _rewritten(self, line: str) -> str:
        self._fence = parse_fence(line)
        if self._fence:
            language = self._fence.info.split(" ")[0]
            return line[: line.index(self._fence.mark)] + "```" + language
        heading = _DEEP_HEADING.match(line)
        title = _without_bold(_title(line[heading.end() :])) if heading else ""
        return prose(f"**{title}**" if title.strip() else line)

    def _rewritten_code(self, fence: Fence, line: str) -> str:
        if not fence.is_closed_by(line):
            return _harmless(line)
        self._fence = None
        return line[: line.index(fence.mark)] + "```"

    def _certain(self) -> str:
        """Return the part of the unfinished line that does not depend on what follows."""
        line = self._line
        if self._fence:
            if self._is_segment:
                return _harmless(line.rstrip("`"))
            is_open = self._fence.is_left_by(line) or _UNDECIDED_IN_CODE.fullmatch(line)
            return "" if is_open else _harmless(line.rstrip("`"))
        if self._is_segment:
            return prose_so_far(line)
        is_open = bool(self._rows) or self._is_held or _UNDECIDED.fullmatch(line)
        return "" if is_open or self._may_become_header(line) else prose_so_far(line)

    @property
    def tentative(self) -> str:
        """Return the beginning of a line that is shown at once, although it may become a table's header."""
        line = self._line
        is_open = self._fence or self._is_segment or self._rows or "|" in line or _UNDECIDED.fullmatch(line)
        return prose_so_far(line) if not is_open and self._may_become_header(line) else ""

    def _may_become_header(self, line: str) -> bool:
        text = line.removeprefix(quote_of(line))
        is_short = "|" not in text and len(text) < _FIRST_CELL
        return (is_short and self._may_be_first_cell(text)) or self._may_be_header(line)

    def _may_be_first_cell(self, text: str) -> bool:
        """Return whether `text` can begin a table without leading pipes: not in a paragraph or a sentence."""
        if not self._after_blank or "||" in text or _OTHER_BLOCK.match(text):
            return False
        return not _SENTENCE_END.search(text.partition("|")[0][:_FIRST_CELL])


def _is_row(line: str) -> bool:
    return tables.starts_row(line.removeprefix(quote_of(line)))


def _title(text: str) -> str:
    """Return a heading's text without closing marks, which follow a blank: `C#` keeps its own."""
    title = text.strip(" \t")
    bare = title.rstrip("#")
    return bare.rstrip(" \t") if not bare or bare[-1] in " \t" else title


def _without_bold(title: str) -> str:
    kept, at = [], 0
    for start, end in code_spans(title)[0]:
        kept += [title[at:start].replace("**", ""), title[start:end]]
        at = end
    return "".join([*kept, title[at:].replace("**", "")])


def _harmless(code: str) -> str:
    """Return `code` without three backticks in a row: on Discord they would end the block."""
    return _BACKTICKS.sub(lambda run: "\u200b".join(run.group()), code)
