"""Markdown as mrkdwn, Slack's older format, which answers to commands and some blocks need. Pure.

https://docs.slack.dev/messaging/formatting-message-text
"""

import html
import re
from collections.abc import Iterator

from bot.chat import well_formed
from bot.platforms.markdown.document import Document
from bot.platforms.markdown.healing import Holds
from bot.platforms.markdown.inline import Inline
from bot.platforms.markdown.layout import Layout
from bot.platforms.markdown.links import Edit, link_edits, text_ranges
from bot.platforms.markdown.parser import Leaf

_BULLET = re.compile(r"[-*+](?=[ \t]+\Z)")
_SPECIAL = re.compile(r"[&<>]")
_WEB = ("http://", "https://", "mailto:")


def mrkdwn(markdown: str) -> str:
    """Convert Markdown to mrkdwn: bold text, links and bullets. Everything else stays and has no effect."""
    document = Document(_LAYOUT, Holds(tables=False, emphasis=0))
    document.feed(well_formed(markdown))
    return "".join(atom.text for atom in document.finish())


class _MrkdwnLayout(Layout):
    def edits(self, leaf: Leaf, inline: Inline) -> Iterator[Edit]:
        content = leaf.content
        links = {span.start: span for span in inline.spans if span.kind == "link"}
        yield from (each for each in link_edits(content, inline) if each.text != "\u200b")
        misleading = {each.start for each in link_edits(content, inline)}
        targets = list[tuple[int, int]]()
        for start, link in links.items():
            label = start + 1 + len(link.text)
            targets.append((label, link.end))
            if start not in misleading and link.address.startswith(_WEB):
                address = content[label + 2 : link.end - 1].strip().strip("<>").split()[0]
                yield Edit(start, start + 1, f"<{_escape(address)}|")
                yield Edit(label, link.end, ">")
            elif start not in misleading:
                yield from _escaped(content, label, link.end)
        pairs = {(each.start, each.end) for each in inline.emphasis if each.mark == "*"}
        for start, end in pairs:
            if (start - 1, end + 1) in pairs:
                yield Edit(start - 2, start, "*")
                yield Edit(end, end + 2, "*")
        for start, end in text_ranges(content, inline):
            yield from _escaped(content, start, end)
        for span in inline.spans:
            if span.kind not in ("link", "image", "footnote"):
                yield from _escaped(content, span.start, span.end)

    def prefix(self, leaf: Leaf, prefix: str) -> str:
        return _escape(_BULLET.sub("•", prefix) if leaf.begins_item else prefix)

    def plain(self, line: str) -> str:
        return _escape(line)

    def row(self, line: str) -> str:
        return _escape(line)

    def opening(self, leaf: Leaf, line: str) -> str:
        return _escape(line)

    def code(self, line: str, quotes: int) -> str:
        return _escape(line)


_LAYOUT = _MrkdwnLayout()


def _escape(text: str) -> str:
    return html.escape(text, quote=False)


def _escaped(content: str, start: int, end: int) -> Iterator[Edit]:
    for special in _SPECIAL.finditer(content, start, end):
        yield Edit(special.start(), special.end(), _escape(special[0]))
