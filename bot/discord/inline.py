"""What belongs together within a line: inline code, links and addresses."""

import re
from collections.abc import Iterator

CODE = r"(?<![`\\])(?P<ticks>`+)(?!`)[^\n]*?(?<!`)(?P=ticks)(?!`)"
"""Inline code (CommonMark 0.31, section 6.1), but for code that goes over several lines."""

_SPAN = re.compile(
    rf"{CODE}"
    r"|(?<![`\\])`+[^\n]*\Z"  # code whose end is not in sight
    r"|\[[^\[\]\n]*(?:\]\((?:[^()\s]|\([^()\s]*\))*(?:[ ]\"[^\"\n]*\")?\)|(?:\]\(\S*|\])?\Z)"  # a link
    r"|https?://[!-;=?-~]+|h(?:t(?:t(?:ps?(?::/{0,2})?)?)?)?\Z"
)
_BARS = re.compile(rf"{CODE}|(?P<bars>(?<!\\)\|{{2,}})")
_OPEN_OR_BARS = re.compile(rf"{CODE}|(?P<open>(?<![`\\])`+)|(?P<bars>(?<!\\)\|{{2,}})")


def spans(window: str) -> Iterator[tuple[int, int]]:
    """Where something begins and ends that should not be cut.

    One that may go on behind the window ends beyond its last character.
    """
    for match in _SPAN.finditer(window):
        yield match.span()


def without_spoilers(line: str) -> str:
    """`line` with the bars outside of code escaped: a pair of `||` (in SQL, joined texts) would hide text."""
    return _BARS.sub(lambda match: r"\|" * len(match["bars"]) if match["bars"] else match[0], line)


def without_spoilers_so_far(line: str) -> str:
    """The same for an unfinished line: as much as stays, whatever follows."""
    line = line.rstrip("`|")
    opened = False
    for match in _OPEN_OR_BARS.finditer(line):
        if match["bars"] and opened:  # whether they are code is not known before the code ends
            return without_spoilers(line[: match.start()])
        opened = opened or bool(match["open"])
    return without_spoilers(line)
