"""Markdown for Slack: pings are made inert, and growing answers are cut into messages. Pure."""

import html
import re
from dataclasses import dataclass

from bot.chat import well_formed
from bot.chat.text import one_line, shorten
from bot.platforms.markdown_blocks import Blocks

MESSAGE_LIMIT = 11_500
"""Characters in one message. Slack takes 12,000 in `markdown_text`
(https://docs.slack.dev/reference/methods/chat.appendStream); the rest is a margin for what it counts
differently."""

_AFTER_PARAGRAPH = 10_000
_AFTER_LINE = 10_750
_BEFORE_FENCE = 8_000
"""From these sizes on a message ends at the next such place, because shown text cannot be removed."""

_CLOSING_ROOM = 80
"""Characters reserved for the line that closes a code block at the end of a message."""

_WORD_LIMIT = 2_000
"""Longer runs without a space may be cut: a word is held back until it ends, up to this length."""

# Chinese, Japanese and Korean are written without spaces: each of their characters is a word here
_WIDE = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef"
_PIECE = re.compile(rf"\s|[{_WIDE}]|[^\s{_WIDE}]{{1,{_WORD_LIMIT}}}")

_LEAD = "> \t\r\n"
_CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.DOTALL)
_BULLET = re.compile(r"^([ \t]*+)[-*] ", re.MULTILINE)
_BOLD = re.compile(r"\*\*([^\n*]++(?:\*[^\n*]++)*+)\*\*")
_LINK = re.compile(r"\[([^\[\]\n]+)\]\((https?://(?:[^()\s]|\([^()\s]*\))+)\)")

# markup in the text of a cell; underscores within a word or an address are not markup
_CELL_MARKUP = re.compile(r"\\(?!\|)|[`*~\[]|(?<!\w)_+|(?<=[^\W_])_++(?!\w)|&(?=#?\w{1,31};)")
_ADDRESS = re.compile(r"https?://[^\s|]+")
_PING = re.compile(r"<(?=!(?i:channel|here|everyone|group|subteam)|@[UWB][A-Z0-9])")
_UNFINISHED_PING = re.compile(r"<(?=!\w{0,8}$|@[UWB]?$|$)")
_INVISIBLE = "\u200b"


def neutralise(text: str) -> str:
    """Return `text` with Slack's pings (`<!channel>`, `<@U…>`) made inert by an invisible character.

    Nothing else is escaped: entities would be visible inside code, and any other `<` has no meaning here.
    """
    return _PING.sub("<" + _INVISIBLE, text)


def mrkdwn(markdown: str) -> str:
    """Convert simple Markdown (bold, links, lists, code) to mrkdwn, which answers to commands need.

    https://docs.slack.dev/messaging/formatting-message-text
    """
    text = html.escape(well_formed(markdown), quote=False)
    return "".join(part if part.startswith("`") else _prose(part) for part in _CODE.split(text))


def _prose(text: str) -> str:
    text = _BULLET.sub(r"\1• ", text)
    text = _BOLD.sub(r"*\1*", text)
    return _LINK.sub(r"<\2|\1>", text)


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


@dataclass(frozen=True, slots=True)
class PageBreak:
    """End of a message: `close` ends its code block or table, `reopen` continues it in the next message."""

    close: str = ""
    reopen: str = ""


class Pager:
    """Cuts a growing answer into messages; a cut is never changed later.

    Text and cuts do not depend on how the answer is divided over calls of `feed`. The joined text is the
    whole answer, neutralised, with table cells as data; what a cut adds is kept apart. The last word is held
    back until it is complete, so that no cut goes through it. `source` is the input, in pieces: cut again, it
    gives the same result.
    """

    def __init__(self) -> None:
        self.source: list[str] = []
        self._rest = ""
        self._size = 0
        self._blocks = Blocks()
        self._line = ""  # the part of the current line that is in this message
        self._last = "\n"
        self._line_begins = True
        self._paragraph_begins = True
        self._is_lead = True  # the line has only quote marks so far
        self._is_row = False
        self._cut_soon = False

    def feed(self, text: str) -> list[str | PageBreak]:
        """Add the next piece; return what can be shown now, in order."""
        self.source.append(text)
        pieces = _PIECE.findall(self._rest + text)
        complete = not pieces or pieces[-1].isspace() or len(pieces[-1]) >= _WORD_LIMIT
        self._rest = "" if complete else pieces.pop()
        return self._emit_all(pieces)

    def flush(self) -> list[str | PageBreak]:
        """Return the last word, too: the answer ends, or something else is shown before it continues."""
        word, self._rest = self._rest, ""
        broken_off = _break_off(word)
        if broken_off != word:  # what is cut again later must not depend on where this was shown
            self.source = ["".join(self.source).removesuffix(word) + broken_off]
        return self._emit_all([broken_off] if word else [])

    def paragraph(self, text: str) -> list[str | PageBreak]:
        """Add `text` as a separate paragraph, even inside a code block."""
        items = self.flush()
        lead = self._closing() + "\n\n" if self._size else ""
        return [*items, *self.feed(f"{lead}{text.strip()}\n\n")]

    def cut_soon(self) -> None:
        """End this message at the next place that breaks no word and no line of code."""
        self._cut_soon = True

    def cut(self, next_text: str = "") -> PageBreak:
        """End this message here; `next_text` is the beginning of the next one, if it is known."""
        fence = self._blocks.fence_after(self._line)
        if fence:
            cut = PageBreak(self._closing(), neutralise(fence.opening))
        elif self._line_begins:
            cut = PageBreak("", neutralise(as_data(self._blocks.table_head(next_text))))
        else:
            cut = PageBreak("", self._blocks.quote(self._line))
        self._blocks.fence = fence
        self._line = "" if fence or self._line_begins else cut.reopen
        self._size = len(cut.reopen)
        self._cut_soon = False
        return cut

    def _emit_all(self, pieces: list[str]) -> list[str | PageBreak]:
        items, shown = list[str | PageBreak](), list[str]()
        for piece in pieces:
            text = self._inert(piece)
            if self._is_full(piece, text):
                items += ["".join(shown), self.cut(piece)] if shown else [self.cut(piece)]
                shown = []
            shown.append(text)
            self._size += len(text)
            self._last = text[-1]
            self._track(piece)
        return [*items, "".join(shown)] if shown else items

    def _inert(self, piece: str) -> str:
        """Return a piece as it is shown."""
        if piece in _LEAD:
            return piece
        if self._is_lead and piece.strip(_LEAD):
            self._is_lead, self._is_row = False, self._blocks.is_row(self._line + piece)
        shown = neutralise(as_data(piece) if self._is_row else piece)
        return _break_off(shown) if len(piece) >= _WORD_LIMIT else shown

    def _is_full(self, piece: str, shown: str) -> bool:
        if self._size + len(shown) + _CLOSING_ROOM > MESSAGE_LIMIT:
            return True
        if piece.isspace():
            return False
        if not self._line_begins:
            return self._cut_soon and self._may_break_line()
        if self._blocks.table_begins:
            return False
        if self._cut_soon or self._size >= _AFTER_LINE:
            return True
        if self._blocks.fence:
            return False
        if piece.startswith(("```", "~~~")):
            return self._size >= _BEFORE_FENCE
        return self._size >= _AFTER_PARAGRAPH and self._paragraph_begins

    def _may_break_line(self) -> bool:
        return not (self._blocks.fence_after(self._line) or self._blocks.is_table(self._line))

    def _track(self, piece: str) -> None:
        if piece == "\n":
            self._blocks.end_line(self._line)
            self._line, self._is_lead, self._is_row = "", True, False
            self._paragraph_begins = self._line_begins
            self._line_begins = True
            return
        self._line += piece
        if not piece.isspace():
            self._line_begins = self._paragraph_begins = False

    def _closing(self) -> str:
        fence = self._blocks.fence_after(self._line)
        return ("" if self._last == "\n" else "\n") + fence.closing if fence else ""


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
    for item in [*pager.feed(text), *pager.flush(), PageBreak()]:
        if isinstance(item, str):
            body += item
            continue
        sheets.append(Sheet(reopen, body, item.close))
        reopen, body = item.reopen, ""
    return [sheet for sheet in sheets if sheet.body.strip()]
