"""Inline Markdown: where code, links and emphasis stand in the text of a block, and what is unfinished."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from markdown_it.common.entities import entities
from markdown_it.rules_inline import (
    StateInline,
    autolink,
    backtick,
    emphasis,
    entity,
    escape,
    image,
    link,
    link_pairs,
    strikethrough,
)
from markdown_it.rules_inline.state_inline import Delimiter

MOST_CODE = 500
MOST_LABEL = 300
MOST_EMPHASIS = 1_000
"""Most characters of inline code, of a link's label, and of emphasised text. Longer ones are plain text: a
stream holds back no more than this while it waits for the end."""

_RUN = re.compile(r"`+")
_FOOTNOTE = re.compile(r"\[\^([^\s\[\]^`]{1,40})\](:[ \t]*)?(?![+*?{])")
_USUAL_LABEL = re.compile(r"(?:[A-Za-z]{2,20}[-_]?)?\d{1,3}")
_TARGET_BEGINS = re.compile(
    r"\(\s*+(?:<[^<>\n]*+|[^\s<]\S*+(?:\s++(?:\"[^\"]*+\"?+|'[^']*+'?+|\([^()]*+\)?+)?+\s*+)?+)?+"
)

Kind = Literal["code", "link", "image", "autolink", "escape", "entity", "footnote"]
Rule = Callable[[StateInline, bool], bool]


@dataclass(frozen=True, slots=True)
class Span:
    """Piece of a block's text. `text` is a label or the decoded character, `address` that of a link."""

    kind: Kind
    start: int
    end: int
    text: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Emphasis:
    """Pair of marks around the text from `start` to `end`; the marks stand outside of it."""

    mark: str
    start: int
    end: int


@dataclass(slots=True)
class Inline:
    """Inline structure of a block's text.

    `spans` are ordered by their ends, so that those in a label come before their link. `open` are positions
    of marks without an end, each with its mark: `*`, `_`, `~~`, backticks or `[`. `excess` are positions of
    `**`, `__` and `~~`, half by half, whose end is too far away.
    """

    spans: list[Span] = field(default_factory=list)
    emphasis: list[Emphasis] = field(default_factory=list)
    open: list[tuple[int, str]] = field(default_factory=list)
    excess: list[tuple[int, str]] = field(default_factory=list)


@dataclass(slots=True)
class _Found:
    inline: Inline = field(default_factory=Inline)
    marks: list[tuple[list[Delimiter], int, int, str]] = field(default_factory=list)


def read_inline(state: StateInline) -> Inline:
    """Read the inline structure of the text that `state` begins with; its parser has `RULES`."""
    found = _Found()
    state.env["found"] = found
    state.md.inline.tokenize(state)
    link_pairs(state)
    starts = {(id(owner), index): at for owner, index, at, _ in found.marks}
    inline = found.inline
    for owner, index, at, mark in found.marks:
        delimiter = owner[index]
        if delimiter.end >= 0:
            end = starts[id(owner), delimiter.end]
            if end - at <= MOST_EMPHASIS:
                inline.emphasis.append(Emphasis(mark, at + len(mark), end))
            elif _is_double(state.src, at, mark):
                inline.excess += [(at, mark), (end, mark)]
        elif delimiter.open and owner is state.delimiters:
            if len(state.src) - at <= MOST_EMPHASIS:
                inline.open.append((at, mark))
            elif _is_double(state.src, at, mark):
                inline.excess.append((at, mark))
    inline.emphasis.sort(key=lambda each: each.start)
    inline.open.sort()
    return inline


def _is_double(text: str, at: int, mark: str) -> bool:
    return len(mark) == 2 or mark in (text[at - 1 : at], text[at + 1 : at + 2])


def _found(state: StateInline) -> _Found:
    found: _Found = state.env["found"]
    return found


def _read_code(state: StateInline, silent: bool) -> bool:
    start = state.pos
    if state.src[start] != "`":
        return False
    tokens = len(state.tokens)
    backtick(state, True)
    run = _RUN.match(state.src, start)
    assert run
    is_code = state.pos > run.end()
    if is_code and state.pos - start > MOST_CODE:
        state.pos, is_code = run.end(), False
    if silent:
        return True
    if is_code:
        state.pos = start
        backtick(state, False)
        _found(state).inline.spans.append(Span("code", start, state.pos))
        return True
    assert len(state.tokens) == tokens
    state.append_pending(run[0])
    if len(state.src) - start <= MOST_CODE:
        _found(state).inline.open.append((start, run[0]))
    return True


def _read_link(rule: Rule, kind: Kind) -> Rule:
    def read(state: StateInline, silent: bool) -> bool:
        start, opening = state.pos, "![" if kind == "image" else "["
        if not state.src.startswith(opening, start):
            return False
        label = _label_end(state, start + len(opening) - 1)
        has_target = label >= 0 and state.src.startswith("(", label + 1)
        if not has_target or state.src.find(")", label) < 0:
            if not silent:
                _note_open(state, start, label)
            return False
        found = _found(state)
        spans, marks = len(found.inline.spans), len(found.marks)
        if not rule(state, silent):
            if not silent:
                _note_open(state, start, label)
            return False
        if not silent:
            if kind == "image":  # its label was parsed as a text of its own
                del found.inline.spans[spans:], found.marks[marks:]
            text = state.src[start + len(opening) : label]
            address = _address(state, kind)
            found.inline.spans.append(Span(kind, start, state.pos, text, address))
        return True

    return read


def _label_end(state: StateInline, start: int) -> int:
    """Return the end of a label that begins with the bracket at `start`, -1 if it is too long or has none."""
    src, most = state.src, state.posMax
    if src.find("]", start, min(most, start + MOST_LABEL)) < 0:
        return -1
    state.posMax = min(most, start + MOST_LABEL)
    try:
        end: int = state.md.helpers.parseLinkLabel(state, start, False)
        return end
    finally:
        state.posMax = most


def _note_open(state: StateInline, start: int, label: int) -> None:
    """Note the bracket of a label or a link that more text may end."""
    src, end = state.src, len(state.src)
    if label < 0:
        is_open = end - start <= MOST_LABEL
    elif label + 1 >= end:
        is_open = True
    else:
        is_open = src[label + 1] == "(" and _TARGET_BEGINS.fullmatch(src, label + 1) is not None
    if is_open and state.linkLevel == 0:
        _found(state).inline.open.append((start, "["))


def _address(state: StateInline, kind: Kind) -> str:
    name = "src" if kind == "image" else "href"
    token = next((each for each in reversed(state.tokens) if name in each.attrs), None)
    return str(token.attrs[name]) if token else ""


def _read_footnote(state: StateInline, silent: bool) -> bool:
    """Read a reference to a footnote, or at the beginning of a line the label of its text.

    A reference with an unusual label follows a word without a blank: `[^a-z]` may be a regular expression.
    """
    start = state.pos
    match = _FOOTNOTE.match(state.src, start, state.posMax)
    if not match or state.src.startswith("(", match.end(1) + 1):
        return False
    is_label = match[2] is not None and state.src[:start].rpartition("\n")[2].strip() == ""
    is_attached = start > 0 and not state.src[start - 1].isspace() and state.src[start - 1] not in "([=\"'"
    if not (is_label or is_attached or _USUAL_LABEL.fullmatch(match[1])):
        return False
    state.pos = match.end() if is_label else match.end(1) + 1
    if not silent:
        state.append_pending(state.src[start : state.pos])
        blank = (match[2] or "")[1:] if is_label else ""
        text = f"[{match[1]}]" + (blank or " " * (is_label and state.pos < len(state.src)))
        _found(state).inline.spans.append(Span("footnote", start, state.pos, text))
        if state.pos == len(state.src):  # a colon may follow
            _found(state).inline.open.append((start, "["))
    return True


def _read_span(rule: Rule, kind: Kind) -> Rule:
    def read(state: StateInline, silent: bool) -> bool:
        start = state.pos
        if not rule(state, silent):
            return False
        if not silent:
            text = _decoded(state.src[start : state.pos]) if kind == "entity" else ""
            _found(state).inline.spans.append(Span(kind, start, state.pos, text))
        return True

    return read


def _decoded(reference: str) -> str:
    name = reference[1:-1]
    if not name.startswith("#"):
        return str(entities.get(name, reference))
    number = int(f"0{name[1:]}", 0) if name[1] in "xX" else int(name[1:])
    is_valid = 0x20 <= number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF
    return chr(number) if is_valid else "\ufffd"


def _read_marks(rule: Rule, width: int) -> Rule:
    def read(state: StateInline, silent: bool) -> bool:
        start, owner, before = state.pos, state.delimiters, len(state.delimiters)
        if not rule(state, silent):
            return False
        if not silent:
            first = start + (state.pos - start) % width
            mark = state.src[start] * width
            for index in range(before, len(owner)):
                at = first + width * (index - before)
                _found(state).marks.append((owner, index, at, mark))
        return True

    return read


RULES: Sequence[tuple[str, Rule]] = (
    ("backticks", _read_code),
    ("strikethrough", _read_marks(strikethrough.tokenize, 2)),
    ("emphasis", _read_marks(emphasis.tokenize, 1)),
    ("link", _read_link(link, "link")),
    ("image", _read_link(image, "image")),
    ("autolink", _read_span(autolink, "autolink")),
    ("escape", _read_span(escape, "escape")),
    ("entity", _read_span(entity, "entity")),
)
"""Rules of the parser that note where they have found something."""

FOOTNOTE_RULE: tuple[str, Rule] = ("footnote", _read_footnote)
