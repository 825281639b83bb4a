"""Layout of Markdown for Discord, which shows less of it than models write.

It has one fence (three backticks, closed by the next three anywhere), three levels of headings, no tables, no
nested quotes, no task lists, no images, and no entities: https://support.discord.com/hc/en-us/articles/210298617
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from bot.discord.markdown.tables import align
from bot.platforms.markdown.atoms import NO_CONTEXT, Atom, Context, Place
from bot.platforms.markdown.inline import Inline
from bot.platforms.markdown.layout import Layout, Line, Page, quote_of
from bot.platforms.markdown.links import Edit, link_edits, text_ranges
from bot.platforms.markdown.parser import Leaf

_BACKTICKS = re.compile(r"`{3,}")
# bars would hide the text between them; Discord shows a line break tag as text
_SPECIAL = re.compile(r"(?P<bars>\|{2,})|<br ?/?>|(?P<ticks>`{3,})", re.IGNORECASE)
_BOLD = re.compile(r"\*{2,}")
_TASK = re.compile(r"\[([ xX])\](?=\s|\Z)")
_QUOTES = re.compile(r">(?:[ \t]?>)+")
_NUMBER = re.compile(r"(\d{1,9})\)(?=[ \t]*\Z)")
_PLUS = re.compile(r"\+(?=[ \t]*\Z)")
_RULE = "─" * 12
_PUNCTUATION = frozenset("\\`*_~|<>[]()#-+.@:")

_NESTED_ITEM = re.compile(r"[ \t]{1,40}(?:[-*+•☐☑]|\d{1,9}[.)])[ \t]+")
_ABOVE_INDENTATION = "\u200b\n"
"""Discord trims a message, and a nested item at its beginning would become an item of the first level."""

_DEEPEST_HEADING = 3
_MOST_INDENTATION = 12


class DiscordLayout(Layout):
    """Layout in Discord's own Markdown."""

    reopens_emphasis = True

    def text(self, leaf: Leaf, page: Page) -> Iterator[Line]:
        """Yield the lines of a paragraph, a heading or a rule."""
        for atoms, after in super().text(leaf, page):
            first = atoms[0] if atoms else None
            if first and first.place > Place.CHARACTER and _NESTED_ITEM.fullmatch(first.text):
                context = replace(first.context, reopen=_ABOVE_INDENTATION)
                atoms[0] = first._replace(context=context)
            for index, atom in enumerate(atoms):
                if atom.text == "\n":  # a line that a tag has broken
                    atoms[index] = atom._replace(text="\n" + self.quote(atom.context.reopen))
            yield atoms, after

    def edits(self, leaf: Leaf, inline: Inline) -> Iterable[Edit]:
        """Yield the changes to a text: Discord's own marks are made inert, and what it lacks is replaced."""
        content, is_deep = leaf.content, _is_deep(leaf)
        yield from link_edits(content, inline)
        yield from (Edit(at, at + len(mark), "") for at, mark in inline.excess)
        for span in inline.spans:
            if span.kind == "entity":
                yield Edit(span.start, span.end, "\\" * (span.text in _PUNCTUATION) + span.text)
            elif span.kind == "escape" and content.startswith("\n", span.start + 1):
                yield Edit(span.start, span.start + 1, "")  # a line break
        task = _TASK.match(content) if leaf.begins_item else None
        if task:
            yield Edit(0, task.end(), "☐" if task[1] == " " else "☑")
        for start, end in text_ranges(content, inline):
            for special in _SPECIAL.finditer(content, start, end):
                yield Edit(special.start(), special.end(), _inert(special))
            if is_deep:
                marks = _BOLD.finditer(content, start, end)
                yield from (Edit(mark.start(), mark.end(), "") for mark in marks)

    def prefix(self, leaf: Leaf, prefix: str) -> str:
        """Return the marks before the text of a line, as Discord knows them."""
        if _is_deep(leaf):
            prefix = prefix[: prefix.index("#")] + "**"
        prefix = _QUOTES.sub(">", prefix)
        return _PLUS.sub("-", _NUMBER.sub(r"\1.", prefix)) if leaf.begins_item else prefix

    def suffix(self, leaf: Leaf, suffix: str) -> str:
        """Return what stands behind a text: a deep heading ends as bold text."""
        return "**" if _is_deep(leaf) else suffix

    def quote(self, marks: str) -> str:
        """Return the marks of the only level of quotes that there is."""
        return "> " if ">" in marks else ""

    def plain(self, line: str) -> str:
        """Return a line without text of a paragraph."""
        return _QUOTES.sub(">", line, count=1)

    def rule(self, line: str) -> str:
        """Return a line that divides two parts."""
        return line[: len(quote_of(line))] + _RULE

    def opening(self, leaf: Leaf, line: str) -> str:
        """Return the line that opens a code block."""
        return self.prefix(leaf, line[: line.index(leaf.mark)]) + "```" + _language(leaf)

    def code(self, line: str, quotes: int) -> str:
        """Return a line of code without three backticks in a row: they would end the block."""
        if quotes > 1:
            line = re.sub(rf"\A(?:[ \t]*+>){{1,{quotes}}}[ \t]?", "> ", line)
        return _harmless(line)

    def closing(self, leaf: Leaf, line: str) -> str:
        """Return the line that closes a code block."""
        return self.plain(line[: line.index(leaf.mark)]) + "```"

    def code_context(self, leaf: Leaf, line: str) -> Context:
        """Return how a cut closes and opens a code block again."""
        lead = self.quote(quote_of(line)) or " " * min(line.index(leaf.mark), _MOST_INDENTATION)
        return Context(f"{lead}```", f"{lead}```{_language(leaf)}\n", is_code=True)

    def end(self, leaf: Leaf, page: Page) -> None:
        """Close a code block that has ended with the quote or the list item around it."""
        has_ended = leaf.end < len(page.lines) or page.section.ends_block
        if leaf.kind == "fence" and leaf.is_open and has_ended:
            page.add_line([Atom(self.code_context(leaf, page.lines[leaf.first]).close, Place.CHARACTER)])

    def table(self, leaf: Leaf, page: Page) -> Iterator[Line]:
        """Yield the lines of a table, aligned in a code block."""
        assert leaf.table
        source = page.lines[leaf.first]
        quote = self.quote(quote_of(source))
        context = Context(f"{quote}```", f"{quote}```\n", is_code=True)
        place = Place.FENCE if page.section.skip == 0 else Place.TOP_LINE
        yield [Atom(f"{quote}```", place)], context
        aligned = align(leaf.table)
        rows = page.lines[leaf.first : leaf.end]
        for line in aligned or [row[len(quote_of(row)) :] for row in rows]:
            yield [Atom(quote + _harmless(line), Place.LINE, context)], context
        yield [Atom(f"{quote}```", Place.CLOSING, context)], NO_CONTEXT


def _harmless(code: str) -> str:
    return _BACKTICKS.sub(lambda run: "\u200b".join(run.group()), code)


def _is_deep(leaf: Leaf) -> bool:
    is_deep = leaf.kind == "heading" and leaf.level > _DEEPEST_HEADING
    return is_deep and bool(_BOLD.sub("", leaf.content).strip())


def _language(leaf: Leaf) -> str:
    name = leaf.info.strip().split(" ")[0]
    return name if len(name) <= 40 and "`" not in name else ""


def _inert(special: re.Match[str]) -> str:
    if special["bars"]:
        return r"\|" * len(special["bars"])
    if special["ticks"]:
        return "\u200b".join(special["ticks"])
    return "\n"
