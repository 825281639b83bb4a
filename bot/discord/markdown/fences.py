"""Fenced code blocks, line by line (CommonMark 0.31, section 4.5)."""

import re
from dataclasses import dataclass

# CommonMark sets no limits on indentation, fence and info string; these keep added lines short
_OPENING = re.compile(
    r"(?P<lead>[ \t>]{0,40})(?:(?:[-*+]|\d{1,9}[.)])[ \t]{1,4})?"
    r"(?P<mark>`{3,16}|~{3,16})(?P<info>[^\n`~]{0,40})"
)


@dataclass(frozen=True, slots=True)
class Fence:
    """Open code block: the run of backticks or tildes that began it, and its info string.

    `quote` are the marks of the quote around it.
    """

    mark: str
    info: str
    quote: str = ""

    @property
    def opening(self) -> str:
        """Return the line that begins the block, without indentation."""
        return self.quote + self.mark + self.info

    @property
    def closing(self) -> str:
        """Return the line that ends the block."""
        return self.quote + self.mark

    def is_closed_by(self, line: str) -> bool:
        """Return whether `line` ends the block: the same character, at least as often, and nothing else."""
        bare = line.lstrip(" \t>").rstrip(" \t\r")
        return len(bare) >= len(self.mark) and not bare.strip(self.mark[0])

    def is_left_by(self, line: str) -> bool:
        """Return whether `line` ends the quote around the block, and so the block itself."""
        return bool(self.quote) and not line.lstrip(" \t").startswith(">")


def parse_fence(line: str) -> Fence | None:
    """Return the block that `line` begins, also in a list item or a quote."""
    match = _OPENING.fullmatch(line.rstrip("\r"))
    return Fence(match["mark"], match["info"].strip(), "> " * match["lead"].count(">")) if match else None


def open_fence(text: str) -> Fence | None:
    """Return the block that is still open at the end of `text`."""
    fence: Fence | None = None
    for line in text.split("\n"):
        fence = after(line, fence)
    return fence


def after(line: str, fence: Fence | None) -> Fence | None:
    """Return the block that is open after `line`, given the one that was open before it."""
    if fence is None or fence.is_left_by(line):
        return parse_fence(line)
    return None if fence.is_closed_by(line) else fence
