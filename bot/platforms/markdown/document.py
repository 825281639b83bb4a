"""Growing Markdown document: what is settled is laid out once, in parts of a bounded size. Pure."""

import re
from dataclasses import replace

from bot.platforms.markdown.atoms import NO_CONTEXT, Atom, Context, character_end
from bot.platforms.markdown.healing import Ending, Holds, ending_of
from bot.platforms.markdown.layout import Layout, Section, quote_of
from bot.platforms.markdown.parser import Leaf, inline_of, parse

WINDOW = 2_000
"""Most characters at the end of the text that are parsed again; a longer block is laid out in parts."""

MOST_PIECES = 600
"""Most words and marks of a window: what it costs to parse. Prose has 400 of them in 2,000 characters."""

_BRACKET = 4
"""Pieces that an opening bracket counts as: the parser looks for its end."""

_PIECE = re.compile(r"(?<!\s)[ \t]|[\n`*_~\[\]<&\\]")

_BOUNDARY = "\n\n"
_MOST_LEAD = 1_000
_BLANK = re.compile(r"\s")


class Document:
    """Document that grows at its end.

    The atoms do not depend on how the text is divided over calls of `feed`, nor on when they are taken.
    """

    def __init__(self, layout: Layout, holds: Holds) -> None:
        self._layout = layout
        self._holds = holds
        self._new: list[str] = []
        self._tail = ""  # not laid out for good yet
        self._pieces = 0  # of the tail
        self._context = Section("")  # what tells the parser where the tail stands
        self._done: list[Atom] = []
        self._taken = 0  # characters of the tail's layout that were taken
        self._is_taken = True  # all that is settled
        self._known: tuple[str, Ending] | None = None
        self._is_cr = False  # the text ends with a carriage return

    def feed(self, text: str) -> None:
        """Add the next piece."""
        if text:
            self._new.append(text)
            self._is_taken = False

    def take(self) -> list[Atom]:
        """Return the atoms that are settled and were not returned before."""
        if self._is_taken:
            return []
        self._grow()
        self._settle_blocks()
        return self._take(self._ending().settled)

    def tentative(self) -> list[Atom]:
        """Return how the rest would be shown if the text ended here; call `take` first."""
        healed = self._ending().healed
        section = self._section(healed)
        return _from(self._layout.lay_out(replace(section, text=self._lead + healed)), self._taken)

    def flush(self) -> tuple[list[Atom], str]:
        """Return all atoms, and what had to be added to the text: an unfinished mark ends with its block."""
        self._grow()
        ending = self._ending()
        added = "" if ending.is_clean or not self._tail else _BOUNDARY
        self.feed(added)
        self._grow()
        return self._take(len(self._tail)), added

    def finish(self) -> list[Atom]:
        """End the text; return the rest."""
        self._grow()
        return self._take(len(self._tail))

    def open_code(self) -> Context:
        """Return the code block that is open at the end of the text."""
        self._grow()
        text = self._lead + self._tail
        leaf = _last(text)
        if leaf is None or leaf.kind != "fence" or not leaf.is_open:
            return NO_CONTEXT
        return self._layout.code_context(leaf, text.split("\n")[leaf.first])

    @property
    def _lead(self) -> str:
        return self._context.text

    def _section(self, text: str) -> Section:
        return replace(self._context, text=self._lead + text)

    def _ending(self) -> Ending:
        lead = self._lead
        text = lead + self._tail
        if not self._known or self._known[0] != text:
            is_begun = self._context.begin > 0 and "\n" not in self._tail
            ending = ending_of(text, self._holds, is_begun=is_begun)
            settled = max(0, ending.settled - len(lead))
            self._known = text, Ending(settled, ending.healed[len(lead) :], ending.is_clean)
        return self._known[1]

    def _take(self, settled: int) -> list[Atom]:
        atoms = _from(self._layout.lay_out(self._section(self._tail[:settled])), self._taken)
        self._taken += _size(atoms)
        self._is_taken = True
        done, self._done = self._done, []
        return done + atoms

    def _grow(self) -> None:
        text, self._new = "".join(self._new), []
        if self._is_cr and text:
            text = "\r" + text
        self._is_cr = text.endswith("\r")
        text = text.removesuffix("\r").replace("\r\n", "\n").replace("\r", "\n")
        while text:
            known = len(self._tail)
            window = self._tail + text[: WINDOW - known]
            end = self._window_end(window, known)
            self._tail, text = window[:end], text[end - known :]
            if self._pieces >= MOST_PIECES or end == WINDOW:
                self._settle_window()

    def _window_end(self, text: str, known: int) -> int:
        """Return the end of the window that `text` begins with; the pieces before `known` are counted."""
        for piece in _PIECE.finditer(text, known):
            self._pieces += _BRACKET if piece[0] == "[" else 1
            if self._pieces >= MOST_PIECES:
                return piece.end()
        return len(text)

    def _settle_window(self) -> None:
        """Lay out the blocks of a full window that have ended; if it is all one block, its first part."""
        if not self._settle_blocks():
            lead = self._lead
            text = lead + self._tail[: self._tail.rfind("\n") + 1]
            self._settle(self._cut_line(text, len(lead)) or self._cut_within(self._tail))

    def _settle_blocks(self) -> bool:
        """Lay out the blocks and list items that have ended, and return whether there were any.

        The next window begins with the last one, so that it does not matter when this is done.
        """
        lead, complete = self._lead, self._tail[: self._tail.rfind("\n") + 1]
        if not complete:
            return False
        text = lead + complete
        starts = [line for line in parse(text).starts if line > self._context.skip]
        if starts:
            self._settle(_offset(text, starts[-1]) - len(lead), ends_block=True)
        return bool(starts)

    def _cut_line(self, text: str, lead: int) -> int:
        """Return the last place before a complete line, 0 if there is none: a header stays with its rows."""
        lines = text.split("\n")
        line = len(lines) - 2
        leaf = _last(text)
        if leaf and leaf.kind == "table" and line <= leaf.first + 2:
            line = leaf.first
        return max(0, _offset(text, line) - lead)

    def _cut_within(self, window: str) -> int:
        """Return a place in the only line of a window: between words that nothing holds together."""
        begin = window.rfind("\n") + 1
        if begin > len(window) // 2:
            return begin
        inline = inline_of(window[begin:])
        ranges = [(each.start, each.end) for each in inline.spans]
        ranges += [(each.start, each.end) for each in inline.emphasis]
        ranges += [(at, len(window)) for at, _ in inline.open]
        blanks = [each.start() for each in _BLANK.finditer(window, len(window) // 2)]
        for blank in reversed(blanks[-200:]):
            if not any(start < blank - begin < end for start, end in ranges):
                return blank
        return blanks[-1] if blanks else character_end(window, len(window) - 1)

    def _settle(self, end: int, *, ends_block: bool = False) -> None:
        """Lay out the tail up to `end` for good."""
        part, rest = self._tail[:end], self._tail[end:]
        breaks_word = not part[-1].isspace() and not rest[:1].isspace()
        section = replace(self._section(part), breaks_word=breaks_word, ends_block=ends_block)
        atoms = self._layout.lay_out(section)
        self._done += _from(atoms, self._taken)
        self._taken = max(0, self._taken - _size(atoms))
        self._context = self._after(self._lead + part)
        self._tail = rest
        self._pieces = len(_PIECE.findall(rest)) + (_BRACKET - 1) * rest.count("[")

    def _after(self, text: str) -> Section:
        """Return where the text after `text` stands: in a code block, a table, or in a line."""
        lines = text.split("\n")
        leaf = _last(text)
        head = ""
        if leaf and leaf.kind == "fence" and leaf.is_open:
            context = self._layout.code_context(leaf, lines[leaf.first])
            head = lines[leaf.first] + "\n" if leaf.end - leaf.first > 1 or not lines[-1] else ""
            head = head if len(head) <= _MOST_LEAD else context.reopen
        elif leaf and leaf.kind == "table":
            head = "\n".join(lines[leaf.first : leaf.first + 2]) + "\n"
            head = head if len(head) <= _MOST_LEAD else ""
        skip = head.count("\n")
        if not lines[-1]:
            return Section(head, skip, 0, after_blank=len(lines) < 2 or not lines[-2].strip())
        begin = quote_of(lines[-1][:100]) + "x"
        return Section(head + begin, skip, len(begin))


def _last(text: str) -> Leaf | None:
    """Return the leaf at the end of a text."""
    leaves = parse(text).leaves
    return leaves[-1] if leaves and leaves[-1].end >= text.count("\n") + (not text.endswith("\n")) else None


def _offset(text: str, line: int) -> int:
    at = 0
    for _ in range(line):
        at = text.index("\n", at) + 1
    return at


def _size(atoms: list[Atom]) -> int:
    return len("".join([atom.text for atom in atoms]))


def _from(atoms: list[Atom], taken: int) -> list[Atom]:
    """Return the atoms without their first `taken` characters."""
    if not taken:
        return atoms
    for index, atom in enumerate(atoms):
        if taken < len(atom.text):
            return [atom._replace(text=atom.text[taken:]), *atoms[index + 1 :]]
        taken -= len(atom.text)
    return []
