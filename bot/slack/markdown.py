"""Markdown for Slack: pings are made inert, and growing answers are cut into messages. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bot.chat.text import one_line, shorten
from bot.platforms.markdown.atoms import NO_CONTEXT, Atom, Context, Place
from bot.platforms.markdown.document import Document
from bot.platforms.markdown.healing import Holds
from bot.platforms.markdown.layout import Layout, Line, Page, Section, quote_of
from bot.platforms.markdown.parser import Leaf

MESSAGE_LIMIT = 11_500
"""Characters in one message. Slack takes 12,000 in `markdown_text`
(https://docs.slack.dev/reference/methods/chat.appendStream); the rest is a margin for what it counts
differently."""

_CUT_FROM = (
    (Place.FENCE, 8_000),
    (Place.BLOCK, 10_000),
    (Place.LINE, 10_750),
    (Place.WORD, 11_000),
)
"""Sizes from which on a message ends at the next such place, because shown text cannot be removed."""

_LEAST_SIZE = min(size for _, size in _CUT_FROM)

_CLOSING_ROOM = 80
"""Characters reserved for the line that closes a code block at the end of a message."""

# markup in the text of a cell; underscores within a word or an address are not markup
_CELL_MARKUP = re.compile(r"\\(?!\|)|[`*~\[]|(?<!\w)_+|(?<=[^\W_])_++(?!\w)|&(?=#?\w{1,31};)")
_ADDRESS = re.compile(r"https?://[^\s|]+")
_PING = re.compile(r"<(?=!(?i:channel|here|everyone|group|subteam)|@[UWB][A-Z0-9])")
_UNFINISHED_PING = re.compile(r"<(?=!\w{0,8}$|@[UWB]?$|$)")
_LONGEST_PING = 12
_INVISIBLE = "\u200b"


def neutralise(text: str) -> str:
    """Return `text` with Slack's pings (`<!channel>`, `<@U…>`) made inert by an invisible character.

    Nothing else is escaped: entities would be visible inside code, and any other `<` has no meaning here.
    """
    return _PING.sub("<" + _INVISIBLE, text)


def as_data(cells: str) -> str:
    """Escape the text of table cells, so that every character is shown: values are not Markdown.

    https://docs.slack.dev/reference/block-kit/blocks/markdown-block (escaping special characters)
    """
    shown, at = [], 0
    for address in _ADDRESS.finditer(cells):
        shown += [_escape(cells[at : address.start()]), address[0]]
        at = address.end()
    return "".join([*shown, _escape(cells[at:])])


def _escape(text: str) -> str:
    return _CELL_MARKUP.sub(lambda markup: "".join(f"\\{each}" for each in markup[0]), text)


class SlackLayout(Layout):
    """Layout for `markdown_text`: Slack shows Markdown itself, so that text stays as it is written.

    Pings are made inert, table cells are data, and Slack knows no footnotes.
    """

    def lay_out(self, section: Section) -> list[Atom]:
        """Return the atoms of a section, without pings, which may not arise between two of them either."""
        atoms = super().lay_out(section)
        for index, atom in enumerate(atoms):
            if "<" in atom.text:
                is_last = index == len(atoms) - 1
                is_joined = section.breaks_word if is_last else not atoms[index + 1].text[0].isspace()
                text = neutralise(atom.text)
                atoms[index] = atom._replace(text=_break_off(text) if is_joined else text)
        return atoms

    def table(self, leaf: Leaf, page: Page) -> Iterator[Line]:
        """Yield the rows of a table; a header that is shown before it is known as one stays text."""
        lines = super().table(leaf, page)
        header = page.lines[leaf.first]
        text = header[len(quote_of(header)) :].strip()
        if leaf.first >= page.section.skip and not text.startswith("|"):
            next(lines)
            yield from self.text(replace(leaf, kind="paragraph", end=leaf.first + 1, content=text), page)
        yield from lines

    def row(self, line: str) -> str:
        """Return a row with its cells as data."""
        quote = quote_of(line)
        return neutralise(quote + as_data(line[len(quote) :]))

    def code_context(self, leaf: Leaf, line: str) -> Context:
        """Return how a cut closes and opens a code block again, without pings."""
        context = super().code_context(leaf, line)
        return replace(context, reopen=neutralise(context.reopen))


_LAYOUT = SlackLayout()
_HOLDS = Holds(tables=False, emphasis=200)


@dataclass(frozen=True, slots=True)
class PageBreak:
    """End of a message: `close` ends its code block or table, `reopen` continues it in the next message."""

    close: str = ""
    reopen: str = ""


class Pager:
    """Cuts a growing answer into messages; a cut is never changed later.

    Text and cuts do not depend on how the answer is divided over calls of `feed`. The joined text is the
    whole answer as `SlackLayout` shows it; what a cut adds is kept apart. `source` is the input, in pieces:
    cut again, it gives the same result.
    """

    def __init__(self) -> None:
        self.source: list[str] = []
        self._document = Document(_LAYOUT, _HOLDS)
        self._size = 0
        self._last = Atom("\n", Place.CHARACTER)
        self._cut_soon = False

    def feed(self, text: str) -> None:
        """Add the next piece."""
        self.source.append(text)
        self._document.feed(text)

    def take(self) -> list[str | PageBreak]:
        """Return what can be shown now and was not returned before, in order.

        An unfinished end is held back: a word, an open mark, a line that may become a table.
        """
        return self._emit_all(self._document.take())

    def flush(self) -> list[str | PageBreak]:
        """Return the unfinished end, too: something else is shown before the answer continues."""
        if _UNFINISHED_PING.search("".join(self.source[-_LONGEST_PING:])):
            self.feed(_INVISIBLE)  # what is cut again later must not depend on where this was shown
        atoms, added = self._document.flush()
        if added:
            self.source.append(added)
        return self._emit_all(atoms)

    def finish(self) -> list[str | PageBreak]:
        """End the answer; return the rest."""
        return self._emit_all(self._document.finish())

    def paragraph(self, text: str) -> list[str | PageBreak]:
        """Add `text` as a separate paragraph, even inside a code block."""
        items = self.flush()
        lead = self._closing(self._document.open_code()) + "\n\n" if self._size else ""
        self.feed(f"{lead}{text.strip()}\n\n")
        return [*items, *self.take()]

    def cut_soon(self) -> None:
        """End this message at the next place that breaks no word and no line of code."""
        self._cut_soon = True

    def cut(self) -> PageBreak:
        """End this message here."""
        if self._last.place is Place.FENCE:  # its line is not complete
            return self._cut(self._document.open_code())
        is_closed = self._last.place is Place.CLOSING
        context = NO_CONTEXT if is_closed or self._last.context.is_table else self._last.context
        return self._cut(context)

    def _cut(self, context: Context) -> PageBreak:
        cut = PageBreak(self._closing(context), context.reopen)
        self._size = len(cut.reopen)
        self._cut_soon = False
        return cut

    def _closing(self, context: Context) -> str:
        if not context.close:
            return ""
        return ("" if self._last.text.endswith("\n") else "\n") + context.close

    def _emit_all(self, atoms: list[Atom]) -> list[str | PageBreak]:
        if not atoms:
            return []
        text = "".join([atom.text for atom in atoms])
        if self._size + len(text) < _LEAST_SIZE and not self._cut_soon:
            self._size += len(text)
            self._last = atoms[-1]
            return [text]
        items, shown = list[str | PageBreak](), list[str]()
        for atom in atoms:
            if self._is_full(atom):
                items += ["".join(shown)] if shown else []
                items.append(self._cut(atom.context))
                shown = []
            shown.append(atom.text)
            self._size += len(atom.text)
            self._last = atom
        return [*items, "".join(shown)] if shown else items

    def _is_full(self, atom: Atom) -> bool:
        if self._size + len(atom.text) + _CLOSING_ROOM > MESSAGE_LIMIT:
            return True
        if (self._size < _LEAST_SIZE and not self._cut_soon) or atom.place < Place.WORD:
            return False
        return self._cut_soon or any(atom.place >= place and self._size >= size for place, size in _CUT_FROM)


def _break_off(word: str) -> str:
    """Return `word`, changed so that following text cannot turn its end into a ping."""
    return _UNFINISHED_PING.sub("<" + _INVISIBLE, word)


@dataclass(frozen=True, slots=True)
class Sheet:
    """The text of one message."""

    reopen: str
    body: str
    close: str

    @property
    def text(self) -> str:
        """Return all that the message shows."""
        return self.reopen + self.body + self.close


def clip(text: str, limit: int) -> str:
    """Return `text` on one line, neutralised, in at most `limit` characters."""
    return shorten(neutralise(one_line(text[: 4 * limit])), limit)


def paginate(text: str) -> list[Sheet]:
    """Cut a complete answer into messages."""
    pager = Pager()
    sheets, reopen, body = list[Sheet](), "", ""
    pager.feed(text)
    for item in [*pager.take(), *pager.finish(), PageBreak()]:
        if isinstance(item, str):
            body += item
            continue
        sheets.append(Sheet(reopen, body, item.close))
        reopen, body = item.reopen, ""
    return [sheet for sheet in sheets if sheet.body.strip()]
