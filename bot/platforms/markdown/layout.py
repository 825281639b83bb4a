"""Layout of parsed Markdown: its lines as atoms, changed only where a platform shows Markdown differently."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from bot.platforms.markdown.atoms import BLANKS, NO_CONTEXT, Atom, Context, Place, Ranges, words
from bot.platforms.markdown.inline import Emphasis, Inline, Span
from bot.platforms.markdown.links import Edit, link_edits
from bot.platforms.markdown.parser import Leaf, inline_of, parse

_QUOTE = re.compile(r"(?:[ \t]*>){1,20}[ \t]?")
_ADDRESS = re.compile(r"https?://[!-;=?-~]+")
_SENTENCE_END = re.compile(r"(?:[.!?…][\"')\]*_»\u2019\u201d]{0,9}|[\u3002\uff01\uff1f])\Z")
_ENDS = frozenset(".!?…\"')]*_»\u2019\u201d\u3002\uff01\uff1f")
_WIDE_END = re.compile(r"[\u3002\uff01\uff1f]\Z")

_MOST_OPEN = 12
"""Most marks of emphasis that a cut closes and opens again."""


@dataclass(frozen=True, slots=True)
class Section:
    """Part of a text to lay out.

    The first `skip` lines and the first `begin` characters of the next one only tell the parser where the
    part stands. `after_blank`: it follows an empty line. `breaks_word`: its last word goes on. `ends_block`:
    its last block does not.
    """

    text: str
    skip: int = 0
    begin: int = 0
    after_blank: bool = True
    breaks_word: bool = False
    ends_block: bool = False


Line = tuple[list[Atom], Context]
"""Atoms of a line, and the markup that is open after it."""


class Row(NamedTuple):
    """Line of a block: where its text stands in the block's content, and what stands around it."""

    line: int
    prefix: str
    start: int
    end: int
    suffix: str


def quote_of(line: str) -> str:
    """Return the quote marks at the beginning of a line."""
    match = _QUOTE.match(line)
    return match[0] if match else ""


def rows_of(leaf: Leaf, lines: Sequence[str]) -> Iterator[Row]:
    """Yield the lines of a paragraph or a heading."""
    at = 0
    for number, content in enumerate(leaf.content.split("\n"), leaf.first):
        text, source = content.strip(), lines[number]
        start = at + len(content) - len(content.lstrip())
        bare = source.rstrip()
        column = len(bare) - len(text)
        if leaf.kind == "heading":
            column = source.find(text, source.index("#" * leaf.level) + leaf.level)
        yield Row(number, source[:column], start, start + len(text), source[column + len(text) :])
        at += len(content) + 1


class Layout:
    """Layout of sections as they are written; a platform overrides the parts that it shows differently."""

    reopens_emphasis = False

    def lay_out(self, section: Section) -> list[Atom]:
        """Return the atoms of a section; their joined text only grows at its end as the section grows."""
        lines = section.text.split("\n")
        ends_line = lines[-1] == ""
        if ends_line:
            lines.pop()
        page = Page(section, lines)
        at = section.skip
        for leaf in parse(section.text).leaves:
            for number in range(at, leaf.first):
                page.add_line(self.other(page, number, self.plain(page.line(number))))
            if leaf.end > section.skip:
                for atoms, after in self.leaf(leaf, page):
                    page.add_line(atoms, after)
            self.end(leaf, page)
            at = max(at, leaf.end)
        for number in range(at, len(lines)):
            page.add_line(self.other(page, number, self.plain(page.line(number))))
        if page.atoms and not ends_line:
            page.atoms.pop()  # the newline
        return page.atoms

    def leaf(self, leaf: Leaf, page: "Page") -> Iterator[Line]:
        """Yield the atoms of each line of a leaf."""
        match leaf.kind:
            case "fence":
                return self.fence(leaf, page)
            case "table":
                return self.table(leaf, page)
        return self.text(leaf, page)

    def text(self, leaf: Leaf, page: "Page") -> Iterator[Line]:
        """Yield the lines of a paragraph, a heading or a rule."""
        if leaf.kind == "rule":
            yield self.other(page, leaf.first, self.rule(page.line(leaf.first))), NO_CONTEXT
            return
        inline = inline_of(leaf.content)
        text = _Text(leaf.content, sorted(self.edits(leaf, inline)))
        units = Ranges([(each.start, each.end) for each in _outermost(inline.spans)])
        marks = _Marks(inline.emphasis if self.reopens_emphasis else ())
        for row in rows_of(leaf, page.lines):
            if row.line < page.section.skip:
                continue
            is_begun = page.is_begun(row.line)
            shown = "" if is_begun else self.prefix(leaf, row.prefix)
            # one character stands in place of the beginning of the line
            pieces = text.pieces(row.start + is_begun, row.end)
            quote, first = self.quote(quote_of(row.prefix)), page.place(row.line)
            atoms = [Atom(shown, first)] if shown else []
            is_lead = not is_begun
            has_context = bool(quote) or self.reopens_emphasis
            for word, place, at in _places(pieces, units, is_begun=is_begun):
                if is_lead:
                    place = Place.CHARACTER if atoms else first
                    is_lead = word in BLANKS
                atoms.append(Atom(word, place, marks.context(quote, at) if has_context else NO_CONTEXT))
            suffix = self.suffix(leaf, row.suffix)
            atoms += [Atom(each, Place.CHARACTER) for each in words(suffix)]
            yield atoms, NO_CONTEXT

    def fence(self, leaf: Leaf, page: "Page") -> Iterator[Line]:
        """Yield the lines of a code block."""
        opening = page.lines[leaf.first]
        quotes = opening[: opening.index(leaf.mark)].count(">")
        context = self.code_context(leaf, opening)
        for number in range(max(leaf.first, page.section.skip), leaf.end):
            line = page.line(number)
            if number == leaf.first:
                yield [Atom(self.opening(leaf, line), Place.FENCE)], context
            elif number == leaf.end - 1 and not leaf.is_open:
                yield [Atom(self.closing(leaf, line), Place.CLOSING, context)], NO_CONTEXT
            else:
                place = Place.CHARACTER if page.is_begun(number) else Place.LINE
                yield _code_atoms(self.code(line, quotes), place, context), context

    def table(self, leaf: Leaf, page: "Page") -> Iterator[Line]:
        """Yield the rows of a table; one that is cut begins again with its header."""
        head = [page.lines[leaf.first], page.lines[leaf.first + 1]]
        context = Context("", "".join(f"{self.row(line)}\n" for line in head), is_table=True)
        if len(context.reopen) > _MOST_HEAD:
            context = NO_CONTEXT
        for number in range(max(leaf.first, page.section.skip), leaf.end):
            place = page.place(number)
            if number > leaf.first:
                place = Place.LINE if number > leaf.first + 2 else Place.CHARACTER
            if page.is_begun(number):
                place = Place.CHARACTER
            text = self.row(page.line(number))
            yield _code_atoms(text, place, context if number > leaf.first else NO_CONTEXT), NO_CONTEXT

    def other(self, page: "Page", number: int, text: str) -> list[Atom]:
        """Return the atoms of a line without text of a paragraph: an empty one, an empty item, a rule."""
        return [
            Atom(word, page.place(number) if at == 0 else Place.CHARACTER if word.isspace() else Place.WORD)
            for at, word in enumerate(words(text))
        ]

    # what a platform shows differently

    def end(self, leaf: Leaf, page: "Page") -> None:
        """Add what follows a leaf."""

    def edits(self, leaf: Leaf, inline: Inline) -> Iterable[Edit]:
        """Yield the changes to the text of a paragraph or a heading; none overlaps another one."""
        return link_edits(leaf.content, inline)

    def prefix(self, leaf: Leaf, prefix: str) -> str:
        """Return what stands before the text of a line: quote marks, indentation, the mark of an item."""
        return prefix

    def suffix(self, leaf: Leaf, suffix: str) -> str:
        """Return what stands behind the text of a line: blanks, the closing marks of a heading."""
        return suffix

    def quote(self, marks: str) -> str:
        """Return the quote marks that a line begins with."""
        return marks

    def plain(self, line: str) -> str:
        """Return a line without text of a paragraph."""
        return line

    def rule(self, line: str) -> str:
        """Return a line that divides two parts."""
        return line

    def row(self, line: str) -> str:
        """Return a row of a table."""
        return line

    def opening(self, leaf: Leaf, line: str) -> str:
        """Return the line that opens a code block."""
        return line

    def code(self, line: str, quotes: int) -> str:
        """Return a line of code that stands in some levels of quotes."""
        return line

    def closing(self, leaf: Leaf, line: str) -> str:
        """Return the line that closes a code block."""
        return line

    def code_context(self, leaf: Leaf, line: str) -> Context:
        """Return how a cut closes and opens a code block again, whose first line is `line`."""
        lead = line[: line.index(leaf.mark)]
        info = leaf.info if len(leaf.info) <= _MOST_INFO else ""
        lead = lead if len(lead) <= _MOST_INFO else ""
        return Context(
            re.sub(r"[^>]", " ", lead) + leaf.mark[:_MOST_INFO], f"{lead}{leaf.mark}{info}\n", is_code=True
        )


_MOST_HEAD = 1_000
"""Most characters of a table's header that is repeated in the next message."""

_MOST_INFO = 40


class Page:
    """Section while it is laid out."""

    def __init__(self, section: Section, lines: Sequence[str]) -> None:
        self.section = section
        self.lines = lines
        self.atoms: list[Atom] = []

    def is_begun(self, number: int) -> bool:
        """Return whether the beginning of a line is in an earlier section."""
        return number == self.section.skip and self.section.begin > 0

    def line(self, number: int) -> str:
        """Return a line without what an earlier section has of it."""
        return self.lines[number][self.section.begin if number == self.section.skip else 0 :]

    def place(self, number: int) -> Place:
        """Return the value of a cut before a line."""
        if self.is_begun(number):
            return Place.CHARACTER
        is_first = number == self.section.skip
        is_after_blank = self.section.after_blank if is_first else not self.lines[number - 1].strip()
        if is_after_blank and not self.lines[number][:1].isspace():
            return Place.BLOCK
        return Place.LINE if self.lines[number][:1].isspace() else Place.TOP_LINE

    def add_line(self, atoms: Iterable[Atom], after: Context = NO_CONTEXT) -> None:
        """Add a line and a newline, with the markup that is open after it."""
        self.atoms += atoms
        self.atoms.append(Atom("\n", Place.CHARACTER, after))


class _Marks:
    """Emphasis that is open at growing positions."""

    def __init__(self, emphasis: Iterable[Emphasis]) -> None:
        self._next = sorted(emphasis, key=lambda each: -each.start)
        self._open: list[Emphasis] = []

    def context(self, quote: str, at: int) -> Context:
        if not self._open and not self._next:
            return Context("", quote) if quote else NO_CONTEXT
        while self._next and self._next[-1].start <= at:
            self._open.append(self._next.pop())
        self._open = [each for each in self._open if each.end > at]
        if not self._open or len(self._open) > _MOST_OPEN:
            return Context("", quote) if quote else NO_CONTEXT
        marks = [each.mark for each in self._open]
        return Context("".join(reversed(marks)), quote + "".join(marks))


def _outermost(spans: Iterable[Span]) -> Iterator[Span]:
    end = 0
    for span in sorted(spans, key=lambda each: (each.start, -each.end)):
        if span.start >= end:
            yield span
            end = span.end


class _Text:
    """Text of a block with its changes, read line by line."""

    def __init__(self, content: str, edits: Sequence[Edit]) -> None:
        self._content = content
        self._edits = edits
        self._next = 0
        self._at = 0

    def pieces(self, start: int, end: int) -> Iterator[tuple[int, int, str]]:
        """Yield the pieces of a line and where they stand; changed ones replace text there."""
        at = max(start, self._at)
        while self._next < len(self._edits) and self._edits[self._next].start <= end:
            edit = self._edits[self._next]
            self._next += 1
            if edit.start < at:
                continue
            yield at, edit.start, self._content[at : edit.start]
            yield edit.start, edit.end, edit.text
            at = edit.end
        yield at, end, self._content[at:end]
        self._at = at


def _places(
    pieces: Iterable[tuple[int, int, str]], units: Ranges, *, is_begun: bool
) -> Iterator[tuple[str, Place, int]]:
    """Yield the words and blanks of a line with the value of a cut before each, and its position."""
    run = ""  # the end of what stands before without a blank
    last = ""  # the end of the text before a blank
    is_after_blank = not is_begun
    for begin, end, piece in pieces:
        for start, stop in _stretches(piece, units, begin, end):
            at = begin + start
            for word in words(piece[start:stop]):
                if word in BLANKS:
                    place = Place.CHARACTER
                    last, run, is_after_blank = run or last, "", True
                else:
                    if units.is_any and units.cover(at):
                        place = Place.WITHIN if is_after_blank else Place.CHARACTER
                    elif is_after_blank:
                        is_end = last[-1:] in _ENDS and _SENTENCE_END.search(last)
                        place = Place.SENTENCE if is_end else Place.WORD
                    else:
                        place = Place.SENTENCE if _WIDE_END.search(run) else Place.EDGE
                    run, is_after_blank = (run + word)[-12:], False
                yield word, place, at
                at += len(word)


def _stretches(piece: str, units: Ranges, begin: int, end: int) -> Iterable[tuple[int, int]]:
    """Return the parts of a piece between addresses, code and links."""
    edges = {0, len(piece)}
    if "http" in piece:
        edges.update(each.start() for each in _ADDRESS.finditer(piece))
    if len(piece) == end - begin:
        edges.update(edge - begin for edge in units.edges(begin, end))
    return pairwise(sorted(edges))


def _code_atoms(line: str, first: Place, context: Context) -> list[Atom]:
    atoms = [Atom(word, Place.CHARACTER, context) for word in words(line)]
    for index, atom in enumerate(atoms):
        is_after_blank = index > 0 and atoms[index - 1].text.isspace() and not atom.text.isspace()
        if index == 0 or is_after_blank:
            atoms[index] = atom._replace(place=first if index == 0 else Place.WITHIN)
    return atoms
