"""Messages of a growing answer on Discord; cuts do not move while the answer grows. Pure."""

from collections.abc import Iterable
from copy import copy

from bot.discord.markdown.layout import DiscordLayout
from bot.platforms.markdown.atoms import NO_CONTEXT, Atom, Context, Place, character_end
from bot.platforms.markdown.document import Document
from bot.platforms.markdown.healing import Holds

LIMIT = 2_000
"""Characters that Discord takes in a message."""

_LEAST_PART = 64
"""Fewest characters of a divided word at the end of a piece."""

_LAYOUT = DiscordLayout()
_HOLDS = Holds(tables=True, emphasis=1_000)


def open_document() -> Document:
    """Return an empty document that is laid out for Discord."""
    return Document(_LAYOUT, _HOLDS)


def render(text: str) -> list[Atom]:
    """Lay out a complete text; a code block that is open at its end is closed."""
    document = open_document()
    document.feed(text)
    return finish(document)


def finish(document: Document) -> list[Atom]:
    """End a text; return the rest, with the end of an open code block."""
    atoms = document.finish()
    code = document.open_code()
    if code.is_code:
        is_line = not atoms or atoms[-1].text == "\n"
        atoms.append(Atom(code.close if is_line else "\n" + code.close, Place.CLOSING, code))
    return atoms


def split(text: str, limit: int = LIMIT) -> list[str]:
    """Return the messages that show a text, of at most `limit` characters."""
    pages = Pages(limit)
    pages.add(render(text))
    return pages.texts()


class Pages:
    """Cuts atoms into pieces of at most `limit` characters (200 or more), none of them blank.

    Whitespace at a cut is dropped, and nothing else, except the indentation of a list item. A cut never goes
    through a word, inline code, a link or a code block that fits in one piece; a longer block is closed
    before the cut and opened again after it, and so are a quote and emphasised text.

    A cut depends only on the atoms up to the first one that does not fit. So as the text grows, all pieces
    except the last stay unchanged.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._texts: list[str] = []
        self._head = ""
        self._atoms: list[Atom] = []
        self._size = 0  # of the head and the atoms
        self._opened = NO_CONTEXT  # what the latest cut went through

    def add(self, atoms: Iterable[Atom]) -> None:
        """Add the next atoms."""
        for atom in atoms:
            self._add(atom)

    def texts(self, tentative: Iterable[Atom] = ()) -> list[str]:
        """Return the pieces; the last one may still grow, and ends with `tentative` if that fits."""
        grown = copy(self)
        grown._texts, grown._atoms = list(self._texts), list(self._atoms)
        grown.add(tentative)
        if len(grown._texts) > len(self._texts):
            grown = self
        last = grown._last()
        return [*grown._texts, last] if last else list(grown._texts)

    def _last(self) -> str:
        """Return the piece that may still grow, with its code block closed."""
        text = self._head + "".join(atom.text for atom in self._atoms)
        if not self._atoms or not _has_ink(self._atoms):
            return ""
        atom = self._atoms[-1]
        is_open = atom.context.is_code and atom.place is not Place.CLOSING
        return f"{text.rstrip()}\n{atom.context.close}" if is_open else text.rstrip()

    def _add(self, atom: Atom) -> None:
        is_blank = not atom.text.strip()
        if not self._atoms:
            continues_code = atom.context.is_code and atom.context == self._opened
            if is_blank and (not continues_code or atom.text == "\n"):
                return  # a piece begins with ink
            self._head = atom.context.reopen if self._texts else ""
            self._size = len(self._head)
        if is_blank and self._size > 2 * self._limit:
            return  # whitespace that no piece has room for
        if not is_blank and self._size + len(atom.text.rstrip()) + _room(atom) > self._limit:
            self._cut(atom)
            return
        self._atoms.append(atom)
        self._size += len(atom.text)

    def _cut(self, atom: Atom) -> None:
        """End the piece at the best place before `atom`, which does not fit, and add the rest again."""
        atoms = [*self._atoms, atom]
        at = self._best(atoms)
        if at == 0:
            self._divide(atom)
            return
        self._end(atoms[:at], atoms[at].context)
        self.add(atoms[at:])

    def _divide(self, atom: Atom) -> None:
        """Cut before or through an atom that nothing better comes before."""
        room = self._limit - self._size - _room(atom)
        if room < _LEAST_PART and self._atoms:
            self._end(self._atoms, atom.context)
            self._add(atom)
            return
        end = character_end(atom.text, room)
        self._end([*self._atoms, atom._replace(text=atom.text[:end])], atom.context)
        self._add(atom._replace(text=atom.text[end:], place=Place.CHARACTER))

    def _end(self, atoms: list[Atom], context: Context) -> None:
        text = (self._head + "".join(each.text for each in atoms)).rstrip()
        self._texts.append(f"{text}\n{context.close}" if context.is_code else text + context.close)
        self._opened = context
        self._head, self._atoms, self._size = "", [], 0

    def _best(self, atoms: list[Atom]) -> int:
        """Return the atom that begins the next piece, 0 if none can."""
        code = atoms[-1].context if atoms[-1].context.is_code else None
        sizes, inside = self._sizes(atoms), 0
        if code:
            inside = _begin(atoms, code)
            if inside > 1 and _has_ink(atoms[: inside - 1]):
                return inside - 1  # before the line that opens the block
        for least in (self._limit // 2, sizes[inside] if code else 0):
            found, best = 0, Place.WITHIN
            for index in range(inside + 1, len(atoms)):
                atom = atoms[index]
                place = min(atom.place, Place.BLOCK)
                is_whole = atom.context.is_code and not code
                if place < best or is_whole or sizes[index] <= least:
                    continue
                if sizes[index] + _room(atom) <= self._limit:
                    found, best = index, place
            if found:
                return found
        return 0

    def _sizes(self, atoms: list[Atom]) -> list[int]:
        """Return the size of the piece that ends before each atom, without blanks at its end; 0 if blank."""
        sizes, size, inked = list[int](), len(self._head), 0
        for atom in atoms:
            sizes.append(inked)
            size += len(atom.text)
            inked = size if atom.text.strip() else inked
        return sizes


def _begin(atoms: list[Atom], code: Context) -> int:
    """Return the first atom of the code block that the last one is in."""
    begin = len(atoms) - 1
    while begin > 0 and atoms[begin - 1].context == code and atoms[begin - 1].place is not Place.CLOSING:
        begin -= 1
    return begin


def _has_ink(atoms: Iterable[Atom]) -> bool:
    return any(atom.text.strip() for atom in atoms)


def _room(atom: Atom) -> int:
    """Return the characters that close the markup before an atom; its code block, if it is cut there."""
    if atom.place is Place.CLOSING:
        return 0
    return len(atom.context.close) + atom.context.is_code
