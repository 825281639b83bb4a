"""Markdown for Slack: nobody is pinged, and long answers are cut into messages as they grow. Pure."""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from bot.chat import well_formed
from bot.chat.text import one_line, shorten
from bot.platforms.markdown_blocks import Blocks

MESSAGE_LIMIT = 11_500
"""Characters in one message. Slack takes 12,000 in `markdown_text`
(https://docs.slack.dev/reference/methods/chat.appendStream); the rest is for what it counts differently."""

_AFTER_PARAGRAPH = 10_000
_AFTER_LINE = 10_750
_BEFORE_FENCE = 8_000
"""From these sizes on a message ends at the next such place, because shown text cannot be taken back."""

_CLOSING_ROOM = 80
"""For the line that closes a code block at the end of a message."""

_WORD_LIMIT = 2_000
"""Longer runs without a space may be cut: a word is kept back until it ends, but not for ever."""

# Chinese, Japanese and Korean are written without spaces: each of their characters is a word here
_WIDE = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef"
_PIECE = re.compile(rf"\s|[{_WIDE}]|[^\s{_WIDE}]{{1,{_WORD_LIMIT}}}")

_LEAD = "> \t\r\n"
_CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.DOTALL)
_BULLET = re.compile(r"^([ \t]*+)[-*] ", re.MULTILINE)
_BOLD = re.compile(r"\*\*([^\n*]++(?:\*[^\n*]++)*+)\*\*")
_LINK = re.compile(r"\[([^\[\]\n]+)\]\((https?://(?:[^()\s]|\([^()\s]*\))+)\)")

# what would format the text of a cell. Underscores within a word, and an address, mean nothing else
_CELL_MARKUP = re.compile(r"\\(?!\|)|[`*~\[]|(?<!\w)_+|(?<=[^\W_])_++(?!\w)|&(?=#?\w{1,31};)")
_ADDRESS = re.compile(r"https?://[^\s|]+")
_PING = re.compile(r"<(?=!(?i:channel|here|everyone|group|subteam)|@[UWB][A-Z0-9])")
_UNFINISHED_PING = re.compile(r"<(?=!\w{0,8}$|@[UWB]?$|$)")
_INVISIBLE = "\u200b"


def neutralise(text: str) -> str:
    """`text` with Slack's pings (`<!channel>`, `<@U…>`) made inert by an invisible character.

    Entities would show inside code, so nothing else is escaped: other `<` mean nothing to Slack here.
    """
    return _PING.sub("<" + _INVISIBLE, text)


def mrkdwn(markdown: str) -> str:
    """Simple Markdown (bold, links, lists, code) in the older format that answers to commands take.

    https://docs.slack.dev/messaging/formatting-message-text
    """
    text = html.escape(well_formed(markdown), quote=False)
    return "".join(part if part.startswith("`") else _prose(part) for part in _CODE.split(text))


def _prose(text: str) -> str:
    text = _BULLET.sub(r"\1• ", text)
    text = _BOLD.sub(r"*\1*", text)
    return _LINK.sub(r"<\2|\1>", text)


def as_data(cells: str) -> str:
    """The text of table cells so that every character of it is shown: values are not Markdown.

    https://docs.slack.dev/reference/block-kit/blocks/markdown-block (escaping special characters)
    """
    shown, at = [], 0
    for address in _ADDRESS.finditer(cells):
        shown += [_escaped(cells[at : address.start()]), address[0]]
        at = address.end()
    return "".join([*shown, _escaped(cells[at:])])


def _escaped(text: str) -> str:
    return _CELL_MARKUP.sub(lambda markup: "".join(f"\\{each}" for each in markup[0]), text)


@dataclass(frozen=True, slots=True)
class Cut:
    """Here one message ends with `close` and the next begins with `reopen`: a code block or table goes on."""

    close: str = ""
    reopen: str = ""


class Pager:
    """Cuts a growing answer into messages, deciding only forwards.

    However the answer is divided over calls of `feed`, the text that comes out and its cuts are the
    same. The text that comes out joined is the whole answer, neutralised, with the cells of tables as data;
    what a cut adds is apart from it. The last word is kept back until it is complete, so that no cut falls
    into it. `source` is what was fed, in pieces: cut again, it gives the same.
    """

    def __init__(self) -> None:
        self.source: list[str] = []
        self._held = ""
        self._size = 0
        self._blocks = Blocks()
        self._line = ""  # what has come out of the current line, as far as it is in this message
        self._last = "\n"
        self._line_begins = True
        self._paragraph_begins = True
        self._is_lead = True  # the line has no more than marks of a quote yet
        self._is_row = False
        self._cut_soon = False

    def feed(self, text: str) -> list[str | Cut]:
        """Take the next piece; what can be shown by now comes out, in order."""
        self.source.append(text)
        pieces = _PIECE.findall(self._held + text)
        complete = not pieces or pieces[-1].isspace() or len(pieces[-1]) >= _WORD_LIMIT
        self._held = "" if complete else pieces.pop()
        return self._emit_all(pieces)

    def flush(self) -> list[str | Cut]:
        """Give out the last word too: the answer ends here, or something else is shown before it goes on."""
        word, self._held = self._held, ""
        return self._emit_all([_break_off(word)] if word else [])

    def paragraph(self, text: str) -> list[str | Cut]:
        """Take `text` as a paragraph of its own, even in the midst of a code block."""
        items = self.flush()
        lead = self._closing() + "\n\n" if self._size else ""
        return [*items, *self.feed(f"{lead}{text.strip()}\n\n")]

    def cut_soon(self) -> None:
        """End this message at the next place that breaks no word and no line of code."""
        self._cut_soon = True

    def cut(self, following: str = "") -> Cut:
        """End this message here; `following` is what the next one begins with, if that is known."""
        fence = self._blocks.fence_after(self._line)
        if fence:
            cut = Cut(self._closing(), neutralise(fence.opening))
        elif self._line_begins:
            cut = Cut("", neutralise(as_data(self._blocks.table_head(following))))
        else:
            cut = Cut("", self._blocks.quote(self._line))
        self._blocks.fence = fence
        self._line = "" if fence or self._line_begins else cut.reopen
        self._size = len(cut.reopen)
        self._cut_soon = False
        return cut

    def _emit_all(self, pieces: list[str]) -> list[str | Cut]:
        items: list[str | Cut] = []
        for item in (item for piece in pieces for item in self._emit(piece)):
            if items and isinstance(item, str) and isinstance(items[-1], str):
                items[-1] += item
            else:
                items.append(item)
        return items

    def _emit(self, piece: str) -> Iterator[str | Cut]:
        if self._is_lead and piece.strip(_LEAD):
            self._is_lead, self._is_row = False, self._blocks.is_row(self._line + piece)
        shown = neutralise(as_data(piece) if self._is_row else piece)
        if len(piece) >= _WORD_LIMIT:
            shown = _break_off(shown)
        if self._is_full(piece, shown):
            yield self.cut(piece)
        yield shown
        self._size += len(shown)
        self._last = shown[-1]
        self._track(piece)

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
    """`word` so that what follows it cannot make a ping of its end."""
    return _UNFINISHED_PING.sub("<" + _INVISIBLE, word)


@dataclass(frozen=True, slots=True)
class Sheet:
    """The text of one message."""

    reopen: str
    body: str
    close: str

    @property
    def text(self) -> str:
        """What the message shows."""
        return self.reopen + self.body + self.close


def clipped(text: str, limit: int) -> str:
    """`text` on one line, neutralised, in at most `limit` characters."""
    return shorten(neutralise(one_line(text[: 4 * limit])), limit)


def paginate(text: str) -> list[Sheet]:
    """Cut a complete answer into messages."""
    pager = Pager()
    sheets, reopen, body = list[Sheet](), "", ""
    for item in [*pager.feed(text), *pager.flush(), Cut()]:
        if isinstance(item, str):
            body += item
            continue
        sheets.append(Sheet(reopen, body, item.close))
        reopen, body = item.reopen, ""
    return [sheet for sheet in sheets if sheet.body.strip()]
