"""Names of threads: a short title from the question. Pure."""

import re
from unicodedata import combining

from bot.chat import Message, is_hook
from bot.chat.text import is_invisible
from bot.discord.texts import QUESTION, question_from

LONGEST = 60
"""Most characters of a title, of the 100 that Discord takes; more is cut off on screen."""

_MOST_UNITS = 100
"""Most UTF-16 units, in case Discord counts an emoji twice."""

_READ = 2_000
"""Characters of a question in which a title is looked for."""

_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_SPOILER = re.compile(r"\|\|[^|\n]{1,500}\|\|")
_LINK = re.compile(r"\[([^\[\]\n]{1,200})\]\([^()\s]{1,500}\)")
_ID = re.compile(r"<(?:[@#/:]|a:|t:|id:|https?:)[^<>\n]{0,500}>")
"""Mentions, emoji of a server, times and hidden links: ids that say nothing on screen."""

_ADDRESS = re.compile(r"https?://\S+")
_ADDED = re.compile(r"^\[(?:sticker: .*|voice message of \d+ seconds)\]$", re.MULTILINE)
_LINE_MARK = re.compile(r"^[ \t]*(?:#{1,3}|-#|>{1,3}|[-*+])[ \t]+", re.MULTILINE)
_MARK = re.compile(r"[*`]+|~~+|\|\|+|(?<!\w)_+|(?<!_)_+(?!\w)|(?<![\w@])@+(?=\w)")
_JOINERS = "\u200c\u200d\ufe0f"
"""Invisible characters within words of some languages, and within emoji."""


def thread_name(question: Message) -> str:
    """Return the name of the thread for a question, 1 to 60 characters."""
    if is_hook(question.author):  # its text is the same each time: the operator's instructions
        delivered = question.quotes[0].text if question.quotes else ""
        return (not delivered.startswith(("{", "[")) and title_of(delivered)) or question.author_name
    if title := title_of(question.text):
        return title
    author = title_of(question.author_name)
    return _cut(question_from(author)) if author else QUESTION


def title_of(text: str) -> str:
    """Return the first words of a text on one line, without markup; nothing if it has no words."""
    text = text[:_READ]
    for pattern in (_CODE, _SPOILER, _ADDED):
        text = pattern.sub(" ", text)
    text = _LINK.sub(r"\1", text)
    for pattern in (_ID, _ADDRESS):
        text = pattern.sub(" ", text)
    text = _MARK.sub("", _LINE_MARK.sub("", text))
    seen = "".join(" " if is_invisible(each) and each not in _JOINERS else each for each in text)
    title = " ".join(seen.split())
    return _cut(title) if any(map(str.isalnum, title)) else ""


def _cut(title: str) -> str:
    """Return at most `LONGEST` characters, cut between words; within one only if it is very long."""
    most = LONGEST
    if len(title[:most].encode("utf-16-le", "replace")) > 2 * _MOST_UNITS:
        most = _MOST_UNITS // 2
    if len(title) <= most:
        return title
    end = most - 1
    blank = title.rfind(" ", 0, end + 1)
    if blank >= most // 3:
        end = blank
    else:  # languages without blanks: no character is cut from its marks
        while end > 1 and _continues(title[end - 1], title[end]):
            end -= 1
    return title[:end].rstrip(" ,;:.-") + "…"


def _continues(before: str, character: str) -> bool:
    """Return whether a character is drawn together with the one before."""
    is_modifier = combining(character) or character in _JOINERS or "\U0001f3fb" <= character <= "\U0001f3ff"
    return bool(is_modifier) or before == "\u200d"
