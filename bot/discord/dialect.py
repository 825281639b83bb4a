"""From the Markdown that models write to the Markdown that Discord shows.

Discord knows one fence (three backticks, closed by the next three wherever they stand), no tables and
three levels of headings (https://support.discord.com/hc/en-us/articles/210298617).
"""

import re

from bot.discord import tables
from bot.discord.fences import Fence, opened_by
from bot.discord.inline import CODE, without_spoilers, without_spoilers_so_far

_DEEP_HEADING = re.compile(r"[ ]{0,3}#{4,6}[ \t]+(?P<title>.*?)[ \t]*#*")
_BACKTICKS = re.compile(r"`{3,}")
_BOLD_OR_CODE = re.compile(rf"(?P<code>{CODE})|\*\*")

# An unfinished line whose beginning could still become a fence, a table row or a heading.
_UNDECIDED = re.compile(
    r"[ \t>]*(?:(?:[-*+]|\d{1,9}[.)]?)[ \t]*)?(?:`{0,2}|~{0,2}|(?:`{3,16}|~{3,16})[^`~]{0,41}|\|.*|#.*)"
)
_UNDECIDED_IN_CODE = re.compile(r"[ \t>]*[`~]*[ \t\r]*")


def render(text: str, *, finished: bool) -> str:
    """Rewrite `text` for Discord; `finished` tells that nothing more comes.

    While `text` grows, the result only grows too: what cannot be decided yet (a table whose end is not in
    sight, the first backticks of a line) is held back. A code block left open at the end is closed.
    """
    *lines, last = text.split("\n")
    rewriter = _Rewriter()
    for line in lines:
        rewriter.take(line)
    return rewriter.end(last) if finished else rewriter.so_far(last)


class _Rewriter:
    def __init__(self) -> None:
        self._done: list[str] = []
        self._rows: list[str] = []
        self._fence: Fence | None = None

    def take(self, line: str) -> None:
        if self._fence is None and tables.is_row(line):
            self._rows.append(line)
            return
        self._end_table()
        self._done.append(self._rewritten(line))

    def end(self, last: str) -> str:
        if last:
            self.take(last)
        self._end_table()
        if self._fence:
            self._done.append("```")
        return "\n".join(self._done) + ("" if last or self._fence else "\n" * bool(self._done))

    def so_far(self, last: str) -> str:
        shown = "".join(f"{line}\n" for line in self._done)
        if self._fence:
            held = _UNDECIDED_IN_CODE.fullmatch(last)
            return shown if held else shown + _harmless(last.rstrip("`"))
        return shown if self._rows or _UNDECIDED.fullmatch(last) else shown + without_spoilers_so_far(last)

    def _end_table(self) -> None:
        table = tables.aligned(self._rows)
        if table is None:
            self._done += map(without_spoilers, self._rows)
        else:
            self._done += ["```", *table.split("\n"), "```"]
        self._rows = []

    def _rewritten(self, line: str) -> str:
        if self._fence:
            return self._rewritten_code(self._fence, line)
        self._fence = opened_by(line)
        if self._fence:
            language = self._fence.info.split(" ")[0]
            return line[: line.index(self._fence.mark)] + "```" + language
        heading = _DEEP_HEADING.fullmatch(line)
        title = _BOLD_OR_CODE.sub(lambda match: match["code"] or "", heading["title"]) if heading else ""
        return without_spoilers(f"**{title}**" if title.strip() else line)

    def _rewritten_code(self, fence: Fence, line: str) -> str:
        if not fence.closed_by(line):
            return _harmless(line)
        self._fence = None
        return line[: line.index(fence.mark)] + "```"


def _harmless(code: str) -> str:
    """`code` without three backticks in a row: on Discord they would end the block."""
    return _BACKTICKS.sub(lambda run: "\u200b".join(run.group()), code)
