"""Links and images that a model wrote, changed so that none of them can mislead. Pure."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from bot.platforms.markdown.inline import Inline, Span

_LINK = re.compile(r"\]\(")
_HOST = re.compile(
    r"\W*+(?:https?://)?(?:[^\s/@]*+@)?((?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24})(?=$|[\s/:?#)*_~`])"
)
_SCHEME = re.compile(r"\w{1,20}:(?://)?(?:[^\s/@]*@)?([^\s/:?#]*)")


class Edit(NamedTuple):
    """Replacement for the text from `start` to `end`."""

    start: int
    end: int
    text: str


def text_ranges(content: str, inline: Inline) -> Iterator[tuple[int, int]]:
    """Yield the ranges that are text: not code, addresses, escapes or other marks of `spans`."""
    at = 0
    for start, end in sorted(map(_mark_range, inline.spans)):
        if at < start:
            yield at, start
        at = max(at, end)
    yield at, len(content)


def _mark_range(span: Span) -> tuple[int, int]:
    """Return the range of a span without the label of a link."""
    if span.kind in ("link", "image"):
        return span.start + (2 if span.kind == "image" else 1) + len(span.text), span.end
    return span.start, span.end


def link_edits(content: str, inline: Inline) -> Iterator[Edit]:
    """Yield edits that no link can mislead with: the address is shown beside a label that names another one.

    Images become links, since a platform would fetch them; what this parser takes for no link is none.
    """
    for span in inline.spans:
        if span.kind == "footnote":
            yield Edit(span.start, span.end, span.text)
        if span.kind not in ("link", "image"):
            continue
        label = span.start + (2 if span.kind == "image" else 1)
        if _imitates(span.text, span.address):
            yield Edit(span.start, label, "")
            yield Edit(label + len(span.text), span.end, f" ({span.address})")
        elif span.kind == "image":
            yield Edit(span.start, label, "[" if span.text.strip() else "[image")
    for start, end in text_ranges(content, inline):
        for mark in _LINK.finditer(content, start, end):
            yield Edit(mark.start() + 1, mark.start() + 1, "\u200b")


def _imitates(label: str, address: str) -> bool:
    """Return whether a link's label begins with the address of another host."""
    shown, real = _HOST.match(label), _SCHEME.match(address)
    if not shown or not real:
        return False
    return shown[1].lower().removeprefix("www.") != real[1].lower().removeprefix("www.")
